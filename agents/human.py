"""A person at a terminal as an agent."""

from __future__ import annotations

import builtins
import textwrap
from collections.abc import Callable, Sequence

import numpy as np

from ..envs import Ending
from ..envs.printable import printable, printable_lines
from .agent import Utterance, View

MAX_LISTED = 24
"""Up to so many legal words are listed without being asked for."""
LINE_LENGTH = 100


class Quit(Exception):
    """The person has had enough: `quit`, or the end of the input."""


class HumanAgent:
    r"""Shows a person the view, reads a line, and asks again until it is a legal turn.

    `?` lists the words that may be said and `quit` raises `Quit`; `\?` and `\quit` say these words.
    """

    def __init__(
        self, *, input: Callable[[str], str] = builtins.input, output: Callable[[str], None] = builtins.print
    ) -> None:
        """Take where lines are read from and where text is shown."""
        self._input = input
        self._output = output

    def speak(self, views: Sequence[View], rng: np.random.Generator) -> list[Utterance]:
        """Return what the person says, one view after the other.

        Raises:
            Quit: the person has had enough.
        """
        return [self._ask(view) for view in views]

    def _ask(self, view: View) -> Utterance:
        self._output(shown(view))
        num_legal = int(np.count_nonzero(view.legal_mask(()) & view.vocabulary.sayable_mask))
        shows = num_legal <= MAX_LISTED  # to decode all tokens of a tokenizer takes a second
        self._output(f"You may say: {listed(legal_words(view, ()))}" if shows else _hint(view, num_legal))
        while True:
            line = self._read()
            if line == "?":
                self._output(listed(legal_words(view, ())))
            elif line == "quit":
                raise Quit
            else:
                tokens, complaint = parse_turn(line.removeprefix("\\"), view)
                if not complaint:
                    return _utterance(view, tokens)
                self._output(complaint)

    def _read(self) -> str:
        try:
            return self._input("> ").strip()
        except EOFError:
            raise Quit from None


def shown(view: View) -> str:
    """Return what a player has been told and said, a line a message."""
    names = {None: "[the game tells you]", view.player: "[you]", 1 - view.player: "[the other]"}
    lines = [f"{names[speaker]} {printable_lines(view.vocabulary.decode(tokens))}" for speaker, tokens in view.messages]
    return "\n".join(["", *lines])


def legal_words(view: View, prefix: tuple[int, ...]) -> list[str]:
    """Return the texts of the tokens that may follow `prefix`, `<eos>` and thought tokens left out."""
    legal = view.legal_mask(prefix) & view.vocabulary.sayable_mask
    return [printable(view.vocabulary.decode((int(token),))) for token in np.flatnonzero(legal)]


def listed(words: Sequence[str]) -> str:
    """Return words on lines of a readable length."""
    return textwrap.fill(" ".join(words), LINE_LENGTH, break_long_words=False) or "nothing; press Enter"


def parse_turn(line: str, view: View) -> tuple[tuple[int, ...], str]:
    """Return a line's tokens and "", or what is wrong with it as a legal turn."""
    try:
        tokens = view.vocabulary.encode(line)
    except ValueError as error:
        return (), f"That cannot be read: {printable(str(error))}. Try again ('?' lists the words, 'quit' leaves)."
    num_spoken = len(tokens) - _thought_length(view, tokens)
    if num_spoken > view.max_turn_tokens:
        return (), f"That is too long: {num_spoken} tokens, at most {view.max_turn_tokens} are allowed."
    for k, token in enumerate(tokens):
        if not view.legal_mask(tokens[:k])[token]:
            word, before = view.vocabulary.decode((token,)), view.vocabulary.decode(tokens[:k])
            place = f"after {before!r}" if before else "at the beginning"
            return (), f"{word!r} may not be said {place}; legal: {listed(legal_words(view, tokens[:k]))}"
    if num_spoken < view.max_turn_tokens and not view.legal_mask(tokens)[view.vocabulary.eos_id]:
        return (), f"The turn may not end there; it may go on with: {listed(legal_words(view, tokens))}"
    return tokens, ""


def _utterance(view: View, tokens: tuple[int, ...]) -> Utterance:
    """Return a legal turn, thought and all, as an utterance: closed by `<eos>` below the length limit."""
    if len(tokens) - _thought_length(view, tokens) == view.max_turn_tokens:
        return Utterance(tokens, ending=Ending.TOO_LONG)
    return Utterance((*tokens, view.vocabulary.eos_id))


def _thought_length(view: View, tokens: tuple[int, ...]) -> int:
    """Return how many tokens the thought at the head of a turn takes, those around it included; an open one: all."""
    opening, closing = view.vocabulary.think_ids or (None, None)
    if not tokens or tokens[0] != opening:
        return 0
    return tokens.index(closing) + 1 if closing in tokens else len(tokens)


def _hint(view: View, num_legal: int) -> str:
    return f"You may say up to {view.max_turn_tokens} of {num_legal} words; '?' lists them, 'quit' leaves."
