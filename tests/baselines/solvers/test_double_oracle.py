import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from duologue.baselines.solvers.double_oracle import DoubleOracle, double_oracle
from duologue.baselines.solvers.fictitious_play import FictitiousPlay
from duologue.baselines.solvers.linear_programs import solve_zero_sum
from duologue.baselines.solvers.solver import Solver, solve
from duologue.envs.games.bluff import Bluff
from duologue.envs.games.kuhn_poker import KuhnPoker
from duologue.envs.games.matrix.base import MatrixGame
from duologue.envs.games.matrix.prisoners_dilemma import PrisonersDilemma
from duologue.envs.games.random_game import RandomGame
from duologue.envs.tree.analysis import GameTree, expected_returns, mix_by_own_reach, nash_conv
from duologue.tests.baselines.solvers.helpers import egpo_games

ROCK_PAPER_SCISSORS = np.array([[0.0, -1, 1], [1, 0, -1], [-1, 1, 0]])


def run(tree: GameTree, meta_solver: str, max_steps: int = 100) -> DoubleOracle:
    """Step until it has converged, at most `max_steps` times."""
    solver = DoubleOracle(tree, meta_solver=meta_solver)
    while not solver.converged and solver.iteration < max_steps:
        solver.step()
    return solver


def test_rock_paper_scissors_takes_three_iterations() -> None:
    """Reference values, section 8: rock, paper, scissors come in one by one; the third answer gains nothing."""
    found = double_oracle(ROCK_PAPER_SCISSORS)
    assert (found.num_iterations, found.population) == (3, (0, 1, 2))
    assert found.policy == pytest.approx(np.full(3, 1 / 3), abs=1e-12)
    assert found.gain < 1e-9


def test_egpos_games_take_the_listed_iterations() -> None:
    """Reference values, section 8, on section 7's games with beta = 0; supports are odd, gap0 ends below 1e-9."""
    found = [double_oracle(2 * preferences - 1) for preferences in egpo_games()[0]]
    assert [one.num_iterations for one in found] == [6, 7, 6, 6, 6, 7, 6, 8, 8, 7]
    assert [int((one.policy > 1e-9).sum()) for one in found] == [5, 5, 5, 5, 3, 7, 5, 7, 5, 5]
    assert max(one.gain for one in found) < 1e-9


@given(seed=st.integers(0, 10_000), n=st.integers(1, 8))
@settings(max_examples=25, deadline=None)
def test_one_population_ends_in_an_equilibrium_of_any_antisymmetric_game(seed: int, n: int) -> None:
    """The value of a symmetric zero-sum game is 0, so that no reply may earn more."""
    lower = np.tril(np.random.default_rng(seed).normal(size=(n, n)), -1)
    payoffs, start = lower - lower.T, seed % n
    found = double_oracle(payoffs, start=start)
    assert (payoffs @ found.policy).max() < 1e-9
    assert found.policy.sum() == pytest.approx(1)
    assert found.population[0] == start


def test_two_players_of_rock_paper_scissors() -> None:
    """By hand: from rock against rock both add paper, then scissors, then nothing."""
    solver = run(GameTree(MatrixGame(ROCK_PAPER_SCISSORS)), "nash")
    assert (solver.converged, solver.iteration) == (True, 3)
    for policy in solver.average_profile:
        assert policy == pytest.approx(np.full(3, 1 / 3), abs=1e-12)
    assert solver.payoff_matrices[0] == pytest.approx(ROCK_PAPER_SCISSORS, abs=1e-12)


def test_kuhn_poker_is_solved_exactly() -> None:
    """Kuhn (1950): -1/18 to player 0; McMahan et al. (2003): finitely many steps, far fewer than pure policies."""
    tree = GameTree(KuhnPoker())
    solver = run(tree, "nash")
    assert solver.converged
    assert nash_conv(tree, solver.average_profile) < 1e-9
    assert expected_returns(tree, solver.average_profile)[0] == pytest.approx(-1 / 18, abs=1e-9)
    assert len(solver.populations[0]) <= 12


@given(seed=st.integers(0, 10_000), irregular=st.booleans())
@settings(max_examples=12, deadline=None)
def test_random_trees_are_solved(seed: int, irregular: bool) -> None:
    """The sequence-form linear program finds the same value in another way."""
    tree = GameTree(RandomGame(seed, num_turns=4, irregular=irregular, pays_every_turn=True))
    solver = run(tree, "nash")
    assert solver.converged
    assert nash_conv(tree, solver.average_profile) < 2.1e-9
    value = solve_zero_sum(tree).value
    assert expected_returns(tree, solver.average_profile)[0] == pytest.approx(value, abs=2.1e-9)


def test_a_uniform_meta_solver_is_fictitious_play() -> None:
    """Lanctot et al. (2017): the same start and the same tie rule give the same path."""
    tree = GameTree(KuhnPoker())
    solver = DoubleOracle(tree, meta_solver="uniform")
    start = solver.average_profile
    fictitious = FictitiousPlay(tree, initial_profile=start)
    for _ in range(15):
        solver.step()
        fictitious.step()
        for found, expected in zip(solver.average_profile, fictitious.average_profile, strict=True):
            assert found == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("meta_solver", ["prd", "regret_matching", "alpha_rank"])
