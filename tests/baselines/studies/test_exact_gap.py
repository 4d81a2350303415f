"""Learners on the exact tree: the gradient is eq. 9's, averages settle where last iterates do not."""

from itertools import islice
from math import log, sqrt

import numpy as np
import pytest

from duologue.baselines.solvers.solver import SolveStep
from duologue.baselines.studies.exact_gap import (
    LEARNERS,
    ExactGapConfig,
    averaged_gpo,
    exact_policy_gradient,
    last_iterate,
    log_slope,
    policy_gradient,
    ppo_fictitious_play,
    ppo_psro,
    ppo_self_play,
    theory_bound,
)
from duologue.envs.games.bluff import Bluff
from duologue.envs.games.matrix.perturbed_rock_paper_scissors import PerturbedRockPaperScissors
from duologue.envs.games.tiny_red_team import OneShotRedTeam, TinyRedTeam
from duologue.envs.tree.analysis import (
    GameTree,
    Profile,
    action_values,
    expected_returns,
    nash_conv,
    uniform_profile,
    visiting_probabilities,
)
from duologue.tests.envs.tree.helpers import Aside

ASIDE, BLUFF = GameTree(Aside()), GameTree(Bluff())
MIXED, PURE = GameTree(PerturbedRockPaperScissors(rescale=True)), GameTree(TinyRedTeam("visible"))
SHORT = ExactGapConfig(num_updates=8, updates_per_round=4, batch_size=64)


