import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.special import softmax

from duologue.baselines.solvers.preference_games import gap0, preferred
from duologue.baselines.solvers.preference_learners import (
    HedgeSelfPlay,
    MultiplayerSelfPlay,
    OptimisticSelfPlay,
    PreferenceFictitiousPlay,
)
from duologue.envs.games.matrix.preferences import cycle, random_preference_matrix

ROCK_PAPER_SCISSORS = np.array([[0.5, 0.0, 1.0], [1.0, 0.5, 0.0], [0.0, 1.0, 0.5]])
START = softmax([1.0, 0.0, 0.0])


def stacked_games(seed: int, count: int, n: int) -> NDArray[np.float64]:
    """Return `count` random preference matrices of n replies."""
    rng = np.random.default_rng(seed)
    return np.stack([random_preference_matrix(n, rng) for _ in range(count)])


def test_fictitious_play_on_rock_paper_scissors() -> None:
    """Reference values, section 3a: the recursion in exact arithmetic; no ties occur."""
    learner = PreferenceFictitiousPlay(ROCK_PAPER_SCISSORS, START)
    gaps = [float(gap0(ROCK_PAPER_SCISSORS, learner.policy))]
    for _ in range(10_000):
        learner.step()
        gaps.append(float(gap0(ROCK_PAPER_SCISSORS, learner.policy)))
    found = [gaps[t] for t in (0, 1, 2, 10, 100, 1000, 10_000)]
    expected = [0.364175, 0.317912, 0.211942, 0.148711, 0.0458993, 0.0149850, 0.00469953]
    assert found == pytest.approx(expected, rel=1e-4)
    assert learner.num_queries == learner.iteration == 10_000
    assert np.array_equal(learner.average_policy, learner.policy)


def test_hedge_runs_to_the_boundary_while_its_average_settles() -> None:
    """Reference values, section 3a: theta += P softmax(theta), plain average of x_0 .. x_{T-1}."""
    learner = HedgeSelfPlay(ROCK_PAPER_SCISSORS, START, step_size=1.0)
    assert np.array_equal(learner.average_policy, learner.policy)
    for steps, last, average in ((1000, 0.9991, 0.01899), (9000, 1.0, 0.00585)):
        for _ in range(steps):
            learner.step()
        assert gap0(ROCK_PAPER_SCISSORS, learner.policy) == pytest.approx(last, rel=1e-3)
        assert gap0(ROCK_PAPER_SCISSORS, learner.average_policy) == pytest.approx(average, rel=1e-3)
    assert learner.num_queries == 10_000


@given(seed=st.integers(0, 1000), n=st.integers(2, 8), steps=st.integers(1, 300), step_size=st.floats(0.01, 2.0))
@settings(max_examples=25)
def test_hedge_keeps_its_regret_bound(seed: int, n: int, steps: int, step_size: float) -> None:
    """Twice the regret log(n) / eta + eta T / 8 (Cesa-Bianchi & Lugosi, 2006, theorem 2.2), divided by T."""
    games = stacked_games(seed, 4, n)
    learner = HedgeSelfPlay(games, np.full((4, n), 1 / n), step_size=step_size)
    for _ in range(steps):
        learner.step()
    bound = 2 * math.log(n) / (step_size * steps) + step_size / 4
    assert gap0(games, learner.average_policy).max() <= bound + 1e-12


@given(seed=st.integers(0, 1000), n=st.integers(2, 8), step_size=st.sampled_from([0.05, 0.2, 0.5]))
@settings(max_examples=15)
def test_onpo_keeps_its_faster_bound(seed: int, n: int, step_size: float) -> None:
    """Regret at most KL(., pi'_0) / eta <= log(n) / eta + 1, for |r - r'| <= |pi - pi'|_1 / 2; at every T."""
    games = stacked_games(seed, 4, n)
    learner = OptimisticSelfPlay(games, np.full((4, n), 1 / n), step_size=step_size)
    for steps in range(1, 201):
        learner.step()
        assert gap0(games, learner.average_policy).max() <= 2 * (math.log(n) / step_size + 1) / steps
    assert learner.num_queries == 200


