"""The main job: adversary and defender trained against each other from nothing, beside an RLHF baseline.

Seven runs, each the command that `duologue train` has: the base model (eq. 7 of arXiv 2402.08078) and the SFT defender
(eq. 8); from these RLHF on static prompts, GPO (arXiv 2406.10977) without and with its diversity reward, and an
attacker trained against each frozen SFT defender. Then every defender meets every prompt set, and the table, plots and
transcripts are written. The runs after SFT do not depend on each other and go to as many processes as asked for, one
thread each, so that the numbers do not depend on how many there are. A demo that was killed goes on where it stopped.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro
from tqdm import tqdm

from ..envs import make_game
from ..envs.games.red_team.game import RedTeam
from .demo_report import report
from .gpo import GPOSchedule
from .run import Run
from .setup import use_threads

PLAYERS_FROM = ("--defender", "sft/model", "--adversary", "base/model")


@dataclass(frozen=True, kw_only=True)
class DemoConfig:
    """The main job on red_team-v0."""

    out: Path = Path("runs/demo")
    """The folder of all runs, the table and the plots."""
    seed: int = 0
    """Decides everything that is drawn."""
    quick: bool = False
    """A tenth of the training, to see it work: the table then shows little."""
    num_processes: int = 2
    """How many runs train at the same time; the results are the same for any number."""


@dataclass(frozen=True, slots=True)
class Job:
    """One run of the demo: an algorithm, its options, how many steps it takes, and what must be there before."""

    name: str
    algorithm: str
    num_steps: int
    options: tuple[str, ...]
    needs: tuple[str, ...] = ()

    def command(self, config: DemoConfig) -> list[str]:
        """Return the command line; paths among the options are relative to the demo's folder."""
        options = [str(config.out / text) if "/model" in text else text for text in self.options]
        common = ["--seed", str(config.seed), "--out", str(config.out / self.name), "--num-threads", "1"]
        return [sys.executable, "-m", "duologue", "train", self.algorithm, *common, *options]


def jobs(*, quick: bool) -> list[Job]:
    """Return the runs in an order in which they can be done."""
    cloning, rounds = (400, 2) if quick else (1600, 10)
    gpo = ("--schedule.num-rounds", str(rounds), *PLAYERS_FROM)
    diversity = ("--bleu-weight", "2", "--embedding-weight", "1")
    schedule = GPOSchedule(num_rounds=rounds)
    defend_steps = rounds * schedule.defend_steps
    sizes = ("--num-demonstrations", "10000") if quick else ()
    attack_steps = 8 if quick else 40
    return [
        Job("base", "pretrain", cloning, ("--cloning.num-steps", str(cloning), *sizes)),
        Job("sft", "sft", 190, ("--model", "base/model"), ("base",)),
        Job("gpo_div", "gpo", schedule.num_steps, (*gpo, *diversity), ("sft",)),
        Job("gpo", "gpo", schedule.num_steps, gpo, ("sft",)),
        Job("rlhf", "rlhf", defend_steps, ("--num-steps", str(defend_steps), "--defender", "sft/model"), ("sft",)),
        Job("attack", "attack", attack_steps, ("--num-steps", str(attack_steps), *PLAYERS_FROM), ("sft",)),
    ]


def demo(config: DemoConfig) -> Path:
    """Run or resume it all; return the folder."""
    use_threads(1)
    started = time.monotonic()
    with Run.open(config.out, config, name="demo") as run:
        train_all(config)
        game = make_game("red_team-v0")
        assert isinstance(game, RedTeam)
        text = report(run, game, seed=config.seed, num_attacks=64 if config.quick else 256)
        print(f"\n{text}")
        run.finish()
    print(f"\n{time.monotonic() - started:.0f} s\n{config.out}")
    return config.out


def train_all(config: DemoConfig) -> None:
    """Do every job that is not finished, `num_processes` at a time, with a progress bar for each."""
    waiting = jobs(quick=config.quick)
    rows = {job.name: row for row, job in enumerate(waiting)}
    running: dict[str, tuple[Job, subprocess.Popen[str], tqdm[Any]]] = {}
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
            process.wait()
            bar.close()


def _start(job: Job, config: DemoConfig) -> subprocess.Popen[str]:
    with (config.out / f"{job.name}.log").open("w") as log:
        return subprocess.Popen(job.command(config), stdout=log, stderr=subprocess.STDOUT, text=True)


def _bar(job: Job, position: int) -> tqdm[Any]:
    if not sys.stderr.isatty():
        print(f"{job.name}: {job.num_steps} steps of {job.algorithm}", flush=True)
    return tqdm(
        total=job.num_steps, desc=f"{job.name:8}", unit="step", position=position, dynamic_ncols=True, disable=None
    )


def _advance(job: Job, process: subprocess.Popen[str], bar: tqdm[Any], config: DemoConfig) -> bool:
    """Show how far a run is; return whether it has ended.

    Raises:
        RuntimeError: it failed; the message holds the end of its output.
    """
    ended = process.poll() is not None
    last = _last_record(config.out / job.name)
    if last:
        bar.n = int(last["iteration"])
        bar.set_postfix_str(_numbers(last), refresh=False)
    bar.refresh()
    if not ended:
        return False
    bar.close()
    if process.returncode:
        log = (config.out / f"{job.name}.log").read_text(encoding="utf-8", errors="replace")
        raise RuntimeError(f"{job.name}: expected exit status 0, got {process.returncode}:\n{log[-2000:]}")
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
        prompts = record["prompts"]
        parts.append(f"{record['stage']}s, prompts' diversity {prompts['self_bleu_diversity']:.2f}")
    return ", ".join(parts)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    demo(tyro.cli(DemoConfig, args=argv, prog="duologue demo", description=__doc__))


if __name__ == "__main__":
    main()
