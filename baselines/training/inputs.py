"""What a run rests on: the files and folders that its options name, and whether they still hold what they held.

A run that goes on with other data, or from another model, would be none that can be repeated, and nothing would say so.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ...agents.judges.specs import parse_judge
from ...agents.language_model.adapters import base_of, is_adapter
from ...agents.loading import AGENT_SPECS
from .asked import JUDGE
from .files import BESIDE

OUT = "out"
"""The option that names what is written."""
NAMED = ("opponent", "encoder", "template")
"""Options that are a text and may name a folder."""
GAME_OPTION = "game_option"
"""The option whose values are NAME=VALUE, where a value may be a file."""
CHUNK_BYTES = 1 << 20
SHOWN_BYTES = 1 << 28
"""From how much on a bar shows how far reading is."""


def inputs_of(options: object) -> dict[str, Path]:
    """Return the files and folders that options name and that are there, by the options' names.

    A pipe is none: it can be read once. An adapter rests on its base, too.
    """
    found = {name: path for name, path in _named(options, "") if path.is_file() or path.is_dir()}
    adapters = [(name, path) for name, path in found.items() if is_adapter(path)]
    return found | {f"{name}.base": base_of(path) for name, path in adapters}


def _named(value: Any, name: str) -> Iterator[tuple[str, Path]]:
    """Yield each option that may be a path."""
    option = name.rpartition(".")[2].partition("[")[0]
    if option == OUT:
        return
    if is_dataclass(value):
        for field in fields(value):
            yield from _named(getattr(value, field.name), f"{name}.{field.name}" if name else field.name)
    elif isinstance(value, tuple | list):
        for number, item in enumerate(value):
            yield from _named(item, f"{name}[{number}]")
    elif isinstance(value, Path):
        yield name, value
    elif isinstance(value, str) and option == GAME_OPTION:
        given = value.partition("=")[2]
        if os.sep in given and "\0" not in given:
            yield name, Path(given)
    elif isinstance(value, str) and option == JUDGE:
        paths = [path for spec in parse_judge(value) for path in spec.paths]
        yield from ((name if len(paths) == 1 else f"{name}[{number}]", path) for number, path in enumerate(paths))
    elif isinstance(value, str) and option in NAMED and is_path(value):
        yield name, Path(value)


def is_path(value: str) -> bool:
    """Whether an option that may name a folder or a file does: it is none of the agents' names, and no text itself."""
    return bool(value) and value not in AGENT_SPECS and "{" not in value


def require_apart(folder: Path, inputs: Mapping[str, Path]) -> None:
    """Raise ValueError where a folder to write into is one that is read, or lies in one."""
    place = Path(os.path.realpath(folder))  # which knows no errors
    for name, path in inputs.items():
        read = Path(os.path.realpath(path))
        if place == read or (path.is_dir() and read in place.parents):
            raise ValueError(f"{OUT}: expected a folder apart from what is read, {name} {path}, got {folder}")


def digests(inputs: Mapping[str, Path]) -> dict[str, str]:
    """Return the SHA-256 of each input: of a file's bytes, of the names and bytes of all files in a folder."""
    files = {name: list(_files(path, set())) for name, path in inputs.items()}
    num_bytes = sum(file.stat().st_size for listed in files.values() for file in listed)
    hide = num_bytes < SHOWN_BYTES or not sys.stderr.isatty()
    with tqdm(desc="reading inputs", total=num_bytes, unit="B", unit_scale=True, leave=False, disable=hide) as bar:
        return {name: _digest(inputs[name], files[name], bar) for name in inputs}


def _files(path: Path, seen: set[str]) -> Iterator[Path]:
    """Yield a file itself, or what is read of a folder, in an order that does not depend on the disk.

    A folder that links lead to again, `seen` by its real path, is read once.
    """
    if not path.is_dir():
        yield path
        return
    if os.path.realpath(path) in seen:
        return
    seen.add(os.path.realpath(path))
    for inside in sorted(path.iterdir()):
        if not inside.name.startswith(".") and inside.name not in BESIDE and (inside.is_dir() or inside.is_file()):
            yield from _files(inside, seen)


def _digest(path: Path, files: list[Path], bar: tqdm[Any]) -> str:
    digest = hashlib.sha256()
    for file in files:
        if file != path:
            digest.update(f"{file.relative_to(path).as_posix()}\0{file.stat().st_size}\0".encode())
        with file.open("rb") as opened:
            while chunk := opened.read(CHUNK_BYTES):
                digest.update(chunk)
                bar.update(len(chunk))
    return digest.hexdigest()


def require_unchanged(
    found: Mapping[str, str], asked: Mapping[str, str], inputs: Mapping[str, Path], folder: Path
) -> None:
    """Hold inputs against those that a run began with.

    Raises:
        ValueError: one holds something else, or is gone; the message names it.
    """
    for name, digest in found.items():
        now = asked.get(name)
        if now != digest:
            where = f", {inputs[name]}" if name in inputs else ""
            got = "nothing there" if now is None else f"another content ({now[:12]})"
            raise ValueError(
                f"{name}{where}: expected what the run in {folder} began with (SHA-256 {digest[:12]}), got {got}; "
                "put it back, or give another folder"
            )
