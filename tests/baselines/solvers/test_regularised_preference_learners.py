from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.special import expit, logit, softmax

from duologue.baselines.solvers.preference_games import gap, kl_divergence, regularised_equilibrium
from duologue.baselines.solvers.regularised_preference_learners import (
    EGPO,
    IPOSelfPlay,
    NashMD,
    NashMDPG,
    NashMP,
    OnlineMirrorDescent,
    OptimisticMirrorDescent,
    RegularisedLearner,
)
from duologue.envs.games.matrix.preferences import cycle, random_preference_matrix
from duologue.tests.baselines.solvers.helpers import egpo_games

PREFERENCES, REFERENCE = egpo_games()
LEVELS = (1e-2, 1e-4, 1e-6)
SMALL = 1e-14
Reached = tuple[tuple[int, int], ...]
Setting = tuple[float, float]
STRONG, WEAK = (0.1, 0.1), (0.01, 0.02)  # beta and learning rate
NUM_UPDATES = {STRONG: 1000, WEAK: 5000}


def make(name: str, setting: Setting) -> RegularisedLearner:
    """Return a learner on the ten games; SGD on the pairs' loss has eta beta = 4 lr / n, n = 10."""
    kl_coef, rate = setting
    game, eta, mix = (PREFERENCES, REFERENCE), 0.4 * rate / kl_coef, 0.2 * rate
    makers: dict[str, Callable[[], RegularisedLearner]] = {
        "omd": lambda: OnlineMirrorDescent(*game, kl_coef=kl_coef, step_size=eta),
        "optimistic_omd": lambda: OptimisticMirrorDescent(*game, kl_coef=kl_coef, step_size=eta),
        "egpo": lambda: EGPO(*game, kl_coef=kl_coef, step_size=eta),
        "ipo_self": lambda: IPOSelfPlay(*game, kl_coef=kl_coef, learning_rate=rate),
        "nash_md": lambda: NashMD(*game, kl_coef=kl_coef, step_size=eta, mix_rate=mix),
        "nash_md_pg": lambda: NashMDPG(*game, kl_coef=kl_coef, learning_rate=rate, mix_rate=mix),
    }
    return makers[name]()


def curves(learner: RegularisedLearner, num_updates: int) -> NDArray[np.float64]:
    """Return the gaps after 0, 1, ... updates; shape (num_updates + 1, 10)."""
    gaps = [gap(PREFERENCES, learner.policy, REFERENCE, learner.kl_coef)]
    for _ in range(num_updates):
        learner.step()
        gaps.append(gap(PREFERENCES, learner.policy, REFERENCE, learner.kl_coef))
    return np.stack(gaps)


def check_times(gaps: NDArray[np.float64], reached: Reached) -> None:
    """Hold the number of games that reach each level, equal, and their median time, within 1 %."""
    for level, (count, time) in zip(LEVELS, reached, strict=True):
        below = gaps < level
        found = below.any(0)
        assert int(found.sum()) == count
        if count:
            assert abs(int(np.median(below.argmax(0)[found])) - time) <= 0.01 * time


@pytest.mark.parametrize(
    ("name", "setting", "reached", "final"),
    [
        ("omd", STRONG, ((10, 28), (10, 86), (10, 144)), None),
        ("ipo_self", STRONG, ((10, 32), (10, 190), (8, 455)), (2.26e-10, 9.8e-9, 7.7e-6)),
        ("nash_md", STRONG, ((10, 28), (10, 86), (0, 0)), (1.50e-5, 1.48e-5, 2.97e-5)),
        ("nash_md_pg", STRONG, ((1, 742), (0, 0), (0, 0)), (1.13e-2, 1.50e-2, 2.38e-2)),
        ("egpo", STRONG, ((10, 26), (10, 82), (10, 137)), None),
        ("optimistic_omd", STRONG, ((10, 26), (10, 82), (10, 137)), None),
        ("omd", WEAK, ((6, 656), (5, 1272), (4, 1798)), (SMALL, 9.65e-5, 0.243)),
        ("ipo_self", WEAK, ((3, 790), (2, 3991), (0, 0)), (1.14e-4, 0.130, 0.551)),
        ("nash_md", WEAK, ((6, 630), (6, 1674), (3, 1240)), (1.24e-5, 4.3e-5, 0.297)),
        ("nash_md_pg", WEAK, ((0, 0), (0, 0), (0, 0)), (0.122, 0.260, 0.575)),
        ("egpo", WEAK, ((10, 141), (10, 348), (10, 602)), None),
        ("optimistic_omd", WEAK, ((10, 141), (10, 346), (10, 602)), None),
    ],
)
def test_egpos_ten_games(
    name: str, setting: Setting, reached: Reached, final: tuple[float, float, float] | None
) -> None:
    """Reference values, section 7, on the games of zhourunlong/EGPO: counts, median times, final gaps.

    Final gaps are those of game 0, the median and the maximum; None: all below 1e-14.
    """
    learner = make(name, setting)
    gaps = curves(learner, NUM_UPDATES[setting])
    check_times(gaps, reached)
    last = gaps[-1]
    for found, expected in zip((last[0], np.median(last), last.max()), final or (SMALL,) * 3, strict=True):
        assert found < SMALL if expected == SMALL else found == pytest.approx(expected, rel=0.02)
    assert learner.num_queries == NUM_UPDATES[setting] * (2 if name == "egpo" else 1)
    if (name, setting) == ("egpo", WEAK):
        found = (gaps[500][0], float(np.median(gaps[500])), gaps[500].max())
        assert found == pytest.approx((4.12e-6, 5.80e-6, 5.26e-5), rel=0.02)


