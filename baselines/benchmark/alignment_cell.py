"""One cell of the alignment suite: one algorithm in one game with one seed, trained and measured."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from ...envs import make_game
from ...envs.games.red_team import game as v0
from ...envs.games.red_team_ciphers import game as v1
from ..alignment.ciphers import RED_TEAM_SETTINGS, SETTINGS, MethodSettings, Starts
from ..reporting.records import record_of
from ..training.checks import Options, check_choice
from ..training.costs import CostMeter, Costs, metered_game
from ..training.loop import use_threads
from ..training.options import load_model
from . import alignment_entrants  # noqa: F401  (registers the algorithms that come with the package)
from .alignment_language import language_of
from .alignment_measures import AlignmentMeasures, MeasureSettings, measure
from .alignments import AlignmentBudget, Game, alignment_of, load_alignments, members_of
from .cell import Cell

ORACLES = {"red_team-v0": v0.oracle, "red_team-v1": v1.oracle}
"""The games of the suite, by their registered names, and who knows the truth in each."""


@dataclass(frozen=True, kw_only=True)
class AlignmentSettings(Options):
    """What decides a cell's result, apart from code and versions."""

    red_team: MethodSettings = RED_TEAM_SETTINGS
    """What all methods have in red_team-v0."""
    ciphers: MethodSettings = SETTINGS
    """The same in red_team-v1."""
    measures: MeasureSettings = field(default_factory=MeasureSettings)
    """How much is measured."""

    def methods(self, game: str) -> MethodSettings:
        """Return what all methods have in a game."""
        check_choice("games", game, tuple(ORACLES))
        return self.red_team if game == "red_team-v0" else self.ciphers


@dataclass(frozen=True, slots=True)
class AlignmentResult:
    """What a cell came to."""

    cell: Cell
    code: str
    """The algorithm's; see `training.plugins.code_of`."""
    num_updates: int
    """Updates of the defender that its algorithm was given."""
    measures: AlignmentMeasures
    costs: Costs
    """Of training from the shared starts; its judge queries are the exchanges that the oracle was asked about."""
    cpu_seconds: float
    """Processor time of training; measuring is not part of it."""

    @classmethod
    def from_json(cls, line: Mapping[str, Any], where: str) -> AlignmentResult:
        """Return the result that a line of `results.jsonl` holds beside other things.

        Raises:
            ValueError: it does not; the message begins with `where`.
        """
        return record_of(cls, {name: line[name] for name in cls.__dataclass_fields__ if name in line}, where)


@dataclass(frozen=True, slots=True)
class StartJob:
    """Base model and fine-tuned defender of one game and seed, trained unless they are there."""

    starts: Starts

    def __call__(self) -> bool:
        """Train what is missing; return True."""
        use_threads(1)
        return self.starts.sft.is_dir()


@dataclass(frozen=True, slots=True)
class AlignmentJob:
    """A cell with all that another process must know to train it."""

    cell: Cell
    settings: AlignmentSettings
    starts: Starts
    alignment_files: tuple[Path, ...] = ()

    def __call__(self) -> AlignmentResult:
        """Train and measure the cell."""
        for path in self.alignment_files:
            load_alignments(path)
        return run_alignment(self.cell, self.settings, self.starts)


def run_alignment(cell: Cell, settings: AlignmentSettings, starts: Starts) -> AlignmentResult:
    """Train one cell from its starts to its end, and measure the defender that it comes to.

    Raises:
        ValueError: no such algorithm or game.
        TypeError: the algorithm returned no model.
    """
    algorithm, methods = alignment_of(cell.algorithm), settings.methods(cell.game)
    use_threads(1)  # the same numbers however many cells are trained at a time
    torch.manual_seed(cell.seed)
    meter, started = CostMeter(), time.process_time()
    game = counted_game(cell.game, meter)
    base, sft = (load_model(folder, game) for folder in (starts.base, starts.sft))
    budget = AlignmentBudget(game=game, seed=cell.seed, settings=methods)
    with meter.clock():
        defender = members_of(cell.algorithm, algorithm.align(game, base, sft, budget, cell.seed))
    costs, seconds = meter.costs, time.process_time() - started
    rules: Game = make_game(cell.game)  # type: ignore[assignment]
    fresh = load_model(starts.base, rules)  # the algorithm may have trained its own
    measures = measure(rules, language_of(rules), defender, fresh, methods, settings.measures, cell.seed)
    return AlignmentResult(cell, algorithm.code, methods.num_updates, measures, costs, seconds)


def counted_game(name: str, meter: CostMeter) -> Game:
    """Return the rules of a game of the suite, what is played by them and asked of their oracle counted."""
    game: Game = make_game(name, judge=meter.judge(ORACLES[name]))  # type: ignore[assignment]
    return metered_game(game, meter)
