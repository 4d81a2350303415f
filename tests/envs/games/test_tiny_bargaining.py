"""The tiny bargaining game: offers, discounts, and backward induction by hand."""

from typing import Any

import pytest

from duologue.envs.games.tiny_bargaining import TinyBargaining
from duologue.envs.testing.conformance import check_game
from duologue.envs.tree.analysis import GameTree, backward_induction, nash_conv
from duologue.tests.envs.games.helpers import played

GOLDEN = """\
first proposer: 1
second proposer: reject
second proposer: 3
first proposer: accept
[rewards] +1.8 +1.2
[over] returns +1.8 +1.2"""


@pytest.mark.parametrize("options", [{}, {"num_coins": 2, "num_rounds": 1, "discount": 1.0}])
def test_tiny_bargaining_keeps_the_contract(options: dict[str, Any]) -> None:
    """The conformance suite."""
    check_game(TinyBargaining(**options))


def test_tiny_bargaining_golden_transcript() -> None:
    """A diff here is a changed rule, which is a new version; 0.6 * 3 = 1.8 and 0.6 * 2 = 1.2."""
    assert played(TinyBargaining(), None, "1 reject 3 accept").transcript() == GOLDEN


@pytest.mark.parametrize(("words", "returns"), [("4 accept", [1, 4]), ("1 reject 1 reject 1 accept", [1.44, 0.36])])
def test_the_proposer_keeps_the_rest(words: str, returns: list[float]) -> None:
    """By hand: 5 - 4 = 1 coin at once; 0.36 of 4 and of 1 coin in the third round."""
    assert played(TinyBargaining(), None, words).returns == pytest.approx(returns)


def test_the_coins_are_lost_when_the_last_proposal_is_rejected() -> None:
    """Three rounds, three rejections."""
    episode = played(TinyBargaining(), None, "2 reject 3 reject 4 reject")
    assert (episode.over, episode.returns) == (True, [0.0, 0.0])


@pytest.mark.parametrize(("num_rounds", "returns"), [(1, [4, 1]), (2, [2, 3]), (3, [3, 2])])
def test_subgame_perfect_shares(num_rounds: int, returns: list[int]) -> None:
    """By hand, from the last round back; the table of the page."""
    tree = GameTree(TinyBargaining(num_rounds=num_rounds))
    profile, values = backward_induction(tree)
    assert values[0] == pytest.approx(returns, abs=1e-12)
    assert nash_conv(tree, profile) == pytest.approx(0, abs=1e-12)


def test_what_is_proposed_and_accepted_in_each_round() -> None:
    """By hand: 2 in the first round, 3 in the second, 1 in the last; one coin less is rejected where it can be."""
    tree = GameTree(TinyBargaining())
    (first, second), _ = backward_induction(tree)

    def says(player: int, words: str) -> str:
        node = next(node for node in range(1, tree.num_nodes) if _words(tree, node) == words)
        table, infostate = tree.tables[player], int(tree.infostate[node])
        actions = range(int(table.offsets[infostate]), int(table.offsets[infostate + 1]))
        probabilities = (first, second)[player]
        return tree.game.vocabulary.decode(int(table.tokens[action]) for action in actions if probabilities[action])

    assert [says(0, ""), says(1, "2"), says(1, "1")] == ["2", "accept", "reject"]
    assert [says(1, "1 reject"), says(0, "1 reject 3"), says(0, "1 reject 2")] == ["3", "accept", "reject"]
    assert [says(0, "1 reject 2 reject"), says(1, "1 reject 2 reject 1")] == ["1", "accept"]


def _words(tree: GameTree, node: int) -> str:
    return tree.game.vocabulary.decode(int(tree.token[step]) for step in tree.path(node)[1:])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_coins": 1}, "num_coins: expected a whole number of at least 2, got 1"),
        ({"num_rounds": 0}, "num_rounds: expected a whole number of at least 1, got 0"),
        ({"discount": 0}, r"discount: expected a number in \(0, 1\], got 0"),
        ({"discount": 1.5}, r"discount: expected a number in \(0, 1\], got 1\.5"),
    ],
)
def test_bad_options_are_named(options: dict[str, Any], message: str) -> None:
    """The message names the option, what was expected and what came."""
    with pytest.raises(ValueError, match=message):
        TinyBargaining(**options)
