"""The protocol, the running average and the report of the equilibrium learners."""

from collections.abc import Callable

import numpy as np
import pytest

from duologue.baselines.solvers.alternating_best_response import AlternatingBestResponse
from duologue.baselines.solvers.cfr import CFR, CFRPlus
from duologue.baselines.solvers.fictitious_play import FictitiousPlay
from duologue.baselines.solvers.mirror_descent import MWU, OMWU, Extragradient
from duologue.baselines.solvers.mmd import MMD
from duologue.baselines.solvers.rnad import RNaD
from duologue.baselines.solvers.solver import AverageProfile, Solver, solve
from duologue.baselines.solvers.uniform import Uniform
from duologue.envs.games.kuhn_poker import KuhnPoker
from duologue.envs.games.matrix import MatrixGame
from duologue.envs.games.random_game import RandomGame
from duologue.envs.tree.analysis import (
    PLAYERS,
    GameTree,
    Profile,
    check_profile,
    mix_by_own_reach,
    nash_conv,
    uniform_profile,
)

MakeSolver = Callable[[GameTree], Solver]

SOLVERS: list[MakeSolver] = [
    Uniform,
    FictitiousPlay,
    CFR,
    CFRPlus,
    MWU,
    OMWU,
    Extragradient,
    MMD,
    lambda tree: MMD(tree, magnet="fixed"),
    lambda tree: MMD(tree, magnet="moving"),
    RNaD,
    AlternatingBestResponse,
]


def random_profile(tree: GameTree, seed: int) -> Profile:
    """Draw positive probabilities for every information state."""
    rng = np.random.default_rng(seed)
    first, second = (table.normalise(rng.random(table.num_actions) + 0.05) for table in tree.tables)
    return first, second


@pytest.mark.parametrize("make", SOLVERS)
@pytest.mark.parametrize("payoff", ["zero_sum", "general"])
def test_every_learner_gives_proper_profiles_on_random_games(make: MakeSolver, payoff: str) -> None:
    """Probabilities are finite, not negative and sum to one at every information state, by definition of a profile."""
    solver = make(GameTree(RandomGame(3, payoff=payoff)))
    for _ in range(20):
        solver.step()
    assert solver.iteration == 20
    assert solver.last_profile is not None
    for profile in (solver.last_profile, solver.average_profile):
        if profile is not None:
            check_profile(solver.tree, profile)


@pytest.mark.parametrize("make", SOLVERS)
def test_two_runs_of_a_learner_are_the_same(make: MakeSolver) -> None:
    """Nothing is drawn at random: the numbers repeat bit for bit."""
    tree = GameTree(RandomGame(5))
    first, second = (list(solve(make(tree), 5)) for _ in range(2))
    assert first == second


@pytest.mark.parametrize("make", SOLVERS)
def test_a_game_that_always_pays_the_same_is_solved_at_once(make: MakeSolver) -> None:
    """Every profile is an equilibrium if all payoffs are equal; no default step size may divide by their range, 0."""
    tree = GameTree(MatrixGame([[1.0, 1.0], [1.0, 1.0]]))
    for step in solve(make(tree), 3):
        assert step.nash_conv_last == pytest.approx(0, abs=1e-12)
        assert step.value in (None, pytest.approx(1.0))


@pytest.mark.parametrize("make", [make for make in SOLVERS if make is not AlternatingBestResponse])
def test_a_players_payoff_scale_does_not_change_what_a_learner_does_by_default(make: MakeSolver) -> None:
    """Default step sizes are in units of the payoffs: chips or cents, the policies are the same."""
    payoffs = np.array([[1.0, -2.0, 0.5], [0.0, 1.5, -1.0]])
    small, large = make(GameTree(MatrixGame(payoffs))), make(GameTree(MatrixGame(100 * payoffs)))
    for step, scaled in zip(solve(small, 30), solve(large, 30), strict=True):
        assert step.nash_conv_average is not None
        assert scaled.nash_conv_average == pytest.approx(100 * step.nash_conv_average, rel=1e-6, abs=1e-9)


def test_uniform_play_of_kuhn_poker_is_eleven_twelfths_from_equilibrium_for_ever() -> None:
    """Exact arithmetic: gains 3/8 and 13/24; player 0 wins 1/8."""
    for step in solve(Uniform(GameTree(KuhnPoker())), 3):
        assert step.nash_conv_last == pytest.approx(11 / 12, abs=1e-12)
        assert step.nash_conv_average == pytest.approx(11 / 12, abs=1e-12)
        assert step.value == pytest.approx(1 / 8, abs=1e-12)


def test_solve_reports_every_so_often_and_at_the_end() -> None:
    """By hand: 7 steps, every 3."""
    solver = CFR(GameTree(KuhnPoker()))
    assert [step.iteration for step in solve(solver, 7, every=3)] == [3, 6, 7]
    assert solver.iteration == 7


def test_solve_reports_the_distance_of_both_profiles() -> None:
    """The numbers are those of `nash_conv` itself; without an average they are None."""
    tree = GameTree(KuhnPoker())
    solver = MWU(tree)
    (step,) = solve(solver, 4, every=4)
    assert solver.average_profile is not None
    assert step.nash_conv_last == nash_conv(tree, solver.last_profile)
    assert step.nash_conv_average == nash_conv(tree, solver.average_profile)
    (cycling,) = solve(AlternatingBestResponse(tree), 1)
    assert cycling.nash_conv_average is None
    assert cycling.value is None


