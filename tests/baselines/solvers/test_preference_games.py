import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.special import expit, logit, softmax

from duologue.baselines.solvers.preference_games import (
    gap,
    gap0,
    kl_divergence,
    offline_ipo_optimum,
    preferred,
    regularised_best_response,
    regularised_equilibrium,
    regularised_payoff,
)
from duologue.envs.games.matrix.preferences import cycle, random_preference_matrix
from duologue.tests.baselines.solvers.helpers import egpo_games, egpo_reference_logits

REFERENCE = np.array([0.6, 0.3, 0.1])


def random_game(seed: int, n: int) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return preferences, a policy and a reference policy of n replies."""
    rng = np.random.default_rng(seed)
    return random_preference_matrix(n, rng), softmax(rng.normal(size=n)), softmax(2 * rng.normal(size=n))


@pytest.mark.parametrize(("p", "kl_coef", "ref", "expected"), [(0.7, 0.1, 0.5, 0.880797), (0.6, 0.2, 0.25, 0.354661)])
def test_two_replies_settle_at_a_sigmoid(p: float, kl_coef: float, ref: float, expected: float) -> None:
    """Closed form: pi*(1) = sigmoid(logit ref(1) + (p - 1/2) / beta)."""
    found = regularised_equilibrium(np.array([[0.5, p], [1 - p, 0.5]]), np.array([ref, 1 - ref]), kl_coef=kl_coef)
    assert found[0] == pytest.approx(expit(logit(ref) + (p - 0.5) / kl_coef), abs=1e-12)
    assert found[0] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("p", "equilibrium", "gap_of_reference"),
    [(5 / 9, (0.643730, 0.228498, 0.127772), 0.003152), (2 / 3, (0.603040, 0.173806, 0.223154), 0.024907)],
)
def test_a_cycle_settles_off_the_reference(p: float, equilibrium: tuple[float, ...], gap_of_reference: float) -> None:
    """Reference values of the fixed-point equation, solved to 1e-6; beta = .1."""
    found = regularised_equilibrium(cycle(p), REFERENCE, kl_coef=0.1)
    assert found == pytest.approx(equilibrium, abs=1e-6)
    assert gap(cycle(p), REFERENCE, REFERENCE, 0.1) == pytest.approx(gap_of_reference, abs=1e-6)


def test_offline_ipo_ends_elsewhere_than_the_equilibrium() -> None:
    """Closed form ref exp(P mu / beta) with a uniform reference, whose equilibrium is uniform by symmetry."""
    uniform = np.full(3, 1 / 3)
    optimum = offline_ipo_optimum(cycle(5 / 9), REFERENCE, uniform, kl_coef=0.1)
    assert optimum == pytest.approx((0.365639, 0.247834, 0.386527), abs=1e-6)
    assert regularised_equilibrium(cycle(5 / 9), uniform, kl_coef=0.1) == pytest.approx(uniform, abs=1e-12)


@given(seed=st.integers(0, 10_000), n=st.integers(2, 8), kl_coef=st.sampled_from([0.003, 0.01, 0.1, 1.0, 10.0]))
def test_newton_finds_the_equilibrium_of_any_game(seed: int, n: int, kl_coef: float) -> None:
    """Its definition: theta - theta_ref - P pi / beta is constant, and nobody gains."""
    preferences, _, reference = random_game(seed, n)
    found = regularised_equilibrium(preferences, reference, kl_coef=kl_coef)
    assert gap(preferences, found, reference, kl_coef) == pytest.approx(0, abs=1e-12)
    seen = found > 1e-200
    miss = (np.log(found[seen] / reference[seen]) - preferred(preferences, found)[seen] / kl_coef).tolist()
    assert max(miss) - min(miss) < 1e-9
    assert kl_divergence(found, regularised_best_response(preferences, found, reference, kl_coef)) < 1e-12


@given(seed=st.integers(0, 10_000), n=st.integers(2, 8), kl_coef=st.sampled_from([0.01, 0.1, 1.0]))
def test_the_gap_is_what_the_best_response_gains(seed: int, n: int, kl_coef: float) -> None:
    """Two other forms: J(BR, pi) - J(pi, BR), and 2 [beta log E_ref exp(P pi / beta) + beta KL(pi, ref) - 1/2]."""
    preferences, policy, reference = random_game(seed, n)
    found = gap(preferences, policy, reference, kl_coef)
    best = regularised_best_response(preferences, policy, reference, kl_coef)
    gained = regularised_payoff(preferences, best, policy, reference, kl_coef)
    lost = regularised_payoff(preferences, policy, best, reference, kl_coef)
    assert found == pytest.approx(gained - lost, abs=1e-12)
    log_mean = math.log((reference * np.exp(preferred(preferences, policy) / kl_coef)).sum())
    printed = 2 * (kl_coef * (log_mean + kl_divergence(policy, reference)) - 0.5)
    assert found == pytest.approx(printed, abs=1e-12)


@given(seed=st.integers(0, 10_000), n=st.integers(2, 6))
def test_no_policy_answers_better_than_the_best_response(seed: int, n: int) -> None:
    """Random competitors; pure ones too, whose KL is finite by 0 log 0 = 0."""
    preferences, policy, reference = random_game(seed, n)
    best = regularised_best_response(preferences, policy, reference, 0.1)
    most = regularised_payoff(preferences, best, policy, reference, 0.1)
    for other in (*np.eye(n), *np.random.default_rng(seed).dirichlet(np.ones(n), 5)):
        assert regularised_payoff(preferences, other, policy, reference, 0.1) <= most + 1e-12
    assert gap0(preferences, policy) == pytest.approx(2 * max((preferences @ policy).tolist()) - 1, abs=1e-12)


def test_a_pure_policy_has_a_finite_gap() -> None:
    """By hand: reply 1 against itself, KL(pi, ref) = log 2, E_ref exp(P pi / beta) over (.5, .3)."""
    preferences, uniform = np.array([[0.5, 0.7], [0.3, 0.5]]), np.array([0.5, 0.5])
    log_mean = math.log(0.5 * (math.exp(0.5) + math.exp(0.3)))
    expected = 2 * (log_mean + math.log(2) - 0.5)
    assert gap(preferences, np.array([1.0, 0.0]), uniform, 1.0) == pytest.approx(expected, abs=1e-12)


def test_stacked_games_are_solved_one_by_one() -> None:
    """EGPO's ten games: the stack's answers are the games' own; start gaps from the reference values."""
    preferences, reference = egpo_games()
    assert preferences[0][1, 0] == pytest.approx(0.74345791, abs=1e-8)
    logits = egpo_reference_logits()
    assert logits[0][:3] == pytest.approx([-1.04087865, 1.27532756, 1.84473431], abs=1e-8)
    assert reference == pytest.approx(np.exp(logits) / np.exp(logits).sum(-1, keepdims=True), abs=1e-15)
    assert np.array_equal(preferences + preferences.transpose(0, 2, 1), np.ones((10, 10, 10)))
    for kl_coef, first, median in ((0.1, 0.0841, 0.0874), (0.01, 0.3134, 0.3034)):
        found = regularised_equilibrium(preferences, reference, kl_coef=kl_coef)
        alone = regularised_equilibrium(preferences[3], reference[3], kl_coef=kl_coef)
        assert np.array_equal(found[3], alone)
        assert gap(preferences, found, reference, kl_coef) == pytest.approx(0, abs=1e-14)
        start = gap(preferences, reference, reference, kl_coef)
        assert (start[0], np.median(start)) == pytest.approx((first, median), abs=5e-5)


