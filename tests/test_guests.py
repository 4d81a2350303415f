"""Guests: learners that we did not write learn in our games, and their page says with which versions."""

import importlib.util
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

ROOT = Path(__file__).parents[1]
GUESTS = ROOT / "examples" / "guests"


def load(name: str) -> ModuleType:
    """Import a file of examples/guests/ by its path."""
    spec = importlib.util.spec_from_file_location(f"guest_{name}", GUESTS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(autouse=True)
def _global_generators_put_back() -> Iterator[None]:
    """Guests seed global generators."""
    numpy_state, torch_state = np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    yield
    np.random.set_state(numpy_state)  # noqa: NPY002
    torch.set_rng_state(torch_state)


@pytest.mark.parametrize(
    ("name", "size"),
    [("gymnasium", (800,)), ("sb3", (2_500,)), ("sb3_contrib", (3_000, 600)), ("cleanrl", (6,)), ("openspiel", (800,))],
)
def test_guest_learns(name: str, size: tuple[int, ...], capsys: pytest.CaptureFixture[str]) -> None:
    """The example raises AssertionError unless the return rose beyond noise (docs/guests.md)."""
    if name == "openspiel":
        pytest.importorskip("pyspiel", reason="OpenSpiel is an optional extra", exc_type=ImportError)
    load(f"with_{name}").main(*size)
    assert re.search(r"^return \S+ \(.*\), after training \S+ \(.*\)$", capsys.readouterr().out, re.MULTILINE)


def test_each_guest_has_an_example_and_each_row_a_guest() -> None:
    """`make guests` runs what stands in its table, and the page tells what came of it, in the same order."""
    run = load("run")
    assert {path.stem.removeprefix("with_") for path in GUESTS.glob("with_*.py")} == set(run.GUESTS) == set(run.SHOWN)
    page = (ROOT / "docs" / "guests.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\w+) \| .* \|$", page.partition(run.HEADER)[2], re.MULTILINE)
    assert rows
    assert rows == [guest for guest in run.GUESTS if guest in rows]


def test_a_row_replaces_the_old_one_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Running one guest again changes one line of the page."""
    run = load("run")
    page = tmp_path / "guests.md"
    page.write_text(f"intro\n\n{run.HEADER}| trl | old |\n| gymnasium | kept |\n\nafter\n", encoding="utf-8")
    monkeypatch.setattr(run, "PAGE", page)
    run.write_row("trl", "| trl | new |")
    run.write_row("sb3", "| sb3 | added |")
    rows = "| gymnasium | kept |\n| sb3 | added |\n| trl | new |\n"
    assert page.read_text(encoding="utf-8") == f"intro\n\n{run.HEADER}{rows}\nafter\n"
