"""Checks of options, which may come from a command line or a file, where every number can turn out to be a text.

A dataclass of options declares its ranges where it declares its types, and checks them when it is made:

>>> @dataclass(frozen=True, kw_only=True)
... class Descent(Options):
...     num_steps: Count = 10
...     learning_rate: Positive = 0.1
...     momentum: Share | None = None
>>> Descent(num_steps=3).num_steps
3
>>> Descent(learning_rate=0.0)
Traceback (most recent call last):
ValueError: learning_rate: expected a finite number above 0, got 0.0
"""

from __future__ import annotations

import math
import os
import types
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, is_dataclass
from functools import partial
from numbers import Integral, Real
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias, Union, get_args, get_origin, get_type_hints

from ...envs.printable import shown

MOST = 10**9
"""No run takes more steps, and no list of it has more entries."""
MOST_AT_ONCE = 2**20
"""What is held in memory at once, rows and episodes, has no more."""
WIDEST = 2**16
"""No layer is wider, and no model has more layers."""
MOST_THREADS = 1024
"""Threads, processes, seeds and the like are no more."""
MOST_WEIGHTS = 10**10
"""A model that is made from nothing has no more."""
LARGEST_LEARNING_RATE = 100
LARGEST_SEED = 2**53 - 1
"""Every reader of JSON has it exactly."""


def check_positive(name: str, number: float) -> float:
    """Return the option called `name`; raise ValueError unless it is a finite number above 0."""
    return _checked(name, number, "a finite number above 0", lambda value: value > 0)


def check_learning_rate(name: str, number: float) -> float:
    """Return the option called `name`; raise ValueError unless it is a number above 0 that a step can be taken by."""
    value = check_positive(name, number)
    if value > LARGEST_LEARNING_RATE:
        raise ValueError(f"{name}: expected a number of at most {LARGEST_LEARNING_RATE}, got {shown(number)}")
    return value


def check_not_negative(name: str, number: float) -> float:
    """Return the option called `name`; raise ValueError unless it is a finite number of at least 0."""
    return _checked(name, number, "a finite number of at least 0", lambda value: value >= 0)


def check_finite(name: str, number: float) -> float:
    """Return the option called `name`; raise ValueError unless it is a finite number."""
    return _checked(name, number, "a finite number", lambda value: True)


def check_share(name: str, number: float) -> float:
    """Return the option called `name`; raise ValueError unless it is a number from 0 to 1."""
    return _checked(name, number, "a number from 0 to 1", lambda value: 0 <= value <= 1)


def check_count(name: str, number: int, *, least: int = 1, most: int = MOST) -> int:
    """Return the option called `name`; raise ValueError unless it is an integer from `least` to `most`."""
    if isinstance(number, bool) or not isinstance(number, Integral) or number < least:
        raise ValueError(f"{name}: expected an integer of at least {least}, got {shown(number)}")
    if number > most:
        raise ValueError(f"{name}: expected an integer of at most {most}, got {shown(number)}")
    return int(number)


def check_multiple(name: str, number: int, of: int, *, called: str = "") -> int:
    """Return the option called `name`; raise ValueError unless it is a multiple of another number, `called` so."""
    if number % of:
        raise ValueError(f"{name}: expected a multiple of {called + '=' if called else ''}{of}, got {shown(number)}")
    return number


def check_flag(name: str, flag: bool) -> bool:
    """Return the option called `name`; raise ValueError unless it is True or False: "False" would count as true."""
    if not isinstance(flag, bool):
        raise ValueError(f"{name}: expected True or False, got {shown(flag)}")
    return flag


def check_choice(name: str, choice: str, known: tuple[str, ...]) -> str:
    """Return the option called `name`; raise ValueError unless it is one of `known`."""
    if not isinstance(choice, str) or choice not in known:
        *others, last = (repr(allowed) for allowed in known)
        raise ValueError(f"{name}: expected {', '.join(others)} or {last}, got {shown(choice)}")
    return choice


def check_open_share(name: str, number: float) -> float:
    """Return the option called `name`; raise ValueError unless it is a number between 0 and 1, both left out."""
    return _checked(name, number, "a number in (0, 1)", lambda value: 0 < value < 1)


