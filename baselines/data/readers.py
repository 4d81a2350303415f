"""Dialogues and preference pairs from files: one entry point for each, streaming, no row lost without a word."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Generic, Literal, TypeVar, get_args

from ...envs.records import Row
from .dialogues import ASSISTANT, PreferencePair, TextDialogue, quoted
from .documents import QA, Markers, parse_text
from .messages import Record, Which, format_of, parse_alpaca, parse_conversation, parse_hh_record, parse_rewrite
from .pairs import parse_hh_pair, parse_pair
from .records import Source, read_rows

Format = Literal["auto", "messages", "alpaca", "rewrites", "hh", "pairs", "text"]
OnError = Literal["raise", "skip"]

DOCUMENT_END = "<|endoftext|>"
"""The line that ends a document of a text file, if nothing else is said."""
MAX_PROBLEMS = 5
"""How many messages about skipped rows are kept."""

T = TypeVar("T")
logger = logging.getLogger(__name__)


class Reader(Generic[T]):
    """An iterator over what the rows of a source hold. It counts, and says at the end what it skipped."""

    def __init__(
        self, rows: Iterator[Row], parse: Callable[[object], T], on_error: OnError = "raise", *, name: str = "data"
    ) -> None:
        """Take rows, asked for one at a time, the function that makes something of one, and the source's name."""
        if on_error not in get_args(OnError):
            raise ValueError(f"on_error: expected {' or '.join(get_args(OnError))}, got {on_error!r}")
        self.num_read = 0
        """Rows that became something."""
        self.num_skipped = 0
        """Rows that did not."""
        self.problems: list[str] = []
        """What was wrong with the first few of them, each with its file and line."""
        self._rows, self._parse, self._skip, self._name = rows, parse, on_error == "skip", name
        self._reported = False

    def __iter__(self) -> Reader[T]:
        return self

    def __next__(self) -> T:
        """Return what the next usable row holds.

        Raises:
            ValueError: a row is unusable and `on_error` is "raise"; or no row of the source was usable.
        """
        for row in self._rows:
            try:
                if row.problem is not None:
                    raise ValueError(row.problem)
                value = self._parse(row.value)
            except (ValueError, RecursionError) as error:
                self._note(f"{row.where}: {error}", error)
                continue
            self.num_read += 1
            return value
        self.report()
        if not self.num_read:
            raise ValueError(f"{self._name}: expected at least one usable row, got {self.num_skipped} unusable ones")
        raise StopIteration

    def report(self) -> None:
        """Log what was skipped so far, once; the end of the source does, and whoever stops before it may."""
        if self.num_skipped and not self._reported:
            more = self.num_skipped - len(self.problems)
            listed = "\n  ".join([*self.problems, *([f"and {more} more"] if more else [])])
            logger.warning("skipped %d of %d rows:\n  %s", self.num_skipped, self.num_skipped + self.num_read, listed)
        self._reported = True

    def _note(self, problem: str, error: Exception) -> None:
        if not self._skip:
            raise ValueError(problem) from error
        self.num_skipped += 1
        if len(self.problems) < MAX_PROBLEMS:
            self.problems.append(problem)


def read_dialogues(
    source: Source,
    *,
    format: Format = "auto",
    on_error: OnError = "raise",
    which: Which = "chosen",
    markers: Markers = QA,
    document_end: str | None = DOCUMENT_END,
) -> Reader[TextDialogue]:
    """Return an iterator over the dialogues of a source, in constant memory.

    Args:
        source: a file (.jsonl, .ndjson, .json, .parquet, .txt; .gz after it), a folder of them or of `datasets`, or
            records, such as a Hugging Face dataset. A column `text` of documents is read by format "text".
        format: how a row is read; "auto" tells it from each record's keys, and takes a .txt file as documents.
        on_error: whether an unusable row raises, with its file and line, or is skipped and counted.
        which: the side that is read of preference pairs.
        markers: who speaks in documents.
        document_end: the line that ends a document in a .txt file; None: a file is one document.

    Raises:
        ValueError: there is no such source, or an unknown format; on iteration, see `Reader`.
    """
    _check_format(format, get_args(Format))
    parse = partial(_dialogue, format=format, which=which, markers=markers)
    return Reader(read_rows(source, document_end=document_end), parse, on_error, name=_name(source))


def read_pairs(
    source: Source,
    *,
    format: Literal["auto", "hh", "pairs"] = "auto",
    on_error: OnError = "raise",
) -> Reader[PreferencePair]:
    """Return an iterator over the preference pairs of a source: transcripts of hh-rlhf, or `chosen` and `rejected`.

    Args:
        source: as in `read_dialogues`.
        format: how a record is read; "auto" tells it from its keys.
        on_error: as in `read_dialogues`.

    Raises:
        ValueError: as in `read_dialogues`; a row is unusable, too, whose replies are not the assistant's.
    """
    _check_format(format, ("auto", "hh", "pairs"))
    return Reader(read_rows(source), partial(_pair, format=format), on_error, name=_name(source))


def _dialogue(value: object, *, format: Format, which: Which, markers: Markers) -> TextDialogue:
    if isinstance(value, str) and format in ("auto", "text"):
        return parse_text(value, markers.for_text(value), exact=False)
    record = _record(value)
    kind = format_of(record) if format == "auto" else format
    if kind == "text":
        return _dialogue(record.get("text"), format="text", which=which, markers=markers)
    if kind == "messages":
        return parse_conversation(record)
    if kind == "alpaca":
        return parse_alpaca(record)
    if kind == "rewrites":
        return parse_rewrite(record)
    if kind == "hh":
        return parse_hh_record(record, which)
    pair = parse_pair(record)
    return pair.dialogues[0 if which == "chosen" else 1]


def _pair(value: object, *, format: str) -> PreferencePair:
    record = _record(value)
    pair = parse_hh_pair(record) if format == "hh" else parse_pair(record)
    if pair.chosen.player != ASSISTANT:
        raise ValueError("pair: expected replies of the assistant's, got the user's: the wrong role ends both sides")
    return pair


def _record(value: object) -> Record:
    if not isinstance(value, Mapping):
        raise ValueError(f"record: expected an object, got {quoted(repr(value))}")
    return value


def _name(source: Source) -> str:
    return str(source) if isinstance(source, (str, Path)) else "data"


def _check_format(name: str, known: tuple[str, ...]) -> None:
    if name not in known:
        raise ValueError(f"format: expected one of {', '.join(known)}, got {name!r}")
