"""External regret: what the best fixed strategy in hindsight would have earned more than was earned.

No regret, an average that vanishes, is what repeated play between learners promises at most: the average profile of
two such players of a zero-sum game has a NashConv of at most the sum of their average regrets. The two tests that
tell growth from noise are those of Park et al., *Do LLM Agents Have Regret?*, 2024, arXiv 2403.16843, section 3.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from ...envs.tree.analysis import PLAYERS, GameTree, Profile, check_profile
from .intervals import Estimate

Floats: TypeAlias = NDArray[np.float64]


class TrendTest(NamedTuple):
    """Whether the average regret falls more often than a coin would make it."""

    num_falls: int
    """Of the T - 1 steps, those after which Regret(t) / t is smaller."""
    p_value: float
    """The chance of at least as many falls if each step fell or rose with probability 1/2."""


class RegretGrowth(NamedTuple):
    """The exponent of Regret(t) ~ t^b by least squares of logarithms."""

    exponent: Estimate
    """b with its 95 % interval, which takes errors as independent; below 1 there is no regret in the long run."""
    num_dropped: int
    """The t left out because Regret(t) <= 0 has no logarithm."""


def external_regret(losses: ArrayLike, plays: ArrayLike) -> Floats:
    """Return Regret(t) = sum_{s <= t} l_s . pi_s - min_a sum_{s <= t} l_s(a) for every t; (T,).

    >>> external_regret([[1, 0], [1, 0]], [[1, 0], [0, 1]]).tolist()
    [1.0, 1.0]

    Args:
        losses: what each action would have cost; shape (T, A).
        plays: what was played, as probabilities or one-hot rows; shape (T, A).
    """
    costs, chosen = np.asarray(losses, dtype=np.float64), np.asarray(plays, dtype=np.float64)
    if costs.ndim != 2 or not costs.size or costs.shape != chosen.shape:
        raise ValueError(f"losses, plays: expected one shape (T, A), got {costs.shape} and {chosen.shape}")
    regrets: Floats = np.cumsum((costs * chosen).sum(1)) - np.cumsum(costs, axis=0).min(1)
    return regrets


def population_regret(payoff_matrices: ArrayLike, rows: ArrayLike, columns: ArrayLike) -> Floats:
    """Return both players' external regrets over play in an empirical game of populations; (2, T).

    Args:
        payoff_matrices: to player 0 (the rows) and to player 1; shape (2, n, m).
        rows: player 0's mixtures over time; shape (T, n).
        columns: player 1's; shape (T, m).
    """
    payoffs = np.asarray(payoff_matrices, dtype=np.float64)
    first, second = np.asarray(rows, dtype=np.float64), np.asarray(columns, dtype=np.float64)
    if payoffs.ndim != 3 or payoffs.shape != (2, *first.shape[1:], *second.shape[1:]) or len(first) != len(second):
        raise ValueError(
            "payoff_matrices, rows, columns: expected shapes (2, n, m), (T, n) and (T, m), got "
            f"{payoffs.shape}, {first.shape} and {second.shape}"
        )
    return np.stack([external_regret(-second @ payoffs[0].T, first), external_regret(-first @ payoffs[1], second)])


def profile_regret(tree: GameTree, profiles: Sequence[Profile]) -> Floats:
    """Return both players' exact external regrets over a sequence of profiles of an enumerable game; (2, T).

    The fixed strategy in hindsight may be any policy: returns are linear in the opponent's realisation plan, so one
    best response to the sum of the plans is the best against all of them. Agents become profiles by `profile_of`.
    """
    if not len(profiles):
        raise ValueError("profiles: expected at least one, got none")
    regrets = np.zeros((2, len(profiles)))
    for player in PLAYERS:
        table, opponent_table = tree.tables[player], tree.tables[1 - player]
        total, earned = np.zeros(table.num_actions + 1), 0.0
        for t, pair in enumerate(profiles):
            profile = check_profile(tree, pair)
            gradient = tree.gradient(player, opponent_table.reach(profile[1 - player]))
            total += gradient
            earned += float(gradient @ table.reach(profile[player]))
            regrets[player, t] = table.root_value(total, table.maxima(table.best_values(total))) - earned
    return regrets


def regret_trend(regrets: ArrayLike) -> TrendTest:
    """Test whether Regret(t) / t tends to fall: p = 2^-(T-1) sum_{k >= s} C(T-1, k) for s falls."""
    average = _averages(regrets)
    num_falls = int((average[1:] < average[:-1]).sum())
    return TrendTest(num_falls, float(stats.binom.sf(num_falls - 1, len(average) - 1, 0.5)))


def regret_growth(regrets: ArrayLike) -> RegretGrowth:
    """Fit log Regret(t) = b log t + c over the t with a positive regret."""
    numbers = _averages(regrets) * np.arange(1, np.size(regrets) + 1)
    times = np.flatnonzero(numbers > 0) + 1
    if len(times) < 3:
        raise ValueError(f"regrets: expected at least 3 that are positive, got {len(times)}")
    fit = stats.linregress(np.log(times), np.log(numbers[times - 1]))
    half = float(stats.t.ppf(0.975, len(times) - 2) * fit.stderr)
    slope = float(fit.slope)
    return RegretGrowth(Estimate(slope, slope - half, slope + half), len(numbers) - len(times))


def _averages(regrets: ArrayLike) -> Floats:
    """Return Regret(t) / t; (T,)."""
    numbers = np.asarray(regrets, dtype=np.float64)
    if numbers.ndim != 1 or len(numbers) < 2 or not np.isfinite(numbers).all():
        raise ValueError(f"regrets: expected at least 2 finite numbers, one for each t, got shape {numbers.shape}")
    averages: Floats = numbers / np.arange(1, len(numbers) + 1)
    return averages
