"""Entrants ranked three ways from one head-to-head: ratings, alpha-rank, mean returns; and what no ranking can show.

alpha-rank and cycles ask only who is ahead of whom, however little: there a lead within its own noise is none. Two
entrants that play alike share what they get, and three make no cycle. How sure alpha-rank is, resamples tell (after
Rowland et al., "Multiagent Evaluation under Incomplete Information", 2019, arXiv 1909.09849): it is taken of payoffs
with noise of their standard errors, over and over.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from ..reporting.tables import markdown_table, markdown_text
from ..solvers.alpha_rank import EQUAL, alpha_rank
from ..training.checks import check_rows
from .head_to_head import HeadToHead
from .ratings import Floats, Ratings, bradley_terry, cyclic_share, majority_cycles

CONFIDENCE = 0.999
"""That no lead of two who play alike is taken for one, over all pairs."""
INTERVAL = f"an interval of {CONFIDENCE:.1%} for all pairs at once"


@dataclass(frozen=True, slots=True)
class Ranking:
    """What one head-to-head says of its entrants."""

    names: tuple[str, ...]
    ratings: Ratings
    """Bradley-Terry, from wins, ties and losses."""
    l2: float
    """The prior's weight in the ratings."""
    mean_returns: Floats
    """Mean return against the other entrants, over both seats; (n,)."""
    win_rates: Floats
    """Share of matches won against the other entrants, ties one half; (n,)."""
    alpha_rank: Floats
    """The share of time an evolving population plays each, from mean returns; the mean over resamples; (n,)."""
    alpha_rank_low: Floats
    """The lower ends of its 95 % intervals: quantiles of the resamples; (n,)."""
    alpha_rank_high: Floats
    """The upper ends; (n,)."""
    cycles: tuple[tuple[int, ...], ...]
    """Threes of which each wins most of its matches against the next, and the last against the first, beyond noise."""
    cyclic_share: float
    """Share of the advantages in mean return that no rating explains, 0 to 1; leads within their noise are none."""
    level: tuple[tuple[int, int], ...]
    """Pairs whose lead in mean return is within its noise."""

    def markdown(self) -> str:
        """Return a table, best rating first, and a line on cycles."""
        elo, low, high = self.ratings.on_elo_scale()
        rows = [
            [
                self.names[k],
                f"{elo[k]:.0f} [{low[k]:.0f}, {high[k]:.0f}]",
                f"{self.alpha_rank[k]:.3f} [{self.alpha_rank_low[k]:.3f}, {self.alpha_rank_high[k]:.3f}]",
                f"{self.win_rates[k]:.3f}",
                f"{self.mean_returns[k]:+.3f}",
            ]
            for k in sorted(range(len(self.names)), key=lambda k: -elo[k])
        ]
        table = markdown_table(["entrant", "Elo scale [95 %]", "alpha-rank [95 %]", "win rate", "mean return"], rows)
        prior = f"Bradley-Terry with a prior of weight {self.l2:g}" if self.l2 else "Bradley-Terry without a prior"
        share = f"Cyclic share of the advantages: {self.cyclic_share:.1%}."
        return f"{table}\n\n{prior}. {share} {self.cycle_line()} {self.level_line()}"

    def cycle_line(self) -> str:
        """Return the cycles as a sentence."""
        if not self.cycles:
            return "No three entrants beat each other in a cycle."
        return f"Cycles, > for wins against: {self._listed(' > ', [(*cycle, cycle[0]) for cycle in self.cycles])}."

    def level_line(self) -> str:
        """Return who is not ahead of whom as a sentence."""
        if not self.level:
            return f"Everybody is ahead of or behind every other, beyond {INTERVAL}."
        return f"Ties, as the lead in mean return is within {INTERVAL}: {self._listed(' = ', self.level)}."

    def _listed(self, sign: str, groups: Sequence[Sequence[int]], *, max_shown: int = 5) -> str:
        shown = "; ".join(sign.join(markdown_text(self.names[k]) for k in group) for group in groups[:max_shown])
        return f"{shown} and {len(groups) - max_shown} more" if len(groups) > max_shown else shown


