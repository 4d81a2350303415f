"""Torture: commands are killed, doubled, starved of disk and given hostile folders (`make torture`).

    python -m duologue.tests.torture                         all of it, some ten minutes on two cores
    python -m duologue.tests.torture --kills 20 --only kills

| what | what must come of it |
| --- | --- |
| kills at random moments (SIGKILL), and the same command again | the folder of a run that nobody killed, bit for bit |
| Ctrl-C and SIGTERM | status 130 and 143, one line, and the same |
| two writers of one folder: one while the other writes, or both at once | one does the work, one is told who does |
| a full disk: a file that grows too large, a write that fails | one line, status 2; given again it ends as ever |
| a hostile folder or file at each loader | one line, status 2, and no byte changed |

A trial that changed nothing, as a kill of a command that had ended, is no success: it is counted apart, as idle.

Every command runs in a process of its own, forked from a server that has imported everything; two run at a time.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import hashlib
import json
import logging
import multiprocessing
import os
import re
import resource
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

import numpy as np

from duologue.tests.baselines.helpers import everything_in

MODEL = ("--hidden-size", "16", "--num-layers", "1", "--num-heads", "2")
KUHN = ("--game", "kuhn_poker-v0", "--batch-size", "8", *MODEL, "--save-every", "2", "--num-threads", "1")
DEFENDER, ADVERSARY = ("--defender", "{start}/sft/model"), ("--adversary", "{start}/base/model")
TRAINING = ("--save-every", "2", "--num-threads", "1")
CLONING = ("--num-demonstrations", "60", "--cloning.batch-size", "16")
SETUPS: dict[str, tuple[str, ...]] = {
    "self_play": ("train", "self_play", *KUHN, "--num-updates", "9"),
    "self_play_rloo": ("train", "self_play", *KUHN, "--num-updates", "9", "--learner", "rloo", "--group-size", "2"),
    "pool": (
        "train", "self_play", *KUHN, "--num-updates", "9", "--opponent.choice", "uniform",
        "--opponent.snapshot-every", "2", "--exact",
    ),
    "fictitious_play": ("train", "fictitious_play", *KUHN, "--num-rounds", "3", "--updates-per-round", "3"),
    "psro": (
        "train", "psro", *KUHN, "--num-updates", "9", "--updates-per-response", "3", "--num-payoff-episodes", "8",
        "--num-gain-episodes", "8",
    ),
    "league": ("train", "league", *KUHN, "--num-updates", "9", "--snapshot-every", "2"),
    "pretrain": ("train", "pretrain", *MODEL, *CLONING, "--cloning.num-steps", "15", *TRAINING),
    "sft": ("train", "sft", "--model", "{start}/base/model", *CLONING, "--cloning.num-steps", "11", *TRAINING),
    "rlhf": ("train", "rlhf", *DEFENDER, "--num-steps", "7", "--batch-size", "8", *TRAINING),
    "dpo": ("train", "dpo", *DEFENDER, "--num-steps", "7", "--num-pairs", "16", "--batch-size", "8", *TRAINING),
    "attack": ("train", "attack", *DEFENDER, *ADVERSARY, "--num-steps", "5", "--batch-size", "8", *TRAINING),
    "gpo": (
        "train", "gpo", *DEFENDER, *ADVERSARY, "--schedule.num-rounds", "2", "--schedule.defend-steps", "2",
        "--schedule.attack-steps", "2", "--schedule.batch-size", "8", *TRAINING,
    ),
    "sb3": (
        "train", "sb3", "--game", "kuhn_poker-v0", "--num-updates", "9", "--num-envs", "4", "--tokens-per-env", "4",
        "--minibatch-size", "8", "--save-every", "2",
    ),
    "bench": (
        "bench", "--algorithms", "self_play,psro", "--games", "kuhn", "--seeds", "2", "--num-updates", "6",
        "--batch-size", "4", "--processes", "1",
    ),
}  # fmt: skip
"""Commands by name; {start} is a folder with a base and an SFT model. They take a second or two each."""
STARTS = (
    ("train", "pretrain", *MODEL, *CLONING, "--cloning.num-steps", "2", "--out", "{start}/base"),
    ("train", "sft", "--model", "{start}/base/model", *CLONING, "--cloning.num-steps", "2", "--out", "{start}/sft"),
)
PRELOAD = [
    "duologue.__main__", "duologue.baselines.training.run", "duologue.baselines.studies.stages",
    "duologue.baselines.two_player.gpo", "duologue.baselines.two_player.league", "duologue.baselines.two_player.psro",
    "duologue.baselines.two_player.fictitious_play", "duologue.baselines.integrations.sb3", "matplotlib.figure",
    "duologue.baselines.benchmark.command", "duologue.baselines.alignment.dpo", "duologue.baselines.comparison.command",
    "duologue.baselines.api.evaluate", "tensorboard.compat.proto.event_pb2", "transformers.models.llama.modeling_llama",
]  # fmt: skip
CURVES = "tensorboard"
VOLATILE = ("versions.json", ".duologue.lock", "sha256.json", "seconds.json")
"""What says when, how long and by what command; checksums of states that tell of time."""
CLOCKS = ("seconds", "cpu_seconds", "core_seconds")
"""Fields of records that tell of time."""
UNORDERED = ("results.jsonl",)
"""Records of pieces of work that may end in any order; all others come in the order of their steps."""
SAVES = ("run", "records")
"""What a state says of its run besides: checksums of options, `out` among them, and of records that tell of time."""
KINDS = ("kills", "stops", "writers", "disk", "hostile")
PLACES = 10
"""At how many places the disk is full."""
LIMIT_S = 180
"""After which a command hangs."""
SOONEST_S = 0.1
"""Before which none is killed."""


@dataclass
class Ended:
    """How a command ended."""

    status: int
    output: str

    @property
    def refusal(self) -> str:
        """What is wrong with it as a refusal; nothing if it is one line and status 2."""
        lines = [line for line in self.output.strip().splitlines() if not line.startswith("(DUOLOGUE_TRACEBACK")]
        if self.status != 2:
            return f"status {self.status}"
        if "Traceback" in self.output:
            return "a traceback"
        return "" if lines and lines[-1].startswith("duologue") else f"no line of ours: {lines[-1:]}"


@dataclass
class Tally:
    """What came of one kind of torture."""

    name: str
    tried: int = 0
    faults: list[str] = field(default_factory=list)
    idle: list[str] = field(default_factory=list)
    """Tries that changed nothing, and so show nothing."""

    def add(self, what: str, fault: str, *, idle: str = "") -> None:
        """Count a try; a fault is described, or empty, and so is why it changed nothing."""
        self.tried += 1
        if fault:
            self.faults.append(f"{what}: {fault}")
        elif idle:
            self.idle.append(f"{what}: {idle}")
        print(f"[{self.name} {self.tried}] {what}: {fault or idle or 'as it must be'}", flush=True)

    @property
    def good(self) -> int:
        """How many were as they must be."""
        return self.tried - len(self.faults) - len(self.idle)


POLLING = threading.Lock()
"""Held where processes are asked whether they have ended, as a start does of all: a status can be read once only."""


class Process:
    """A command in a process of its own."""

    def __init__(self, arguments: Sequence[str], log: Path, *, limit: int | None = None, fail_at: int | None = None):
        """Start it.

        Args:
            arguments: after `duologue`.
            log: where its output goes.
            limit: bytes that no file may exceed.
            fail_at: which wait for the disk fails, from 1; 0: none, and they are counted.
        """
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(PRELOAD)
        self.log = log
        _waits_file(log).unlink(missing_ok=True)
        self._process = context.Process(target=_command, args=(list(arguments), log, limit, fail_at))
        with POLLING:
            self._process.start()

    def signal(self, number: int) -> None:
        """Send it a signal, unless it has ended."""
        with POLLING:
            alive = self._process.is_alive()
        if self._process.pid is not None and alive:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._process.pid, number)

    def ended(self) -> Ended:
        """Wait for its end."""
        if not wait([self._process.sentinel], LIMIT_S):
            self._process.kill()
            wait([self._process.sentinel])
            return Ended(-1, "it hangs")
        with POLLING:
            status = self._process.exitcode
        return Ended(
            -1 if status is None else status, self.log.read_text(errors="replace") if self.log.exists() else ""
        )


def _command(arguments: list[str], log: Path, limit: int | None, fail_at: int | None) -> None:
    """Run a command in this process, with what is wrong with its disk."""
    from duologue.__main__ import main

    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # what starts in the background ignores it
    if limit is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    if fail_at is not None:
        _fail_at(fail_at, _waits_file(log))
    try:
        status = main(arguments)
    except SystemExit as left:
        status = left.code if isinstance(left.code, int) else 1
    sys.exit(status)


def _fail_at(number: int, waits: Path) -> None:
    """Let the disk be full at the `number`-th wait for it; a file says how often it was waited for."""
    original, count = os.fsync, 0

    def fsync(fd: Any) -> None:
        nonlocal count
        count += 1
        waits.write_text(str(count))
        if count == number:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        original(fd)

    os.fsync = fsync


def _waits_file(log: Path) -> Path:
    return log.with_name(f"{log.name}.waits")


def _waits(log: Path) -> int:
    """Return how often a command waited for the disk."""
    return int(_waits_file(log).read_text()) if _waits_file(log).is_file() else 0


class Torture:
    """All commands, each with a run that nobody disturbed to compare with."""

    def __init__(self, folder: Path, names: Sequence[str], kinds: Sequence[str]) -> None:
        """Make the models that commands start from where they are needed, and the undisturbed runs."""
        self.folder = folder
        self.start = folder / "start"
        self._done(("games",), folder / "games.log")  # starts the server
        if any("{start}" in word for name in names for word in SETUPS[name]) or "hostile" in kinds:
            for number, arguments in enumerate(STARTS):
                self._done(arguments, folder / f"start{number}.log")
        self.whole: dict[str, dict[str, str]] = {}
        self.seconds: dict[str, float] = {}
        self.waits: dict[str, int] = {}
        self.sizes: dict[str, int] = {}
        """Of the largest file."""
        self.names = list(names)
        for name in names:
            began, out, log = time.monotonic(), folder / "whole" / name, folder / f"whole.{name}.log"
            self._done(self.arguments(name, out), log)
            self.seconds[name] = time.monotonic() - began
            self.whole[name], self.waits[name] = contents(out), _waits(log)
            self.sizes[name] = max(path.stat().st_size for path in out.rglob("*") if path.is_file())
            print(f"[undisturbed] {name}: {self.seconds[name]:.1f} s, {len(self.whole[name])} files", flush=True)

    def arguments(self, name: str, out: Path) -> list[str]:
        """Return a command with its folders."""
        return [*(word.format(start=self.start) for word in SETUPS[name]), "--out", str(out)]

    def _done(self, arguments: Sequence[str], log: Path) -> None:
        log.parent.mkdir(parents=True, exist_ok=True)
        ended = Process([word.format(start=self.start) for word in arguments], log, fail_at=0).ended()
        if ended.status:
            raise RuntimeError(f"{' '.join(arguments)}: expected status 0, got {ended.status}:\n{ended.output[-2000:]}")

    def finished(self, name: str, out: Path) -> str:
        """Give the command (again); return what is wrong with what it leaves."""
        ended = Process(self.arguments(name, out), out.with_suffix(".again.log")).ended()
        if ended.status:
            return f"status {ended.status} when given again: {ended.output.strip()[-300:]}"
        return difference(self.whole[name], contents(out))

    def kill(self, number: int, tally: Tally) -> None:
        """Kill a command once or twice at random moments, and let it end."""
        name, rng = self.names[number % len(self.names)], np.random.default_rng([7, number])
        until, killed, said = self.seconds[name], False, ""
        while not killed and until > SOONEST_S:
            shutil.rmtree(self.folder / f"kill{number}", ignore_errors=True)
            out, moments = self._place(f"kill{number}", name), []
            for attempt in range(int(rng.integers(1, 3))):
                process = Process(self.arguments(name, out), out.with_suffix(f".{attempt}.log"))
                moments.append(float(rng.uniform(SOONEST_S, until)))
                time.sleep(moments[-1])
                process.signal(signal.SIGKILL)
                killed |= process.ended().status == -signal.SIGKILL
            said = " and ".join(f"{moment:.2f}" for moment in moments)
            until /= 2  # it had ended: a machine that has warmed up is faster
        idle = "" if killed else "it had ended before"
        tally.add(f"{name} killed after {said} s", self.finished(name, out), idle=idle)
        shutil.rmtree(out.parent, ignore_errors=True)

    def stop(self, number: int, tally: Tally) -> None:
        """Ask a command to end, and let it go on."""
        name, rng = self.names[number % len(self.names)], np.random.default_rng([8, number])
        asked = (signal.SIGINT, signal.SIGTERM)[number // len(self.names) % 2]
        out = self._place(f"stop{number}", name)
        process = Process(self.arguments(name, out), out.with_suffix(".0.log"))
        wanted = int(rng.integers(1, 4))  # records
        records = out / ("results.jsonl" if name == "bench" else "metrics.jsonl")
        _wait_until(lambda: records.is_file() and records.read_bytes().count(b"\n") >= wanted)
        process.signal(asked)
        ended, fault = process.ended(), ""
        ends = -asked if name == "bench" and asked == signal.SIGTERM else 128 + asked  # it saves cells, no steps
        if ended.status not in (0, ends):
            fault = f"status {ended.status} after signal {asked}: {ended.output.strip()[-300:]}"
        elif "Traceback" in ended.output:
            fault = f"a traceback: {ended.output.strip()[-300:]}"
        idle = "" if ended.status else "it had ended before"
        what = f"{name} stopped by {asked.name} after record {wanted}"
        tally.add(what, fault or self.finished(name, out), idle=idle)
        shutil.rmtree(out.parent, ignore_errors=True)

    def double(self, number: int, tally: Tally) -> None:
        """Give a command twice: at the same time, or the second while the first writes."""
        name, overlap = self.names[number % len(self.names)], number // len(self.names) % 2 == 0
        out = self._place(f"double{number}", name)
        both = [Process(self.arguments(name, out), out.with_suffix(".0.log"))]
        if overlap:
            _wait_until(lambda: (out / "config.json").is_file() or (out / ".duologue.json").is_file())
        both.append(Process(self.arguments(name, out), out.with_suffix(".1.log")))
        ends = [process.ended() for process in both]
        worked, refused = sorted(ends, key=lambda ended: ended.status)
        fault, idle = "", ""
        if overlap and ends[0].status:
            fault = f"the first is not let end: {ends[0].output[-300:]}"
        elif worked.status == 0 and refused.status == 2:
            fault = "" if "in use by" in refused.output else f"it does not say why: {refused.output[-300:]}"
        elif [ended.status for ended in ends] == [0, 0] and _openings(name, out, ends) == 1:
            fault, idle = "", "one had ended before the other began"
        else:
            fault = f"statuses {[ended.status for ended in ends]}: {ends[0].output[-300:]} {ends[1].output[-300:]}"
        fault = fault or difference(self.whole[name], contents(out)) or self.finished(name, out)
        tally.add(f"two of {name}, {'one after' if overlap else 'at once with'} the other", fault, idle=idle)
        shutil.rmtree(out.parent, ignore_errors=True)

    def fill(self, number: int, tally: Tally) -> None:
        """Let the disk be full where the command writes: files may not grow beyond a limit, or a wait for it fails."""
        name, rng = self.names[number % len(self.names)], np.random.default_rng([9, number])
        out = self._place(f"full{number}", name)
        limit = int(rng.integers(100, self.sizes[name])) if number % 2 else None
        fail_at = None if number % 2 else int(rng.integers(1, self.waits[name] + 1))
        log = out.with_suffix(".0.log")
        ended = Process(self.arguments(name, out), log, limit=limit, fail_at=fail_at).ended()
        place = f"files of at most {limit} bytes" if limit else f"a full disk at wait {fail_at} of {self.waits[name]}"
        reached = limit is None and _waits(log) >= (fail_at or 0)
        idle = "" if ended.status or reached else "it wrote nothing there"
        fault = "" if idle else ended.refusal
        fault = (fault and f"{fault}: {ended.output[-300:]}") or self.finished(name, out)
        tally.add(f"{name}, {place}", fault, idle=idle)
        shutil.rmtree(out.parent, ignore_errors=True)

    def _place(self, what: str, name: str) -> Path:
        """Return where a trial's folder is going to be."""
        out = self.folder / what / name
        out.parent.mkdir(parents=True, exist_ok=True)
        return out

    def present(self, loader: str, kind: str, tally: Tally) -> None:
        """Give a hostile folder to a loader."""
        place = Path(tempfile.mkdtemp(dir=self.folder))
        given = place / "given"
        HOSTILE[kind](given, self.start / "sft/model")
        before = everything_in(place)
        words = [word.format(folder=given, start=self.start, out=f"{place}.out") for word in LOADERS[loader]]
        ended = Process(words, Path(f"{place}.log")).ended()
        changed = "" if everything_in(place) == before else "something in it changed"
        if (place.parent / "executed").exists():
            changed = "code in it was executed"
        fault = ended.refusal
        tally.add(f"{kind} for {loader}", changed or (fault and f"{fault}: {ended.output.strip()[-200:]}"))


