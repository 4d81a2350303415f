"""How a command ends: what goes wrong is one line on the terminal and an exit status, whichever command it was.

    duologue: runs/a: expected a folder, got a file (DUOLOGUE_TRACEBACK=1 shows where)

What was not foreseen, as in a library or in a file of the user's own, is told with its type and, where there is one,
the line of that file. With `DUOLOGUE_TRACEBACK=1` in the environment the exception itself comes through.
"""

from __future__ import annotations

import os
import sys
import sysconfig
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from ...envs.printable import printable

TRACEBACK = "DUOLOGUE_TRACEBACK"
"""What asks for tracebacks, in the environment."""
FAILED, INTERRUPTED, NO_READER = 2, 130, 141
"""Exit statuses; the last two are the shell's for Ctrl-C and for a pipe that nobody reads."""
FORESEEN = (ValueError, TypeError, OSError, FloatingPointError, ImportError)
"""What the package raises itself, and whose messages say what they are."""
LONGEST = 1000
"""Characters of a message that are shown."""
LIBRARIES = tuple(str(Path(sysconfig.get_path(name))) for name in ("stdlib", "purelib", "platlib"))
ROOMS = tuple(str(Path(__file__).parents[2] / name) for name in ("__main__.py", "envs", "agents", "baselines"))


def run_command(run: Callable[[], object], *, prog: str = "duologue") -> int:
    """Run a command and return its exit status: what it returned if that is a number, else 0.

    Args:
        run: the command.
        prog: what the line begins with.
    """
    try:
        status = run()
        sys.stdout.flush()
    except BrokenPipeError:  # whoever reads, `head` for one, has seen enough
        _let_go_of_stdout()
        return NO_READER
    except KeyboardInterrupt as stopped:
        said = f"; {stopped}" if str(stopped) else ""
        _say(f"\nduologue: stopped{said}; a run goes on by the same command")
        return int(getattr(stopped, "status", INTERRUPTED))
    except Exception as error:
        trace = getattr(error, "trace", None)
        if wants_traceback() and trace is None:
            raise
        if wants_traceback():
            _say(str(trace))  # of the process that failed
        _say(f"{prog}: {in_one_line(error)}")
        _let_go_of_stdout()
        return FAILED
    return status if type(status) is int else 0


def wants_traceback() -> bool:
    """Whether the environment asks for tracebacks."""
    return os.environ.get(TRACEBACK, "") not in ("", "0")


def in_one_line(error: BaseException) -> str:
    """Return what an exception says: the first line that says something, escaped, and where more is to be had.

    >>> in_one_line(ValueError("seed: expected an integer of at least 0, got -1"))
    'seed: expected an integer of at least 0, got -1 (DUOLOGUE_TRACEBACK=1 shows where)'
    >>> in_one_line(KeyError("model_type"))
    "KeyError: 'model_type' (DUOLOGUE_TRACEBACK=1 shows where)"
    """
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    said = " ".join(lines[: 2 if lines and lines[0].endswith(":") else 1])
    own = _line_of_users_file(error)
    if not isinstance(error, FORESEEN) or own or not said:
        said = f"{type(error).__name__}: {said}".removesuffix(": ")
    said = said if len(said) <= LONGEST else f"{said[:LONGEST]}..."
    return f"{printable(said)} ({own}{TRACEBACK}=1 shows where)"


def _line_of_users_file(error: BaseException) -> str:
    """Return the innermost line of a file that is neither the package's nor a library's, with a semicolon after it."""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if frame.filename.startswith("<") or frame.filename.startswith((*ROOMS, *LIBRARIES)):
            continue
        return f"{frame.filename}:{frame.lineno}; "
    return ""


def _say(line: str) -> None:
    with suppress(OSError):
        print(line, file=sys.stderr)


def _let_go_of_stdout() -> None:
    """Write out what stdout holds, or drop it, so that Python's own end does not fail at it once more."""
    try:
        sys.stdout.flush()
    except OSError:
        with suppress(OSError):  # a stream without a file of its own
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
