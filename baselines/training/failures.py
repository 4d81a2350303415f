"""How a command ends: what goes wrong is one line on the terminal and an exit status, whichever command it was.

    duologue: runs/a: expected a folder, got a file (DUOLOGUE_TRACEBACK=1 shows where)

What was not foreseen, as in a library or in a file of the user's own, is told with its type and, where there is one,
the line of that file. With `DUOLOGUE_TRACEBACK=1` in the environment the exception itself comes through.
"""

from __future__ import annotations

import io
import os
import re
import sys
import sysconfig
import traceback
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, suppress
from pathlib import Path
from typing import TypeVar

from ...envs.printable import printable

TRACEBACK = "DUOLOGUE_TRACEBACK"
"""What asks for tracebacks, in the environment."""
FAILED, INTERRUPTED, NO_READER = 2, 130, 141
"""Exit statuses; the last two are the shell's for Ctrl-C and for a pipe that nobody reads."""
FORESEEN = (ValueError, TypeError, OSError, FloatingPointError, ImportError)
"""What the package raises itself, and whose messages say what they are."""
ConfigT = TypeVar("ConfigT")
WIDEST_BOX = 10_000
"""In which no line of tyro's is broken."""
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


def parse_options(config: type[ConfigT], argv: Sequence[str] | None, *, prog: str, description: str | None) -> ConfigT:
    """Return the options that a command line asks for, a dataclass.

    Args:
        config: the dataclass.
        argv: the words; None: this process's.
        prog: what is typed before them.
        description: what help says.

    Raises:
        ValueError: they cannot be read, or one is out of its range; tyro would say so in a box of several lines.
    """
    import tyro  # slow to import, and `duologue games` needs none

    try:
        with redirect_stderr(io.StringIO()):
            return tyro.cli(config, args=argv, prog=prog, description=description)
    except SystemExit as left:
        if not left.code:  # after help
            raise
    said, width = io.StringIO(), os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = str(WIDEST_BOX)
    try:
        with redirect_stderr(said), suppress(SystemExit):
            tyro.cli(config, args=argv, prog=prog, description=description)
    finally:
        os.environ.pop("COLUMNS")
        os.environ |= {} if width is None else {"COLUMNS": width}
    raise ValueError(f"{_out_of_box(said.getvalue())}; see {prog} --help")


def _out_of_box(box: str) -> str:
    """Return what tyro says in a box, in one line."""
    rows = re.sub(r"\x1b\[[0-9;]*m", "", box).splitlines()  # colours, on a terminal
    rows = rows[1:-1] if "╭" in box else rows[2:]  # plain where stdout takes no more
    lines = [row[2:].rstrip(" │") for row in rows]
    said, *more = re.split(r"\n[─-]+\n", "\n".join(lines))
    said = re.sub(r"^Error parsing \w+: ", "", " ".join(said.split()))
    near = [name for part in more if "Perhaps you" in part for name in re.findall(r"^ *(--\S+)", part, re.MULTILINE)]
    return f"{said.rstrip('.')}; perhaps you meant {' or '.join(near[:3])}" if near else said.rstrip(".")


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
