"""Labelled exchanges, by which judges are fitted and measured: a prompt, a reply, and whether the reply is unsafe.

A record has `prompt`, `reply` and `unsafe`, and `harmful` where the prompt has a label of its own; other keys, as those
of `duologue evaluate`'s transcripts, are left alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...envs.games.red_team_text.requests import HARMFUL_LABELS, SAFE_LABELS
from ...envs.judging import Exchange
from ...envs.text_files import listed
from ...envs.vocabulary import Tokens, checked_ids
from .dialogues import quoted
from .export import json_line, write_texts
from .readers import OnError, Reader
from .records import Source, read_rows


@dataclass(frozen=True, slots=True)
class LabelledExchange:
    """One exchange and what is known of it."""

    prompt: str
    reply: str
    unsafe: bool
    """Whether the reply gives harm: the truth that a judge is held against."""
    harmful: bool | None = None
    """Whether the prompt asks for harm; None: nobody said."""


class CharacterVocabulary:
    """Texts as they are, a token for each character: for exchanges that no game has dealt.

    >>> CharacterVocabulary().decode(CharacterVocabulary().encode("na\u00efve"))
    'na\u00efve'
    """

    size, eos_id, think_ids, open_thought = 0x110000, 0, None, None

    @cached_property
    def sayable_mask(self) -> NDArray[np.int8]:
        """1 for every character but the one that ends a turn."""
        mask = np.ones(self.size, dtype=np.int8)
        mask[self.eos_id] = 0
        mask.flags.writeable = False
        return mask

    def encode(self, text: str) -> Tokens:
        """Return the code points of a text."""
        return tuple(map(ord, text))

    def decode(self, tokens: Iterable[int]) -> str:
        """Return the text of code points."""
        return "".join(map(chr, checked_ids(tokens, self.size)))

    def begin(self, viewer: int) -> Tokens:
        """Return nothing: no view opens with a character."""
        return ()

    def tell(self, tokens: Tokens, viewer: int) -> Tokens:
        """Return what is told, as it is."""
        return tokens

    def open_turn(self, speaker: int, viewer: int) -> Tokens:
        """Return nothing."""
        return ()

    def close_turn(self, speaker: int, viewer: int) -> Tokens:
        """Return the character that ends a turn."""
        return (self.eos_id,)


CHARACTERS = CharacterVocabulary()


def read_exchanges(source: Source, *, on_error: OnError = "raise") -> Reader[LabelledExchange]:
    """Return the labelled exchanges of a file or a folder (see `read_rows`), or of records at hand.

    Args:
        source: JSON lines and the like.
        on_error: whether a record that is none is fatal, or skipped and counted.

    Raises:
        ValueError: it cannot be read; from the iterator, a record is no labelled exchange.
    """
    name = str(source) if isinstance(source, str | Path) else "exchanges"
    return Reader(read_rows(source), parse_exchange, on_error, name=name)


def parse_exchange(record: object) -> LabelledExchange:
    """Return the labelled exchange of a record.

    Raises:
        ValueError: a text or the label is missing, or is of another kind.
    """
    if not isinstance(record, Mapping) or not {"prompt", "reply", "unsafe"} <= record.keys():
        found = listed(map(str, record)) if isinstance(record, Mapping) else quoted(str(record))
        raise ValueError(f"exchange: expected the keys prompt, reply and unsafe, got {found}")
    prompt, reply = record["prompt"], record["reply"]
    if not (isinstance(prompt, str) and isinstance(reply, str) and prompt.strip()):
        raise ValueError(
            f"exchange: expected texts as prompt and reply, got {quoted(str(prompt))} and {quoted(str(reply))}"
        )
    unsafe = _label("unsafe", record["unsafe"])
    if unsafe is None:
        raise ValueError("unsafe: expected a label, got none")
    return LabelledExchange(prompt, reply, unsafe, _label("harmful", record.get("harmful")))


def write_exchanges(path: Path, exchanges: Iterable[LabelledExchange]) -> int:
    """Write JSON lines that `read_exchanges` reads, whole or not at all; return how many."""
    return write_texts(path, (json_line(asdict(one)) for one in exchanges))


def as_judged(exchanges: Sequence[LabelledExchange]) -> list[Exchange]:
    """Return exchanges as a judge is handed them, the prompt being its own seed."""
    encoded = [(CHARACTERS.encode(one.prompt), CHARACTERS.encode(one.reply), one.harmful) for one in exchanges]
    return [Exchange(prompt, reply, CHARACTERS, prompt, harmful) for prompt, reply, harmful in encoded]


def _label(name: str, value: object) -> bool | None:
    """Return a label as `true`, 1 or "unsafe", `false`, 0 or "safe" say it; None: there is none."""
    word = "" if value is None else str(value).strip().lower()
    if word and word not in HARMFUL_LABELS | SAFE_LABELS:
        known = ", ".join(sorted(SAFE_LABELS) + sorted(HARMFUL_LABELS))
        raise ValueError(f"{name}: expected a label among {known} or none, got {quoted(str(value))}")
    return word in HARMFUL_LABELS if word else None
