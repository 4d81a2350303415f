"""What a run says when its files are damaged or its seed is no seed: the file, the line, what was expected."""

import json
import resource
import shutil
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
    assert (
        "duologue: seed: expected an integer of at least 0, got -1; see duologue train sb3_self_play --help"
        in capsys.readouterr().err
    )
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["tensors.safetensors", "arrays.safetensors", "state.json"])
def test_a_state_with_one_other_bit_is_refused(folder: Path, name: str) -> None:
    """It would be read without an error."""
    path = folder / "state/000001" / name
    data = path.read_bytes()
    path.write_bytes(data.replace(b'"iteration": 2', b'"iteration": 1') if name == "state.json" else data[:-1] + b"\1")
    assert path.read_bytes() != data
    with (
        Run.open(folder, Options(), name="toy") as run,
        pytest.raises(ValueError, match=rf"{name}: expected the file that was saved \(SHA-256 \w+\), got another"),
    ):
        run.restore(part=Part())


@pytest.mark.parametrize("name", ["tensors.safetensors", "state.json"])
def test_a_state_without_a_file_is_named(folder: Path, name: str) -> None:
    """A copy that was cut off."""
    (folder / "state/000001" / name).unlink()
    with (
        Run.open(folder, Options(), name="toy") as run,
        pytest.raises(ValueError, match=rf"state/000001: expected a state with its {name}, got one without"),
    ):
        run.restore(part=Part())


def test_a_state_of_another_run_is_refused(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Two folders' states that were mixed up: both are whole."""
    other = tmp_path_factory.mktemp("other")
    with Run.open(other, Options(rate=0.2), name="toy") as run:
        run.log(Step(1))
        run.log(Step(2))
        run.save(2, part=Part())
    shutil.rmtree(folder / "state")
    (other / "state").rename(folder / "state")
    with (
        Run.open(folder, Options(), name="toy") as run,
        pytest.raises(ValueError, match=r"state: expected the state of this run, got that of another"),
    ):
        run.restore(part=Part())


def test_a_state_that_is_gone_is_missed(folder: Path) -> None:
    """A run that was never saved begins again; one that was does not so in silence."""
    shutil.rmtree(folder / "state")
    with (
        Run.open(folder, Options(), name="toy") as run,
        pytest.raises(ValueError, match=r"state: expected the state that was saved, got none"),
    ):
        run.restore(part=Part())


@pytest.mark.parametrize("kind", ["emptied", "gone", "a hole", "edited", "out of order", "no JSON"])
def test_records_that_are_not_those_of_the_state_are_named(folder: Path, kind: str) -> None:
    """The run went on with a table that lacked what came before."""
    path = folder / "metrics.jsonl"
    first, second = path.read_bytes().splitlines(keepends=True)
    changed = {
        "emptied": b"", "a hole": second, "edited": first + b'{"iteration": 3}\n', "out of order": second + first,
        "no JSON": b'{"iteration": x}\n' + second,
    }  # fmt: skip
    path.write_bytes(changed[kind]) if kind in changed else path.unlink()
    with (
        Run.open(folder, Options(), name="toy") as run,
        pytest.raises(ValueError, match=r"metrics\.jsonl: expected the 34 bytes that were logged up to iteration 2"),
    ):
        run.restore(part=Part())


@pytest.mark.parametrize("kind", ["gone", "emptied", "a file"])
def test_a_finished_run_says_what_it_lacks(kind: str, tmp_path: Path) -> None:
    """It said that it was there. What it can do without it does without."""
    with Run.open(tmp_path, Options(), name="toy") as run:
        run.log(Step(1))
        run.write_folder("model", lambda path: (path / "weights").write_text("weights"))
        run.finish()
    shutil.rmtree(tmp_path / "tensorboard")
    Run.open(tmp_path, Options(), name="toy").close()
    if kind == "gone":
        shutil.rmtree(tmp_path / "model")
    elif kind == "emptied":
        (tmp_path / "model/weights").write_text("")
    else:
        (tmp_path / "model/weights").unlink()
    with pytest.raises(ValueError, match=r"expected a finished run with all that it left, got one without model"):
        Run.open(tmp_path, Options(), name="toy")
    (tmp_path / "finished").unlink()
    Run.open(tmp_path, Options(), name="toy").close()


def test_a_run_of_an_older_version_goes_on(folder: Path) -> None:
    """It has no mark, and no checksums in its state."""
    for name in (".duologue.json", ".duologue.lock", "inputs.json", "state/000001/sha256.json"):
        (folder / name).unlink()
    state = json.loads((folder / "state/000001/state.json").read_text())
    (folder / "state/000001/state.json").write_text(json.dumps({key: state[key] for key in ("iteration", "parts")}))
    with Run.open(folder, Options(), name="toy") as run:
        assert run.restore(part=Anything()) == 2
        run.log(Step(3))
        run.save(3, part=Part())
    assert [record["iteration"] for record in read_metrics(folder)] == [1, 2, 3]


def test_a_run_whose_folder_was_removed_can_be_started_again(tmp_path: Path) -> None:
    """A part of it was made again under the run, and was then no run's."""
    with Run.open(tmp_path / "run", Options(), name="toy") as run:
        run.log(Step(1))
        shutil.rmtree(tmp_path / "run")
        gone = pytest.raises(FileNotFoundError, match=r"run: expected the folder that is written into, got none")
        with gone:
            run.log(Step(2))
        with gone:
            run.save(2, part=Part())
        with gone:
            run.write_text("a/b", "")
        assert not (tmp_path / "run").exists()
    Run.open(tmp_path / "run", Options(), name="toy").close()


def test_a_full_disk_leaves_the_records_whole(folder: Path) -> None:
    """A part of a line is taken back."""
    before = (folder / "metrics.jsonl").read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    with Run.open(folder, Options(), name="toy") as run:
        run.restore(part=Anything())
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 7, limits[1]))
        try:
            with pytest.raises(OSError, match="File too large"):
                run.log(Step(3))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert (folder / "metrics.jsonl").read_bytes() == before
        run.log(Step(3))
    assert [record["iteration"] for record in read_metrics(folder)] == [1, 2, 3]


class Anything(Part):
    def load_state_dict(self, state: dict[str, StateValue]) -> None:
        """Take whatever comes."""


@pytest.mark.parametrize(
    "name", ["config.json", "versions.json", "inputs.json", "metrics.jsonl", "finished", "state", "tensorboard"]
)
def test_an_entry_of_another_kind_is_named_at_once(folder: Path, name: str) -> None:
    """Not after hours of training; and what is in it stays."""
    path = folder / name
    shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    if name in ("state", "tensorboard"):
        path.write_text("precious")
    else:
        path.mkdir()
        (path / "precious.txt").write_text("precious")
    with pytest.raises(ValueError, match=rf"{name}: expected a f\w+ or nothing there, got a f"):
        Run.open(folder, Options(), name="toy")
    assert (path if path.is_file() else path / "precious.txt").read_text() == "precious"
