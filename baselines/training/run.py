"""A run is a folder: what was asked for, with what, what came of it, and the state that it goes on from.

| in the folder | holds |
| --- | --- |
| `config.json` | `{"name": ..., "config": ...}`, the options |
| `versions.json` | of Python, the packages and the checkout; the command line; the same of every resumption |
| `metrics.jsonl` | one JSON object for each record |
| `tensorboard/` | the same numbers as `train/<field>` |
| `state/` | the newest resumable state (`state.py`) |
| `transcripts/`, `checkpoints/`, ... | what the run writes with `write_text`, `write_folder` |
| `finished` | is there once the run has come to its end |
"""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import Field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import torch

from ... import __version__
from ...agents.folders import parse_json, read_json
from . import files
from .files import Json, to_json
from .state import Checkpointable, StateValue, read_state, rng_state, set_rng_state, write_state

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

__all__ = [
    "Checkpointable",
    "Config",
    "Record",
    "Run",
    "StateValue",
    "read_metrics",
    "rng_state",
    "set_rng_state",
]

CONFIG_FILE, VERSIONS_FILE, METRICS_FILE, FINISHED_FILE = (
    "config.json", "versions.json", "metrics.jsonl", "finished",
)  # fmt: skip
TENSORBOARD_FOLDER, STATE_FOLDER = "tensorboard", "state"
PACKAGES = ("torch", "numpy", "transformers", "pettingzoo", "gymnasium", "stable-baselines3", "sb3-contrib")
"""Packages whose versions may change a result."""


CHANGEABLE = ("out", "num_processes", "save_every", "keep_checkpoints")
"""Options in which a resumed run may differ, as no result depends on them; `out` is the folder by whatever path."""