def check_share_below_one(name: str, number: float) -> float:
    """Return the option called `name`; raise ValueError unless it is a number from 0 to below 1."""
    return _checked(name, number, "a number in [0, 1)", lambda value: 0 <= value < 1)


def check_pair(name: str, number: int) -> int:
    """Return the option called `name`; raise ValueError unless it is an integer of at least 2, which make a pair."""
    return check_count(name, number, least=2, most=MOST_AT_ONCE)


def check_whole(name: str, number: int) -> int:
    """Return the option called `name`; raise ValueError unless it is an integer of at least 0."""
    return check_count(name, number, least=0)


def check_rows(name: str, number: int) -> int:
    """Return the option called `name`; raise ValueError unless so many rows fit a machine."""
    return check_count(name, number, most=MOST_AT_ONCE)


def check_rows_or_none(name: str, number: int) -> int:
    """Return the option called `name`; raise ValueError unless so many rows, or none, fit a machine."""
    return check_count(name, number, least=0, most=MOST_AT_ONCE)


def check_width(name: str, number: int) -> int:
    """Return the option called `name`; raise ValueError unless it is an integer that a layer's width can be."""
    return check_count(name, number, most=WIDEST)


def check_threads(name: str, number: int) -> int:
    """Return the option called `name`; raise ValueError unless it is a number of threads, 0 for the default."""
    return check_count(name, number, least=0, most=MOST_THREADS)


def check_few(name: str, number: int) -> int:
    """Return the option called `name`; raise ValueError unless it is a number that processes or seeds can have."""
    return check_count(name, number, most=MOST_THREADS)


def check_seed(name: str, number: int) -> int:
    """Return the option called `name`; raise ValueError unless every generator can be seeded with it."""
    return check_count(name, number, least=0, most=LARGEST_SEED)


def check_model_size(*, hidden_size: int, num_layers: int, num_heads: int) -> None:
    """Raise ValueError unless a transformer of that size can be made; what it would weigh is told beforehand."""
    width = hidden_size // num_heads
    if hidden_size % num_heads or (width > 1 and width % 2):  # a head's rotary positions are pairs
        raise ValueError(
            f"num_heads: expected heads of an even width that make up hidden_size, {hidden_size}, got {num_heads}"
        )
    num_weights = num_layers * 12 * hidden_size**2
    if num_weights > MOST_WEIGHTS:
        raise ValueError(
            f"hidden_size, num_layers: expected a model of at most {MOST_WEIGHTS:,} weights, got {hidden_size} and "
            f"{num_layers}, about {num_weights:,}"
        )


Count: TypeAlias = Annotated[int, check_count]
"""At least 1."""
Whole: TypeAlias = Annotated[int, check_whole]
"""At least 0."""
AtLeastTwo: TypeAlias = Annotated[int, check_pair]
"""At least 2."""
Rows: TypeAlias = Annotated[int, check_rows]
"""Rows that are held at once: at least 1, and not more than a machine can hold."""
RowsOrNone: TypeAlias = Annotated[int, check_rows_or_none]
"""The same, or 0."""
Width: TypeAlias = Annotated[int, check_width]
"""Of a layer, or how many layers."""
Threads: TypeAlias = Annotated[int, check_threads]
"""0: the default."""
Few: TypeAlias = Annotated[int, check_few]
"""Processes, seeds and the like: at least 1."""
Seed: TypeAlias = Annotated[int, check_seed]
"""At least 0."""
Finite: TypeAlias = Annotated[float, check_finite]
"""Any number."""
Positive: TypeAlias = Annotated[float, check_positive]
"""Above 0."""
LearningRate: TypeAlias = Annotated[float, check_learning_rate]
"""Above 0, and not so large that a step leaves the numbers."""
NotNegative: TypeAlias = Annotated[float, check_not_negative]
"""At least 0."""
Share: TypeAlias = Annotated[float, check_share]
"""From 0 to 1."""
OpenShare: TypeAlias = Annotated[float, check_open_share]
"""Between 0 and 1."""
ShareBelowOne: TypeAlias = Annotated[float, check_share_below_one]
"""From 0 to below 1."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options whose ranges stand in their annotations, and whose types are held to; None where the type allows it."""

    def __post_init__(self) -> None:
        """Check the ranges.

        Raises:
            ValueError: an option is out of its range; the message names it, what was expected and what came.
        """
        for name, check in _declared(type(self)):
            check(name, getattr(self, name))


