"""A newcomer finds his room from the tree alone: what `make structure` counts stays within its limits."""

import importlib
import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def structure() -> ModuleType:
    """The script, which is no module of the package."""
    spec = importlib.util.spec_from_file_location("structure", ROOT / "docs" / "structure.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["structure"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def test_rooms_hang_together_by_few_arrows_and_in_no_circle(structure: ModuleType) -> None:
    """At most 100 between the rooms of `baselines`; there were 422 between its files."""
    found = structure.measure(ROOT)
    assert 20 < len(found.arrows) <= 100
    assert found.circle == []
    assert [entry for entry in found.entries if not (ROOT / "baselines" / entry).is_dir()] == [
        "__init__.py",
        "__init__.pyi",
    ]


def test_functions_are_short_and_long_files_say_why(structure: ModuleType) -> None:
    """None over 60 lines, nine in ten within 25; a file over 400 lines has the reason in its docstring."""
    found = structure.measure(ROOT)
    assert found.long_functions == []
    assert found.short_share >= 0.9
    assert found.unexplained == []


def test_plumbing_stays_under_600_lines(structure: ModuleType) -> None:
    """Checks, state pairs, mains and run frames; they were 1,414."""
    assert sum(structure.measure(ROOT).plumbing.values()) < 600


def test_every_room_says_what_lives_there_and_what_it_imports() -> None:
    """In a docstring of two lines or a few more."""
    for package in ("envs", "agents", "baselines"):
        for init in (ROOT / package).glob("*/__init__.py"):
            if init.parent.name != "games":
                text = init.read_text(encoding="utf-8")
                assert "\n\nImports " in text, init


def test_circles_and_long_functions_are_found(structure: ModuleType, tmp_path: Path) -> None:
    """In a tree that has both: two rooms that import each other, one above them, and one below."""
    for room, imported in (("low", None), ("left", "right"), ("right", "left"), ("top", "left")):
        folder = tmp_path / "baselines" / room
        folder.mkdir(parents=True)
        text = "" if imported is None else f"from ..{imported}.file import name\nfrom ..low import file\n"
        (folder / "file.py").write_text(f"{text}def name():\n" + "    pass\n" * 61, encoding="utf-8")
    for other in ("envs", "agents"):
        (tmp_path / other).mkdir()
    (tmp_path / "__main__.py").write_text("", encoding="utf-8")
    (tmp_path / "baselines" / "top" / "by_name.py").write_text('ENTRIES = ("other.low:name", "low.file:name")\n')
    found = structure.measure(tmp_path)
    assert found.circle == ["left", "right", "top"]
    assert ("low", "left") not in found.arrows
    assert found.num_imports == 7  # two in each of three rooms, and one by name
    assert ("left", "low") in found.arrows
    assert len(found.long_functions) == 4


def test_the_command_prints_the_numbers() -> None:
    """One line each."""
    command = [sys.executable, str(ROOT / "docs" / "structure.py")]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert len(printed.splitlines()) == 6
    assert printed.startswith("rooms of baselines: ")


@pytest.mark.parametrize("module", ["duologue.envs", "duologue.agents", "duologue.baselines"])
def test_importing_a_face_imports_no_torch(module: str) -> None:
    """Until something is used."""
    code = f"import sys, {module}; print('torch' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "False\n"


def test_every_name_of_a_face_can_be_imported() -> None:
    """A stub that names what is not there would fail at a user's first import."""
    for stub in [*(ROOT / "agents").rglob("*.pyi"), *(ROOT / "baselines").rglob("*.pyi")]:
        name = ".".join(("duologue", *stub.parent.relative_to(ROOT).parts))
        face = importlib.import_module(name)
        assert face.__all__
        for offered in face.__all__:
            assert getattr(face, offered) is not None, f"{name}.{offered}"
            assert not (stub.parent / f"{offered}.py").exists(), f"{name}.{offered} is a module, too"
            assert not (stub.parent / offered).is_dir(), f"{name}.{offered} is a room, too"
