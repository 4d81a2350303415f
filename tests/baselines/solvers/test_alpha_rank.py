import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from duologue.baselines.solvers.alpha_rank import (
    alpha_rank,
    alpha_rank_two_populations,
    log_fixation_probability,
    stationary_distribution,
)

ROCK_PAPER_SCISSORS = np.array([[0.0, -1, 1], [1, 0, -1], [-1, 1, 0]])
BIASED = np.array([[0.0, -3, 3], [3, 0, -1], [-3, 1, 0]])
TRANSITIVE = np.array([[0.0, 1, 1], [-1, 0, 1], [-1, -1, 0]])
UNIFORM = (1 / 3, 1 / 3, 1 / 3)


@pytest.mark.parametrize(
    ("selection", "alpha", "expected"),
    [
        ("local", 0.1, (0.2228, 0.5545, 0.2228)),
        ("local", 1.0, (0.3171, 0.3658, 0.3171)),
        ("local", 10.0, UNIFORM),
        ("local", None, UNIFORM),
        ("global", 0.1, (0.2124, 0.5752, 0.2124)),
        ("global", 1.0, (0.2865, 0.4270, 0.2865)),
        ("global", None, UNIFORM),
    ],
)
def test_biased_rock_paper_scissors(selection: str, alpha: float | None, expected: tuple[float, ...]) -> None:
    """Reference values, section 8, m = 50; the local ones are OpenSpiel's. Strictest selection sees the cycle only."""
    found = alpha_rank(BIASED, alpha=alpha, selection="local" if selection == "local" else "global")
    assert found == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("alpha", [0.0, 0.01, 0.1, 1.0, 10.0, 1000.0, None])
def test_a_symmetric_cycle_is_shared_equally(alpha: float | None) -> None:
    """By symmetry, at every alpha."""
    assert alpha_rank(ROCK_PAPER_SCISSORS, alpha=alpha) == pytest.approx(UNIFORM, abs=1e-12)


@pytest.mark.parametrize("alpha", [10.0, 1000.0, None])
def test_a_dominant_strategy_gets_everything(alpha: float | None) -> None:
    """Reference values, section 8; at alpha = 1000 a mutant's chance is below exp(-90,000), which no float holds."""
    assert alpha_rank(TRANSITIVE, alpha=alpha) == pytest.approx((1, 0, 0), abs=1e-12)


@given(fitter=st.floats(1e-12, 30), m=st.integers(2, 100))
def test_fixation_probabilities(fitter: float, m: int) -> None:
    """Closed form in exact series: rho(u) / rho(-u) = e^((m - 1) u); near 0 it is 1/m + (m - 1) u / (2 m)."""
    up, down, level = log_fixation_probability(np.array([fitter, -fitter, 0.0]), m).tolist()
    assert up - down == pytest.approx((m - 1) * fitter, rel=1e-9)
    assert level == pytest.approx(-math.log(m))
    assert down <= level <= up <= 0
    if fitter * m < 1e-4:
        assert math.exp(up) == pytest.approx(1 / m + (m - 1) * fitter / (2 * m), rel=1e-8)
    if fitter > 0.01:
        assert math.exp(up) == pytest.approx((1 - math.exp(-fitter)) / (1 - math.exp(-m * fitter)), rel=1e-9)


@given(seed=st.integers(0, 10_000), size=st.integers(1, 8))
def test_the_stationary_distribution_is_stationary(seed: int, size: int) -> None:
    """Its definition: shares C = shares, the diagonal completing the rows."""
    chain = np.random.default_rng(seed).random((size, size)) / size
    np.fill_diagonal(chain, 0)
    chain[np.diag_indices(size)] = 1 - chain.sum(1)
    with np.errstate(divide="ignore"):
        shares = stationary_distribution(np.log(chain))
    assert shares @ chain == pytest.approx(shares, abs=1e-14)
    assert shares.sum() == pytest.approx(1)


@pytest.mark.parametrize("difference", [0.0, 0.1, 1.0])
def test_one_population_that_cannot_change_leaves_a_birth_and_death_chain(difference: float) -> None:
    """Closed form: two states are visited in the ratio rho(u) / rho(-u) = e^((m - 1) u), m = 20, alpha = .5."""
    matrices = np.array([[[0.0], [difference]], [[3.0], [-7.0]]])
    shares = alpha_rank_two_populations(matrices, alpha=0.5, num_individuals=20)
    assert shares[1, 0] / shares[0, 0] == pytest.approx(math.exp(19 * 0.5 * difference), rel=1e-9)


@pytest.mark.parametrize("alpha", [0.3, 2.0, None])
def test_two_populations_of_matching_pennies_visit_all_profiles_equally(alpha: float | None) -> None:
    """By symmetry: the four profiles form a cycle."""
    pennies = np.array([[1.0, -1], [-1, 1]])
    shares = alpha_rank_two_populations(np.stack([pennies, -pennies]), alpha=alpha)
    assert shares == pytest.approx(np.full((2, 2), 1 / 4), abs=1e-12)


