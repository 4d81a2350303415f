"""A small run of what `make torture` does."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from duologue.tests.torture import Ended, contents, difference


@pytest.mark.slow
def test_a_few_kills_stops_writers_and_full_disks() -> None:
    """A process of its own: it starts a server that others are forked from."""
    command = [sys.executable, "-m", "duologue.tests.torture", "--only", "kills", "stops", "writers", "disk"]
    command += ["--setups", "self_play", "--kills", "2", "--stops", "1", "--writers", "1", "--places", "2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    table = [line.split() for line in done.stdout.splitlines() if line.split()[:1] in ([k] for k in ("kills", "disk"))]
    assert table == [["kills", "2", "2"], ["disk", "2", "2"]]


def test_what_differs_is_found(tmp_path: Path) -> None:
    """A comparison that finds nothing would pass whatever came of a kill."""
    for name, record, weights in (("a", '{"loss": 1, "seconds": 2}', "w"), ("b", '{"loss": 1, "seconds": 3}', "w")):
        (tmp_path / name / "model").mkdir(parents=True)
        (tmp_path / name / "metrics.jsonl").write_text(f"{record}\n")
        (tmp_path / name / "model" / "weights").write_text(weights)
    first = contents(tmp_path / "a")
    assert difference(first, contents(tmp_path / "b")) == ""
    (tmp_path / "b/metrics.jsonl").write_text('{"loss": 2, "seconds": 3}\n')
    (tmp_path / "b/model/weights").rename(tmp_path / "b/model/.writing.weights")
    found = difference(first, contents(tmp_path / "b"))
    assert found == "missing: model/weights; left over: model/.writing.weights; different: metrics.jsonl"


@pytest.mark.parametrize(
    ("ended", "fault"),
    [
        (Ended(2, "duologue: expected a, got b\n(DUOLOGUE_TRACEBACK=1 shows where)\n"), ""),
        (Ended(0, "done"), "status 0"),
        (Ended(2, "Traceback (most recent call last):\nduologue: x"), "a traceback"),
        (Ended(2, "duologue: x\nand more"), "no line of ours: ['and more']"),
    ],
)
def test_a_refusal_is_one_line_and_status_2(ended: Ended, fault: str) -> None:
    """Whatever else is said is a fault."""
    assert ended.refusal == fault
