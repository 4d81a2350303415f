"""Any two-player learner held to the exact tree: NashConv of what it plays, over training."""

from __future__ import annotations

from ...agents.tabular import seat_profile
from ...envs.tree.analysis import GameTree, Profile, expected_returns, nash_conv
from ..solvers.solver import AverageProfile, SolveStep
from ..training.checks import check_count
from ..training.run import Record
from ..training.watchers import Watcher
from .learner import TwoPlayerLearner


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
