"""Players rated by who beats whom: Bradley-Terry by maximum likelihood, and how much of the matter no rating can tell.

A rating orders players; a cycle, in which rock beats scissors beats paper beats rock, has no order. Beside the ratings
therefore stand the cycles of the majority graph and the share of the payoffs that is cyclic.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse.csgraph import connected_components

from ..training.checks import check_finite, check_not_negative, check_open_share, check_positive, check_rows

Floats: TypeAlias = NDArray[np.float64]

ELO_PER_NAT = 400 / math.log(10)
"""On Elo's scale 400 points are odds of 10 to 1."""

MAX_STEPS = 200
"""Newton steps; a handful suffice."""

GRADIENT_TOLERANCE = 1e-10
"""Newton ends when no player's wins differ from the expected ones by more than this part of a player's matches."""


@dataclass(frozen=True, slots=True)
class Ratings:
    """Bradley-Terry ratings: player i beats player j with probability sigmoid(values[i] - values[j])."""

    values: Floats
    """In nats (log odds), with mean 0; (n,)."""
    covariance: Floats
    """Of the values, from the curvature of the likelihood; (n, n)."""
    confidence: float = 0.95
    """Of the intervals."""

    @property
    def half_widths(self) -> Floats:
        """Half the length of each rating's interval, relative to the mean of all; (n,)."""
        quantile = NormalDist().inv_cdf((1 + self.confidence) / 2)
        widths: Floats = quantile * np.sqrt(np.maximum(np.diag(self.covariance), 0.0))
        return widths

    @property
    def low(self) -> Floats:
        """The lower ends of the intervals; (n,)."""
        return self.values - self.half_widths

    @property
    def high(self) -> Floats:
        """The upper ends of the intervals; (n,)."""
        return self.values + self.half_widths

    def win_probabilities(self) -> Floats:
        """Return the fitted probability that the row's player beats the column's; (n, n)."""
        return _sigmoid(self.values[:, None] - self.values[None, :])

    def on_elo_scale(self, *, mean: float = 1500.0) -> tuple[Floats, Floats, Floats]:
        """Return values, lower and upper ends on Elo's scale, 400 points for odds of 10 to 1; (n,) each."""
        values, low, high = (mean + ELO_PER_NAT * numbers for numbers in (self.values, self.low, self.high))
        return values, low, high


def bradley_terry(
    wins: ArrayLike, *, ties: ArrayLike | None = None, l2: float = 0.0, confidence: float = 0.95
) -> Ratings:
    """Return the ratings r that maximise sum_ij w_ij log sigmoid(r_i - r_j) - (l2 / 2) sum_i r_i^2.

    Bradley & Terry (1952), by Newton's method; unlike Elo's updates the result does not depend on the order of play. A
    tie is half a win for both, and w_ij = wins_ij + ties_ij / 2. Intervals are Wald's, from the inverse of the
    curvature; with ties, which vary less than wins and losses, they are too wide rather than too narrow.

    Args:
        wins: how often the row's player beat the column's; shape (n, n), the diagonal is not read.
        ties: how often the two tied, symmetric; None: never.
        l2: weight of a prior that holds ratings near 0, in 1 / nats^2; 0: none, and the data must identify them.
        confidence: the intervals', in (0, 1).

    Raises:
        ValueError: counts that are none, or, without a prior, players that no chain of wins connects both ways:
            then some rating is infinite, or no comparison ties the groups together (Ford, 1957).
    """
    weights = _match_weights(wins, ties)
    check_not_negative("l2", l2)
    check_open_share("confidence", confidence)
    if l2 == 0:
        _check_identifiable(weights)
    values = _maximise(weights, l2)
    # Along the constant vector the likelihood is flat; there the covariance is 0, because the mean is fixed.
    return Ratings(values, _inverse(_curvature(weights, values) + l2 * _centring(len(weights))), confidence)


