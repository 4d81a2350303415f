import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
import safetensors.torch
import torch
from tensorboard.summary.writer import event_file_writer
from torch import Tensor, nn

from duologue.baselines.training.run import Run, read_metrics, rng_state, set_rng_state


@dataclass(frozen=True, kw_only=True)
class Options:
    learning_rate: float = 0.1
    widths: tuple[int, ...] = (3, 2)
    folder: Path = Path("data")


@dataclass(frozen=True)
class OtherOptions:
    learning_rate: float = 0.1
    clip_epsilon: float = 0.2


@dataclass(frozen=True)
class Step:
    iteration: int
    loss: float
    stage: str = "attack"
    counts: dict[str, int] = field(default_factory=dict)


class Part:
    """Keeps whatever state it is given."""

    def __init__(self, **values: Any) -> None:
        self.values: dict[str, Any] = values

    def state_dict(self) -> dict[str, Any]:
        return self.values

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.values = state


class Walk:
    """A toy learner whose next step needs all of its state: weights, Adam's moments, two generators."""

    def __init__(self, run: Run) -> None:
        self.run, self.rng = run, np.random.default_rng(7)
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.model = nn.Linear(4, 1)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=0.01)
        self.rng_part = Part()

    def train(self, until: int) -> None:
        start = self.run.restore(model=self.model, optimizer=self.optimizer, rng=self.rng_part)
        if start:
            set_rng_state(self.rng, self.rng_part.values)
        for iteration in range(start + 1, until + 1):
            batch = torch.from_numpy(self.rng.standard_normal((8, 4), dtype=np.float32))
            loss = self.model(batch).square().mean()
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            self.run.log(Step(iteration, loss.item()))
            self.rng_part.values = rng_state(self.rng)
            if iteration % 2 == 0:
                self.run.save(iteration, model=self.model, optimizer=self.optimizer, rng=self.rng_part)


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    """Open a run in a new folder."""
    with Run.open(tmp_path / "run", Options(), name="walk") as opened:
        yield opened


def reopened(run: Run) -> Run:
    """Return the same run as another process would open it."""
    run.close()
    return Run.open(run.folder, Options(), name="walk")


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Return what TensorBoard shows of a run."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    return {tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def same(first: Any, second: Any) -> bool:
    """Compare bit for bit, types and key types included."""
    if type(first) is not type(second):
        return False
    if isinstance(first, Tensor):
        return first.dtype == second.dtype and first.shape == second.shape and bits(first) == bits(second)
    if isinstance(first, np.ndarray | np.generic):
        return bool((first.dtype, first.shape, first.tobytes()) == (second.dtype, second.shape, second.tobytes()))
    if isinstance(first, dict):
        return list(first) == list(second) and all(same(first[key], second[key]) for key in first)
    if isinstance(first, list | tuple):
        return len(first) == len(second) and all(map(same, first, second))
    return repr(first) == repr(second)


def bits(tensor: Tensor) -> bytes:
    """Return the bytes of a tensor of any type."""
    return bytes(tensor.contiguous().flatten().view(torch.uint8).tolist())


ROWS = torch.arange(6.0).reshape(2, 3)
STATE: dict[str, Any] = {
    "float32": torch.tensor([0.1, float("nan"), -0.0]),
    "float64": torch.tensor([[1 / 3, float("inf")]], dtype=torch.float64),
    "bfloat16": torch.tensor([1.0, 0.1], dtype=torch.bfloat16),
    "int64": torch.tensor([2**62, -1]),
    "bool": torch.tensor([True, False]),
    "zero_dimensional": torch.tensor(3.0),
    "no_entries": torch.zeros(0, 5),
    "transposed": ROWS.T,
    "part": ROWS[1],
    "array": np.array([[1.5, np.nan]]),
    "transposed_array": np.arange(6, dtype=np.float32).reshape(2, 3).T,
    "uint64": np.array([2**64 - 1], dtype=np.uint64),
    "big_endian": np.array([1, 2], dtype=">i4").astype("<i4"),
    "flags": np.array(True),
    "scalar": np.float64(0.1),
    "small_scalar": np.int8(-3),
    "floats": [0.1, -0.0, float("nan"), float("-inf"), 1e-320],
    "huge": 2**127 + 1,
    "nested": [(1, "a", None, True), {}, [], {0: {"x": 1.0}, 5: [2]}],
    "$": "a key that is used inside the file",
    "text": '\u00e9\n"quoted" \U0001f600',
}


def test_a_state_comes_back_bit_for_bit(run: Run) -> None:
    """Nothing less makes a resumed run equal to one that was not stopped."""
    run.save(3, part=Part(**STATE))
    part = Part()
    assert reopened(run).restore(part=part) == 3
    for key, value in STATE.items():
        assert same(part.values[key], value), key


