"""Extensive forms written out: chance becomes deals, labels become words, and nobody hears more than it may."""

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from duologue.envs import Episode, Payoff
from duologue.envs.bridges.explicit import ExplicitGame, ExplicitNode, TooLarge, draw_deals
from duologue.envs.testing.conformance import check_game
from duologue.envs.tree.analysis import CHANCE, TERMINAL, GameTree, expected_returns, nash_conv, uniform_profile
from duologue.tests.envs.bridges.helpers import random_nodes

HALF = Fraction(1, 2)


NAN, INF = float("nan"), float("inf")


def leaf(first: float = 0.0, second: float | None = None) -> ExplicitNode:
    """A leaf that pays, zero-sum by default."""
    return ExplicitNode(TERMINAL, rewards=(first, -first if second is None else second))


def coin(*children: int, chances: tuple[Fraction | float, ...] = (HALF, HALF)) -> ExplicitNode:
    """A chance node."""
    return ExplicitNode(CHANCE, children=children, probabilities=chances)


def test_chance_that_depends_on_actions_becomes_cells_of_the_common_refinement() -> None:
    """By hand: (1/2, 1/2) after left and (1/3, 2/3) after right break [0, 1) at 1/3 and 1/2."""
    thirds = (Fraction(1, 3), Fraction(2, 3))
    nodes = [
        ExplicitNode(0, "start", ("left", "right"), (1, 2)),
        coin(3, 4),
        coin(5, 6, chances=thirds),
        *(leaf(float(k)) for k in range(4)),
    ]
    assert draw_deals(nodes) == pytest.approx({(1 / 6,): 1 / 3, (5 / 12,): 1 / 6, (3 / 4,): 1 / 2})
    tree = GameTree(ExplicitGame(nodes))
    assert expected_returns(tree, (np.array([0.0, 1.0]), np.zeros(0)))[0] == pytest.approx(2 / 3 + 2 * 3 / 3)


def test_a_later_chance_node_is_dealt_only_where_it_can_come() -> None:
    """By hand: after heads a second coin, after tails none: three deals, not four."""
    nodes = [coin(1, 2), coin(3, 4), ExplicitNode(0, "tails", ("go",), (5,)), *(leaf(float(k)) for k in range(3))]
    assert draw_deals(nodes) == {(0.25, 0.25): 0.25, (0.25, 0.75): 0.25, (0.75,): 0.5}


def test_breakpoints_that_differ_by_rounding_are_one() -> None:
    """0.1 + 0.2 is not 0.3 in floating point; a cell between them would be a deal without a meaning."""
    nodes = [
        ExplicitNode(0, "start", ("left", "right"), (1, 2)),
        coin(3, 4, 5, chances=(0.1, 0.2, 0.7)),
        coin(6, 7, chances=(0.3, 0.7)),
        *(leaf() for _ in range(5)),
    ]
    assert list(draw_deals(nodes).values()) == pytest.approx([0.1, 0.2, 0.7], abs=1e-15)


def test_an_outcome_that_never_comes_is_no_deal() -> None:
    """Probability 0 has a cell of no width."""
    nodes = [coin(1, 2, 3, chances=(Fraction(0), Fraction(1), Fraction(0))), leaf(), leaf(1.0), leaf()]
    assert draw_deals(nodes) == {(0.5,): 1.0}
    assert GameTree(ExplicitGame(nodes)).rewards.sum(0).tolist() == [1.0, -1.0]


def test_rewards_before_the_first_turn_and_between_turns_are_all_paid() -> None:
    """By hand: 1 at the root, 2 at the chance node, 4 after the coin, 8 after the first word, 16 at the end."""
    nodes = [
        coin(1, 2)._replace(rewards=(1.0, -1.0)),
        coin(3, chances=(Fraction(1),))._replace(rewards=(2.0, -2.0)),
        leaf(64.0),
        ExplicitNode(1, "x", ("a",), (4,), rewards=(4.0, -4.0)),
        coin(5, chances=(Fraction(1),))._replace(rewards=(8.0, -8.0)),
        ExplicitNode(0, "y", ("b",), (6,)),
        leaf(16.0),
    ]
    game = ExplicitGame(nodes)
    episode = Episode(game, (0.25, 0.5, 0.5))
    for word in "ab":
        episode.push(game.vocabulary.encode(word)[0])
    assert episode.reward_history == [(15.0, -15.0), (16.0, -16.0)]
    tree = GameTree(game)  # the other deal ends before anybody speaks, and pays 1 + 64 all the same
    assert expected_returns(tree, uniform_profile(tree))[0] == 0.5 * 31 + 0.5 * 65


