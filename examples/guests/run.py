"""Build an environment for each guest, run its example in it, and write down what was tested.

    make guests                            # all of them
    make guests GUESTS="torchrl trl"       # some

Versions conflict, so that no one environment holds them all. Each is made below `.guests/` by pip, from the
requirements here and the pins of `constraints.txt` less those that the guest cannot keep, and made anew only when one
of these changes. A guest that fails is reported and the others go on. `docs/guests.md` gets its row as soon as a guest
is done: versions, and the return before and after training as its example printed it. Needs nothing but Python.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import subprocess
import sys
import tomllib
import venv
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "guests.md"
TORCH = "torch==2.13.0"
TIMEOUT_S = 1_800
"""For one example; a busy machine takes a tenth of it."""


@dataclass(frozen=True, kw_only=True)
class Guest:
    """Where a guest runs, and what of it the page shows."""

    environment: str
    """Guests that need nothing apart share one."""
    requirements: tuple[str, ...] = ()
    """What is installed there beside this package."""
    unpinned: tuple[str, ...] = ()
    """Packages whose pin in `constraints.txt` the guest cannot keep."""
    shown: tuple[str, ...]
    """Packages whose versions matter."""


SB3 = ("stable-baselines3", "sb3-contrib")


def pinned(*shown: str) -> Guest:
    """Return a guest whose libraries `constraints.txt` pins."""
    return Guest(environment="pinned", requirements=("open_spiel", *SB3), shown=shown)


GUESTS = {
    "gymnasium": pinned("gymnasium"),
    "sb3": pinned("stable-baselines3", "gymnasium"),
    "sb3_contrib": pinned("sb3-contrib", "gymnasium"),
    "cleanrl": pinned("gymnasium", "torch"),
    "openspiel": pinned("open-spiel"),
    "torchrl": Guest(
        environment="torchrl",
        requirements=("torchrl==0.14.1", "tensordict==0.14.3"),
        shown=("torchrl", "tensordict", "pettingzoo"),
    ),
    "supersuit": Guest(
        environment="supersuit",
        requirements=("supersuit==3.11.0", *SB3),
        shown=("supersuit", "stable-baselines3", "pettingzoo"),
    ),
    "tianshou": Guest(
        environment="tianshou",
        requirements=("tianshou==2.0.1", "pandas==2.3.3", "virtualenv==20.39.1", "filelock==3.32.7"),
        unpinned=("pandas", "virtualenv", "filelock"),
        shown=("tianshou", "pettingzoo"),
    ),
    "textarena": Guest(environment="textarena", requirements=("textarena==0.7.4",), shown=("textarena",)),
    "trl": Guest(environment="trl", requirements=("trl==1.16.0", "datasets==5.2.0"), shown=("trl", "transformers")),
    "openenv": Guest(
        environment="openenv",
        requirements=("openenv==0.10.0", "pillow==12.3.0"),  # by way of gradio it asks for an older Pillow
        unpinned=("pillow",),
        shown=("openenv", "torch"),
    ),
    "rllib": Guest(
        environment="rllib",
        requirements=("ray[rllib]==2.60.0", "gymnasium==1.2.2"),
        unpinned=("gymnasium",),
        shown=("ray", "gymnasium", "pettingzoo"),
    ),
    "agilerl": Guest(
        environment="agilerl",
        requirements=("agilerl==2.58.0", "pettingzoo==1.26.1", "peft==0.21.2"),  # imports peft without asking for it
        unpinned=("pettingzoo",),
        shown=("agilerl", "pettingzoo", "gymnasium", "tensordict"),
    ),
}
HEADER = "| guest | versions | return before | after training | CPU s |\n| :--- | :--- | ---: | ---: | ---: |\n"
RESULT = re.compile(r"^return (\S+ \(.*?\)), after training (\S+ \(.*?\))$", re.MULTILINE)


class GuestError(Exception):
    """Why a guest has no new row."""


def main(names: list[str], folder: Path) -> int:
    """Run the guests one after the other; return how many failed."""
    failed = []
    for name in names:
        try:
            run_guest(name, folder)
        except GuestError as error:
            print(
                f"{name}: {error}\n{name}: failed; its row, if it has one, stays as it was", file=sys.stderr, flush=True
            )
            failed.append(name)
    print(f"{len(names) - len(failed)} of {len(names)} guests learnt" + (f"; failed: {failed}" if failed else ""))
    return len(failed)


def run_guest(name: str, folder: Path) -> None:
    """Make a guest's environment where there is none, run its example, and write its row.

    Raises:
        GuestError: its environment could not be made, or its example failed.
    """
    guest = GUESTS[name]
    python = folder / guest.environment / "bin" / "python"
    install(python, guest)
    print(f"{name}: running examples/guests/with_{name}.py", flush=True)
    started = cpu_seconds()
    printed = call([python, ROOT / "examples" / "guests" / f"with_{name}.py", "--smoke"], folder)
    seconds = cpu_seconds() - started
    found = RESULT.search(printed)
    if found is None:
        raise GuestError(f"expected a line 'return ..., after training ...', got\n{printed[-2_000:]}")
    print(f"{name}: {found[0]}, {seconds:.0f} s of the processor", flush=True)
    write_row(name, f"| {name} | {versions(python, name)} | {found[1]} | {found[2]} | {seconds:.0f} |")


def call(command: list[str | Path], folder: Path) -> str:
    """Run a command and return what it printed.

    Nothing but its own environment decides what it imports: neither PYTHONPATH nor packages of the user's.

    Raises:
        GuestError: it failed or did not end; with the last of what it printed.
    """
    own = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    try:
        done = subprocess.run(
            [str(part) for part in command],
            cwd=folder,
            env={**own, "PYTHONNOUSERSITE": "1"},
            capture_output=True,
            text=True,
            check=False,
            timeout=TIMEOUT_S,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise GuestError(str(error)) from error
    if done.returncode:
        raise GuestError(f"exit status {done.returncode}\n{done.stdout[-2_000:]}{done.stderr[-4_000:]}")
    return done.stdout


def cpu_seconds() -> float:
    """Return what finished children took of the processor, which a busy machine does not lengthen."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def install(python: Path, guest: Guest) -> None:
    """Make the environment, unless it stands as asked for.

    Raises:
        GuestError: pip failed; the next time begins anew.
    """
    home, pins = python.parents[1], constraints(guest)
    stamp, wanted = home / ".guest", "\n".join((*dependencies(), TORCH, *guest.requirements, "", *pins))
    if stamp.is_file() and stamp.read_text(encoding="utf-8") == wanted:
        return
    print(f"installing {' '.join((TORCH, *guest.requirements))} into {home}", flush=True)
    venv.create(home, with_pip=True, clear=True)
    written = home / "constraints.txt"
    written.write_text("\n".join(pins) + "\n", encoding="utf-8")
    pip = "-m pip install --quiet --disable-pip-version-check --constraint".split()
    call([python, *pip, written, TORCH, *guest.requirements, "--editable", "."], ROOT)
    stamp.write_text(wanted, encoding="utf-8")