def test_nothing_in_the_state_is_pickled(run: Run) -> None:
    """Weights as safetensors and JSON only: a state from a stranger cannot run code."""
    run.save(1, part=Part(**STATE))
    (folder,) = (run.folder / "state").iterdir()
    assert sorted(path.name for path in folder.iterdir()) == [
        "arrays.safetensors", "sha256.json", "state.json", "tensors.safetensors",
    ]  # fmt: skip
    json.loads((folder / "state.json").read_text(encoding="utf-8"))


def test_tied_weights_are_saved_and_stay_tied(run: Run) -> None:
    """Weights as safetensors refuses tensors that share memory, and small language models tie theirs."""
    first, second = nn.Linear(3, 3), nn.Linear(3, 3)
    second.weight = first.weight
    wanted = first.weight.detach().clone()
    model = nn.Sequential(first, second)
    run.save(1, model=model)
    nn.init.zeros_(first.weight)
    run.restore(model=model)
    assert torch.equal(second.weight, wanted)
    assert second.weight is first.weight


@pytest.mark.parametrize("kind", [np.random.PCG64, np.random.MT19937, np.random.Philox, np.random.SFC64])
def test_a_generator_goes_on_where_it_stood(run: Run, kind: type[np.random.BitGenerator]) -> None:
    """Half of a 64-bit draw is kept back by 32-bit ones: it belongs to the state as well."""
    rng = np.random.Generator(kind(5))
    rng.integers(2**31, dtype=np.int32)
    run.save(1, rng=Part(**rng_state(rng)))
    part, again = Part(), np.random.Generator(kind(6))
    run.restore(rng=part)
    set_rng_state(again, part.values)
    assert (
        rng.integers(2**31, size=3, dtype=np.int32).tolist() == again.integers(2**31, size=3, dtype=np.int32).tolist()
    )
    assert rng.standard_normal(5).tolist() == again.standard_normal(5).tolist()


def test_a_state_of_another_generator_is_refused() -> None:
    """The message names both kinds."""
    with pytest.raises(ValueError, match=r"expected a state of PCG64, got one of 'MT19937'"):
        set_rng_state(np.random.default_rng(0), rng_state(np.random.Generator(np.random.MT19937(0))))


