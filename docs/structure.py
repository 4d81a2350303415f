"""How the package hangs together: rooms and arrows, sizes of functions and files, lines of plumbing.

    python docs/structure.py            # or `make structure`
    python docs/structure.py --root CHECKOUT

A room is a sub-package of `baselines`, or a file that lies directly in it; an arrow stands for all imports of one room
by another, also for those that are written as text, `"two_player.gpo:gpo"`. Plumbing is what has to be there and is
nobody's idea: methods that save and restore by hand, checks in `__post_init__`, `main` functions, and functions that
open a run's folder. Read as text: nothing is imported.
"""

from __future__ import annotations

import argparse
import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("envs", "agents", "baselines")
MAX_FUNCTION_LINES, SHORT_FUNCTION_LINES, LONG_FILE_LINES = 60, 25, 400
REASON = "One file:"
"""How a docstring begins the sentence that says why a file is long."""
ENTRY = re.compile(r"(\w+)(?:\.\w+)*:\w+")
"""How a module and what is taken from it are written as text, to be imported when they are asked for."""
STATE_METHODS = ("state_dict", "load_state_dict")


@dataclass
class Structure:
    """What was counted."""

    arrows: set[tuple[str, str]] = field(default_factory=set)
    """Which room of `baselines` imports which other."""
    num_imports: int = 0
    """Imports of a file in another room."""
    entries: list[str] = field(default_factory=list)
    """What lies directly in `baselines`."""
    function_lines: dict[str, int] = field(default_factory=dict)
    file_lines: dict[str, int] = field(default_factory=dict)
    unexplained: list[str] = field(default_factory=list)
    """Long files whose docstring gives no reason."""
    plumbing: dict[str, int] = field(default_factory=dict)
    """Lines of each kind."""

    @property
    def long_functions(self) -> list[str]:
        """Functions over the limit."""
        return [name for name, lines in self.function_lines.items() if lines > MAX_FUNCTION_LINES]

    @property
    def short_share(self) -> float:
        """Share of the functions that are short."""
        return sum(lines <= SHORT_FUNCTION_LINES for lines in self.function_lines.values()) / len(self.function_lines)

    @property
    def circle(self) -> list[str]:
        """Rooms that import each other, directly or by way of others, and those above; empty if there are none."""
        left = {room for arrow in self.arrows for room in arrow}
        while True:
            free = {room for room in left if not any(a == room and b in left for a, b in self.arrows)}
            if not free:
                return sorted(left)
            left -= free


def measure(root: Path) -> Structure:
    """Return the structure of a checkout."""
    found = Structure()
    baselines = root / "baselines"
    found.entries = sorted(path.name for path in baselines.iterdir() if path.name not in ("__pycache__",))
    for path in python_files(root):
        tree, name = ast.parse(path.read_text(encoding="utf-8")), path.relative_to(root).as_posix()
        lines = path.read_text(encoding="utf-8").count("\n")
        found.file_lines[name] = lines
        if lines > LONG_FILE_LINES and REASON not in (ast.get_docstring(tree) or ""):
            found.unexplained.append(f"{name} ({lines} lines)")
        measure_functions(found, tree, name)
        if path.is_relative_to(baselines):
            for target in rooms_imported(tree, path, baselines):
                found.arrows.add((room_of(path, baselines), target))
                found.num_imports += 1
    return found


def python_files(root: Path) -> Iterator[Path]:
    """Yield the files of the package."""
    yield from (path for name in PACKAGES for path in sorted((root / name).rglob("*.py")))
    yield root / "__main__.py"


def measure_functions(found: Structure, tree: ast.Module, name: str) -> None:
    """Count the lines of each function, and of those that are plumbing."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        lines = (node.end_lineno or node.lineno) - node.lineno + 1
        found.function_lines[f"{name}:{node.lineno} {node.name}"] = lines
        kind = plumbing_of(node, name)
        if kind is not None:
            found.plumbing[kind] = found.plumbing.get(kind, 0) + lines


def plumbing_of(node: ast.FunctionDef | ast.AsyncFunctionDef, name: str) -> str | None:
    """Return which kind of plumbing a function of `baselines` is, if it is any."""
    if not name.startswith("baselines/") or "performance/" in name or "benchmark_" in name or "/benchmark.py" in name:
        return None
    if node.name in STATE_METHODS:
        return "methods that save and restore"
    if node.name == "__post_init__":
        return "__post_init__"
    if node.name == "main":
        return "main functions"
    opens = any(isinstance(part, ast.Attribute) and ast.unparse(part) == "Run.open" for part in ast.walk(node))
    return "functions that open a run" if opens else None


def room_of(path: Path, baselines: Path) -> str:
    """Return the room that a file lies in: its sub-package, or itself."""
    return path.relative_to(baselines).with_suffix("").parts[0]


def rooms_imported(tree: ast.Module, path: Path, baselines: Path) -> Iterator[str]:
    """Yield the other rooms that a file imports, once for each import statement or entry by name."""
    here = path.relative_to(baselines).parts
    other_rooms = {entry.stem for entry in baselines.iterdir()} - {room_of(path, baselines)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and (named := ENTRY.fullmatch(str(node.value))):
            yield from {named[1]} & other_rooms
        if not isinstance(node, ast.ImportFrom) or not node.level:
            continue
        base = here[:-1][: len(here) - node.level]
        if node.level > len(here):
            continue  # out of `baselines`
        parts = (*base, *(node.module or "").split("."))
        names = [parts[0]] if parts[0] else [alias.name for alias in node.names]
        yield from (room for room in names if room in other_rooms)


def report(found: Structure) -> str:
    """Return the numbers as lines of text."""
    rooms = {room for arrow in found.arrows for room in arrow}
    plumbing = ", ".join(f"{kind} {lines}" for kind, lines in sorted(found.plumbing.items()))
    long = [name for name, lines in found.file_lines.items() if lines > LONG_FILE_LINES]
    return "\n".join(
        [
            f"rooms of baselines: {len(rooms)}; arrows between them: {len(found.arrows)} ({found.num_imports} imports)",
            f"circle: {', '.join(found.circle) or 'none'}",
            f"entries directly in baselines: {len(found.entries)}",
            f"functions: {len(found.function_lines)}, {100 * found.short_share:.1f} % of at most "
            f"{SHORT_FUNCTION_LINES} lines; over {MAX_FUNCTION_LINES}: {', '.join(found.long_functions) or 'none'}",
            f"files over {LONG_FILE_LINES} lines: {', '.join(long) or 'none'}; without a reason: "
            f"{', '.join(found.unexplained) or 'none'}",
            f"lines of plumbing: {sum(found.plumbing.values())} ({plumbing})",
        ]
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=ROOT, help="the checkout to measure (default: this one)")
    print(report(measure(parser.parse_args().root)))
