"""Whatever ends a command, its user reads one line and a script reads the exit status."""

import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import IO

import pytest
import torch
from safetensors import SafetensorError, safe_open

from duologue.baselines.training.failures import FAILED, INTERRUPTED, NO_READER, in_one_line, run_command

HINT = "(DUOLOGUE_TRACEBACK=1 shows where)"


def raises(error: BaseException) -> Callable[[], None]:
    """Return a command that ends in this."""

    def command() -> None:
        raise error

    command.__code__ = command.__code__.replace(co_filename="<command>")  # no file of a user's
    return command


FAILURES: list[tuple[BaseException, str]] = [
    (ValueError("seed: expected an integer, got 'x'"), "seed: expected an integer, got 'x'"),
    (TypeError("gpo: expected options"), "gpo: expected options"),
    (OSError(errno.ENOSPC, "No space left on device", "runs/a"), "[Errno 28] No space left on device: 'runs/a'"),
    (PermissionError(errno.EACCES, "Permission denied", "x"), "[Errno 13] Permission denied: 'x'"),
    (FloatingPointError("update 3: loss: expected a finite number, got nan"), "update 3: loss: expected a finite num"),
    (ImportError("No module named 'sb3_contrib'"), "No module named 'sb3_contrib'"),
    (SafetensorError("header too large"), "SafetensorError: header too large"),
    (RecursionError("maximum recursion depth exceeded"), "RecursionError: maximum recursion depth exceeded"),
    (MemoryError(), "MemoryError"),
    (KeyError("vocab_size"), "KeyError: 'vocab_size'"),
    (AttributeError("'int' object has no attribute 'get'"), "AttributeError: 'int' object has no attribute 'get'"),
    (LookupError("unknown encoding: utf-99"), "LookupError: unknown encoding: utf-99"),
    (EOFError(), "EOFError"),
    (Exception("data did not match any variant"), "Exception: data did not match any variant"),
    (
        RuntimeError("CUDA error: out of memory\nCUDA kernel errors might\nbe"),
        "RuntimeError: CUDA error: out of memory",
    ),
    (ValueError("\n\n  Can't load it:\n  no such file\nmore"), "Can't load it: no such file"),
    (ValueError("a name with \x1b[31mcolour\x07 and \udcff"), r"a name with \x1b[31mcolour\x07 and \udcff"),
]


@pytest.mark.parametrize(("error", "line"), FAILURES, ids=lambda value: getattr(value, "args", ("line",))[0:1])
def test_every_failure_is_one_line_and_exit_2(
    error: BaseException, line: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The package's own messages as they stand, others with their type; escape sequences do not reach the terminal."""
    monkeypatch.delenv("DUOLOGUE_TRACEBACK", raising=False)
    assert run_command(raises(error)) == FAILED
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith(f"duologue: {line}")
    assert said.err.endswith(f" {HINT}\n")
    assert said.err.count("\n") == 1


@pytest.mark.parametrize(
    "command",
    [
        lambda: json.loads("[" * 100_000),
        lambda: b"\xff".decode("utf-8"),
        lambda: torch.zeros(2).reshape(3),
        lambda: safe_open("nowhere/at/all", "pt"),
        lambda: torch.zeros(1, device="nonsense"),
        lambda: "x".encode("utf-99"),
        lambda: 10**5000 > 0 and str(10**5000),
        lambda: os.stat("\0"),
    ],
)
def test_errors_of_libraries_are_one_line(
    command: Callable[[], object], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As they come."""
    monkeypatch.delenv("DUOLOGUE_TRACEBACK", raising=False)
    assert run_command(command) == FAILED
    assert capsys.readouterr().err.count("\n") == 1


def test_a_bug_in_a_users_file_is_told_with_its_line(tmp_path: Path) -> None:
    """The innermost line of theirs, also where a library raised."""
    path = tmp_path / "my_learner.py"
    path.write_text("import json\n\ndef loss():\n    return json.loads('{')\n")
    scope: dict[str, Callable[[], object]] = {}
    exec(compile(path.read_text(), str(path), "exec"), scope)
    with pytest.raises(json.JSONDecodeError) as caught:
        scope["loss"]()
    assert f"({path}:4; DUOLOGUE_TRACEBACK=1 shows where)" in in_one_line(caught.value)
    assert in_one_line(caught.value).startswith("JSONDecodeError: Expecting property name")


def test_the_environment_asks_for_the_exception_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """With its own trace; 0 asks for none."""
    monkeypatch.setenv("DUOLOGUE_TRACEBACK", "1")
    with pytest.raises(KeyError, match="mine"):
        run_command(raises(KeyError("mine")))
    monkeypatch.setenv("DUOLOGUE_TRACEBACK", "0")
    assert run_command(raises(KeyError("mine"))) == FAILED


def test_ctrl_c_is_a_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """And what a shell gives for it, whatever the environment asks."""
    monkeypatch.setenv("DUOLOGUE_TRACEBACK", "1")
    assert run_command(raises(KeyboardInterrupt())) == INTERRUPTED
    assert capsys.readouterr().err == "\nduologue: stopped; a run goes on by the same command\n"


def test_status_of_a_command_is_passed_on() -> None:
    """A number is one; a folder, None or True is success."""
    endings: list[tuple[Callable[[], object], int]] = [
        (lambda: 0, 0), (lambda: 2, 2), (lambda: 1, 1), (lambda: None, 0), (lambda: True, 0), (lambda: Path("runs"), 0),
    ]  # fmt: skip
    assert [run_command(command) for command, _ in endings] == [status for _, status in endings]


def run_in_python(code: str, stdout: IO[str]) -> subprocess.CompletedProcess[str]:
    """Run code in a Python of its own."""
    lines = f"import sys\nfrom duologue.baselines.training.failures import run_command\n{code}"
    return subprocess.run([sys.executable, "-c", lines], stdout=stdout, stderr=subprocess.PIPE, text=True, check=False)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_a_full_disk_behind_stdout_is_one_line() -> None:
    """Python would complain once more when it ends, and exit with 120."""
    with open("/dev/full", "w") as full:
        done = run_in_python("sys.exit(run_command(lambda: print('x')))", stdout=full)
    assert done.returncode == FAILED
    assert done.stderr == f"duologue: [Errno 28] No space left on device {HINT}\n"


def test_a_reader_that_leaves_is_quiet() -> None:
    """As `head` does."""
    read, write = os.pipe()
    os.close(read)
    with open(write, "w") as pipe:
        done = run_in_python("sys.exit(run_command(lambda: print('x' * 10**6)))", stdout=pipe)
    assert (done.returncode, done.stderr) == (NO_READER, "")
