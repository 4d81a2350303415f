"""Lagrange multipliers: the price that holds a mean cost at its threshold while something else is maximised."""

from __future__ import annotations

import math
from collections.abc import Sequence


def multiplier(log_multiplier: float, *, max_multiplier: float = 10.0) -> float:
    """Return min(exp(nu), max_multiplier), the price of a unit of cost; never negative.

    DiveR-CT (arXiv 2405.19026), which caps it at 10.

    >>> multiplier(0.0), multiplier(50.0)
    (1.0, 10.0)
    """
    return max_multiplier if log_multiplier >= math.log(max_multiplier) else math.exp(log_multiplier)


def ascended(
    log_multiplier: float,
    costs: Sequence[float],
    *,
    threshold: float,
    learning_rate: float,
    max_multiplier: float = 10.0,
) -> float:
    """Return nu after one step of gradient ascent on exp(nu) (mean cost - threshold).

    The dual step of max_pi novelty subject to cost <= threshold: the price rises while the mean over a window of costs
    is above the threshold, falls while it is below, and rests where the constraint binds. Past the cap nothing
    accumulates, so that the price falls as soon as the violation ends.

    >>> round(ascended(0.0, [0.5, 0.7], threshold=0.5, learning_rate=0.1), 6)
    0.01
    """
    if not costs:
        raise ValueError("costs: expected at least one, got none")
    violation = sum(costs) / len(costs) - threshold
    price = multiplier(log_multiplier, max_multiplier=max_multiplier)
    return min(log_multiplier + learning_rate * price * violation, math.log(max_multiplier))
