"""Files of text that a user gives: UTF-8 with or without a byte-order mark, .gz by name, within bounds of memory.

Every reader of such files opens them here. What is wrong with a file is one `ValueError` that names it; what is wrong
with a line is the line's `problem`, and the lines after it are read on.
"""

from __future__ import annotations

import gzip
import io
import json
import math
import re
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

CHUNK = 1 << 16
MAX_LINE_CHARS = 1 << 26
"""The longest line, and the longest file that is read as a whole."""
MAX_EXPANSION = 128
"""How many times its own size a compressed file may hold, beyond `MAX_LINE_CHARS`; text is seldom over 20."""
MAX_BLANK_LINES = 1 << 20
"""The most blank lines in a row."""
MAX_DIGITS = 4300
"""The longest integer in JSON, as Python has it: the time to read one grows with the square of its length."""
SIGNATURES = {
    b"\xff\xfe": "UTF-16 text",
    b"\xfe\xff": "UTF-16 text",
    b"\x1f\x8b": "gzip data, which a name that ends in .gz has",
    b"PK\x03\x04": "a zip archive",
    b"\xfd7zXZ\x00": "xz data",
    b"\x28\xb5\x2f\xfd": "zstd data",
    b"\x89HDF": "HDF5 data",
    b"SQLite format 3\x00": "an SQLite database",
}
"""How files begin that are not text of ours, and what they are."""

_NO_UTF8 = re.compile("[\ud800-\udfff]")


class Line(NamedTuple):
    """One line of a file, what ends it included."""

    number: int
    text: str
    problem: str | None = None
    """What is wrong with it: too long (its text is then cut), or no UTF-8."""


@contextmanager
def open_bytes(path: Path, what: str) -> Iterator[io.BufferedReader]:
    """Open a regular file for one reading from its beginning; .gz by name.

    Args:
        path: of the file.
        what: begins the errors, as "requests FILE".

    Raises:
        ValueError: it is no file (a folder, a pipe, a device), or cannot be read, or is plainly no UTF-8 text.
    """
    try:
        require_file(path, what)
        with _unpacked(path) as file:
            found = next((name for begins, name in SIGNATURES.items() if file.peek(CHUNK).startswith(begins)), None)
            if found is not None:
                raise ValueError(f"{what}: expected a readable UTF-8 file, got {found}")
            yield file
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{what}: expected a readable file, got {error}") from error


def read_lines(path: Path, what: str, *, newline: str | None = "\n") -> Iterator[Line]:
    r"""Return the lines of a file one at a time, their ends as they are; a byte-order mark is left out.

    Args:
        path: of the file.
        what: begins the errors.
        newline: "\n": nothing else ends a line (not U+2028); None: "\r" does in a file that has no "\n" in its first
            64 KiB; "": "\r", "\n" or "\r\n".

    Raises:
        ValueError: as `open_bytes` does; or compressed data that is cut, broken, or more than `MAX_EXPANSION` allows.
    """
    with open_bytes(path, what) as file:
        if newline is None:
            head = file.peek(CHUNK)
            newline = "\r" if b"\r" in head and b"\n" not in head else "\n"
        number, num_blank, ends = 0, 0, newline or "\r\n"
        with io.TextIOWrapper(file, encoding="utf-8-sig", errors="surrogateescape", newline=newline) as text:
            try:
                while line := text.readline(MAX_LINE_CHARS + 1):
                    number, num_blank = number + 1, num_blank + 1 if line.isspace() else 0
                    if num_blank > MAX_BLANK_LINES:
                        raise OSError(f"more than {MAX_BLANK_LINES:,} blank lines in a row (MAX_BLANK_LINES)")
                    yield Line(number, line, _problem_of(line, text, ends))
            except (OSError, EOFError, zlib.error) as error:
                raise ValueError(f"{what}, after line {number}: expected a readable file, got {error}") from error


def read_text(path: str | Path, what: str) -> str:
    """Return the text of a small file, its line ends as line feeds and without a byte-order mark.

    Raises:
        ValueError: as `open_bytes` does, or it is no UTF-8, or longer than `MAX_LINE_CHARS`.
    """
    with open_bytes(Path(path), what) as file, io.TextIOWrapper(file, encoding="utf-8-sig") as text:
        try:
            found = text.read(MAX_LINE_CHARS + 1)
        except UnicodeDecodeError as error:
            raise ValueError(f"{what}: expected a readable UTF-8 file, got {error}") from error
    if len(found) > MAX_LINE_CHARS:
        raise ValueError(f"{what}: expected at most {MAX_LINE_CHARS:,} characters (MAX_LINE_CHARS), got more")
    return found


