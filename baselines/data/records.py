"""Sources as rows, one at a time and in constant memory: files, folders of them, `datasets`, records, documents.

`envs/records.py` reads the files of records. A source that cannot be read raises; what is wrong with one row is the
row's `problem` and left to the caller.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from ...envs.extras import from_extra
from ...envs.records import Row, json_rows, parquet_rows, suffix_of
from ...envs.text_files import MAX_LINE_CHARS, listed, read_lines

Source = str | Path | Iterable[Mapping[str, object]]
"""A file, a folder, or records at hand, such as a Hugging Face dataset."""

SUFFIXES = (".jsonl", ".ndjson", ".json", ".parquet", ".txt")
"""What a folder is searched for, each also with .gz but for parquet."""
UNREAD = (".csv", ".tsv", ".arrow", ".zst", ".xz", ".bz2", ".zip")
"""Data of other kinds: a folder's are left alone with a warning."""

logger = logging.getLogger(__name__)


def read_rows(source: Source, *, document_end: str | None = None) -> Iterator[Row]:
    """Return the rows of a file, of a folder's files, or of records at hand.

    Args:
        source: .jsonl or .ndjson, .json (lines, an array, or an object with a list under "data"), .parquet or .txt
            (documents); .gz but for parquet; a folder of these or one that `datasets` saved; or records.
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
    kind = kind_of(path)
    if kind is None:
        raise ValueError(f"data {path}: expected a name that ends in {', '.join(SUFFIXES)} (or .gz after it)")
    if kind == ".parquet":
        return parquet_rows(path, f"data {path}")
    return _documents(path, document_end) if kind == ".txt" else json_rows(path, str(path))


def kind_of(path: Path) -> str | None:
    """Return the suffix that tells how a file is read, without .gz; None if it is of another kind."""
    suffix = suffix_of(path)
    packed = path.name.lower().endswith(".gz")
    return suffix if suffix in SUFFIXES and not (packed and suffix == ".parquet") else None


def _folder_rows(path: Path, document_end: str | None) -> Iterator[Row]:
    if (path / "dataset_dict.json").is_file():
        splits = sorted(inside.name for inside in path.iterdir() if (inside / "state.json").is_file())
        raise ValueError(f"data {path}: expected the folder of one split, got several; inside: {', '.join(splits)}")
    if (path / "state.json").is_file():
        return _dataset_rows(path)
    inside = [file for file in path.rglob("*") if not any(part[0] == "." for part in file.relative_to(path).parts)]
    files = sorted(file for file in inside if file.is_file() and kind_of(file))
    unread = sorted(file.name for file in inside if file.suffix.lower() in UNREAD)
    if unread:
        logger.warning("data %s: %d files of other kinds left alone: %s", path, len(unread), listed(unread))
    if not files:
        raise ValueError(f"data {path}: expected files that end in {', '.join(SUFFIXES)}, got none")
    return (row for file in files for row in read_rows(file, document_end=document_end))


def _documents(path: Path, end: str | None) -> Iterator[Row]:
    """Return the documents between lines that say `end`, without the line break before those, and no blank ones."""
    document, old = _Document(path, 1), False
    for number, line, problem in read_lines(path, str(path), newline=None):
        old = line.endswith("\r") if number == 1 else old
        line = f"{line[:-1]}\n" if old and line.endswith("\r") else line  # a file whose lines end so reads as others do
        if end is None or line not in (end, f"{end}\n", f"{end}\r\n"):
            document.add(line, problem)
            continue
        yield from document.rows(line.removeprefix(end))
        document = _Document(path, number + 1)
    yield from document.rows("\r\n" if document.lines and document.lines[-1].endswith("\r\n") else "\n")


class _Document:
    """A document that is being read."""

    def __init__(self, path: Path, line: int) -> None:
        self.where, self.lines, self._length, self._problem = f"{path}, line {line}", list[str](), 0, ""

    def add(self, line: str, problem: str | None) -> None:
        self._length += len(line)
        if problem is None and self._length > MAX_LINE_CHARS:
            problem = f"expected a document of at most {MAX_LINE_CHARS:,} characters (MAX_LINE_CHARS), got a longer one"
        self._problem = self._problem or problem or ""
        if not self._problem:
            self.lines.append(line)

    def rows(self, line_break: str) -> Iterator[Row]:
        """Return the document as a row; none if it is blank."""
        if self._problem:
            yield Row(self.where, problem=self._problem)
        elif any(line.strip() for line in self.lines):
            yield Row(self.where, "".join(self.lines).removesuffix(line_break))


def _dataset_rows(path: Path) -> Iterator[Row]:
    with from_extra("data", need=f"data {path}: expected datasets to read a folder that it saved"):
        import datasets
    try:
        records = datasets.load_from_disk(str(path))
    except (OSError, ValueError, TypeError, KeyError) as error:
        got = f"{type(error).__name__}: {error}".split("\n")[0]
        raise ValueError(f"data {path}: expected a folder that datasets saved, got {got}") from error
    for number, record in enumerate(records, start=1):
        yield Row(f"{path}, row {number}", record, None, number)
