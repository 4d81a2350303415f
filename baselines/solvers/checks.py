"""Checks of the learners' options, which may come from a command line, where every number can turn out to be a text.

>>> check_positive("eta", 0.5)
0.5
>>> check_positive("eta", "0.5")
Traceback (most recent call last):
ValueError: eta: expected a finite number above 0, got '0.5'
"""

from __future__ import annotations

import math
from collections.abc import Callable
from numbers import Integral, Real
from typing import Any


def check_positive(name: str, number: float) -> float:
    """Return the option called `name`; raise ValueError unless it is a finite number above 0."""
    return _checked(name, number, "a finite number above 0", lambda one: one > 0)


def check_not_negative(name: str, number: float) -> float:
    """Return the option called `name`; raise ValueError unless it is a finite number of at least 0."""
    return _checked(name, number, "a finite number of at least 0", lambda one: one >= 0)


def check_finite(name: str, number: float) -> float:
    """Return the option called `name`; raise ValueError unless it is a finite number."""
    return _checked(name, number, "a finite number", lambda one: True)


def check_share(name: str, number: float) -> float:
    """Return the option called `name`; raise ValueError unless it is a number from 0 to 1."""
    return _checked(name, number, "a number from 0 to 1", lambda one: 0 <= one <= 1)


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
        *others, last = (repr(one) for one in known)
        raise ValueError(f"{name}: expected {', '.join(others)} or {last}, got {choice!r}")
    return choice


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
