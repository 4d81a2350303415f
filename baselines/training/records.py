"""The records of a run: one JSON object a line, whole or absent, with the checksum of all of them so far."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from ...agents.folders import parse_json
from .files import Json
from .state import StateValue

METRICS_FILE = "metrics.jsonl"


class Records:
    """The records of a run, with the checksum of all of them so far."""

    def __init__(self, path: Path) -> None:
        """Take up what is there."""
        data = path.read_bytes() if path.is_file() else b""
        self.path, self.num_bytes, self._digest = path, len(data), hashlib.sha256(data)

    def append(self, line: str) -> None:
        """Add a line, or leave the file as it was."""
        data = line.encode("utf-8")
        try:
            with self.path.open("ab") as file:
                file.write(data)
        except OSError:  # a full disk takes part of it
            with suppress(OSError):
                os.truncate(self.path, self.num_bytes)
            raise
        self.num_bytes += len(data)
        self._digest.update(data)

    def state_dict(self) -> dict[str, StateValue]:
        """Return what tells these records from others."""
        return {"bytes": self.num_bytes, "sha256": self._digest.hexdigest()}

    def require(self, saved: Mapping[str, Any], iteration: int) -> None:
        """Raise ValueError unless the file begins with the records that were there when a state was saved."""
        data = self.path.read_bytes() if self.path.is_file() else b""
        num_bytes = int(saved["bytes"])
        if hashlib.sha256(data[:num_bytes]).hexdigest() != saved["sha256"]:
            got = f"{len(data)}" if len(data) < num_bytes else "others"
            raise ValueError(
                f"{self.path}: expected the {num_bytes} bytes that were logged up to iteration {iteration}, the saved "
                f"state's, got {got}; put them back, or give another folder"
            )


def read_metrics(folder: str | Path) -> list[dict[str, Json]]:
    """Return the records of a run, oldest first; a last line that a kill cut off is left out.

    Raises:
        ValueError: a line is no record; the message names file and line.
    """
    path = Path(folder) / METRICS_FILE
    if not path.is_file():
        return []
    lines = path.read_bytes().split(b"\n")[:-1]  # what follows the last line break was cut off
    return [parse_json(line, str(path), first_line=number) for number, line in enumerate(lines, 1)]
