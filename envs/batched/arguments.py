"""What callers hand to the batched engine: taken as arrays and numbers that it can trust, or refused by name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..engine.turn import array_of
from ..game import DealT, Ending, LanguageGame
from .rules import ENDINGS
from .tables import Numbers

MAX_BYTES = 64 * 2**30
"""The most memory that the views and masks of all episodes may take: more is a slip of the keyboard."""


def check_size(game: LanguageGame[DealT], num_episodes: int) -> None:
    """Raise ValueError if the views and masks of so many episodes take more than `MAX_BYTES`."""
    length = game.max_view_tokens
    num_bytes = num_episodes * (2 * 8 * length + game.vocabulary.size)
    if num_bytes > MAX_BYTES:
        raise ValueError(
            f"num_episodes: expected views and masks of at most {MAX_BYTES / 2**30:g} GiB, "
            f"got {num_bytes / 2**30:,.0f} GiB for {num_episodes:,} episodes of up to {length:,} tokens"
        )


def check_episode(episode: object, num_episodes: int) -> None:
    """Raise TypeError unless this is an integer, IndexError unless an episode has this number."""
    if isinstance(episode, bool) or not isinstance(episode, int | np.integer):
        raise TypeError(f"episode: expected an integer, got {episode!r}")
    if not 0 <= episode < num_episodes:
        raise IndexError(f"episode: expected a number in [0, {num_episodes}), got {episode}")


def rows_of(episodes: ArrayLike | None, num_episodes: int) -> Numbers:
    """Return the numbers of episodes that are given by number, by a mask or, all of them, by None."""
    if episodes is None:
        return np.arange(num_episodes)
    rows, named = array_of(episodes, "episodes"), np.zeros(num_episodes, dtype=bool)
    rows = np.flatnonzero(rows) if rows.dtype == bool and rows.shape == named.shape else rows
    proper = rows.ndim == 1 and (not rows.size or np.issubdtype(rows.dtype, np.integer))
    proper = proper and (not rows.size or bool(rows.min() >= 0 and rows.max() < num_episodes))
    rows = rows.astype(np.int64) if proper else np.zeros(1, dtype=np.int64)
    named[rows] = True
    if not proper or np.count_nonzero(named) < len(rows):
        raise ValueError(
            f"episodes: expected different numbers in [0, {num_episodes}) or a mask of that length, got {episodes!r}"
        )
    return rows


def token_ids(tokens: ArrayLike, size: int) -> Numbers:
    """Return token ids of a vocabulary of this size in an array that lies in one piece."""
    ids = array_of(tokens, "tokens")
    if not (np.issubdtype(ids.dtype, np.integer) or ids.size == 0):
        raise TypeError(f"tokens: expected integers, got an array of {ids.dtype}")
    if ids.size and (ids.min() < 0 or ids.max() >= size):
        raise ValueError(f"tokens: expected ids in [0, {size}), got {ids.min()} to {ids.max()}")
    return np.ascontiguousarray(ids, dtype=np.int64)


def check_turns(tokens: Numbers, lengths: NDArray[Any], num_rows: int) -> None:
    """Raise unless these are utterances (n, T) and their lengths (n,), one for each of so many episodes."""
    if tokens.ndim != 2 or len(tokens) != num_rows or lengths.shape != (num_rows,):
        raise ValueError(
            f"tokens, lengths: expected shapes ({num_rows}, T) and ({num_rows},) for {num_rows} episodes, "
            f"got {tokens.shape} and {lengths.shape}"
        )
    if lengths.size and not np.issubdtype(lengths.dtype, np.integer):
        raise TypeError(f"lengths: expected integers, got an array of {lengths.dtype}")
    if ((lengths < 0) | (lengths > tokens.shape[1])).any():
        raise ValueError(f"lengths: expected numbers in [0, {tokens.shape[1]}], got {lengths}")


def forfeits_of(endings: Sequence[Ending] | None, num_rows: int) -> Numbers:
    """Return which of `ENDINGS` each utterance has where that forfeits, else 0; (n,)."""
    forfeits = np.zeros(num_rows, dtype=np.int64)
    if endings is None:
        return forfeits
    if len(endings) != num_rows:
        raise ValueError(f"endings: expected {num_rows}, one for each episode, got {len(endings)}")
    if not all(isinstance(ending, Ending) for ending in endings):
        raise TypeError(f"endings: expected values of Ending, got {endings!r}")
    forfeits[:] = [ENDINGS.index(ending) if ending.forfeits else 0 for ending in endings]
    return forfeits


def read_only(array: NDArray[Any]) -> NDArray[Any]:
    """Return the same memory as an array that cannot be written to."""
    view = array.view()
    view.flags.writeable = False
    return view