def bootstrap_bradley_terry(
    wins: ArrayLike,
    rng: np.random.Generator,
    *,
    ties: ArrayLike | None = None,
    l2: float,
    num_resamples: int = 1000,
) -> Floats:
    """Return ratings of resampled matches, (num_resamples, n): each pair's matches are drawn anew with replacement.

    Quantiles of its columns are percentile intervals. A resample may miss every win of a player, so that a prior is
    needed: `l2` > 0.
    """
    if not l2 > 0:
        raise ValueError(f"l2: expected a number > 0, as resamples need not identify the ratings, got {l2}")
    check_positive("l2", l2)
    check_rows("num_resamples", num_resamples)
    won = _counts("wins", wins)
    tied = np.zeros_like(won) if ties is None else _counts("ties", ties)
    _match_weights(won, tied)
    found = np.empty((num_resamples, len(won)))
    above = np.triu_indices(len(won), 1)
    outcomes = np.stack([won[above], tied[above], won.T[above]], axis=-1)  # (pairs, 3)
    numbers = outcomes.sum(1).round().astype(np.int64)
    shares = outcomes / np.maximum(outcomes.sum(1, keepdims=True), 1)
    shares[numbers == 0] = (1.0, 0.0, 0.0)
    for row in found:
        drawn = rng.multinomial(numbers, shares)
        weights = np.zeros_like(won)
        weights[above] = drawn[:, 0] + drawn[:, 1] / 2
        weights.T[above] = drawn[:, 2] + drawn[:, 1] / 2
        row[:] = _maximise(weights, l2)
    return found


def elo_ratings(results: ArrayLike, num_players: int, *, k_factor: float = 16.0, mean: float = 1500.0) -> Floats:
    """Return Elo's ratings after a sequence of matches, (n,): R += K (S - 1 / (1 + 10^(-(R - R') / 400))).

    For comparison only: they depend on the order of play, and have no interval.

    Args:
        results: rows (i, j, score of i), the score 1 for a win, 0.5 for a tie, 0 for a loss; shape (matches, 3).
        num_players: n.
        k_factor: K, the most that a match moves a rating.
        mean: where everybody starts.
    """
    check_rows("num_players", num_players)
    check_finite("k_factor", k_factor)
    check_finite("mean", mean)
    ratings = np.full(num_players, mean)
    for i, j, score in np.asarray(results, dtype=np.float64).reshape(-1, 3):
        first, second = int(i), int(j)
        move = k_factor * (score - 1 / (1 + 10 ** (-(ratings[first] - ratings[second]) / 400)))
        ratings[first] += move
        ratings[second] -= move
    return ratings


def transitive_part(payoffs: ArrayLike) -> Floats:
    """Return f_i - f_j, the part of A = (M - M^T) / 2 that ratings explain; f_i = mean_j A_ij; (n, n).

    The gradient part of HodgeRank's decomposition on a complete graph (Jiang, Lim, Yao & Ye, 2011; Balduzzi et al.,
    2018, arXiv 1806.02643, section 3): least squares, so that the rest A - (f_i - f_j) is orthogonal to it.
    """
    advantage = _antisymmetric(payoffs)
    scores = advantage.mean(axis=1)
    part: Floats = scores[:, None] - scores[None, :]
    return part


def cyclic_share(payoffs: ArrayLike) -> float:
    """Return ||A - transitive part||^2 / ||A||^2, A = (M - M^T) / 2: 0 where ratings tell all, 1 in pure cycles.

    Without any advantage, A = 0, it is 0.

    >>> rock_paper_scissors = [[0, -1, 1], [1, 0, -1], [-1, 1, 0]]
    >>> cyclic_share(rock_paper_scissors)
    1.0
    """
    advantage = _antisymmetric(payoffs)
    total = float(np.square(advantage).sum())
    rest = float(np.square(advantage - transitive_part(payoffs)).sum())
    return rest / total if total else 0.0


def majority_cycles(payoffs: ArrayLike, *, margin: float = 0.0, max_length: int = 3) -> list[tuple[int, ...]]:
    """Return the cycles in which each player beats the next and the last the first, each once, the shortest first.

    Player i beats j if M_ij - M_ji > `margin`; a cycle begins with its smallest number. Where everybody either wins or
    loses against everybody, cycles of any length imply one of length 3, hence the default.

    >>> majority_cycles([[0, -1, 1], [1, 0, -1], [-1, 1, 0]])
    [(0, 2, 1)]
    """
    advantage = 2 * _antisymmetric(payoffs)
    beats = [np.flatnonzero(row > margin).tolist() for row in advantage]
    found: list[tuple[int, ...]] = []
    paths: list[tuple[int, ...]] = [(start,) for start in range(len(beats))]
    for _ in range(max_length):
        found += [path for path in paths if path[0] in beats[path[-1]]]
        paths = [(*path, k) for path in paths for k in beats[path[-1]] if k > path[0] and k not in path]
    return found


