"""One cell of the benchmark: one algorithm in one game with one seed, trained and held to the exact tree."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from ...agents.tabular import seat_profile
from ...envs.tree.analysis import GameTree, Profile, expected_returns, nash_conv
from ..learners.base import PlayerLearner
from ..learners.options import SELF_PLAY_PPO, LearnerOptions
from ..training.costs import CostMeter, Costs, metered_game
from ..training.loop import use_threads
from ..training.options import ModelOptions
from ..two_player.learner import Task
from ..two_player.measured import MeasuredLearner
from . import entrants as bench_entrants  # noqa: F401  (registers the algorithms that come with the package)
from .games import GameFacts, ScaledGame, bench_game, game_facts, shortfall
from .registry import ALGORITHMS, any_game, load_algorithms


@dataclass(frozen=True, order=True, slots=True)
class Cell:
    """Which algorithm, in which game, with which seed."""

    algorithm: str
    game: str
    seed: int

    def __str__(self) -> str:
        """Return it as in messages."""
        return f"{self.algorithm} in {self.game}, seed {self.seed}"


@dataclass(frozen=True, kw_only=True)
class BenchSettings:
    """What decides a cell's result, apart from code and versions."""

    num_updates: int
    """Updates of each player."""
    batch_size: int
    """Episodes for one update."""
    measure_every: int = 6
    """Updates between two computations of NashConv."""
    models: ModelOptions = field(default_factory=ModelOptions)
    """What players start from."""
    learner: LearnerOptions = field(default_factory=lambda: LearnerOptions(ppo=SELF_PLAY_PPO))
    """How a player learns where the algorithm does not say otherwise."""

    def __post_init__(self) -> None:
        """Check the budget.

        Raises:
            ValueError: a number below 1, or a last update that is not measured.
        """
        for name in ("num_updates", "batch_size", "measure_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: expected at least 1, got {getattr(self, name)}")
        if self.num_updates % self.measure_every:
            raise ValueError(f"num_updates: expected a multiple of {self.measure_every}, got {self.num_updates}")


@dataclass(frozen=True, slots=True)
class Measured:
    """Where one profile stands."""

    nash_conv: float
    """The players' gains from a best response, summed; in the game's own payoffs."""
    returns: tuple[float, float]
    """What both expect; in the game's own payoffs."""
    shortfall: float
    """What is compared over games, 0 best; see `bench_games.shortfall`."""


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """Both profiles after some updates."""

    iteration: int
    """Updates of each player."""
    last: Measured
    """The newest players."""
    average: Measured
    """The algorithm's own average, else that of its iterates."""


@dataclass(frozen=True, slots=True)
class CellResult:
    """What a cell came to."""

    cell: Cell
    code: str
    """The algorithm's; see `bench_algorithms.code_of`."""
    facts: GameFacts
    """What results in this game are held against."""
    curve: tuple[CurvePoint, ...]
    """Over training; the last point is the result."""
    costs: Costs
    """Of training; its seconds are wall-clock time and hold the measuring too."""
    cpu_seconds: float
    """Processor time of making the algorithm, training and measuring."""

    @classmethod
    def from_json(cls, line: Mapping[str, Any]) -> CellResult:
        """Return the result that a line of `results.jsonl` holds."""

        def measured(one: Mapping[str, Any]) -> Measured:
            return Measured(one["nash_conv"], (one["returns"][0], one["returns"][1]), one["shortfall"])

        curve = (CurvePoint(p["iteration"], measured(p["last"]), measured(p["average"])) for p in line["curve"])
        return cls(
            Cell(**line["cell"]),
            line["code"],
            GameFacts(**line["facts"]),
            tuple(curve),
            Costs(**line["costs"]),
            line["cpu_seconds"],
        )


@dataclass(frozen=True, slots=True)
class CellJob:
    """A cell with all that another process must know to train it."""

    cell: Cell
    settings: BenchSettings
    algorithm_files: tuple[Path, ...] = ()

    def __call__(self) -> CellResult:
        """Train the cell."""
        for path in self.algorithm_files:
            load_algorithms(path)
        return run_cell(self.cell, self.settings)


def can_play(algorithm: str, game: str) -> bool:
    """Return whether an algorithm takes a game; one that is not registered is taken to play all."""
    plays = ALGORITHMS[algorithm].plays if algorithm in ALGORITHMS else any_game
    return plays is any_game or plays(bench_game(game).make())


def run_cell(cell: Cell, settings: BenchSettings) -> CellResult:
    """Train one cell from its start to its end.

    Raises:
        ValueError: no such algorithm or game, or the algorithm kept another budget than its task's.
    """
    if cell.algorithm not in ALGORITHMS:
        raise ValueError(f"algorithms: expected names among {', '.join(ALGORITHMS)}, got {cell.algorithm!r}")
    use_threads(1)  # the same numbers however many cells are trained at a time
    torch.manual_seed(cell.seed)
    algorithm, game = ALGORITHMS[cell.algorithm], bench_game(cell.game).make()
    tree, meter = GameTree(game), CostMeter()
    facts = game_facts(tree)
    curve, started = [], time.process_time()
    with meter.clock():  # an algorithm may play, or train, before its first update
        made = algorithm.make(_task(cell, settings, facts, meter))
    learner = MeasuredLearner(made, tree, every=settings.measure_every)
    for step in meter.timed(learner):
        if step.iteration % settings.measure_every == 0:
            curve.append(_point(step.iteration, learner, facts))
    if learner.iteration != settings.num_updates or not curve:
        raise ValueError(
            f"{cell.algorithm}: expected {settings.num_updates} updates of each player, got {learner.iteration}"
        )
    seconds = time.process_time() - started
    return CellResult(cell, algorithm.code, facts, tuple(curve), meter.costs, seconds)


def _task(cell: Cell, settings: BenchSettings, facts: GameFacts, meter: CostMeter) -> Task:
    game = metered_game(ScaledGame(bench_game(cell.game).make(), payoff_range=facts.payoff_range), meter)

    def make_player(player: int, seed: int) -> PlayerLearner:
        return settings.learner.make(settings.models.make(game, player, seed))

    return Task(
        game=game,
        seed=cell.seed,
        num_updates=settings.num_updates,
        batch_size=settings.batch_size,
        make_player=make_player,
    )


def _point(iteration: int, learner: MeasuredLearner, facts: GameFacts) -> CurvePoint:
    average = learner.average_profile
    assert average is not None  # an iterate has been added
    last = seat_profile(learner.tree, learner.seats)
    return CurvePoint(iteration, *(_measured(learner.tree, one, facts) for one in (last, average)))


def _measured(tree: GameTree, profile: Profile, facts: GameFacts) -> Measured:
    first, second = expected_returns(tree, profile).tolist()
    distance = nash_conv(tree, profile)
    return Measured(distance, (first, second), shortfall(facts, distance, (first, second)))


def cell_json(result: CellResult) -> dict[str, Any]:
    """Return a result as JSON can hold it."""
    return asdict(result)
