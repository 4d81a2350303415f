"""Cells that are missing are trained, several at a time; each one that is finished, or fails, is kept at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic

from ...envs.printable import printable
from ..training.pool import run_all
from .cell import Cell
from .results import KeptResults, ResultT


@dataclass
class GridRun(Generic[ResultT]):
    """One call of a benchmark: where its results go, and how far it is."""

    results: KeptResults[ResultT]
    versions: Mapping[str, str]
    """What they are made with."""
    batch_size: int
    num_processes: int
    """Cells that are trained at the same time."""
    preload: str
    """The module that the processes import once for all."""
    line_of: Callable[[ResultT], str]
    """What is printed of a result."""
    num_cells: int
    """That are missing."""
    num_done: int = 0

    def train(self, jobs: Sequence[Callable[[], ResultT]], cells: Sequence[Cell]) -> dict[Cell, str]:
        """Train some of the cells, each by its job; return why cells failed, by cell."""
        failures: dict[Cell, str] = {}
        for outcome in run_all(jobs, num_processes=self.num_processes, preload=self.preload):
            cell = cells[outcome.index]
            if outcome.result is not None:
                self.results.append(outcome.result, self.versions, batch_size=self.batch_size)
                self._say(cell, self.line_of(outcome.result))
            else:
                failures[cell] = outcome.error or ""
                self.fail(cell, failures[cell])
        return failures

    def fail(self, cell: Cell, error: str) -> None:
        """Keep why a cell failed, and say so."""
        self.results.fail(cell, error)
        self._say(cell, f"failed: {last_line(error)}")

    def _say(self, cell: Cell, line: str) -> None:
        self.num_done += 1
        print(f"[{self.num_done}/{self.num_cells}] {cell}: {line}", flush=True)


def last_line(error: str) -> str:
    """Return what an error comes to."""
    return printable(next(reversed(error.strip().splitlines()), "no word of why"))
