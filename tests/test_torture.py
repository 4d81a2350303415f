"""A small run of what `make torture` does."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from duologue.baselines.training.curves import Curves
from duologue.tests.torture import Ended, Tally, contents, difference, table


@pytest.mark.slow
def test_a_few_kills_stops_writers_and_full_disks() -> None:
    """A process of its own: it starts a server that others are forked from."""
    command = [sys.executable, "-m", "duologue.tests.torture", "--only", "kills", "stops", "writers", "disk"]
    command += ["--setups", "self_play", "--kills", "2", "--stops", "1", "--writers", "1", "--places", "2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    counts = [line.split() for line in done.stdout.splitlines() if line.split()[:1] in ([k] for k in ("kills", "disk"))]
    assert counts == [["kills", "2", "2", "0", "0"], ["disk", "2", "2", "0", "0"]]


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


def test_records_come_in_order_but_those_of_cells_do_not(tmp_path: Path) -> None:
    """Steps that were logged in another order are another run."""
    for name, lines in (("a", '{"iteration": 1}\n{"iteration": 2}\n'), ("b", '{"iteration": 2}\n{"iteration": 1}\n')):
        (tmp_path / name).mkdir()
        for file in ("metrics.jsonl", "results.jsonl"):
            (tmp_path / name / file).write_text(lines)
    assert difference(contents(tmp_path / "a"), contents(tmp_path / "b")) == "different: metrics.jsonl"


@pytest.mark.parametrize(
    ("file", "first", "second", "same"),
    [
        ("costs.json", '{"episodes": 1, "seconds": 2.0}', '{"episodes": 1, "seconds": 3.0}', True),
        ("costs.json", '{"episodes": 1, "seconds": 2.0}', '{"episodes": 2, "seconds": 2.0}', False),
        ("leaderboard.md", "| a | 1.5 |\n0.12 hours", "| a | 2.5 |\n0.13 hours", True),
        ("leaderboard.md", "| a | 0.2 | 1.5 |", "| a | 0.3 | 1.5 |", False),
        ("leaderboard.html", "<td>1</td><td>1.5</td></tr>", "<td>1</td><td>2.5</td></tr>", True),
        ("leaderboard.html", "<td>1</td><td>1.5</td></tr>", "<td>2</td><td>1.5</td></tr>", False),
        (".duologue.json", '{"written": ["a", "b"]}', '{"written": ["b", "a"]}', True),
        (".duologue.json", '{"written": ["a", "b"]}', '{"written": ["a"]}', False),
        ("state/3/state.json", '{"run": "x", "iteration": 9}', '{"run": "y", "iteration": 9}', True),
        ("state/3/state.json", '{"iteration": 9}', '{"iteration": 8}', False),
    ],
)
def test_only_what_tells_of_time_or_place_may_differ(
    tmp_path: Path, file: str, first: str, second: str, same: bool
) -> None:
    """All else is compared: what a run cost, what a leaderboard says, what a state holds."""
    for name, text in (("a", first), ("b", second)):
        path = tmp_path / name / file
        path.parent.mkdir(parents=True)
        path.write_text(text)
    assert (difference(contents(tmp_path / "a"), contents(tmp_path / "b")) == "") == same


def test_curves_are_compared(tmp_path: Path) -> None:
    """What TensorBoard shows, whatever files it lies in; seconds may differ."""
    for name, loss, seconds in (("a", 0.5, 1.0), ("b", 0.5, 2.0), ("c", 0.25, 1.0)):
        curves = Curves(tmp_path / name / "tensorboard")
        curves.add([("train/loss", loss), ("train/seconds", seconds)], 1)
        curves.close()
    first, second, other = (contents(tmp_path / name) for name in "abc")
    assert (difference(first, second), difference(first, other)) == ("", "different: tensorboard")


def test_what_changed_nothing_is_no_success(capsys: pytest.CaptureFixture[str]) -> None:
    """A kill of a command that had ended shows nothing."""
    tally = Tally("kills")
    for fault, idle in (("", ""), ("", "it had ended"), ("missing: model", "it had ended")):
        tally.add("a run", fault, idle=idle)
    assert (tally.tried, tally.good, len(tally.idle), len(tally.faults)) == (3, 1, 1, 1)
    assert table([tally]).splitlines()[1].split() == ["kills", "3", "1", "1", "1"]


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
