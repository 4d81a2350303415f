"""Numbers for TensorBoard, written at once: a full disk is an error where it arises, and not one of a thread's."""

from __future__ import annotations

import itertools
import os
import socket
import time
from collections.abc import Iterable
from pathlib import Path

_NUMBERS = itertools.count()
"""Tell files of one process and one second apart."""


class Curves:
    """A file of scalars in TensorBoard's format."""

    def __init__(self, folder: Path, *, purge_step: int | None = None) -> None:
        """Begin a file in a folder, which is made if need be.

        Args:
            folder: which TensorBoard is given.
            purge_step: from which step on what earlier files hold is to be forgotten; None: from none.
        """
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog  # slow to import
        from tensorboard.summary.writer.record_writer import RecordWriter

        folder.mkdir(parents=True, exist_ok=True)
        name = f"events.out.tfevents.{int(time.time()):010d}.{socket.gethostname()}.{os.getpid()}.{next(_NUMBERS)}"
        self._file = (folder / name).open("wb")
        self._records = RecordWriter(self._file)
        self._write(Event(wall_time=time.time(), file_version="brain.Event:2"))
        if purge_step is not None:
            log = SessionLog(status=SessionLog.START)
            self._write(Event(wall_time=time.time(), step=purge_step, session_log=log))
        self._file.flush()

    def add(self, numbers: Iterable[tuple[str, float]], step: int) -> None:
        """Write the numbers of a step, each under its tag."""
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary

        for tag, number in numbers:
            summary = Summary(value=[Summary.Value(tag=tag, simple_value=number)])
            self._write(Event(wall_time=time.time(), step=step, summary=summary))
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _write(self, event: object) -> None:
        self._records.write(event.SerializeToString())  # type: ignore[attr-defined]
