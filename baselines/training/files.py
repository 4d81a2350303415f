"""Files and folders that are whole or absent: written beside their place, synced, then renamed into it."""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from enum import Enum
from pathlib import Path
from typing import TypeAlias

import numpy as np
from torch import Tensor

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"
"""What JSON can hold."""


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a path to write a file or a folder at; it takes the place of `path` if the block ends well.

    A kill at any moment leaves the old file or the new one. A folder that is new appears in one rename; one
    that is replaced is absent between two.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    written, aside = path.with_name(f".writing.{path.name}"), path.with_name(f".replaced.{path.name}")
    remove(written)
    try:
        yield written
        sync(written)
        if path.is_dir():
            remove(aside)
            path.rename(aside)
        written.replace(path)
    finally:
        remove(written)
    sync_entry(path.parent)
    remove(aside)


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file, whole or not at all."""
    with replacing(path) as written:
        written.write_text(text, encoding="utf-8")


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
    if isinstance(value, np.generic | np.ndarray | Tensor):
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
