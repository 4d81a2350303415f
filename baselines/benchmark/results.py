"""The file that a benchmark leaves: one line for each finished cell, whole or absent, all of one version."""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from ... import __version__
from ...agents.folders import parse_json
from ..reporting.records import record_of
from ..training.checks import Options
from ..training.files import Json, claim, sync_entry, to_json
from ..training.inputs import digests
from .cell import BenchSettings, Cell, CellResult
from .registry import code_of_spec, is_known

RESULTS_FILE, FAILURES_FILE, COMMAND_FILE = "results.jsonl", "failures.jsonl", "command.txt"
MODEL = "model"
"""Under this versions have the chat model that players start from."""
CODE_FOLDERS = ("envs", "agents", "baselines")
"""What the hash of the package's code covers."""


def versions_of(settings: Options) -> dict[str, str]:
    """Return what must be the same for two results to be comparable."""
    return {
        "duologue": __version__,
        "code": package_code(Path(__file__).resolve().parents[2]),
        "config": config_hash(settings),
        "python": platform.python_version(),
        **{name: version(name) for name in ("torch", "numpy", "transformers")},
    }


def model_versions(settings: BenchSettings, device: str) -> dict[str, str]:
    """Return what must be the same besides: a chat model, by what its folder holds, and a device other than the CPU."""
    found = {} if device == "cpu" else {"device": device}
    if settings.spoken is not None:
        found |= {MODEL: digests({MODEL: settings.spoken})[MODEL][:16], "peft": version("peft")}
    return found


def config_hash(settings: Options) -> str:
    """Return a hash of all settings but where a model lies; key order does not matter."""
    said = to_json(settings, "settings")
    text = json.dumps({**said, "spoken": None} if isinstance(said, dict) else said, sort_keys=True)
    return hashlib.sha256(text.encode("utf-8")).hexdigest()[:16]


