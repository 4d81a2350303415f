"""Solve a small game from Python: what `duologue solve` prints, as an object with the profile."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ...envs import LanguageGame, make_game
from ...envs.tree.analysis import GameTree, Profile, expected_returns, nash_conv
from ..solvers.command import reported_iterations
from ..solvers.registry import make_solver
from ..solvers.solver import SolveStep
from ..solvers.solver import solve as steps_of
from ..training.checks import check_count

MAX_NODES = 10_000_000
"""The largest tree that is listed unless more is asked for, as on the command line."""


@dataclass(frozen=True, slots=True)
class Solution:
    """What a solver came to.

    >>> from duologue.baselines import solve
    >>> solution = solve("kuhn_poker-v0", iterations=1000)
    >>> f"{solution.value:.4f}", solution.nash_conv < 1e-3, solution.steps[-1].iteration
    ('-0.0556', True, 1000)
    """

    tree: GameTree
    """The game, listed."""
    profile: Profile
    """The newest iterate or the average, whichever is nearer to equilibrium."""
    nash_conv: float
    """Its distance: both players' best-response gains, summed; 0 at an equilibrium."""
    value: float
    """What player 0 earns if both play it."""
    is_average: bool
    """Whether it is the average."""
    steps: tuple[SolveStep, ...]
    """The distances of both over the iterations."""


def solve(
    game: str | LanguageGame[Any],
    algorithm: str = "cfr_plus",
    iterations: int = 1000,
    *,
    every: int | None = None,
    max_nodes: int = MAX_NODES,
    **options: Any,
) -> Solution:
    """Run an equilibrium learner on the exact tree of a small game.

    Args:
        game: its registered name, or its rules.
        algorithm: one of `duologue.baselines.solvers.registry.SOLVERS`.
        iterations: how many.
        every: iterations between two reports; None: after 1, 2, 5, 10, 20, ... of them, and after the last.
        max_nodes: the largest tree to list.
        options: further ones of the solver, such as `eta=0.1`.

    Raises:
        ValueError: no such game or algorithm, a game too large or without a list of deals, a number out of its range.
        TypeError: an option that the solver does not have.
    """
    check_count("iterations", iterations)
    check_count("max_nodes", max_nodes)
    if every is not None:
        check_count("every", every)
    tree = GameTree(make_game(game) if isinstance(game, str) else game, max_nodes=max_nodes)
    solver = make_solver(algorithm, tree, iterations, **options)
    steps: list[SolveStep] = []
    for iteration in reported_iterations(iterations, every):
        ahead = iteration - solver.iteration
        steps += steps_of(solver, ahead, every=ahead)
    kept = [(False, solver.last_profile), (True, solver.average_profile)]
    found = [(nash_conv(tree, profile), is_average, profile) for is_average, profile in kept if profile is not None]
    distance, is_average, profile = min(found, key=lambda candidate: candidate[0])
    value = float(expected_returns(tree, profile)[0])
    return Solution(tree, profile, distance, value, is_average, tuple(steps))
