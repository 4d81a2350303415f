"""Files and folders are whole or absent, whoever else writes them, and replace nothing of another kind."""

import os
import resource
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from safetensors import SafetensorError

from duologue.baselines.training.files import check_output, replacing, write_text
from duologue.tests.baselines.helpers import everything_in


def test_two_writers_at_once_leave_a_whole_file(tmp_path: Path) -> None:
    """They shared one temporary name, and the first to end put the other's half into place."""
    path = tmp_path / "chats.jsonl"
    with replacing(path) as first:
        first.write_text("a whole file\n")
        second = replacing(path)
        half = second.__enter__()
        half.write_text("ha")
    assert path.read_text() == "a whole file\n"
    half.write_text("another whole file\n")
    second.__exit__(None, None, None)
    assert path.read_text() == "another whole file\n"
    assert [entry.name for entry in tmp_path.iterdir()] == ["chats.jsonl"]


def test_what_a_killed_writer_left_is_cleared_and_a_living_ones_is_not(tmp_path: Path) -> None:
    """The name says which process writes; a folder that was moved aside comes back."""
    code = f"""
import os, signal
from pathlib import Path
from duologue.baselines.training.files import _temporary
for prefix, name in ((".writing.", "a"), (".writing.", "model"), (".replaced.", "model")):
    left = _temporary(prefix, Path({str(tmp_path)!r}) / name)
    left.mkdir() if name == "model" else left.touch()
    (left / "notes.txt").write_text(prefix) if name == "model" else None
"""
    subprocess.run([sys.executable, "-c", code], check=True)
    assert len(list(tmp_path.iterdir())) == 3
    with replacing(tmp_path / "a") as living:
        living.touch()
        write_text(tmp_path / "a", "whole")
        assert living.exists()
    with pytest.raises(OSError, match="stopped"), replacing(tmp_path / "model", folder=True):
        raise OSError("stopped")
    assert (tmp_path / "model" / "notes.txt").read_text() == ".replaced."
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "model"]


def test_nothing_of_another_kind_is_replaced(tmp_path: Path) -> None:
    """A folder in place of a file was removed with all that was in it."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "precious.txt").write_text("precious")
    (tmp_path / "file").write_text("precious")
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as opened:
        opened.bind(str(tmp_path / "socket"))
    before = everything_in(tmp_path)
    for name, folder in (("folder", False), ("file", True), ("pipe", False), ("socket", False), ("pipe", True)):
        said = f"{name}: expected a f.* or nothing there, got a"
        with pytest.raises(ValueError, match=said), replacing(tmp_path / name, folder=folder):
            raise AssertionError("work was begun")
    assert everything_in(tmp_path) == before


def test_a_link_is_replaced_and_what_it_points_to_stays(tmp_path: Path) -> None:
    """Of a file and of a folder, also where there is nothing at its end."""
    for kind in ("file", "folder", "nowhere"):
        (tmp_path / kind).mkdir() if kind == "folder" else (tmp_path / kind).write_text("precious")
        (tmp_path / f"to_{kind}").symlink_to(tmp_path / kind)
    (tmp_path / "nowhere").unlink()
    write_text(tmp_path / "to_file", "new")
    write_text(tmp_path / "to_nowhere", "new")
    with replacing(tmp_path / "to_folder", folder=True) as written:
        (written / "inside").touch()
    assert (tmp_path / "file").read_text() == "precious"
    assert not (tmp_path / "nowhere").exists()
    assert list((tmp_path / "folder").iterdir()) == []
    assert not any((tmp_path / f"to_{kind}").is_symlink() for kind in ("file", "folder", "nowhere"))


@pytest.mark.parametrize(
    ("name", "inputs", "message"),
    [
        ("", [], "expected a file's name"),
        ("folder", [], "expected a file or nothing there, got a folder"),
        ("file/inside", [], "Not a directory|expected a folder that can be written"),
        ("pairs.jsonl", ["pairs.jsonl"], "expected a file apart from what is read"),
        ("link", ["pairs.jsonl"], "expected a file apart from what is read"),
        ("folder/new.jsonl", ["folder"], "expected a file apart from what is read"),
        ("n" * 300, [], "too long"),
        ("nul\0", [], "embedded null"),
    ],
)
def test_a_file_that_cannot_be_written_is_refused_before_the_work(
    name: str, inputs: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the option's name, in one line."""
    monkeypatch.chdir(tmp_path)
    Path("folder").mkdir()
    for file in ("file", "pairs.jsonl"):
        Path(file).write_text("precious")
    Path("link").symlink_to("pairs.jsonl")
    before = everything_in(tmp_path)
    with pytest.raises(ValueError, match=rf"^--out .*: .*({message})"):
        check_output("--out", Path(name), inputs=[Path(read) for read in inputs])
    check_output("--out", Path("new/deeper/file"))
    check_output("--out", Path("file"))
    assert everything_in(tmp_path) == before


@pytest.mark.parametrize(
    ("name", "refused"),
    [
        ("run/metrics.jsonl", True),
        ("run/model/weights", True),
        ("link/metrics.jsonl", True),
        ("run/evaluation.json", False),
        ("run/model/evaluation.json", False),
        ("run/notes.txt", False),
        ("run/new.jsonl", False),
        ("run/inner/metrics.jsonl", False),
        ("other/metrics.jsonl", False),
    ],
)
def test_what_a_kept_folder_holds_is_not_written_over(name: str, refused: bool, tmp_path: Path) -> None:
    """An export took the place of another run's records; what was put beside them is the user's."""
    for file in ("metrics.jsonl", "model/weights", "evaluation.json", "model/evaluation.json", "notes.txt"):
        for folder in ("run", "run/inner", "other"):
            (tmp_path / folder / file).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / folder / file).write_text("precious")
    (tmp_path / "link").symlink_to("run")
    written = '{"format": 1, "kind": "run", "written": ["metrics.jsonl", "model", "evaluation.json", "inner"]}'
    (tmp_path / "run/.duologue.json").write_text(written)
    (tmp_path / "run/inner/.duologue.json").write_text('{"written": []}')
    (tmp_path / "other/.duologue.json").write_text("[")
    if refused:
        with pytest.raises(ValueError, match="expected a new file, or one of yours"):
            check_output("out", tmp_path / name)
    else:
        check_output("out", tmp_path / name)


def test_a_full_disk_is_an_error_of_the_disk_and_leaves_the_old(tmp_path: Path) -> None:
    """The error of safetensors is its own, and was a traceback of forty lines."""
    with replacing(tmp_path / "model", folder=True) as written:
        safetensors.numpy.save_file({"a": np.zeros(4)}, written / "weights")
    before = everything_in(tmp_path)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        said = "model: expected a place that can be written, got"
        with pytest.raises(OSError, match=said) as error, replacing(tmp_path / "model", folder=True) as written:
            safetensors.numpy.save_file({"a": np.zeros(4000)}, written / "weights")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert isinstance(error.value.__cause__, SafetensorError)
    assert everything_in(tmp_path) == before


def test_long_names_that_begin_alike_are_told_apart(tmp_path: Path) -> None:
    """What a killed writer of one had moved aside is not put in the other's place."""
    first, second = (tmp_path / ("é" * 120 + end) for end in "ab")
    code = f"""
from pathlib import Path
from duologue.baselines.training.files import _temporary
_temporary(".replaced.", Path({str(first)!r})).mkdir()
"""
    subprocess.run([sys.executable, "-c", code], check=True)
    write_text(second, "b")
    with replacing(first, folder=True):
        assert first.is_dir()
    assert sorted(path.name[-1] for path in tmp_path.iterdir()) == ["a", "b"]
