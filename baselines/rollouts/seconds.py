"""Where the time of a process goes: the seconds of each part, those of a part within another counted once.

>>> with part("rollout"):
...     with part("judge"):
...         pass
>>> {"judge", "rollout"} <= taken().keys()
True
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

_TAKEN: defaultdict[str, float] = defaultdict(float)
_OPEN: list[str] = []
_SINCE = time.perf_counter()


@contextmanager
def part(name: str) -> Iterator[None]:
    """Count the seconds inside to a part, and not to the one around it."""
    _turn()
    _OPEN.append(name)
    try:
        yield
    finally:
        _turn()
        _OPEN.pop()


def taken() -> dict[str, float]:
    """Return the seconds of each part in this process so far."""
    return dict(_TAKEN)


def _turn() -> None:
    """Count the time since the last turn to the innermost part."""
    global _SINCE
    now = time.perf_counter()
    if _OPEN:
        _TAKEN[_OPEN[-1]] += now - _SINCE
    _SINCE = now
