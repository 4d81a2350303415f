"""Double oracle and PSRO: populations of pure policies that grow by exact best responses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...envs.game import PLAYERS
from ...envs.tree.analysis import GameTree, Policy, Profile, best_response
from ...envs.tree.infostates import Floats, sums_by
from ..training.checks import check_count, check_not_negative
from .first_order import payoff_unit
from .linear_programs import solve_matrix_game
from .meta_solvers import META_SOLVERS, MetaPolicies, MetaSolver


class DoubleOracle:
    """Each player's population grows by a best response to the other's, weighted by a meta-solver (PSRO).

    Papers: McMahan, Gordon & Blum, "Planning in the Presence of Cost Functions Controlled by an Adversary", ICML 2003
    (double oracle, the meta-solver "nash"); Lanctot et al., "A Unified Game-Theoretic Approach to Multiagent
    Reinforcement Learning", NeurIPS 2017, algorithm 1 (PSRO, any meta-solver), with exact oracles.

    Guarantee: with "nash" in a zero-sum game the *average* profile, which is the mixture of the populations, is an
    equilibrium after finitely many steps, and `converged` says when. With "uniform" it is fictitious play that
    starts from the first actions. The others promise nothing in general.

    Differs from the papers in: best responses are computed, not learned; both players always add theirs, so that a
    policy can be a member twice.
    """

    def __init__(self, tree: GameTree, *, meta_solver: str = "nash", tolerance: float = 1e-9) -> None:
        """Start from one policy a player, the first legal action everywhere.

        Args:
            tree: of the game.
            meta_solver: a name in `META_SOLVERS`.
            tolerance: it has converged when no player can gain more than this part of the payoff range.

        Raises:
            ValueError: no such meta-solver, a negative tolerance, or "nash" and a game that is not zero-sum.
        """
        self._solve = _meta_solver(tree, meta_solver)
        self._tolerance = check_not_negative("tolerance", tolerance) * payoff_unit(tree)
        self.tree = tree
        self.iteration = 0
        self.converged = False
        """Whether the newest best responses gained nothing; further steps then change nothing."""
        self.populations: tuple[list[Policy], list[Policy]] = ([], [])
        """Both players' pure policies, oldest first."""
        self.payoff_matrices: Floats = np.zeros((2, 0, 0))
        """What both players expect when each plays a member; shape (2, n, m)."""
        self._plans: tuple[list[Floats], list[Floats]] = ([], [])
        self._last: Profile | None = None
        first = [table.greedy(np.zeros(table.num_actions)) for table in tree.tables]
        self._add(first[0], first[1])

    @property
    def last_profile(self) -> Profile | None:
        """The newest pair of best responses."""
        return self._last

    @property
    def average_profile(self) -> Profile:
        """The mixture of the populations, as a behaviour profile: one member drawn for a whole episode."""
        first, second = (table.policy_of(plan) for table, plan in zip(self.tree.tables, self._mixed_plans, strict=True))
        return first, second

    @property
    def meta_policies(self) -> MetaPolicies:
        """Both players' weights of their members."""
        return self._meta_policies

    def step(self) -> None:
        """Answer both mixtures exactly; add the answers unless neither gains, then weigh the members anew."""
        self.iteration += 1
        if self.converged:
            return
        mixture = self.average_profile
        answers = [best_response(self.tree, player, mixture[1 - player]) for player in PLAYERS]
        self._last = answers[0].policy, answers[1].policy
        x, y = self._meta_policies
        values = x @ self.payoff_matrices @ y
        self.converged = all(answers[player].value - values[player] <= self._tolerance for player in PLAYERS)
        if not self.converged:
            self._add(*self._last)

    def _add(self, *policies: Policy) -> None:
        for player in PLAYERS:
            self.populations[player].append(policies[player])
            self._plans[player].append(self.tree.tables[player].reach(policies[player]))
        self.payoff_matrices = _extend(self.tree, self.payoff_matrices, self._plans)
        self._meta_policies = self._solve(self.payoff_matrices)
        weighed = zip(self._meta_policies, self._plans, strict=True)
        self._mixed_plans = tuple(weights @ np.asarray(plans) for weights, plans in weighed)


