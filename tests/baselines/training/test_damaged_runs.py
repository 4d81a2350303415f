"""What a run says when its files are damaged or its seed is no seed: the file, the line, what was expected."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import torch

from duologue.__main__ import main
from duologue.baselines.training.run import Run, read_metrics
from duologue.baselines.training.state import StateValue


@dataclass(frozen=True)
class Options:
    rate: float = 0.1
    seed: int | None = 0
    inside: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Step:
    iteration: int


class Part:
    def state_dict(self) -> dict[str, StateValue]:
        return {"weights": torch.zeros(4), "counts": np.zeros(4)}

    def load_state_dict(self, state: dict[str, StateValue]) -> None:
        raise AssertionError(f"nothing is restored from a damaged state, got {state}")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return the folder of a run that was stopped after two iterations."""
    with Run.open(tmp_path, Options(), name="toy") as run:
        for iteration in (1, 2):
            run.log(Step(iteration))
        run.save(2, part=Part())
    return tmp_path


@pytest.mark.parametrize("name", ["tensors.safetensors", "arrays.safetensors"])
def test_a_damaged_state_is_named(folder: Path, name: str) -> None:
    """One line in place of what safetensors raises, which is no ValueError."""
    path = folder / "state/000001" / name
    path.write_bytes(path.read_bytes()[:-3])
    with (
        Run.open(folder, Options(), name="toy") as run,
        pytest.raises(ValueError, match=rf"state/000001/{name}: expected a safetensors file, got one that is damaged"),
    ):
        run.restore(part=Part())


def test_a_damaged_structure_is_named(folder: Path) -> None:
    """The state's JSON is all on one line."""
    path = folder / "state/000001/state.json"
    path.write_text(path.read_text()[:-2])
    with (
        Run.open(folder, Options(), name="toy") as run,
        pytest.raises(ValueError, match=r"state/000001/state\.json, line 1: expected JSON"),
    ):
        run.restore(part=Part())


@pytest.mark.parametrize("name", ["config.json", "versions.json"])
def test_damaged_json_of_a_run_is_named(folder: Path, name: str) -> None:
    """A file that somebody edited by hand."""
    (folder / name).write_text("{\n  name\n}")
    with pytest.raises(ValueError, match=rf"{name}, line 2: expected JSON, got something else \(Expecting property"):
        Run.open(folder, Options(), name="toy")


def test_a_damaged_record_is_named(folder: Path) -> None:
    """Its line is that of the file."""
    path = folder / "metrics.jsonl"
    path.write_text(path.read_text() + "{name}\n")
    with pytest.raises(ValueError, match=r"metrics\.jsonl, line 3: expected JSON"):
        read_metrics(folder)


@pytest.mark.parametrize("options", [Options(seed=-1), Options(inside={"seed": -1})])
def test_a_negative_seed_is_named_before_anything_is_written(options: Options, tmp_path: Path) -> None:
    """NumPy says "expected non-negative integer" without a name; a run that has no seed is not asked for one."""
    with pytest.raises(ValueError, match=r"^seed: expected an integer >= 0, got -1$"):
        Run.open(tmp_path, options, name="toy")
    assert not list(tmp_path.iterdir())
    Run.open(tmp_path, Options(seed=None), name="toy").close()


def test_the_command_line_names_the_seed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Before anything is written."""
    assert main(["train", "sb3_self_play", "--seed", "-1", "--out", str(tmp_path / "run")]) == 2
    assert "seed: expected an integer >= 0, got -1\n" in capsys.readouterr().err
