import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from duologue.baselines.evaluation.regret import (
    Floats,
    external_regret,
    population_regret,
    profile_regret,
    regret_growth,
    regret_trend,
)
from duologue.envs import make_game
from duologue.envs.games.kuhn_poker import KuhnPoker
from duologue.envs.tree.analysis import (
    GameTree,
    best_response,
    expected_returns,
    mix_by_own_reach,
    nash_conv,
    random_profile,
)

T = 100
LOSSES = np.array([[0.5, 0.0], *([[0.0, 1.0], [1.0, 0.0]] * T)])[:T]
"""Those of the reference: (.5, 0), then (0, 1) and (1, 0) in turn."""


def follow_the_leader() -> Floats:
    """Return plays of the action with the least loss so far, the first on ties."""
    past = np.vstack([np.zeros(2), np.cumsum(LOSSES, axis=0)[:-1]])
    plays: Floats = np.eye(2)[past.argmin(1)]
    return plays


def hedge() -> Floats:
    """Return plays of Hedge with the step sqrt(8 ln 2 / T)."""
    past = np.vstack([np.zeros(2), np.cumsum(LOSSES, axis=0)[:-1]])
    weights = np.exp(-np.sqrt(8 * np.log(2) / T) * past)
    plays: Floats = weights / weights.sum(1, keepdims=True)
    return plays


def test_follow_the_leader_has_regret_that_grows_like_time() -> None:
    """Reference values: no fall in 99 steps, p = 1, exponent 1."""
    regrets = external_regret(LOSSES, follow_the_leader())
    assert regret_trend(regrets) == (0, 1.0)
    growth = regret_growth(regrets)
    assert growth.exponent.value == pytest.approx(1, abs=0.02)
    assert growth.num_dropped == 0


def test_hedge_has_none() -> None:
    """Reference values: 99 falls, exponent .685, and the bound sqrt(T ln 2 / 2)."""
    regrets = external_regret(LOSSES, hedge())
    trend, growth = regret_trend(regrets), regret_growth(regrets)
    assert trend.num_falls == 99
    assert trend.p_value == pytest.approx(0.5**99)
    assert growth.exponent.value == pytest.approx(0.685, abs=5e-4)
    assert growth.exponent.high < 1
    assert regrets.max() <= np.sqrt(T * np.log(2) / 2)


def test_regrets_that_are_not_positive_are_dropped_and_counted() -> None:
    """By hand: t = 2, 3, 4 with regret t^2 have the exponent 2; t = 1 has no logarithm."""
    growth = regret_growth([0.0, 4.0, 9.0, 16.0])
    assert growth.exponent.value == pytest.approx(2)
    assert growth.num_dropped == 1
    with pytest.raises(ValueError, match="at least 3 that are positive, got 0"):
        regret_growth([0.0, -1.0, -2.0])


def test_a_population_that_always_loses_a_round_regrets_it() -> None:
    """Matching pennies by hand: heads against tails twice; player 0 would have won 2 with tails and lost 2."""
    pennies = np.array([[1, -1], [-1, 1]])
    found = population_regret(np.stack([pennies, -pennies]), [[1, 0], [1, 0]], [[0, 1], [0, 1]])
    assert found.tolist() == [[2, 4], [0, 0]]
    with pytest.raises(ValueError, match=r"expected shapes \(2, n, m\)"):
        population_regret(pennies, [[1, 0]], [[1, 0]])


def test_regret_in_a_matrix_game_is_that_of_its_payoffs() -> None:
    """The tree of matching pennies and its matrix give the same numbers for mixed play."""
    tree, rng = GameTree(make_game("matching_pennies-v0")), np.random.default_rng(0)
    profiles = [random_profile(tree, rng) for _ in range(6)]
    pennies = np.array([[1, -1], [-1, 1]])
    expected = population_regret(np.stack([pennies, -pennies]), *(np.array([p[k] for p in profiles]) for k in (0, 1)))
    assert profile_regret(tree, profiles) == pytest.approx(expected, abs=1e-12)


@given(seed=st.integers(0, 50))
def test_average_regrets_are_the_nash_conv_of_the_average(seed: int) -> None:
    """Kuhn poker, zero-sum: both regrets over T sum up to NashConv of the averages by own reach, for any play."""
    tree, rng = GameTree(KuhnPoker()), np.random.default_rng(seed)
    profiles = [random_profile(tree, rng) for _ in range(4)]
    average = [mix_by_own_reach(tree, player, [p[player] for p in profiles], [1.0] * 4) for player in (0, 1)]
    regrets = profile_regret(tree, profiles)
    assert regrets[:, -1].sum() / 4 == pytest.approx(nash_conv(tree, (average[0], average[1])), abs=1e-9)
    best = best_response(tree, 0, average[1]).value * 4
    assert regrets[0, -1] == pytest.approx(best - sum(expected_returns(tree, p)[0] for p in profiles), abs=1e-9)


def test_what_is_no_sequence_is_refused() -> None:
    """One row of losses for each row of plays; one number for each t."""
    with pytest.raises(ValueError, match=r"one shape \(T, A\)"):
        external_regret([[1, 0]], [[1, 0], [0, 1]])
    with pytest.raises(ValueError, match="at least one"):
        profile_regret(GameTree(make_game("matching_pennies-v0")), [])
    with pytest.raises(ValueError, match="at least 2 finite numbers"):
        regret_trend([1.0])
