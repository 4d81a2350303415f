"""Files and folders that are whole or absent: written beside their place, synced, then renamed into it.

Nothing is replaced that is of another kind, and nothing in a kept folder (`folders.py`) that its keeper did not write.
"""

from __future__ import annotations

import glob
import hashlib
import json
import math
import os
import secrets
import shutil
import socket
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import fields, is_dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeAlias, TypeGuard

import numpy as np
from safetensors import SafetensorError

if TYPE_CHECKING:
    from torch import Tensor

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"
"""What JSON can hold."""

MARK_FILE = ".duologue.json"
"""In a kept folder: what was written into it."""
BESIDE = ("evaluation.json", "evaluation.jsonl", "episodes.jsonl", "episodes.txt", "README.md", "__pycache__")
"""What may be put into a folder without changing what is read of it; names with a dot before them likewise."""
WRITING, REPLACED = ".writing.", ".replaced."
"""How the names of files and folders begin that are being written, or that have just been replaced."""
HOST = hashlib.sha256(socket.gethostname().encode()).hexdigest()[:8]
"""Tells the machines apart that share a disk."""
NAME_BYTES = 150
"""The longest name that is part of the temporary one: file systems take 255 bytes."""


class Keeper(Protocol):
    """Whoever keeps a folder, and knows what in it may be replaced."""

    def claim(self, name: str) -> None:
        """Take note that an entry of the folder is about to be written; raise if it is somebody else's."""
        ...


KEEPERS: dict[Path, Keeper] = {}
"""The folders that this process keeps."""


def claim(path: Path) -> None:
    """Ask whoever keeps a folder around a path, the nearest one, whether it may be written.

    Raises:
        ValueError: something stands there that the keeper did not write.
        OSError: the folder is gone.
    """
    place = Path(os.path.realpath(path.parent)) / path.name
    for folder in place.parents:
        if folder in KEEPERS:
            KEEPERS[folder].claim(place.relative_to(folder).parts[0])
            return


@contextmanager
def replacing(path: Path, *, folder: bool = False) -> Iterator[Path]:
    """Give a path to write a file at, or a new folder to write into; it takes the place of `path` if the block ends.

    A kill at any moment leaves the old file or the new one, also where several write at once. A folder that is new
    appears in one rename; one that is replaced is absent between two, and what others have put into it moves along.

    Raises:
        ValueError: a folder stands in place of a file, a file in place of a folder, or something else that is neither.
        OSError: it cannot be written; a full disk, for one.
    """
    claim(path)
    require_kind(path, folder=folder)
    path.parent.mkdir(parents=True, exist_ok=True)
    _clear_leftovers(path)
    written = _temporary(WRITING, path)
    try:
        if folder:
            written.mkdir()
        yield written
        sync(written)
        _put_in_place(written, path)
    except SafetensorError as error:  # what safetensors makes of a full disk
        raise OSError(f"{path}: expected a place that can be written, got {error}") from error
    finally:
        with suppress(OSError):
            remove(written)
    sync_entry(path.parent)


def require_kind(path: Path, *, folder: bool) -> None:
    """Raise ValueError where something stands in a path's place that a file, or a folder, must not replace."""
    wanted = "folder" if folder else "file"
    if path.is_dir() if not folder else path.exists() and not path.is_dir():
        raise ValueError(f"{path}: expected a {wanted} or nothing there, got a {'file' if folder else 'folder'}")
    if path.exists() and not path.is_dir() and not path.is_file():
        raise ValueError(f"{path}: expected a {wanted} or nothing there, got a device, a pipe or a socket")


def check_output(option: str, path: Path, *, inputs: Sequence[Path] = ()) -> None:
    """Find out before long work what would be found out after it: that a file cannot be written where it was asked for.

    Args:
        option: what it was asked for by, for the error.
        path: the file.
        inputs: files and folders that are read, and that it must neither be nor lie in.

    Raises:
        ValueError: it cannot; the message says why.
    """
    try:
        if not path.name:
            raise ValueError("expected a file's name")
        require_kind(path, folder=False)
        place = Path(os.path.realpath(path))
        for read in inputs:
            above = Path(os.path.realpath(read))
            if read.exists() and (place == above or (read.is_dir() and above in place.parents)):
                raise ValueError(f"expected a file apart from what is read, {read}")
        if place.exists() and place.name not in BESIDE and _is_kept(place):
            raise ValueError("expected a new file, or one of yours, got one that a run or the like has written")
        above = next(parent for parent in place.parents if os.path.lexists(parent))
        if not above.is_dir() or not os.access(above, os.W_OK):
            raise ValueError(f"expected a folder that can be written, got {above}")
    except (ValueError, OSError) as error:
        raise ValueError(f"{option} {str(path)!r}: {error}") from error