class Config(Protocol):
    """Any instance of a dataclass."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]


class Record(Config, Protocol):
    """An instance of a dataclass that says to which iteration it belongs."""

    @property
    def iteration(self) -> int:
        """The iteration, counted from 1; 0 for what was measured before the first."""
        ...


class Run:
    """A run's folder, open for writing; made by `Run.open`. Within an iteration log first, then save."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._writer: SummaryWriter | None = None
        self._purge_step: int | None = None

    @classmethod
    def open(cls, folder: str | Path, config: Config, *, name: str) -> Run:
        """Open a new folder, or one in which a run was stopped.

        Args:
            folder: new, empty, or a run's.
            config: the options, a dataclass that JSON can hold.
            name: what is run, such as "gpo".

        Raises:
            ValueError: the folder holds something else, or a run with other options; they are named. Or a seed is < 0.
        """
        folder = Path(folder)
        asked = {"name": name, "config": to_json(config, "config")}
        _require_seeds(asked)
        begun = any((folder / name).exists() for name in (METRICS_FILE, STATE_FOLDER, FINISHED_FILE))
        if not (folder / CONFIG_FILE).is_file():
            _require_empty(folder)
        else:
            written = read_json(folder / CONFIG_FILE)
            _require_own(written, folder)
            if begun:  # one that failed before its first step may be asked otherwise
                _require_same(written, asked, folder)
        if not begun:
            files.write_json(folder / CONFIG_FILE, asked)
        _record_versions(folder / VERSIONS_FILE)
        return cls(folder)

    @property
    def finished(self) -> bool:
        """Whether the run has come to its end, now or in an earlier process."""
        return (self.folder / FINISHED_FILE).is_file()

    def log(self, record: Record, **beside: Config) -> None:
        """Append a record to the metrics, and its numbers to TensorBoard as `train/<field>`.

        Numbers that are not finite are null in the metrics and absent from TensorBoard.

        Args:
            record: what a step reports.
            beside: what was measured of it besides, by name; it is logged under that name.
        """
        values = to_json(record, type(record).__name__)
        assert isinstance(values, dict)
        values |= {name: to_json(measured, name) for name, measured in beside.items()}
        iteration = record.iteration
        with (self.folder / METRICS_FILE).open("a", encoding="utf-8") as metrics:
            metrics.write(json.dumps({"iteration": iteration} | values) + "\n")
        writer = self._tensorboard()
        for tag, number in _numbers(values, "train"):
            writer.add_scalar(tag, number, iteration)
        writer.flush()

    def save(self, iteration: int, **parts: Checkpointable) -> None:
        """Save the state of all parts; a kill at any moment leaves the old state or the new."""
        self._sync_metrics()
        states = {name: part.state_dict() for name, part in parts.items()}
        write_state(self.folder / STATE_FOLDER, {"iteration": iteration, "parts": states})

    def restore(self, **parts: Checkpointable) -> int:
        """Put all parts where the last save found them, and forget what was logged after it.

        Returns:
            The iteration of the last save; 0 if there was none, and then the parts are left as they are.

        Raises:
            ValueError: the state was saved of other parts.
        """
        state = read_state(self.folder / STATE_FOLDER)
        if state is None:
            self._forget_after(None)
            return 0
        saved, iteration = state["parts"], int(state["iteration"])
        if saved.keys() != parts.keys():
            raise ValueError(f"{self.folder}: expected the state of {sorted(parts)}, got that of {sorted(saved)}")
        for name, part in parts.items():
            part.load_state_dict(saved[name])
        self._forget_after(iteration)
        return iteration

    def write_text(self, relative: str, text: str) -> None:
        """Write a text file of the run, whole or not at all."""
        files.write_text(self.folder / relative, text)

    def write_json(self, relative: str, value: object) -> None:
        """Write a JSON file of the run, whole or not at all; dataclasses become objects."""
        files.write_json(self.folder / relative, value)

    def write_folder(self, relative: str, save: Callable[[Path], object]) -> Path:
        """Let `save`, such as an agent's `save_pretrained`, write a folder, whole or not at all."""
        with files.replacing(self.folder / relative) as written:
            written.mkdir()
            save(written)
        return self.folder / relative

    def finish(self) -> None:
        """Say that the run has come to its end, and close it."""
        self._sync_metrics()
        self.write_text(FINISHED_FILE, "")
        self.close()

    def close(self) -> None:
        """Close TensorBoard's file; it is opened again by the next record."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def __enter__(self) -> Run:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _forget_after(self, iteration: int | None) -> None:
        """Drop records of later iterations, and a last line that a kill cut off; None drops all."""
        kept = [] if iteration is None else [r for r in read_metrics(self.folder) if _iteration(r) <= iteration]
        files.write_text(self.folder / METRICS_FILE, "".join(json.dumps(record) + "\n" for record in kept))
        self.close()
        if (self.folder / TENSORBOARD_FOLDER).is_dir():
            self._purge_step = 0 if iteration is None else iteration + 1
            self._put_earlier_events_first()

    def _put_earlier_events_first(self) -> None:
        """Rename the event files of stopped attempts: TensorBoard reads by name, which tells only seconds apart."""
        folder = self.folder / TENSORBOARD_FOLDER
        first = len(list(folder.glob("earlier*")))
        files_left = sorted(folder.glob("events*"), key=lambda path: path.stat().st_mtime_ns)
        for number, path in enumerate(files_left, first):
            path.rename(path.with_name(f"earlier{number:04}.{path.name}"))

    def _sync_metrics(self) -> None:
        if (self.folder / METRICS_FILE).is_file():
            files.sync_entry(self.folder / METRICS_FILE)

    def _tensorboard(self) -> SummaryWriter:
        if self._writer is None:
            from torch.utils.tensorboard import SummaryWriter  # slow to import

            self._writer = SummaryWriter(self.folder / TENSORBOARD_FOLDER, purge_step=self._purge_step)
        return self._writer


def read_metrics(folder: str | Path) -> list[dict[str, Json]]:
    """Return the records of a run, oldest first; a last line that a kill cut off is left out.

    Raises:
        ValueError: a line is no record; the message names file and line.
    """
    path = Path(folder) / METRICS_FILE
    if not path.is_file():
        return []
    lines = path.read_bytes().split(b"\n")[:-1]  # what follows the last line break was cut off
    return [parse_json(line, str(path), first_line=number) for number, line in enumerate(lines, 1)]


def _iteration(record: Mapping[str, Json]) -> int:
    iteration = record["iteration"]
    assert isinstance(iteration, int)
    return iteration


def _numbers(values: Mapping[str, Json], prefix: str) -> Iterator[tuple[str, float]]:
    """Yield a tag and a value for each number of a record, those of nested records included."""
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _numbers(value, f"{prefix}/{name}")
        elif isinstance(value, bool | int | float) and name != "iteration":
            yield f"{prefix}/{name}", float(value)


def _require_same(found: Mapping[str, Json], asked: Mapping[str, Json], folder: Path) -> None:
    """Raise ValueError that names every option in which the folder's run differs from the one asked for."""
    old, new = dict(_options(found)), dict(_options(asked))
    for options in (old, new):
        for name in CHANGEABLE:
            options.pop(name, None)
    differing = [name for name in {**old, **new} if name not in old or name not in new or old[name] != new[name]]
    if differing:
        differences = "; ".join(
            f"{name}: {json.dumps(old[name]) if name in old else 'absent'} there, "
            f"{json.dumps(new[name]) if name in new else 'absent'} asked for"
            for name in differing
        )
        raise ValueError(f"{folder} holds a run with other options, give another folder: {differences}")


