"""Adversarial Taboo: its language, who wins by what, and the values derived on its page."""

from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from duologue.baselines.solvers.linear_programs import solve_zero_sum
from duologue.envs import LanguageGame, make_game
from duologue.envs.games.taboo import GUESS, Taboo, TabooOutcome
from duologue.envs.solutions import HasDemonstrations
from duologue.envs.testing.conformance import check_game
from duologue.envs.tree.analysis import GameTree, best_response
from duologue.tests.envs.games.helpers import played, policy

TINY = Taboo(num_words=4, num_attributes=2, max_turns=2)
"""bada, beda, bade and bede; one exchange."""
GOLDEN = """\
[attacker is told] beda
attacker: ba
defender: bade
attacker: bade
defender: i know the word ! it is beda   (the guess is right)
[rewards] -1 +1
[over] returns -1 +1"""


@pytest.mark.parametrize("options", [{}, {"num_words": 2, "num_attributes": 2}, {"num_words": 11, "max_turns": 3}])
def test_taboo_keeps_the_contract(options: dict[str, Any]) -> None:
    """The conformance suite; with 11 words three values an attribute, an odd number of turns ends on a question."""
    check_game(make_game("taboo-v0", **options), episodes=12)


def test_taboo_golden_transcript() -> None:
    """A diff here is a changed rule, which is a new version."""
    assert played(Taboo(4, 2, 4), 1, f"ba bade <eos> bade {GUESS} beda").transcript() == GOLDEN


@pytest.mark.parametrize(
    ("words", "outcome", "gain"),
    [
        ("ba", TabooOutcome.OPEN, 0),
        ("beda", TabooOutcome.GIVEN_AWAY, -1),
        ("be beda <eos>", TabooOutcome.UTTERED, 1),
        ("ba beda <eos>", TabooOutcome.UTTERED, 1),
        ("be bede <eos>", TabooOutcome.OPEN, 0),
        ("be bada <eos>", TabooOutcome.UNFIT, 1),
        ("bede bade <eos>", TabooOutcome.OPEN, 0),
        ("bede bede <eos>", TabooOutcome.UNFIT, 1),
        ("bede bada <eos>", TabooOutcome.UNFIT, 1),
        (f"be {GUESS} beda", TabooOutcome.RIGHT_GUESS, -1),
        (f"be {GUESS} bede", TabooOutcome.WRONG_GUESS, 1),
    ],
)
def test_who_wins_by_what(words: str, outcome: TabooOutcome, gain: float) -> None:
    """The rules of the page, the target being beda: a row for each way to end, and the answers to a word."""
    game = Taboo(4, 2, 4)
    episode = played(game, 1, words)
    assert game.outcome(episode.dialogue) is outcome
    assert episode.returns == [gain, -gain]
    assert episode.over == (gain != 0)


def test_a_word_is_uttered_as_a_whole() -> None:
    """The release's substrings find "cat" in "concatenate"; here no syllable of a word is that word, nor in reverse."""
    episode = played(Taboo(4, 2, 6), 1, "be bede <eos> da bada <eos> ba bade <eos>")
    assert episode.over
    assert episode.returns == [0, 0]


def test_a_question_without_an_answer_may_not_be_asked() -> None:
    """The two words bada and beda share "da" alone, so that "de" is no property; what fits four words, by hand."""
    two = Taboo(2, 2)
    assert two.vocabulary.decode(two.answers) == "ba be da bada beda"
    four = Taboo(4, 2)
    fitting = {
        four.vocabulary.decode((question,)): four.vocabulary.decode(words) for question, words in four.answers.items()
    }
    assert fitting["bada"] == "beda bade"
    assert fitting["de"] == "bade bede"


@given(num_attributes=st.integers(2, 4), num_words=st.integers(2, 25))
def test_words_of_any_size_are_distinct_and_made_of_their_properties(num_attributes: int, num_words: int) -> None:
    """All words differ; every property is some word's, and every word answers each of its properties."""
    game = Taboo(num_words, num_attributes)
    decode = game.vocabulary.decode
    assert len({decode((word,)) for word in game.words}) == num_words
    assert set().union(*game.properties_of.values()) == set(game.properties)
    for word, properties in game.properties_of.items():
        assert sorted(decode((word,))) == sorted("".join(map(lambda p: decode((p,)), properties)))
        assert all(word in game.answers[prop] for prop in properties)