def package_code(root: Path) -> str:
    """Return a hash of the code in a package's folder, the options of the entrants included.

    A version number alone does not change with every edit.
    """
    digest = hashlib.sha256()
    for folder in CODE_FOLDERS:
        for file in sorted((root / folder).rglob("*.py")):
            digest.update(str(file.relative_to(root)).encode("utf-8") + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class _MadeBy:
    """What a line says beside its result."""

    versions: Mapping[str, str]
    batch_size: int | None = None


class Finished(Protocol):
    """What a cell came to, whatever was measured."""

    @property
    def cell(self) -> Cell:
        """Which one."""
        ...


ResultT = TypeVar("ResultT", bound=Finished)


class KeptResults(Generic[ResultT]):
    """The finished cells of a folder; a cell is added by one write at the end of the file.

    A subclass says what a line holds and what code an algorithm has now.
    """

    def __init__(self, folder: Path) -> None:
        """Read what is there; a last line that a kill cut off is not a result and goes with the next write."""
        self.folder, self.path = folder, folder / RESULTS_FILE
        self._lines = read_lines(self.path)
        self.cells = self._read()
        """The results by cell."""

    def result_of(self, line: Mapping[str, Any], where: str) -> ResultT:
        """Return the result that a line holds; raise ValueError, which begins with `where`, if it holds none."""
        raise NotImplementedError

    def code_of(self, name: str) -> str | None:
        """Return what identifies the code of an algorithm as it is registered now; None: it is not."""
        raise NotImplementedError

    def require_alike(self, first: ResultT, result: ResultT, where: str) -> None:
        """Raise ValueError unless a result can stand beside that of the first line."""

    def _read(self) -> dict[Cell, ResultT]:
        """Return the results by cell.

        Raises:
            ValueError: a line is none of ours, is a second one of its cell, or cannot stand beside the others.
        """
        read: dict[Cell, int] = {}
        cells: dict[Cell, ResultT] = {}
        for number, line in enumerate(self._lines, start=1):
            where = f"{self.path}, line {number}"
            record_of(_MadeBy, {name: line[name] for name in ("versions", "batch_size") if name in line}, where)
            result = self.result_of(line, where)
            self.require_alike(next(iter(cells.values()), result), result, where)
            if result.cell in cells:
                raise ValueError(f"{where}: expected each cell once, got {result.cell}, as in line {read[result.cell]}")
            cells[result.cell], read[result.cell] = result, number
        return cells

    @property
    def versions(self) -> Mapping[str, str] | None:
        """What the results were made with; None: there are none."""
        return self._lines[0]["versions"] if self._lines else None

    def require(self, versions: Mapping[str, str]) -> None:
        """Raise ValueError unless every result was made with these versions, by the algorithms as they are now."""
        for number, line in enumerate(self._lines, start=1):
            there = line["versions"]
            differing = [name for name in {**there, **versions} if there.get(name) != versions.get(name)]
            if differing:
                differences = "; ".join(
                    f"{name}: expected {versions.get(name)}, got {there.get(name)}" for name in differing
                )
                raise ValueError(
                    f"{self.path}: line {number} was made by another version or with other options (config), "
                    f"give another --out: {differences}"
                )
            name = line["cell"]["algorithm"]
            code = self.code_of(name)
            if code is not None and code != line["code"]:
                raise ValueError(
                    f"{self.path}: line {number} was made by another {name}: expected code {code}, "
                    f"got {line['code']}; give another --out or another name"
                )

    @property
    def batch_size(self) -> int | None:
        """Episodes for one update; None: there are no results."""
        return self._lines[0].get("batch_size") if self._lines else None

    def append(self, result: ResultT, versions: Mapping[str, str], *, batch_size: int) -> None:
        """Add a finished cell: its line is whole or absent, whenever this process is killed."""
        line: dict[str, Json] = {"versions": dict(versions), "batch_size": batch_size}
        line |= to_json(result, "result")  # type: ignore[arg-type]
        append_line(self.path, line)
        self._lines.append(line)
        self.cells[result.cell] = result

    def fail(self, cell: Cell, message: str) -> None:
        """Write down that a cell failed, and why; it is tried again next time."""
        append_line(self.folder / FAILURES_FILE, {"cell": to_json(cell, "cell"), "error": message})


class Results(KeptResults[CellResult]):
    """Those of learners of both players."""

    def result_of(self, line: Mapping[str, Any], where: str) -> CellResult:
        """Return the result that a line holds."""
        return CellResult.from_json(line, where)

    def code_of(self, name: str) -> str | None:
        """Return what identifies the code of an algorithm."""
        return code_of_spec(name) if is_known(name) else None

    def require_alike(self, first: CellResult, result: CellResult, where: str) -> None:
        """Raise ValueError unless both curves have the same points."""
        times = [[point.iteration for point in one.curve] for one in (first, result)]
        if times[0] != times[1]:
            raise ValueError(f"{where}: expected a curve after {times[0]} updates, as in line 1, got {times[1]}")


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Return the whole lines of a file of JSON lines; none if there is no file.

    Raises:
        ValueError: a whole line is no JSON object.
    """
    if not path.is_file():
        return []
    lines = []
    for number, line in enumerate(path.read_bytes().split(b"\n")[:-1], start=1):
        try:
            lines.append(parse_json(line, str(path), first_line=number))
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{path}, line {number}: expected a JSON object, got {line[:80]!r}") from error
    return lines


def append_line(path: Path, value: Mapping[str, Json]) -> None:
    """Add one line to a file by one write, and wait until it is on the disk; a full disk leaves the file as it was."""
    claim(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    _cut_torn_line(path)
    data = (json.dumps(value) + "\n").encode("utf-8")
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        written = os.write(descriptor, data)
        if written != len(data):
            raise OSError(f"{path}: expected to write {len(data)} bytes, got {written}: is the disk full?")
        os.fsync(descriptor)
    except OSError:
        _cut_torn_line(path)
        raise
    finally:
        os.close(descriptor)
    sync_entry(path.parent)


def is_unmarked(folder: Path) -> bool:
    """Whether an older version, which made no marks, left this benchmark."""
    return any("cell" in line for name in (RESULTS_FILE, FAILURES_FILE) for line in read_lines(folder / name)[:1])


def _cut_torn_line(path: Path) -> None:
    """Cut off what follows the last line break: a write that a kill stopped."""
    if path.is_file():
        data = path.read_bytes()
        whole = data.rfind(b"\n") + 1
        if whole < len(data):
            os.truncate(path, whole)