Check: TypeAlias = Callable[[str, Any], object]
_DECLARED: dict[type, list[tuple[str, Check]]] = {}


def _declared(kind: type) -> list[tuple[str, Check]]:
    """Return each option with the check of its type; annotations are read once."""
    if kind not in _DECLARED:
        hints = get_type_hints(kind, include_extras=True)
        _DECLARED[kind] = [(field.name, check_of(hints[field.name])) for field in fields(kind)]
    return _DECLARED[kind]


def check_of(hint: Any) -> Check:
    """Return what holds a value to a type: the ranges in it, or else that it is of that type at all."""
    origin, parts = get_origin(hint), get_args(hint)
    if origin is Annotated:
        ranges = [item for item in hint.__metadata__ if isinstance(item, types.FunctionType)]
        return ranges[0] if ranges else check_of(parts[0])
    if origin is Literal:
        return partial(_check_among, known=parts)
    if origin in (Union, types.UnionType):
        known = [check_of(part) for part in parts if part is not type(None)]
        return partial(_check_any, checks=known, optional=type(None) in parts)
    if origin is tuple:
        return partial(_check_tuple, checks=[check_of(part) for part in parts if part is not ...], open=... in parts)
    if isinstance(hint, type) and is_dataclass(hint):
        return partial(_check_type, kind=hint, expected=f"a {hint.__name__}")
    return _PLAIN.get(hint, _check_nothing)


def _check_type(name: str, value: object, *, kind: type, expected: str) -> None:
    if not isinstance(value, kind):
        raise ValueError(f"{name}: expected {expected}, got {shown(value)}")


def _check_nothing(name: str, value: object) -> None:
    """Take anything."""


_PLAIN: dict[Any, Check] = {
    bool: check_flag,
    int: partial(check_count, least=-MOST),
    float: check_finite,
    str: partial(_check_type, kind=str, expected="text"),
    Path: partial(_check_type, kind=os.PathLike, expected="a path"),
}
"""What is asked of a type that says no range."""


def _check_any(name: str, value: object, *, checks: Sequence[Check], optional: bool) -> None:
    """Raise the first check's ValueError unless one of them lets a value pass."""
    if value is None and optional:
        return
    errors = []
    for check in checks:
        try:
            check(name, value)
            return
        except ValueError as error:
            errors.append(error)
    raise errors[0]


def _check_tuple(name: str, values: object, *, checks: list[Check], open: bool) -> None:
    """Raise ValueError unless there are as many values as there should be, and each is right."""
    if not isinstance(values, tuple | list) or not (open or len(values) == len(checks)):
        expected = "several" if open else f"{len(checks)} values"
        raise ValueError(f"{name}: expected {expected}, got {shown(values)}")
    for value, check in zip(values, checks * len(values) if open else checks, strict=True):
        check(name, value)


def _check_among(name: str, choice: object, *, known: tuple[object, ...]) -> None:
    """Raise ValueError unless an option is one of those that its type lists."""
    if choice not in known or isinstance(choice, bool):
        *others, last = map(repr, known)
        expected = f"{', '.join(others)} or {last}" if others else last
        raise ValueError(f"{name}: expected {expected}, got {shown(choice)}")


def require_positive(**numbers: float | None) -> None:
    """Check options by their names; None stands for a default and passes.

    Raises:
        ValueError: the first that is no finite number above 0.
    """
    for name, number in numbers.items():
        if number is not None:
            check_positive(name, number)


def _checked(name: str, number: Any, expected: str, fits: Callable[[float], bool]) -> float:
    """Return the number as a float; True and False are none, nor is an integer that no float can hold."""
    try:
        value = float(number) if isinstance(number, Real) and not isinstance(number, bool) else math.nan
    except OverflowError:
        value = math.inf
    if not math.isfinite(value) or not fits(value):
        raise ValueError(f"{name}: expected {expected}, got {shown(number)}")
    return value