def _wait_until(so: Callable[[], bool]) -> None:
    until = time.monotonic() + LIMIT_S
    while time.monotonic() < until and not so():
        time.sleep(0.002)


def _openings(name: str, out: Path, ends: Sequence[Ended]) -> int:
    """Return how many of two commands that ended well did the work: the other found it done."""
    if name == "bench":
        return sum("finished already" not in ended.output for ended in ends)
    return len(list((out / "tensorboard").iterdir()))


LOADERS: dict[str, tuple[str, ...]] = {
    "play --opponent": ("play", "red_team-v0", "--opponent", "{folder}"),
    "evaluate": ("evaluate", "{folder}", "--game", "red_team-v0", "--out", "{out}"),
    "export": ("export", "{folder}", "--out", "{out}"),
    "compare": (
        "compare", "--game", "red_team-v0", "--entrant", "a={folder}", "--entrant", "b=random", "--out", "{out}",
    ),
    "train --defender": ("train", "rlhf", "--defender", "{folder}", "--num-steps", "1", "--out", "{out}"),
    "train --player-0": ("train", "self_play", "--player-0", "{folder}", "--num-updates", "1", "--out", "{out}"),
    "train --model": ("train", "sft", "--model", "{folder}", "--out", "{out}"),
    "train --opponent": ("train", "sb3", "--game", "red_team-v0", "--opponent", "{folder}", "--out", "{out}"),
    "train --judge": ("train", "rlhf", "--defender", "{start}/sft/model", "--judge", "{folder}", "--out", "{out}"),
    "train --tokenizer": (
        "train", "self_play", "--game", "red_team_text-v0", "--tokenizer", "{folder}", "--out", "{out}",
    ),
    "train --data": ("train", "text", "--data", "{folder}", "--out", "{out}"),
    "train --pairs": ("train", "dpo", "--defender", "{start}/sft/model", "--pairs", "{folder}", "--out", "{out}"),
    "train --requests": (
        "train", "self_play", "--game", "red_team_text-v0", "--tokenizer", "{start}/sft/model", "--num-updates", "1",
        "--requests", "{folder}", "--out", "{out}",
    ),
    "train --out": ("train", "self_play", "--game", "kuhn_poker-v0", "--num-updates", "1", "--out", "{folder}"),
    "bench --out": ("bench", "--suite", "smoke", "--seeds", "1", "--out", "{folder}"),
}  # fmt: skip
"""Every option that is given a folder; {folder} is the hostile one."""


