"""alpha-rank: strategies ranked by how much time evolving populations spend on them.

Paper: Omidshafiei et al., "alpha-Rank: Multi-Agent Evaluation by Evolution", Scientific Reports 9 (2019), 1903.01373.

Populations of m individuals are pure but for one mutant at a time, which dies out or takes over. That is a Markov
chain over the pure profiles; its stationary distribution is the ranking. A single dominant strategy gets everything,
a cycle shares it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from ...envs.tree.infostates import Floats
from ..training.checks import check_choice, check_count, check_not_negative

STABLE = 1e-6
"""Raising alpha ends when doubling it moves no strategy's share by more than this."""

DOUBLINGS = 60
"""How often alpha is doubled at most."""

EQUAL = 1e-9
"""Where alpha is raised without end, fitnesses closer than this part of the largest payoff count as equal."""


def log_fixation_probability(advantage: Floats, num_individuals: int) -> Floats:
    """Return log rho, rho = (1 - e^-u) / (1 - e^-(m u)), 1/m at u = 0: the chance that one mutant takes over.

    The paper's rho, for an `advantage` u = alpha (fitness of the mutant - fitness of the resident) and
    m = `num_individuals`. Written with expm1(-|u|) only, so that it neither overflows nor cancels; a logarithm,
    because rho itself is soon smaller than any float.
    """
    size = np.abs(advantage)
    safe = np.where(size > 0, size, 1.0)
    favoured = np.where(size > 0, np.expm1(-safe) / np.expm1(-num_individuals * safe), 1.0 / num_individuals)
    logs: Floats = np.log(favoured) - np.where(advantage < 0, (num_individuals - 1) * size, 0.0)
    return logs


def stationary_distribution(log_transitions: Floats) -> Floats:
    """Return the left stationary vector of an irreducible chain (K, K), given as logarithms; its diagonal is not read.

    Grassmann, Taksar & Heyman (1985): elimination without a subtraction, hence accurate even where transitions differ
    by hundreds of orders of magnitude; on logarithms nothing underflows.
    """
    rates = np.array(log_transitions, dtype=np.float64)
    for last in range(len(rates) - 1, 0, -1):
        rates[:last, last] -= np.logaddexp.reduce(rates[last, :last])
        detours = rates[:last, last, None] + rates[last, :last]
        rates[:last, :last] = np.logaddexp(rates[:last, :last], detours)
    shares = np.zeros(len(rates))
    for k in range(1, len(rates)):
        shares[k] = np.logaddexp.reduce(shares[:k] + rates[:k, k])
    found: Floats = softmax(shares)
    return found


def alpha_rank(
    payoffs: NDArray[np.floating],
    *,
    alpha: float | None = None,
    num_individuals: int = 50,
    selection: Literal["local", "global"] = "local",
) -> Floats:
    """Return the share of each strategy of a symmetric game, one population; shape (n,).

    Args:
        payoffs: M(r, s) to strategy r against s; shape (n, n).
        alpha: how strictly the fitter one wins; None raises it until the shares are stable.
        num_individuals: m, the size of the population.
        selection: "local" compares M(r, s) with M(s, r), as OpenSpiel does by default; "global" compares
            m / (m - 1) M(r, s) with half the sum c = M(r, s) + M(s, r), which must be constant.

    Raises:
        ValueError: the matrix is not square and finite, an option is out of range, or the sum is not constant.
    """
    matrix = np.asarray(payoffs, dtype=np.float64)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or not matrix.size or not np.isfinite(matrix).all():
        raise ValueError(f"payoffs: expected finite numbers of shape (n, n), n >= 1, got shape {matrix.shape}")
    _check_options(alpha, num_individuals)
    advantage = _advantages(matrix, num_individuals, selection)
    moves = ~np.eye(len(matrix), dtype=bool)
    return _rank(advantage, moves, alpha, num_individuals, equal=EQUAL * float(np.abs(matrix).max()))


def alpha_rank_two_populations(
    payoff_matrices: NDArray[np.floating], *, alpha: float | None = None, num_individuals: int = 50
) -> Floats:
    """Return the share of each pure profile, one population for each player; shape (n, m).

    Args:
        payoff_matrices: to player 0 (the rows) and to player 1; shape (2, n, m).
        alpha: how strictly the fitter one wins; None raises it until the shares are stable.
        num_individuals: the size of each population.

    Raises:
        ValueError: the payoffs are not two finite matrices, or an option is out of range.
    """
    matrices = np.asarray(payoff_matrices, dtype=np.float64)
    if matrices.ndim != 3 or len(matrices) != 2 or not matrices.size or not np.isfinite(matrices).all():
        raise ValueError(f"payoff_matrices: expected finite numbers of shape (2, n, m), got shape {matrices.shape}")
    _check_options(alpha, num_individuals)
    rows, columns = (index.ravel() for index in np.indices(matrices.shape[1:]))
    of_row = (columns[:, None] == columns) & (rows[:, None] != rows)  # player 0 changes its strategy
    of_column = (rows[:, None] == rows) & (columns[:, None] != columns)
    first, second = (matrix.ravel()[None, :] - matrix.ravel()[:, None] for matrix in matrices)
    advantage = np.where(of_row, first, np.where(of_column, second, 0.0))
    equal = EQUAL * float(np.abs(matrices).max())
    return _rank(advantage, of_row | of_column, alpha, num_individuals, equal=equal).reshape(matrices.shape[1:])


def _advantages(matrix: Floats, num_individuals: int, selection: str) -> Floats:
    """Return u / alpha of a mutant (column) among residents (row)."""
    if check_choice("selection", selection, ("local", "global")) == "local":
        return matrix.T - matrix
    sums = matrix + matrix.T
    if np.ptp(sums) > 1e-9 * float(np.abs(matrix).max()):
        raise ValueError(
            f"payoffs: expected M + M^T constant for global selection, got {sums.min()} to {sums.max()}; "
            "local selection takes any matrix"
        )
    advantage: Floats = num_individuals / (num_individuals - 1) * (matrix.T - sums.mean() / 2)
    return advantage


def _rank(
    advantage: Floats, moves: NDArray[np.bool_], alpha: float | None, num_individuals: int, *, equal: float
) -> Floats:
    """Return the stationary distribution of the chain in which a state changes only by `moves`; shape (K,).

    The paper divides all chances by the number of moves, to make rows that sum to at most 1; a common factor changes
    nothing here.
    """

    def rank(advantage: Floats) -> Floats:
        logs = log_fixation_probability(advantage, num_individuals)
        return stationary_distribution(np.where(moves, logs, -np.inf))

    return rank(alpha * advantage) if alpha is not None else _raise_alpha(rank, np.where(moves, advantage, 0.0), equal)


def _raise_alpha(rank: Callable[[Floats], Floats], advantage: Floats, equal: float) -> Floats:
    """Return the shares once alpha is so large that doubling it changes none.

    It starts where the least difference of fitness counts already: before that the shares can seem to stand still.
    """
    size = np.abs(advantage)
    differs = size > equal
    if not differs.any():
        return rank(np.zeros_like(advantage))
    scaled = np.where(differs, advantage, 0.0) / size[differs].min()
    shares = rank(scaled)
    for k in range(1, DOUBLINGS + 1):
        before, shares = shares, rank(2.0**k * scaled)
        if np.abs(shares - before).max() <= STABLE:
            break
    return shares


def _check_options(alpha: float | None, num_individuals: int) -> None:
    if alpha is not None:
        check_not_negative("alpha", alpha)
    check_count("num_individuals", num_individuals, least=2)