def test_two_populations_settle_at_the_only_strict_equilibrium() -> None:
    """Prisoner's dilemma: every chain of better replies ends where both defect."""
    own = np.array([[3.0, 0], [5, 1]])
    shares = alpha_rank_two_populations(np.stack([own, own.T]))
    assert shares == pytest.approx(np.array([[0, 0], [0, 1]]), abs=1e-9)


@given(seed=st.integers(0, 10_000), n=st.integers(2, 5))
@settings(max_examples=20, deadline=None)
def test_stable_shares_do_not_depend_on_the_unit_of_payoff(seed: int, n: int) -> None:
    """The limit looks at the order of payoffs only; integers make ties, which count as equal."""
    payoffs = np.random.default_rng(seed).integers(-3, 4, (n, n)).astype(np.float64)
    assert alpha_rank(payoffs) == pytest.approx(alpha_rank(1e3 * payoffs), abs=1e-5)
    assert alpha_rank(np.zeros((n, n))) == pytest.approx(np.full(n, 1 / n))


def test_a_small_advantage_decides_beside_large_ones() -> None:
    """Strategy 0 beats 1 by a hundred millionth, both beat 2 by one: in the limit strategy 0 has everything."""
    payoffs = np.array([[0.0, 1e-8, 1.0], [0.0, 0.0, 1.0], [0.0, 0.0, 0.0]])
    assert alpha_rank(payoffs) == pytest.approx((1, 0, 0), abs=1e-9)


def test_rounding_does_not_decide() -> None:
    """0.1 + 0.2 is 0.3 but for the last bit."""
    assert alpha_rank(np.array([[0.0, 0.1 + 0.2], [0.3, 0.0]])) == pytest.approx((1 / 2, 1 / 2), abs=1e-12)


def test_global_selection_sees_what_is_above_half_the_sum() -> None:
    """Formula of 1903.01373: adding a constant to all payoffs raises c / 2 as much."""
    shifted = alpha_rank(BIASED + 5, alpha=0.1, selection="global")
    assert shifted == pytest.approx(alpha_rank(BIASED, alpha=0.1, selection="global"), abs=1e-12)


@given(seed=st.integers(0, 10_000), n=st.integers(2, 3), m=st.integers(2, 3), alpha=st.sampled_from([0.05, 0.3]))
@settings(max_examples=10, deadline=None)
def test_both_forms_agree_with_openspiel(seed: int, n: int, m: int, alpha: float) -> None:
    """An independent implementation, `open_spiel.python.egt.alpharank`."""
    alpharank = pytest.importorskip("open_spiel.python.egt.alpharank")
    rng = np.random.default_rng(seed)
    payoffs: NDArray[np.float64] = rng.normal(size=(2, n, m))
    expected = alpharank.compute(list(payoffs), m=20, alpha=alpha)[2]
    found = alpha_rank_two_populations(payoffs, alpha=alpha, num_individuals=20)
    assert found.ravel() == pytest.approx(expected, abs=1e-8)
    square = rng.normal(size=(n, n))
    expected = alpharank.compute([square], m=20, alpha=alpha, use_local_selection_model=True)[2]
    assert alpha_rank(square, alpha=alpha, num_individuals=20) == pytest.approx(expected, abs=1e-8)


def test_bad_input_is_named() -> None:
    """One message for each kind."""
    with pytest.raises(ValueError, match=r"payoffs: expected finite numbers of shape \(n, n\), n >= 1, got shape"):
        alpha_rank(np.zeros((2, 3)))
    with pytest.raises(ValueError, match=r"payoff_matrices: expected finite numbers of shape \(2, n, m\), got shape"):
        alpha_rank_two_populations(np.zeros((2, 3)))
    with pytest.raises(ValueError, match=r"payoffs: expected M \+ M\^T constant for global selection"):
        alpha_rank(np.array([[0.0, 3.0], [0.0, 0.0]]), selection="global")
    with pytest.raises(ValueError, match="alpha: expected a finite number of at least 0, got -1"):
        alpha_rank(BIASED, alpha=-1)
    with pytest.raises(ValueError, match="alpha: expected a finite number of at least 0, got 'much'"):
        alpha_rank(BIASED, alpha="much")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"num_individuals: expected an integer of at least 2, got 2\.5"):
        alpha_rank(BIASED, num_individuals=2.5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"payoffs: expected M \+ M\^T constant for global selection"):
        alpha_rank(1e-9 * np.array([[0.0, 3.0], [0.0, 0.0]]), selection="global")
    with pytest.raises(ValueError, match="num_individuals: expected an integer of at least 2, got 1"):
        alpha_rank(BIASED, num_individuals=1)
    with pytest.raises(ValueError, match="selection: expected 'local' or 'global', got 'wide'"):
        alpha_rank(BIASED, selection="wide")  # type: ignore[arg-type]
