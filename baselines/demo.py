"""The main job: adversary and defender trained against each other from nothing, beside an RLHF baseline.

Six runs, each what `duologue train` does: the base model (eq. 7 of arXiv 2402.08078) and the SFT defender (eq. 8); from
these RLHF on static prompts, GPO (arXiv 2406.10977) without and with its diversity reward, and an attacker trained
against the frozen SFT defender. Then every defender meets every prompt set, and the table, plots and transcripts are
written. The runs after SFT do not depend on each other and go to as many processes as asked for, one thread each, so
that the numbers do not depend on how many there are. A demo that was killed goes on where it stopped.
"""

from __future__ import annotations

import json
import math
import multiprocessing
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, replace
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import tyro
from tqdm import tqdm

from ..envs import make_game
from ..envs.games.red_team.game import RedTeam
from .attack import AttackConfig, attack
from .demo_report import report
from .gpo import GPOConfig, GPOSchedule, gpo
from .pretrain import PretrainConfig, pretrain
from .rlhf import RLHFConfig, rlhf
from .run import Run
from .setup import use_threads
from .sft import SFTConfig, sft

BLEU_WEIGHT, EMBEDDING_WEIGHT = 2.0, 1.0
"""The weights of GPO+Div; GPO's release has 5 and 1."""


@dataclass(frozen=True, kw_only=True)
class DemoConfig:
    """The main job on red_team-v0."""

    out: Path | None = None
    """The folder of all runs, the table and the plots; None: runs/demo, or runs/demo_quick."""
    seed: int = 0
    """Decides everything that is drawn."""
    quick: bool = False
    """A tenth of the training, to see it work: the table then shows little."""
    num_processes: int = 2
    """How many runs train at the same time; the results are the same for any number."""

    def __post_init__(self) -> None:
        """Refuse to wait for ever.

        Raises:
            ValueError: there is no process to train in.
        """
        if self.num_processes < 1:
            raise ValueError(f"num_processes: expected at least 1, got {self.num_processes}")

    @property
    def folder(self) -> Path:
        """The folder of all runs."""
        return Path("runs/demo_quick" if self.quick else "runs/demo") if self.out is None else self.out


@dataclass(frozen=True, slots=True)
class Job:
    """One run of the demo: what it does, how many steps that takes, and which runs must be there before."""

    name: str
    train: Callable[[], object]
    num_steps: int
    needs: tuple[str, ...] = ()


def jobs(config: DemoConfig) -> list[Job]:
    """Return the runs in an order in which they can be done."""
    out = config.folder.resolve()  # the same options by whatever path the folder is named
    pretraining = PretrainConfig(out=out / "base", seed=config.seed, num_threads=1)
    schedule, attack_steps = GPOSchedule(), AttackConfig().num_steps
    if config.quick:
        cloning = replace(pretraining.cloning, num_steps=300)
        pretraining = replace(pretraining, num_demonstrations=8_000, cloning=cloning)
        schedule, attack_steps = replace(schedule, num_rounds=1), 8
    base, defender = out / "base/model", out / "sft/model"
    tuning = SFTConfig(model=base, out=out / "sft", seed=config.seed, num_threads=1)
    plain = GPOConfig(
        defender=defender, adversary=base, out=out / "gpo", seed=config.seed, schedule=schedule, num_threads=1
    )
    diverse = replace(plain, out=out / "gpo_div", bleu_weight=BLEU_WEIGHT, embedding_weight=EMBEDDING_WEIGHT)
    num_steps = schedule.num_rounds * schedule.defend_steps
    static = RLHFConfig(defender=defender, out=out / "rlhf", seed=config.seed, num_steps=num_steps, num_threads=1)
    attacking = AttackConfig(
        defender=defender,
        adversary=base,
        out=out / "attack",
        seed=config.seed,
        num_steps=attack_steps,
        num_threads=1,
    )
    return [
        Job("base", Bound(pretrain, pretraining), pretraining.cloning.num_steps),
        Job("sft", Bound(sft, tuning), tuning.cloning.num_steps, ("base",)),
        Job("gpo_div", Bound(gpo, diverse), schedule.num_steps, ("sft",)),
        Job("gpo", Bound(gpo, plain), schedule.num_steps, ("sft",)),
        Job("rlhf", Bound(rlhf, static), num_steps, ("sft",)),
        Job("attack", Bound(attack, attacking), attack_steps, ("sft",)),
    ]