def test_other_meta_solvers_improve_on_the_start(meta_solver: str) -> None:
    """Nothing is promised; on bluff the populations soon hold all that matters."""
    tree = GameTree(Bluff())
    start = nash_conv(tree, DoubleOracle(tree, meta_solver=meta_solver).average_profile)
    solver = run(tree, meta_solver, max_steps=4)
    assert nash_conv(tree, solver.average_profile) < start / 2


def test_payoffs_and_mixture_are_those_of_the_members() -> None:
    """Entry (i, j) is the return of member i against member j; the average draws one member an episode."""
    tree = GameTree(RandomGame(3, num_turns=4, payoff="general", pays_every_turn=True))
    solver = run(tree, "uniform", max_steps=4)
    for i, first in enumerate(solver.populations[0]):
        for j, second in enumerate(solver.populations[1]):
            assert solver.payoff_matrices[:, i, j] == pytest.approx(expected_returns(tree, (first, second)), abs=1e-12)
    for player in (0, 1):
        mixed = mix_by_own_reach(tree, player, solver.populations[player], solver.meta_policies[player].tolist())
        assert solver.average_profile[player] == pytest.approx(mixed, abs=1e-12)


def test_it_starts_from_first_actions_and_stops_when_nobody_gains() -> None:
    """Members are pure; once converged, steps are counted and change nothing."""
    tree = GameTree(Bluff())
    solver: Solver = DoubleOracle(tree)
    assert isinstance(solver, DoubleOracle)
    assert solver.last_profile is None
    assert [policy.tolist() for policy in solver.average_profile] == [[1, 0, 1, 0], [1, 0]]
    steps = list(solve(solver, 20))
    assert solver.converged
    assert [step.iteration for step in steps] == list(range(1, 21))
    assert steps[-1].nash_conv_average == pytest.approx(0, abs=1e-12)
    assert steps[-1].value == pytest.approx(1 / 3, abs=1e-12)
    assert len(solver.populations[0]) < 10
    assert set(np.concatenate(solver.populations[0]).tolist()) == {0.0, 1.0}


@pytest.mark.parametrize("stake", [1e-200, 1e-9, 1e12, 1e200])
def test_the_unit_of_payoff_decides_nothing(stake: float) -> None:
    """By hand, as above: three iterations in any currency; a tolerance in payoffs would stop at once, or never."""
    solver = run(GameTree(MatrixGame(stake * ROCK_PAPER_SCISSORS)), "nash", max_steps=10)
    assert (solver.converged, solver.iteration) == (True, 3)
    found = double_oracle(stake * ROCK_PAPER_SCISSORS)
    assert (found.num_iterations, found.population) == (3, (0, 1, 2))
    for policy in (*solver.average_profile, found.policy):
        assert policy == pytest.approx(np.full(3, 1 / 3), abs=1e-12)
    with pytest.raises(ValueError, match=r"payoffs: expected M\[i, j\] = -M\[j, i\]"):
        double_oracle(stake * np.array([[0.0, 1.0], [2.0, 0.0]]))


@pytest.mark.parametrize("payoff", [0.0, 0.1, 1e12])
def test_a_game_that_always_pays_the_same_is_solved_at_once(payoff: float) -> None:
    """Nobody can gain, whatever the payoff; rounding is no gain."""
    payoffs = np.full((2, 3), payoff)
    solver = run(GameTree(MatrixGame(payoffs, 0.3 * payoffs)), "uniform", max_steps=3)
    assert (solver.converged, solver.iteration) == (True, 1)


def test_bad_input_is_named() -> None:
    """One message for each kind."""
    tree = GameTree(PrisonersDilemma())
    with pytest.raises(ValueError, match=r"meta_solver: expected one of uniform, nash, prd, .*, got 'median'"):
        DoubleOracle(tree, meta_solver="median")
    with pytest.raises(ValueError, match="meta_solver: 'nash' needs a zero-sum game, got PrisonersDilemma"):
        DoubleOracle(tree)
    with pytest.raises(ValueError, match="tolerance: expected a finite number of at least 0, got -1"):
        DoubleOracle(tree, meta_solver="uniform", tolerance=-1)
    with pytest.raises(ValueError, match=r"payoffs: expected M\[i, j\] = -M\[j, i\], got \(1.0, 2.0\) at \(0, 1\)"):
        double_oracle(np.array([[0.0, 1.0], [2.0, 0.0]]))
    for start in (-1, 1.5, "0"):
        with pytest.raises(ValueError, match=f"start: expected an integer of at least 0, got {start!r}"):
            double_oracle(ROCK_PAPER_SCISSORS, start=start)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="start: expected a strategy from 0 to 2, got 3"):
        double_oracle(ROCK_PAPER_SCISSORS, start=3)
    with pytest.raises(ValueError, match=r"payoffs: expected finite numbers of shape \(n, n\)"):
        double_oracle(np.zeros((2, 3)))
