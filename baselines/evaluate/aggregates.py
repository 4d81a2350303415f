"""Interquartile means over tasks and seeds, with stratified bootstrap intervals: a line of a leaderboard each."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike

from ..functional.aggregates import Statistic, check_scores, interquartile_mean, stratified_bootstrap
from .intervals import Estimate


def aggregate(
    scores: ArrayLike,
    rng: np.random.Generator,
    *,
    statistic: Statistic = interquartile_mean,
    num_resamples: int = 2000,
    confidence: float = 0.95,
) -> Estimate:
    """Return a statistic of scores with its percentile interval by stratified bootstrap.

    Args:
        scores: of R runs, one a seed, on M tasks; shape (R, M).
        rng: draws the resamples.
        statistic: what is estimated, such as the interquartile mean or the optimality gap.
        num_resamples: how many; with fewer than about 5 runs a task the interval is too narrow, however many.
        confidence: the interval's, in (0, 1).

    >>> aggregate([[1.0, 3.0], [1.0, 3.0]], np.random.default_rng(0), num_resamples=10)
    Estimate(value=2.0, low=2.0, high=2.0)
    """
    if not 0 < confidence < 1:
        raise ValueError(f"confidence: expected a number in (0, 1), got {confidence}")
    resampled = stratified_bootstrap(scores, statistic, rng, num_resamples=num_resamples)
    low, high = np.quantile(resampled, [(1 - confidence) / 2, (1 + confidence) / 2]).tolist()
    return Estimate(statistic(check_scores(scores)), low, high)


def aggregate_all(
    scores: Mapping[str, ArrayLike],
    seed: int,
    *,
    statistic: Statistic = interquartile_mean,
    num_resamples: int = 2000,
    confidence: float = 0.95,
) -> dict[str, Estimate]:
    """Return `aggregate` of each algorithm's scores (R, M), all on the same M tasks.

    Every algorithm has a generator of its own from `seed`: adding one changes no other's interval.

    Raises:
        ValueError: the numbers of tasks differ.
    """
    tables = {name: check_scores(table) for name, table in scores.items()}
    if len({table.shape[1] for table in tables.values()}) > 1:
        raise ValueError(
            f"scores: expected the same tasks for all, got { ({name: t.shape[1] for name, t in tables.items()}) }"
        )
    return {
        name: aggregate(
            table,
            np.random.default_rng(seed),
            statistic=statistic,
            num_resamples=num_resamples,
            confidence=confidence,
        )
        for name, table in tables.items()
    }