def _maximise(weights: Floats, l2: float) -> Floats:
    """Return the mode by Newton's method, each step halved until the penalised likelihood does not fall."""
    values, scale = np.zeros(len(weights)), max(1.0, float((weights + weights.T).sum(1).max()))
    matches, level = weights + weights.T, _log_posterior(weights, values, l2)
    for _ in range(MAX_STEPS):
        expected = matches * _sigmoid(values[:, None] - values[None, :])
        gradient = (weights - expected).sum(1) - l2 * values
        if np.abs(gradient).max() <= GRADIENT_TOLERANCE * scale:
            break
        step = _inverse(_curvature(weights, values) + l2 * _centring(len(values))) @ gradient
        while (reached := _log_posterior(weights, values + step, l2)) < level and np.abs(step).max() > 1e-14:
            step /= 2
        values, level = values + step, max(level, reached)
    centred: Floats = values - values.mean()
    return centred


def _log_posterior(weights: Floats, values: Floats, l2: float) -> float:
    log_odds = values[:, None] - values[None, :]
    return float(-(weights * np.logaddexp(0.0, -log_odds)).sum() - l2 / 2 * np.square(values).sum())


def _curvature(weights: Floats, values: Floats) -> Floats:
    """Return the negated second derivatives of the log-likelihood, a graph's Laplacian; (n, n)."""
    chances = _sigmoid(values[:, None] - values[None, :])
    information = (weights + weights.T) * chances * chances.T
    curvature: Floats = np.diag(information.sum(1)) - information
    return curvature


def _inverse(curvature: Floats) -> Floats:
    """Return the pseudo-inverse of a symmetric matrix that maps constant vectors to 0."""
    return np.asarray(np.linalg.pinv(curvature, hermitian=True), dtype=np.float64)


def _centring(size: int) -> Floats:
    """Return the projection onto vectors of mean 0; (n, n)."""
    return np.eye(size) - 1 / size


def _match_weights(wins: ArrayLike, ties: ArrayLike | None) -> Floats:
    """Return w_ij = wins_ij + ties_ij / 2 with a diagonal of 0."""
    weights = _counts("wins", wins)
    if ties is not None:
        tied = _counts("ties", ties)
        if tied.shape != weights.shape or not np.array_equal(tied, tied.T):
            raise ValueError(f"ties: expected a symmetric matrix of shape {weights.shape}, got {tied.tolist()}")
        weights = weights + tied / 2
    return weights


def _counts(name: str, numbers: ArrayLike) -> Floats:
    """Return a copy of the matrix called `name` with a diagonal of 0; raise unless it holds counts."""
    counts = np.array(numbers, dtype=np.float64)
    if counts.ndim != 2 or counts.shape[0] != counts.shape[1] or len(counts) < 2:
        raise ValueError(f"{name}: expected shape (n, n) with n >= 2, got {counts.shape}")
    np.fill_diagonal(counts, 0.0)
    if not (np.isfinite(counts) & (counts >= 0)).all():
        raise ValueError(f"{name}: expected finite numbers >= 0, got {counts.tolist()}")
    return counts


def _check_identifiable(weights: Floats) -> None:
    """Raise unless the graph of who ever beat (or tied) whom is strongly connected."""
    for graph, problem in (("weak", "never met"), ("strong", "never lost to the others, or never won")):
        number, labels = connected_components(weights > 0, directed=True, connection=graph)
        if number > 1:
            groups = [np.flatnonzero(labels == k).tolist() for k in range(number)]
            raise ValueError(
                f"wins: expected players that a chain of wins connects both ways, got groups that {problem}: {groups}; "
                "a prior, l2 > 0, keeps their ratings finite"
            )


def _antisymmetric(payoffs: ArrayLike) -> Floats:
    matrix = np.asarray(payoffs, dtype=np.float64)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or not np.isfinite(matrix).all():
        raise ValueError(f"payoffs: expected finite numbers of shape (n, n), got shape {matrix.shape}")
    advantage: Floats = (matrix - matrix.T) / 2
    return advantage


def _sigmoid(log_odds: Floats) -> Floats:
    chances: Floats = np.exp(-np.logaddexp(0.0, -log_odds))
    return chances
