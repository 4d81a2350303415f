"""What a user gets by `pip install`: every package, its typing marker and data files, and nothing else."""

import ast
import importlib
import json
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
NOT_PACKAGES = {"tests", "examples", "docs", "build", "dist", "runs"}
NOT_SHIPPED = {"duologue.baselines.performance"}  # what `make bench` runs, in a checkout
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
EXTRAS: dict[str, list[str]] = PYPROJECT["project"]["optional-dependencies"]
NO_WHEEL = {"gambit"}  # what only `make gambit` installs
OF_BENCH = {"textarena"}  # what only `make bench` installs
OF_SB3 = {
    "duologue.agents.sb3",
    *(f"duologue.baselines.integrations.{name}" for name in ("sb3", "sb3_env", "sb3_self_play")),
}


def package_folders() -> dict[str, Path]:
    """Return every folder that Python sees as a package of ours, by its dotted name."""
    folders = {"duologue": ROOT}
    for init in ROOT.glob("*/**/__init__.py"):
        parts = init.parent.relative_to(ROOT).parts
        if parts[0] not in NOT_PACKAGES and not parts[0].startswith("."):
            folders[".".join(("duologue", *parts))] = init.parent
    return {name: folder for name, folder in folders.items() if name not in NOT_SHIPPED}


def shipped_files() -> set[str]:
    """Return the modules and data files that belong into the wheel, as paths inside it."""
    patterns = PYPROJECT["tool"]["setuptools"]["package-data"]
    files = {
        file
        for package, folder in package_folders().items()
        for pattern in ["*.py", *patterns["*"], *patterns.get(package, [])]
        for file in folder.glob(pattern)
    }
    return {(Path("duologue") / file.relative_to(ROOT)).as_posix() for file in files}


