"""Bad input to the exact tier: a clear error, and nothing that looks like a result."""

import numpy as np
import pytest

from duologue.envs.games.bluff import Bluff
from duologue.envs.tree.analysis import (
    GameTree,
    TreeTooLarge,
    best_response,
    check_profile,
    conditional_visiting_probabilities,
    counterfactual_values,
    mix_by_own_reach,
    nash_conv,
    policy_from_matrix,
)
from duologue.envs.tree.enumeration import Walker, probe
from duologue.tests.envs.helpers import Coordination, Whisper
from duologue.tests.envs.tree.helpers import (
    NO,
    YES,
    Aside,
    Endless,
    Forgetful,
    Listed,
    OwnDeals,
    Sequel,
    Tattling,
    WrongSum,
)

FOLD, BET = Bluff.vocabulary.encode("fold bet")


def test_weight_on_an_illegal_token_is_refused() -> None:
    """The message names the word and the information state."""
    tree = GameTree(Bluff())
    matrix = np.zeros((1, tree.game.vocabulary.size))
    matrix[0, [FOLD, BET]] = 0.5
    with pytest.raises(ValueError, match=r"legal tokens only, got 0.5 on 'bet' at '<bos> <player_0> bet"):
        policy_from_matrix(tree, 1, matrix)
    with pytest.raises(ValueError, match=r"expected shape \(1, 13\), got \(2, 2\)"):
        policy_from_matrix(tree, 1, np.ones((2, 2)))


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        (np.array([0.5, 0.4]), r"sum to 1, got 0.9 at '<bos> <player_0> bet"),
        (np.array([1.5, -0.5]), r">= 0, got -0.5 at '<bos> <player_0> bet"),
        (np.array([np.nan, 1.0]), r">= 0, got nan at"),
        (np.array([1.0]), r"shape \(2,\), one number an action, got \(1,\)"),
    ],
)
def test_bad_policy_is_refused(policy: np.ndarray, message: str) -> None:
    """Nothing is printed as if it were a result."""
    tree = GameTree(Bluff())
    with pytest.raises(ValueError, match=f"policy of player 1: expected .*{message}"):
        nash_conv(tree, (tree.tables[0].uniform(), policy))


def test_functions_that_take_policies_check_them() -> None:
    """A wrong number must not be passed on."""
    tree = GameTree(Bluff())
    wrong = np.array([0.5, 0.6])
    with pytest.raises(ValueError, match="policy of player 1: expected probabilities that sum to 1"):
        counterfactual_values(tree, 0, (tree.tables[0].uniform(), wrong))
    with pytest.raises(ValueError, match="policy of player 1: expected probabilities that sum to 1"):
        mix_by_own_reach(tree, 1, [wrong], [1.0])
    for weights in ([np.inf], [np.nan], [-1.0], [0.0], []):
        with pytest.raises(ValueError, match="weights: expected 1 numbers >= 0"):
            mix_by_own_reach(tree, 1, [tree.tables[1].uniform()], weights)
    with pytest.raises(ValueError, match='ties: expected "first" or "last", got \'random\''):
        best_response(tree, 0, tree.tables[1].uniform(), ties="random")
    with pytest.raises(ValueError, match="node: expected a number from 0 to 10, got -1"):
        conditional_visiting_probabilities(tree, (tree.tables[0].uniform(), tree.tables[1].uniform()), -1)


def test_profile_is_a_pair() -> None:
    """One policy is not a profile."""
    tree = GameTree(Bluff())
    with pytest.raises(ValueError, match="expected a pair of policies, got 1"):
        check_profile(tree, [tree.tables[0].uniform()])


def test_too_large_game_is_refused_before_it_is_enumerated() -> None:
    """Whisper's turns have thousands of forms each; random probes tell (Knuth, 1975)."""
    with pytest.raises(TreeTooLarge, match=r"Whisper\): expected at most 100,000 nodes and 8 GiB, got") as info:
        GameTree(Whisper(), max_nodes=100_000)
    assert info.value.estimated_nodes > 1e6


def test_tree_stops_at_its_budget() -> None:
    """Where the probes do not tell, the walk itself does."""
    size = GameTree(Aside()).num_nodes
    assert GameTree(Aside(), max_nodes=size).num_nodes == size
    with pytest.raises(TreeTooLarge, match=f"at most {size - 1:,} nodes"):
        GameTree(Aside(), max_nodes=size - 1)
    with pytest.raises(TreeTooLarge, match="raise max_nodes or max_bytes"):
        GameTree(Aside(), max_bytes=1_000)


def test_very_long_game_is_refused_at_once() -> None:
    """Two words for ever: a probe stops as soon as it has found more than enough."""
    with pytest.raises(TreeTooLarge, match=r"Endless\).* got an estimate of more than 1e\+11 nodes"):
        GameTree(Endless((YES, NO)), max_nodes=100_000)


def test_endless_line_of_play_is_refused() -> None:
    """One word for ever has few nodes and no end."""
    with pytest.raises(ValueError, match=r"GameTree\(Endless\): expected lines of play of at most 10,000 tokens"):
        GameTree(Endless((YES,)))


@pytest.mark.parametrize("probabilities", [(0.7, 0.7), (np.nan, 1.0), (-0.5, 1.5)])
def test_deals_of_any_kind_are_checked(probabilities: tuple[float, float]) -> None:
    """Probabilities that do not sum to 1 would give returns that no play has."""
    with pytest.raises(ValueError, match="deals: expected probabilities >= 0 that sum to 1, got"):
        GameTree(OwnDeals(probabilities))


def test_rules_may_give_lists_for_tuples() -> None:
    """The engine takes either, so the tree does."""
    assert GameTree(Listed()).num_nodes == GameTree(Sequel()).num_nodes


def test_probes_estimate_the_size() -> None:
    """Knuth's estimator is unbiased: the mean of many is near the number of nodes."""
    game = Aside()
    estimates = probe(Walker(game), list(game.deals.outcomes()), num_probes=4_000)
    error = np.std(estimates) / np.sqrt(len(estimates))
    assert abs(np.mean(estimates) - GameTree(game).num_nodes) < 4 * error


def test_game_whose_deals_cannot_be_listed_is_refused() -> None:
    """An infinite game has no tree."""
    with pytest.raises(ValueError, match=r"GameTree\(Coordination\): expected deals that can be listed"):
        GameTree(Coordination())


def test_imperfect_recall_is_refused() -> None:
    """A layout that blurs who said what makes a player forget how often it has spoken."""
    with pytest.raises(ValueError, match=r"expected perfect recall, got player 0 forgetting"):
        GameTree(Forgetful())


def test_mask_that_tells_what_is_hidden_is_refused() -> None:
    """What may be said depends on what the player knows."""
    with pytest.raises(ValueError, match=r"Tattling.legal_tokens: expected the same tokens wherever player 1"):
        GameTree(Tattling())


def test_payoff_type_is_checked_at_every_edge() -> None:
    """As the engine does."""
    with pytest.raises(ValueError, match=r"WrongSum.rewards: expected a zero_sum pair, got \(2.0, 1.0\)"):
        GameTree(WrongSum())
