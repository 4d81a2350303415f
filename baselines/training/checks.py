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
import types
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from numbers import Integral, Real
from typing import Annotated, Any, Literal, TypeAlias, Union, get_args, get_origin, get_type_hints


def check_positive(name: str, number: float) -> float:
    """Return the option called `name`; raise ValueError unless it is a finite number above 0."""
    return _checked(name, number, "a finite number above 0", lambda value: value > 0)


def check_not_negative(name: str, number: float) -> float:
    """Return the option called `name`; raise ValueError unless it is a finite number of at least 0."""
    return _checked(name, number, "a finite number of at least 0", lambda value: value >= 0)


def check_finite(name: str, number: float) -> float:
    """Return the option called `name`; raise ValueError unless it is a finite number."""
    return _checked(name, number, "a finite number", lambda value: True)


def check_share(name: str, number: float) -> float:
    """Return the option called `name`; raise ValueError unless it is a number from 0 to 1."""
    return _checked(name, number, "a number from 0 to 1", lambda value: 0 <= value <= 1)


def check_count(name: str, number: int, *, least: int = 1) -> int:
    """Return the option called `name`; raise ValueError unless it is an integer of at least `least`."""
    if isinstance(number, bool) or not isinstance(number, Integral) or number < least:
        raise ValueError(f"{name}: expected an integer of at least {least}, got {number!r}")
    return int(number)


def check_flag(name: str, flag: bool) -> bool:
    """Return the option called `name`; raise ValueError unless it is True or False: "False" would count as true."""
    if not isinstance(flag, bool):
        raise ValueError(f"{name}: expected True or False, got {flag!r}")
    return flag


def check_choice(name: str, choice: str, known: tuple[str, ...]) -> str:
    """Return the option called `name`; raise ValueError unless it is one of `known`."""
    if not isinstance(choice, str) or choice not in known:
        *others, last = (repr(allowed) for allowed in known)
        raise ValueError(f"{name}: expected {', '.join(others)} or {last}, got {choice!r}")
    return choice


def check_open_share(name: str, number: float) -> float:
    """Return the option called `name`; raise ValueError unless it is a number between 0 and 1, both left out."""
    return _checked(name, number, "a number in (0, 1)", lambda value: 0 < value < 1)


def check_share_below_one(name: str, number: float) -> float:
    """Return the option called `name`; raise ValueError unless it is a number from 0 to below 1."""
    return _checked(name, number, "a number in [0, 1)", lambda value: 0 <= value < 1)


def check_pair(name: str, number: int) -> int:
    """Return the option called `name`; raise ValueError unless it is an integer of at least 2, which make a pair."""
    return check_count(name, number, least=2)


def check_whole(name: str, number: int) -> int:
    """Return the option called `name`; raise ValueError unless it is an integer of at least 0."""
    return check_count(name, number, least=0)


Count: TypeAlias = Annotated[int, check_count]
"""At least 1."""
Whole: TypeAlias = Annotated[int, check_whole]
"""At least 0."""
AtLeastTwo: TypeAlias = Annotated[int, check_pair]
"""At least 2."""
Positive: TypeAlias = Annotated[float, check_positive]
"""Above 0."""
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
    """Options whose ranges stand in their annotations; None passes where the type allows it."""

    def __post_init__(self) -> None:
        """Check the ranges.

        Raises:
            ValueError: an option is out of its range; the message names it, what was expected and what came.
        """
        for name, check in _declared(type(self)):
            if getattr(self, name) is not None:
                check(name, getattr(self, name))


_DECLARED: dict[type, list[tuple[str, Callable[[str, Any], object]]]] = {}


def _declared(kind: type) -> list[tuple[str, Callable[[str, Any], object]]]:
    """Return each option that declares a check, with the check; annotations are read once."""
    if kind not in _DECLARED:
        hints = get_type_hints(kind, include_extras=True)
        _DECLARED[kind] = [(name, check) for name, hint in hints.items() for check in _checks_of(hint)]
    return _DECLARED[kind]


def _checks_of(hint: Any) -> list[Callable[[str, Any], object]]:
    """Return the checks in an annotation, or in the parts of a union."""
    if hint is bool:
        return [check_flag]
    if get_origin(hint) is Literal:
        return [partial(_check_among, known=get_args(hint))]
    if get_origin(hint) is Annotated:
        return [item for item in hint.__metadata__ if isinstance(item, types.FunctionType)]
    if get_origin(hint) in (Union, types.UnionType):
        return [check for part in get_args(hint) for check in _checks_of(part)]
    return []


def _check_among(name: str, choice: object, *, known: tuple[object, ...]) -> None:
    """Raise ValueError unless an option is one of those that its type lists."""
    if choice not in known or isinstance(choice, bool):
        *others, last = map(repr, known)
        raise ValueError(f"{name}: expected {', '.join(others)} or {last}, got {choice!r}")


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
        raise ValueError(f"{name}: expected {expected}, got {number!r}")
    return value