def test_a_player_hears_nothing_but_its_information_sets() -> None:
    """Player 1 is told "x" whatever player 0 said, so it cannot tell left from right."""
    nodes = [
        ExplicitNode(0, "start", ("left", "right"), (1, 2)),
        ExplicitNode(1, "x", ("l", "r"), (3, 4)),
        ExplicitNode(1, "x", ("l", "r"), (5, 6)),
        *(leaf(pay) for pay in (1.0, 0.0, 0.0, 1.0)),
    ]
    game = ExplicitGame(nodes)
    tree = GameTree(game)
    assert [table.num_infostates for table in tree.tables] == [1, 1]
    assert tree.infostate_text(1, 0) == "<bos> <game> x <eos> <player_1>"
    assert nash_conv(tree, (np.array([1.0, 0.0]), np.array([1.0, 0.0]))) == 1.0


def test_labels_become_words() -> None:
    """Blanks cannot stand in a word, and special tokens and unlike labels must stay apart."""
    nodes = [ExplicitNode(0, "<eos> ?", ("a b", "a_b", "<pad>", ""), (1, 2, 3, 4)), *(leaf() for _ in range(4))]
    game = ExplicitGame(nodes)
    assert game.vocabulary.words == ("a_b", "a_b_", "<pad>_", "_", "<eos>_", "?")
    assert game.vocabulary.decode(game.briefing((), 0)) == "<eos>_ ?"


def test_information_sets_with_like_names_stay_apart() -> None:
    """Names that differ in blanks only would be the same words."""
    nodes = [
        coin(1, 2),
        *(ExplicitNode(0, name, ("a",), (k,)) for k, name in [(3, "x y"), (4, "x  y")]),
        leaf(),
        leaf(),
    ]
    tree = GameTree(ExplicitGame(nodes))
    assert tree.tables[0].num_infostates == 2


def test_imperfect_recall_names_the_information_set() -> None:
    """Player 0 forgets its own first word."""
    nodes = [
        ExplicitNode(0, "start", ("a", "b"), (1, 2)),
        *(ExplicitNode(0, "later", ("c",), (k,)) for k in (3, 4)),
        leaf(),
        leaf(),
    ]
    with pytest.raises(
        ValueError, match=r"information set 'later' of player 0: expected perfect recall.*'b' in 'start'"
    ):
        ExplicitGame(nodes)


def test_an_information_set_met_twice_on_a_path_is_imperfect_recall() -> None:
    """The absent-minded driver (Piccione & Rubinstein, 1997)."""
    exits = [ExplicitNode(0, "junction", ("exit", "on"), (k, k + 1)) for k in (1, 3)]
    with pytest.raises(ValueError, match="'junction' of player 0: expected perfect recall"):
        ExplicitGame([exits[0], leaf(), exits[1], leaf(4.0), leaf(1.0)])


def test_numbers_of_numpy_are_numbers() -> None:
    """A tree that was made from arrays is that of plain numbers."""
    numbers: list[Any] = [np.int64(number) for number in range(5)]
    chances: Any = (np.float32(0.25), np.float64(0.75))
    decision = ExplicitNode(numbers[0], "x", ("a", "b"), (numbers[3], numbers[4]))
    nodes = [coin(numbers[1], numbers[2], chances=chances), decision, leaf(8.0), leaf(16.0), leaf(0.0)]
    tree = GameTree(ExplicitGame(nodes))
    np.testing.assert_allclose(expected_returns(tree, uniform_profile(tree)), [8.0, -8.0])


