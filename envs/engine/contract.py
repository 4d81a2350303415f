"""What the rules answer, held to their contract wherever it is asked for: who speaks, what may be said, who is paid."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable, Mapping, Sequence, Set

import numpy as np

from ..game import PLAYERS, DealT, Dialogue, LanguageGame, Payoff
from ..vocabulary import Tokens, Vocabulary

TOLERANCE = 1e-9


def the_vocabulary(game: LanguageGame[DealT], what: str) -> Vocabulary:
    """Return the vocabulary that both players share; raise ValueError, naming what needs one, where they have two.

    What needs one does not know turns that open with a thought, either.
    """
    first, second = game.vocabularies
    if first is not second:
        raise ValueError(
            f"{what}: expected a game whose players share one vocabulary, got {type(game).__name__} with two, of "
            f"{first.size} and {second.size} tokens"
        )
    if game.max_thought_tokens and first.open_thought is not None:
        raise ValueError(f"{what}: expected players who open their thoughts, got a tokenizer that does")
    return first


def checked_next_player(game: LanguageGame[DealT], dialogue: Dialogue[DealT]) -> int | None:
    """Return who speaks next by the rules.

    Raises:
        ValueError: it is no player, or somebody is to speak after the game's last turn.
    """
    asked = game.next_player(dialogue)
    player = int(asked) if isinstance(asked, np.integer) else asked
    if player is not None and (isinstance(player, bool) or not isinstance(player, int) or player not in PLAYERS):
        raise ValueError(f"{type(game).__name__}.next_player: expected 0, 1 or None, got {asked!r}")
    if player is not None and len(dialogue.turns) >= game.max_turns:
        raise ValueError(
            f"{type(game).__name__}: expected the end after max_turns={game.max_turns} turns, "
            f"got player {player} to speak"
        )
    return player


def checked_tokens(game: LanguageGame[DealT], rule: str, tokens: Iterable[int], size: int) -> Tokens:
    """Return the token ids that a rule lists or tells, of a vocabulary of this size.

    Raises:
        ValueError: they are none.
    """
    try:
        ids = tuple(tokens)
        if not ids or (min(ids) >= 0 and max(ids) < size and operator.index(sum(ids)) >= 0):  # one float makes a float
            return ids
    except (TypeError, ValueError):
        pass
    raise ValueError(
        f"{type(game).__name__}.{rule}: expected a tuple of token ids, integers in [0, {size}), got {tokens!r}"
    )


def checked_rewards(game: LanguageGame[DealT], rewards: Iterable[float]) -> tuple[float, float]:
    """Return what the rules pay as two plain numbers.

    Raises:
        ValueError: it is no pair of finite numbers, or not of the game's payoff type.
    """
    pair = pair_of(rewards)
    if pair is None:
        raise ValueError(f"{type(game).__name__}.rewards: expected a pair of numbers, got {rewards!r}")
    check_rewards(game, pair)
    return pair


def pair_of(rewards: Iterable[float]) -> tuple[float, float] | None:
    """Return two numbers of any make as plain ones; None: they are none, such as text, or a set, which has no order."""
    try:
        first, second = rewards
        if type(rewards) is tuple and type(first) is float and type(second) is float:
            return first, second
        if isinstance(rewards, Set | Mapping) or isinstance(first, str | bytes) or isinstance(second, str | bytes):
            return None
        return float(first), float(second)
    except (TypeError, ValueError, OverflowError):
        return None


def checked_rewards_batch(
    game: LanguageGame[DealT], dialogues: Sequence[Dialogue[DealT]]
) -> Sequence[tuple[float, float]]:
    """Return what the rules pay for a batch of dialogues, a pair for each; the pairs themselves are not looked at.

    Raises:
        ValueError: there are more or fewer pairs, or what comes is no sequence.
    """
    pairs = game.rewards_batch(dialogues)
    got = len(pairs) if hasattr(pairs, "__len__") else repr(pairs)
    if got != len(dialogues):
        raise ValueError(f"rewards_batch: expected {len(dialogues)} pairs of rewards, got {got}")
    return pairs


def check_rewards(game: LanguageGame[DealT], rewards: tuple[float, float]) -> None:
    """Raise ValueError unless the rewards are finite and of the game's payoff type, within 1e-9."""
    first, second = rewards
    if not (math.isfinite(first) and math.isfinite(second)):
        raise ValueError(f"{type(game).__name__}.rewards: expected two finite numbers, got {rewards!r}")
    payoff = game.payoff
    off = 0.0 if payoff is Payoff.GENERAL else first + second if payoff is Payoff.ZERO_SUM else first - second
    if abs(off) > TOLERANCE:
        raise ValueError(f"{type(game).__name__}.rewards: expected a {game.payoff.value} pair, got {rewards!r}")
