"""Runs that wait for each other, several at a time: each in a process of its own, with a log and a progress bar."""

from __future__ import annotations

import math
import signal
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Protocol

from tqdm import tqdm

from ...agents.folders import parse_json
from .files import claim
from .loop import use_threads
from .pool import WorkerFailed, end_with_parent, where_to_start
from .run import Config, Run

TRACE_START, TRACE_CHARS = "Traceback (most recent call last):", 2000


@dataclass(frozen=True, slots=True)
class Job:
    """One run of several: what it does, how many steps that takes, and which runs must be there before."""

    name: str
    train: Callable[[], object]
    num_steps: int
    needs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Bound:
    """A trainer with its configuration, in a form that another process can be sent."""

    train: Callable[[Any], object]
    config: Any

    def __call__(self) -> object:
        """Train."""
        return self.train(self.config)


class StudyOptions(Config, Protocol):
    """What a study of several runs is asked for."""

    @property
    def folder(self) -> Path:
        """The folder of all runs."""
        ...

    @property
    def num_processes(self) -> int:
        """How many train at the same time."""
        ...


def run_study(
    config: StudyOptions, jobs: Sequence[Job], report: Callable[[Run], str], *, name: str, preload: str
) -> Path:
    """Run or resume several trainings, print what they show, and return the folder.

    Args:
        config: what was asked for.
        jobs: the trainings; see `train_all`.
        report: writes tables and plots into the study's folder, and returns what is printed.
        name: the study's.
        preload: the module that a fork server imports once for all of them.
    """
    use_threads(1)  # the same numbers on any machine
    started = time.monotonic()
    with Run.open(config.folder, config, name=name) as run:
        train_all(jobs, config.folder, num_processes=config.num_processes, preload=preload)
        print(f"\n{report(run)}")
        run.finish()
    print(f"\n{time.monotonic() - started:.0f} s")
    return config.folder


def train_all(jobs: Sequence[Job], folder: Path, *, num_processes: int, preload: str) -> None:
    """Do every job that is not finished, `num_processes` at a time, with a progress bar for each.

    Args:
        jobs: in an order in which they can be done; each writes into the folder that bears its name.
        folder: of all runs, and of their logs.
        num_processes: how many train at the same time.
        preload: the module that a fork server imports once for all of them.

    Raises:
        ValueError: a job needs one that is not before it.
        ChildProcessError: a job failed; the message says where its output is.
    """
    _check_order(jobs)
    for job in jobs:
        claim(_log_file(job, folder))
    waiting = list(jobs)
    rows = {job.name: row for row, job in enumerate(waiting)}
    running: dict[str, tuple[Job, BaseProcess, tqdm[Any]]] = {}
    done: set[str] = set()
    try:
        while waiting or running:
            ready = [job for job in waiting if done.issuperset(job.needs)]
            for job in ready[: num_processes - len(running)]:
                waiting.remove(job)
                running[job.name] = (job, _start(job, folder, preload), _bar(job, rows[job.name]))
            time.sleep(0.2)
            for name in [name for name in running if _advance(*running[name], folder)]:
                del running[name]
                done.add(name)
    finally:
        for _, process, bar in running.values():
            process.terminate()
            process.join()
            bar.close()


def _check_order(jobs: Sequence[Job]) -> None:
    """Refuse to wait for ever."""
    before: list[str] = []
    for job in jobs:
        for name in job.needs:
            if name not in before:
                raise ValueError(
                    f"{job.name}: expected each of its needs among the jobs before it, {before}, got {name!r}"
                )
        before.append(job.name)


def _start(job: Job, folder: Path, preload: str) -> BaseProcess:
    """Start a job in a process of its own."""
    arguments = (job, _log_file(job, folder))
    process: BaseProcess = where_to_start(preload).Process(target=_train, args=arguments, name=job.name)
    process.start()
    return process


def _log_file(job: Job, folder: Path) -> Path:
    return folder / f"{job.name}.log"


def _train(job: Job, log: Path) -> None:
    end_with_parent()
    with log.open("a", encoding="utf-8", buffering=1) as file, redirect_stdout(file), redirect_stderr(file):
        try:
            job.train()
        except Exception:
            traceback.print_exc()
            sys.exit(1)
        except KeyboardInterrupt as stopped:  # which the parent got, too
            print(stopped)
            sys.exit(getattr(stopped, "status", 128 + signal.SIGINT))


def _bar(job: Job, position: int) -> tqdm[Any]:
    if not sys.stderr.isatty():
        print(f"{job.name}: {job.num_steps} steps", flush=True)
    return tqdm(
        total=job.num_steps, desc=f"{job.name:8}", unit="step", position=position, dynamic_ncols=True, disable=None
    )


def _advance(job: Job, process: BaseProcess, bar: tqdm[Any], folder: Path) -> bool:
    """Show how far a run is; return whether it has ended.

    Raises:
        ChildProcessError: it failed; the message says where its output is.
    """
    ended = not process.is_alive()
    last = _last_record(folder / job.name)
    if last:
        bar.n = int(last["iteration"])
        bar.set_postfix_str(_numbers(last), refresh=False)
    bar.refresh()
    if not ended:
        return False
    bar.close()
    if process.exitcode:
        raise _failed(job, process.exitcode, _log_file(job, folder))
    return True


def _failed(job: Job, status: int, log: Path) -> WorkerFailed:
    """Return the error of a job that failed: the last line of its output, and all of its last trace."""
    output = log.read_text(encoding="utf-8", errors="replace") if log.is_file() else ""
    last = (output.strip().splitlines() or ["it printed nothing"])[-1]
    start = output.rfind(TRACE_START)
    return WorkerFailed(
        f"{job.name}: expected exit status 0, got {status}: {last} (see {log})",
        output[-TRACE_CHARS:] if start < 0 else output[start:],
    )


def _last_record(folder: Path) -> Mapping[str, Any] | None:
    try:
        with (folder / "metrics.jsonl").open("rb") as metrics:
            metrics.seek(0, 2)
            metrics.seek(max(0, metrics.tell() - 4096))
            return parse_json(metrics.read().splitlines()[-1], metrics.name)
    except (OSError, IndexError, ValueError):
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