@pytest.mark.parametrize(("p", "kl_coef", "ref", "listed"), [(0.6, 0.2, 0.25, 0.354661), (0.7, 0.1, 0.5, 0.880797)])
@pytest.mark.parametrize("name", ["omd", "optimistic_omd", "egpo", "ipo_self", "nash_mp", "nash_md"])
def test_every_kl_regularised_learner_lands_on_the_sigmoid(
    name: str, p: float, kl_coef: float, ref: float, listed: float
) -> None:
    """Closed form for two replies: sigmoid(logit ref(1) + (p - 1/2) / beta); reference values, section 6."""
    game = np.array([[0.5, p], [1 - p, 0.5]]), np.array([ref, 1 - ref])
    learners: dict[str, RegularisedLearner] = {
        "omd": OnlineMirrorDescent(*game, kl_coef=kl_coef, step_size=0.5),
        "optimistic_omd": OptimisticMirrorDescent(*game, kl_coef=kl_coef, step_size=0.5),
        "egpo": EGPO(*game, kl_coef=kl_coef, step_size=0.5),
        "ipo_self": IPOSelfPlay(*game, kl_coef=kl_coef, learning_rate=0.5),
        "nash_mp": NashMP(*game, kl_coef=kl_coef),
        "nash_md": NashMD(*game, kl_coef=kl_coef),
    }
    learner = learners[name]
    assert np.array_equal(learner.average_policy, learner.policy)
    for _ in range(2000):
        learner.step()
    expected = expit(logit(ref) + (p - 0.5) / kl_coef)
    assert expected == pytest.approx(listed, abs=1e-6)
    tolerance = 1e-4 if name == "nash_md" else 1e-12  # its rate is 1/T, the others' are linear
    assert learner.policy[0] == pytest.approx(expected, abs=tolerance)
    assert learner.average_policy[0] == pytest.approx(expected, abs=1e-2)


def test_nash_md_takes_the_steps_of_the_paper() -> None:
    """2312.00886, written with powers of probabilities: eta_t beta = 2 / (t + 2), the first step is 1."""
    reference, kl_coef = np.array([0.6, 0.3, 0.1]), 0.3
    learner, policy = NashMD(cycle(0.8), reference, kl_coef=kl_coef), reference
    for pull in (1, 2 / 3, 1 / 2, 2 / 5):
        mixed = policy ** (1 - pull) * reference**pull
        raised = policy ** (1 - pull) * reference**pull * np.exp(pull / kl_coef * cycle(0.8) @ (mixed / mixed.sum()))
        policy = raised / raised.sum()
        learner.step()
        assert learner.policy == pytest.approx(policy, abs=1e-12)


@given(seed=st.integers(0, 10_000), n=st.integers(2, 8), kl_coef=st.sampled_from([0.03, 0.1, 0.5, 2.0]))
@settings(max_examples=20)
def test_nash_md_keeps_its_bound_at_every_step(seed: int, n: int, kl_coef: float) -> None:
    """2312.00886, theorem 1 and the recursion in its proof."""
    rng = np.random.default_rng(seed)
    games = np.stack([random_preference_matrix(n, rng) for _ in range(4)])
    reference = softmax(rng.normal(size=(4, n)), axis=-1)
    goal = regularised_equilibrium(games, reference, kl_coef=kl_coef)
    learner = NashMD(games, reference, kl_coef=kl_coef)
    distance = kl_divergence(goal, learner.policy)
    for steps in range(1, 101):
        eta = learner.step_size
        learner.step()
        before, distance = distance, kl_divergence(goal, learner.policy)
        assert (distance <= (1 - eta * kl_coef) * before + 2 * eta**2 + 1e-12).all()
        assert distance.max() <= 8 / (kl_coef**2 * (steps + 1))