@pytest.fixture(scope="module")
def wheel_names(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """Build the wheel from a copy, so that the checkout stays clean, and list the files in it."""
    source, dist = tmp_path_factory.mktemp("source") / "duologue", tmp_path_factory.mktemp("dist")
    shutil.copytree(ROOT, source, ignore=shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", "build", "runs"))
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(dist), str(source)]
    built = subprocess.run(command, cwd=dist, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    (wheel,) = dist.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_pyproject_lists_every_package_folder() -> None:
    """A forgotten sub-package works in an editable install and is missing from the wheel."""
    assert sorted(PYPROJECT["tool"]["setuptools"]["packages"]) == sorted(package_folders())


@pytest.mark.parametrize("package", sorted(package_folders()))
def test_package_hands_on_every_name_that_it_lists(package: str) -> None:
    """Where a package imports a name only when it is asked for, nothing else notices one that is not there."""
    module = importlib.import_module(package)
    assert [name for name in getattr(module, "__all__", ()) if not hasattr(module, name)] == []


def test_every_data_file_of_a_package_matches_a_package_data_pattern() -> None:
    """A forgotten pattern has the same effect: the file is there until somebody installs the wheel."""
    ignored = {".py", ".pyc"}
    data = {
        (Path("duologue") / file.relative_to(ROOT)).as_posix()
        for folder in package_folders().values()
        if folder != ROOT
        for file in folder.iterdir()
        if file.is_file() and file.suffix not in ignored
    }
    assert data <= shipped_files()


def test_wheel_holds_the_packages_and_nothing_else(wheel_names: set[str]) -> None:
    """The root folder is the package, so a careless build packs tests, examples and docs as well."""
    assert {name for name in wheel_names if ".dist-info/" not in name} == shipped_files()
    assert "duologue/py.typed" in wheel_names
    assert not [name for name in wheel_names if name.split("/")[1] in NOT_PACKAGES]


def test_wheel_declares_the_command(wheel_names: set[str]) -> None:
    """`duologue` in a terminal is the same as `python -m duologue`."""
    assert [name for name in wheel_names if name.endswith(".dist-info/entry_points.txt")]
    assert PYPROJECT["project"]["scripts"] == {"duologue": "duologue.__main__:main"}


@pytest.mark.parametrize("module", ["duologue", "duologue.envs", "duologue.envs.bridges", "duologue.envs.testing"])
def test_games_are_imported_without_deep_learning_and_guests(module: str) -> None:
    """`envs` promises to need numpy, gymnasium and pettingzoo only (design, section 1)."""
    absent = {"torch", "transformers", "scipy", "pyspiel", "pygambit", "textarena"}
    code = f"import sys, {module}; print(*sorted({absent} & set(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split() == []


def test_every_imported_library_is_a_declared_dependency() -> None:
    """What another dependency happens to bring today is missing for a user tomorrow."""
    providers = packages_distributions()
    imported = {
        normalized(f"{distribution}>=0")
        for folder in package_folders().values()
        for file in folder.glob("*.py")
        for module in imported_modules(file) - set(sys.stdlib_module_names) - {"duologue"}
        for distribution in providers.get(module, [module])
    }
    optional = [line for extra, lines in EXTRAS.items() if extra != "dev" for line in lines]
    assert imported <= {normalized(line) for line in PYPROJECT["project"]["dependencies"] + optional}


def test_the_package_alone_runs_and_errors_name_the_extra() -> None:
    """A first `pip install .` brings no extra: every module but those of Stable-Baselines3 is imported without them.

    Their libraries are hidden from a process, which then trains with TensorBoard's events and solves with a plot.
    """
    missing = {normalized(line) for extra, lines in EXTRAS.items() if extra != "dev" for line in lines}
    providers = packages_distributions()
    hidden = [name for name, dists in providers.items() if missing & {normalized(f"{dist}>=0") for dist in dists}]
    modules = [
        ".".join((package, *([] if file.stem == "__init__" else [file.stem])))
        for package, folder in package_folders().items()
        for file in sorted(folder.glob("*.py"))
    ]
    run = subprocess.run(
        [sys.executable, "-c", ALONE], input=json.dumps([hidden, modules]), capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    failed = json.loads(run.stdout.splitlines()[-1])
    assert failed.keys() == OF_SB3
    assert all('pip install ".[sb3]"' in message for message in failed.values()), failed


ALONE = """
import importlib, json, sys, tempfile
hidden, modules = json.load(sys.stdin)
sys.modules |= dict.fromkeys(hidden)
failed = {}
for module in modules:
    try:
        importlib.import_module(module)
    except ImportError as error:
        failed[module] = str(error)
from duologue.__main__ import main
with tempfile.TemporaryDirectory() as folder:
    base = f"train pretrain --out {folder}/base --num-demonstrations 40 --hidden-size 16 --num-layers 1"
    assert main([*base.split(), "--cloning.num-steps", "2", "--cloning.batch-size", "8"]) == 0
    assert main(f"solve kuhn_poker-v0 --algorithm cfr --iterations 2 --plot {folder}/curve.png".split()) == 0
assert main(["train", "sb3", "--help"]) == 2
print(json.dumps(failed))
"""
"""Hide libraries, import everything, train and solve; print what could not be imported and why."""


def test_every_group_is_installed_by_one_target_and_told_in_the_readme() -> None:
    """`make test` brings each group that has wheels, and the README has one table of them all."""
    (tested,) = re.findall(r"^TEST_EXTRAS := (.*)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert {*tested.split(","), *NO_WHEEL, *OF_BENCH} == set(EXTRAS)
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    table = readme.partition("## Install\n")[2].partition("\n## ")[0]
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*?) \|", table, re.MULTILINE))
    assert rows.keys() == EXTRAS.keys()
    told = {group: {normalized(f"{name}>=0") for name in re.findall(r"[\w-]+", cell)} for group, cell in rows.items()}
    del told["dev"]  # its cell tells what the libraries are for
    assert told == {group: {normalized(line) for line in EXTRAS[group]} for group in told}


def imported_modules(file: Path) -> set[str]:
    """Return the top-level names that a file imports absolutely, also inside functions."""
    nodes = list(ast.walk(ast.parse(file.read_text(encoding="utf-8"))))
    plain = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    named = {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module and not node.level}
    return {name.split(".")[0] for name in plain | named}


def test_constraints_pin_every_dependency_once() -> None:
    """One set that works together: an unpinned name would bring whatever was released last night."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = [normalized(line) for line in lines if line and not line.startswith("#")]
    project = PYPROJECT["project"]
    extras = [line for group in project["optional-dependencies"].values() for line in group]
    declared = {normalized(line) for line in project["dependencies"] + extras}
    assert len(pinned) == len(set(pinned))
    assert declared <= set(pinned)
    assert "torch==2.13.0" in lines, "only the exact pin lets pip take a CPU build where one is offered"
    assert not [line for line in lines if "@" in line or "+" in line], "a pin must not name one machine's files"


def normalized(requirement: str) -> str:
    """Return the name in a requirement, written as PEP 503 has it."""
    (name,) = re.findall(r"^[A-Za-z0-9._-]+(?=[=<>!~])", requirement)
    return re.sub(r"[-_.]+", "-", name).lower()
