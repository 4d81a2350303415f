"""Files as rows, one at a time and in constant memory: JSON lines, JSON arrays, parquet, `datasets`, documents.

A row carries where it stands, so that whatever is wrong with it can be found. What is wrong with one row is the row's
`problem` and left to the caller; what is wrong with the file (broken compression, an array that is no JSON) raises.
"""

from __future__ import annotations

import codecs
import gzip
import json
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

from ...envs.extras import from_extra
from .dialogues import quoted

Source = str | Path | Iterable[Mapping[str, object]]
"""A file, a folder, or records at hand, such as a Hugging Face dataset."""

CHUNK = 1 << 16
MAX_RECORD_CHARS = 1 << 26
"""How much of a JSON array is searched for the end of one of its records."""
SUFFIXES = (".jsonl", ".json", ".parquet", ".txt")
"""What a folder is searched for, each also with .gz but for parquet."""
ROWS_AT_ONCE = 256
"""The rows of a parquet file that are read together."""


@dataclass(frozen=True, slots=True)
class Row:
    """One record of a source, or one document."""

    where: str
    """The file and the line (or row), as errors give it."""
    value: object = None
    problem: str | None = None
    """What is wrong with it; there is then no value."""


def read_rows(source: Source, *, document_end: str | None = None) -> Iterator[Row]:
    """Return the rows of a file, of a folder's files, or of records at hand.

    Args:
        source: .jsonl, .json (lines or an array), .parquet or .txt (documents); .gz but for parquet; a folder of
            these or one that `datasets` saved; or records.
        document_end: the line that ends a document of a .txt file; None: one document for each file.

    Raises:
        ValueError: there is no such file, or it is of another kind.
    """
    if not isinstance(source, str | Path):
        return (Row(f"record {number}", record) for number, record in enumerate(source, start=1))
    path = Path(source)
    if path.is_dir():
        return _folder_rows(path, document_end)
    if not path.is_file():
        raise ValueError(f"data: expected a file or a folder, got {path}")
    if path.suffix == ".parquet":
        return _parquet_rows(path)
    kind = kind_of(path)
    if kind is None:
        raise ValueError(f"data {path}: expected a name that ends in {', '.join(SUFFIXES)} (or .gz after it)")
    return _documents(path, document_end) if kind == ".txt" else _json_rows(path)


def kind_of(path: Path) -> str | None:
    """Return the suffix that tells how a file is read, without .gz; None if it is of another kind."""
    suffix = Path(path.name.removesuffix(".gz")).suffix
    return suffix if suffix in SUFFIXES else None


def _folder_rows(path: Path, document_end: str | None) -> Iterator[Row]:
    if (path / "dataset_dict.json").is_file():
        splits = sorted(inside.name for inside in path.iterdir() if (inside / "state.json").is_file())
        raise ValueError(f"data {path}: expected the folder of one split, got several; inside: {', '.join(splits)}")
    if (path / "state.json").is_file():
        return _dataset_rows(path)
    files = sorted(file for file in path.rglob("*") if file.is_file() and kind_of(file))
    if not files:
        raise ValueError(f"data {path}: expected files that end in {', '.join(SUFFIXES)}, got none")
    return (row for file in files for row in read_rows(file, document_end=document_end))


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Return the numbered lines of a file, their ends included; .gz by name."""
    number = 0
    try:
        with _opened(path) as file:
            for number, line in enumerate(file, start=1):
                yield number, line.removeprefix(codecs.BOM_UTF8) if number == 1 else line
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{path}, after line {number}: expected a readable file, got {error}") from error


def _opened(path: Path) -> IO[bytes]:
    return cast(IO[bytes], gzip.open(path, "rb")) if path.name.endswith(".gz") else path.open("rb")


def _json_rows(path: Path) -> Iterator[Row]:
    first = next((line.lstrip() for _, line in _lines(path) if line.strip()), b"")
    return _array_rows(path) if first.startswith(b"[") else _json_lines(path)


def _json_lines(path: Path) -> Iterator[Row]:
    for number, line in _lines(path):
        if not line.strip():
            continue
        where = f"{path}, line {number}"
        try:
            yield Row(where, json.loads(line.decode("utf-8")))
        except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
            yield Row(where, problem=f"expected a JSON object, got {quoted(line.decode('utf-8', 'replace'))} ({error})")


class _Text:
    """A window on a file's text that grows at its end and is cut at its beginning."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self._decoder = file, codecs.getincrementaldecoder("utf-8-sig")()
        self.window, self.ended, self.line = "", False, 1

    def grow(self, size: int = CHUNK) -> None:
        data = self._file.read(size)
        self.ended = not data
        self.window += self._decoder.decode(data, final=self.ended)

    def skip(self, end: int) -> None:
        self.line += self.window.count("\n", 0, end)
        self.window = self.window[end:]

    def skip_blanks(self) -> None:
        while True:
            self.skip(len(self.window) - len(self.window.lstrip()))
            if self.window or self.ended:
                return
            self.grow()


