"""A run is a folder: what was asked for, with what, what came of it, and the state that it goes on from.

| in the folder | holds |
| --- | --- |
| `config.json` | `{"name": ..., "config": ...}`, the options |
| `versions.json` | of Python, the packages and the checkout; the command line; the same of every resumption |
| `metrics.jsonl` | one JSON object for each record |
| `tensorboard/` | the same numbers as `train/<field>` |
| `state/` | the newest resumable state (`state.py`) |
| `transcripts/`, `checkpoints/`, ... | what the run writes with `write_text`, `write_folder` |
| `inputs.json` | the SHA-256 of each file and folder that the options name |
| `finished` | is there once the run has come to its end: which files it left |
| `.duologue.json`, `.duologue.lock` | that it is a run's and what the run wrote; who writes there now (`folders.py`) |

Nothing that the run did not write is replaced or removed. A run that goes on does so from what it left and with what it
began with, or not at all: records, state and inputs are held against their checksums.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import Field
from pathlib import Path
from typing import Any, ClassVar, Protocol

from ...agents.folders import read_json
from ...agents.weights import require_finite_files
from ..rollouts.seconds import part as timed
from . import files
from .asked import by_content, is_longer, require_same, require_seeds
from .curves import Curves
from .files import MARK_FILE, Json, to_json
from .folders import LOCK_FILE, KeptFolder
from .inputs import digests, inputs_of, require_apart, require_unchanged
from .records import METRICS_FILE, Records, read_metrics
from .state import Checkpointable, StateValue, read_state, rng_state, set_rng_state, write_state
from .versions import ALWAYS, record_versions

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

CONFIG_FILE, VERSIONS_FILE, INPUTS_FILE, FINISHED_FILE = (
    "config.json", "versions.json", "inputs.json", "finished",
)  # fmt: skip
TENSORBOARD_FOLDER, STATE_FOLDER = "tensorboard", "state"
SAVED = "state/"
"""What a folder's mark names once a whole state was saved."""
DISPENSABLE = (STATE_FOLDER, SAVED, TENSORBOARD_FOLDER, METRICS_FILE, VERSIONS_FILE, MARK_FILE, LOCK_FILE)
"""What a finished run can do without, or what changes later."""


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

    def __init__(self, folder: Path, kept: KeptFolder | None = None, identity: str = "") -> None:
        """Take a folder, who keeps it if it is not kept elsewhere, and what tells the run from others."""
        self.folder = folder
        self._kept, self._identity = kept, identity
        self._curves: Curves | None = None
        self._purge_step: int | None = None
        self._logged: Records | None = None

    @classmethod
    def open(cls, folder: str | Path, config: Config, *, name: str, length: str = "") -> Run:
        """Open a new folder, or one in which a run was stopped; no other process can until it is closed.

        Args:
            folder: new, empty, or a run's.
            config: the options, a dataclass that JSON can hold; what they name by paths is what the run rests on.
            name: what is run, such as "gpo".
            length: the option that says how long it is, as "play.num_updates", if a run may be lengthened, a finished
                one too: it goes on from its last state.

        Raises:
            ValueError: the folder holds something else, or a run with other options or other inputs; they are named.
                Or another process writes there, a finished run lacks what it left, or a seed is < 0.
        """
        folder = Path(folder)
        asked = {"name": name, "config": to_json(config, "config")}
        require_seeds(asked)
        inputs = inputs_of(config)
        require_apart(folder, inputs)
        kept = KeptFolder.open(folder, kind="run", older=_is_unmarked_run)
        try:
            found = _prepare(kept, asked, inputs, length)
        except BaseException:
            kept.close()
            raise
        options = {option: value for option, value in by_content(asked, found).items() if option != length}
        return cls(folder, kept, hashlib.sha256(json.dumps([options, found], sort_keys=True).encode()).hexdigest())

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
        self._claim(METRICS_FILE)
        self._records().append(json.dumps({"iteration": iteration} | values) + "\n")
        self._tensorboard().add(_numbers(values, "train"), iteration)

    def save(self, iteration: int, **parts: Checkpointable) -> None:
        """Save the state of all parts; a kill at any moment leaves the old state or the new."""
        self._claim(STATE_FOLDER)
        self._sync_metrics()
        with timed("saving"):
            states = {name: part.state_dict() for name, part in parts.items()}
            about: dict[str, StateValue] = {"run": self._identity, "records": self._records().state_dict()}
            write_state(self.folder / STATE_FOLDER, {"iteration": iteration, "parts": states, **about})
        if self._kept is not None:
            self._kept.note(SAVED)

    def restore(self, **parts: Checkpointable) -> int:
        """Put all parts where the last save found them, and forget what was logged after it.

        Returns:
            The iteration of the last save; 0 if there was none, and then the parts are left as they are.

        Raises:
            ValueError: the state was saved of other parts.
        """
        state = read_state(self.folder / STATE_FOLDER)
        if state is None:
            if self._kept is not None and SAVED in self._kept.written:
                raise ValueError(f"{self.folder / STATE_FOLDER}: expected the state that was saved, got none")
            self._forget_after(None)
            return 0
        saved, iteration = state["parts"], int(state["iteration"])
        if saved.keys() != parts.keys():
            raise ValueError(f"{self.folder}: expected the state of {sorted(parts)}, got that of {sorted(saved)}")
        if state.get("run", self._identity) != self._identity:
            raise ValueError(f"{self.folder / STATE_FOLDER}: expected the state of this run, got that of another")
        records = state.get("records")  # older versions saved none
        if records is not None:
            self._records().require(records, iteration)
        for name, part in parts.items():
            part.load_state_dict(saved[name])
        self._forget_after(iteration, records)
        return iteration

    def write_text(self, relative: str, text: str) -> None:
        """Write a text file of the run, whole or not at all."""
        files.write_text(self.folder / relative, text)

    def write_json(self, relative: str, value: object) -> None:
        """Write a JSON file of the run, whole or not at all; dataclasses become objects."""
        files.write_json(self.folder / relative, value)

    def write_folder(self, relative: str, save: Callable[[Path], object]) -> Path:
        """Let `save`, such as an agent's `save_pretrained`, write a folder, whole or not at all.

        Raises:
            ValueError: it holds weights that are NaN or infinite; no such model is left.
        """
        with files.replacing(self.folder / relative, folder=True) as written:
            save(written)
            try:
                require_finite_files(written)
            except ValueError as error:
                raise ValueError(f"{self.folder / relative}: {error}") from error
        return self.folder / relative

    def finish(self) -> None:
        """Say that the run has come to its end, and close it."""
        self._sync_metrics()
        self.write_json(FINISHED_FILE, {"files": self._left()})
        self.close()

    def close(self) -> None:
        """Close the files, and let others write into the folder."""
        self._close_curves()
        if self._kept is not None:
            self._kept.close()

    def __enter__(self) -> Run:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _claim(self, name: str) -> None:
        """Raise where an entry of the folder is not the run's to write."""
        if self._kept is None:
            files.claim(self.folder / name)
        else:
            self._kept.claim(name)

    def _close_curves(self) -> None:
        if self._curves is not None:
            self._curves.close()
            self._curves = None

    def _left(self) -> list[str]:
        """Return the files that the run wrote and that it is nothing without, those that are empty left out."""
        written = [] if self._kept is None else self._kept.written
        tops = [self.folder / name for name in written if name not in DISPENSABLE]
        found = [path for top in tops for path in ([top] if top.is_file() else sorted(top.rglob("*")))]
        full = (path for path in found if path.is_file() and path.stat().st_size)
        return [path.relative_to(self.folder).as_posix() for path in full]

    def _forget_after(self, iteration: int | None, records: Mapping[str, Any] | None = None) -> None:
        """Drop records of later iterations, and a last line that a kill cut off; None drops all."""
        if records is not None:
            kept = self._records().path.read_bytes()[: records["bytes"]] if records["bytes"] else b""
        else:
            left = [] if iteration is None else [r for r in read_metrics(self.folder) if _iteration(r) <= iteration]
            kept = "".join(json.dumps(record) + "\n" for record in left).encode("utf-8")
        with files.replacing(self.folder / METRICS_FILE) as written:
            written.write_bytes(kept)
        self._logged = None
        self._close_curves()
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

    def _records(self) -> Records:
        if self._logged is None:
            self._logged = Records(self.folder / METRICS_FILE)
        return self._logged

    def _tensorboard(self) -> Curves:
        if self._curves is None:
            self._claim(TENSORBOARD_FOLDER)
            self._curves = Curves(self.folder / TENSORBOARD_FOLDER, purge_step=self._purge_step)
        return self._curves


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