def test_bad_input_is_named() -> None:
    """One message for each kind."""
    broken = np.stack([cycle(0.7), cycle(0.7)])
    broken[1, 2, 0] = 0.9
    with pytest.raises(ValueError, match=r"game \(1,\), preferences: expected P \+ P\^T = 1, got P\[0, 2\] = 0.3"):
        regularised_equilibrium(broken, np.full((2, 3), 1 / 3), kl_coef=0.1)
    with pytest.raises(ValueError, match=r"preferences: expected P \+ P\^T = 1"):
        regularised_equilibrium(broken[1], np.full(3, 1 / 3), kl_coef=0.1)
    with pytest.raises(ValueError, match=r"preferences: expected shape \(..., n, n\), got \(3,\)"):
        regularised_equilibrium(np.ones(3), np.full(3, 1 / 3), kl_coef=0.1)
    with pytest.raises(ValueError, match=r"reference: expected probabilities > 0 that sum to 1, got a least of 0\.0"):
        regularised_equilibrium(cycle(0.7), np.array([0.5, 0.5, 0.0]), kl_coef=0.1)
    with pytest.raises(ValueError, match=r"reference: expected shape \(3,\), got \(2,\)"):
        regularised_equilibrium(cycle(0.7), np.array([0.5, 0.5]), kl_coef=0.1)
    with pytest.raises(RuntimeError, match=r"kl_coef: expected an equilibrium at 1e-08, got stuck"):
        regularised_equilibrium(random_game(0, 8)[0], np.full(8, 1 / 8), kl_coef=1e-8)
    with pytest.raises(ValueError, match=r"kl_coef: expected a finite number above 0, got 0.0"):
        regularised_equilibrium(cycle(0.7), REFERENCE, kl_coef=0.0)
