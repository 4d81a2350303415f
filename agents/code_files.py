"""Python files of one's own, run as modules: what registers something, and judges."""

from __future__ import annotations

import hashlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType


def code_of_file(path: Path, *, option: str) -> str:
    """Return the hash of a Python file's code; raise ValueError where there is no such file."""
    if not path.is_file():
        raise ValueError(f"{option}: expected a Python file, got {path}")
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def run_python(path: Path, *, option: str) -> ModuleType:
    """Run a Python file, once in a process as long as its code is the same, and return it as a module.

    Args:
        path: the file.
        option: what it was given by, for the error.

    Raises:
        ValueError: there is no such file, or no Python in it, or it ends the process.
    """
    name = f"duologue_plugin_{code_of_file(path, option=option)}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ValueError(f"{option}: expected a Python file, got {path}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    try:
        spec.loader.exec_module(module)
    except BaseException as error:
        del sys.modules[name]
        if isinstance(error, SystemExit):
            raise ValueError(f"{option}: expected a file that can be imported, {path} ends Python") from error
        if isinstance(error, SyntaxError) and Path(error.filename or path).name == path.name:
            line = "" if error.lineno is None else f", line {error.lineno}"
            raise ValueError(f"{option}: expected a Python file, got {path}{line}: {error.msg}") from error
        raise
    return module
