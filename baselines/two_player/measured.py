"""Any two-player learner held to the exact tree: NashConv of what it plays, over training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

from ...agents.tabular import seat_profile
from ...envs.tree.analysis import GameTree, Profile, expected_returns, nash_conv
from ..solvers.solver import AverageProfile, SolveStep
from ..training.checks import check_count
from ..training.run import Record
from ..training.watchers import Watcher
from .learner import TwoPlayerLearner


class Dated(Protocol):
    """Whatever is told after so many updates."""

    @property
    def iteration(self) -> int:
        """Updates so far."""
        ...


DatedT = TypeVar("DatedT", bound=Dated)


def is_late(iteration: int, num_updates: int) -> bool:
    """Return whether an update belongs to the last fifth of training: more than 4/5 of all have been made."""
    return 5 * iteration > 4 * num_updates


def last_fifth(points: Sequence[DatedT]) -> tuple[DatedT, ...]:
    """Return the points of the last fifth of training, by which a last iterate is told.

    One point is a snapshot, and says much less: a learner whose steps are noise is thrown out of an equilibrium and
    comes back, so that what it plays after the last update is a matter of luck.

    Raises:
        ValueError: there are no points.
    """
    if not points:
        raise ValueError("points: expected at least one, got none")
    return tuple(point for point in points if is_late(point.iteration, points[-1].iteration))


class ExactDistance(Watcher):
    """How far from equilibrium a learner's players are, computed in a game small enough to enumerate.

    The average is the learner's own where it keeps one, and else that of all iterates, by own reach (arXiv 2406.10977,
    section 3, proves its bound for averages).
    """

    name = "exact"
    saved = ("_average",)

    def __init__(self, learner: TwoPlayerLearner, tree: GameTree, *, every: int = 1) -> None:
        """Take the learner, and after how many of its steps it is measured; iterates are averaged at every step."""
        self.learner, self.tree, self.every = learner, tree, check_count("every", every)
        self._average = AverageProfile(tree)

    @property
    def average_profile(self) -> Profile | None:
        """The average on the tree: the learner's own, else that of its iterates; None before the first."""
        kept = self.learner.average
        return self._average.profile if kept is None else seat_profile(self.tree, kept)

    def after(self, step: Record) -> SolveStep | None:
        """Return NashConv of the newest players and of the average; None where it was not asked for."""
        kept, due = self.learner.average, step.iteration % self.every == 0
        if not due and kept is not None:
            return None
        last = seat_profile(self.tree, self.learner.seats)
        if kept is None:
            self._average.add(last)
        if not due:
            return None
        mixed = self._average.profile if kept is None else seat_profile(self.tree, kept)
        assert mixed is not None
        value = float(expected_returns(self.tree, mixed)[0])
        return SolveStep(step.iteration, nash_conv(self.tree, last), nash_conv(self.tree, mixed), value)
