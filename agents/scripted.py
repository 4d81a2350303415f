"""Agents that say what they were told to say: for tests, baselines, and opponents with a known policy."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ..envs import Tokens
from .agent import Utterance, View, utter


class ScriptedAgent:
    """Says given texts in order, beginning again after the last; each episode starts with the first.

    It counts its own turns in the view and keeps no memory, so that one agent can speak in many episodes.

    >>> from duologue.envs import Episode, make_game, speak_all
    >>> episode = Episode(make_game("bluff-v0"), "ace")
    >>> speak_all([episode], ScriptedAgent(["fold"]).speak([episode.view()], np.random.default_rng(0)))
    >>> episode.returns
    [-1.0, 1.0]
    """

    def __init__(self, texts: Sequence[str]) -> None:
        """Take at least one text; each is encoded by the vocabulary of the view when it is said."""
        if isinstance(texts, str) or not texts:
            raise ValueError(f"texts: expected a sequence of at least one text, got {texts!r}")
        if not all(isinstance(text, str) for text in texts):
            raise TypeError(f"texts: expected a sequence of texts, got {texts!r}")
        self.texts = tuple(texts)

    def speak(self, views: Sequence[View], rng: np.random.Generator) -> list[Utterance]:
        """Return the next text for each view."""
        return [utter(view, view.vocabulary.encode(self._next_text(view))) for view in views]

    def _next_text(self, view: View) -> str:
        num_own_turns = sum(message.speaker == view.player for message in view.messages)
        return self.texts[num_own_turns % len(self.texts)]


class FunctionAgent:
    """Speaks as a function of the view does; `utter` turns words into what the function returns.

    >>> agent = FunctionAgent(lambda view, rng: utter(view, view.vocabulary.encode("fold")))
    """

    def __init__(self, function: Callable[[View, np.random.Generator], Utterance]) -> None:
        """Take the function that says one turn; it draws with the generator that it is given."""
        if not callable(function):
            raise TypeError(f"function: expected one of a view and a generator, got {function!r}")
        self.function = function

    def speak(self, views: Sequence[View], rng: np.random.Generator) -> list[Utterance]:
        """Return the function's utterance for each view."""
        return [self.function(view, rng) for view in views]


class EchoAgent:
    """Says the last thing that the game told it, such as the request that it was briefed with; else nothing.

    Seated as player 0 it turns a set of prompts, dealt as briefings, into the fixed prompts of RLHF.

    Args:
        skip: How many tokens precede the request in a briefing, such as examples.
        request_in: What finds the request in the rest, such as `RedTeamGame.request_in`; None: it is the rest.
    """

    def __init__(self, *, skip: int = 0, request_in: Callable[[Tokens], Tokens] | None = None) -> None:
        if not isinstance(skip, int) or skip < 0:
            raise ValueError(f"skip: expected a whole number of at least 0, got {skip!r}")
        self.skip, self._request_in = skip, request_in

    def speak(self, views: Sequence[View], rng: np.random.Generator) -> list[Utterance]:
        """Return the game's last words to each view's player."""
        return [utter(view, self._request(view)) for view in views]

    def _request(self, view: View) -> tuple[int, ...]:
        """Return what follows the skipped tokens, or the request in it."""
        told = self._last_told(view)[self.skip :]
        return told if self._request_in is None else self._request_in(told)

    def _last_told(self, view: View) -> tuple[int, ...]:
        told = (message.tokens for message in reversed(view.messages) if message.speaker is None)
        return next(told, ())
