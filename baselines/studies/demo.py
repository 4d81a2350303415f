"""The main job: adversary and defender trained against each other on red_team-v1, beside baselines and a ceiling.

Each run is what `duologue train` does. From the base model (eq. 7 of arXiv 2402.08078) and the SFT defender (eq. 8):
RLHF on static requests; a frozen paraphraser; GPO (arXiv 2406.10977) without and with its diversity reward; and the
ceiling, RLHF on requests in every style. Then every defender is asked every request in at most one style, the arms race
is replayed from GPO's checkpoints, all adversaries meet all defenders, and tables and plots are written. Runs that do
not depend on each other go to as many processes as asked for, one thread each, so that the numbers do not depend on how
many there are. A demo that was killed goes on where it stopped.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ..alignment.ciphers import SETTINGS
from ..training.checks import Few, Options, Seed
from ..training.jobs import Bound, Job, run_study
from .arms_race import NUM_TRIES, RaceConfig, race
from .ciphers import METHODS, QUICK, Method, Start, learning, model_folders, training_jobs
from .ciphers_measures import MeasureConfig, measure
from .demo_report import report
from .matchups import MatchupsConfig, matchups

NUM_PAIRS = 512
"""Ordered pairs of styles that the demo asks a defender, out of 4,032."""
QUICK_PAIRS, QUICK_TRIES = 32, 8


@dataclass(frozen=True, kw_only=True)
class DemoConfig(Options):
    """The main job on red_team-v1."""

    out: Path | None = None
    """The folder of all runs, the tables and the plots; None: runs/demo, or runs/demo_quick."""
    seed: Seed = 0
    """Decides everything that is drawn."""
    quick: bool = False
    """A tenth of the training, to see it work: the tables then show little."""
    num_processes: Few = 2
    """How many runs train at the same time; the results are the same for any number."""

    @property
    def folder(self) -> Path:
        """The folder of all runs."""
        return Path("runs/demo_quick" if self.quick else "runs/demo") if self.out is None else self.out

    @property
    def num_tries(self) -> int:
        """Prompts of each adversary to each harmful request, where it is measured."""
        return QUICK_TRIES if self.quick else NUM_TRIES

    @property
    def start(self) -> Start:
        """Where the runs are, and how they train."""
        return Start(self.folder.resolve(), self.seed, QUICK if self.quick else SETTINGS)


def jobs(config: DemoConfig) -> list[Job]:
    """Return the runs in an order in which they can be done, those that measure last."""
    num_pairs = QUICK_PAIRS if config.quick else NUM_PAIRS
    measuring = measuring_jobs(config.start, METHODS, num_pairs=num_pairs, num_tries=config.num_tries)
    meeting = matchups_job(config.start, num_tries=config.num_tries)
    return [*training_jobs(config.start, METHODS), *measuring, meeting]


def measuring_jobs(start: Start, methods: Mapping[str, Method], *, num_pairs: int, num_tries: int) -> list[Job]:
    """Return what is measured of the defenders of one seed, and of the adversaries that learn.

    Args:
        start: where they are.
        methods: of them.
        num_pairs: ordered pairs of styles that each defender is asked; 0: all.
        num_tries: prompts of each adversary to each harmful request.
    """
    exact = {
        name: MeasureConfig(out=start.out / f"{name}_measures", defender=folder, num_pairs=num_pairs, num_threads=1)
        for name, folder in model_folders(start, methods).items()
    }
    races = {
        name: RaceConfig(
            out=start.out / f"{name}_race",
            seed=start.seed,
            adversary=start.base,
            defender=start.sft,
            checkpoints=start.out / name / "checkpoints",
            num_tries=num_tries,
            num_threads=1,
        )
        for name in learning(methods)
    }
    return [
        *(Job(f"{name}_race", Bound(race, config), 1, (name,)) for name, config in races.items()),
        *(Job(f"{name}_measures", Bound(measure, config), 1, (name,)) for name, config in exact.items()),
    ]


def matchups_job(start: Start, *, num_tries: int) -> Job:
    """Return the meeting of all adversaries and defenders that the demo has."""
    config = MatchupsConfig(
        out=start.out / "matchups",
        seed=start.seed,
        base=start.base,
        adversaries=tuple(start.out / name / "adversary" for name in learning(METHODS)),
        defenders=tuple(model_folders(start, METHODS).values()),
        num_tries=num_tries,
        num_threads=1,
    )
    return Job("matchups", Bound(matchups, config), 1, tuple(METHODS))


def demo(config: DemoConfig) -> Path:
    """Run or resume it all; return the folder."""
    write = partial(report, start=config.start, num_tries=config.num_tries)
    return run_study(config, jobs(config), write, name="demo", preload=__name__)
