"""What every equilibrium learner on a tree has in common: a step, its newest iterate, the average of its iterates."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ...envs.game import PLAYERS
from ...envs.tree.analysis import GameTree, Profile, check_profile, expected_returns, nash_conv, uniform_profile
from ..training.checks import check_count


class Solver(Protocol):
    """An algorithm that changes a profile step by step.

    Theorems speak of the newest iterate or of the average of all iterates, hardly ever of both, so both are kept.
    """

    tree: GameTree
    iteration: int
    """How many steps have been made."""

    @property
    def last_profile(self) -> Profile | None:
        """The newest iterate; None before there is one."""
        ...

    @property
    def average_profile(self) -> Profile | None:
        """The average of the iterates that the finished steps used; None where an average has no meaning."""
        ...

    def step(self) -> None:
        """Make one iteration."""
        ...


class AverageProfile:
    """A running average of profiles, each player's members weighted by that player's own reach.

    It equals drawing one member for a whole episode (Kuhn, 1953): realisation plans are averaged, not token
    probabilities.
    """

    def __init__(self, tree: GameTree) -> None:
        self._tree = tree
        self._plans = tuple(np.zeros(table.num_actions + 1) for table in tree.tables)

    def add(self, profile: Profile, weight: float = 1.0) -> None:
        """Add one member; a member that is to count twice has `weight` 2."""
        for plan, table, policy in zip(self._plans, self._tree.tables, profile, strict=True):
            plan += weight * table.reach(policy)

    @property
    def profile(self) -> Profile | None:
        """The average as a behaviour profile, uniform where no member ever comes; None before the first member."""
        if not self._plans[0][0]:
            return None
        first, second = (table.policy_of(plan) for table, plan in zip(self._tree.tables, self._plans, strict=True))
        return first, second

    def state_dict(self) -> dict[str, NDArray[np.float64]]:
        """Return the sums of realisation plans."""
        return {f"player_{player}": plan for player, plan in enumerate(self._plans)}

    def load_state_dict(self, state: dict[str, NDArray[np.float64]]) -> None:
        """Continue from saved sums."""
        for player, plan in enumerate(self._plans):
            plan[:] = state[f"player_{player}"]


def start_profile(tree: GameTree, initial_profile: Profile | None) -> Profile:
    """Return where a learner starts: the profile that was given, uniform where none was.

    Raises:
        ValueError: what was given is no profile.
    """
    if initial_profile is None:
        return uniform_profile(tree)
    if not isinstance(initial_profile, (tuple, list)):
        raise ValueError(f"initial_profile: expected a pair of policies, got {initial_profile!r}")
    try:
        return check_profile(tree, initial_profile)
    except (ValueError, TypeError) as error:
        raise ValueError(f"initial_profile: {error}") from error


class AveragingSolver(ABC):
    """A learner whose steps use its newest profile, or one near it, and whose average is that of the used ones."""

    def __init__(self, tree: GameTree, initial_profile: Profile | None) -> None:
        """Start from `initial_profile`, uniform where it is None; it raises as `start_profile` does."""
        self.tree = tree
        self.iteration = 0
        self._profile = start_profile(tree, initial_profile)
        self._average = AverageProfile(tree)

    @property
    def last_profile(self) -> Profile:
        """The newest iterate, which no step has used yet."""
        return self._profile

    @property
    def average_profile(self) -> Profile | None:
        """The average of the profiles that steps 1 to `iteration` used, by own reach; None before the first."""
        return self._average.profile

    @abstractmethod
    def step(self) -> None:
        """Make one iteration."""


@dataclass(frozen=True, slots=True)
class SolveStep:
    """How far from equilibrium a solver is."""

    iteration: int
    nash_conv_last: float | None
    """Sum of both players' best-response gains against the newest iterate, 0 at an equilibrium."""
    nash_conv_average: float | None
    """The same against the average profile."""
    value: float | None
    """Player 0's expected return if both play the average profile."""


def solve(solver: Solver, num_iterations: int, *, every: int = 1) -> Iterator[SolveStep]:
    """Make `num_iterations` steps; yield a report after each `every`-th and after the last.

    Raises:
        ValueError: `num_iterations` or `every` is below 1.
        FloatingPointError: the solver left the finite numbers, as with a step size that is far too large.
    """
    for name, count in (("num_iterations", num_iterations), ("every", every)):
        check_count(name, count)
    return _steps(solver, num_iterations, every)


def _steps(solver: Solver, num_iterations: int, every: int) -> Iterator[SolveStep]:
    for count in range(1, num_iterations + 1):
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):  # what comes of it is found below
            solver.step()
        last = _finite(solver, "newest", solver.last_profile)
        if count % every == 0 or count == num_iterations:
            yield report(solver, last, _finite(solver, "average", solver.average_profile))


def report(solver: Solver, last: Profile | None, average: Profile | None) -> SolveStep:
    """Return the exact distances of the two profiles from equilibrium, and the value of the average one."""
    tree = solver.tree
    return SolveStep(
        solver.iteration,
        None if last is None else nash_conv(tree, last),
        None if average is None else nash_conv(tree, average),
        None if average is None else float(expected_returns(tree, average)[0]),
    )


def _finite(solver: Solver, which: str, profile: Profile | None) -> Profile | None:
    for player in PLAYERS:
        if profile is not None and not np.isfinite(profile[player]).all():
            raise FloatingPointError(
                f"{type(solver).__name__}, iteration {solver.iteration}: expected finite probabilities, got "
                f"{np.sum(~np.isfinite(profile[player]))} that are not in player {player}'s {which} policy; "
                "a smaller step size may help"
            )
    return profile
