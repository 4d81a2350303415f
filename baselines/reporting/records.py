"""Records from JSON that may have been damaged or made up since it was written: right in every field, or refused."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from types import NoneType, UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from ...envs.printable import printable

MAX_NAME = 200
"""Characters of a text in a record."""
MAX_WHOLE = 1 << 63
"""What a whole number is below, in size."""
MAX_SHOWN = 80

RecordT = TypeVar("RecordT")

NAMES = {bool: "true or false", int: "a whole number", float: "a number", str: "a text", NoneType: "null"}


def record_of(kind: type[RecordT], value: object, where: str, *, null_is_nan: bool = False) -> RecordT:
    """Return a dataclass from the JSON object that it was written as.

    Its fields may be numbers, which must be finite, texts, tuples, mappings by text, dataclasses, and any of these or
    None; those that have a default may be missing.

    Args:
        kind: the dataclass.
        value: the object.
        where: the file, or its line, for the message.
        null_is_nan: a null stands for a number that is none, as `training.files.to_json` writes it.

    Raises:
        ValueError: a field is missing, of another kind or too much, or the object has others; the message names it.
    """
    try:
        found: RecordT = _dataclass(kind, value, "", null_is_nan)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None
    return found


def _field(kind: Any, value: object, where: str, nulls: bool) -> Any:
    """Return a value as one of the kinds that fields have; `where` is the path of names to it."""
    if is_dataclass(kind):
        return _dataclass(kind, value, where, nulls)
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is UnionType:
        inner = next((one for one in arguments if one is not NoneType), NoneType)
        return None if value is None and NoneType in arguments else _field(inner, value, where, nulls)
    if origin is tuple:
        return _tuple(arguments, value, where, nulls)
    if origin in (dict, Mapping):
        return {
            _plain(str, name, f"{where}: name"): _field(arguments[1], one, f"{where}.{_shown(name)}", nulls)
            for name, one in _object(value, where).items()
        }
    return math.nan if nulls and value is None and kind is float else _plain(kind, value, where)


def _dataclass(kind: Any, value: object, where: str, nulls: bool) -> Any:
    given, hints = _object(value, where), get_type_hints(kind)
    needed = {field.name: field.default is MISSING and field.default_factory is MISSING for field in fields(kind)}
    missing = [name for name, is_needed in needed.items() if is_needed and name not in given]
    others = [name for name in given if name not in needed]
    if missing or others:
        raise ValueError(
            f"{where and f'{where}: '}expected the fields {', '.join(needed)}, got {_difference(missing, others)}"
        )
    inside = f"{where}." if where else ""
    return kind(**{name: _field(hints[name], one, f"{inside}{name}", nulls) for name, one in given.items()})


def _tuple(kinds: tuple[Any, ...], value: object, where: str, nulls: bool) -> tuple[Any, ...]:
    open_ended = len(kinds) == 2 and kinds[1] is ...
    if not isinstance(value, list) or not (open_ended or len(value) == len(kinds)):
        what = "a list" if open_ended else f"a list of {len(kinds)}"
        raise ValueError(f"{where}: expected {what}, got {_shown(value)}")
    each = kinds[:1] * len(value) if open_ended else kinds
    return tuple(
        _field(kind, one, f"{where}[{k}]", nulls) for k, (kind, one) in enumerate(zip(each, value, strict=True))
    )


def _object(value: object, where: str) -> Mapping[str, object]:
    if not isinstance(value, dict):
        raise ValueError(f"{where and f'{where}: '}expected a JSON object, got {_shown(value)}")
    return value


def _plain(kind: type, value: object, where: str) -> Any:
    fits = type(value) is kind or (kind is float and type(value) is int)
    if not fits:
        raise ValueError(f"{where}: expected {NAMES[kind]}, got {_shown(value)}")
    if isinstance(value, str) and len(value) > MAX_NAME:
        raise ValueError(f"{where}: expected at most {MAX_NAME} characters, got {len(value):,}")
    if type(value) is int and abs(value) >= MAX_WHOLE:
        raise ValueError(f"{where}: expected a whole number of 64 bits, got a longer one")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{where}: expected a finite number, got {value}")
    return kind(value)


def _difference(missing: list[str], others: list[str]) -> str:
    parts = [f"no {', '.join(missing)}"] if missing else []
    parts += [f"{', '.join(map(_shown, others[:6]))} as well"] if others else []
    return " and ".join(parts)


def _shown(value: object) -> str:
    if value is None:
        return "null"
    if type(value) is int and abs(value) >= MAX_WHOLE:
        return "a whole number of more than 64 bits"
    kinds: dict[type, str] = {dict: "an object", list: "a list"}
    text = kinds.get(type(value)) or printable(value if isinstance(value, str) else repr(value))
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}..."
