"""What a process runs on: versions of Python, the packages and the checkout, and its command line."""

from __future__ import annotations

import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from ... import __version__
from ...agents.folders import read_json
from . import files
from .files import Json

PACKAGES = ("torch", "numpy", "transformers", "pettingzoo", "gymnasium", "stable-baselines3", "sb3-contrib")
"""Packages whose versions may change a result."""
ALWAYS = {"python", "platform", "duologue", "command_line"}
"""What each record of versions has said since the first."""


def record_versions(path: Path) -> None:
    """Write what this process runs on; a resumed run keeps what it began with, and lists the rest behind."""
    now = _versions()
    if path.is_file():
        first = read_json(path)
        now = first | {"resumed": [*first.get("resumed", []), now]}
    files.write_json(path, now)


def _versions() -> dict[str, Json]:
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "duologue": __version__,
        **{package: _version(package) for package in PACKAGES},
        "torch_threads": torch.get_num_threads(),
        "git_revision": _git_revision(Path(__file__).resolve().parents[2]),
        "command_line": list(sys.argv),
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _git_revision(root: Path) -> str | None:
    """Return the commit of the checkout at `root`, with "-dirty" if it was changed; None outside of one."""
    if not (root / ".git").exists():
        return None
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):  # no git, or no commit yet
        return None
    return done.stdout.strip()
