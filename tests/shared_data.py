"""Where the real text is that some tests read; it lies beside the repository and is no part of it."""

from pathlib import Path

import pytest

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


def shared_data(name: str) -> Path:
    """Return the path of a file of real text; skip the test where it is absent."""
    path = SHARED_DATA / name
    if not path.is_file():
        pytest.skip(f"needs real text that is not part of the repository: {path}")
    return path