def _like_a_model(folder: Path, model: Path) -> None:
    shutil.copytree(model, folder)


def _without(name: str) -> Callable[[Path, Path], None]:
    def make(folder: Path, model: Path) -> None:
        _like_a_model(folder, model)
        (folder / name).unlink()

    return make


def _with(name: str, data: bytes) -> Callable[[Path, Path], None]:
    def make(folder: Path, model: Path) -> None:
        _like_a_model(folder, model)
        (folder / name).write_bytes(data)

    return make


def _cut(folder: Path, model: Path) -> None:
    _like_a_model(folder, model)
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])


def _pickled(folder: Path, model: Path) -> None:
    """Weights as a pickle that leaves a file behind if anybody loads it."""
    _without("model.safetensors")(folder, model)
    mark = folder.parent.parent / "executed"
    (folder / "pytorch_model.bin").write_bytes(f"cposix\nsystem\n(S'touch {mark}'\ntR.".encode())


def _dangling(folder: Path, model: Path) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.symlink_to(folder.parent / "nowhere")


def _a_file(folder: Path, model: Path) -> None:
    folder.write_text("no folder\n", encoding="utf-8")


def _bytes(folder: Path, model: Path) -> None:
    folder.write_bytes(bytes(range(256)) * 40)


def _a_project(folder: Path, model: Path) -> None:
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"name": "mine", "config": {"a": 1}}), encoding="utf-8")
    (folder / "model").mkdir()
    (folder / "model" / "precious.txt").write_text("precious\n", encoding="utf-8")


