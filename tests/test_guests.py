"""Guests: learners that we did not write learn in our games, and their page says with which versions."""

import importlib.util
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

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
    assert {path.stem.removeprefix("with_") for path in GUESTS.glob("with_*.py")} == set(run.GUESTS)
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


LEARNT = "print('return 0.10 (0.00 to 0.20), after training 1.00 (0.90 to 1.00)')"


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Return run.py over a repository of four fake guests, whose environments are this interpreter."""
    run = load("run")
    examples = tmp_path / "examples" / "guests"
    examples.mkdir(parents=True)
    (examples / "with_good.py").write_text(LEARNT, encoding="utf-8")
    (examples / "with_bad.py").write_text("raise AssertionError('it did not rise')", encoding="utf-8")
    (examples / "with_silent.py").write_text("", encoding="utf-8")
    (examples / "with_last.py").write_text(f"import sys; assert '--smoke' in sys.argv; {LEARNT}", encoding="utf-8")
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "guests.md").write_text(f"intro\n\n{run.HEADER}| bad | old |\n", encoding="utf-8")
    guests = {name: run.Guest(environment=name, shown=("numpy",)) for name in ("good", "bad", "silent", "last")}
    monkeypatch.setattr(run, "ROOT", tmp_path)
    monkeypatch.setattr(run, "PAGE", tmp_path / "docs" / "guests.md")
    monkeypatch.setattr(run, "GUESTS", guests)

    def link(python: Path, guest: Any) -> None:
        python.parent.mkdir(parents=True, exist_ok=True)
        # A link would take this interpreter out of its environment.
        python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n', encoding="utf-8")
        python.chmod(0o755)

    monkeypatch.setattr(run, "install", link)
    return run


def test_a_guest_that_fails_is_reported_and_the_others_go_on(
    fake: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Four guests: one raises, one prints no result; the two that learn have rows, the failed one keeps its old one."""
    assert fake.main(list(fake.GUESTS), tmp_path) == 2
    rows = fake.PAGE.read_text(encoding="utf-8").partition(fake.HEADER)[2]
    learnt = rf"numpy {re.escape(np.__version__)} \| 0\.10 \(0\.00 to 0\.20\) \| 1\.00 \(0\.90 to 1\.00\) \| \d+ \|"
    assert re.fullmatch(rf"\| good \| {learnt}\n\| bad \| old \|\n\| last \| {learnt}\n", rows)
    printed = capsys.readouterr()
    assert "2 of 4 guests learnt; failed: ['bad', 'silent']" in printed.out
    assert "it did not rise" in printed.err
    assert "silent: expected a line 'return" in printed.err


def test_an_environment_that_cannot_be_made_fails_its_guest_only(
    fake: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As when a wheel is gone from the index."""
    link = fake.install

    def refuse(python: Path, guest: Any) -> None:
        if guest.environment == "good":
            raise fake.GuestError("exit status 1\nno matching distribution")
        link(python, guest)

    monkeypatch.setattr(fake, "install", refuse)
    assert fake.main(["good", "last"], tmp_path) == 1
    assert "| last |" in fake.PAGE.read_text(encoding="utf-8")
    assert "good: exit status 1\nno matching distribution" in capsys.readouterr().err


def test_an_example_imports_from_its_own_environment_only(
    fake: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise the versions in the table would not be those that were imported."""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    code = "import os, site; print(os.environ.get('PYTHONPATH'), site.ENABLE_USER_SITE)"
    assert fake.call([sys.executable, "-c", code], tmp_path) == "None False\n"
    monkeypatch.setattr(fake, "TIMEOUT_S", 0.2)
    with pytest.raises(fake.GuestError, match=r"timed out"):
        fake.call([sys.executable, "-c", "import time; time.sleep(30)"], tmp_path)


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[ModuleType, list[list[str]]]:
    """Return run.py over a repository of one dependency, and the commands that pip would have been run by."""
    run, commands = load("run"), list[list[str]]()
    (tmp_path / "constraints.txt").write_text("# pins\nnumpy==2.0\nSome_Thing==1.0\n", encoding="utf-8")
    (tmp_path / "pyproject.toml").write_text('[project]\ndependencies = ["numpy>=2"]\n', encoding="utf-8")

    def create(home: Path, *, with_pip: bool, clear: bool) -> None:
        assert with_pip
        assert clear
        home.mkdir(exist_ok=True)

    monkeypatch.setattr(run, "ROOT", tmp_path)
    monkeypatch.setattr(run.venv, "create", create)
    monkeypatch.setattr(run, "call", lambda command, folder: commands.append([str(part) for part in command]))
    return run, commands


def test_an_environment_is_made_again_only_when_something_of_it_changed(
    made: tuple[ModuleType, list[list[str]]], tmp_path: Path
) -> None:
    """The same request twice installs once; a requirement, a pin or a dependency of ours that changed installs anew."""
    (run, commands), python = made, tmp_path / "env" / "bin" / "python"
    guest = run.Guest(environment="env", requirements=("lib==1.0",), unpinned=("some-thing",), shown=())
    run.install(python, guest)
    run.install(python, guest)
    assert len(commands) == 1
    assert {"lib==1.0", run.TORCH, "--editable"} <= set(commands[0])
    assert (tmp_path / "env" / "constraints.txt").read_text(encoding="utf-8") == "numpy==2.0\n"
    run.install(python, run.Guest(environment="env", requirements=("lib==1.1",), unpinned=("some-thing",), shown=()))
    assert len(commands) == 2
    for file, text in (("constraints.txt", "numpy==2.1"), ("pyproject.toml", '[project]\ndependencies = ["numpy"]')):
        (tmp_path / file).write_text(text, encoding="utf-8")
        run.install(python, guest)
        run.install(python, guest)
    assert len(commands) == 4


def test_a_half_made_environment_is_made_again(
    made: tuple[ModuleType, list[list[str]]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pip failed the first time, so that nothing says that it stands."""
    (run, commands), python = made, tmp_path / "env" / "bin" / "python"
    guest, works = run.Guest(environment="env", shown=()), run.call

    def fails(command: object, folder: Path) -> str:
        raise run.GuestError("no network")

    monkeypatch.setattr(run, "call", fails)
    with pytest.raises(run.GuestError, match="no network"):
        run.install(python, guest)
    monkeypatch.setattr(run, "call", works)
    run.install(python, guest)
    assert len(commands) == 1


def test_pins_that_a_guest_gives_up_are_pinned_in_its_own_requirements() -> None:
    """Otherwise what is installed would depend on the day; every requirement names one version."""
    run = load("run")
    for name, guest in run.GUESTS.items():
        required = {
            run.normalised(re.split(r"[=\[]", requirement)[0]): requirement for requirement in guest.requirements
        }
        assert {run.normalised(package) for package in guest.unpinned} <= set(required), name
        pins = {run.normalised(line.partition("==")[0]) for line in run.constraints(guest)}
        assert all("==" in requirement or package in pins for package, requirement in required.items()), name


def test_an_unknown_guest_is_refused() -> None:
    """With the names that there are."""
    done = subprocess.run([sys.executable, str(GUESTS / "run.py"), "gymnasum"], capture_output=True, text=True)
    assert done.returncode == 2
    assert re.search(r"expected some of gymnasium, .*, got gymnasum", done.stderr)
