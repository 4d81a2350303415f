"""Any two-player learner held to the exact tree: NashConv of what it plays, over training."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ...agents.population import Seat
from ...agents.tabular import seat_profile
from ...envs.tree.analysis import GameTree, Profile, expected_returns, nash_conv
from ..solvers.solver import AverageProfile, SolveStep
from ..training.run import Record
from ..training.state import StateValue
from .learner import TwoPlayerLearner


@dataclass(frozen=True, slots=True)
class MeasuredStep:
    """One step of a learner, and how far from equilibrium its players are."""

    iteration: int
    """The learner's."""
    training: Record
    """What the learner reports."""
    exact: SolveStep | None
    """NashConv of the newest players and of the average; None where it was not asked for."""


class MeasuredLearner:
    """A two-player learner whose distance from equilibrium is computed, in a game small enough to enumerate.

    The average is the learner's own where it keeps one, and else that of all iterates, by own reach (arXiv 2406.10977,
    section 3, proves its bound for averages).
    """

    def __init__(self, learner: TwoPlayerLearner, tree: GameTree, *, every: int = 1) -> None:
        """Take the learner, and after how many of its steps it is measured; iterates are averaged at every step."""
        if every < 1:
            raise ValueError(f"every: expected at least 1, got {every}")
        self.learner, self.tree, self.every, self.iteration = learner, tree, every, learner.iteration
        self._average = AverageProfile(tree)

    def __iter__(self) -> Iterator[MeasuredStep]:
        """Yield after each step of the learner."""
        for step in self.learner:
            self.iteration = step.iteration
            due = step.iteration % self.every == 0
            yield MeasuredStep(step.iteration, step, self._measure(due))

    @property
    def seats(self) -> tuple[Seat, Seat]:
        """The newest players."""
        return self.learner.seats

    @property
    def average(self) -> tuple[Seat, Seat] | None:
        """The learner's own average."""
        return self.learner.average

    @property
    def average_profile(self) -> Profile | None:
        """The average on the tree: the learner's own, else that of its iterates; None before the first."""
        kept = self.learner.average
        return self._average.profile if kept is None else seat_profile(self.tree, kept)

    def _measure(self, due: bool) -> SolveStep | None:
        kept = self.learner.average
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
        return SolveStep(self.iteration, nash_conv(self.tree, last), nash_conv(self.tree, mixed), value)

    def state_dict(self) -> dict[str, StateValue]:
        """Return the learner's state and the sum that the average is made of."""
        return {"learner": self.learner.state_dict(), "average": self._average.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a saved state."""
        self.learner.load_state_dict(state["learner"])
        self._average.load_state_dict(state["average"])
        self.iteration = self.learner.iteration
