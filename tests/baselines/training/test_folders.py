"""Folders that are kept: one writer at a time, known by a mark, and nothing of others is touched."""

import errno
import fcntl
import json
import os
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest

from duologue.baselines.training import folders
from duologue.baselines.training.files import MARK_FILE, replacing, write_text
from duologue.baselines.training.folders import KeptFolder
from duologue.tests.baselines.helpers import everything_in


def test_a_second_writer_is_told_who_has_the_folder(tmp_path: Path) -> None:
    """By process, machine, time and command, in one line; and nothing is changed."""
    with KeptFolder.open(tmp_path / "kept", kind="run"):
        before = everything_in(tmp_path)
        with pytest.raises(
            ValueError, match=rf"in use by process {os.getpid()} on \S+ since \d{{4}}-\d\d-\d\d .*UTC"
        ) as error:
            KeptFolder.open(tmp_path / "kept", kind="run")
        assert "\n" not in str(error.value)
        assert everything_in(tmp_path) == before
    KeptFolder.open(tmp_path / "kept", kind="run").close()


def test_a_lock_ends_with_a_process_that_was_killed(tmp_path: Path) -> None:
    """However that ended: nobody has to remove anything by hand."""
    code = f"""
        import os, signal
        from pathlib import Path
        from duologue.baselines.training.folders import KeptFolder
        kept = KeptFolder.open(Path({str(tmp_path)!r}), kind="run")
        print("kept", flush=True)
        signal.pause()
    """
    with subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "kept\n"
        with pytest.raises(ValueError, match=f"in use by process {other.pid} on"):
            KeptFolder.open(tmp_path, kind="run")
        other.kill()
    KeptFolder.open(tmp_path, kind="run").close()


def test_who_has_just_taken_a_folder_is_given_a_moment_to_say_so(tmp_path: Path) -> None:
    """Two that begin at once would else be told of "another process"."""
    told = json.dumps({"process": 7, "host": "far", "since": "now", "command": ""})
    lock = os.open(tmp_path / folders.LOCK_FILE, os.O_RDWR | os.O_CREAT)
    fcntl.flock(lock, fcntl.LOCK_EX)
    saying = threading.Timer(0.1, lambda: os.write(lock, told.encode()))
    saying.start()
    with pytest.raises(ValueError, match="in use by process 7 on far since now"):
        KeptFolder.open(tmp_path, kind="run")
    saying.join()
    os.close(lock)


def test_a_file_system_without_locks_is_said_and_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Some network file systems know none; nor does Windows."""

    def flock(*arguments: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", flock)
    KeptFolder.open(tmp_path, kind="run").close()
    monkeypatch.setattr(folders, "fcntl", None)
    KeptFolder.open(tmp_path, kind="run").close()
    assert capsys.readouterr().err.count("cannot be locked") == 2


@pytest.mark.parametrize("kind", ["folder", "file", "link"])
def test_what_others_put_into_a_kept_folder_is_not_replaced(kind: str, tmp_path: Path) -> None:
    """Under a name of ours, too; what the folder's keeper wrote is."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "precious.txt").write_text("precious")
    with KeptFolder.open(tmp_path / "kept", kind="run"):
        write_text(tmp_path / "kept" / "table.md", "old")
        model = tmp_path / "kept" / "model"
        if kind == "folder":
            model.mkdir()
            (model / "precious.txt").write_text("precious")
        elif kind == "file":
            model.write_text("precious")
        else:
            model.symlink_to(tmp_path / "elsewhere")
        before = everything_in(tmp_path)
        said = "expected nothing there, or what this run has written, got a "
        with pytest.raises(ValueError, match=said), replacing(model, folder=True):
            raise AssertionError("work was begun")
        assert everything_in(tmp_path) == before
        write_text(tmp_path / "kept" / "table.md", "new")
        assert (tmp_path / "kept" / "table.md").read_text() == "new"


def test_what_others_put_into_a_folder_of_ours_moves_along(tmp_path: Path) -> None:
    """Notes beside a model outlive the model."""
    for text in ("old", "new"):
        with replacing(tmp_path / "model", folder=True) as written:
            (written / "inside").mkdir()
            (written / "weights").write_text(text)
        (tmp_path / "model" / "inside" / "notes.txt").write_text("precious")
    assert {path.name: path.read_text() for path in (tmp_path / "model").rglob("*") if path.is_file()} == {
        "weights": "new",
        "notes.txt": "precious",
    }
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_folder_that_goes_away_under_its_keeper_is_noticed(tmp_path: Path) -> None:
    """Nothing is made again in its place, so that the same command can begin there."""
    place = tmp_path / "kept"
    with KeptFolder.open(place, kind="run"):
        write_text(place / "a", "a")
        place.rename(tmp_path / "moved")
        with pytest.raises(FileNotFoundError, match="expected the folder that is written into, got none"):
            write_text(place / "a", "b")
        assert not place.exists()
        KeptFolder.open(place, kind="run").close()


@pytest.mark.parametrize(
    ("mark", "message"),
    [
        (
            {"format": 1, "kind": "bench", "written": []},
            "expected a new or empty folder, or a run's, got that of a bench",
        ),
        ({"format": 2, "kind": "run", "written": []}, "expected format 1, got 2, of another version"),
        ({"format": 1, "kind": "run"}, "expected a format, a kind and names"),
        ({"format": 1, "kind": "run", "written": [1]}, "expected a format, a kind and names"),
        ({"format": 1, "kind": "run", "written": ["/etc"]}, "expected a format, a kind and names"),
        ({"format": 1, "kind": "run", "written": ["../model"]}, "expected a format, a kind and names"),
        ({"format": 1, "kind": "run", "written": [".."]}, "expected a format, a kind and names"),
        ({"format": 1, "kind": "run", "written": ["model/weights"]}, "expected a format, a kind and names"),
        ([], "expected a JSON object, got list"),
    ],
)
def test_another_mark_is_refused(mark: object, message: str, tmp_path: Path) -> None:
    """A benchmark is no run, and what a newer version wrote is not guessed."""
    (tmp_path / MARK_FILE).write_text(json.dumps(mark))
    before = everything_in(tmp_path)
    with pytest.raises(ValueError, match=message):
        KeptFolder.open(tmp_path, kind="run")
    assert everything_in(tmp_path) == before


@pytest.mark.parametrize("place", ["file", "file/inside", "link", "loop", "n" * 300, "nul\0", "lat\udcfe", "project"])
def test_a_place_that_cannot_be_a_folder_is_named(place: str, tmp_path: Path) -> None:
    """In one line, and before anything is written."""
    (tmp_path / "file").write_text("precious")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "config.json").write_text('{"name": "mine", "config": {}}')
    before = everything_in(tmp_path)
    with pytest.raises(ValueError, match=rf"{place[:3]}.*(expected|embedded null|not allowed)") as error:
        KeptFolder.open(tmp_path / place, kind="run")
    assert "\n" not in str(error.value)
    assert everything_in(tmp_path) == before