HOSTILE: dict[str, Callable[[Path, Path], None]] = {
    "a file": _a_file,
    "a dangling link": _dangling,
    "a project": _a_project,
    "no weights": _without("model.safetensors"),
    "weights that are cut off": _cut,
    "pickled weights": _pickled,
    "an empty configuration": _with("config.json", b""),
    "a nested configuration": _with("config.json", b"[" * 100_000),
    "a configuration that is no object": _with("config.json", b"[1, 2]"),
    "a configuration that is no text": _with("config.json", b"\xff\xfe\x00"),
    "a file of bytes": _bytes,
}
"""What makes them, given where and a sound model."""


def contents(folder: Path) -> dict[str, str]:
    """Return what must be the same of each file in a folder that commands left, by name: a checksum."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if path.is_file() and not {*VOLATILE, CURVES} & set(name.parts):
            found[name.as_posix()] = hashlib.sha256(_timeless(path, folder)).hexdigest()
        elif path.name == CURVES:
            found[name.as_posix()] = hashlib.sha256(json.dumps(_curves(path)).encode()).hexdigest()
    return found


def _timeless(path: Path, folder: Path) -> bytes:
    """Return a file's bytes, without what tells of time, or of the folder."""
    if path.suffix == ".jsonl":
        records = [json.dumps(_without_clocks(json.loads(line))) for line in path.read_text().splitlines()]
        return "\n".join(sorted(records) if path.name in UNORDERED else records).encode()
    if path.name in ("command.txt", "leaderboard.md", "leaderboard.html"):
        text = path.read_text().replace(str(folder), "FOLDER")
        return re.sub(r"\d+\.\d\d hours|<td[^>]*>\d+\.\d</td></tr>|\| *\d+\.\d *\|$", "TIME", text, flags=re.M).encode()
    if path.suffix == ".safetensors":  # which writes what it says of tied weights in any order
        data = path.read_bytes()
        start = 8 + int.from_bytes(data[:8], "little")
        return json.dumps(json.loads(data[8:start]), sort_keys=True).encode() + data[start:]
    if path.suffix != ".json":
        return path.read_bytes()
    value = _without_clocks(json.loads(path.read_bytes()))
    if path.name == ".duologue.json":
        value["written"].sort()
    if path.name == "config.json":
        value.get("config", {}).pop("out", None)
    if path.name == "state.json":
        value = {key: item for key, item in value.items() if key not in SAVES}
    return json.dumps(value).encode()


