"""Fictitious play on trees against exact arithmetic."""

from fractions import Fraction
from typing import Literal

import numpy as np
import pytest

from duologue.baselines.solvers.fictitious_play import FictitiousPlay
from duologue.baselines.solvers.solver import solve
from duologue.envs.games.kuhn_poker import KuhnPoker
from duologue.envs.games.matrix import MatrixGame
from duologue.envs.games.matrix.rock_paper_scissors import RockPaperScissors
from duologue.envs.games.random_game import RandomGame
from duologue.envs.tree.analysis import GameTree, Policy, best_response, nash_conv, uniform_profile

ITERATIONS = (1, 2, 5, 10, 20, 50, 100)
CURVES: dict[Literal["first", "last"], list[str]] = {
    "first": "5/8 5/12 17/72 5/33 1/12 37/612 9/202".split(),
    "last": "5/8 19/36 19/72 23/132 1/9 10/153 53/1212".split(),
}
OPENSPIEL = [0.62500, 0.41667, 0.26389, 0.16667, 0.09127, 0.06373, 0.04785]
RANDOM_TIES = [(0.625, 0.625), (0.417, 0.528), (0.208, 0.292), (0.129, 0.189), (0.083, 0.127), (0.054, 0.077)]
RANDOM_TIES += [(0.038, 0.051)]


def curve(ties: Literal["first", "last"]) -> list[float]:
    """Return NashConv of the average after `ITERATIONS`."""
    steps = list(solve(FictitiousPlay(GameTree(KuhnPoker()), ties=ties), ITERATIONS[-1]))
    return [steps[t - 1].nash_conv_average or 0.0 for t in ITERATIONS]


@pytest.mark.parametrize("ties", ["first", "last"])
def test_xfp_follows_the_exact_curve_of_kuhn_poker(ties: Literal["first", "last"]) -> None:
    """Rational arithmetic on Heinrich et al. (2015), algorithm 1; ties to check/fold, or to bet/call."""
    assert curve(ties) == pytest.approx([float(Fraction(number)) for number in CURVES[ties]], abs=1e-9)


@pytest.mark.parametrize("ties", ["first", "last"])
def test_both_curves_lie_among_those_of_other_tie_rules(ties: Literal["first", "last"]) -> None:
    """Reference values, section 1: two hundred random tie rules, widened by a tenth."""
    for number, (low, high) in zip(curve(ties), RANDOM_TIES, strict=True):
        assert 0.9 * low <= number <= 1.1 * high


def test_openspiels_own_xfp_lies_among_them_too() -> None:
    """Reference values, section 1, as listed for OpenSpiel 2.0.2, whose ties fall by rounding noise."""
    pyspiel = pytest.importorskip("pyspiel")
    theirs = pytest.importorskip("open_spiel.python.algorithms.fictitious_play")
    exploitability = pytest.importorskip("open_spiel.python.algorithms.exploitability")
    game = pyspiel.load_game("kuhn_poker")
    solver = theirs.XFPSolver(game)
    for iteration in range(1, ITERATIONS[-1] + 1):
        solver.iteration()
        if iteration in ITERATIONS:
            listed, (low, high) = OPENSPIEL[ITERATIONS.index(iteration)], RANDOM_TIES[ITERATIONS.index(iteration)]
            found = exploitability.nash_conv(game, solver.average_policy())
            assert found == pytest.approx(listed, abs=6e-6)
            assert 0.9 * low <= found <= 1.1 * high


def test_averaging_token_probabilities_gives_another_curve() -> None:
    """Rational arithmetic: 35/144 at iteration 5 without the weights by own reach, 17/72 with them."""
    tree = GameTree(KuhnPoker())
    naive = uniform_profile(tree)
    for iteration in range(1, 6):
        responses = best_response(tree, 0, naive[1]).policy, best_response(tree, 1, naive[0]).policy
        naive = mixed(naive[0], responses[0], iteration), mixed(naive[1], responses[1], iteration)
    assert nash_conv(tree, naive) == pytest.approx(35 / 144, abs=1e-9)
    assert curve("first")[2] == pytest.approx(17 / 72, abs=1e-9)


def mixed(average: Policy, response: Policy, iteration: int) -> Policy:
    """Take a step of 1 / (t + 1) without weights."""
    return average + (response - average) / (iteration + 1)


def test_fictitious_play_of_a_matrix_game_is_browns() -> None:
    """Brown (1951), simultaneous: x_t = x_{t-1} + (e_b - x_{t-1}) / (t + 1), b = argmax A y_{t-1}."""
    payoffs = np.random.default_rng(7).normal(size=(4, 5))
    solver = FictitiousPlay(GameTree(MatrixGame(payoffs)))
    x, y = np.full(4, 1 / 4), np.full(5, 1 / 5)
    for t in range(1, 40):
        rows, columns = np.eye(4)[np.argmax(payoffs @ y)], np.eye(5)[np.argmin(x @ payoffs)]
        x, y = x + (rows - x) / (t + 1), y + (columns - y) / (t + 1)
        solver.step()
        np.testing.assert_allclose(solver.average_profile[0], x, atol=1e-12)
        np.testing.assert_allclose(solver.average_profile[1], y, atol=1e-12)


def test_only_the_average_of_rock_paper_scissors_settles() -> None:
    """The last pair is pure, and every pure profile has a NashConv of at least 2."""
    tree = GameTree(RockPaperScissors())
    start = np.array([0.4, 0.3, 0.3]), np.array([0.3, 0.4, 0.3])
    *_, step = solve(FictitiousPlay(tree, initial_profile=start), 1000, every=1000)
    assert step.nash_conv_last == pytest.approx(2)
    assert step.nash_conv_average is not None
    assert step.nash_conv_average < 0.1


@pytest.mark.parametrize("seed", range(6))
def test_fictitious_play_settles_in_games_of_identical_interest(seed: int) -> None:
    """Monderer & Shapley (1996): games of identical interest have the fictitious play property."""
    tree = GameTree(RandomGame(seed, payoff="identical"))
    *_, step = solve(FictitiousPlay(tree), 500, every=500)
    assert step.nash_conv_average == pytest.approx(0, abs=0.05)


def test_an_unknown_tie_rule_is_refused() -> None:
    """The error names the option, what it takes and what came."""
    with pytest.raises(ValueError, match="ties: expected 'first' or 'last', got 'random'"):
        FictitiousPlay(GameTree(KuhnPoker()), ties="random")  # type: ignore[arg-type]
