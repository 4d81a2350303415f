"""What a run was asked for, held against what it began with: only what decides its result must be the same."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from ...agents.judges.specs import without_places
from .files import Json

READ = "(an input)"
"""Stands for the path of what is read: it is the content that must be the same."""
SHOWN_OPTIONS = 8
"""How many options that differ an error lists."""
JUDGE = "judge"
"""The option that names judges, each with what it is read from."""
CHANGEABLE = ("out", "num_processes", "num_threads", "device", "save_every", "keep_checkpoints")
"""Options in which a resumed run may differ, as no result depends on them but for rounding; `out` is the folder by
whatever path."""


def require_same(
    found: Mapping[str, Json],
    asked: Mapping[str, Json],
    folder: Path,
    inputs: Collection[str] = (),
    *,
    length: str = "",
) -> None:
    """Raise ValueError that names every option in which the folder's run differs from the one asked for.

    Args:
        found: what the run began with.
        asked: what is asked for.
        folder: the run's.
        inputs: options that name what both read: it is their contents that are compared, elsewhere.
        length: the option that says how long it is; a run can be lengthened, and not be cut.
    """
    old, new = by_content(found, inputs), by_content(asked, inputs)
    new = {name: value for name, value in new.items() if name in old or value is not None}  # a younger option, unsaid
    if is_longer(found, asked, length):
        old[length] = new[length]
    differing = [name for name in {**old, **new} if name not in old or name not in new or old[name] != new[name]]
    if differing:
        more = f"; and {len(differing) - SHOWN_OPTIONS} more" if len(differing) > SHOWN_OPTIONS else ""
        differences = "; ".join(
            f"{name}: {json.dumps(old[name]) if name in old else 'absent'} there, "
            f"{json.dumps(new[name]) if name in new else 'absent'} asked for"
            for name in differing[:SHOWN_OPTIONS]
        )
        raise ValueError(f"{folder} holds a run with other options, give another folder: {differences}{more}")


def is_longer(found: Mapping[str, Json], asked: Mapping[str, Json], length: str) -> bool:
    """Return whether a run is asked for that is longer than the one that was."""
    old, new = (dict(_options(values)).get(length) for values in (found, asked))
    return isinstance(old, int) and isinstance(new, int) and new > old


def by_content(values: Mapping[str, Json], inputs: Collection[str]) -> dict[str, Json]:
    """Return the options that decide the result, where an input is the same by whatever path it is named."""
    options = {name: value for name, value in _options(values) if name not in CHANGEABLE}
    for name in inputs:
        option, _, place = name.removesuffix("]").partition("[")
        value = options.get(option)
        if isinstance(value, str) and option.rpartition(".")[2] == JUDGE:
            options[option] = without_places(value, READ)
        elif isinstance(value, list) and place.isdigit() and int(place) < len(value):
            options[option] = [_unplaced(item) if n == int(place) else item for n, item in enumerate(value)]
        elif not place and value is not None:
            options[option] = _unplaced(value)
    return options


def _unplaced(value: Json) -> Json:
    """Return what stands for an input's path; of NAME=PATH the name is kept."""
    name, equals, _ = str(value).rpartition("=")
    return f"{name}={READ}" if equals and os.sep not in name else READ


def _options(values: Mapping[str, Json], prefix: str = "") -> Iterator[tuple[str, Json]]:
    for name, value in values.items():
        if isinstance(value, dict) and value:
            yield from _options(value, "" if not prefix and name == "config" else f"{prefix}{name}.")
        else:
            yield prefix + name, value


def require_seeds(asked: Mapping[str, Json]) -> None:
    """Raise ValueError that names a seed below 0, before anything is written: generators take none."""
    for option, value in _options(asked):
        name = option.rpartition(".")[-1]
        if name == "seed" and isinstance(value, int) and value < 0:
            raise ValueError(f"{name}: expected an integer >= 0, got {value}")
