"""Files of one's own that register something: a learner for `--learner-file`, an algorithm for `--algorithm-file`."""

from __future__ import annotations

import hashlib
import inspect
import re
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Protocol

from ...agents.code_files import code_of_file, run_python

BUILT_IN = "duologue"
"""What stands for the code of whatever comes with the package."""

_loading: list[str] = []
"""The hash of the file that is being run, if one is."""
_paths: dict[str, Path] = {}
"""Where the file of a hash lies: one that was edited may register its own names again."""


def run_file(path: Path, *, option: str) -> str:
    """Run a Python file, once in a process, and return the hash of its code.

    Args:
        path: the file.
        option: what it was given by, for the error.

    Raises:
        ValueError: there is no such file, or no Python in it, or it ends the process.
    """
    code = code_of_file(path, option=option)
    _paths[code] = path.resolve()
    _loading.append(code)
    try:
        run_python(path, option=option)
    finally:
        _loading.pop()
    return code


class Coded(Protocol):
    """What a registry keeps of something registered."""

    @property
    def code(self) -> str:
        """What identifies the file that it stands in; see `code_of`."""
        ...


def registered_by_file(path: Path, registry: Mapping[str, Coded], *, option: str, call: str) -> list[str]:
    """Run a Python file that registers something, and return the names.

    Args:
        path: the file.
        registry: where it registers.
        option: what it was given by, for the error.
        call: the function that it should call.

    Raises:
        ValueError: there is no such file, or it registers nothing.
    """
    code = run_file(path, option=option)
    names = [name for name, registered in registry.items() if registered.code == code]
    if not names:
        raise ValueError(f"{option}: expected a file that calls {call}, got {path}")
    return names


def code_of(registered: Callable[..., object]) -> str:
    """Return what identifies the code of a function or a class: `BUILT_IN`, or the hash of its file.

    Raises:
        TypeError: its options stand in no file of its own.
    """
    if _loading:
        return _loading[-1]
    if isinstance(registered, partial):
        raise TypeError(
            f"algorithm: expected a function of its own, by `def`, with its options inside, got {registered}"
        )
    package = __name__.partition(".")[0]
    if getattr(registered, "__module__", "").partition(".")[0] == package:
        return BUILT_IN
    try:
        file = inspect.getsourcefile(
            registered if inspect.isroutine(registered) or inspect.isclass(registered) else type(registered)
        )
    except (TypeError, OSError):  # typed at a prompt
        return "unknown"
    if file is None or not Path(file).is_file():
        return "unknown"
    return hashlib.sha256(Path(file).read_bytes()).hexdigest()[:16]


def check_name(name: str) -> str:
    """Return a name to register something by; raise ValueError unless it is of the form that names have."""
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise ValueError(f"name: expected lower-case letters, digits and underscores, got {name!r}")
    return name


def require_free(name: str, known_code: str | None, code: str) -> None:
    """Raise ValueError if something else bears a name already; the same file may register its own again.

    Args:
        name: what something is to be called.
        known_code: the code of what bears the name; None: nothing does.
        code: that of what is to bear it.
    """
    edited = known_code in _paths and _paths[known_code] == _paths.get(code)
    if known_code is not None and (known_code == BUILT_IN or (known_code != code and not edited)):
        raise ValueError(f"name: expected one that nothing else bears, got {name!r} again")
