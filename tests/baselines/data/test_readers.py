"""Files of every format: what is read, in how much memory, and what becomes of bad rows."""

import gzip
import json
import logging
import re
import sys
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from duologue.baselines.data import QCA, TextDialogue, TextTurn, read_dialogues, read_pairs, records, tidy
from duologue.baselines.text.exchanges import hh_dialogues
from duologue.envs.text_files import CHUNK
from duologue.tests.helpers import shared_data

TALK = TextDialogue((TextTurn(0, "Hi"), TextTurn(1, "Hello.")))
MESSAGES = {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello."}]}
ALPACA = {"instruction": "Hi", "input": "", "output": "Hello."}
HH_PAIR = {"chosen": "\n\nHuman: Hi\n\nAssistant: Hello.", "rejected": "\n\nHuman: Hi\n\nAssistant: Go."}
PAIR = {"prompt": "Hi", "chosen": "Hello.", "rejected": "Go."}
FORMATS = {"messages": MESSAGES, "alpaca": ALPACA, "hh": HH_PAIR, "pairs": PAIR}


def write(path: Path, text: str) -> Path:
    """Write a file, compressed by name, its line breaks as they are."""
    data = text.encode("utf-8", "surrogateescape")
    path.write_bytes(gzip.compress(data) if path.name.endswith(".gz") else data)
    return path


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("name", ["data.jsonl", "data.jsonl.gz", "data.json", "array.json", "array.json.gz"])
def test_every_format_is_read_from_lines_and_arrays_and_told_by_its_keys(
    tmp_path: Path, format: Any, name: str
) -> None:
    """Named or not, the same exchange comes out."""
    records = [FORMATS[format]] * 2
    array = json.dumps(records, indent=2)
    text = array if name.startswith("array") else "".join(json.dumps(record) + "\n" for record in records)
    path = write(tmp_path / name, text)
    assert list(read_dialogues(path)) == list(read_dialogues(path, format=format)) == [TALK, TALK]


@pytest.mark.parametrize("format", ["hh", "pairs"])
def test_pairs_are_read_as_pairs_or_as_either_side(tmp_path: Path, format: Any) -> None:
    """`which` says the side."""
    path = write(tmp_path / "pairs.jsonl", json.dumps(FORMATS[format]))
    (pair,) = read_pairs(path)
    assert (pair.prompt.turns, pair.chosen.text, pair.rejected.text) == ((TextTurn(0, "Hi"),), "Hello.", "Go.")
    assert list(read_pairs(path, format=format)) == [pair]
    assert [tuple(read_dialogues(path, which=which)) for which in ("chosen", "rejected")] == [
        (side,) for side in pair.dialogues
    ]


@pytest.mark.parametrize("name", ["faq.txt", "faq.txt.gz"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_documents_are_read_between_closing_lines(tmp_path: Path, name: str, end: str) -> None:
    """The last one needs none; a blank line can be the closing line, too."""
    text = end.join(["Q: Hi", "C: a thought", "A: Hello.", "---", "Q: 1", "", "A: 2", ""])
    first, second = read_dialogues(write(tmp_path / name, text), markers=QCA, document_end="---")
    assert first.turns == (TextTurn(0, "Hi"), TextTurn(1, "Hello.", thought="a thought"))
    assert tidy(second).turns == (TextTurn(0, "1"), TextTurn(1, "2"))
    blank = write(tmp_path / name, end.join(["Q: Hi", "A: Hello.", "", "Q: Hi", "A: Hello.", ""]))
    assert list(read_dialogues(blank, document_end="")) == [TALK, TALK]
    assert len(next(read_dialogues(blank, document_end=None)).turns) == 4


BAD_LINES = [
    ('{"messages": [', "expected a JSON object"),
    ("\udcff", "expected a JSON object"),
    ("[]", "expected a list|expected an object"),
    ('{"text": "hi"}', "expected the keys messages"),
    ('{"messages": [{"role": "tool", "content": ""}]}', "message 0: expected a role"),
    ('{"messages": [{"role": "user", "content": "\\ud800"}]}', "surrogates not allowed"),
    ("[" * 100_000, "expected a JSON object"),
    ('{"n": ' + "1" * 5000 + "}", "expected a JSON object.*an integer of 5,000 digits"),
    ('{"messages": [], "score": NaN}', "expected a JSON object.*NaN, which JSON does not have"),
    ('{"messages": [], "messages": []}', "expected a JSON object.*the key messages twice"),
    ('{"messages": [],}', "expected a JSON object"),
    ("null", "expected an object"),
    ('{"messages": ' + '[{"a": ' * 300 + "1" + "}]" * 300 + "}", "message 0: expected a role"),
]


@pytest.mark.parametrize(("line", "message"), BAD_LINES, ids=range(len(BAD_LINES)))
def test_a_bad_line_raises_with_its_number_or_is_counted(
    tmp_path: Path, line: str, message: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Empty lines count as lines, and are no rows."""
    good = json.dumps(MESSAGES)
    path = write(tmp_path / "data.jsonl", f"{good}\n\n{line}\n{good}\n")
    reader = read_dialogues(path)
    assert next(reader) == TALK
    with pytest.raises(ValueError, match=rf"data.jsonl, line 3: .*({message})"):
        next(reader)
    skipping = read_dialogues(path, on_error="skip")
    with caplog.at_level(logging.WARNING):
        assert list(skipping) == [TALK, TALK]
    assert (skipping.num_read, skipping.num_skipped, len(skipping.problems)) == (2, 1, 1)
    assert "data.jsonl, line 3" in skipping.problems[0]
    assert "skipped 1 of 3 rows" in caplog.text
    assert "line 3" in caplog.text


def test_only_the_first_problems_are_kept_and_all_are_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A file of the wrong kind must not fill the memory with messages."""
    reader = read_dialogues(write(tmp_path / "data.jsonl", f"{json.dumps(MESSAGES)}\n" + "no\n" * 9), on_error="skip")
    assert list(reader) == [TALK]
    assert (reader.num_skipped, len(reader.problems)) == (9, 5)
    assert "and 4 more" in caplog.text


@pytest.mark.parametrize("text", ["", "\n \n", "no\n"])
def test_a_source_without_a_usable_row_is_refused(tmp_path: Path, text: str) -> None:
    """To skip everything is not to read."""
    with pytest.raises(ValueError, match="expected at least one usable row"):
        list(read_dialogues(write(tmp_path / "data.jsonl", text), on_error="skip"))


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('[\n{"a": 1}\n{"a": 2}]', 3),
        ('[\n{"a": 1},\n{"a": nul}' + " " * 20 + "]", 3),
        ('[{"a": 1},\n', 2),
        ('[\n{"a": "open', 2),
        ("[\n\udcff]", 1),
    ],
)
def test_a_broken_array_raises_whatever_is_asked(tmp_path: Path, text: str, line: int) -> None:
    """What follows the break cannot be told apart, so it cannot be skipped either."""
    path = write(tmp_path / "data.json", text)
    with pytest.raises(ValueError, match=rf"data.json, line {line}: expected a JSON array"):
        list(read_dialogues(path, on_error="skip"))


def test_array_records_are_found_across_chunks(tmp_path: Path) -> None:
    """Records much longer than a chunk, ends of chunks within words of several bytes, and brackets in texts."""
    texts = ["é]}" * k for k in (1, CHUNK // 8, CHUNK, 3, CHUNK * 2)]
    records = [{"instruction": text, "output": "x"} for text in texts]
    path = write(tmp_path / "data.json", "\ufeff" + json.dumps(records, ensure_ascii=False, indent=1))
    assert [dialogue.turns[0].text for dialogue in read_dialogues(path)] == texts


def test_a_bad_record_of_an_array_is_skipped_and_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Its line is where it begins."""
    reader = read_dialogues(write(tmp_path / "a.json", json.dumps([ALPACA, {"output": 3}], indent=0)), on_error="skip")
    assert list(reader) == [TALK]
    assert "a.json, line 7: record: expected the keys" in reader.problems[0]
    assert "skipped 1" in caplog.text


def test_broken_compression_raises_after_the_last_good_line(tmp_path: Path) -> None:
    """A cut file is not a short file."""
    path = tmp_path / "data.jsonl.gz"
    lines = "".join(json.dumps({"instruction": str(k) * 50, "output": str(k**7)}) + "\n" for k in range(3000))
    path.write_bytes(gzip.compress(lines.encode())[:-2000])
    reader = read_dialogues(path, on_error="skip")
    with pytest.raises(ValueError, match=r"data.jsonl.gz, after line \d+: expected a readable file"):
        list(reader)
    assert reader.num_read > 0


@pytest.mark.parametrize("name", ["data.jsonl", "data.ndjson", "data.json", "data.txt", "data.jsonl.gz"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_byte_order_mark_is_no_part_of_the_first_row(tmp_path: Path, name: str, end: str) -> None:
    """As editors of another system write files."""
    text = f"Q: Hi{end}A: Hello.{end}" if name.endswith(".txt") else json.dumps(MESSAGES, indent=None) + end
    assert list(read_dialogues(write(tmp_path / name, f"\ufeff{text}"))) == [TALK]


def test_lines_that_carriage_returns_end_are_lines(tmp_path: Path) -> None:
    """As old editors write them; among other line ends a carriage return is a character of the text."""
    path = write(tmp_path / "a.txt", "Q: Hi\rA: Hello.\r<|endoftext|>\rQ: Hi\rA: Hello.\r")
    assert list(read_dialogues(path)) == [TALK, TALK]
    (dialogue,) = read_dialogues(write(tmp_path / "a.txt", "Q: Hi\nA: Hel\rlo.\r"))
    assert dialogue.turns[1].text == "Hel\rlo.\r"


def test_blank_documents_are_none(tmp_path: Path) -> None:
    """A closing line that is there twice, or at the beginning; nothing is counted for it."""
    end = "<|endoftext|>\n"
    path = write(tmp_path / "a.txt", f"{end}Q: Hi\nA: Hello.\n{end}{end}\n \n{end}Q: Hi\nA: Hello.\n{end}\n")
    reader = read_dialogues(path)
    assert list(reader) == [TALK, TALK]
    assert (reader.num_read, reader.num_skipped) == (2, 0)


def test_a_document_without_end_is_one_bad_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bound is named, and the next document is read."""
    monkeypatch.setattr(records, "MAX_LINE_CHARS", 1000)
    path = write(tmp_path / "a.txt", "Q: Hi\n" * 1000 + "<|endoftext|>\nQ: Hi\nA: Hello.\n")
    reader = read_dialogues(path, on_error="skip")
    assert list(reader) == [TALK]
    assert reader.problems == [
        f"{path}, line 1: expected a document of at most 1,000 characters (MAX_LINE_CHARS), got a longer one"
    ]


def test_a_list_in_one_object_is_read(tmp_path: Path) -> None:
    """As some sets are published; one record over several lines is one row."""
    for text in (json.dumps({"data": [MESSAGES]}, indent=1), json.dumps(MESSAGES, indent=1)):
        assert list(read_dialogues(write(tmp_path / "a.json", text))) == [TALK]


def test_a_reader_that_is_left_early_can_say_what_it_skipped(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Once."""
    reader = read_dialogues(write(tmp_path / "a.jsonl", f"no\n{json.dumps(MESSAGES)}\n" * 2), on_error="skip")
    assert next(reader) == TALK
    reader.report()
    reader.report()
    assert caplog.text.count("skipped 1 of 2 rows") == 1


def test_data_of_other_kinds_in_a_folder_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It is not read, and its rows are not lost without a word."""
    for name in ("a.jsonl", "b.csv", "c.jsonl.zst", "README.md"):
        write(tmp_path / name, json.dumps(MESSAGES))
    assert list(read_dialogues(tmp_path)) == [TALK]
    assert "2 files of other kinds left alone: b.csv, c.jsonl.zst" in caplog.text


@pytest.mark.parametrize("name", ["data.jsonl", "data.json", "data.txt"])
def test_memory_does_not_grow_with_the_file(tmp_path: Path, name: str) -> None:
    """Twelve megabytes are read in less than two."""
    record = json.dumps({"instruction": "a" * 1000, "output": "b" * 1000})
    kinds = {
        "data.jsonl": f"{record}\n" * 6000,
        "data.json": f"[{','.join([record] * 6000)}]",
        "data.txt": f"Q: {'a' * 1000}\nA: {'b' * 1000}\n<|endoftext|>\n" * 6000,
    }
    path = write(tmp_path / name, kinds[name])
    reader = read_dialogues(path)
    tracemalloc.start()
    try:
        assert sum(1 for _ in reader) == 6000
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()


def test_records_at_hand_are_read_like_a_file() -> None:
    """A generator, a list, or a Hugging Face dataset; each is asked for one record at a time."""

    def endless() -> Iterator[dict[str, Any]]:
        while True:
            yield MESSAGES

    assert next(read_dialogues(endless())) == TALK
    assert list(read_dialogues([{"text": "Q: Hi\nA: Hello."}], format="text")) == [TALK]
    with pytest.raises(ValueError, match="record 2: record: expected the keys"):
        list(read_dialogues([MESSAGES, {}]))


def test_folders_are_read_file_by_file(tmp_path: Path) -> None:
    """In the order of their names; other files, hidden ones, and what is still being written are left alone."""
    files = [
        ("b/2.jsonl", ALPACA),
        ("a/1.jsonl", MESSAGES),
        ("README.md", {}),
        ("b/.writing.jsonl", {}),
        (".c/3.json", {}),
    ]
    for name, record in files:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        write(tmp_path / name, json.dumps(record))
    assert list(read_dialogues(tmp_path)) == [TALK, TALK]
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="expected files that end in"):
        read_dialogues(tmp_path / "empty")


def test_unknown_sources_and_formats_are_refused(tmp_path: Path) -> None:
    """Before anything is read."""
    with pytest.raises(ValueError, match="expected a file or a folder, got absent"):
        read_dialogues("absent.jsonl")
    with pytest.raises(ValueError, match="expected a name that ends in"):
        read_dialogues(write(tmp_path / "data.csv", ""))
    wrong: Any = "csv"
    with pytest.raises(ValueError, match="format: expected one of auto, messages"):
        read_dialogues([], format=wrong)
    with pytest.raises(ValueError, match="on_error: expected raise or skip, got 'csv'"):
        read_dialogues([], on_error=wrong)


@pytest.mark.parametrize("library", ["pyarrow", "datasets"])
def test_a_missing_library_names_its_extra(tmp_path: Path, library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both come with the extra `data`."""
    path = tmp_path / "data.parquet"
    if library == "pyarrow":
        path.write_bytes(b"")
    else:
        path.mkdir()
        write(path / "state.json", "{}")
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ImportError, match=rf'expected {library} .*pip install ".\[data\]"'):
        list(read_dialogues(path))


def test_parquet_is_read_in_batches(tmp_path: Path) -> None:
    """More rows than a batch; a bad row is named; a file of another kind is refused."""
    pyarrow = pytest.importorskip("pyarrow", reason="comes with the extra `data`")
    parquet = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "data.parquet"
    parquet.write_table(pyarrow.Table.from_pylist([MESSAGES] * 300 + [{"messages": []}]), path)
    reader = read_dialogues(path)
    assert [next(reader) for _ in range(300)] == [TALK] * 300
    with pytest.raises(ValueError, match=r"data.parquet, row 301: messages: expected a list of at least one"):
        next(reader)
    path.write_bytes(b"no parquet")  # one that is damaged says so in one line
    with pytest.raises(ValueError, match=r"data.parquet: expected a parquet file"):
        list(read_dialogues(path, on_error="skip"))


def test_hugging_face_datasets_are_read_from_memory_and_from_folders(tmp_path: Path) -> None:
    """`save_to_disk` folders; one of several splits must be named."""
    datasets = pytest.importorskip("datasets", reason="comes with the extra `data`")
    data = datasets.Dataset.from_list([MESSAGES, MESSAGES])
    assert list(read_dialogues(data)) == [TALK, TALK]
    datasets.disable_progress_bars()
    datasets.DatasetDict({"train": data, "test": data}).save_to_disk(str(tmp_path / "both"))
    assert list(read_dialogues(tmp_path / "both" / "train")) == [TALK, TALK]
    (tmp_path / "both" / "train" / "state.json").write_text("{}")
    with pytest.raises(ValueError, match="train: expected a folder that datasets saved, got "):
        list(read_dialogues(tmp_path / "both" / "train"))
    with pytest.raises(ValueError, match="expected the folder of one split, got several; inside: test, train"):
        read_dialogues(tmp_path / "both")


@pytest.mark.parametrize("which", ["chosen", "rejected"])
def test_the_real_file_reads_as_a_split_at_its_marks(which: Any) -> None:
    """Once tidied: texts between the marks, stripped, empty turns left out; `hh_dialogues` hands on just that."""
    path = shared_data("hh_rlhf_harmless_base_test.jsonl.gz")
    expected = []
    for line in gzip.decompress(path.read_bytes()).decode().rstrip("\n").split("\n"):
        pieces = re.split(r"\n\n(Human|Assistant):", json.loads(line)[which])
        said = zip(pieces[1::2], pieces[2::2], strict=True)
        expected.append([(int(who == "Assistant"), text.strip()) for who, text in said if text.strip()])
    assert hh_dialogues(path, which) == expected


def test_the_real_file_is_2312_pairs() -> None:
    """Its page says so; both replies of every pair are the assistant's."""
    reader = read_pairs(shared_data("hh_rlhf_harmless_base_test.jsonl.gz"))
    assert all(pair.chosen.player == 1 and pair.prompt.turns[-1].player == 0 for pair in reader)
    assert reader.num_read == 2312