def _meta_solver(tree: GameTree, name: str) -> MetaSolver:
    if not isinstance(name, str) or name not in META_SOLVERS:
        raise ValueError(f"meta_solver: expected one of {', '.join(META_SOLVERS)}, got {name!r}")
    if name == "nash" and not tree.is_zero_sum:
        raise ValueError(
            f"meta_solver: 'nash' needs a zero-sum game, got {type(tree.game).__name__}; the others take any game"
        )
    return META_SOLVERS[name]


def _extend(tree: GameTree, matrices: Floats, plans: Sequence[Sequence[Floats]]) -> Floats:
    """Return the payoff matrices with one more row and column, those of each player's newest plan; (2, n, m)."""
    rows, columns = np.asarray(plans[0]), np.asarray(plans[1])
    extended = np.empty((2, len(rows), len(columns)))
    extended[:, :-1, :-1] = matrices
    for player in PLAYERS:
        paid = tree.values[:, player]
        of_columns = sums_by(tree.columns, paid * rows[-1][tree.rows], columns.shape[1])
        of_rows = sums_by(tree.rows, paid * columns[-1][tree.columns], rows.shape[1])
        extended[player, -1, :] = columns @ of_columns
        extended[player, :, -1] = rows @ of_rows
    return extended


class OracleResult(NamedTuple):
    """What double oracle on a symmetric game ends with."""

    policy: Floats
    """Of all strategies; shape (n,)."""
    population: tuple[int, ...]
    """The strategies in the order in which they came in."""
    num_iterations: int
    """Best responses computed, the last one, which gained nothing, included."""
    gain: float
    """What that last one gained."""


def double_oracle(payoffs: NDArray[np.floating], *, start: int = 0, tolerance: float = 1e-9) -> OracleResult:
    """Return a symmetric equilibrium of an antisymmetric game, found with one population (McMahan et al., 2003).

    Args:
        payoffs: to the row's strategy, M = -M^T; for a preference matrix P it is 2 P - 1. Shape (n, n).
        start: the only strategy at first.
        tolerance: stop when the best response gains less than this part of the largest payoff.

    Raises:
        ValueError: the matrix is not antisymmetric (it names the worst cell), or there is no strategy `start`.
        RuntimeError: the linear program is not exact enough for the tolerance.
    """
    matrix = _antisymmetric(payoffs)
    enough = check_not_negative("tolerance", tolerance) * (float(np.abs(matrix).max()) or 1.0)
    if check_count("start", start, least=0) >= len(matrix):
        raise ValueError(f"start: expected a strategy from 0 to {len(matrix) - 1}, got {start}")
    population = [start]
    for iteration in range(1, len(matrix) + 1):
        policy = np.zeros(len(matrix))
        policy[population] = solve_matrix_game(matrix[np.ix_(population, population)]).x
        values = matrix @ policy
        best = int(values.argmax())
        if values[best] <= enough:
            return OracleResult(policy, tuple(population), iteration, float(values[best]))
        if best in population:
            break
        population.append(best)
    raise RuntimeError(f"tolerance: a member of the population still gains {values[best]:.3g}, more than {enough:.3g}")


def _antisymmetric(payoffs: NDArray[np.floating]) -> Floats:
    """Return the matrix as float64, once it is known to be antisymmetric."""
    matrix = np.asarray(payoffs, dtype=np.float64)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or not matrix.size or not np.isfinite(matrix).all():
        raise ValueError(f"payoffs: expected finite numbers of shape (n, n), n >= 1, got shape {matrix.shape}")
    off = np.abs(matrix + matrix.T)
    if off.max() > 1e-9 * float(np.abs(matrix).max()):
        row, column = np.unravel_index(int(off.argmax()), off.shape)
        pair = (float(matrix[row, column]), float(matrix[column, row]))
        raise ValueError(f"payoffs: expected M[i, j] = -M[j, i], got {pair} at ({row}, {column})")
    return matrix
