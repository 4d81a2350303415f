"""Files of text: byte-order marks, line ends, what is no file or no text, and how much of it is read."""

import gzip
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from duologue.envs import text_files
from duologue.envs.text_files import parse_json, read_lines, read_text


def lines(path: Path, **options: Any) -> list[str]:
    """Return the texts of a file's lines, none of which has a problem."""
    found = list(read_lines(path, "notes", **options))
    assert [line.number for line in found] == list(range(1, len(found) + 1))
    assert [line.problem for line in found] == [None] * len(found)
    return [line.text for line in found]


@pytest.mark.parametrize("name", ["a.txt", "a.txt.gz", "A.TXT.GZ"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_lines_are_as_written_but_for_a_first_byte_order_mark(tmp_path: Path, name: str, mark: str) -> None:
    """Nothing but a line feed ends one; a mark that stands elsewhere is a character."""
    data = (mark + "a\u2028b\x85c\x0b\x1c \ufeffd\r\n\ne").encode()
    (tmp_path / name).write_bytes(gzip.compress(data, mtime=0) if name.lower().endswith("gz") else data)
    assert lines(tmp_path / name) == ["a\u2028b\x85c\x0b\x1c \ufeffd\r\n", "\n", "e"]


def test_carriage_returns_end_lines_where_nothing_else_does(tmp_path: Path) -> None:
    """As old spreadsheets write them; if there is a line feed they are characters."""
    (tmp_path / "old").write_bytes(b"a\rb\r")
    (tmp_path / "new").write_bytes(b"a\rb\n")
    assert lines(tmp_path / "old", newline=None) == ["a\r", "b\r"]
    assert lines(tmp_path / "new", newline=None) == ["a\rb\n"]
    assert lines(tmp_path / "new", newline="") == ["a\r", "b\n"]


def test_a_line_that_is_no_utf8_says_where_and_the_next_is_read(tmp_path: Path) -> None:
    """So that it can be skipped."""
    (tmp_path / "a").write_bytes(b"ok\nh\xe9\nok\n")
    assert [line.problem for line in read_lines(tmp_path / "a", "notes")] == [
        None,
        "expected UTF-8 text, got what it can't decode, byte 0xe9, at character 1",
        None,
    ]


@pytest.mark.parametrize(
    ("data", "name", "what"),
    [
        ("a\n".encode("utf-16"), "a.txt", "UTF-16 text"),
        ("a\n".encode("utf-32"), "a.txt", "UTF-16 text"),
        (gzip.compress(b"a\n", mtime=0), "a.txt", "gzip data, which a name that ends in .gz has"),
        (b"PK\x03\x04...", "a.txt", "a zip archive"),
        (b"\xfd7zXZ\x00...", "a.txt", "xz data"),
        (b"(\xb5/\xfd...", "a.txt.zst", "zstd data"),
        (gzip.compress(gzip.compress(b"a\n", mtime=0), mtime=0), "a.txt.gz", "gzip data"),
        (b"a\n", "a.txt.gz", "Not a gzipped file"),
        (gzip.compress(b"a\n", mtime=0)[:-9], "a.txt.gz", "Compressed file ended"),
        (b"", "", "a folder"),
    ],
)
def test_what_is_no_text_is_refused_in_one_line(tmp_path: Path, data: bytes, name: str, what: str) -> None:
    """The message names the file and what it is instead."""
    path = tmp_path / name
    if name:
        path.write_bytes(data)
    for read in (read_text, lambda path, what: list(read_lines(path, what))):
        with pytest.raises(ValueError, match=f"^notes.*: expected a readable (UTF-8 )?file, got {what}") as caught:
            read(path, "notes")
        assert "\n" not in str(caught.value)


def test_pipes_devices_and_links_to_nowhere_are_refused_at_once(tmp_path: Path) -> None:
    """A pipe would wait for a writer, and a device never ends."""
    os.mkfifo(tmp_path / "pipe")
    for name, target in (("loop", "loop"), ("dangling", "absent"), ("zero", "/dev/zero")):
        (tmp_path / name).symlink_to(target)
    kinds = {"pipe": "a pipe or a device", "zero": "a pipe or a device", "absent": "no such file"}
    kinds |= dict.fromkeys(("loop", "dangling"), "a link that leads to no file")
    for name, kind in kinds.items():
        with pytest.raises(ValueError, match=f"notes: expected a readable UTF-8 file, got {kind}"):
            read_text(tmp_path / name, "notes")
    with pytest.raises(ValueError, match=r"notes: expected a readable file, got .*too long"):
        read_text(tmp_path / ("n" * 300), "notes")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_a_file_without_permission_is_refused(tmp_path: Path) -> None:
    """In one line that names it."""
    (tmp_path / "a").write_text("a")
    (tmp_path / "a").chmod(0)
    with pytest.raises(ValueError, match=r"notes: expected a readable file, got .*Permission denied"):
        read_text(tmp_path / "a", "notes")


@pytest.mark.parametrize("name", ["a.txt", "a.txt.gz"])
def test_a_long_line_is_one_bad_line(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is read away in pieces, carriage returns in it included; the bound is named."""
    monkeypatch.setattr(text_files, "MAX_LINE_CHARS", 100)
    data = b"a" * 100 + b"\n" + b"b\r" * 100_000 + b"\n" + b"c"
    (tmp_path / name).write_bytes(gzip.compress(data, mtime=0) if name.endswith("gz") else data)
    monkeypatch.setattr(text_files, "MAX_EXPANSION", 1000)
    first, second, third = read_lines(tmp_path / name, "notes")
    assert (first.problem, len(first.text)) == (None, 101)
    assert second.problem == "expected a line of at most 100 characters (MAX_LINE_CHARS), got a longer one"
    assert len(second.text) == 101
    assert third == (3, "c", None)
    with pytest.raises(ValueError, match=r"notes: expected at most 100 characters \(MAX_LINE_CHARS\), got more"):
        read_text(tmp_path / name, "notes")


def test_a_bomb_is_defused_before_it_fills_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ordinary text is far from the bound; a file that is mostly one character is not."""
    monkeypatch.setattr(text_files, "MAX_LINE_CHARS", 1 << 16)
    (tmp_path / "bomb.gz").write_bytes(gzip.compress(b"a" * (1 << 24), mtime=0))
    message = r"notes.*: expected a readable file, got more than 65,536 bytes and 128 times .*\(MAX_EXPANSION\)"
    with pytest.raises(ValueError, match=message):
        list(read_lines(tmp_path / "bomb.gz", "notes"))
    rng = np.random.default_rng(0)
    text = "".join(f"{number}\n" for number in rng.integers(10**9, size=20_000))
    (tmp_path / "text.gz").write_bytes(gzip.compress(text.encode()))
    assert "".join(lines(tmp_path / "text.gz")) == text


def test_blank_lines_without_end_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A megabyte of compressed line feeds is a thousand million lines."""
    monkeypatch.setattr(text_files, "MAX_BLANK_LINES", 10)
    (tmp_path / "a").write_bytes((b"\n" * 10 + b"a\n") * 3)
    assert len(lines(tmp_path / "a")) == 33
    (tmp_path / "a").write_bytes(b"\n" * 11)
    with pytest.raises(ValueError, match=r"notes, after line 11: .* more than 10 blank lines in a row"):
        lines(tmp_path / "a")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1" * 5000, "an integer of 5,000 digits"),
        ("-" + "1" * 5000, "an integer of 5,001 digits"),
        ("[" * 100_000, "nested too deeply"),
        ('{"a":' * 5000 + "1" + "}" * 5000, "nested too deeply"),
        ("NaN", "NaN, which JSON does not have"),
        ('{"a": -Infinity}', "-Infinity, which JSON does not have"),
        ("1e999", "the number 1e999, which is too large"),
        ('{"a": 1, "b": 2, "a": 1}', "the key a twice in one object"),
        ('{"a": 1,}', "Expecting property name"),
        ('{"a": 1} {}', "Extra data"),
        ('{"a": "', "Unterminated string"),
        ("", "Expecting value"),
    ],
)
def test_json_that_cannot_be_relied_on_is_a_value_error(text: str, message: str) -> None:
    """Python's own reader takes four of these, and three end in errors of other kinds."""
    with pytest.raises(ValueError, match=message):
        parse_json(text)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)


@given(value=JSON, ascii_only=st.booleans())
def test_what_is_json_is_read_as_python_reads_it(value: object, ascii_only: bool) -> None:
    """Exactly."""
    assert parse_json(json.dumps(value, ensure_ascii=ascii_only)) == value
