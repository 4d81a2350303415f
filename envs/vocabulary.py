"""Vocabularies: which token ids exist, which may be said, and how a player's view is laid out in tokens."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Tokens = tuple[int, ...]

PAD, BOS, EOS, PLAYER_0, PLAYER_1, GAME, THINK, END_THINK = range(8)
SPECIAL_TOKENS = ("<pad>", "<bos>", "<eos>", "<player_0>", "<player_1>", "<game>", "<think>", "</think>")


class Vocabulary(Protocol):
    """The tokens of a game. Views are built by appending `begin`, `tell`, `open_turn`, tokens, `close_turn`."""

    @property
    def size(self) -> int:
        """The number V of token ids."""
        ...

    @property
    def eos_id(self) -> int:
        """The token that ends a turn."""
        ...

    @property
    def think_ids(self) -> tuple[int, int] | None:
        """The tokens that open and close a thought, or None if it has none."""
        ...

    @property
    def open_thought(self) -> Tokens | None:
        """What precedes an own turn in games with thoughts, in place of `open_turn`, where it opens the thought.

        None: a player says the first of `think_ids` itself, if it thinks.
        """
        ...

    @property
    def sayable_mask(self) -> NDArray[np.int8]:
        """1 where a player may say the token inside a turn, `<eos>` and thought tokens apart; shape (V,), read-only."""
        ...

    def encode(self, text: str) -> Tokens:
        """Return the tokens of a text."""
        ...

    def decode(self, tokens: Iterable[int]) -> str:
        """Return the text of tokens."""
        ...

    def begin(self, viewer: int) -> Tokens:
        """Return what opens every view of `viewer`."""
        ...

    def tell(self, tokens: Tokens, viewer: int) -> Tokens:
        """Return how the game's own words (briefing, announcement) stand in a view."""
        ...

    def open_turn(self, speaker: int, viewer: int) -> Tokens:
        """Return what precedes a turn of `speaker` in the view of `viewer`."""
        ...

    def close_turn(self, speaker: int, viewer: int) -> Tokens:
        """Return what follows a turn; the first token is `eos_id`."""
        ...


def checked_ids(tokens: Iterable[int], size: int) -> list[int]:
    """Return token ids as a list.

    Raises:
        ValueError: one is outside [0, size).
    """
    ids = list(tokens)
    if ids and not (min(ids) >= 0 and max(ids) < size):
        wrong = next(token for token in ids if not 0 <= token < size)
        raise ValueError(f"tokens: expected ids from 0 to {size - 1}, got {wrong}")
    return ids


class WordVocabulary:
    """A closed list of words after eight special tokens; id 0 is padding and never legal.

    >>> vocabulary = WordVocabulary("fold bet call")
    >>> vocabulary.encode("bet call")
    (9, 10)
    >>> vocabulary.decode((9, 10))
    'bet call'
    """

    eos_id = EOS
    think_ids = (THINK, END_THINK)
    open_thought = None

    def __init__(self, words: str | Sequence[str]) -> None:
        """Take the words, in order, as a sequence or as one string separated by blanks.

        Raises:
            ValueError: no word, a repeated word, a word with a blank in it, or the name of a special token.
        """
        words = tuple(words.split()) if isinstance(words, str) else tuple(words)
        repeated = sorted(word for word, times in Counter(words).items() if times > 1)
        unusable = [word for word in words if not word or word.split() != [word] or word in SPECIAL_TOKENS]
        if not words or repeated or unusable:
            raise ValueError(
                "words: expected at least one word, each once, without blanks and not a special token; "
                f"got {len(words)} words, repeated {repeated[:5]}, unusable {unusable[:5]}"
            )
        self.words = words
        self._texts = (*SPECIAL_TOKENS, *words)
        self._ids = {text: token for token, text in enumerate(self._texts)}

    @classmethod
    def from_file(cls, path: str | Path) -> WordVocabulary:
        """Read words separated by white space from a UTF-8 file, with a byte-order mark or without.

        Raises:
            ValueError: the file cannot be read or holds no usable word list.
        """
        try:
            text = Path(path).read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            raise ValueError(f"word list {path}: expected a readable UTF-8 text file, got {error}") from error
        try:
            return cls(text)
        except ValueError as error:
            raise ValueError(f"word list {path}: {error}") from error

    @property
    def size(self) -> int:
        """The number V of token ids, special tokens included."""
        return len(self._texts)

    @cached_property
    def sayable_mask(self) -> NDArray[np.int8]:
        """1 for words, 0 for special tokens; shape (V,), read-only."""
        mask = np.ones(self.size, dtype=np.int8)
        mask[: len(SPECIAL_TOKENS)] = 0
        mask.setflags(write=False)
        return mask

    def __getstate__(self) -> dict[str, object]:
        """Leave the mask out of copies: numpy's would be writable."""
        return {name: value for name, value in self.__dict__.items() if name != "sayable_mask"}

    def encode(self, text: str) -> Tokens:
        """Return the ids of words separated by blanks.

        Raises:
            ValueError: a word is not in the vocabulary.
        """
        try:
            return tuple(self._ids[word] for word in text.split())
        except KeyError as error:
            raise ValueError(f"text: expected words of the vocabulary, got {error.args[0]!r}") from None

    def decode(self, tokens: Iterable[int]) -> str:
        """Return words and special tokens separated by blanks, padding left out.

        Raises:
            ValueError: an id is no token's.
        """
        tokens = checked_ids(tokens, self.size)
        return " ".join(self._texts[token] for token in tokens if token != PAD)

    def begin(self, viewer: int) -> Tokens:
        """Return `<bos>`."""
        return (BOS,)

    def tell(self, tokens: Tokens, viewer: int) -> Tokens:
        """Return `<game> tokens <eos>`."""
        return (GAME, *tokens, EOS)

    def open_turn(self, speaker: int, viewer: int) -> Tokens:
        """Return the token that names the speaker."""
        return (PLAYER_0 + speaker,)

    def close_turn(self, speaker: int, viewer: int) -> Tokens:
        """Return `<eos>`."""
        return (EOS,)