def rank(result: HeadToHead, *, l2: float = 0.1, num_resamples: int = 1000, seed: int = 0) -> Ranking:
    """Rank the entrants of a head-to-head.

    Args:
        result: at least two entrants.
        l2: weight of the ratings' prior, see `bradley_terry`; 0 needs everybody to have lost and won.
        num_resamples: of the payoffs, over which alpha-rank is taken.
        seed: draws them.
    """
    size = len(result.names)
    if size < 2:
        raise ValueError(f"result: expected at least two entrants, got {result.names}")
    returns, win_rates = result.returns, result.win_rates
    level = _level(result)
    advantages = np.where(level, (returns + returns.T) / 2, returns)
    shares = resampled_alpha_ranks(advantages, _standard_errors(result), seed=seed, num_resamples=num_resamples)
    low, high = np.quantile(shares, [0.025, 0.975], axis=0)
    return Ranking(
        names=result.names,
        ratings=bradley_terry(result.wins, ties=result.ties, l2=l2),
        l2=l2,
        mean_returns=_mean_of_others(returns),
        win_rates=_mean_of_others(win_rates),
        alpha_rank=shares.mean(axis=0),
        alpha_rank_low=low,
        alpha_rank_high=high,
        cycles=tuple(majority_cycles(np.where(level, 0.5, win_rates))),
        cyclic_share=cyclic_share(advantages),
        level=tuple((i, j) for i in range(size) for j in range(i + 1, size) if level[i, j]),
    )


def resampled_alpha_ranks(
    payoffs: ArrayLike, standard_errors: ArrayLike, *, seed: int, num_resamples: int = 1000
) -> Floats:
    """Return alpha-rank of payoffs that vary by their standard errors, (num_resamples, n).

    Each pair's lead M(r, s) - M(s, r) gets normal noise, independent of other pairs'. Raised without end, as alpha is
    here, alpha-rank of a single matrix gives a lead of one hair the same 1.000 as one of a mile. Leads that are taken
    for none should be 0 in `payoffs`: noise around a lead that is noise itself is sure of it far too often.

    Args:
        payoffs: M(r, s) to strategy r against s; shape (n, n).
        standard_errors: of the leads, symmetric, at least 0; shape (n, n).
        seed: draws the noise.
        num_resamples: how many.

    >>> even, sure = [[0.0, 0.0], [0.0, 0.0]], [[0.0, 0.1], [0.1, 0.0]]
    >>> resampled_alpha_ranks(even, sure, seed=0).mean(axis=0).round(1).tolist()
    [0.5, 0.5]
    """
    matrix, errors = np.asarray(payoffs, dtype=np.float64), np.asarray(standard_errors, dtype=np.float64)
    check_rows("num_resamples", num_resamples)
    if errors.shape != matrix.shape or not ((errors >= 0) & (errors == errors.T)).all():
        raise ValueError(f"standard_errors: expected a symmetric matrix of shape {matrix.shape}, got {errors.tolist()}")
    upper = np.triu(np.random.default_rng(seed).standard_normal((num_resamples, *matrix.shape)), 1)
    leads = matrix - matrix.T + (upper - upper.transpose(0, 2, 1)) * errors
    signs = np.where(np.abs(leads) > EQUAL * np.abs(matrix).max(), np.sign(leads), 0.0)
    # With alpha raised without end only signs count, and few of them differ.
    kinds, kind = np.unique(signs.reshape(num_resamples, -1), axis=0, return_inverse=True)
    ranks = np.array([alpha_rank(one.reshape(matrix.shape)) for one in kinds])
    shares: Floats = ranks[kind.ravel()]
    return shares


def _standard_errors(result: HeadToHead) -> Floats:
    """Return the standard errors of leads in mean return, exact in zero-sum games, too large in others; (n, n)."""
    quantile = float(stats.t.ppf(0.975, max(result.num_matches - 1, 1)))
    errors: Floats = (result.half_widths + result.half_widths.T) / quantile
    return errors


def _level(result: HeadToHead) -> NDArray[np.bool_]:
    """Return whose lead in mean return is within its noise, by intervals that hold for all pairs at once; (n, n)."""
    size, df = len(result.names), max(result.num_matches - 1, 1)
    of_all = 1 - (1 - CONFIDENCE) / max(size * (size - 1) / 2, 1)
    wider = float(stats.t.ppf((1 + of_all) / 2, df) / stats.t.ppf(0.975, df))
    margins = wider * (result.half_widths + result.half_widths.T)
    level: NDArray[np.bool_] = np.abs(result.returns - result.returns.T) <= margins
    return level


def _mean_of_others(matrix: Floats) -> Floats:
    """Return the mean of each row without the diagonal; (n,)."""
    means: Floats = (matrix.sum(1) - matrix.diagonal()) / (len(matrix) - 1)
    return means
