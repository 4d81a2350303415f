"""The main comparison over many seeds: the demo's runs on red_team-v1, and remedies, each asked every request there is.

Every seed has a folder of its own with its base model, its SFT defender, all runs that start from these, and what was
measured of them. What is there is not done again: a study that was stopped goes on, and seeds can be added or left out
without another training. Nothing is drawn for the tables but the seeds: defenders are enumerated in full.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from ..alignment.ciphers import SETTINGS
from ..training.checks import Few, Options, Seed
from ..training.jobs import Bound, Job, train_all
from ..training.loop import use_threads
from ..training.run import FINISHED_FILE
from .arms_race import NUM_TRIES
from .ciphers import ATTACKERS, METHODS, QUICK, REMEDIES, Method, Start, learning, model_folders, training_jobs
from .demo import QUICK_PAIRS, measuring_jobs
from .main_comparison_report import MATCHUPS_FOLDER, SeedResults, read_seed, write_report
from .matchups import MatchupsConfig, matchups


@dataclass(frozen=True, kw_only=True)
class MainComparisonConfig(Options):
    """How often, and where to."""

    out: Path = Path("runs/main_comparison")
    """The folder of all seeds' folders, the tables and the plot."""
    seeds: Few = 10
    """How many."""
    first_seed: Seed = 0
    """The first of them; the others follow it."""
    only: tuple[str, ...] = ()
    """The folders of the methods to train and show, such as sft rlhf ceiling, the floor and the ceiling; none: all."""
    remedies: bool = False
    """Whether GPO is also trained with one change each that might help it."""
    num_processes: Few = 2
    """How many runs train at the same time; the results are the same for any number."""
    smoke: bool = False
    """Tiny runs of at most two seeds, to see it work: the tables then show nothing."""

    @property
    def methods(self) -> Mapping[str, Method]:
        """What is compared, by the name of its folder.

        Raises:
            ValueError: a method of that name is not known.
        """
        every = {**METHODS, **REMEDIES}
        if unknown := [name for name in self.only if name not in every]:
            raise ValueError(f"only: expected names among {', '.join(every)}, got {unknown[0]!r}")
        if self.only:
            return {name: every[name] for name in self.only}
        return every if self.remedies else METHODS

    def start(self, seed: int) -> Start:
        """Where the runs of a seed are, and how they train."""
        return Start(self.out.resolve() / f"seed{seed}", seed, QUICK if self.smoke else SETTINGS)


def main_comparison(config: MainComparisonConfig) -> str:
    """Train and measure what is missing, write tables and the plot, and return the page of text."""
    use_threads(1)
    num_seeds = min(2, config.seeds) if config.smoke else config.seeds
    started, seeds = time.monotonic(), range(config.first_seed, config.first_seed + num_seeds)
    for seed in seeds:
        start = config.start(seed)
        start.out.mkdir(parents=True, exist_ok=True)
        train_all(missing_jobs(start, config), start.out, num_processes=config.num_processes, preload=__name__)
        print(f"seed {seed}: {time.monotonic() - started:.0f} s", flush=True)
    results: dict[int, SeedResults] = {seed: read_seed(config.start(seed).out, config.methods) for seed in seeds}
    return write_report(config.out, results, config.methods)


def missing_jobs(start: Start, config: MainComparisonConfig) -> list[Job]:
    """Return the runs of a seed that are not finished, each with those of its needs that are not, either.

    Raises:
        ValueError: a finished run was asked for with other options, or lacks what it left.
    """
    num_pairs, num_tries = (QUICK_PAIRS, 2) if config.smoke else (0, NUM_TRIES)
    measuring = measuring_jobs(start, config.methods, num_pairs=num_pairs, num_tries=num_tries)
    missing = list[Job]()
    meeting = [] if config.only else attackers_jobs(start, num_tries=num_tries)
    for job in [*training_jobs(start, config.methods), *measuring, *meeting]:
        if (start.out / job.name / FINISHED_FILE).is_file():
            job.train()  # which finds that it is the run that is asked for, and does no more
        else:
            missing.append(job)
    names = {job.name for job in missing}
    return [replace(job, needs=tuple(need for need in job.needs if need in names)) for job in missing]


def attackers_jobs(start: Start, *, num_tries: int) -> list[Job]:
    """Return the training of the attackers that are GPO's controls, and the meeting of all attackers and defenders."""
    training = [method.job(start, name) for name, method in ATTACKERS.items()]
    config = MatchupsConfig(
        out=start.out / MATCHUPS_FOLDER,
        seed=start.seed,
        base=start.base,
        adversaries=tuple(start.out / name / "adversary" for name in (*ATTACKERS, *learning(METHODS))),
        defenders=tuple(model_folders(start, METHODS).values()),
        num_tries=num_tries,
        requests=True,
        num_threads=1,
    )
    return [*training, Job(MATCHUPS_FOLDER, Bound(matchups, config), 1, (*ATTACKERS, *METHODS))]