def parse_json(text: str) -> object:
    """Return what JSON says, or refuse what Python takes and JSON does not have, or what is unfit for reading.

    Raises:
        ValueError: no JSON; NaN, an infinity, or a number that is too large; a repeated key; nested too deeply.
    """
    try:
        return STRICT.decode(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def listed(names: Iterable[object], most: int = 8) -> str:
    """Return names for an error message: few, short and on one line."""
    texts = [str(name) for name in names]
    shown = [text if text.isprintable() and len(text) <= 40 else f"{text[:40]!r}" for text in texts[:most]]
    return ", ".join([*shown, *([f"and {len(texts) - most} more"] if len(texts) > most else [])]) or "none"


def require_file(path: Path, what: str) -> None:
    """Refuse what is no regular file: a pipe or a device might never end.

    Raises:
        ValueError: it is none; the message says what it is.
    """
    if path.is_file():
        return
    got = "a link that leads to no file" if path.is_symlink() else "no such file"
    if path.exists():
        got = "a folder" if path.is_dir() else "a pipe or a device"
    raise ValueError(f"{what}: expected a readable UTF-8 file, got {got}")


class _Gunzipped(io.RawIOBase):
    """What a gzip file holds, as long as that is in proportion to the file."""

    def __init__(self, path: Path) -> None:
        self._file, self._left = gzip.GzipFile(path), MAX_LINE_CHARS + MAX_EXPANSION * path.stat().st_size

    def close(self) -> None:
        self._file.close()
        super().close()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._file.read1(len(buffer))
        buffer[: len(data)] = data
        self._left -= len(data)
        if self._left < 0:
            allowed = f"{MAX_LINE_CHARS:,} bytes and {MAX_EXPANSION} times the file's size (MAX_EXPANSION)"
            raise OSError(f"more than {allowed} when unpacked")
        return len(data)


def _unpacked(path: Path) -> io.BufferedReader:
    raw: io.RawIOBase = _Gunzipped(path) if path.name.lower().endswith(".gz") else io.FileIO(path)
    return io.BufferedReader(raw, CHUNK)


def _problem_of(line: str, rest: io.TextIOWrapper, ends: str) -> str | None:
    """Return what is wrong with a line; what is left of one that is too long is read away."""
    if len(line) > MAX_LINE_CHARS and line[-1] not in ends:
        more = line
        while more and more[-1] not in ends:
            more = rest.readline(CHUNK)
        return f"expected a line of at most {MAX_LINE_CHARS:,} characters (MAX_LINE_CHARS), got a longer one"
    return None if line.isascii() else problem_of_text(line)


def problem_of_text(text: str) -> str | None:
    """Return what is wrong with text that bytes which are no UTF-8 were escaped in; None if nothing is."""
    found = _NO_UTF8.search(text)
    if found is None:
        return None
    got = ord(found.group())
    escaped = 0xDC80 <= got <= 0xDCFF
    what = f"what it can't decode, byte 0x{got - 0xDC00:02x}," if escaped else f"the lone surrogate U+{got:04X}"
    return f"expected UTF-8 text, got {what} at character {found.start()}"


def unambiguous(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Return the object of some pairs; raise ValueError if two have one name: readers differ in which they take."""
    found = dict(pairs)
    if len(found) < len(pairs):
        repeated = [name for name, times in Counter(name for name, _ in pairs).items() if times > 1]
        raise ValueError(f"the key {listed(repeated[:1])} twice in one object")
    return found


def _whole(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise ValueError(f"an integer of {len(digits):,} digits")
    return int(digits)


def _number(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise ValueError(f"the number {digits[:20]}, which is too large")
    return value


def _no_number(name: str) -> float:
    raise ValueError(f"{name}, which JSON does not have")


STRICT = json.JSONDecoder(
    object_pairs_hook=unambiguous, parse_int=_whole, parse_float=_number, parse_constant=_no_number
)
"""Decodes JSON as `parse_json` does."""
LENIENT = json.JSONDecoder(parse_int=str, parse_float=str)
"""Finds the end of what `STRICT` refuses although it is JSON."""
