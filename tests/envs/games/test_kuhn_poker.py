"""Kuhn poker: the rules, and every number that its page gives."""

from fractions import Fraction

import pytest

from duologue.envs import Episode
from duologue.envs.games.kuhn_poker import KuhnPoker
from duologue.envs.testing.conformance import check_game
from duologue.envs.tree.analysis import (
    GameTree,
    Profile,
    best_response_gains,
    expected_returns,
    nash_conv,
    uniform_profile,
)
from duologue.tests.envs.games.helpers import played, policy

GOLDEN = """\
[first is told] jack
[second is told] queen
first: check
second: bet
first: call
[rewards] -2 +2
[over] returns -2 +2"""


@pytest.fixture(scope="module")
def tree() -> GameTree:
    """The game as arrays."""
    return GameTree(KuhnPoker())


def kuhn_profile(tree: GameTree, a: float) -> Profile:
    """Return the equilibrium in which player 0 bets a jack with probability `a` (Kuhn, 1950)."""
    bets = {"jack": a, "queen": 0.0, "king": 3 * a}
    calls = {"jack": 0.0, "queen": a + 1 / 3, "king": 1.0}
    bluffs = {"jack": 1 / 3, "queen": 0.0, "king": 1.0}
    answers = {"jack": 0.0, "queen": 1 / 3, "king": 1.0}

    def choose(bet: dict[str, float], call: dict[str, float], known: str) -> dict[str, float]:
        card, last = known.split()[0], known.split()[-1]
        if last == "bet":
            return {"call": call[card], "fold": 1 - call[card]}
        return {"bet": bet[card], "check": 1 - bet[card]}

    first = policy(tree, 0, lambda known: choose(bets, calls, known))
    return first, policy(tree, 1, lambda known: choose(bluffs, answers, known))


def test_kuhn_poker_keeps_the_contract() -> None:
    """The conformance suite."""
    check_game(KuhnPoker())


def test_kuhn_poker_golden_transcript() -> None:
    """A diff here is a changed rule, which is a new version."""
    assert played(KuhnPoker(), ("jack", "queen"), "check bet call").transcript() == GOLDEN


@pytest.mark.parametrize(
    ("words", "chips"),
    [("check check", 1), ("bet fold", 1), ("bet call", 2), ("check bet fold", -1), ("check bet call", 2)],
)
def test_king_beats_queen_unless_it_folds(words: str, chips: int) -> None:
    """The five endings; ante 1 and bet 1, so that a call makes it 2 (Kuhn, 1950)."""
    assert played(KuhnPoker(), ("king", "queen"), words).returns == [chips, -chips]


def test_words_follow_the_betting() -> None:
    """A bet is answered by fold or call, anything else by check or bet."""
    episode = Episode(KuhnPoker(), ("jack", "king"))
    legal = []
    for token in KuhnPoker.vocabulary.encode("check bet"):
        legal.append(KuhnPoker.vocabulary.decode(episode.open_turn.legal_mask.nonzero()[0]))
        episode.push(token)
    legal.append(KuhnPoker.vocabulary.decode(episode.open_turn.legal_mask.nonzero()[0]))
    assert legal == ["check bet", "check bet", "fold call"]


def test_kuhn_poker_has_twelve_infostates(tree: GameTree) -> None:
    """Three cards times two decisions for each player; six deals with five ends (reference values, section 1)."""
    assert [table.num_infostates for table in tree.tables] == [6, 6]
    assert int((tree.player == -2).sum()) == 30
    assert tree.chance_reach[1:7].tolist() == pytest.approx([1 / 6] * 6)


def test_uniform_play(tree: GameTree) -> None:
    """Exact arithmetic: gains 3/8 and 13/24, NashConv 11/12, value 1/8 (reference values, section 1)."""
    uniform = uniform_profile(tree)
    assert best_response_gains(tree, uniform) == pytest.approx([3 / 8, 13 / 24], abs=1e-12)
    assert nash_conv(tree, uniform) == pytest.approx(Fraction(11, 12), abs=1e-12)
    assert expected_returns(tree, uniform) == pytest.approx([1 / 8, -1 / 8], abs=1e-12)


@pytest.mark.parametrize("a", [0.0, 1 / 6, 1 / 3])
def test_the_family_of_equilibria_is_worth_minus_an_eighteenth(tree: GameTree, a: float) -> None:
    """Kuhn (1950): one equilibrium for each a in [0, 1/3], all of value -1/18."""
    profile = kuhn_profile(tree, a)
    assert nash_conv(tree, profile) == pytest.approx(0, abs=1e-12)
    assert expected_returns(tree, profile) == pytest.approx([-1 / 18, 1 / 18], abs=1e-12)


def test_a_king_that_never_bets_allows_no_bluff(tree: GameTree) -> None:
    """Outside the family: jacks bet with 1/6 as in one member, kings never as in another, is no equilibrium."""
    first, second = kuhn_profile(tree, 1 / 6)
    honest, _ = kuhn_profile(tree, 0.0)
    jack = [tree.infostate_text(0, int(infostate)).split()[2] == "jack" for infostate in tree.tables[0].infostate_of]
    mixed = honest.copy()
    mixed[jack] = first[jack]
    assert nash_conv(tree, (mixed, second)) > 0.01
