"""How sure a number is: intervals of proportions and of means over seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from scipy import stats

from ..training.checks import check_open_share


class Estimate(NamedTuple):
    """A mean with its confidence interval."""

    value: float
    low: float
    high: float

    @property
    def half_width(self) -> float:
        """Half the interval's length; infinite for a single value."""
        return (self.high - self.low) / 2


def wilson_interval(successes: float, n: int, *, confidence: float = 0.95) -> tuple[float, float]:
    """Return Wilson's (1927) score interval of a proportion; (0, 1) without trials. Half a success may stand for a tie.

    >>> low, high = wilson_interval(0, 10)
    >>> round(low, 4), round(high, 4)
    (0.0, 0.2775)
    """
    check_open_share("confidence", confidence)
    if not 0 <= successes <= n:
        raise ValueError(f"successes: expected 0 to n={n}, got {successes}")
    if not n:
        return 0.0, 1.0
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    share, weight = successes / n, z * z / n
    centre = (share + weight / 2) / (1 + weight)
    spread = z / (1 + weight) * math.sqrt(share * (1 - share) / n + weight / (4 * n))
    # At the ends the bound is exact, whatever the rounding.
    return (0.0 if successes == 0 else centre - spread), (1.0 if successes == n else centre + spread)


def mean_interval(values: Sequence[float], *, confidence: float = 0.95) -> Estimate:
    """Return the mean of independent values, such as one for each seed, with Student's t interval.

    It takes the values as normal: for rates near 0 or 1 it may reach beyond them, and is 0 wide where all
    values are equal. A single value has an infinite interval. A value that is no number has no mean: it is an error.

    >>> [round(number, 4) for number in mean_interval([1.0, 2.0, 3.0])]
    [2.0, -0.4841, 4.4841]
    """
    check_open_share("confidence", confidence)
    if not len(values):
        raise ValueError("values: expected at least one, got none")
    if not np.isfinite(values).all():
        raise ValueError(f"values: expected finite numbers, got {values[int(np.isfinite(values).argmin())]}")
    mean = float(np.mean(values))
    if len(values) == 1:
        return Estimate(mean, -math.inf, math.inf)
    quantile = float(stats.t.ppf((1 + confidence) / 2, len(values) - 1))
    spread = quantile * float(np.std(values, ddof=1)) / math.sqrt(len(values))
    return Estimate(mean, mean - spread, mean + spread)
