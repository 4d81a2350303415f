"""Other processes: they end with their parent, and say what went wrong in them."""

import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from duologue.__main__ import main
from duologue.baselines.training.jobs import Bound, Job, _last_record, train_all
from duologue.baselines.training.pool import WorkerFailed

SPIN = """
import os
from pathlib import Path

def spin(folder):
    (Path(folder) / str(os.getpid())).touch()
    while True:
        pass
"""
POOL = """
from functools import partial
from duologue.baselines.training.pool import run_all
from spin import spin
if __name__ == "__main__":
    list(run_all([partial(spin, "pids")] * 2, num_processes=2, preload="spin"))
"""
JOBS = """
from pathlib import Path
from duologue.baselines.training.jobs import Bound, Job, train_all
from spin import spin
if __name__ == "__main__":
    jobs = [Job(name, Bound(spin, "pids"), 1) for name in "ab"]
    train_all(jobs, Path("."), num_processes=2, preload="duologue.baselines.training.jobs")
"""


def alive(number: int) -> bool:
    """Whether a process runs; one that has ended and that nobody has asked for does not."""
    try:
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
@pytest.mark.parametrize(
    ("code", "number"),
    [(POOL, signal.SIGKILL), (POOL, signal.SIGTERM), (JOBS, signal.SIGKILL)],
    ids=["pool killed", "pool asked to end", "jobs killed"],
)
def test_workers_end_with_a_parent_that_was_killed(code: str, number: int, tmp_path: Path) -> None:
    """Whatever they are doing: two must never write into one folder."""
    (tmp_path / "spin.py").write_text(SPIN)
    (tmp_path / "parent.py").write_text(code)
    (tmp_path / "pids").mkdir()
    paths = os.pathsep.join([str(tmp_path), *sys.path])
    with subprocess.Popen(
        [sys.executable, "parent.py"], cwd=tmp_path, env={**os.environ, "PYTHONPATH": paths}
    ) as parent:
        until = time.monotonic() + 60
        while len(pids := [int(path.name) for path in (tmp_path / "pids").iterdir()]) < 2 and time.monotonic() < until:
            time.sleep(0.02)
        assert len(pids) == 2
        parent.send_signal(number)
    until = time.monotonic() + 20
    while any(map(alive, pids)) and time.monotonic() < until:
        time.sleep(0.02)
    assert not any(map(alive, pids))


def test_a_job_that_fails_is_told_in_a_line_and_keeps_its_trace(tmp_path: Path) -> None:
    """The error's line says where the rest is."""
    failing = [Job("absent", Bound(Path.rmdir, tmp_path / "nothing"), 1)]
    with pytest.raises(WorkerFailed) as error:
        train_all(failing, tmp_path, num_processes=1, preload="duologue.baselines.training.jobs")
    said = str(error.value)
    assert said.startswith("absent: expected exit status 0, got 1: FileNotFoundError: ")
    assert said.endswith(f"(see {tmp_path}/absent.log)")
    assert "\n" not in said
    assert error.value.trace.startswith("Traceback (most recent call last):\n")
    assert "rmdir" in error.value.trace


def test_a_job_that_is_killed_is_told_without_a_trace(tmp_path: Path) -> None:
    """As by a machine without memory."""
    failing = [Job("killed", Bound(partial(os._exit), 9), 1)]
    with pytest.raises(WorkerFailed, match=r"killed: expected exit status 0, got 9: it printed nothing \(see "):
        train_all(failing, tmp_path, num_processes=1, preload="duologue.baselines.training.jobs")


FAILING = """
from duologue.baselines.benchmark.registry import register_algorithm

@register_algorithm("failing", source="a test's")
def failing(task):
    raise RuntimeError("my own bug")
    yield
"""


@pytest.mark.parametrize("processes", ["1", "2"])
def test_the_trace_that_is_shown_is_that_of_the_process_that_failed(
    processes: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It was that of the command, which had done its part."""
    (tmp_path / "mine.py").write_text(FAILING)
    command = ["bench", "--algorithms", "failing", "--algorithm-file", str(tmp_path / "mine.py"), "--games", "rps"]
    command += ["--seeds", "1", "--num-updates", "6", "--processes", processes, "--out", str(tmp_path / "bench")]
    assert main(command) == 2
    assert "Traceback" not in capsys.readouterr().err
    monkeypatch.setenv("DUOLOGUE_TRACEBACK", "1")
    assert main(command) == 2
    shown = capsys.readouterr().err
    assert f'{tmp_path}/mine.py", line 6, in failing\n' in shown
    assert "RuntimeError: my own bug\n" in shown
    assert "WorkerFailed" not in shown
    assert "duologue: 1 cell failed, see " in shown


@pytest.mark.parametrize("line", [b"[" * 4000, b'{"loss": ' + b"9" * 4000 + b"9" * 500 + b"}", b"[1]", b"\xff", b"{"])
def test_a_line_of_metrics_that_cannot_be_read_is_no_progress(line: bytes, tmp_path: Path) -> None:
    """It ends nothing: the worker whose line it is says itself what is wrong."""
    (tmp_path / "metrics.jsonl").write_bytes(line + b"\n")
    assert _last_record(tmp_path) is None
    with (tmp_path / "metrics.jsonl").open("ab") as metrics:
        metrics.write(b'{"loss_nats": 1.5}\n')
    assert _last_record(tmp_path) == {"loss_nats": 1.5}
