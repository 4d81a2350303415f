"""An equilibrium learner of the exact tier in the form that every algorithm of two players has.

What plays on the tree, with micro models and with real ones is one kind of object: iterate over it to train, ask it for
its seats and its average, save it between two steps. So a solver is measured, compared and benchmarked as the others
are, with tables in place of models:

>>> from duologue.baselines.solvers import make_solver
>>> from duologue.baselines.two_player import ExactDistance
>>> from duologue.envs import make_game
>>> tree = GameTree(make_game("kuhn_poker-v0"))
>>> learner = ExactLearner(make_solver("cfr_plus", tree, 50), num_steps=50)
>>> distance = ExactDistance(learner, tree, every=50)
>>> [found.nash_conv_average < 0.02 for step in learner if (found := distance.after(step))]
[True]
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ...agents.population import Seat
from ...agents.tabular import TabularAgent
from ...envs.game import PLAYERS
from ...envs.tree import GameTree, Profile, uniform_profile
from ..solvers.solver import Solver
from ..training.checks import check_count
from ..training.state import Stateful


@dataclass(frozen=True, slots=True)
class ExactStep:
    """What one iteration reports: nothing but that it was made; `ExactDistance` measures it."""

    iteration: int
    """Iterations so far."""


class ExactLearner(Stateful):
    """A solver as a learner of both players; its state is how far it is, as nothing of it is drawn."""

    saved = ("iteration",)

    def __init__(self, solver: Solver, *, num_steps: int) -> None:
        """Take a solver, and after how many of its iterations it ends."""
        self.solver, self.num_steps = solver, check_count("num_steps", num_steps)
        self.iteration = solver.iteration

    @property
    def tree(self) -> GameTree:
        """The game, listed."""
        return self.solver.tree

    def __iter__(self) -> Iterator[ExactStep]:
        """Yield after each iteration until the end."""
        while self.iteration < self.num_steps:
            self._step()
            yield ExactStep(self.iteration)

    @property
    def seats(self) -> tuple[Seat, Seat]:
        """The newest iterate as agents; before there is one, uniform play."""
        last = self.solver.last_profile
        return self._seated(uniform_profile(self.tree) if last is None else last)

    @property
    def average(self) -> tuple[Seat, Seat] | None:
        """The average as agents; None where it has no meaning, or before there is one."""
        average = self.solver.average_profile
        return None if average is None else self._seated(average)

    def _seated(self, profile: Profile) -> tuple[Seat, Seat]:
        first, second = (TabularAgent(self.tree, player, profile[player]) for player in PLAYERS)
        return first, second

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a saved state: the solver takes the same iterations again.

        Raises:
            ValueError: it is further already.
        """
        if state["iteration"] < self.iteration:
            raise ValueError(f"iteration: expected at least {self.iteration}, got {state['iteration']}")
        while self.iteration < state["iteration"]:
            self._step()

    def _step(self) -> None:
        self.solver.step()
        self.iteration = self.solver.iteration
