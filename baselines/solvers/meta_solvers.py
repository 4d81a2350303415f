"""Meta-solvers: how PSRO weighs the members of its populations, from the payoffs among them.

Each takes `payoff_matrices` (2, n, m), to player 0 (the rows) and to player 1 (the columns), and returns the two
players' weights. `META_SOLVERS` has them by name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from ...envs.tree.infostates import Floats
from ..training.checks import check_count, check_not_negative, check_positive
from .alpha_rank import alpha_rank_two_populations
from .linear_programs import solve_matrix_game

MetaPolicies = tuple[Floats, Floats]
MetaSolver = Callable[[Floats], MetaPolicies]


def uniform_meta_solver(payoff_matrices: NDArray[np.floating]) -> MetaPolicies:
    """Return equal weights; PSRO is then fictitious play (Lanctot et al., 2017)."""
    _, n, m = _check(payoff_matrices).shape
    return np.full(n, 1 / n), np.full(m, 1 / m)


def nash_meta_solver(payoff_matrices: NDArray[np.floating]) -> MetaPolicies:
    """Return a Nash equilibrium of the zero-sum matrix game by linear programming; PSRO is then double oracle.

    Raises:
        ValueError: the payoffs do not sum to a constant; it names the pair where they are furthest from it.
    """
    matrices = _check(payoff_matrices)
    sums = matrices.sum(0)
    off = np.abs(sums - sums.flat[0])
    if off.max() > 1e-9 * float(np.abs(matrices).max()):
        row, column = np.unravel_index(int(off.argmax()), off.shape)
        pair = tuple(matrices[:, row, column].tolist())
        raise ValueError(
            f"payoff_matrices: expected a constant sum, got {pair} at ({row}, {column}) beside {sums.flat[0]:.6g} at "
            "(0, 0); the other meta-solvers take general-sum games"
        )
    found = solve_matrix_game(matrices[0])
    return found.x, found.y


def projected_replicator_dynamics(
    payoff_matrices: NDArray[np.floating], *, num_iterations: int = 20_000, dt: float = 0.01, floor: float = 1e-6
) -> MetaPolicies:
    """Return the time average of replicator dynamics kept off the boundary (PRD; Lanctot et al., 2017).

    x <- Proj(x + dt x (u - x.u)) with u the payoff of each member against the other's weights, from uniform weights,
    both players together; Proj is the Euclidean projection onto the weights that sum to 1 and are at least `floor`.
    Time is counted in units of one over the player's payoff range (largest minus smallest), so that the unit of payoff
    does not matter.
    """
    check_count("num_iterations", num_iterations)
    check_positive("dt", dt)
    check_not_negative("floor", floor)
    first, second = (_in_units_of_its_range(matrix) for matrix in _check(payoff_matrices))
    x, y = uniform_meta_solver(payoff_matrices)
    sums = np.zeros_like(x), np.zeros_like(y)
    for _ in range(num_iterations):
        u, v = first @ y, x @ second
        x = x + dt * x * (u - x @ u)
        y = y + dt * y * (v - y @ v)
        x = x if x.min() >= floor else project_to_simplex(x, floor)
        y = y if y.min() >= floor else project_to_simplex(y, floor)
        sums[0][:] += x
        sums[1][:] += y
    return sums[0] / sums[0].sum(), sums[1] / sums[1].sum()


def regret_matching(payoff_matrices: NDArray[np.floating], *, num_iterations: int = 20_000) -> MetaPolicies:
    """Return the average of regret matching, weights in proportion to positive regrets (Hart & Mas-Colell, 2000).

    In zero-sum games the averages' NashConv falls as O(1 / sqrt(num_iterations)).
    """
    check_count("num_iterations", num_iterations)
    first, second = _check(payoff_matrices)
    x, y = uniform_meta_solver(payoff_matrices)
    regrets, sums = (np.zeros_like(x), np.zeros_like(y)), (np.zeros_like(x), np.zeros_like(y))
    for _ in range(num_iterations):
        u, v = first @ y, x @ second
        for total, played, values, added in zip(sums, (x, y), (u, v), regrets, strict=True):
            total += played
            added += values - played @ values
        x, y = _match(regrets[0]), _match(regrets[1])
    return sums[0] / sums[0].sum(), sums[1] / sums[1].sum()


def alpha_rank_meta_solver(payoff_matrices: NDArray[np.floating]) -> MetaPolicies:
    """Return the marginals of two-population alpha-rank, alpha raised until stable (1903.01373)."""
    shares = alpha_rank_two_populations(_check(payoff_matrices))
    return shares.sum(1), shares.sum(0)


META_SOLVERS: Mapping[str, MetaSolver] = MappingProxyType(
    {
        "uniform": uniform_meta_solver,
        "nash": nash_meta_solver,
        "prd": projected_replicator_dynamics,
        "regret_matching": regret_matching,
        "alpha_rank": alpha_rank_meta_solver,
    }
)
"""The meta-solvers by name."""


def project_to_simplex(point: Floats, floor: float = 0.0) -> Floats:
    """Return the nearest point whose coordinates sum to 1 and are at least `floor`.

    Duchi et al., "Efficient Projections onto the l1-Ball", ICML 2008, figure 1, after a shift by the floor.
    """
    free = 1.0 - floor * len(point)
    if free < 0:
        raise ValueError(f"floor: expected at most 1/{len(point)} for {len(point)} coordinates, got {floor}")
    shifted = point - floor
    descending = np.sort(shifted)[::-1]
    excess = (np.cumsum(descending) - free) / np.arange(1, len(point) + 1)
    threshold = excess[np.flatnonzero(descending >= excess)[-1]]
    nearest: Floats = np.maximum(shifted - threshold, 0.0) + floor
    return nearest


def _in_units_of_its_range(matrix: Floats) -> Floats:
    """Return payoffs from 0 to 1: a constant moves no strategy, but rounding would grow with it."""
    above: Floats = matrix - float(matrix.min())
    return above / (float(np.ptp(matrix)) or 1.0)


def _match(regrets: Floats) -> Floats:
    positive = np.maximum(regrets, 0.0)
    total = positive.sum()
    return positive / total if total > 0 else np.full(len(regrets), 1 / len(regrets))


def _check(payoff_matrices: NDArray[np.floating]) -> Floats:
    matrices = np.asarray(payoff_matrices, dtype=np.float64)
    if matrices.ndim != 3 or len(matrices) != 2 or not matrices.size or not np.isfinite(matrices).all():
        raise ValueError(f"payoff_matrices: expected finite numbers of shape (2, n, m), got shape {matrices.shape}")
    return matrices
