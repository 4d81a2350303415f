"""Records from damaged or forged JSON."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from duologue.baselines.reporting.records import record_of


@dataclass(frozen=True)
class Inner:
    """A record in a record."""

    number: float
    pair: tuple[int, int] = (0, 0)


@dataclass(frozen=True)
class Outer:
    """One of each kind of field."""

    name: str
    inner: Inner
    many: tuple[Inner, ...]
    by_name: Mapping[str, float]
    maybe: float | None
    flag: bool = False
    more: tuple[int, ...] = field(default_factory=tuple)


GOOD: dict[str, Any] = {
    "name": "n",
    "inner": {"number": 1, "pair": [1, 2]},
    "many": [{"number": 0.5}],
    "by_name": {"a": 1.0},
    "maybe": None,
}


def test_a_record_is_read_as_it_was_written() -> None:
    """Whole numbers are numbers; fields with a default may be missing."""
    found = record_of(Outer, GOOD, "here")
    assert found == Outer("n", Inner(1.0, (1, 2)), (Inner(0.5),), {"a": 1.0}, None)
    assert type(found.inner.number) is float


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"name": 5}, "name: expected a text, got 5"),
        ({"name": None}, "name: expected a text, got null"),
        ({"name": "x" * 10**6}, "name: expected at most 200 characters, got 1,000,000"),
        ({"inner": []}, "inner: expected a JSON object, got a list"),
        ({"inner": {}}, "inner: expected the fields number, pair, got no number"),
        ({"inner": {"number": 1, "\x1b": 2}}, "inner: expected the fields number, pair, got \\x1b as well"),
        ({"inner": {"number": True}}, "inner.number: expected a number, got True"),
        ({"inner": {"number": float("nan")}}, "inner.number: expected a finite number, got nan"),
        ({"inner": {"number": 10**400}}, "inner.number: expected a whole number of 64 bits, got a longer one"),
        ({"inner": {"number": 0, "pair": [1]}}, "inner.pair: expected a list of 2, got a list"),
        ({"inner": {"number": 0, "pair": [1, 2.0]}}, "inner.pair[1]: expected a whole number, got 2.0"),
        ({"many": {"number": 0.5}}, "many: expected a list, got an object"),
        ({"many": [{"number": "1"}]}, "many[0].number: expected a number, got 1"),
        ({"by_name": {"a": [1]}}, "by_name.a: expected a number, got a list"),
        ({"maybe": "1"}, "maybe: expected a number, got 1"),
        ({"flag": 1}, "flag: expected true or false, got 1"),
        ({"more": [10**4000]}, "more[0]: expected a whole number of 64 bits, got a longer one"),
        ({"extra": 1}, "expected the fields name, inner, many, by_name, maybe, flag, more, got extra as well"),
    ],
)
def test_what_is_none_of_ours_is_named(change: dict[str, Any], error: str) -> None:
    """The place, the path to the field, what was expected, what came."""
    with pytest.raises(ValueError, match=f"^file, line 3: {re.escape(error)}$"):
        record_of(Outer, {**GOOD, **change}, "file, line 3")


def test_no_object_at_all() -> None:
    """A line of JSON may be anything."""
    for value in ("[]", "5", '"x"', "null", "true"):
        with pytest.raises(ValueError, match="here: expected a JSON object, got"):
            record_of(Outer, json.loads(value), "here")