@dataclass(frozen=True, slots=True)
class Bound:
    """A trainer with its configuration, in a form that another process can be sent."""

    train: Callable[[Any], object]
    config: Any

    def __call__(self) -> object:
        """Train."""
        return self.train(self.config)


def demo(config: DemoConfig) -> Path:
    """Run or resume it all; return the folder."""
    use_threads(1)
    started = time.monotonic()
    with Run.open(config.folder, config, name="demo") as run:
        train_all(config)
        game = make_game("red_team-v0")
        assert isinstance(game, RedTeam)
        print(f"\n{report(run, game, seed=config.seed, num_attacks=64 if config.quick else 256)}")
        run.finish()
    print(f"\n{time.monotonic() - started:.0f} s\n{config.folder}")
    return config.folder


def train_all(config: DemoConfig) -> None:
    """Do every job that is not finished, `num_processes` at a time, with a progress bar for each."""
    waiting = jobs(config)
    rows = {job.name: row for row, job in enumerate(waiting)}
    running: dict[str, tuple[Job, BaseProcess, tqdm[Any]]] = {}
    done: set[str] = set()
    try:
        while waiting or running:
            ready = [job for job in waiting if done.issuperset(job.needs)]
            for job in ready[: config.num_processes - len(running)]:
                waiting.remove(job)
                running[job.name] = (job, _start(job, config), _bar(job, rows[job.name]))
            time.sleep(0.2)
            for name in [name for name in running if _advance(*running[name], config)]:
                del running[name]
                done.add(name)
    finally:
        for _, process, bar in running.values():
            process.terminate()
            process.join()
            bar.close()


def _start(job: Job, config: DemoConfig) -> BaseProcess:
    """Start a job in a process of its own; a fork server, where there is one, has imported everything already."""
    method = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
    context: Any = multiprocessing.get_context(method)  # its class, and so its methods, depend on the name
    if method == "forkserver":
        context.set_forkserver_preload([__name__])
    process: BaseProcess = context.Process(target=_train, args=(job, config.folder / f"{job.name}.log"), name=job.name)
    process.start()
    return process


def _train(job: Job, log: Path) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with log.open("w", encoding="utf-8", buffering=1) as file, redirect_stdout(file), redirect_stderr(file):
        try:
            job.train()
        except Exception:
            traceback.print_exc()
            sys.exit(1)


def _end_with_parent() -> None:
    """End this process when the demo's has ended, however that was killed: two must never write in one folder."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)


def _bar(job: Job, position: int) -> tqdm[Any]:
    if not sys.stderr.isatty():
        print(f"{job.name}: {job.num_steps} steps", flush=True)
    return tqdm(
        total=job.num_steps, desc=f"{job.name:8}", unit="step", position=position, dynamic_ncols=True, disable=None
    )


def _advance(job: Job, process: BaseProcess, bar: tqdm[Any], config: DemoConfig) -> bool:
    """Show how far a run is; return whether it has ended.

    Raises:
        ChildProcessError: it failed; the message holds the end of its output.
    """
    ended = not process.is_alive()
    last = _last_record(config.folder / job.name)
    if last:
        bar.n = int(last["iteration"])
        bar.set_postfix_str(_numbers(last), refresh=False)
    bar.refresh()
    if not ended:
        return False
    bar.close()
    if process.exitcode:
        log = (config.folder / f"{job.name}.log").read_text(encoding="utf-8", errors="replace")
        raise ChildProcessError(f"{job.name}: expected exit status 0, got {process.exitcode}:\n{log[-2000:]}")
    return True


def _last_record(folder: Path) -> Mapping[str, Any] | None:
    try:
        with (folder / "metrics.jsonl").open("rb") as metrics:
            metrics.seek(0, 2)
            metrics.seek(max(0, metrics.tell() - 4096))
            record: Mapping[str, Any] = json.loads(metrics.read().splitlines()[-1])
            return record
    except (OSError, IndexError, json.JSONDecodeError):
        return None


def _numbers(record: Mapping[str, Any]) -> str:
    parts = []
    for field, label in (("loss_nats", "loss"), ("mean_return", "return"), ("defender_return", "defender's return")):
        value = record.get(field)
        if isinstance(value, float) and math.isfinite(value):
            parts.append(f"{label} {value:+.2f}")
    if "stage" in record:
        parts.append(f"{record['stage']}s, prompts' diversity {record['prompts']['self_bleu_diversity']:.2f}")
    return ", ".join(parts)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    demo(tyro.cli(DemoConfig, args=argv, prog="duologue demo", description=__doc__))


if __name__ == "__main__":
    main()
