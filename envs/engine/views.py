"""What passes between the engine and whoever speaks: views in, utterances out."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, TypedDict

import numpy as np
from numpy.typing import NDArray

from ..game import DealT, Dialogue, Ending, LanguageGame, Turn
from ..vocabulary import Tokens, Vocabulary


class Message(NamedTuple):
    """One thing that a player has been told or has said."""

    speaker: int | None
    """0 or 1; None: the game itself (a briefing or an announcement)."""
    tokens: Tokens


@dataclass(frozen=True, slots=True)
class View:
    """All that a player knows when it is to speak: nothing else reaches an agent."""

    player: int
    tokens: NDArray[np.int64]
    """What the player has been told and said, laid out by the vocabulary, its own open turn last; shape (n,)."""
    messages: tuple[Message, ...]
    """The same, piece by piece, for whoever reads text rather than tokens."""
    vocabulary: Vocabulary
    max_turn_tokens: int
    """How many tokens this turn may have, `<eos>` and thought apart."""
    legal_mask: Callable[[Tokens], NDArray[np.int8]]
    """`legal_mask(prefix)`: 1 where a token may follow `prefix` in this turn, thought included; all 0 once the turn is
    over; shape (V,), read-only, as other episodes share it."""
    legal_tokens: Callable[[Tokens], NDArray[np.int64] | None]
    """The same as ascending ids, none once the turn is over; None: every sayable token and `<eos>`."""
    unrestricted: bool
    """Whether every sayable token and `<eos>` are legal throughout, so that one mask serves all prefixes."""


@dataclass(frozen=True, slots=True)
class Utterance:
    """What an agent says in one turn, and why it stopped."""

    tokens: Tokens
    """All sampled tokens: thought with its delimiters, words, and `<eos>` if it was said."""
    logprobs: tuple[float, ...] | None = None
    """Their log-probabilities under the agent's own sampling distribution, in nats."""
    ending: Ending = Ending.END_OF_TURN


def check_utterances(utterances: object, num_views: int) -> None:
    """Raise unless these are utterances, one for each of so many views, in a form that can be said.

    Whether their tokens are ids of the vocabulary, and legal, the open turn finds out.

    Raises:
        TypeError: they are no sequence, or one of them is no `Utterance` or has parts of another type.
        ValueError: there are more or fewer of them, or logprobs are not one finite number for each token.
    """
    if not isinstance(utterances, Sequence) or isinstance(utterances, str):
        raise TypeError(f"utterances: expected a list of {num_views}, one for each view, got {utterances!r}")
    if len(utterances) != num_views:
        raise ValueError(f"utterances: expected {num_views}, one for each view, got {len(utterances)}")
    for utterance in utterances:
        check_utterance(utterance)


def check_utterance(utterance: object) -> None:
    """Raise unless this is an utterance in a form that can be said; see `check_utterances`."""
    if not isinstance(utterance, Utterance):
        raise TypeError(f"utterance: expected an Utterance, got {utterance!r}")
    if not isinstance(utterance.tokens, Sequence | np.ndarray):
        raise TypeError(f"utterance: expected a tuple of token ids, got tokens={utterance.tokens!r}")
    if not isinstance(utterance.ending, Ending):
        raise TypeError(f"utterance: expected a value of Ending, got ending={utterance.ending!r}")
    if utterance.logprobs is not None:
        _check_logprobs(utterance.logprobs, len(utterance.tokens))


def _check_logprobs(logprobs: Sequence[float], num_tokens: int) -> None:
    try:
        proper = len(logprobs) == num_tokens and math.isfinite(math.fsum(logprobs))
    except (TypeError, ValueError, OverflowError):  # no numbers; inf - inf; a sum beyond the largest number
        proper = False
    if not proper:
        raise ValueError(
            f"utterance: expected one finite logprob for each of its {num_tokens} tokens, or None, got {logprobs!r}"
        )


def utterance_of(game: LanguageGame[DealT], dialogue: Dialogue[DealT], turn: Turn) -> Utterance:
    """Return how the turn after `dialogue` is said: its thought, its tokens, and `<eos>` where it is not cut off."""
    speaker = game.next_player(dialogue) if turn.player is None else turn.player
    vocabulary = game.vocabularies[speaker or 0]
    opening, closing = vocabulary.think_ids or (-1, -1)
    thought = (opening, *turn.thought, closing) if turn.thought else ()
    if game.max_thought_tokens and vocabulary.open_thought is not None:
        thought = (*turn.thought, closing)
    if len(turn.tokens) == game.turn_limit(dialogue):
        return Utterance((*thought, *turn.tokens), ending=Ending.TOO_LONG)
    return Utterance((*thought, *turn.tokens, vocabulary.eos_id))


class Observation(TypedDict):
    """What an agent observes in the AEC form: its view's tokens, padded with 0, and which tokens it may say now."""

    observation: NDArray[np.int64]
    action_mask: NDArray[np.int8]


class Choice(NamedTuple):
    """Where a player has more than one legal token: the same without what is long and mostly 0."""

    tokens: Tokens
    """All that it has been told and has said; (T,)."""
    legal: NDArray[np.int64]
    """What it may say now, ascending ids; (n,)."""


class Speaker(Protocol):
    """Anything that speaks for a batch of views; every agent is one."""

    def speak(self, views: Sequence[View], rng: np.random.Generator) -> list[Utterance]:
        """Return one utterance for each view, in order."""
        ...


class RandomAgent:
    """Says legal tokens uniformly at random until it hits `<eos>` or the length limit."""

    def speak(self, views: Sequence[View], rng: np.random.Generator) -> list[Utterance]:
        """Return one utterance for each view, with the logprobs of its tokens."""
        return [self._utter(view, rng) for view in views]

    def act(self, observation: Observation, rng: np.random.Generator) -> int:
        """Return one legal token for an AEC observation."""
        return int(rng.choice(np.flatnonzero(observation["action_mask"])))

    def token_probabilities(self, observations: Sequence[Observation]) -> NDArray[np.float64]:
        """Return the distribution of its next token at each observation: every legal token alike; shape (N, V)."""
        masks = np.array([observation["action_mask"] for observation in observations], dtype=np.float64)
        return masks / masks.sum(-1, keepdims=True) if len(masks) else masks

    def choice_probabilities(self, choices: Sequence[Choice]) -> list[NDArray[np.float64]]:
        """Return the same for the legal tokens alone, (n,) each."""
        return [np.full(len(choice.legal), 1 / len(choice.legal)) for choice in choices]

    def _utter(self, view: View, rng: np.random.Generator) -> Utterance:
        tokens: Tokens = ()
        logprobs: list[float] = []
        while (legal := np.flatnonzero(view.legal_mask(tokens))).size:
            tokens = (*tokens, int(rng.choice(legal)))
            logprobs.append(-float(np.log(legal.size)))
        ending = Ending.END_OF_TURN if tokens[-1] == view.vocabulary.eos_id else Ending.TOO_LONG
        return Utterance(tokens, tuple(logprobs), ending)
