import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from duologue.baselines.solvers.meta_solvers import (
    META_SOLVERS,
    MetaSolver,
    nash_meta_solver,
    project_to_simplex,
    projected_replicator_dynamics,
    regret_matching,
    uniform_meta_solver,
)

PERTURBED = np.array([[0.0, -3, 3], [3, 0, -1], [-3, 1, 0]])
DILEMMA = np.array([[3.0, 0], [5, 1]])


def zero_sum(payoffs: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return both players' payoffs."""
    return np.stack([payoffs, -payoffs])


def matrix_nash_conv(matrices: NDArray[np.float64], x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """Return the sum of both players' gains."""
    first, second = matrices
    return float((first @ y).max() - x @ first @ y + (x @ second).max() - x @ second @ y)


@pytest.mark.parametrize(("name", "solve"), META_SOLVERS.items())
@given(seed=st.integers(0, 1000), n=st.integers(1, 4), m=st.integers(1, 4))
@settings(max_examples=2, deadline=None)
def test_weights_are_distributions_over_both_populations(
    name: str, solve: MetaSolver, seed: int, n: int, m: int
) -> None:
    """Whatever the sizes, one member included."""
    x, y = solve(zero_sum(np.random.default_rng(seed).normal(size=(n, m))))
    assert (x.shape, y.shape) == ((n,), (m,))
    assert (x.sum(), y.sum()) == (pytest.approx(1), pytest.approx(1))
    assert min(x.min(), y.min()) >= 0


def test_nash_is_an_equilibrium() -> None:
    """Exact: (1/7, 3/7, 3/7) for both (Sokota et al., ICLR 2023), also if the sum is a constant other than 0."""
    for matrices in (zero_sum(PERTURBED), np.stack([PERTURBED + 2, 3 - PERTURBED])):
        x, y = nash_meta_solver(matrices)
        assert x == pytest.approx([1 / 7, 3 / 7, 3 / 7], abs=1e-12)
        assert y == pytest.approx([1 / 7, 3 / 7, 3 / 7], abs=1e-12)


def test_nash_refuses_general_sums_and_names_the_pair() -> None:
    """By hand: the sums are 6, 5, 5, 2; the last is furthest from the first."""
    with pytest.raises(ValueError, match=r"expected a constant sum, got \(1.0, 1.0\) at \(1, 1\) beside 6"):
        nash_meta_solver(np.stack([DILEMMA, DILEMMA.T]))


@pytest.mark.parametrize("name", ["prd", "regret_matching", "alpha_rank"])
def test_learning_meta_solvers_find_a_dominant_strategy(name: str) -> None:
    """Prisoner's dilemma, general sum: both defect, but for what the averages keep of their uniform start."""
    x, y = META_SOLVERS[name](np.stack([DILEMMA, DILEMMA.T]))
    assert min(x[1], y[1]) > 0.9


@given(seed=st.integers(0, 10_000), n=st.integers(1, 6), steps=st.integers(1, 400))
@settings(max_examples=15, deadline=None)
def test_regret_matching_keeps_its_bound(seed: int, n: int, steps: int) -> None:
    """Zinkevich et al. (2007): each regret is at most Delta sqrt(n T), Delta the range of payoffs."""
    payoffs = np.random.default_rng(seed).random((n, n))
    x, y = regret_matching(zero_sum(payoffs), num_iterations=steps)
    assert matrix_nash_conv(zero_sum(payoffs), x, y) <= 2 * math.sqrt(n / steps) + 1e-12


def test_replicator_dynamics_average_to_the_equilibrium_of_a_cycle() -> None:
    """Orbits of the zero-sum replicator average to the interior equilibrium (Hofbauer et al., 2009), here as 1/time."""
    gaps = []
    for num_iterations in (2000, 20_000):
        x, y = projected_replicator_dynamics(zero_sum(PERTURBED), num_iterations=num_iterations)
        gaps.append(matrix_nash_conv(zero_sum(PERTURBED), x, y))
    assert gaps[1] < min(0.1, gaps[0] / 5)


def test_replicator_dynamics_take_the_step_of_the_paper() -> None:
    """By hand, one step: u = (0, 1), x = 1/2 + dt/2 (u - 1/2) = (.475, .525) at dt = .1; y's payoffs are all equal."""
    matrices = np.array([[[0.0, 0.0], [1.0, 1.0]], [[2.0, 2.0], [2.0, 2.0]]])
    x, y = projected_replicator_dynamics(matrices, num_iterations=1, dt=0.1)
    assert x == pytest.approx([0.475, 0.525], abs=1e-12)
    assert y == pytest.approx([0.5, 0.5], abs=1e-12)


def test_replicator_dynamics_stay_above_the_floor() -> None:
    """A dominated member keeps the floor, here .05, once it is there."""
    matrices = np.array([[[0.0], [1.0]], [[0.0], [0.0]]])
    x, _ = projected_replicator_dynamics(matrices, num_iterations=2000, dt=0.1, floor=0.05)
    assert x[0] == pytest.approx(0.05, abs=5e-3)
    assert x[0] > 0.05


@given(seed=st.integers(0, 10_000), n=st.integers(1, 8))
def test_the_projection_is_the_nearest_point(seed: int, n: int) -> None:
    """First-order condition on a convex set: (point - projection).(other - projection) <= 0 for every other member."""
    rng = np.random.default_rng(seed)
    floor, point = 0.5 / n * rng.random(), rng.normal(size=n)
    nearest = project_to_simplex(point, floor)
    assert nearest.sum() == pytest.approx(1)
    assert nearest.min() >= floor - 1e-15
    for weights in rng.dirichlet(np.ones(n), 10):
        other = floor + (1 - n * floor) * weights
        assert (point - nearest) @ (other - nearest) <= 1e-12
    assert project_to_simplex(nearest, floor) == pytest.approx(nearest, abs=1e-12)


@pytest.mark.parametrize("name", list(META_SOLVERS))
@pytest.mark.parametrize("stake", [2.0**-660, 2.0**660])
def test_the_unit_of_payoff_changes_no_weights(name: str, stake: float) -> None:
    """Chips or cents; powers of two round nothing, and regret matching would show it."""
    solve = META_SOLVERS[name]
    for mine, scaled in zip(solve(zero_sum(PERTURBED)), solve(zero_sum(stake * PERTURBED)), strict=True):
        assert scaled == pytest.approx(mine, abs=1e-9)


def test_nash_refuses_general_sums_of_any_unit() -> None:
    """By hand: the sums are 6, 5, 5, 2 billionths."""
    with pytest.raises(ValueError, match="expected a constant sum"):
        nash_meta_solver(1e-9 * np.stack([DILEMMA, DILEMMA.T]))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_iterations": 0}, "num_iterations: expected an integer of at least 1, got 0"),
        ({"dt": "0.1"}, "dt: expected a finite number above 0, got '0.1'"),
        ({"floor": -0.1}, "floor: expected a finite number of at least 0, got -0.1"),
    ],
)
def test_options_of_the_dynamics_are_named(options: dict[str, Any], message: str) -> None:
    """The option, what it takes, what came."""
    with pytest.raises(ValueError, match=message):
        projected_replicator_dynamics(zero_sum(PERTURBED), **options)


def test_bad_input_is_named() -> None:
    """One message for each kind."""
    with pytest.raises(ValueError, match=r"num_iterations: expected an integer of at least 1, got 2\.5"):
        regret_matching(zero_sum(PERTURBED), num_iterations=2.5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"payoff_matrices: expected finite numbers of shape \(2, n, m\), got shape"):
        uniform_meta_solver(np.zeros((3, 2, 2)))
    with pytest.raises(ValueError, match=r"floor: expected at most 1/3 for 3 coordinates, got 0.5"):
        project_to_simplex(np.zeros(3), 0.5)


def test_replicator_dynamics_bear_payoffs_far_from_zero() -> None:
    """A constant of -1000 changes no best response; rounding of the strategies' sums must not grow with it."""
    matrix = np.array([[0.0, -1.0, 1.0], [1.0, 0.0, -1.0], [-1.0, 1.0, 0.0]])
    plain, moved = (projected_replicator_dynamics(zero_sum(one)) for one in (matrix, matrix - 1000.0))
    np.testing.assert_allclose(plain, moved, atol=1e-9)
