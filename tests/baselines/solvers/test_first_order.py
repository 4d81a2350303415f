"""The scales that default step sizes come from, against sums over the nodes of a tree."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from duologue.baselines.solvers.first_order import (
    Encounters,
    both_values,
    default_steps,
    log_softmax,
    payoff_scale,
    value_ranges,
)
from duologue.envs.games.kuhn_poker import KuhnPoker
from duologue.envs.games.matrix import MatrixGame
from duologue.envs.games.matrix.matching_pennies import MatchingPennies
from duologue.envs.games.random_game import RandomGame
from duologue.envs.tree.analysis import (
    PLAYERS,
    GameTree,
    Profile,
    expected_returns,
    uniform_profile,
    visiting_probabilities,
)


def random_profile(tree: GameTree, seed: int) -> Profile:
    """Draw policies that are close to pure now and then."""
    rng = np.random.default_rng(seed)
    first, second = (table.normalise(rng.random(table.num_actions) ** 6) for table in tree.tables)
    return first, second


@given(st.integers(0, 10_000), st.integers(0, 10_000))
def test_no_profile_leads_values_further_apart_than_their_bound(seed: int, draw: int) -> None:
    """D_I bounds the range of counterfactual values at every information state, by its definition."""
    tree = GameTree(RandomGame(seed, branching=3, num_turns=3, pays_every_turn=bool(seed % 2)))
    values = both_values(tree, random_profile(tree, draw))
    for table, value, ranges in zip(tree.tables, values, value_ranges(tree), strict=True):
        assert np.all(table.maxima(value) + table.maxima(-value) <= ranges + 1e-12)


def test_in_a_matrix_game_the_bound_is_at_most_the_payoff_range() -> None:
    """By hand: payoffs from -3 to 5; player 1 speaks when the row is chosen, and no row is wider than 5."""
    tree = GameTree(MatrixGame([[5.0, 0.0], [1.0, -3.0], [0.0, 2.0]]))
    assert [ranges.tolist() for ranges in value_ranges(tree)] == [[8.0], [5.0]]
    assert [steps.tolist() for steps in default_steps(tree)] == [[1 / 8] * 3, [1 / 5] * 2]


def test_in_kuhn_poker_the_bound_counts_what_may_still_be_paid() -> None:
    """By hand, a sixth for each deal.

    The first word leaves 3 chips open. Against a bet the jack has 1, the king 3 and the queen 1 or 3 by what the other
    holds; after a check it is 3 for the jack, 1 for the king, and again 1 or 3 for the queen.
    """
    first, second = value_ranges(GameTree(KuhnPoker()))
    np.testing.assert_allclose(sorted(first), [1 / 3, 2 / 3, 1, 1, 1, 1])
    np.testing.assert_allclose(sorted(second), [1 / 3, 1 / 3, 2 / 3, 2 / 3, 1, 1])


@given(st.integers(0, 10_000))
def test_the_others_reach_of_an_information_state_is_a_sum_over_its_nodes(seed: int) -> None:
    """Visiting probabilities with the player's own probabilities all set to 1, by equation 1 of arXiv 2402.08078."""
    tree = GameTree(RandomGame(seed))
    profile = random_profile(tree, seed)
    visits = visiting_probabilities(tree, profile)
    for player in PLAYERS:
        table, other = tree.tables[player], tree.tables[1 - player]
        reach = Encounters(tree, player).reach(other.reach(profile[1 - player]))
        own = table.reach(profile[player])[table.parent_sequence]
        nodes = np.flatnonzero(tree.player == player)
        both = np.bincount(tree.infostate[nodes], visits[nodes], table.num_infostates)
        np.testing.assert_allclose(reach * own, both, atol=1e-12)


def test_the_payoff_scale_is_twice_the_standard_deviation_of_uniform_play() -> None:
    """A fair coin for +-1 has standard deviation 1; Kuhn poker's E[r^2] - (1/8)^2 by the returns' squares."""
    assert payoff_scale(GameTree(MatchingPennies())) == pytest.approx(2)
    tree = GameTree(KuhnPoker())
    leaves = tree.player == -2
    weights = visiting_probabilities(tree, uniform_profile(tree))[leaves]
    square = float(weights @ tree.rewards[leaves, 0] ** 2)
    mean = float(expected_returns(tree, uniform_profile(tree))[0])
    assert payoff_scale(tree) == pytest.approx(2 * np.sqrt(square - mean**2))


def test_the_log_softmax_survives_where_the_softmax_underflows() -> None:
    """log(1 / (1 + e^2000)) is -2000 up to rounding, although the probability itself is 0 in double precision."""
    table = GameTree(MatchingPennies()).tables[0]
    np.testing.assert_allclose(log_softmax(table, np.array([0.0, 2000.0])), [-2000.0, 0.0])