@pytest.mark.parametrize(
    ("nodes", "text"),
    [
        ([ExplicitNode(0, "x", ("a", "b"), (1,)), leaf()], "node 0: expected a child for each action"),
        ([ExplicitNode(0, "x", ("a", "a"), (1, 2)), leaf(), leaf()], "node 0: expected a child for each action"),
        ([coin(1, 2, chances=(HALF, NAN)), leaf(), leaf()], "node 0: expected probabilities >= 0 that sum to 1"),
        ([coin(1, 2, chances=(NAN, NAN)), leaf(), leaf()], "node 0: expected probabilities >= 0 that sum to 1"),
        ([ExplicitNode(TERMINAL, rewards=(NAN, 0.0))], "node [01]: expected two finite rewards, got"),
        ([ExplicitNode(TERMINAL, rewards=(1.0, -INF))], "node [01]: expected two finite rewards, got"),
        ([ExplicitNode(TERMINAL, rewards=("1", "2"))], "node [01]: expected two finite rewards, got"),  # type: ignore[arg-type]
        ([coin(1, 2, chances=("a", "b")), leaf(), leaf()], "node 0: expected probabilities"),  # type: ignore[arg-type]
        ([], "nodes: expected a tree"),
        ([coin(0, 1), leaf()], "nodes: expected a tree"),
        ([coin(1, 7), leaf()], "nodes: expected a tree"),
        ([coin(1, -1), leaf()], "nodes: expected a tree"),
        ([coin("1", 2), leaf(), leaf()], "nodes: expected a tree"),  # type: ignore[arg-type]
        ([coin(1, 2, chances=(HALF, HALF / 2)), leaf(), leaf()], "node 0: expected probabilities >= 0 that sum to 1"),
        ([ExplicitNode(0, "x", ("a",), (0,))], "expected a tree"),
        ([leaf(), leaf()], "expected a tree"),
        ([ExplicitNode(3, "x", ("a",), (1,)), leaf()], "node 0: expected"),
        (
            [coin(1, 2), ExplicitNode(0, "x", ("a",), (3,)), ExplicitNode(0, "x", ("b",), (4,)), leaf(), leaf()],
            "information set 'x' of player 0: expected the same actions",
        ),
    ],
)
def test_what_is_no_extensive_form_is_refused(nodes: list[ExplicitNode], text: str) -> None:
    """Each list of nodes breaks one rule of `ExplicitNode`."""
    with pytest.raises(ValueError, match=text):
        ExplicitGame(nodes)


def test_too_many_deals_are_refused() -> None:
    """Three coins make eight deals."""
    coins = [coin(2 * k + 1, 2 * k + 2) for k in range(7)]
    with pytest.raises(TooLarge, match="expected at most 7 of them, got more"):
        draw_deals([*coins, *(leaf() for _ in range(8))], max_deals=7)


@pytest.mark.parametrize(
    ("pay", "payoff"),
    [((1.0, -1.0), Payoff.ZERO_SUM), ((1.0, 1.0), Payoff.IDENTICAL), ((1.0, 0.0), Payoff.GENERAL)],
)
def test_payoff_type_is_the_narrowest_that_holds(pay: tuple[float, float], payoff: Payoff) -> None:
    """From the definition of `Payoff`."""
    nodes = [ExplicitNode(0, "x", ("a", "b"), (1, 2)), leaf(*pay), leaf()]
    assert ExplicitGame(nodes).payoff is payoff


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**20))
def test_any_extensive_form_keeps_the_contract_of_a_language_game(seed: int) -> None:
    """The package's conformance suite on random extensive forms; an episode needs a first turn."""
    nodes = random_nodes(seed)
    game = ExplicitGame([ExplicitNode(0, "first", ("begin",), (1,)), *(_moved(node) for node in nodes)])
    check_game(game, seed=seed, episodes=3)


def _moved(node: ExplicitNode) -> ExplicitNode:
    return node._replace(children=tuple(child + 1 for child in node.children), infoset=f"{node.infoset} now")
