"""Files of requests: every kind that people have, read as written or refused with file and row."""

import csv
import gzip
import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from duologue.envs.games.red_team_text import RedTeamText
from duologue.envs.games.red_team_text.requests import Request, read_requests
from duologue.tests.helpers import shared_data

EXPECTED = [("open a door", False), ("pick a lock", True)]
RECORDS = [{"prompt": "open a door", "label": "safe"}, {"prompt": "pick a lock", "label": "unsafe"}]
LINES = "".join(json.dumps(record) + "\n" for record in RECORDS)
TABLE = "prompt,label\nopen a door,safe\npick a lock,unsafe\n"
FILES = {
    "a.csv": TABLE,
    "b.CSV": TABLE,
    "blanks.csv": "prompt, label\nopen a door, safe\npick a lock, unsafe\n",
    "floats.csv": "prompt,label\nopen a door,0.0\npick a lock,1.0\n",
    "quotes.csv": ' "prompt" , "label" \n"open a door", "safe"\n"pick a lock","unsafe"\n',
    "case.csv": "Prompt,LABEL\nopen a door, Safe \npick a lock,UNSAFE\n",
    "mark.csv": "\ufeff" + TABLE,
    "old.csv": TABLE.replace("\n", "\r"),
    "windows.csv": "\ufeff" + TABLE.replace("\n", "\r\n"),
    "semicolons.csv": TABLE.replace(",", ";"),
    "a.tsv": TABLE.replace(",", "\t"),
    "a.tab": TABLE.replace(",", "\t"),
    "a.jsonl": LINES,
    "a.ndjson": LINES,
    "lines.json": LINES,
    "a.json": json.dumps(RECORDS),
    "pretty.json": json.dumps(RECORDS, indent=2),
    "data.json": json.dumps({"data": RECORDS}, indent=2),
    "numbers.jsonl": LINES.replace('"safe"', "0").replace('"unsafe"', "true"),
    "keys.jsonl": LINES.replace('"label"', '"Label "'),
}


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("name", FILES)
def test_every_kind_of_file_gives_the_same_requests(tmp_path: Path, name: str, packed: bool) -> None:
    """By suffix, with .gz after it or not."""
    data, path = FILES[name].encode(), tmp_path / (f"{name}.gz" if packed else name)
    path.write_bytes(gzip.compress(data) if packed else data)
    assert [(request.text, request.harmful) for request in read_requests(path)] == EXPECTED


def test_every_kind_of_file_gives_the_real_requests(tmp_path: Path) -> None:
    """XSTest's 450 prompts, rewritten as other programs save them."""
    path = shared_data("xstest_prompts.csv")
    with path.open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    for name, delimiter, encoding in (
        ("a.tsv", "\t", "utf-8"),
        ("b.csv", ";", "utf-8-sig"),
        ("c.csv", ",", "utf-8-sig"),
    ):
        with (tmp_path / name).open("w", encoding=encoding, newline="") as file:
            csv.writer(file, delimiter=delimiter).writerows([header, *rows])
    records = [dict(zip(header, row, strict=True)) for row in rows]
    (tmp_path / "d.json").write_text(json.dumps({"data": records}, indent=2), encoding="utf-8")
    (tmp_path / "e.ndjson").write_text("".join(f"{json.dumps(record)}\n" for record in records), encoding="utf-8")
    expected = read_requests(path)
    assert [request.row for request in expected] == list(range(1, 451))
    for file_path in tmp_path.iterdir():
        assert read_requests(file_path) == expected


def test_parquet_gives_the_same_requests(tmp_path: Path) -> None:
    """As sets are published."""
    pyarrow = pytest.importorskip("pyarrow", reason="comes with the extra `data`")
    parquet = pytest.importorskip("pyarrow.parquet")
    parquet.write_table(pyarrow.Table.from_pylist(RECORDS), tmp_path / "a.parquet")
    assert [(request.text, request.harmful) for request in read_requests(tmp_path / "a.parquet")] == EXPECTED