def constraints(guest: Guest) -> list[str]:
    """Return the pins of `constraints.txt` that the guest keeps."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    apart = {normalised(name) for name in guest.unpinned}
    return [line for line in lines if "==" in line and normalised(line.partition("==")[0]) not in apart]


def normalised(name: str) -> str:
    """Return a package's name in the form in which all its spellings are one."""
    return re.sub(r"[-_.]+", "-", name).lower()


def dependencies() -> list[str]:
    """Return what this package itself requires."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return list(project["dependencies"])


def versions(python: Path, name: str) -> str:
    """Return the versions that matter to a guest, as its environment has them: it has no other place to import from."""
    code = "import json, sys, importlib.metadata as m; print(json.dumps([m.version(name) for name in sys.argv[1:]]))"
    packages = GUESTS[name].shown
    found = json.loads(call([python, "-c", code, *packages], python.parent))
    return ", ".join(f"{package} {version}" for package, version in zip(packages, found, strict=True))


def write_row(name: str, row: str) -> None:
    """Put a guest's row in place of its old one, in the table's order."""
    page = PAGE.read_text(encoding="utf-8")
    head, _, table = page.partition(HEADER)
    body, _, rest = table.partition("\n\n")
    rows = {line.split("|")[1].strip(): line for line in body.splitlines() if line.startswith("| ")} | {name: row}
    lines = [rows[guest] for guest in GUESTS if guest in rows]
    PAGE.write_text(head + HEADER + "\n".join(lines) + "\n" + (f"\n{rest}" if rest else ""), encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("guests", nargs="*", metavar="GUEST", help=f"among {', '.join(GUESTS)}; none: all")
    parser.add_argument("--folder", type=Path, default=ROOT / ".guests", help="where the environments stand")
    arguments = parser.parse_args()
    if unknown := sorted(set(arguments.guests) - set(GUESTS)):
        parser.error(f"guest: expected some of {', '.join(GUESTS)}, got {', '.join(unknown)}")
    arguments.folder.mkdir(parents=True, exist_ok=True)
    sys.exit(min(1, main(arguments.guests or list(GUESTS), arguments.folder.resolve())))
