"""What the documentation shows is run: docstrings, the README, the games' pages and every example."""

import doctest
import importlib
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parent.parent
MODULES = sorted(
    ".".join(("duologue", *file.relative_to(ROOT).with_suffix("").parts))
    for package in ("envs", "agents", "baselines")
    for file in (ROOT / package).rglob("*.py")
    if not file.name.startswith("__") and ">>> " in file.read_text(encoding="utf-8")
)
PAGES = sorted((ROOT / "docs").rglob("*.md"))
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))


def python_blocks(page: Path) -> list[str]:
    """Return the Python code blocks of a Markdown page."""
    return re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("name", MODULES)
def test_docstring_examples_print_what_they_show(name: str) -> None:
    """An example that has gone stale teaches the wrong call (style, section 7.8)."""
    failed, attempted = doctest.testmod(importlib.import_module(name))
    assert attempted
    assert not failed


def test_readme_code_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The ten-line start is what anyone tries first; later blocks may use what earlier ones made."""
    readme = ModuleType("readme")  # a module, so that the classes made there can be pickled
    monkeypatch.setitem(sys.modules, "readme", readme)
    monkeypatch.chdir(tmp_path)  # where its runs are left
    for block in python_blocks(ROOT / "README.md"):
        exec(compile(block, "README.md", "exec"), vars(readme))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_code_of_a_page_runs(page: Path) -> None:
    """`=...` stands for an argument that the reader must fill in, as a file: such a block is not run."""
    for block in python_blocks(page):
        if "=..." not in block:
            exec(compile(block, page.name, "exec"), {})


def test_game_pages_say_what_the_code_says() -> None:
    """Pages are written by `make docs` from the docstrings; a second copy would learn to disagree."""
    command = [sys.executable, str(ROOT / "docs" / "generate.py"), "--check"]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.stem)
def test_example_runs(example: Path, tmp_path: Path) -> None:
    """Each example is one page that works; `--smoke` makes it short."""
    run = subprocess.run(
        [sys.executable, str(example), "--smoke"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stdout + run.stderr


SECTIONS = {"3", "4", *(f"4.{k}" for k in range(1, 10)), "5", "5.1", "5.2", "6"}
"""Of arXiv 2402.08078, whose equations are numbered 1 to 10."""
SUBJECTS = {
    r"red[- ]teaming": {"4.7"},
    r"in-context|chain of thought|hallucination|meta-learning": {"4.5"},
    r"value function|long-term": {"5.2"},
    r"pre-training|behaviour cloning": {"4", "4.2", "4.3", "5.1"},
}
"""Where the paper speaks of what."""


def test_sections_and_equations_that_are_cited_are_those_of_the_paper() -> None:
    """Each sentence that names the paper, with a section or an equation in it: they exist, and are on its subject."""
    cited = 0
    folders = [ROOT / name for name in ("agents", "baselines", "envs", "examples", "docs")]
    for path in (path for folder in folders for kind in ("*.py", "*.md") for path in folder.rglob(kind)):
        text = " ".join(path.read_text(encoding="utf-8").split())
        for sentence in re.findall(r"[^.;|]*(?:\.\S[^.;|]*)*", text):
            if "2402.08078" not in sentence or "2406.10977" in sentence:
                continue
            sections = set(re.findall(r"[Ss]ection (\d(?:\.\d)?)", sentence))
            equations = {int(number) for number in re.findall(r"(?:eqs?\.|equations?) \(?(\d+)", sentence)}
            assert sections <= SECTIONS, (path, sentence)
            assert equations <= set(range(1, 11)), (path, sentence)
            for subject, right in SUBJECTS.items():
                if sections and re.search(subject, sentence, re.IGNORECASE):
                    assert sections & right, (path, sentence)
            cited += bool(sections or equations)
    assert cited > 20
