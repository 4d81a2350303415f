from collections.abc import Hashable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from duologue.baselines.solvers.linear_programs import plan_constraints, solve_matrix_game, solve_zero_sum
from duologue.envs.game import LanguageGame, Payoff
from duologue.envs.games.bluff import Bluff
from duologue.envs.games.kuhn_poker import KuhnPoker
from duologue.envs.games.leduc_poker import LeducPoker
from duologue.envs.games.matrix.base import MatrixGame
from duologue.envs.games.matrix.prisoners_dilemma import PrisonersDilemma
from duologue.envs.games.random_game import RandomGame
from duologue.envs.tree.analysis import GameTree, backward_induction, expected_returns, nash_conv, uniform_profile

PERTURBED = np.array([[0.0, -3, 3], [3, 0, -1], [-3, 1, 0]])


class OpenBluff(Bluff):
    """Bluff that does not say that its rewards sum to 0."""

    payoff = Payoff.GENERAL


def test_perturbed_rock_paper_scissors() -> None:
    """Exact: (1/7, 3/7, 3/7), by the null space of the antisymmetric matrix (Sokota et al., ICLR 2023)."""
    found = solve_matrix_game(PERTURBED)
    assert found.x == pytest.approx([1 / 7, 3 / 7, 3 / 7], abs=1e-12)
    assert found.y == pytest.approx([1 / 7, 3 / 7, 3 / 7], abs=1e-12)
    assert found.value == pytest.approx(0, abs=1e-12)


def test_two_by_two_by_hand() -> None:
    """Without a saddle point x = (d - c, a - b) / (a + d - b - c), value = (ad - bc) / (a + d - b - c)."""
    found = solve_matrix_game(np.array([[3.0, -1.0], [0.0, 2.0]]))
    assert found.x == pytest.approx([1 / 3, 2 / 3], abs=1e-12)
    assert found.y == pytest.approx([1 / 2, 1 / 2], abs=1e-12)
    assert found.value == pytest.approx(1, abs=1e-12)


@given(seed=st.integers(0, 10_000), n=st.integers(1, 9), m=st.integers(1, 9), scale=st.sampled_from([1e-6, 1.0, 1e6]))
@settings(max_examples=30)
def test_neither_side_of_a_random_matrix_can_gain(seed: int, n: int, m: int, scale: float) -> None:
    """The minimax theorem: best replies to x and to y meet at the value, whatever the unit of payoff."""
    payoffs = scale * np.random.default_rng(seed).normal(size=(n, m))
    x, y, value = solve_matrix_game(payoffs)
    assert (payoffs @ y).max() == pytest.approx(value, abs=1e-11 * scale)
    assert (x @ payoffs).min() == pytest.approx(value, abs=1e-11 * scale)
    assert (x.sum(), y.sum(), min(x.min(), y.min()) >= 0) == (pytest.approx(1), pytest.approx(1), True)


@pytest.mark.parametrize(("game", "value"), [(Bluff(), 1 / 3), (KuhnPoker(), -1 / 18)])
def test_known_values(game: LanguageGame[Hashable], value: float) -> None:
    """Bluff by hand, indifference of both players; Kuhn poker by Kuhn (1950)."""
    tree = GameTree(game)
    found = solve_zero_sum(tree)
    assert found.value == pytest.approx(value, abs=1e-12)
    assert nash_conv(tree, found.profile) == pytest.approx(0, abs=1e-12)


def test_leduc_poker() -> None:
    """NashConv 0 proves it an equilibrium, so that the value, -.0856064 to player 0, is the game's."""
    tree = GameTree(LeducPoker())
    found = solve_zero_sum(tree)
    assert nash_conv(tree, found.profile) < 1e-9
    assert found.value == pytest.approx(-0.0856064, abs=1e-6)