def test_onpos_constant_cannot_be_four_root_log_n() -> None:
    """One reply that wins against all: T gap0 tends to 2 log(n) / eta + 1/2, more than 4 sqrt(log n) at eta = 1/2.

    log P(others) falls by eta (1/2 + (1/2) P(best)) a step, so the regret is what Hedge pays to leave uniform play.
    """
    n, steps = 8, 2000
    game = np.full((n, n), 0.5)
    game[0, 1:], game[1:, 0] = 1.0, 0.0
    learner = OptimisticSelfPlay(game, np.full(n, 1 / n), step_size=0.5)
    for _ in range(steps):
        learner.step()
    assert steps * gap0(game, learner.average_policy) > 1.4 * 4 * math.sqrt(math.log(n))


def test_onpo_is_the_two_sequence_form_of_the_paper() -> None:
    """pi_t from pi'_t exp(eta r_{t-1}), pi'_{t+1} from pi'_t exp(eta r_t), with r_{-1} = r_0 folded into the start."""
    eta = 0.3
    learner = OptimisticSelfPlay(ROCK_PAPER_SCISSORS, START, step_size=eta)
    before = preferred(ROCK_PAPER_SCISSORS, START)
    base = np.log(START) - eta * before
    for _ in range(50):
        played = softmax(base + eta * before)
        assert learner.policy == pytest.approx(played, abs=1e-12)
        before = preferred(ROCK_PAPER_SCISSORS, played)
        base = base + eta * before
        learner.step()


def test_onpos_last_iterate_converges_where_hedges_does_not() -> None:
    """2512.24818: linear, if the equilibrium has full support; here it is uniform."""
    optimistic, plain = (kind(cycle(0.9), START, step_size=0.5) for kind in (OptimisticSelfPlay, HedgeSelfPlay))
    for _ in range(2000):
        optimistic.step()
        plain.step()
    assert gap0(cycle(0.9), optimistic.policy) < 1e-6
    assert gap0(cycle(0.9), plain.policy) > 0.5


def test_two_players_of_mnpo_continue_each_others_hedge() -> None:
    """By its update: with one opponent, log pi_1 <- log pi_2 + eta P pi_2."""
    other = softmax([0.0, 0.3, 0.5])
    learner = MultiplayerSelfPlay(ROCK_PAPER_SCISSORS, np.stack([START, other]), step_size=0.2)
    paths = [HedgeSelfPlay(ROCK_PAPER_SCISSORS, start, step_size=0.2) for start in (START, other)]
    for steps in range(1, 8):
        learner.step()
        for path in paths:
            path.step()
        assert learner.policy == pytest.approx(paths[steps % 2].policy, abs=1e-12)


def test_equal_players_of_mnpo_are_hedge() -> None:
    """The mean over equal opponents is any one of them; n - 1 queries a step."""
    learner = MultiplayerSelfPlay(ROCK_PAPER_SCISSORS, np.stack([START] * 4), step_size=0.2)
    hedge = HedgeSelfPlay(ROCK_PAPER_SCISSORS, START, step_size=0.2)
    assert np.allclose(learner.average_policy, START, atol=1e-15)
    for _ in range(30):
        learner.step()
        hedge.step()
    assert learner.policy == pytest.approx(hedge.policy, abs=1e-10)
    assert learner.average_policy == pytest.approx(hedge.average_policy, abs=1e-10)
    assert (learner.num_queries, hedge.num_queries) == (90, 30)


def test_mnpos_average_approaches_the_equilibrium() -> None:
    """2509.23102 claims O(1 / sqrt(T)) for the average; eta = sqrt(8 log(n) / T) from different starts."""
    starts = np.stack([softmax(np.random.default_rng(k).normal(size=3)) for k in range(3)])
    for steps in (100, 400, 1600):
        learner = MultiplayerSelfPlay(cycle(0.9), starts, step_size=math.sqrt(8 * math.log(3) / steps))
        for _ in range(steps):
            learner.step()
        assert gap0(cycle(0.9), learner.average_policy) < math.sqrt(2 * math.log(3) / steps)


def test_bad_options_are_named() -> None:
    """One message for each kind."""
    with pytest.raises(ValueError, match="step_size: expected a finite number above 0, got -1"):
        HedgeSelfPlay(ROCK_PAPER_SCISSORS, START, step_size=-1)
    with pytest.raises(ValueError, match="initial_policy: expected probabilities > 0"):
        PreferenceFictitiousPlay(ROCK_PAPER_SCISSORS, np.array([1.0, 0.0, 0.0]))
    with pytest.raises(ValueError, match=r"initial_policies: expected those of at least 2 players, got shape \(3,\)"):
        MultiplayerSelfPlay(ROCK_PAPER_SCISSORS, START, step_size=0.1)