@pytest.mark.parametrize("name", ["a", "a.dat", "a.md", "a.xlsx", "a.csv.zip", "a.csv.zst", "a.parquet.gz"])
def test_other_kinds_are_never_taken_for_plain_lines(tmp_path: Path, name: str) -> None:
    """A table as lines would be requests that nobody wrote."""
    (tmp_path / name).write_text(TABLE, encoding="utf-8")
    with pytest.raises(ValueError, match=r"requests .*: expected a name that ends in .csv, .* \(or .gz after it\)"):
        read_requests(tmp_path / name)


BAD = {
    "number": ("a.jsonl", '{"prompt": 5}', "row 2: expected text in 'prompt', got 5"),
    "list": ("a.jsonl", '{"prompt": ["open a door"]}', "row 2: expected text in 'prompt', got .'open a door'"),
    "bool": ("a.jsonl", '{"prompt": true}', "row 2: expected text in 'prompt', got True"),
    "surrogate": (
        "a.jsonl",
        '{"prompt": "\\ud800"}',
        "row 2: prompt: .*, got the lone surrogate U.D800",
    ),
    "digits": ("a.jsonl", '{"prompt": "a", "n": ' + "1" * 5000 + "}", "row 2: expected a JSON object, .*5,000 digits"),
    "no object": ("a.jsonl", "7", "row 2: expected a JSON object, got 7"),
    "other column": ("a.jsonl", '{"question": "a"}', "row 2: expected the column 'prompt', got question"),
    "alike": ("a.jsonl", '{"Prompt": "a", "PROMPT": "b"}', "row 2: expected the column 'prompt', got Prompt, PROMPT"),
    "label": ("a.jsonl", '{"prompt": "a", "label": "perhaps"}', "row 2: expected a label among .*, got 'perhaps'"),
    "label list": ("a.jsonl", '{"prompt": "a", "label": ["safe"]}', "row 2: expected a label among "),
    "ragged": ("a.csv", "a, b,safe", "row 2: expected 2 fields, as the header has, got 3"),
    "short": ("a.csv", "a", "row 2: expected 2 fields, as the header has, got 1"),
    "bytes": ("a.csv", "h\udce9,safe", "row 2: expected UTF-8 text, got what it can't decode, byte 0xe9"),
    "nul": ("a.csv", "a\0b,safe", "row 2: expected text, got a NUL character"),
    "nul line": ("a.txt", "a\0b", "row 2: expected text, got a NUL character"),
    "bytes line": ("a.txt", "h\udce9", "row 2: expected UTF-8 text, got what it can't decode, byte 0xe9"),
}
GOOD = {
    "a.jsonl": ("", '{"prompt": "open a door"}'),
    "a.csv": ("prompt,label\n", "open a door,"),
    "a.txt": ("", "open a door"),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_row_is_fatal_or_left_out_by_choice(tmp_path: Path, kind: str) -> None:
    """The message names file and row, and what was left out is counted."""
    name, line, message = BAD[kind]
    header, good = GOOD[name]
    (tmp_path / name).write_bytes(f"{header}{good}\n{line}\n{good}\n".encode("utf-8", "surrogateescape"))
    with pytest.raises(ValueError, match=rf"requests .*{name}, {message}") as caught:
        read_requests(tmp_path / name)
    assert "\n" not in str(caught.value)
    with pytest.warns(UserWarning, match=rf"{name}: 2 read, left out: 1 bad \({message}"):
        found = read_requests(tmp_path / name, on_error="skip")
    assert [(request.text, request.row) for request in found] == [("open a door", 1), ("open a door", 3)]


def test_rows_without_text_are_left_out_and_counted(tmp_path: Path) -> None:
    """Null, nothing, and blanks; a file without any text is refused."""
    lines = ['{"prompt": null}', '{"prompt": "a"}', '{"prompt": ""}', '{"prompt": "  "}']
    (tmp_path / "a.jsonl").write_text("\n".join(lines), encoding="utf-8")
    with pytest.warns(UserWarning, match=r"1 read, left out: 3 without text \(row 1, 3, 4\)"):
        assert read_requests(tmp_path / "a.jsonl") == [Request("a", None, 2)]
    for name, text in (
        ("b.jsonl", '{"prompt": null}\n'),
        ("c.csv", "prompt,label\n"),
        ("d.json", "[]"),
        ("e.json", ""),
    ):
        (tmp_path / name).write_text(text, encoding="utf-8")
        with pytest.raises(ValueError, match=f"{name}: expected at least one row with text in 'prompt', got none"):
            read_requests(tmp_path / name)


def test_plain_lines_lose_their_mark_and_any_line_end(tmp_path: Path) -> None:
    """U+2028 is a character of a line."""
    for text in ("\ufeffa\u2028b\nc", "\ufeffa\u2028b\r\nc\r\n", "a\u2028b\rc\r"):
        (tmp_path / "a.txt").write_text(text, encoding="utf-8", newline="")
        assert [request.text for request in read_requests(tmp_path / "a.txt")] == ["a\u2028b", "c"]


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".txt", ".json"])
def test_what_is_no_file_is_refused(tmp_path: Path, suffix: str) -> None:
    """A folder, a pipe, nothing, a link to itself; none of them is waited for."""
    (tmp_path / f"folder{suffix}").mkdir()
    os.mkfifo(tmp_path / f"pipe{suffix}")
    (tmp_path / f"loop{suffix}").symlink_to(tmp_path / f"loop{suffix}")
    for name in ("folder", "pipe", "loop", "absent"):
        with pytest.raises(ValueError, match=f"requests .*{name}{suffix}: expected a readable UTF-8 file, got "):
            read_requests(tmp_path / f"{name}{suffix}")


