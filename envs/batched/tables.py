"""Arrays that grow, and a hash table that is asked for many keys at once: what the batched engine remembers in."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

GOLDEN = np.uint64(0x9E3779B97F4A7C15)
"""2^64 over the golden ratio: multiplied by it, keys spread over the high bits (Knuth, TAOCP 3, section 6.4)."""
SMALLEST = 64

Numbers: TypeAlias = NDArray[np.int64]
Keys: TypeAlias = NDArray[np.uint64]


@lru_cache(maxsize=64)
def hash_weights(width: int) -> Keys:
    """Return fixed odd weights; sums of numbers times these, modulo 2^64, are hashes of rows."""
    return np.random.default_rng(0).integers(2**64, size=width, dtype=np.uint64) | np.uint64(1)


class Column:
    """An array that grows along its first axis by doubling."""

    def __init__(self, dtype: Any, *shape: int) -> None:
        """Start without rows; `shape` is that of one row."""
        self._rows: NDArray[Any] = np.zeros((SMALLEST, *shape), dtype=dtype)
        self._num_rows = 0

    def __len__(self) -> int:
        """Return the number of rows."""
        return self._num_rows

    @property
    def rows(self) -> NDArray[Any]:
        """The rows so far, to be read or written in place; not for keeping, as growth moves them."""
        return self._rows[: self._num_rows]

    def extend(self, rows: Any) -> None:
        """Add rows."""
        num_rows = self._num_rows + len(rows)
        if num_rows > len(self._rows):
            more = np.zeros(
                (max(num_rows, 2 * len(self._rows)) - len(self._rows), *self._rows.shape[1:]), self._rows.dtype
            )
            self._rows = np.concatenate([self._rows, more])
        self._rows[self._num_rows : num_rows] = rows
        self._num_rows = num_rows

    def cut(self, num_rows: int) -> None:
        """Forget all rows but the first `num_rows`."""
        self._num_rows = num_rows

    def keep(self, kept: Numbers) -> None:
        """Forget all rows but these, which take the first places in this order."""
        rows = self._rows[kept]
        self._rows = np.zeros((max(SMALLEST, len(kept)), *rows.shape[1:]), dtype=rows.dtype)
        self._rows[: len(kept)], self._num_rows = rows, len(kept)

    def widen(self, width: int) -> None:
        """Make the last axis `width` long; the new places hold 0."""
        wider = np.zeros((*self._rows.shape[:-1], width), dtype=self._rows.dtype)
        wider[..., : self._rows.shape[-1]] = self._rows
        self._rows = wider


class HashTable:
    """Numbers by 64-bit keys other than 0; open addressing, so that a batch of keys costs a few array operations.

    >>> table = HashTable()
    >>> table.add(np.array([7, 9], dtype=np.uint64), np.array([3, 4]))
    >>> table.find(np.array([9, 7, 8], dtype=np.uint64)).tolist()
    [4, 3, -1]
    """

    def __init__(self) -> None:
        """Start empty."""
        self._clear(SMALLEST)

    def find(self, keys: Keys) -> Numbers:
        """Return the number of each key, -1 where it has none; shape (n,)."""
        places = self._home(keys)
        found = self._keys[places]
        numbers = np.where(found == keys, self._numbers[places], -1)
        rows = np.flatnonzero((found != keys) & (found != 0))
        while rows.size:  # another key sits at home: look next door
            places[rows] = (places[rows] + 1) & self._last
            found = self._keys[places[rows]]
            here = found == keys[rows]
            numbers[rows[here]] = self._numbers[places[rows[here]]]
            rows = rows[~here & (found != 0)]
        return numbers

    def add(self, keys: Keys, numbers: Numbers) -> None:
        """Remember the numbers of keys; one that has a number keeps it."""
        keys, first = np.unique(keys, return_index=True)
        if 2 * (self._size + len(keys)) > len(self._keys):
            taken = np.flatnonzero(self._keys)
            old, old_numbers = self._keys[taken], self._numbers[taken]
            self._clear(1 << (4 * (self._size + len(keys)) - 1).bit_length())
            self._settle(old, old_numbers)
        self._settle(keys, numbers[first])

    def _settle(self, keys: Keys, numbers: Numbers) -> None:
        """Find places for different keys."""
        places = self._home(keys)
        while keys.size:  # of those that want one free place, one gets it; the others look next door
            free = self._keys[places] == 0
            self._keys[places[free]] = keys[free]
            here = self._keys[places] == keys
            new = here & free
            self._numbers[places[new]] = numbers[new]
            self._size += int(np.count_nonzero(new))
            keys, numbers, places = keys[~here], numbers[~here], (places[~here] + 1) & self._last

    def _clear(self, num_places: int) -> None:
        self._keys = np.zeros(num_places, dtype=np.uint64)
        self._numbers = np.zeros(num_places, dtype=np.int64)
        self._size, self._last = 0, num_places - 1
        self._shift = np.uint64(64 - self._last.bit_length())

    def _home(self, keys: Keys) -> Numbers:
        places: Numbers = ((keys * GOLDEN) >> self._shift).astype(np.int64)
        return places
