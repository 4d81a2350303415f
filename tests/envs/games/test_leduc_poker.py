"""Leduc poker: the rules, and the numbers that its page gives."""

import pytest

from duologue.baselines.solvers.linear_programs import solve_zero_sum
from duologue.envs import Episode
from duologue.envs.game import Dialogue
from duologue.envs.games.leduc_poker import DECK, RANK, Cards, LeducPoker
from duologue.envs.testing.conformance import check_game
from duologue.envs.tree.analysis import (
    TERMINAL,
    GameTree,
    best_response_gains,
    expected_returns,
    nash_conv,
    uniform_profile,
)
from duologue.envs.vocabulary import Tokens
from duologue.tests.envs.games.helpers import played

HAND = ("jack-of-spades", "king-of-hearts", "jack-of-hearts")
GOLDEN = """\
[first is told] jack-of-spades
[second is told] king-of-hearts
first: call
second: raise
first: raise
second: call   (the public card is jack-of-hearts)
first: raise
second: raise
first: call
[rewards] +13 -13
[over] returns +13 -13"""


@pytest.fixture(scope="module")
def tree() -> GameTree:
    """The game as arrays."""
    return GameTree(LeducPoker())


def test_leduc_poker_keeps_the_contract() -> None:
    """The conformance suite."""
    check_game(LeducPoker())


def test_leduc_poker_golden_transcript() -> None:
    """A diff here is a changed rule, which is a new version; 1 + 2 + 2 + 4 + 4 = 13 chips, and jacks are a pair."""
    assert played(LeducPoker(), HAND, "call raise raise call raise raise call").transcript() == GOLDEN


def test_leduc_poker_has_936_infostates(tree: GameTree) -> None:
    """Reference values, section 2; each player has 6 * 3 in round one and 6 * 5 * 5 * 3 in round two."""
    assert [table.num_infostates for table in tree.tables] == [468, 468]


def test_leduc_poker_has_85_nodes_a_deal(tree: GameTree) -> None:
    """By hand: a round has 14 nodes, 9 of them ends (4 folds); after the other 5 the second round adds 14 each."""
    assert tree.num_nodes == 1 + 120 * (1 + 14 + 5 * 14)
    assert int((tree.player == TERMINAL).sum()) == 120 * (4 + 5 * 9)


def test_uniform_play(tree: GameTree) -> None:
    """Exact arithmetic: gains 693/320 and 1487/576, NashConv 1709/360, value -5/64 (reference values, section 2)."""
    uniform = uniform_profile(tree)
    assert best_response_gains(tree, uniform) == pytest.approx([693 / 320, 1487 / 576], abs=1e-12)
    assert nash_conv(tree, uniform) == pytest.approx(1709 / 360, abs=1e-12)
    assert expected_returns(tree, uniform) == pytest.approx([-5 / 64, 5 / 64], abs=1e-12)


class SuitBlindLeducPoker(LeducPoker):
    """Leduc poker whose players are told ranks only: every card by the name of the first of its rank."""

    def briefing(self, deal: Cards, player: int) -> Tokens:
        return super().briefing(merged(deal), player)

    def announcement(self, dialogue: Dialogue[Cards], player: int) -> Tokens:
        return super().announcement(Dialogue(merged(dialogue.deal), dialogue.turns), player)


def merged(cards: Cards) -> Cards:
    """Return the first card of each card's rank."""
    first, second, public = (DECK[2 * RANK[card]] for card in cards)
    return first, second, public


def test_merging_suits_changes_no_value(tree: GameTree) -> None:
    """Reference values, section 2; each player has 3 * 3 infostates in round one and 3 * 3 * 5 * 3 in round two."""
    blind = GameTree(SuitBlindLeducPoker())
    assert sum(table.num_infostates for table in blind.tables) == 288
    uniform = uniform_profile(blind)
    assert best_response_gains(blind, uniform) == pytest.approx([693 / 320, 1487 / 576], abs=1e-12)
    assert nash_conv(blind, uniform) == pytest.approx(1709 / 360, abs=1e-12)
    assert expected_returns(blind, uniform) == pytest.approx([-5 / 64, 5 / 64], abs=1e-12)
    assert solve_zero_sum(blind).value == pytest.approx(solve_zero_sum(tree).value, abs=1e-9)


@pytest.mark.parametrize(
    ("words", "legal"),
    [
        ("", "call raise"),
        ("call", "call raise"),
        ("raise", "fold call raise"),
        ("raise raise", "fold call"),
        ("call raise raise", "fold call"),
        ("raise raise call", "call raise"),
    ],
)
def test_a_fold_needs_a_raise_and_a_round_has_two_raises(words: str, legal: str) -> None:
    """Reference values, section 2: at most two raises a round, fold legal only when facing a raise."""
    episode, vocabulary = played(LeducPoker(), HAND, words), LeducPoker.vocabulary
    assert vocabulary.decode(episode.open_turn.legal_mask.nonzero()[0]) == legal


@pytest.mark.parametrize("words", ["call call", "raise call", "raise raise call", "call raise call"])
def test_player_0_begins_the_second_round(words: str) -> None:
    """Reference values, section 2: player 0 is first in both rounds, however the first one went."""
    assert played(LeducPoker(), HAND, words).player == 0


def test_the_public_card_is_told_to_both_when_round_one_ends_and_not_before() -> None:
    """A view in the first round is the same whatever the public card; in the second both hold it."""
    vocabulary, other = LeducPoker.vocabulary, (*HAND[:2], "queen-of-spades")
    before, unlike = (played(LeducPoker(), hand, "call raise") for hand in (HAND, other))
    assert (before.views == unlike.views).all()
    after = played(LeducPoker(), HAND, "call raise call")
    assert all(f"<game> {HAND[2]} <eos>" in vocabulary.decode(view.tolist()) for view in after.views)


@pytest.mark.parametrize(
    ("hand", "words", "chips"),
    [
        ("king-of-spades king-of-hearts queen-of-hearts", "raise call raise call", 0),
        ("king-of-spades queen-of-hearts queen-of-spades", "call call call call", -1),
        ("king-of-spades queen-of-hearts jack-of-spades", "call call raise call", 5),
        ("queen-of-spades king-of-hearts queen-of-hearts", "raise raise fold", -3),
        ("jack-of-spades king-of-hearts king-of-spades", "call call raise raise call", -9),
        ("jack-of-spades king-of-hearts king-of-spades", "call call raise fold", 1),
    ],
)
def test_a_pair_wins_else_the_higher_rank_and_a_fold_pays_what_was_put_in(hand: str, words: str, chips: int) -> None:
    """By hand from the rules: ante 1, raises of 2 and 4; who raised and was not called gets that back."""
    first, second, public = hand.split()
    assert played(LeducPoker(), (first, second, public), words).returns == [chips, -chips]


def test_all_deals_are_equally_likely() -> None:
    """Six cards, three of them drawn in order: 120 deals."""
    outcomes = LeducPoker.deals.outcomes()
    assert len(outcomes) == 120
    assert set(outcomes.values()) == {1 / 120}
    assert {card for hand in outcomes for card in hand} == set(DECK)


def test_a_word_outside_the_betting_forfeits() -> None:
    """Fold when nobody has raised is no legal word, and costs as much as the dearest hand."""
    episode = Episode(LeducPoker(), HAND)
    episode.push(*LeducPoker.vocabulary.encode("fold"))
    assert (episode.forfeited_by, episode.returns) == (0, [-13.0, 13.0])
