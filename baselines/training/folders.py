"""Folders that are kept: written by one process at a time, and known by a mark of their own.

| in the folder | holds |
| --- | --- |
| `.duologue.json` | what kind of folder it is, and the names of what was written into it |
| `.duologue.lock` | who writes into it now: a lock that ends with its process |

A folder without a mark is nobody's to write into, unless it is new or empty; and in a folder with one, what the mark
does not name was put there by others: it is neither replaced nor removed.
"""

from __future__ import annotations

import json
import os
import platform
import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ...agents.folders import read_json
from .files import BESIDE, KEEPERS, MARK_FILE, WRITING, write_json

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

LOCK_FILE = ".duologue.lock"
FORMAT = 1
"""Of the mark; a newer version of the package may write another."""
PATIENCE_S = 1.0
"""How long whoever has just taken a lock may need to say so."""
SHOWN_NAMES = 5
"""How many names an error lists."""


class KeptFolder:
    """A folder that this process keeps until it is closed; made by `KeptFolder.open`."""

    def __init__(self, folder: Path, kind: str, lock: int, written: list[str]) -> None:
        self.folder, self.kind, self.written = folder, kind, written
        self._lock: int | None = lock
        self._place = Path(os.path.realpath(folder))
        KEEPERS[self._place] = self

    @classmethod
    def open(cls, folder: Path, *, kind: str, older: Callable[[Path], bool] = lambda folder: False) -> KeptFolder:
        """Lock a folder that is new, empty, or of this kind, and mark it; nothing is written into another.

        Args:
            folder: where; it is made if need be.
            kind: what is kept in it, such as "run".
            older: whether a folder without a mark was written by a version that made none.

        Raises:
            ValueError: it holds something else, or cannot be written, or another process writes into it.
        """
        try:
            str(folder).encode()  # in which safetensors wants paths
            _read_mark(folder, kind, older)  # before a byte is written
            lock = _lock(folder)
        except ValueError as error:
            raise ValueError(_with_path(error, folder)) from error
        except OSError as error:
            reason = error.strerror or str(error)
            raise ValueError(f"{str(folder)!r}: expected a folder that can be written, got {reason}") from error
        try:
            kept = cls(folder, kind, lock, _read_mark(folder, kind, older))  # again: another may have had it until now
        except BaseException:
            os.close(lock)
            raise
        try:
            kept.write_mark()
        except BaseException:
            kept.close()
            raise
        return kept

    def claim(self, name: str) -> None:
        """Take note that an entry is about to be written.

        Raises:
            ValueError: something stands there that is not ours.
            OSError: the folder is gone.
        """
        self.require_there()
        if name in self.written or name in (MARK_FILE, LOCK_FILE):
            return
        path = self.folder / name
        if os.path.lexists(path):
            found = "a folder" if path.is_dir() else "a file"
            raise ValueError(
                f"{path}: expected nothing there, or what this {self.kind} has written, got {found} that it has not; "
                "move it elsewhere"
            )
        self.note(name)

    def note(self, name: str) -> None:
        """Let the mark name something from now on."""
        if name in self.written:
            return
        self.written.append(name)
        try:
            self.write_mark()
        except BaseException:
            self.written.remove(name)
            raise

    def require_there(self) -> None:
        """Raise OSError where the folder was removed, moved or replaced, or has been closed: others may write there."""
        try:
            found = os.stat(self.folder / LOCK_FILE)
        except OSError:
            found = None
        held = None if self._lock is None else os.fstat(self._lock)
        if found is None or held is None or (found.st_dev, found.st_ino) != (held.st_dev, held.st_ino):
            raise FileNotFoundError(
                f"{self.folder}: expected the folder that is written into, got none: it was removed, moved or closed "
                f"meanwhile"
            )

    def write_mark(self) -> None:
        """Write the mark."""
        write_json(self.folder / MARK_FILE, {"format": FORMAT, "kind": self.kind, "written": self.written})

    def close(self) -> None:
        """Let others write there."""
        if self._lock is None:
            return
        KEEPERS.pop(self._place, None)
        with suppress(OSError):
            os.ftruncate(self._lock, 0)  # nobody has it
        os.close(self._lock)  # which unlocks
        self._lock = None

    def __enter__(self) -> KeptFolder:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def _read_mark(folder: Path, kind: str, older: Callable[[Path], bool]) -> list[str]:
    """Return what was written into a folder of this kind; nothing if it is new or empty.

    Raises:
        ValueError: it is of another kind.
    """
    try:
        names = sorted(path.name for path in folder.iterdir() if not path.name.startswith(WRITING))
    except FileNotFoundError:
        return []
    if MARK_FILE in names:
        return _marked(folder / MARK_FILE, kind)
    names = [name for name in names if name != LOCK_FILE]
    if names and not older(folder):
        config = "config.json"  # models and projects have one too
        got = f"one whose {config} no {kind} has written" if config in names else f"{names[:SHOWN_NAMES]}"
        raise ValueError(f"{folder}: expected a new or empty folder, or a {kind}'s, got {got}")
    return [name for name in names if name not in BESIDE]


