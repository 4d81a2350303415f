"""One cell of the benchmark: one algorithm in one game with one seed, trained and held to the exact tree."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from ...agents.language_model.causal_lm import CausalLMAgent
from ...agents.loading import spoken_options
from ...agents.tabular import seat_profile
from ...envs import LanguageGame, Payoff
from ...envs.tree.analysis import GameTree, Profile, expected_returns, nash_conv
from ..learners.base import PlayerLearner
from ..learners.options import SELF_PLAY_PPO, LearnerOptions
from ..learners.registry import load_learners
from ..reporting.records import record_of
from ..training.checks import Count, Options, Rows, Seed
from ..training.costs import CostMeter, Costs, metered_game
from ..training.loop import use_threads
from ..training.options import ModelOptions, TrainingOptions
from ..training.presets import PRESETS, Preset, with_preset
from ..training.watchers import watched
from ..two_player.learner import Task
from ..two_player.measured import ExactDistance, is_late, last_fifth
from . import entrants  # noqa: F401  (registers the algorithms that come with the package)
from .games import GameFacts, ScaledGame, bench_game, game_facts, is_game, shortfall
from .registry import ALGORITHMS, algorithm_of, any_game, code_of_spec, load_algorithms


@dataclass(frozen=True, order=True, slots=True)
class Cell:
    """Which algorithm, in which game, with which seed."""

    algorithm: str
    game: str
    seed: Seed

    def __str__(self) -> str:
        """Return it as in messages."""
        return f"{self.algorithm} in {self.game}, seed {self.seed}"


PRESET_OF: Mapping[bool, Preset] = {False: "micro", True: "pretrained_lora"}
"""Whose numbers hold, by whether the games are spoken."""


@dataclass(frozen=True, kw_only=True)
class BenchSettings(Options):
    """What decides a cell's result, apart from code and versions."""

    num_updates: Count
    """Updates of each player."""
    batch_size: Rows
    """Episodes for one update."""
    measure_every: Count = 6
    """Updates between two computations of NashConv."""
    late_measure_every: Count = 2
    """The same in the last fifth of training, of which the last iterate is told."""
    models: ModelOptions = field(default_factory=ModelOptions)
    """What players start from."""
    learner: LearnerOptions = field(default_factory=lambda: LearnerOptions(ppo=SELF_PLAY_PPO))
    """How a player learns where the algorithm does not say otherwise."""
    spoken: Path | None = None
    """The folder of a chat model in whose text the games are told, and from which both players start, as adapters; its
    preset's numbers are taken where options hold a micro model's. None: games of words, and micro models."""

    def __post_init__(self) -> None:
        """Check the budget.

        Raises:
            ValueError: a number below 1, or a last update that is not measured.
        """
        super().__post_init__()
        if self.num_updates % self.measure_every:
            raise ValueError(f"num_updates: expected a multiple of {self.measure_every}, got {self.num_updates}")

    @property
    def numbers(self) -> Mapping[str, Any]:
        """The preset's, by what players start from."""
        return PRESETS[PRESET_OF[self.spoken is not None]]

    def game(self, name: str) -> LanguageGame[Any]:
        """Return the rules of a game of the benchmark, as it is told.

        Raises:
            ValueError: no such game, or none that can be told in English.
        """
        return bench_game(name).make(**spoken_options(self.spoken))

    def is_measured(self, iteration: int) -> bool:
        """Return whether NashConv is computed after so many updates."""
        late = is_late(iteration, self.num_updates) and iteration % self.late_measure_every == 0
        return late or iteration % self.measure_every == 0


@dataclass(frozen=True, slots=True)
class Measured:
    """Where one profile stands."""

    nash_conv: float
    """The players' gains from a best response, summed; in the game's own payoffs."""
    returns: tuple[float, float]
    """What both expect; in the game's own payoffs."""
    shortfall: float
    """What is compared over games, 0 best; see `games.shortfall`."""


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """Both profiles after some updates."""

    iteration: int
    """Updates of each player."""
    last: Measured
    """The newest players."""
    average: Measured
    """The algorithm's own average, else that of its iterates."""


def late_shortfall(curve: Sequence[CurvePoint]) -> float:
    """Return where the last iterate is: the mean shortfall of the newest players over the last fifth of training.

    One point is a snapshot, and says much less: a learner whose steps are noise of a constant size is thrown out of an
    equilibrium and comes back, so that what it plays after the last update is a matter of luck. The mean over the last
    fifth and the number of `excursions` say how far, and how often, it is away.
    """
    late = last_fifth(curve)
    return math.fsum(point.last.shortfall for point in late) / len(late)


def excursions(curve: Sequence[CurvePoint], threshold: float = 0.05) -> int:
    """Return at how many points of the last fifth of training the newest players' shortfall is above a threshold.

    Args:
        curve: over training.
        threshold: in units of the game's payoff range, as a shortfall is.
    """
    return sum(point.last.shortfall > threshold for point in last_fifth(curve))