@pytest.mark.parametrize("stop", [1, 2, 5])
def test_a_stopped_run_resumes_and_ends_in_the_same_numbers(
    tmp_path: Path, stop: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Records after the last save are dropped and made again; weights, metrics and curves are equal."""
    # TensorBoard sorts event files of one second and one process by the digits of a counter: "10" before "9".
    monkeypatch.setattr(event_file_writer, "_global_uid", event_file_writer.AtomicCounter(0))
    with Run.open(tmp_path / "whole", Options(), name="walk") as run:
        whole = Walk(run)
        whole.train(until=8)
    with Run.open(tmp_path / "stopped", Options(), name="walk") as run:
        Walk(run).train(until=stop)
    with Run.open(tmp_path / "stopped", Options(), name="walk") as run:
        resumed = Walk(run)
        resumed.train(until=8)
    assert same(dict(resumed.model.state_dict()), dict(whole.model.state_dict()))
    assert same(resumed.optimizer.state_dict(), whole.optimizer.state_dict())
    names = ("metrics.jsonl", "config.json")
    first, second = ([(tmp_path / f / name).read_bytes() for name in names] for f in ("whole", "stopped"))
    assert first == second
    assert scalars(tmp_path / "stopped") == scalars(tmp_path / "whole")


def test_a_kill_at_any_moment_of_a_save_leaves_the_old_state_or_the_new(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is on the disk before each call that changes it is what a kill there would leave."""
    run.save(1, part=Part(number=1, tensor=torch.ones(2)))
    moments: list[Path] = []

    def watch(owner: Any, name: str) -> None:
        original = getattr(owner, name)

        def watched(*args: Any, **kwargs: Any) -> Any:
            moments.append(tmp_path / f"moment_{len(moments)}")
            shutil_copytree(run.folder, moments[-1])
            return original(*args, **kwargs)

        monkeypatch.setattr(owner, name, watched)

    shutil_copytree = shutil.copytree
    for owner, name in [
        (os, "fsync"),
        (Path, "replace"),
        (Path, "mkdir"),
        (Path, "write_text"),
        (shutil, "rmtree"),
    ]:
        watch(owner, name)
    watch(safetensors.torch, "save_file")
    watch(safetensors.numpy, "save_file")
    run.save(2, part=Part(number=2, tensor=torch.zeros(2)))
    monkeypatch.undo()
    found = []
    for folder in moments:
        part = Part()
        with Run.open(folder, Options(), name="walk") as left:
            found.append(left.restore(part=part))
            assert part.values["number"] == found[-1]
            assert part.values["tensor"].tolist() == [2.0 - found[-1]] * 2
            left.save(9, part=part)
            assert left.restore(part=part) == 9
    assert len(found) > 8
    assert found == sorted(found)
    assert set(found) == {1, 2}
    assert [path.name for path in (run.folder / "state").iterdir()] == ["000002"]


def test_an_error_between_the_files_of_a_save_leaves_the_old_state(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk, for one; no litter stays behind."""
    run.save(1, part=Part(tensor=torch.ones(2), array=np.ones(2)))

    def fail(*args: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(safetensors.numpy, "save_file", fail)
    with pytest.raises(OSError, match="disk full"):
        run.save(2, part=Part(tensor=torch.zeros(2), array=np.zeros(2)))
    part = Part()
    assert run.restore(part=part) == 1
    assert part.values["tensor"].tolist() == [1, 1]
    assert len(list((run.folder / "state").iterdir())) == 1


@pytest.mark.parametrize(
    ("value", "message"),
    [(object(), r"state\.parts\.part\.x: .* got object"), ({1.5: 2}, "keys that are str or int"),
     (np.array(["a"]), "dtype <U1")],
)  # fmt: skip
def test_what_cannot_be_saved_is_named(run: Run, value: object, message: str) -> None:
    """Silence would show only in a resumed run."""
    with pytest.raises(TypeError, match=message):
        run.save(1, part=Part(x=value))


def test_a_state_of_other_parts_is_refused(run: Run) -> None:
    """Both lists of names are in the message."""
    run.save(1, adversary=Part())
    with pytest.raises(ValueError, match=r"expected the state of \['defender'\], got that of \['adversary'\]"):
        run.restore(defender=Part())


def test_options_that_differ_are_named_with_both_values(tmp_path: Path) -> None:
    """A run that goes on under other options would be none that can be repeated; one that never began may change."""
    Run.open(tmp_path, Options(learning_rate=0.3), name="gpo").close()
    Run.open(tmp_path, Options(), name="gpo").close()
    (tmp_path / "metrics.jsonl").touch()
    with pytest.raises(ValueError, match=r"learning_rate: 0\.1 there, 0\.5 asked for$"):
        Run.open(tmp_path, Options(learning_rate=0.5), name="gpo")
    with pytest.raises(ValueError, match=r'name: "gpo" there, "ppo" asked for; widths: \[3, 2\] there, \[3\] asked'):
        Run.open(tmp_path, Options(widths=(3,)), name="ppo")
    with pytest.raises(ValueError, match=r"folder: \"data\" there, absent .*clip_epsilon: absent there, 0\.2 asked"):
        Run.open(tmp_path, OtherOptions(), name="gpo")
    Run.open(tmp_path, Options(), name="gpo").close()


def test_a_folder_with_something_else_in_it_is_refused(tmp_path: Path) -> None:
    """Nobody's files are mixed with a run's."""
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(ValueError, match=r"expected a new or empty folder, .* got \['thesis.tex'\]"):
        Run.open(tmp_path, Options(), name="gpo")


def test_metrics_hold_one_object_a_line_and_tensorboard_the_numbers(run: Run) -> None:
    """Text stays out of TensorBoard, nested numbers get a path, what is not finite is null and no point."""
    run.log(Step(1, 0.5, counts={"unsafe": 3}))
    run.log(Step(2, float("nan")))
    run.close()
    assert read_metrics(run.folder) == [
        {"iteration": 1, "loss": 0.5, "stage": "attack", "counts": {"unsafe": 3}},
        {"iteration": 2, "loss": None, "stage": "attack", "counts": {}},
    ]
    assert scalars(run.folder) == {"train/loss": [(1, 0.5)], "train/counts/unsafe": [(1, 3.0)]}


def test_restoring_drops_later_records_and_a_line_that_was_cut_off(run: Run) -> None:
    """A kill may come in the middle of a write."""
    for iteration in (1, 2, 3):
        run.log(Step(iteration, 1 / iteration))
        if iteration == 2:
            run.save(2, part=Part())
    run.close()
    with (run.folder / "metrics.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"iteration": 2, "lo')
    again = reopened(run)
    assert len(read_metrics(run.folder)) == 3
    assert again.restore(part=Part()) == 2
    again.log(Step(3, 9.0))
    again.close()
    assert [(record["iteration"], record["loss"]) for record in read_metrics(run.folder)] == [
        (1, 1),
        (2, 0.5),
        (3, 9),
    ]
    assert scalars(run.folder)["train/loss"] == [(1, 1.0), (2, 0.5), (3, 9.0)]


def test_tensorboard_reads_attempts_in_order_however_their_files_are_named(run: Run) -> None:
    """It reads by name, and names of one second end in a counter without leading zeros: 10 comes before 9."""
    run.log(Step(1, 1.0))
    run.save(1, part=Part())
    for attempt in range(3):
        run.log(Step(2, float(attempt)))
        run.close()
        for path in (run.folder / "tensorboard").glob("events*"):
            path.rename(path.with_name(f"events.out.tfevents.{9 - attempt}"))
        run = reopened(run)
        assert run.restore(part=Part()) == 1
    run.log(Step(2, 5.0))
    run.close()
    assert scalars(run.folder)["train/loss"] == [(1, 1.0), (2, 5.0)]


def test_a_run_without_a_state_begins_again(run: Run) -> None:
    """Nothing of the stopped attempt stays in the metrics."""
    run.log(Step(1, 1.0))
    again = reopened(run)
    assert again.restore(part=Part()) == 0
    again.log(Step(1, 2.0))
    again.close()
    assert [record["loss"] for record in read_metrics(run.folder)] == [2.0]
    assert scalars(run.folder)["train/loss"] == [(1, 2.0)]


def test_a_run_knows_that_it_has_finished_and_on_what_it_ran(run: Run) -> None:
    """A resumed process is listed beside the first."""
    assert not run.finished
    run.finish()
    with Run.open(run.folder, Options(), name="walk") as again:
        assert again.finished
    versions = json.loads((run.folder / "versions.json").read_text(encoding="utf-8"))
    assert {"python", "platform", "duologue", "git_revision", "command_line"} <= versions.keys()
    assert versions["torch"] == torch.__version__
    assert [one["numpy"] for one in versions["resumed"]] == [np.__version__]


def test_files_and_folders_are_whole_or_absent(run: Run) -> None:
    """A writer that fails leaves what was there before, and nothing else."""
    run.write_text("transcripts/000001.txt", "hello\n")
    run.write_json("results.json", {"sft": {"plain": Step(1, float("inf"))}})
    saved = run.write_folder("checkpoints/sft", lambda path: (path / "model").write_text("old"))

    def half(path: Path) -> None:
        (path / "model").write_text("new")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        run.write_folder("checkpoints/sft", half)
    with pytest.raises(TypeError, match=r"results\.json\.x: expected what JSON can hold, got set"):
        run.write_json("results.json", {"x": {1}})
    assert (run.folder / "transcripts/000001.txt").read_text(encoding="utf-8") == "hello\n"
    assert json.loads((run.folder / "results.json").read_text())["sft"]["plain"]["loss"] is None
    assert [path.read_text() for path in saved.iterdir()] == ["old"]
    run.write_folder("checkpoints/sft", lambda path: (path / "model").write_text("newer"))
    assert [path.read_text() for path in saved.iterdir()] == ["newer"]
    assert [path.name for path in (run.folder / "checkpoints").iterdir()] == ["sft"]


@pytest.mark.parametrize(
    "config", [{"model_type": "gpt2"}, {"name": "mine", "config": "train.yaml"}, {"name": "a", "config": {}, "b": 1}]
)
def test_a_folder_with_a_configuration_of_another_kind_is_left_as_it_is(config: Any, tmp_path: Path) -> None:
    """A model's folder given for a run's lost its `config.json` and what lay under our names."""
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "weights.bin").write_text("precious")
    with pytest.raises(ValueError, match=r"expected a new or empty folder, or a run's, got one whose config"):
        Run.open(tmp_path, Options(), name="walk")
    assert json.loads((tmp_path / "config.json").read_text()) == config
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["config.json", "model", "weights.bin"]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_weights_that_are_no_numbers_are_not_left_as_a_model(value: float, dtype: torch.dtype, run: Run) -> None:
    """The run finished with status 0. What was there before stays."""

    def save(*weights: float) -> Callable[[Path], None]:
        tensors = {"counts": torch.tensor([1]), "head.weight": torch.tensor(weights, dtype=dtype)}
        return lambda folder: safetensors.torch.save_file(tensors, folder / "model.safetensors")

    run.write_folder("model", save(1.0, 2.0))
    with pytest.raises(
        ValueError, match=r"model: model\.safetensors: expected finite weights, got NaN or infinity in head\.weight"
    ):
        run.write_folder("model", save(1.0, value))
    kept = safetensors.torch.load_file(run.folder / "model/model.safetensors")
    assert kept["head.weight"].tolist() == [1.0, 2.0]
    assert not run.finished
