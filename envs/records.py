"""Files as rows, one at a time: JSON lines, JSON arrays, tables (CSV, TSV), Parquet.

A row carries where it stands, so that whatever is wrong with it can be found. What is wrong with one row is the row's
`problem` and left to the caller; what is wrong with the file (broken compression, an array that is no JSON) raises.
"""

from __future__ import annotations

import codecs
import csv
import json
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import BinaryIO

from .extras import from_extra
from .text_files import (
    CHUNK,
    LENIENT,
    MAX_LINE_CHARS,
    STRICT,
    listed,
    open_bytes,
    parse_json,
    problem_of_text,
    read_lines,
    require_file,
)

MAX_RECORD_CHARS = MAX_LINE_CHARS
"""How much of a JSON file is searched for the end of one of its records."""
ROWS_AT_ONCE = 256
"""The rows of a Parquet file that are read together."""
LISTS = ("data", "rows", "examples", "records", "instances", "train")
"""Under which keys one JSON object holds the records of a file."""
_BLANKS = re.compile(r"[ \t\r\n]*")


@dataclass(frozen=True, slots=True)
class Row:
    """One record of a source, or one document."""

    where: str
    """The file and the line (or row), as errors give it."""
    value: object = None
    problem: str | None = None
    """What is wrong with it; there is then no value."""
    number: int = 0
    """From 1: the line in a file of lines, else the record."""


def suffix_of(path: Path) -> str:
    """Return how a file's name ends, in small letters and without .gz."""
    return Path(path.name.lower().removesuffix(".gz")).suffix


def json_rows(path: Path, what: str) -> Iterator[Row]:
    """Return the records of JSON lines, of an array, or (in a .json file) of the list in one object.

    Args:
        path: of the file; .gz by name.
        what: begins what errors and rows say.

    Raises:
        ValueError: the file cannot be read, or its array breaks off or is no JSON.
    """
    first = next((line.text.lstrip(" \t\r\n") for line in read_lines(path, what) if line.text.strip(" \t\r\n")), "")
    if first.startswith("["):
        return _array_rows(path, what)
    rows = _object_rows(path, what) if first.startswith("{") and suffix_of(path) == ".json" else None
    return _json_lines(path, what) if rows is None else iter(rows)


def _json_lines(path: Path, what: str) -> Iterator[Row]:
    for number, line, problem in read_lines(path, what, newline=None):
        if not line.strip():
            continue
        where = f"{what}, line {number}"
        try:
            if problem is not None:
                raise ValueError(problem)
            yield Row(where, parse_json(line), None, number)
        except ValueError as error:
            yield Row(where, None, f"expected a JSON object, got {_quoted(line)} ({error})", number)


