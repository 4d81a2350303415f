"""Rows of JSON, tables and Parquet: what is read, and which rows are bad."""

import json
import time
from pathlib import Path

import pytest

from duologue.envs import records
from duologue.envs.records import Row, json_rows, parquet_rows, table_rows

RECORD = {"prompt": "Hi\u2028 there\n", "n": 1}


def json_of(path: Path, text: str) -> list[Row]:
    """Write a file and return its rows."""
    path.write_text(text, encoding="utf-8", newline="")
    return list(json_rows(path, "data"))


def table_of(path: Path, text: str, *, delimiters: str = ",;\t") -> list[Row]:
    """Write a table and return its rows."""
    path.write_text(text, encoding="utf-8", newline="")
    return list(table_rows(path, "data", delimiters=delimiters, wanted="prompt"))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.jsonl", f"\ufeff{json.dumps(RECORD)}\n\n{json.dumps(RECORD, ensure_ascii=False)}"),
        ("a.ndjson", f"{json.dumps(RECORD)}\r\n{json.dumps(RECORD)}\r\n"),
        ("a.jsonl", f"{json.dumps(RECORD)}\r{json.dumps(RECORD)}\r"),
        ("a.json", f"{json.dumps(RECORD)}\n{json.dumps(RECORD)}\n"),
        ("a.json", json.dumps([RECORD, RECORD])),
        ("a.json", "\ufeff" + json.dumps([RECORD, RECORD], indent=2) + "\n"),
        ("a.json", json.dumps({"version": 1, "data": [RECORD, RECORD]}, indent=1)),
        ("a.json", json.dumps({"rows": [RECORD, RECORD]})),
    ],
)
def test_every_form_of_json_gives_the_same_rows(tmp_path: Path, name: str, text: str) -> None:
    """Lines, arrays, and the list in one object."""
    assert [(row.value, row.problem) for row in json_of(tmp_path / name, text)] == [(RECORD, None)] * 2


def test_one_object_in_a_json_file_is_one_row(tmp_path: Path) -> None:
    """A list of messages in it is not taken for the list of rows."""
    record = {"messages": [{"role": "user", "content": "Hi"}]}
    assert [row.value for row in json_of(tmp_path / "a.json", json.dumps(record, indent=2))] == [record]
    assert [row.value for row in json_of(tmp_path / "a.json", "{}")] == [{}]
    assert json_of(tmp_path / "a.json", " \n") == []


BAD = ["1" * 5000, '{"s": NaN}', '{"a": 1, "a": 2}', '{"a": 1e999}']


@pytest.mark.parametrize("bad", BAD)
def test_a_bad_record_of_an_array_is_one_bad_row(tmp_path: Path, bad: str) -> None:
    """Its end is found, so that what follows is read."""
    rows = json_of(tmp_path / "a.json", f'[{{"a": 1}},\n{bad},\n{{"a": 2}}]')
    assert [row.value for row in rows] == [{"a": 1}, None, {"a": 2}]
    assert [row.where for row in rows] == ["data, line 1", "data, line 2", "data, line 3"]
    assert rows[1].problem is not None
    assert rows[1].problem.startswith("expected a JSON object, got ")


@pytest.mark.parametrize("bad", [*BAD, "[" * 100_000, '{"a": "', "{", '{"a": 1,}', '{"a": 1} {"a": 1}', '{"a": "\0"}'])
def test_a_bad_line_is_one_bad_row(tmp_path: Path, bad: str) -> None:
    """Whatever is wrong with it."""
    rows = json_of(tmp_path / "a.jsonl", f'{{"a": 1}}\n{bad}\n{{"a": 2}}\n')
    assert [row.value for row in rows] == [{"a": 1}, None, {"a": 2}]
    assert rows[1].where == "data, line 2"
    assert rows[1].problem is not None
    assert len(rows[1].problem) < 400


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" * 100_000, "line 1: expected a JSON array of records, got one that is nested too deeply"),
        ('[{"a": 1}]\n[{"a": 2}]', "expected nothing after the array"),
        ('[{"a": 1},]', "Expecting value"),
        ('[{"a": 1}', "expected ',' or ']'"),
        ("[", "Expecting value"),
    ],
)
def test_an_array_that_is_none_is_refused(tmp_path: Path, text: str, message: str) -> None:
    """What follows would be lost without a word."""
    with pytest.raises(ValueError, match=message):
        json_of(tmp_path / "a.json", text)


