"""Ctrl-C, and the signal by which batch systems end a job: what was done is saved before a process leaves."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any


class Stopped(KeyboardInterrupt):
    """A request to end that was heeded."""

    def __init__(self, message: str, number: int) -> None:
        super().__init__(message)
        self.status = 128 + number
        """What a shell says of a process that a signal ended: 130 after Ctrl-C, 143 after SIGTERM."""


class Stop:
    """Whether somebody asked to end: by Ctrl-C, which a second one makes immediate, or by SIGTERM."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._number: int | None = None

    @property
    def asked(self) -> bool:
        """Whether somebody did."""
        return self._number is not None

    def heed(self, message: str) -> None:
        """Raise Stopped if somebody did, with what is to be said."""
        if self._number is not None:
            raise Stopped(message, self._number)

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Take note of a signal."""
        if self._number == number == signal.SIGINT:
            raise KeyboardInterrupt
        if self._number is None:
            self._number = number
            with suppress(RuntimeError):  # it came while something else was being printed
                print(f"\n{self._name}: stopping after this step; Ctrl-C again: at once", file=sys.stderr, flush=True)


@contextmanager
def heeding_stops(name: str) -> Iterator[Stop]:
    """Let signals be heeded between two steps inside; outside of the main thread they cannot be, and are left alone."""
    stop, earlier = Stop(name), dict[int, Any]()
    if threading.current_thread() is threading.main_thread():
        for number in (int(signal.SIGINT), int(signal.SIGTERM)):
            earlier[number] = signal.signal(number, stop)
    try:
        yield stop
    finally:
        for number, handler in earlier.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