class _Window:
    """A window on a file's text that grows at its end; what stands before `at` has been read."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._decoder = file, codecs.getincrementaldecoder("utf-8-sig")()
        self.text, self.at, self.ended, self.line = "", 0, False, 1

    def grow(self) -> None:
        """Read as much again as is there."""
        rest = self.text[self.at :]
        data = self._file.read(max(CHUNK, len(rest)))
        self.ended = not data
        self.text, self.at = rest + self._decoder.decode(data, final=self.ended), 0

    def skip(self, end: int) -> None:
        """Go on at `end`."""
        self.line += self.text.count("\n", self.at, end)
        self.at = end

    def skip_blanks(self) -> str:
        """Go on at the next character that is no blank, and return it; empty at the end."""
        while True:
            blanks = _BLANKS.match(self.text, self.at)
            assert blanks is not None
            self.skip(blanks.end())
            if self.at < len(self.text) or self.ended:
                return self.text[self.at : self.at + 1]
            self.grow()

    def element(self) -> tuple[object, str | None]:
        """Return the value that begins here, or what is wrong with it, and go on behind it."""
        while True:
            try:
                value, end, problem = _decoded(self.text, self.at)
            except json.JSONDecodeError as error:
                cut = error.msg.startswith("Unterminated string") or error.pos >= len(self.text) - 8
                if not cut or self.ended:
                    raise
            else:
                if end < len(self.text) or self.ended:
                    self.skip(end)
                    return value, problem
            if len(self.text) - self.at > MAX_RECORD_CHARS:
                raise ValueError(f"a record of more than {MAX_RECORD_CHARS:,} characters (MAX_RECORD_CHARS)")
            self.grow()


def _decoded(text: str, at: int) -> tuple[object, int, str | None]:
    try:
        return *STRICT.raw_decode(text, at), None
    except json.JSONDecodeError:
        raise
    except ValueError as error:  # it is JSON, so that its end can be found
        return None, LENIENT.raw_decode(text, at)[1], str(error)


def _array_rows(path: Path, what: str) -> Iterator[Row]:
    """Return the elements of a JSON array, each decoded once its last character has been read."""
    line = number = 1
    try:
        with open_bytes(path, what) as file:
            window = _Window(file)
            window.skip_blanks()
            window.skip(window.at + 1)  # the bracket
            mark = window.skip_blanks()
            while mark != "]":
                line = window.line
                value, problem = window.element()
                refused = None if problem is None else f"expected a JSON object, got {problem}"
                yield Row(f"{what}, line {line}", value, refused, number)
                number, mark, line = number + 1, window.skip_blanks(), window.line
                if mark == ",":
                    window.skip(window.at + 1)
                    window.skip_blanks()
                elif mark != "]":
                    raise ValueError(f"expected ',' or ']' between records, got {_quoted(window.text[window.at :])}")
            window.skip(window.at + 1)
            if window.skip_blanks():
                raise ValueError(f"expected nothing after the array, got {_quoted(window.text[window.at :])}")
    except (ValueError, RecursionError) as error:
        got = "one that is nested too deeply" if isinstance(error, RecursionError) else error
        raise ValueError(f"{what}, line {line}: expected a JSON array of records, got {got}") from error


def _object_rows(path: Path, what: str) -> list[Row] | None:
    """Return the rows of a file that holds one object: those of the list in it, or itself; None if it is lines."""
    with open_bytes(path, what) as file:
        window = _Window(file)
        try:
            window.skip_blanks()
            value, problem = window.element()
            if window.skip_blanks():
                return None
        except (json.JSONDecodeError, UnicodeDecodeError, RecursionError):
            return None
        except ValueError as error:
            raise ValueError(f"{what}: expected JSON lines, or a JSON array of records, got {error}") from error
    if not isinstance(value, dict):
        return [Row(f"{what}, line 1", None, f"expected a JSON object, got {problem}", 1)]
    for name in LISTS:
        records = value.get(name)
        if isinstance(records, list) and all(isinstance(record, dict) for record in records):
            return [Row(f"{what}, {name}[{k}]", record, None, k + 1) for k, record in enumerate(records)]
    return [Row(f"{what}, line 1", value, None, 1)]


def table_rows(path: Path, what: str, *, delimiters: str, wanted: str) -> Iterator[Row]:
    """Return the rows of a table with a header as objects from its columns to texts.

    Args:
        path: of the file; .gz by name.
        what: begins what errors and rows say.
        delimiters: what may stand between fields: the first of them by which the header has `wanted`.
        wanted: the name of a column.

    Raises:
        ValueError: the file cannot be read, or its header has a column twice.
    """
    lines = _table_lines(path, what)
    first = next((line for line in lines if line.strip()), "")
    delimiter = _delimiter(first, delimiters, wanted)
    lines = chain([first], lines)
    names = _header(lines, delimiter)
    repeated = sorted(name for name, times in Counter(names).items() if name and times > 1)
    if repeated:
        raise ValueError(f"{what}: expected a header that names each column once, got {listed(repeated)} twice")
    for number, (fields, problem) in enumerate(_table_records(lines, delimiter), start=1):
        problem = problem or _problem_of_fields(fields, len(names))
        named = zip(names, fields, strict=False)  # what is beyond the header is blank
        value = None if problem else {name: field for name, field in named if name}
        yield Row(f"{what}, row {number}", value, problem, number)


def parquet_rows(path: Path, what: str) -> Iterator[Row]:
    """Return the rows of a Parquet file.

    Raises:
        ValueError: it is none.
        ImportError: pyarrow is missing.
    """
    with from_extra("data", need=f"{what}: expected pyarrow to read parquet"):
        import pyarrow
        from pyarrow import parquet
    try:
        require_file(path, what)
        with parquet.ParquetFile(path) as file:
            number = 0
            for batch in file.iter_batches(batch_size=ROWS_AT_ONCE):
                for record in batch.to_pylist():
                    number += 1
                    yield Row(f"{what}, row {number}", record, None, number)
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
        got = str(error).split("\n")[0]
        raise ValueError(f"{what}: expected a parquet file, got {got}") from error


def _table_lines(path: Path, what: str) -> Iterator[str]:
    for number, line, problem in read_lines(path, what, newline=""):
        if problem is not None and len(line) > MAX_LINE_CHARS:
            raise ValueError(f"{what}, line {number}: {problem}")  # where it ends is not known
        yield line


def _header(lines: Iterator[str], delimiter: str) -> list[str]:
    """Return the names of the columns; there may be blanks around them and around their quotes."""
    with _long_fields():
        fields = next(csv.reader(lines, delimiter=delimiter, skipinitialspace=True), [])
    return [field.strip() for field in fields]


def _delimiter(header: str, delimiters: str, wanted: str) -> str:
    """Return the first mark by which a header has the column, whatever its case; else the first of all."""
    name = wanted.strip().casefold()
    by = ((mark, _header(iter([header]), mark)) for mark in delimiters)
    return next((mark for mark, names in by if name in map(str.casefold, names)), delimiters[0])


def _table_records(lines: Iterator[str], delimiter: str) -> Iterator[tuple[list[str], str | None]]:
    """Return the fields of each record that has any, or what is wrong with it."""
    reader = csv.reader(lines, delimiter=delimiter, skipinitialspace=True, strict=True)
    while True:
        line = reader.line_num + 1
        try:
            with _long_fields():
                fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield (
                [],
                f"expected fields in closed quotes, got {error} in lines {line} to {reader.line_num} after the header",
            )
        else:
            if len(fields) > 1 or "".join(fields).strip():
                yield fields, None


@contextmanager
def _long_fields() -> Iterator[None]:
    """Allow long fields inside; the module has one limit for all its readers."""
    before = csv.field_size_limit(MAX_LINE_CHARS)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def _problem_of_fields(fields: list[str], num_columns: int) -> str | None:
    if len(fields) < num_columns or any(field.strip() for field in fields[num_columns:]):
        return f"expected {num_columns} fields, as the header has, got {len(fields)}"
    if any("\0" in field for field in fields):
        return "expected text, got a NUL character"
    return next(filter(None, map(problem_of_text, fields)), None)


def _quoted(text: str) -> str:
    return repr(text[:60])