def _curves(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Return what TensorBoard shows of a folder."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    logging.getLogger("tensorboard").setLevel(logging.ERROR)  # it tells of each resumption
    shown = EventAccumulator(str(folder), size_guidance={"scalars": 0}).Reload()
    tags = [tag for tag in shown.Tags()["scalars"] if tag.rpartition("/")[2] not in CLOCKS]
    return {tag: [(point.step, point.value) for point in shown.Scalars(tag)] for tag in sorted(tags)}


def _without_clocks(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_clocks(item) for key, item in value.items() if key not in CLOCKS}
    return [_without_clocks(item) for item in value] if isinstance(value, list) else value


def difference(whole: dict[str, str], found: dict[str, str]) -> str:
    """Return how a folder differs from the one of an undisturbed run; nothing if it does not."""
    whole, found = _by_place(whole), _by_place(found)
    missing, more = sorted(set(whole) - set(found)), sorted(set(found) - set(whole))
    other = [name for name in whole if name in found and whole[name] != found[name]]
    parts = (("missing", missing), ("left over", more), ("different", other))
    return "; ".join(f"{what}: {', '.join(names)}" for what, names in parts if names)


def _by_place(files: dict[str, str]) -> dict[str, str]:
    """Return the same with the number of the newest state left out: a stopped run saves more often."""
    named = {}
    for name, checksum in files.items():
        parts = name.split("/")
        if parts[0] == "state":
            parts[1] = "newest"
        named["/".join(parts)] = checksum
    return named


def run(options: argparse.Namespace, folder: Path) -> list[Tally]:
    """Do what the options ask for; return what came of each kind."""
    wanted = options.only or KINDS
    torture = Torture(folder, options.setups, wanted)
    given = [(loader, kind) for loader in LOADERS for kind in HOSTILE]
    kinds: dict[str, tuple[Callable[..., None], Iterable[tuple[Any, ...]]]] = {
        "kills": (torture.kill, [(number,) for number in range(options.kills)]),
        "stops": (torture.stop, [(number,) for number in range(options.stops)]),
        "writers": (torture.double, [(number,) for number in range(options.writers)]),
        "disk": (torture.fill, [(number,) for number in range(options.places)]),
        "hostile": (torture.present, given if options.hostile is None else given[: options.hostile]),
    }
    tallies = []
    for name, (do, each) in kinds.items():
        if name not in wanted:
            continue
        tally = Tally(name)
        with ThreadPoolExecutor(options.processes) as pool:
            for future in [pool.submit(do, *arguments, tally) for arguments in each]:
                future.result()
        tallies.append(tally)
    return tallies


def table(tallies: Sequence[Tally]) -> str:
    """Return the counts and the faults."""
    lines = [f"{'what':<10}{'tried':>7}{'as they must be':>18}{'idle':>7}{'faults':>8}"]
    for tally in tallies:
        lines.append(f"{tally.name:<10}{tally.tried:>7}{tally.good:>18}{len(tally.idle):>7}{len(tally.faults):>8}")
    lines += [f"idle {tally.name}: {idle}" for tally in tallies for idle in tally.idle]
    return "\n".join([*lines, *(f"FAULT {tally.name}: {fault}" for tally in tallies for fault in tally.faults)])


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; the status is 1 where something was not as it must be."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100, help="how many (default: 100)")
    parser.add_argument("--stops", type=int, default=2 * len(SETUPS), help="Ctrl-C, SIGTERM (default: each once)")
    parser.add_argument("--writers", type=int, default=2 * len(SETUPS), help="given twice (default: each both ways)")
    parser.add_argument("--places", type=int, default=2 * PLACES, help="where the disk is full (default: 20)")
    parser.add_argument("--hostile", type=int, help="how many hostile folders (default: each at each loader)")
    parser.add_argument("--only", nargs="+", choices=KINDS, help="of these")
    parser.add_argument("--setups", nargs="+", choices=SETUPS, default=list(SETUPS), help="commands (default: all)")
    parser.add_argument("--processes", type=int, default=2, help="at the same time (default: 2)")
    options = parser.parse_args(argv)
    os.environ["PYTHONWARNINGS"] = "ignore:resource_tracker"  # what is killed leaves its semaphores to be removed
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="torture.") as folder:
        tallies = run(options, Path(folder))
    print(f"\n{table(tallies)}\n\n{time.monotonic() - began:.0f} s")
    return int(any(tally.faults for tally in tallies))


if __name__ == "__main__":
    sys.exit(main())