def random_logits(tree: GameTree, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return logits of both players."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=tree.tables[0].num_actions), rng.normal(size=tree.tables[1].num_actions)


def softmax(tree: GameTree, logits: tuple[np.ndarray, np.ndarray]) -> Profile:
    """Return the profile of the logits."""
    return tree.tables[0].softmax(logits[0]), tree.tables[1].softmax(logits[1])


@pytest.mark.parametrize("player", [0, 1])
@pytest.mark.parametrize("tree", [BLUFF, ASIDE], ids=["bluff", "aside"])
def test_the_policy_gradient_is_that_of_the_exact_return(tree: GameTree, player: int) -> None:
    """Central finite differences of R^i(pi), algorithms.md 1.2 (9)."""
    logits, step = random_logits(tree, seed=player), 1e-5
    gradient = policy_gradient(tree, player, softmax(tree, logits))
    chosen = np.random.default_rng(0).permutation(len(gradient))[:40]
    for action in chosen:
        values = []
        for sign in (1, -1):
            moved = logits[0].copy(), logits[1].copy()
            moved[player][action] += sign * step
            values.append(expected_returns(tree, softmax(tree, moved))[player])
        assert gradient[action] == pytest.approx((values[0] - values[1]) / (2 * step), abs=1e-8)
    assert np.abs(gradient[chosen]).max() > 1e-3


@pytest.mark.parametrize("to_go", [False, True], ids=["full return", "to go"])
@pytest.mark.parametrize("player", [0, 1])
def test_the_policy_gradient_is_the_sum_of_equation_9(player: int, to_go: bool) -> None:
    """Over all nodes, d_pi(s, a) Q_pi(s, a) grad log pi(a|s); full return and reward to go have the same mean."""
    table, profile = ASIDE.tables[player], softmax(ASIDE, random_logits(ASIDE, seed=5))
    edges = np.flatnonzero((ASIDE.player[ASIDE.parent] == player) & (ASIDE.action >= 0))
    values = action_values(ASIDE, profile, to_go=to_go)[edges, player]
    weights = np.zeros(table.num_actions)
    np.add.at(weights, ASIDE.action[edges], visiting_probabilities(ASIDE, profile)[edges] * values)
    expected = weights - profile[player] * table.spread(table.sums(weights))  # grad log softmax: e_a - pi
    assert policy_gradient(ASIDE, player, profile) == pytest.approx(expected, abs=1e-12)


def test_an_equilibrium_has_no_policy_gradient() -> None:
    """Rock 1/7, paper and scissors 3/7 each (Sokota et al., ICLR 2023)."""
    profile = np.array([1, 3, 3]) / 7, np.array([1, 3, 3]) / 7
    assert nash_conv(MIXED, profile) == pytest.approx(0, abs=1e-12)
    for player in (0, 1):
        assert policy_gradient(MIXED, player, profile) == pytest.approx(0, abs=1e-12)


def test_theory_bounds_the_one_shot_game_as_printed() -> None:
    """sqrt(ln n / 2T) + sqrt(n ln m / 2T) for payoffs of range 1; times D for others (algorithms.md 2.3)."""
    table = np.random.default_rng(0).random((6, 4))
    tree, steps = GameTree(OneShotRedTeam(table)), 50
    printed = sqrt(log(6) / (2 * steps)) + sqrt(6 * log(4) / (2 * steps))
    assert theory_bound(tree, steps) == pytest.approx(np.ptp(table) * printed, abs=1e-12)


def test_nothing_bounds_a_general_game() -> None:
    """No number is printed as if it were a guarantee."""
    with pytest.raises(ValueError, match="theory_bound: expected a zero-sum game, got Aside"):
        theory_bound(ASIDE, 10)


def test_where_mixing_is_needed_the_exact_gradient_spirals_away_and_its_average_settles() -> None:
    """From uniform play, NashConv 2/9: the last iterate ends further away, the average below a third of that."""
    steps = list(exact_policy_gradient(MIXED, ExactGapConfig()))
    average, last = steps[-1].nash_conv_average, steps[-1].nash_conv_last
    assert average is not None
    assert last is not None
    assert average < nash_conv(MIXED, uniform_profile(MIXED)) / 3 < 2 / 9 < last
    assert average < theory_bound(MIXED, len(steps))


def test_where_nothing_needs_mixing_the_exact_gradient_arrives() -> None:
    """With the intent visible a pure equilibrium exists, and the last iterate beats the average."""
    step = list(exact_policy_gradient(PURE, ExactGapConfig()))[-1]
    assert step.nash_conv_last is not None
    assert step.nash_conv_average is not None
    assert step.nash_conv_last < 0.03 < step.nash_conv_average < nash_conv(PURE, uniform_profile(PURE))


@pytest.mark.parametrize("seed", range(2))
def test_ppo_self_play_stays_at_a_pure_equilibrium(seed: int) -> None:
    """From its arrival on it is never away; by the textbook's steps of noise it was in 18 and 32 of 220 updates."""
    steps = list(ppo_self_play(PURE, ExactGapConfig(num_updates=60, seed=seed)))
    told = last_iterate(steps, payoff_range=PURE.payoff_range)
    assert told.num_reports == 12
    assert told.num_excursions == 0
    assert told.end < 0.01
    assert told.late < 0.01
    assert sum(step.nash_conv_last > 0.05 for step in steps[20:]) == 0  # type: ignore[operator]


def test_a_report_without_the_newest_players_is_told() -> None:
    """Some solvers have no last iterate."""
    with pytest.raises(ValueError, match="steps: expected NashConv of the newest players in each"):
        last_iterate([SolveStep(1, None, 0.1, None)], payoff_range=1.0)


@pytest.mark.parametrize("seed", range(5))
def test_ppo_self_play_finds_a_pure_equilibrium(seed: int) -> None:
    """Five seeds from nearly uniform play, NashConv about 5/12, to below 1/10."""
    config = ExactGapConfig(num_updates=18, batch_size=64, seed=seed)
    first, *_, step = ppo_self_play(PURE, config)
    assert first.nash_conv_last is not None
    assert step.nash_conv_last is not None
    assert step.nash_conv_last < 0.1 < first.nash_conv_last


@pytest.mark.parametrize("learner", [ppo_fictitious_play, ppo_psro, averaged_gpo])
def test_learning_in_rounds_counts_updates_of_each_player(learner: object) -> None:
    """Two rounds of four updates; both end nearer to the pure equilibrium than uniform play, average included."""
    steps = list(learner(PURE, SHORT))  # type: ignore[operator]
    assert [step.iteration for step in steps] == [4, 8]
    start = nash_conv(PURE, uniform_profile(PURE))
    assert steps[-1].nash_conv_last < start
    assert steps[-1].nash_conv_average < start


@pytest.mark.parametrize("name", LEARNERS)
def test_the_same_seed_gives_the_same_numbers(name: str) -> None:
    """Nothing but the seed decides; NashConv is never below 0."""
    config = ExactGapConfig(num_updates=4, updates_per_round=2, batch_size=16, seed=3)
    once, again = (list(islice(LEARNERS[name](MIXED, config), 4)) for _ in range(2))
    assert once == again
    assert all(step.nash_conv_last >= 0 and step.nash_conv_average >= 0 for step in once)  # type: ignore[operator]


@pytest.mark.parametrize(("num_updates", "updates_per_round"), [(10, 4), (0, 1), (4, 0)])
def test_updates_make_whole_rounds(num_updates: int, updates_per_round: int) -> None:
    """A round cut short would have one player ahead."""
    with pytest.raises(
        ValueError,
        match=r"num_updates: expected a positive multiple of|updates(_per_round)?: expected an integer of at least 1",
    ):
        ExactGapConfig(num_updates=num_updates, updates_per_round=updates_per_round)


def test_a_power_law_has_its_exponent_as_slope() -> None:
    """2 t^-1/2 from iteration 4 on; what is before it is not looked at."""
    steps = [SolveStep(t, None, 2 / sqrt(t) if t >= 4 else 100.0, None) for t in range(1, 50)]
    assert log_slope(steps, since=4) == pytest.approx(-0.5)
    assert log_slope(steps, since=1) < -0.6


@pytest.mark.parametrize("values", [[0.5, 0.25], [0.5, 0.25, 1e-14], [0.5, 0.25, None]])
def test_no_slope_is_made_up(values: list[float | None]) -> None:
    """Two points, rounding error, or no average."""
    steps = [SolveStep(t, None, value, None) for t, value in enumerate(values, start=1)]
    assert np.isnan(log_slope(steps, since=1))
