"""Lagrange multipliers: where the constraint binds, where it does not, and where it cannot be met."""

from __future__ import annotations

from collections import deque

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.optimize import brentq

from duologue.baselines.two_player.constraint import ascended, multiplier

NOVELTY, COSTS = np.array([1.0, 0.6, 0.0]), np.array([1.0, 0.4, 0.0])
"""A bandit of three arms: what is new is what fails."""
TEMPERATURE = 0.2


def policy(price: float) -> NDArray[np.float64]:
    """Return the best entropy-regularised policy of the bandit at a price of costs."""
    weights = np.exp((NOVELTY - price * COSTS) / TEMPERATURE)
    shares: NDArray[np.float64] = weights / weights.sum()
    return shares


def settled(threshold: float, *, window: int = 3, num_steps: int = 2000) -> tuple[float, float]:
    """Return the price and the mean cost that dual ascent ends at."""
    log_multiplier, costs = 0.0, deque[float](maxlen=window)
    for _ in range(num_steps):
        costs.append(float(policy(multiplier(log_multiplier)) @ COSTS))
        log_multiplier = ascended(log_multiplier, list(costs), threshold=threshold, learning_rate=0.2)
    return multiplier(log_multiplier), costs[-1]


@pytest.mark.parametrize("threshold", [0.2, 0.4, 0.6])
def test_on_a_bandit_the_constraint_binds(threshold: float) -> None:
    """DiveR-CT (arXiv 2405.19026): the price settles where mean cost equals the threshold, a root found by Brent."""
    root = brentq(lambda price: policy(price) @ COSTS - threshold, 0.0, 10.0)
    price, cost = settled(threshold)
    assert cost == pytest.approx(threshold, abs=1e-6)
    assert price == pytest.approx(root, abs=1e-5)


def test_a_constraint_that_holds_anyway_becomes_free() -> None:
    """Free, the bandit costs 0.89 on average: below a threshold of 0.95 the price falls towards 0."""
    free_cost = float(policy(0.0) @ COSTS)
    price, cost = settled(0.95, num_steps=5000)
    assert free_cost < 0.95
    assert price < 0.05
    assert cost == pytest.approx(free_cost, abs=0.02)


def test_a_constraint_that_cannot_be_met_costs_the_highest_price_and_no_more() -> None:
    """Costs are never below 0; once the violation ends the price falls at once, as nothing was piled up."""
    price, _ = settled(-1.0)
    assert price == 10.0
    assert multiplier(ascended(np.log(10.0), [-1.0], threshold=0.0, learning_rate=0.1)) < 10.0


@given(
    nu=st.floats(-5, 2.3),
    costs=st.lists(st.floats(-1, 1), min_size=1, max_size=5),
    threshold=st.floats(-1, 1),
)
def test_the_step_is_the_gradient_of_price_times_mean_violation(
    nu: float, costs: list[float], threshold: float
) -> None:
    """D/dnu of exp(nu) (mean cost - threshold), by a central difference; the cap apart."""

    def dual(log_price: float) -> float:
        return float(np.exp(log_price) * (np.mean(costs) - threshold))

    slope = (dual(nu + 1e-5) - dual(nu - 1e-5)) / 2e-5
    expected = min(nu + 0.1 * slope, np.log(10.0))
    assert ascended(nu, costs, threshold=threshold, learning_rate=0.1) == pytest.approx(expected, abs=1e-6)


def test_no_costs_are_refused() -> None:
    """There is no mean of nothing."""
    with pytest.raises(ValueError, match="costs: expected at least one"):
        ascended(0.0, [], threshold=0.0, learning_rate=0.1)