@pytest.mark.parametrize(("num_iterations", "every", "name"), [(0, 1, "num_iterations"), (5, 0, "every")])
def test_solve_refuses_counts_below_one_before_it_starts(num_iterations: int, every: int, name: str) -> None:
    """The error names the argument and comes from the call, not from the first report."""
    with pytest.raises(ValueError, match=f"{name}: expected an integer of at least 1, got 0"):
        solve(Uniform(GameTree(KuhnPoker())), num_iterations, every=every)


def test_a_learner_that_leaves_the_finite_numbers_is_named_with_its_iteration() -> None:
    """A step of 1e308 times a value above 1 overflows at once: 2 G is infinite and its softmax is not a number."""
    tree = GameTree(MatrixGame([[10.0, -30.0], [-20.0, 40.0]]))
    with pytest.raises(FloatingPointError, match=r"MWU, iteration 1: expected finite probabilities, got 2"):
        list(solve(MWU(tree, eta=1e308), 5))


@pytest.mark.parametrize("seed", range(5))
def test_the_running_average_draws_one_member_for_each_episode(seed: int) -> None:
    """Kuhn's theorem (1953): it equals the mixture that `mix_by_own_reach` makes of the same members and weights."""
    tree = GameTree(RandomGame(seed))
    members, weights = [random_profile(tree, 10 * seed + k) for k in range(3)], [1.0, 2.0, 0.5]
    average = AverageProfile(tree)
    for member, weight in zip(members, weights, strict=True):
        average.add(member, weight)
    assert average.profile is not None
    for player in PLAYERS:
        mixed = mix_by_own_reach(tree, player, [member[player] for member in members], weights)
        np.testing.assert_allclose(average.profile[player], mixed, atol=1e-12)


def test_an_average_of_nothing_is_none() -> None:
    """There is no profile before the first member, and none before a learner's first step."""
    tree = GameTree(KuhnPoker())
    assert AverageProfile(tree).profile is None
    assert CFR(tree).average_profile is None
    assert FictitiousPlay(tree).last_profile is None


@pytest.mark.parametrize("make", [FictitiousPlay, CFR, MWU, MMD, RNaD, AlternatingBestResponse])
def test_a_start_that_is_no_profile_is_refused(make: Callable[..., Solver]) -> None:
    """Player 1's probabilities sum to 2 at each information state."""
    tree = GameTree(KuhnPoker())
    first, second = uniform_profile(tree)
    with pytest.raises(ValueError, match="sum to 1, got 2"):
        make(tree, initial_profile=(first, 2 * second))


@pytest.mark.parametrize("make", [MWU, OMWU, Extragradient, MMD, RNaD])
def test_logits_refuse_a_start_that_never_says_a_token(make: Callable[..., Solver]) -> None:
    """The logarithm of 0 would stay for ever."""
    tree = GameTree(MatrixGame([[1.0, -1.0], [-1.0, 1.0]]))
    start = np.array([1.0, 0.0]), np.array([0.5, 0.5])
    with pytest.raises(ValueError, match="initial_profile: expected probabilities above 0"):
        make(tree, initial_profile=start)


@pytest.mark.parametrize("make", [MWU, OMWU, Extragradient, MMD, RNaD])
@pytest.mark.parametrize("eta", [0.0, -1.0, float("nan"), float("inf")])
def test_a_step_size_that_is_no_positive_number_is_refused(make: Callable[..., Solver], eta: float) -> None:
    """The error names the option and the number."""
    with pytest.raises(ValueError, match=f"eta: expected a finite number above 0, got {eta}"):
        make(GameTree(KuhnPoker()), eta=eta)


AVERAGES: list[tuple[MakeSolver, float]] = [
    (FictitiousPlay, 0.05),
    (CFR, 0.01),
    (CFRPlus, 0.001),
    (MWU, 0.02),
    (OMWU, 0.01),
    (Extragradient, 0.01),
]


@pytest.mark.parametrize(("make", "threshold"), AVERAGES)
def test_averages_approach_the_equilibrium_of_kuhn_poker(make: MakeSolver, threshold: float) -> None:
    """Kuhn (1950): the game is worth -1/18 to player 0; uniform play has NashConv .917."""
    early, late = solve(make(GameTree(KuhnPoker())), 1000, every=500)
    assert early.nash_conv_average is not None
    assert late.nash_conv_average is not None
    assert late.nash_conv_average < min(threshold, early.nash_conv_average)
    assert late.value == pytest.approx(-1 / 18, abs=threshold)


LAST: list[tuple[MakeSolver, float]] = [
    (MMD, 0.02),
    (lambda tree: MMD(tree, magnet="moving"), 1e-4),
    (RNaD, 1e-4),
]


@pytest.mark.parametrize(("make", "threshold"), LAST)
def test_last_iterates_of_regularised_learners_approach_the_equilibrium_of_kuhn_poker(
    make: MakeSolver, threshold: float
) -> None:
    """Sokota et al. (2023) and Perolat et al. (2022) see the last iterate converge; their averages lag behind."""
    early, late = solve(make(GameTree(KuhnPoker())), 1000, every=500)
    assert early.nash_conv_last is not None
    assert late.nash_conv_last is not None
    assert late.nash_conv_average is not None
    assert late.nash_conv_last < min(threshold, early.nash_conv_last, late.nash_conv_average)


@pytest.mark.parametrize("make", [FictitiousPlay, CFR, MWU, lambda tree: MMD(tree, magnet="fixed")])
def test_last_iterates_of_the_others_stay_away_from_it(make: MakeSolver) -> None:
    """Kuhn poker needs mixing: best responses are pure, Hedge and regret matching move on, a QRE is no equilibrium."""
    *_, late = solve(make(GameTree(KuhnPoker())), 1000, every=1000)
    assert late.nash_conv_last is not None
    assert late.nash_conv_last > 0.02