def _options(values: Mapping[str, Json], prefix: str = "") -> Iterator[tuple[str, Json]]:
    for name, value in values.items():
        if isinstance(value, dict) and value:
            yield from _options(value, "" if not prefix and name == "config" else f"{prefix}{name}.")
        else:
            yield prefix + name, value


def _require_seeds(asked: Mapping[str, Json]) -> None:
    """Raise ValueError that names a seed below 0, before anything is written: generators take none."""
    for option, value in _options(asked):
        name = option.rpartition(".")[-1]
        if name == "seed" and isinstance(value, int) and value < 0:
            raise ValueError(f"{name}: expected an integer >= 0, got {value}")


def _require_empty(folder: Path) -> None:
    names = (
        sorted(path.name for path in folder.iterdir() if not path.name.startswith(".writing."))
        if folder.is_dir()
        else []
    )
    if names:
        raise ValueError(f"{folder}: expected a new or empty folder, or one with a {CONFIG_FILE}, got {names[:5]}")


def _require_own(written: Mapping[str, Json], folder: Path) -> None:
    """Raise ValueError where a configuration is not a run's: models and projects have files of that name too."""
    if set(written) != {"name", "config"} or not isinstance(written["config"], dict):
        raise ValueError(
            f"{folder}: expected a new or empty folder, or a run's, got one whose {CONFIG_FILE} no run has written"
        )


def _record_versions(path: Path) -> None:
    """Write what this process runs on; a resumed run keeps what it began with, and lists the rest behind."""
    now = _versions()
    if path.is_file():
        first = read_json(path)
        now = first | {"resumed": [*first.get("resumed", []), now]}
    files.write_json(path, now)


def _versions() -> dict[str, Json]:
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "duologue": __version__,
        **{package: _version(package) for package in PACKAGES},
        "torch_threads": torch.get_num_threads(),
        "git_revision": _git_revision(Path(__file__).resolve().parents[2]),
        "command_line": list(sys.argv),
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _git_revision(root: Path) -> str | None:
    """Return the commit of the checkout at `root`, with "-dirty" if it was changed; None outside of one."""
    if not (root / ".git").exists():
        return None
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):  # no git, or no commit yet
        return None
    return done.stdout.strip()