def test_a_record_without_end_is_refused_by_the_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In an array and as the whole of a file."""
    monkeypatch.setattr(records, "MAX_RECORD_CHARS", 1 << 17)
    for begin in ("[", ""):
        with pytest.raises(ValueError, match=r"a record of more than 131,072 characters \(MAX_RECORD_CHARS\)"):
            json_of(tmp_path / "a.json", begin + '{"a": "' + "x" * (1 << 20))


def test_small_records_after_a_large_one_take_no_more_time(tmp_path: Path) -> None:
    """The window on the file stays large; it is not copied for each record."""
    small = [{"a": 1}] * 20_000
    started = time.process_time()
    json_of(tmp_path / "a.json", json.dumps(small))
    alone = time.process_time() - started
    started = time.process_time()
    assert len(json_of(tmp_path / "a.json", json.dumps([{"a": "x" * (1 << 22)}, *small]))) == 20_001
    assert time.process_time() - started < 10 * alone + 1


@pytest.mark.parametrize(
    "text",
    [
        "prompt,label\nopen a door,safe\n",
        "\ufeffprompt,label\r\nopen a door,safe\r\n",
        "prompt,label\ropen a door,safe\r",
        'prompt, "label" \n"open a door", safe\n',
        " prompt , label \nopen a door,safe",
        "prompt;label\nopen a door;safe\n",
        "prompt\tlabel\nopen a door\tsafe\n",
        "\n\nprompt,label\n\n  \nopen a door,safe\n\n",
        "prompt,label,,\nopen a door,safe,,\n",
        '"prompt",label\nopen a door,"safe"\n',
    ],
)
def test_tables_are_read_whatever_their_marks_blanks_and_line_ends(tmp_path: Path, text: str) -> None:
    """Blank rows are none."""
    (row,) = table_of(tmp_path / "a.csv", text)
    assert row.value == {"prompt": "open a door", "label": "safe"}
    assert (row.where, row.number) == ("data, row 1", 1)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("a, b,safe", "expected 2 fields, as the header has, got 3"),
        ("a", "expected 2 fields, as the header has, got 1"),
        ("a\0b,safe", "expected text, got a NUL character"),
        ('"a" b,safe', "expected fields in closed quotes"),
        ("a\udcff,safe", "expected UTF-8 text, got what it can't decode, byte 0xff"),
    ],
)
def test_a_bad_row_of_a_table_is_one(tmp_path: Path, line: str, message: str) -> None:
    """Those before and after it are read."""
    data = f"prompt,label\nb,safe\n{line}\nc,safe\n"
    (tmp_path / "a.csv").write_bytes(data.encode("utf-8", "surrogateescape"))
    before, bad, after = table_rows(tmp_path / "a.csv", "data", delimiters=",", wanted="prompt")
    assert bad.problem is not None
    assert message in bad.problem
    assert (before.value, after.value) == ({"prompt": "b", "label": "safe"}, {"prompt": "c", "label": "safe"})
    assert (bad.where, after.where) == ("data, row 2", "data, row 3")


def test_a_quote_that_stays_open_says_which_lines_it_swallowed(tmp_path: Path) -> None:
    """They are not read as one text."""
    first, second = table_of(tmp_path / "a.csv", 'prompt,label\na,safe\n"b,safe\nc,safe\n')
    assert first.problem is None
    assert second.problem is not None
    assert "in lines 2 to 3 after the header" in second.problem


def test_fields_are_as_long_as_lines_and_the_modules_limit_stays(tmp_path: Path) -> None:
    """Python's own limit is 131,072 characters, for all readers of a process at once."""
    import csv

    before = csv.field_size_limit()
    long = "word " * 30_000
    for row in (f'"{long}",safe', f"{long},safe"):
        (found,) = table_of(tmp_path / "a.csv", f"prompt,label\n{row}\n")
        assert found.value == {"prompt": long, "label": "safe"}
    assert csv.field_size_limit() == before


def test_many_columns_and_keys_take_no_long_time(tmp_path: Path) -> None:
    """A hundred thousand of them, one of which is there twice."""
    started = time.process_time()
    names = [f"c{number}" for number in range(100_000)]
    with pytest.raises(ValueError, match="names each column once, got c99999 twice"):
        table_of(tmp_path / "a.csv", ",".join([*names, "c99999"]) + "\n")
    (row,) = json_of(tmp_path / "a.jsonl", "{" + ",".join(f'"{name}": 1' for name in [*names, "c99999"]) + "}\n")
    assert row.problem is not None
    assert "the key c99999 twice in one object" in row.problem
    assert time.process_time() - started < 10


def test_a_column_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    """Which of them is meant?"""
    with pytest.raises(ValueError, match="data: expected a header that names each column once, got prompt twice"):
        table_of(tmp_path / "a.csv", "prompt,prompt \na,b\n")


def test_parquet_that_is_no_utf8_or_no_file_is_refused(tmp_path: Path) -> None:
    """Strings are not checked when such a file is written."""
    pyarrow = pytest.importorskip("pyarrow", reason="comes with the extra `data`")
    parquet = pytest.importorskip("pyarrow.parquet")
    array = pyarrow.array([b"\xff"]).view("string")
    parquet.write_table(pyarrow.table({"prompt": array}), tmp_path / "a.parquet")
    with pytest.raises(ValueError, match="data: expected a parquet file, got"):
        list(parquet_rows(tmp_path / "a.parquet", "data"))
    with pytest.raises(ValueError, match="data: expected a readable UTF-8 file, got a folder"):
        list(parquet_rows(tmp_path, "data"))