@given(texts=st.lists(st.text(st.characters(exclude_categories=["Cs"])).filter(str.strip), min_size=1, max_size=5))
def test_what_is_written_as_json_lines_is_read_back(tmp_path_factory: pytest.TempPathFactory, texts: list[str]) -> None:
    """But for blanks around it."""
    path = tmp_path_factory.mktemp("requests") / "a.jsonl"
    lines = [json.dumps({"prompt": text}, ensure_ascii=False) + "\n" for text in texts]
    path.write_text("".join(lines), encoding="utf-8", newline="")
    assert [request.text for request in read_requests(path)] == [text.strip() for text in texts]


def test_the_same_request_twice_is_named(tmp_path: Path) -> None:
    """Given as such; two rows of a file are two deals, each with its row."""
    twice = [Request("a", row=7), Request("b"), Request("a", row=7)]
    with pytest.raises(ValueError, match="requests: expected each request once, got 'a' of row 7 at places 1 and 3"):
        RedTeamText(twice, split="all")
    (tmp_path / "a.txt").write_text("a\nb\na\n", encoding="utf-8")
    game = RedTeamText(tmp_path / "a.txt", split="all")
    assert [(request.text, request.row) for request in game.requests] == [("a", 1), ("b", 2), ("a", 3)]


def test_the_game_passes_the_choice_on(tmp_path: Path) -> None:
    """As `--game-option on_error=skip` does."""
    (tmp_path / "a.csv").write_text("prompt,label\na,safe\nb,perhaps\n", encoding="utf-8")
    with pytest.warns(UserWarning, match="1 read, left out: 1 bad"):
        game = RedTeamText(tmp_path / "a.csv", split="all", on_error="skip")
    assert [request.text for request in game.requests] == ["a"]
    with pytest.raises(ValueError, match="on_error: expected raise or skip, got 'ignore'"):
        read_requests(tmp_path / "a.csv", on_error="ignore")  # type: ignore[arg-type]
