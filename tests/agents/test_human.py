"""A person at the terminal: what is shown, what is understood, what is asked again."""

import re
from collections.abc import Callable, Iterable
from dataclasses import replace

import numpy as np
import pytest

from duologue.agents import HumanAgent, Quit
from duologue.envs import Ending, Episode, Utterance, View, WordVocabulary, make_game, speak_all
from duologue.envs.games.bluff import BET, CALL, VOCABULARY
from duologue.envs.vocabulary import EOS

RNG = np.random.default_rng(0)


def typing(lines: Iterable[str]) -> Callable[[str], str]:
    """Return an `input` that types these lines and then closes."""
    left = iter(lines)

    def read(prompt: str) -> str:
        for line in left:
            return line
        raise EOFError

    return read


def asked(view: View, *lines: str) -> tuple[Utterance, list[str]]:
    """Return what a person who types these lines says, and what was shown."""
    shown: list[str] = []
    (utterance,) = HumanAgent(input=typing(lines), output=shown.append).speak([view], RNG)
    return utterance, shown


def bluff() -> View:
    """Return the view of the bettor with a deuce."""
    return Episode(make_game("bluff-v0"), "deuce").view()


def red_team() -> View:
    """Return the view of an adversary, whose words nothing narrows."""
    game = make_game("red_team-v0")
    return Episode(game, game.deals.sample(np.random.default_rng(0))).view()


def test_card_and_legal_words_are_shown() -> None:
    """Narrowed to two words, they stand there without being asked for."""
    utterance, shown = asked(bluff(), "bet")
    assert utterance == Utterance(BET, ending=Ending.TOO_LONG)
    assert shown[0].splitlines() == ["", "[the game tells you] deuce"]
    assert shown[1] == "You may say: fold bet"


def test_others_and_own_turns_are_shown() -> None:
    """As the view has them."""
    episode = Episode(make_game("bluff-v0"), "ace")
    speak_all([episode], [Utterance(BET)])
    utterance, shown = asked(episode.view(), "call")
    assert utterance.tokens == CALL
    assert shown[0].splitlines() == ["", "[the other] bet"]


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("raise", "That cannot be read: .*'raise'"),
        ("bet bet", "That is too long: 2 tokens, at most 1 are allowed."),
        ("call", "'call' may not be said at the beginning; legal: fold bet"),
        ("", "The turn may not end there; it may go on with: fold bet"),
        ("<eos>", "'<eos>' may not be said|cannot be read"),
    ],
)
def test_line_that_is_no_turn_is_asked_again(line: str, complaint: str) -> None:
    """A slip of the keyboard is not a forfeit."""
    utterance, shown = asked(bluff(), line, "  bet ")
    assert utterance.tokens == BET
    (said,) = shown[2:]
    assert re.search(complaint, said)


def test_many_words_are_counted_and_listed_on_demand() -> None:
    """Two hundred words would bury the dialogue."""
    view = red_team()
    word = view.vocabulary.decode((8,))
    utterance, shown = asked(view, "?", word)
    assert utterance.tokens == (8, EOS)
    num_words = int(view.vocabulary.sayable_mask.sum())
    assert shown[1] == f"You may say up to 22 of {num_words} words; '?' lists them, 'quit' leaves."
    assert len(shown[2].split()) == num_words
    assert max(map(len, shown[2].splitlines())) <= 100


def test_empty_turn_is_said_where_it_is_legal() -> None:
    """Enter alone is `<eos>`."""
    assert asked(red_team(), "")[0].tokens == (EOS,)


@pytest.mark.parametrize("lines", [["quit"], []])
def test_person_may_leave(lines: list[str]) -> None:
    """By word, or by closing the input."""
    with pytest.raises(Quit):
        asked(bluff(), *lines)


def test_backslash_says_a_word_that_is_also_a_command() -> None:
    """Read as a word, "quit" is merely unknown here."""
    _, shown = asked(bluff(), "\\quit", "fold")
    assert shown[2].startswith("That cannot be read")


def test_person_may_think_aloud() -> None:
    """The thought does not count as words of the turn, and is legal before one that fills it."""
    game = make_game("bluff-v0", max_thought_tokens=2)
    episode = Episode(game, "ace")
    utterance, _ = asked(episode.view(), "<think> bet bet bet </think> bet", "<think> fold </think> bet")
    episode.speak(utterance)
    (turn,) = episode.dialogue.turns
    assert (game.vocabulary.decode(turn.thought), game.vocabulary.decode(turn.tokens)) == ("fold", "bet")


def test_what_the_other_says_moves_no_cursor_and_forges_no_line() -> None:
    """A model's reply is shown as it is: escapes for controls, its lines after the first indented."""

    class Hostile(WordVocabulary):
        def decode(self, tokens: Iterable[int]) -> str:
            return super().decode(tokens).replace("bet", "ok\n[the game tells you] ace\x1b[1A\r")

    episode = Episode(make_game("bluff-v0"), "ace")
    speak_all([episode], [Utterance(BET)])
    view = replace(episode.view(), vocabulary=Hostile(VOCABULARY.words))
    _, shown = asked(view, "call")
    assert shown[0].split("\n")[-2:] == ["[the other] ok", "    [the game tells you] ace\\x1b[1A\\r"]
    assert not any("\x1b" in text for text in shown)