def _array_rows(path: Path) -> Iterator[Row]:
    """Return the elements of a JSON array, each decoded once its last character has been read."""
    with ExitStack() as stack:
        text = _Text(stack.enter_context(_opened(path)))
        try:
            text.skip_blanks()
            text.skip(1)  # the bracket
            text.skip_blanks()
            while text.window[:1] != "]":
                where = f"{path}, line {text.line}"
                yield Row(where, _element(text))
                text.skip_blanks()
                if text.window[:1] == ",":
                    text.skip(1)
                    text.skip_blanks()
                elif text.window[:1] != "]":
                    raise ValueError(f"expected ',' or ']' between records, got {quoted(text.window)}")
        except (ValueError, RecursionError, OSError, EOFError, zlib.error) as error:
            raise ValueError(f"{path}, line {text.line}: expected a JSON array of records, got {error}") from error


def _element(text: _Text) -> object:
    decoder = json.JSONDecoder()
    while True:
        try:
            value, end = decoder.raw_decode(text.window)
        except json.JSONDecodeError as error:
            cut = error.msg.startswith("Unterminated string") or error.pos >= len(text.window) - 8
            if not cut or text.ended or len(text.window) > MAX_RECORD_CHARS:
                raise
        else:
            if end < len(text.window) or text.ended:
                text.skip(end)
                return value
        text.grow(max(CHUNK, len(text.window)))


def _documents(path: Path, document_end: str | None) -> Iterator[Row]:
    """Return the documents between lines that say `document_end`, without the line break before those."""
    end, lines, start = None if document_end is None else document_end.encode(), list[bytes](), 1
    for number, line in _lines(path):
        if end is None or line not in (end, end + b"\n", end + b"\r\n"):
            lines.append(line)
            continue
        yield _document(path, start, lines, line.removeprefix(end))
        lines, start = [], number + 1
    if any(line.strip() for line in lines):
        yield _document(path, start, lines, b"\r\n" if lines[-1].endswith(b"\r\n") else b"\n")


def _document(path: Path, line: int, lines: list[bytes], line_break: bytes) -> Row:
    data, where = b"".join(lines).removesuffix(line_break), f"{path}, line {line}"
    try:
        return Row(where, data.decode("utf-8"))
    except UnicodeDecodeError as error:
        return Row(where, problem=f"expected UTF-8 text, got {error}")


def _parquet_rows(path: Path) -> Iterator[Row]:
    with from_extra("data", need=f"data {path}: expected pyarrow to read parquet"):
        import pyarrow
        from pyarrow import parquet
    try:
        with parquet.ParquetFile(path) as file:
            number = 0
            for batch in file.iter_batches(batch_size=ROWS_AT_ONCE):
                for record in batch.to_pylist():
                    number += 1
                    yield Row(f"{path}, row {number}", record)
    except (pyarrow.ArrowException, OSError) as error:
        raise ValueError(f"data {path}: expected a parquet file, got {error}") from error


def _dataset_rows(path: Path) -> Iterator[Row]:
    with from_extra("data", need=f"data {path}: expected datasets to read a folder that it saved"):
        import datasets
    for number, record in enumerate(datasets.load_from_disk(str(path)), start=1):
        yield Row(f"{path}, row {number}", record)
