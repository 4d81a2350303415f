"""Build an environment for each guest, run its example in it, and write down what was tested.

    make guests                            # all of them
    make guests GUESTS="torchrl trl"       # some

Versions conflict, so that no one environment holds them all. Each is made below `.guests/`, with the requirements of
the table here, and made anew only when these change. `docs/guests.md` holds a row for each guest: versions, and the
return before and after training as its example printed it. Needs nothing but Python.
"""

from __future__ import annotations

import argparse
import json
import re
import resource
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "guests.md"
TORCH = "torch==2.13.0"
PINNED = ("--constraint", "constraints.txt", "open_spiel")

GUESTS: dict[str, tuple[str, tuple[str, ...]]] = {
    "gymnasium": ("pinned", PINNED),
    "sb3": ("pinned", PINNED),
    "sb3_contrib": ("pinned", PINNED),
    "cleanrl": ("pinned", PINNED),
    "openspiel": ("pinned", PINNED),
    "torchrl": ("torchrl", ("torchrl==0.14.1", "tensordict==0.14.3")),
    "supersuit": ("supersuit", ("supersuit==3.11.0",)),
    "tianshou": ("tianshou", ("tianshou==2.0.1",)),
    "textarena": ("textarena", ("textarena==0.7.4",)),
    "trl": ("trl", ("trl==1.16.0", "datasets==5.2.0")),
    "rllib": ("rllib", ("ray[rllib]==2.60.0", "gymnasium==1.2.2")),
    "agilerl": ("agilerl", ("agilerl==2.58.0", "pettingzoo==1.26.1", "peft")),
}
"""Guest -> the environment that it runs in, and what is installed there beside this package."""

SHOWN = {
    "gymnasium": ("gymnasium",),
    "sb3": ("stable-baselines3", "gymnasium"),
    "sb3_contrib": ("sb3-contrib", "gymnasium"),
    "cleanrl": ("gymnasium", "torch"),
    "openspiel": ("open-spiel",),
    "torchrl": ("torchrl", "tensordict", "pettingzoo"),
    "supersuit": ("supersuit", "stable-baselines3", "pettingzoo"),
    "tianshou": ("tianshou", "pettingzoo"),
    "textarena": ("textarena",),
    "trl": ("trl", "transformers"),
    "rllib": ("ray", "gymnasium", "pettingzoo"),
    "agilerl": ("agilerl", "pettingzoo", "gymnasium", "tensordict"),
}
"""The packages whose versions matter to a guest."""
HEADER = "| guest | versions | return before | after training | CPU s |\n| :--- | :--- | ---: | ---: | ---: |\n"
RESULT = re.compile(r"^return (\S+ \(.*?\)), after training (\S+ \(.*?\))$", re.MULTILINE)


def main(names: list[str], folder: Path) -> int:
    """Run the guests one after the other; return how many failed."""
    failed = []
    for name in names:
        environment, requirements = GUESTS[name]
        python = folder / environment / "bin" / "python"
        install(python, requirements)
        print(f"{name}: running examples/guests/with_{name}.py", flush=True)
        started = cpu_seconds()
        command = [str(python), str(ROOT / "examples" / "guests" / f"with_{name}.py"), "--smoke"]
        run = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        seconds = cpu_seconds() - started
        found = RESULT.search(run.stdout)
        if run.returncode or found is None:
            print(run.stdout[-2_000:] + run.stderr[-4_000:], file=sys.stderr)
            print(f"{name}: failed, exit status {run.returncode}", file=sys.stderr)
            failed.append(name)
            continue
        print(f"{name}: {found[0]}, {seconds:.0f} s of the processor", flush=True)
        write_row(name, f"| {name} | {versions(python, name)} | {found[1]} | {found[2]} | {seconds:.0f} |")
    print(f"{len(names) - len(failed)} of {len(names)} guests learnt" + (f"; failed: {failed}" if failed else ""))
    return len(failed)


def cpu_seconds() -> float:
    """Return what finished children took of the processor, which a busy machine does not lengthen."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def install(python: Path, requirements: tuple[str, ...]) -> None:
    """Make the environment, unless it stands as asked for."""
    stamp, wanted = python.parents[1] / ".guest", "\n".join((TORCH, *requirements))
    if stamp.is_file() and stamp.read_text(encoding="utf-8") == wanted:
        return
    print(f"installing {' '.join(requirements)} into {python.parents[1]}", flush=True)
    venv.create(python.parents[1], with_pip=True)
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, TORCH, *requirements, "--editable", "."], cwd=ROOT, check=True)
    stamp.write_text(wanted, encoding="utf-8")


def versions(python: Path, name: str) -> str:
    """Return the versions that matter to a guest, as its environment has them."""
    code = "import json, sys, importlib.metadata as m; print(json.dumps([m.version(name) for name in sys.argv[1:]]))"
    packages = SHOWN[name]
    run = subprocess.run([str(python), "-c", code, *packages], capture_output=True, text=True, check=True)
    return ", ".join(f"{package} {version}" for package, version in zip(packages, json.loads(run.stdout), strict=True))


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