def _is_unmarked_run(folder: Path) -> bool:
    """Whether an older version, which made no marks, wrote this run: models and projects have a `config.json`, too."""
    if not (folder / CONFIG_FILE).is_file() or not (folder / VERSIONS_FILE).is_file():
        return False
    config, versions = read_json(folder / CONFIG_FILE), read_json(folder / VERSIONS_FILE)
    return config.keys() == {"name", "config"} and isinstance(config["config"], dict) and versions.keys() >= ALWAYS


def _prepare(kept: KeptFolder, asked: Mapping[str, Json], inputs: Mapping[str, Path], length: str) -> dict[str, str]:
    """Write what is asked for and what it rests on, or hold it against what the run began with; return the latter.

    Raises:
        ValueError: options or inputs differ, or a finished run lacks what it left.
    """
    folder = kept.folder
    for name in (
        CONFIG_FILE,
        VERSIONS_FILE,
        INPUTS_FILE,
        METRICS_FILE,
        FINISHED_FILE,
        STATE_FOLDER,
        TENSORBOARD_FOLDER,
    ):
        files.require_kind(folder / name, folder=name in (STATE_FOLDER, TENSORBOARD_FOLDER))
    began: dict[str, Any] | None = None
    begun = any((folder / name).exists() for name in (METRICS_FILE, STATE_FOLDER, FINISHED_FILE))
    if begun:  # one that failed before its first step may be asked otherwise
        if not (folder / CONFIG_FILE).is_file():
            raise ValueError(f"{folder}: expected a run with its {CONFIG_FILE}, got one without")
        began = read_json(folder / INPUTS_FILE) if (folder / INPUTS_FILE).is_file() else None
        old = read_json(folder / CONFIG_FILE)
        require_same(old, asked, folder, set(began or ()) & set(inputs), length=length)
        require_left(folder)
        if is_longer(old, asked, length):
            files.write_json(folder / CONFIG_FILE, asked)
            (folder / FINISHED_FILE).unlink(missing_ok=True)
    now = digests(inputs)
    if began is not None:
        left_out = set(began) - set(now) if (folder / FINISHED_FILE).is_file() else set()
        now = {name: began[name] for name in left_out} | now  # a finished run needs them no more
        require_unchanged(began, now, inputs, folder)
        now = began
    for name, value in ((CONFIG_FILE, asked), (INPUTS_FILE, now)):
        if not begun or not (folder / name).is_file():
            files.write_json(folder / name, value)
    record_versions(folder / VERSIONS_FILE)
    return now


def require_left(folder: Path, *tops: str) -> None:
    """Raise ValueError where a finished run lacks a file that it left, or one at or below `tops` if any are given."""
    path = folder / FINISHED_FILE
    if not path.is_file() or not path.stat().st_size:  # older versions named none
        return
    for name in read_json(path)["files"]:
        left, top = folder / name, folder / Path(name).parts[0]
        if (not tops or top.name in tops) and not (left.is_file() and left.stat().st_size):
            missing = (left if top.exists() else top).relative_to(folder)
            raise ValueError(
                f"{folder}: expected a finished run with all that it left, got one without {missing}; "
                f"put it back, or remove {path}, and the run makes it again from its last state"
            )