@given(seed=st.integers(0, 10_000), hidden=st.sampled_from([0.0, 0.5, 1.0]), irregular=st.booleans())
@settings(max_examples=25, deadline=None)
def test_random_trees_are_solved(seed: int, hidden: float, irregular: bool) -> None:
    """NashConv 0 is the definition; where nothing is hidden, backward induction finds the same value."""
    tree = GameTree(RandomGame(seed, num_turns=5, hidden_share=hidden, pays_every_turn=True, irregular=irregular))
    found = solve_zero_sum(tree)
    assert nash_conv(tree, found.profile) == pytest.approx(0, abs=1e-9)
    if tree.is_perfect_information:
        assert found.value == pytest.approx(backward_induction(tree)[1][0, 0], abs=1e-9)


def test_one_turn_each_is_the_matrix_game() -> None:
    """Spoken or not, the same program: rows and columns are the two players' only actions."""
    payoffs = np.random.default_rng(0).normal(size=(4, 3))
    tree = GameTree(MatrixGame(payoffs))
    (x, y), value = solve_zero_sum(tree)
    matrix = solve_matrix_game(payoffs)
    assert value == pytest.approx(matrix.value, abs=1e-12)
    assert x == pytest.approx(matrix.x, abs=1e-12)
    assert y == pytest.approx(matrix.y, abs=1e-12)


@given(seed=st.integers(0, 10_000))
@settings(max_examples=10, deadline=None)
def test_realisation_plans_satisfy_the_constraints_and_give_the_return(seed: int) -> None:
    """Koller, Megiddo & von Stengel (1996): E x = e, F y = f, and x^T A y is the expected return."""
    tree = GameTree(RandomGame(seed, num_turns=4, irregular=True))
    rng = np.random.default_rng(seed)
    profile = [table.normalise(rng.random(table.num_actions)) for table in tree.tables]
    plans = [table.reach(policy) for table, policy in zip(tree.tables, profile, strict=True)]
    for table, plan in zip(tree.tables, plans, strict=True):
        assert plan_constraints(table) @ plan == pytest.approx(np.eye(1, table.num_infostates + 1)[0], abs=1e-12)
    expected = (tree.values[:, 0] * plans[0][tree.rows] * plans[1][tree.columns]).sum()
    assert expected == pytest.approx(expected_returns(tree, profile)[0], abs=1e-12)


def test_the_values_are_checked_not_the_declaration() -> None:
    """Bluff that calls itself general is still zero-sum; the prisoner's dilemma is not."""
    assert solve_zero_sum(GameTree(OpenBluff())).value == pytest.approx(1 / 3, abs=1e-12)
    with pytest.raises(ValueError, match=r"PrisonersDilemma: expected rewards that sum to 0, got \(.*\) at node"):
        solve_zero_sum(GameTree(PrisonersDilemma()))


@pytest.mark.parametrize("stake", [1e-11, 1e9])
def test_the_unit_of_payoff_does_not_matter(stake: float) -> None:
    """The equilibrium of the perturbed game is (1/7, 3/7, 3/7) in any currency; HiGHS's tolerances are absolute."""
    for policy in solve_zero_sum(GameTree(MatrixGame(stake * PERTURBED))).profile:
        assert policy == pytest.approx([1 / 7, 3 / 7, 3 / 7], abs=1e-9)


def test_a_game_without_stakes_is_worth_nothing() -> None:
    """All payoffs 0: any profile is an equilibrium, and the scale is not 0 / 0."""
    tree = GameTree(MatrixGame(np.zeros((2, 3))))
    profile, value = solve_zero_sum(tree)
    assert (value, nash_conv(tree, profile), nash_conv(tree, uniform_profile(tree))) == (0, 0, 0)
    assert solve_matrix_game(np.zeros((2, 3))).value == 0


@pytest.mark.parametrize("payoffs", [np.zeros(3), np.zeros((0, 2)), np.array([[1.0, np.nan]])])
def test_what_is_no_matrix_is_refused(payoffs: NDArray[np.float64]) -> None:
    """One message for each kind."""
    with pytest.raises(ValueError, match=r"payoffs: expected finite numbers of shape \(n, m\)"):
        solve_matrix_game(payoffs)
