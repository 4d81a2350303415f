"""Equilibria of zero-sum games by linear programming: of a matrix, and of a tree in sequence form.

>>> solve_matrix_game(np.array([[1.0, -1.0], [-1.0, 1.0]])).value
0.0
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.optimize import linprog

from ...envs.tree.analysis import GameTree, Profile, expected_returns
from ...envs.tree.infostates import Floats, InfostateTable

FEASIBILITY = 1e-10
"""How far HiGHS lets a constraint be missed, payoffs being scaled to at most 1; its own default is 1e-7."""


class MatrixEquilibrium(NamedTuple):
    """A Nash equilibrium of a zero-sum matrix game."""

    x: Floats
    """The row player's mixed strategy; shape (n,)."""
    y: Floats
    """The column player's; shape (m,)."""
    value: float
    """What the row player expects."""


class TreeEquilibrium(NamedTuple):
    """A Nash equilibrium of a zero-sum tree."""

    profile: Profile
    value: float
    """What player 0 expects."""


def solve_matrix_game(payoffs: NDArray[np.floating]) -> MatrixEquilibrium:
    """Return an equilibrium of the zero-sum game with `payoffs` (n, m) to the row player.

    The linear program of von Neumann, max v such that x payoffs >= v; its dual is the column player's.

    Raises:
        ValueError: the payoffs are no matrix of finite numbers with at least one row and one column.
    """
    matrix = np.asarray(payoffs, dtype=np.float64)
    if matrix.ndim != 2 or not matrix.size or not np.isfinite(matrix).all():
        raise ValueError(f"payoffs: expected finite numbers of shape (n, m), n and m >= 1, got shape {matrix.shape}")
    scale = float(np.abs(matrix).max()) or 1.0
    one_row, one_column = (np.ones((1, size)) for size in matrix.shape)
    x, y = _saddle_point(sparse.csr_array(matrix / scale), sparse.csr_array(one_row), sparse.csr_array(one_column))
    x, y = x / x.sum(), y / y.sum()
    return MatrixEquilibrium(x, y, float(x @ matrix @ y))


def solve_zero_sum(tree: GameTree) -> TreeEquilibrium:
    """Return an equilibrium of a zero-sum game with perfect recall, hidden information included.

    Paper: Koller, Megiddo & von Stengel, "Efficient Computation of Equilibria for Extensive Two-Person Games" (1996):
    maximise over player 0's realisation plans what player 1's best answer leaves of it. Its size grows with the tree,
    not with the number of pure strategies. Player 1's plan is the dual solution.

    Raises:
        ValueError: the players' rewards do not sum to 0 everywhere.
    """
    if not tree.is_zero_sum:
        worst = int(np.abs(tree.rewards.sum(1)).argmax())
        pair = tuple(tree.rewards[worst].tolist())
        raise ValueError(f"{type(tree.game).__name__}: expected rewards that sum to 0, got {pair} at node {worst}")
    shape = (tree.tables[0].num_actions + 1, tree.tables[1].num_actions + 1)
    paid = tree.values[:, 0]
    scale = float(np.abs(paid).max(initial=0.0)) or 1.0
    matrix = sparse.csr_array((paid / scale, (tree.rows, tree.columns)), shape=shape)
    plans = _saddle_point(matrix, plan_constraints(tree.tables[0]), plan_constraints(tree.tables[1]))
    profile = tree.tables[0].policy_of(plans[0]), tree.tables[1].policy_of(plans[1])
    return TreeEquilibrium(profile, float(expected_returns(tree, profile)[0]))


def plan_constraints(table: InfostateTable) -> sparse.csr_array:
    """Return E with E plan = (1, 0, ..., 0) for exactly the player's realisation plans; shape (I + 1, A + 1).

    Row 0 says that the empty sequence has probability 1; row i + 1 that information state i hands on what comes to it.
    """
    infostates, actions = np.arange(table.num_infostates), np.arange(table.num_actions)
    rows = np.concatenate([[0], infostates + 1, table.infostate_of + 1])
    columns = np.concatenate([[0], table.parent_sequence, actions + 1])
    signs = np.concatenate([[1.0], -np.ones(table.num_infostates), np.ones(table.num_actions)])
    return sparse.csr_array((signs, (rows, columns)), shape=(table.num_infostates + 1, table.num_actions + 1))


def _saddle_point(matrix: sparse.csr_array, own: sparse.csr_array, other: sparse.csr_array) -> tuple[Floats, Floats]:
    """Return x, y of max_x min_y x matrix y, where own x = e, other y = e, x, y >= 0 and e = (1, 0, ..., 0).

    By duality in y: maximise e q over x and free q, such that other^T q - matrix^T x <= 0. The multipliers of these
    inequalities are y.
    """
    num_plans, num_free = own.shape[1], other.shape[0]
    objective = np.zeros(num_plans + num_free)
    objective[num_plans] = -1.0  # linprog minimises
    first = np.zeros(own.shape[0])
    first[0] = 1.0
    found = linprog(
        objective,
        A_ub=sparse.hstack([-matrix.T, other.T], format="csr"),
        b_ub=np.zeros(matrix.shape[1]),
        A_eq=sparse.hstack([own, sparse.csr_array((own.shape[0], num_free))], format="csr"),
        b_eq=first,
        bounds=[(0, None)] * num_plans + [(None, None)] * num_free,
        method="highs",
        options={"primal_feasibility_tolerance": FEASIBILITY, "dual_feasibility_tolerance": FEASIBILITY},
    )
    if found.status != 0:
        raise RuntimeError(f"linear program of {matrix.shape} sequences: expected a solution, got {found.message!r}")
    return np.maximum(found.x[:num_plans], 0.0), np.maximum(-found.ineqlin.marginals, 0.0)