@pytest.mark.parametrize("kl_coef", [0.01, 0.1, 1.0])
def test_nash_md_keeps_its_bound_for_a_thousand_steps(kl_coef: float) -> None:
    """Reference values, section 6: KL(pi*, pi_T) <= 8 / (beta^2 (T + 1)) for every game and T; forty random games."""
    rng = np.random.default_rng(0)
    games = np.stack([random_preference_matrix(6, rng) for _ in range(40)])
    reference = softmax(2 * rng.normal(size=(40, 6)), axis=-1)
    goal = regularised_equilibrium(games, reference, kl_coef=kl_coef)
    learner = NashMD(games, reference, kl_coef=kl_coef)
    for steps in range(1, 1001):
        eta, before = learner.step_size, kl_divergence(goal, learner.policy)
        learner.step()
        distance = kl_divergence(goal, learner.policy)
        assert (distance <= (1 - eta * kl_coef) * before + 2 * eta**2 + 1e-12).all()
        assert distance.max() <= 8 / (kl_coef**2 * (steps + 1))


def test_nash_md_with_a_constant_step_stops_at_a_plateau() -> None:
    """2312.00886: the bound needs the decaying step; its default mixture rate is eta beta."""
    reference, kl_coef = np.array([0.6, 0.3, 0.1]), 0.1
    goal = regularised_equilibrium(cycle(2 / 3), reference, kl_coef=kl_coef)
    distances = []
    for size, steps in ((0.5, 1000), (0.5, 3000), (None, 3000)):
        learner = NashMD(cycle(2 / 3), reference, kl_coef=kl_coef, step_size=size)
        for _ in range(steps):
            learner.step()
        distances.append(float(kl_divergence(goal, learner.policy)))
    assert distances[0] == pytest.approx(distances[1], rel=1e-6)
    assert distances[1] > 1e-6
    assert distances[2] < distances[1] / 10


@given(seed=st.integers(0, 10_000), n=st.integers(2, 8), kl_coef=st.sampled_from([0.01, 0.1, 0.5, 2.0]))
@settings(max_examples=20)
def test_nash_mirror_prox_keeps_its_rate(seed: int, n: int, kl_coef: float) -> None:
    """2505.19731, abstract: KL(pi*, pi) falls by 1 + 2 beta at every step, two queries each."""
    rng = np.random.default_rng(seed)
    games = np.stack([random_preference_matrix(n, rng) for _ in range(4)])
    reference = softmax(rng.normal(size=(4, n)), axis=-1)
    goal = regularised_equilibrium(games, reference, kl_coef=kl_coef)
    learner = NashMP(games, reference, kl_coef=kl_coef)
    start = kl_divergence(goal, reference)
    for _ in range(100):
        learner.step()
        bound = start * (1 + 2 * kl_coef) ** (-learner.num_queries / 2)
        assert (kl_divergence(goal, learner.policy) <= bound + 1e-12).all()


def test_mirror_descent_cycles_above_its_step_and_extragradient_does_not() -> None:
    """The strongest cycle, beta = .005 and eta = 1, far above the eta of about beta that the plain method wants."""
    game, kl_coef = (cycle(1.0), np.array([0.6, 0.3, 0.1])), 0.005
    plain = OnlineMirrorDescent(*game, kl_coef=kl_coef, step_size=1.0)
    extra = EGPO(*game, kl_coef=kl_coef, step_size=1.0)
    for _ in range(5000):
        plain.step()
        extra.step()
    assert gap(game[0], extra.policy, game[1], kl_coef) < 1e-12
    assert gap(game[0], plain.policy, game[1], kl_coef) > 0.1


def test_bad_options_are_named() -> None:
    """One message for each kind."""
    game = cycle(0.7), np.full(3, 1 / 3)
    with pytest.raises(ValueError, match=r"step_size: expected at most 1 / kl_coef = 2.0, got 3.0"):
        OnlineMirrorDescent(*game, kl_coef=0.5, step_size=3.0)
    with pytest.raises(ValueError, match=r"step_size: expected at most 1 / kl_coef = 2.0, got 3.0"):
        NashMD(*game, kl_coef=0.5, step_size=3.0)
    with pytest.raises(ValueError, match="mix_rate: expected a number from 0 to 1, got 2"):
        NashMD(*game, kl_coef=0.5, mix_rate=2)
    with pytest.raises(ValueError, match="mix_rate: expected a number from 0 to 1, got -1"):
        NashMDPG(*game, kl_coef=0.5, learning_rate=0.1, mix_rate=-1)
    with pytest.raises(ValueError, match="learning_rate: expected a finite number above 0, got 0"):
        IPOSelfPlay(*game, kl_coef=0.5, learning_rate=0)
    with pytest.raises(ValueError, match="kl_coef: expected a finite number above 0, got nan"):
        EGPO(*game, kl_coef=float("nan"), step_size=0.1)