def _is_kept(path: Path) -> bool:
    """Whether the mark of the nearest kept folder around a path names it, or a folder that it lies in."""
    folder = next((folder for folder in path.parents if (folder / MARK_FILE).is_file()), None)
    if folder is None:
        return False
    try:
        written = json.loads((folder / MARK_FILE).read_bytes())["written"]
    except (ValueError, KeyError, TypeError, RecursionError):  # it is no mark of ours
        return False
    return path.relative_to(folder).parts[0] in written


def _temporary(prefix: str, path: Path) -> Path:
    """Return a name beside a path that nothing else has."""
    return path.with_name(f"{prefix}{_stem(path)}.{HOST}-{os.getpid()}-{secrets.token_hex(4)}")


def _stem(path: Path) -> str:
    """Return a name's part in the temporary one: itself, or what stands for one that is long."""
    name = path.name.encode("utf-8", "surrogateescape")
    return path.name if len(name) <= NAME_BYTES else hashlib.sha256(name).hexdigest()


def _put_in_place(written: Path, path: Path) -> None:
    """Rename what was written into its place; a link there is replaced, and what it points to stays."""
    require_kind(path, folder=written.is_dir())
    if not written.is_dir() or not os.path.lexists(path):
        written.replace(path)
        return
    aside = _temporary(REPLACED, path)
    path.rename(aside)
    written.replace(path)
    _drop_replaced(aside, path)


def _drop_replaced(old: Path, new: Path) -> None:
    """Remove a folder that was replaced; what the new one does not have was put there by others, and is kept."""
    if not old.is_symlink():
        _move_others(old, new)
    remove(old)


def _move_others(old: Path, new: Path) -> None:
    for path in old.iterdir():
        if not os.path.lexists(new / path.name):
            path.rename(new / path.name)
        elif path.is_dir() and not path.is_symlink() and (new / path.name).is_dir():
            _move_others(path, new / path.name)


def _clear_leftovers(path: Path) -> None:
    """Remove what killed writers of a path have left, and put a folder back that one had moved aside."""
    name = glob.escape(_stem(path))
    for aside in path.parent.glob(f"{REPLACED}{name}.{HOST}-*-*"):
        if _writer_is_dead(aside):
            if os.path.lexists(path):
                _drop_replaced(aside, path)
            else:
                aside.rename(path)
    for written in path.parent.glob(f"{WRITING}{name}.{HOST}-*-*"):
        if _writer_is_dead(written):
            remove(written)


def _writer_is_dead(path: Path) -> bool:
    """Whether the process that a temporary name tells of, one of this machine, has ended."""
    number = path.name.rsplit("-", 2)[1]
    if not number.isdigit():
        return False
    try:
        os.kill(int(number), 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file, whole or not at all."""
    with replacing(path) as written:
        written.write_bytes(text.encode("utf-8"))


def write_json(path: Path, value: object) -> None:
    """Write a JSON file, whole or not at all; see `to_json` for what is taken."""
    write_text(path, json.dumps(to_json(value, path.name), indent=2) + "\n")


def to_json(value: object, where: str) -> Json:
    """Return a value as plain JSON: dataclasses are objects, tuples lists, numbers that are not finite null.

    Args:
        value: dataclasses, mappings with string keys, sequences, enums, paths, numbers, arrays, text, None.
        where: what the value is called in errors.

    Raises:
        TypeError: it holds something else.
    """
    if isinstance(value, Enum):
        return to_json(value.value, where)
    if isinstance(value, np.generic | np.ndarray) or _is_tensor(value):
        return to_json(value.tolist(), where)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, Path):
        return str(value)
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: to_json(getattr(value, field.name), f"{where}.{field.name}") for field in fields(value)}
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {str(key): to_json(item, f"{where}.{key}") for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, bytes):
        return [to_json(item, f"{where}[{k}]") for k, item in enumerate(value)]
    raise TypeError(f"{where}: expected what JSON can hold, got {type(value).__name__}: {value!r}")


def _is_tensor(value: object) -> TypeGuard[Tensor]:
    """Whether a value is a tensor; there is none before torch is imported, which takes seconds."""
    return "torch" in sys.modules and isinstance(value, sys.modules["torch"].Tensor)


def remove(path: Path) -> None:
    """Remove a file or a folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Make the operating system write a file, or a folder with all that is in it, to the disk."""
    if path.is_dir():
        for inside in path.iterdir():
            sync(inside)
    sync_entry(path)


def sync_entry(path: Path) -> None:
    """Make the operating system write a file, or a folder's list of names, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