def value(**options: int) -> float:
    """Return what a game is worth to the attacker, by a linear program over its tree."""
    return float(solve_zero_sum(GameTree(make_game("taboo-v0", **options))).value)


@pytest.mark.parametrize(
    ("num_words", "num_attributes", "max_turns", "worth"),
    [(2, 2, 2, 0), (2, 2, 4, 0), (4, 2, 2, 1 / 3), (4, 2, 3, 1 / 3), (4, 2, 4, 1 / 2), (8, 3, 2, 1 / 4)],
)
def test_values_of_the_page(num_words: int, num_attributes: int, max_turns: int, worth: float) -> None:
    """Derived there, the 1/2 apart; a question that nobody answers (3 turns) changes nothing."""
    assert value(num_words=num_words, num_attributes=num_attributes, max_turns=max_turns) == pytest.approx(worth)


@pytest.mark.parametrize(("honesty", "secured"), [(0, 0), (1 / 2, 1 / 4), (2 / 3, 1 / 3), (0.9, 0.1), (1, 0)])
def test_how_honest_an_attacker_should_be(honesty: float, secured: float) -> None:
    """min(t/2, 1 - t, t) by the page, for asking for a property of the target with probability t; the best t is 2/3."""
    tree, decode = GameTree(TINY), TINY.vocabulary.decode

    def ask(target: str) -> dict[str, float]:
        own = TINY.properties_of[TINY.vocabulary.encode(target)[0]]
        return {decode((prop,)): honesty / 2 if prop in own else (1 - honesty) / 2 for prop in TINY.properties}

    asked = policy(tree, 0, ask)
    assert -best_response(tree, 1, asked).value == pytest.approx(secured)


def test_naming_another_word_is_as_good() -> None:
    """1/3 again: of the three words that are not named two fit."""
    tree = GameTree(TINY)
    names = TINY.vocabulary.decode(TINY.words).split()
    asked = policy(tree, 0, lambda target: {name: 1 / 3 for name in names if name != target})
    assert -best_response(tree, 1, asked).value == pytest.approx(1 / 3)


@pytest.mark.parametrize("source", ["average", "ideal"])
def test_demonstrations_follow_the_rules_and_end(source: str) -> None:
    """Each is over after its last turn and not before; all ends of the rules are among those of average players."""
    game: LanguageGame[Any] = Taboo()
    assert isinstance(game, HasDemonstrations)
    assert isinstance(game, Taboo)
    made = game.demonstrations(source, np.random.default_rng(0), 300)
    for dialogue in made:
        before = [game.next_player(dialogue.upto(k)) for k in range(len(dialogue.turns))]
        assert before == [k % 2 for k in range(len(dialogue.turns))]
        assert game.next_player(dialogue) is None
    ends = Counter(game.outcome(dialogue) for dialogue in made)
    assert (ends.keys() == set(TabooOutcome)) == (source == "average")


def test_the_ideal_defender_never_misses_the_question_and_loses_less() -> None:
    """Average players 0.45 to the attacker in 4,000 games, ideal defenders 0.07; standard errors below 0.05 here."""
    game = Taboo()
    made = {source: game.demonstrations(source, np.random.default_rng(1), 400) for source in ("average", "ideal")}
    lost = {source: np.mean([game.rewards(dialogue)[0] for dialogue in made[source]]) for source in made}
    assert lost["ideal"] < lost["average"] - 0.15
    assert all(game.outcome(dialogue) is not TabooOutcome.UNFIT for dialogue in made["ideal"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_attributes": 1}, "num_attributes: expected a whole number from 2 to 12, got 1"),
        ({"num_words": 26, "num_attributes": 2}, "num_words: expected a whole number from 2 to 25, got 26"),
        ({"num_words": 1}, "num_words: expected a whole number from 2 to 125, got 1"),
        ({"max_turns": 1}, "max_turns: expected a whole number of at least 2, got 1"),
    ],
)
def test_sizes_that_make_no_language_are_refused(options: dict[str, int], message: str) -> None:
    """Of one syllable a word would be its property; five vowels make 5^k words."""
    with pytest.raises(ValueError, match=message):
        make_game("taboo-v0", **options)