@dataclass(frozen=True, slots=True)
class CellResult:
    """What a cell came to."""

    cell: Cell
    code: str
    """The algorithm's; see `training.plugins.code_of`."""
    facts: GameFacts
    """What results in this game are held against."""
    curve: tuple[CurvePoint, ...]
    """Over training; the last point is the result."""
    costs: Costs
    """Of training; its seconds are wall-clock time and hold the measuring too."""
    cpu_seconds: float
    """Processor time of making the algorithm, training and measuring."""

    @classmethod
    def from_json(cls, line: Mapping[str, Any], where: str) -> CellResult:
        """Return the result that a line of `results.jsonl` holds beside other things.

        Raises:
            ValueError: it does not; the message begins with `where`.
        """
        names = [name for name in cls.__dataclass_fields__ if name in line]
        result = record_of(cls, {name: line[name] for name in names}, where)
        payoffs = [payoff.value for payoff in Payoff]
        if result.facts.payoff not in payoffs:
            raise ValueError(
                f"{where}: facts.payoff: expected one of {', '.join(payoffs)}, got {result.facts.payoff!r}"
            )
        if not (result.curve and result.cell.algorithm and result.cell.game):
            raise ValueError(f"{where}: expected names and a curve of at least one point, got {result.cell}")
        return result


@dataclass(frozen=True, slots=True)
class CellJob:
    """A cell with all that another process must know to train it."""

    cell: Cell
    settings: BenchSettings
    algorithm_files: tuple[Path, ...] = ()
    learner_files: tuple[Path, ...] = ()
    device: str = "cpu"

    def __call__(self) -> CellResult:
        """Train the cell."""
        for path in self.algorithm_files:
            load_algorithms(path)
        for path in self.learner_files:
            load_learners(path)
        return run_cell(self.cell, self.settings, device=self.device)


def can_play(algorithm: str, game: str) -> bool:
    """Return whether an algorithm takes a game; where one of the two is not registered here, it is taken to."""
    name = algorithm.partition(":")[0]
    plays = ALGORITHMS[name].plays if name in ALGORITHMS and is_game(game) else any_game
    return plays is any_game or plays(bench_game(game).make())


def run_cell(cell: Cell, settings: BenchSettings, *, device: str = "cpu") -> CellResult:
    """Train one cell from its start to its end, on a device.

    Raises:
        ValueError: no such algorithm or game, or the algorithm kept another budget than its task's.
    """
    algorithm, learner = algorithm_of(cell.algorithm)
    use_threads(1)  # the same numbers however many cells are trained at a time
    torch.manual_seed(cell.seed)
    tree, meter = GameTree(settings.game(cell.game)), CostMeter()
    facts = game_facts(tree)
    curve, started = [], time.process_time()
    with meter.clock():  # an algorithm may play, or train, before its first update
        made = algorithm.make(
            _task(cell, tree, settings if learner is None else replace(settings, learner=learner), meter, device)
        )
    distance = ExactDistance(made, tree, every=settings.num_updates)  # it averages; `_point` measures
    for step, _ in meter.timed(watched(made, [distance])):
        if settings.is_measured(step.iteration):
            curve.append(_point(step.iteration, distance, facts))
    if made.iteration != settings.num_updates or not curve:
        raise ValueError(
            f"{cell.algorithm}: expected {settings.num_updates} updates of each player, got {made.iteration}"
        )
    seconds = time.process_time() - started
    return CellResult(cell, code_of_spec(cell.algorithm), facts, tuple(curve), meter.costs, seconds)


def _task(cell: Cell, tree: GameTree, settings: BenchSettings, meter: CostMeter, device: str) -> Task:
    game = metered_game(ScaledGame(tree.game, payoff_range=tree.payoff_range), meter)
    learner = with_preset(settings.learner, settings.numbers)

    def make_player(player: int, seed: int) -> PlayerLearner:
        return learner.make(_start(game, player, seed, settings, device))

    return Task(
        game=game,
        seed=cell.seed,
        num_updates=settings.num_updates,
        batch_size=settings.batch_size,
        make_player=make_player,
        learner=learner if ":" in cell.algorithm else None,
        numbers=settings.numbers,
    )


def _start(game: LanguageGame[Any], player: int, seed: int, settings: BenchSettings, device: str) -> CausalLMAgent:
    if settings.spoken is None:
        return settings.models.make(game, player, seed, device=device)
    options = TrainingOptions(lora_rank=settings.numbers["lora_rank"], device=device)
    return options.load(settings.spoken, game, player, name=f"player_{player}", seed=2 * seed + player)


def _point(iteration: int, distance: ExactDistance, facts: GameFacts) -> CurvePoint:
    average = distance.average_profile
    assert average is not None  # an iterate has been added
    last = seat_profile(distance.tree, distance.learner.seats)
    return CurvePoint(iteration, *(_measured(distance.tree, profile, facts) for profile in (last, average)))


def _measured(tree: GameTree, profile: Profile, facts: GameFacts) -> Measured:
    first, second = expected_returns(tree, profile).tolist()
    distance = nash_conv(tree, profile)
    if not math.isfinite(first + second + distance):
        raise ValueError(f"expected finite returns and NashConv, got {first}, {second} and {distance}")
    return Measured(distance, (first, second), shortfall(facts, distance, (first, second)))