def _marked(path: Path, kind: str) -> list[str]:
    mark: dict[str, Any] = read_json(path)
    written = mark.get("written")
    if not isinstance(written, list) or not all(_is_entry(name) for name in written):
        raise ValueError(f"{path}: expected a format, a kind and names of what was written, got {sorted(mark)}")
    if mark.get("format") != FORMAT:
        raise ValueError(f"{path}: expected format {FORMAT}, got {mark.get('format')!r}, of another version")
    if mark.get("kind") != kind:
        raise ValueError(
            f"{path.parent}: expected a new or empty folder, or a {kind}'s, got that of a {mark.get('kind')}"
        )
    return written


def _is_entry(name: object) -> bool:
    """Whether it is the name of something in a folder itself; a slash behind it is a note of ours."""
    plain = name.removesuffix("/") if isinstance(name, str) else ""
    return plain not in ("", "..") and Path(plain).name == plain and "\0" not in plain


def _lock(folder: Path) -> int:
    """Return the lock on a folder, as the descriptor of a file: it ends when that is closed, with the process at last.

    Raises:
        ValueError: another has it; the message says who.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / LOCK_FILE
    while True:
        lock = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o644)
        try:
            _hold(lock, folder)
            os.ftruncate(lock, 0)
            os.write(lock, (json.dumps(_this_process()) + "\n").encode("utf-8"))
            if os.path.exists(path) and os.path.samestat(os.fstat(lock), os.stat(path)):
                return lock
        except BaseException:
            os.close(lock)
            raise
        os.close(lock)  # the folder was removed in between


def _hold(lock: int, folder: Path) -> None:
    """Lock a file or raise ValueError; where a file system knows no locks, say so and go on."""
    try:
        if fcntl is None:
            raise OSError("no flock on this system")
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        raise ValueError(
            f"{folder}: expected a folder that no other process writes into, got one {_user(lock)}"
        ) from None
    except OSError as error:
        print(f"{folder} cannot be locked ({error}): let no second process write there", file=sys.stderr, flush=True)


def _this_process() -> dict[str, str | int]:
    return {
        "process": os.getpid(),
        "host": socket.gethostname() or platform.node(),
        "since": datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC"),
        "command": " ".join(sys.argv)[:1000],
    }


def _user(lock: int) -> str:
    """Return in words who has a lock; it is given a moment to write that down."""
    deadline = time.monotonic() + PATIENCE_S
    while not os.fstat(lock).st_size and time.monotonic() < deadline:
        time.sleep(0.01)
    try:
        who = json.loads(os.read(lock, 10_000))
        number, command = int(who["process"]), f" ({who['command']})" if who["command"] else ""
        return f"in use by process {number} on {who['host']} since {who['since']}{command}"
    except (ValueError, KeyError, TypeError, OSError, RecursionError):
        return "in use by another process"


def _with_path(error: ValueError, folder: Path) -> str:
    """Return an error that names the folder, which Python's own about names it cannot use do not."""
    return str(error) if str(folder) in str(error) else f"{str(folder)!r}: {error}"
