"""True against judged: attack success as a judge reports it beside the true one, while both players learn.

Wherever adversary and defender are trained against a judge, attack success is reported by a judge, and nobody sees the
truth. Here the language is known. GPO (arXiv 2406.10977) trains both players, each paid by a judge: the game's oracle,
learned judges of about 80, 90, 95 and 99 % accuracy, a vote of three, one retrained on fresh labels after every round,
and a third role that learns to judge beside them (`true_judged_judges.py`). After each round judge, oracle and a second
judge that pays nobody look at the same exchanges, and corrections of the judge's number are held against the truth
(`true_judged_measure.py`).

All judges of a seed meet the same starting players and the same random numbers, so that differences to the oracle's run
are paired. Seeds share few base models and SFT defenders, in turn, so that intervals over seeds are for these models;
all else, judges included, is the seed's own. A study that was killed goes on where it stopped; the numbers do not
depend on how many seeds are trained at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, fields, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import ClassVar

import numpy as np

from ...envs.judging import Exchange, Outcome
from ..alignment.pretrain import PretrainConfig, pretrain
from ..alignment.sft import SFTConfig, sft
from ..training.checks import Count, Few, Options, Rows
from ..training.jobs import Bound, Job, run_study
from ..training.loop import Training, train
from ..training.options import GameOptions, RunOptions
from ..training.run import Record, Run
from ..training.state import Stateful
from ..training.watchers import Watcher
from ..two_player import factories
from ..two_player.learner import Task
from .cross_play import StartingPlayers
from .outcome_judge import OutcomeJudgeConfig
from .true_judged_judges import (
    JUDGES,
    JudgeName,
    JudgeSizes,
    held_out_exchanges,
    paying_judge,
    red_team,
    second_judge,
)
from .true_judged_measure import JudgedRound, Looked, judged_round, look
from .true_judged_report import report

DISAGREEMENTS_FILE = "disagreements.txt"


@dataclass(frozen=True, kw_only=True)
class JudgedSizes(Options):
    """How much is trained and played."""

    num_rounds: Count = 4
    """Rounds of one stage of each player, the defender's first."""
    updates_per_stage: Count = 6
    """PPO updates in a stage."""
    batch_size: Rows = 96
    """Episodes for one update."""
    num_episodes: Rows = 400
    """Episodes on which the players are measured after each round; half of the deals are attempts."""
    num_labelled: Rows = 50
    """Attempts among them that are labelled for the corrections."""
    num_held_out: Rows = 2_000
    """Exchanges for the judge's accuracy that do not come from training."""
    num_demonstrations: Rows = 30_000
    """Dialogues that a base model is cloned from."""
    num_pretraining_steps: Count = 1_600
    """Its gradient steps."""
    judge: JudgeSizes = field(default_factory=JudgeSizes)
    """How judges learn."""


QUICK = JudgedSizes(
    num_rounds=1,
    updates_per_stage=1,
    batch_size=8,
    num_episodes=24,
    num_labelled=4,
    num_held_out=100,
    num_demonstrations=500,
    num_pretraining_steps=10,
    judge=JudgeSizes(
        start=OutcomeJudgeConfig(num_exchanges=400, num_validation=100, num_test=100, max_steps=20),
        retrained_labels=8,
        third_role_labels=4,
        num_steps=2,
    ),
)


@dataclass(frozen=True, kw_only=True)
class TrueJudgedConfig(Options):
    """GPO against judges of several kinds, on a game whose truth is known."""

    out: Path | None = None
    """The folder of all runs, the tables and the plot; None: runs/true_judged, or runs/true_judged_quick."""
    game: str = "red_team-v0"
    """A red-team game in generated language."""
    seeds: Few = 10
    """Trainings against each judge."""
    num_bases: Few = 3
    """Base models and SFT defenders, which seeds share in turn."""
    judges: tuple[JudgeName, ...] = JUDGES
    """Who pays; the oracle's run is what others are held against."""
    quick: bool = False
    """A hundredth of the training, to see it work: the tables then show nothing."""
    sizes: JudgedSizes = field(default_factory=JudgedSizes)
    """How much is trained and played; not read by a quick run."""
    num_processes: Few = 2
    """How many seeds train at the same time; the results are the same for any number."""

    def __post_init__(self) -> None:
        """Check what is compared.

        Raises:
            ValueError: no such game, judges twice or none, or a quick run that is given sizes.
        """
        super().__post_init__()
        red_team(self.game)
        if not self.judges or len(set(self.judges)) < len(self.judges):
            raise ValueError(f"judges: expected at least one, each once, got {self.judges}")
        if self.quick and self.sizes != JudgedSizes():
            raise ValueError(f"sizes: expected the defaults in a quick run, which has its own, got {self.sizes}")

    @property
    def folder(self) -> Path:
        """The folder of all runs."""
        return Path("runs/true_judged_quick" if self.quick else "runs/true_judged") if self.out is None else self.out

    @property
    def asked(self) -> JudgedSizes:
        """How much is trained and played, in a quick run as well."""
        return QUICK if self.quick else self.sizes


@dataclass(frozen=True, kw_only=True)
class StartOptions(RunOptions):
    """What everything of a seed starts from, and how much of it there is."""

    game: str
    """The game's registered name."""
    adversary: Path
    """The folder of the base model."""
    defender: Path
    """The folder of the SFT defender."""
    sizes: JudgedSizes
    """How much is trained and played."""
    save_every: Count = 1
    """Rounds between two saved states."""


@dataclass(frozen=True, kw_only=True)
class CellConfig(StartOptions):
    """GPO paid by one judge with one seed."""

    algorithm: ClassVar[str] = "true_judged_cell"
    judge: JudgeName
    """Who pays."""


@dataclass(frozen=True, kw_only=True)
class SeedConfig(StartOptions):
    """The cells of one seed, one after the other."""

    algorithm: ClassVar[str] = "true_judged_seed"
    judges: tuple[JudgeName, ...]
    """Who pays in each."""

    def cell(self, judge: JudgeName) -> CellConfig:
        """Return what one of them is."""
        shared = {field.name: getattr(self, field.name) for field in fields(StartOptions)}
        return CellConfig(**shared | {"out": self.out / judge}, judge=judge)


@dataclass(frozen=True, slots=True)
class SeedStep:
    """How far a seed is."""

    iteration: int
    """Measurements so far, over the cells."""
    judge: str
    """Who pays in the cell that is trained."""
    true_asr: float
    """True attack success at the latest measurement; NaN without an attempt."""


class JudgedGPO(Stateful):
    """GPO with both players paid by a judge; iterate over it for a measurement before training and after each round."""

    saved = ("iteration", "gpo", "judge")

    def __init__(self, config: CellConfig) -> None:
        """Load both players, and train the judges or take them from the seed's earlier cells."""
        sizes, judging = config.sizes, config.sizes.judge
        self.config, self.iteration, self.truth = config, 0, red_team(config.game)
        self.judge = paying_judge(config.judge, judging, game=config.game, seed=config.seed)
        self.second = second_judge(config.judge, judging, game=config.game, seed=config.seed)
        game = red_team(config.game, self.judge)
        task = Task(
            game=game,
            seed=config.seed,
            num_updates=sizes.num_rounds * sizes.updates_per_stage,
            batch_size=sizes.batch_size,
            make_player=StartingPlayers(game, config.adversary, config.defender),
        )
        self.gpo = factories.gpo(task, updates_per_stage=sizes.updates_per_stage)

    def __iter__(self) -> Iterator[JudgedRound]:
        """Yield what judge and oracle say of the players; the judge that is measured is the one that paid them."""
        while self.iteration <= self.config.sizes.num_rounds:
            if self.iteration:
                self.train_round()
            looked = self.look()
            measured = self.measured(looked)
            if self.judge is not None and self.iteration < self.config.sizes.num_rounds:
                self.judge.learn(looked.exchanges, looked.outcomes, self.rng(3))
            self.iteration += 1
            yield measured

    def train_round(self) -> None:
        """Let the defender learn, then the adversary."""
        for step in self.gpo:
            if self.gpo.ends_round(step):
                break

    def look(self) -> Looked:
        """Play with the players as they are, and let judge, oracle and the second judge look."""
        return look(self.truth, self.judge, self.second, self.gpo.seats, self.config.sizes.num_episodes, self.rng(1))

    def measured(self, looked: Looked) -> JudgedRound:
        """Return what was looked at as numbers."""
        config = self.config
        return judged_round(
            looked,
            _held_out(config.sizes.num_held_out, config.game, config.seed),
            self.judge,
            round_number=self.iteration,
            num_labelled=config.sizes.num_labelled,
            num_labels=0 if self.judge is None else self.judge.num_labels,
            rng=self.rng(2),
        )

    def rng(self, purpose: int) -> np.random.Generator:
        """Return a generator for what is done beside training in this round, the same for every judge of a seed."""
        return np.random.default_rng([self.config.seed, 51, purpose, self.iteration])


class Progress(Watcher):
    """Tells the seed's run how far a cell is."""

    name = "progress"

    def __init__(self, whole: Run, config: CellConfig, done: int) -> None:
        """Take the seed's run, the cell, and the measurements of the cells before it."""
        self._whole, self._config, self._done = whole, config, done

    def keep(self, run: Run, step: Record) -> None:
        """Log a line for the progress bar."""
        assert isinstance(step, JudgedRound)
        self._whole.log(SeedStep(self._done + step.iteration, self._config.judge, step.true_asr))


def one_seed(config: SeedConfig) -> Path:
    """Run or resume the cells of a seed; return their folder."""
    with Run.open(config.out, config, name=config.algorithm) as run:
        if not run.finished:
            run.restore()
            for number, cell in enumerate(map(config.cell, config.judges)):
                done = number * (config.sizes.num_rounds + 1)
                train(cell, partial(_training, progress=Progress(run, cell, done)))
            run.finish()
    return config.out


def _training(config: CellConfig, progress: Progress) -> Training:
    learner = JudgedGPO(config)

    def write(run: Run) -> None:
        run.write_text(DISAGREEMENTS_FILE, disagreements(learner))

    return Training(learner=learner, num_steps=config.sizes.num_rounds + 1, watch=[progress], write=write)


def disagreements(learner: JudgedGPO, *, num_shown: int = 24) -> str:
    """Return exchanges of the last measurement whose outcome the judge does not name, as text."""
    learner.iteration -= 1  # the measurement's random numbers are its round's
    looked = learner.look()
    learner.iteration += 1
    seen = zip(looked.exchanges, looked.judged, looked.truth, strict=True)
    lines = [
        f"{exchange.prompt_text} -> {exchange.reply_text}\n"
        f"  judge: {judged.outcome.value}, {judged.reward:+.2f}; oracle: {truth.outcome.value}, {truth.reward:+.2f}"
        for exchange, judged, truth in seen
        if judged.outcome is not truth.outcome
    ]
    return "\n".join([f"{len(lines)} of {len(looked.exchanges)} exchanges", *lines[:num_shown]]) + "\n"


def jobs(config: TrueJudgedConfig) -> list[Job]:
    """Return the runs in an order in which they can be done: base models, SFT defenders, then all seeds."""
    out = config.folder.resolve()  # the same options by whatever path the folder is named
    bases = [job for base in range(min(config.num_bases, config.seeds)) for job in _base_jobs(config, out, base)]
    seeds = [_seed_config(config, out, seed) for seed in range(config.seeds)]
    num_steps = len(config.judges) * (config.asked.num_rounds + 1)
    return [
        *bases,
        *(
            Job(f"seed{seed}", Bound(one_seed, cells), num_steps, (f"sft{seed % config.num_bases}",))
            for seed, cells in enumerate(seeds)
        ),
    ]


def _base_jobs(config: TrueJudgedConfig, out: Path, base: int) -> list[Job]:
    game, sizes = GameOptions(game=config.game), config.asked
    pretraining = PretrainConfig(
        out=out / f"base{base}", options=game, seed=base, num_demonstrations=sizes.num_demonstrations, num_threads=1
    )
    cloning = replace(pretraining.cloning, num_steps=sizes.num_pretraining_steps)
    tuning = SFTConfig(model=out / f"base{base}/model", out=out / f"sft{base}", options=game, seed=base, num_threads=1)
    if config.quick:
        tuning = replace(tuning, num_demonstrations=100, cloning=replace(tuning.cloning, num_steps=2))
    return [
        Job(f"base{base}", Bound(pretrain, replace(pretraining, cloning=cloning)), cloning.num_steps),
        Job(f"sft{base}", Bound(sft, tuning), tuning.cloning.num_steps, (f"base{base}",)),
    ]


def _seed_config(config: TrueJudgedConfig, out: Path, seed: int) -> SeedConfig:
    base = seed % config.num_bases
    return SeedConfig(
        out=out / f"seed{seed}",
        seed=seed,
        game=config.game,
        judges=config.judges,
        adversary=out / f"base{base}/model",
        defender=out / f"sft{base}/model",
        sizes=config.asked,
        num_threads=1,
    )


def true_judged(config: TrueJudgedConfig) -> Path:
    """Run or resume it all; return the folder."""
    write = partial(report, judges=config.judges, num_seeds=config.seeds, game=config.game)
    return run_study(config, jobs(config), write, name="true_judged", preload=__name__)


@lru_cache(maxsize=1)
def _held_out(num: int, game: str, seed: int) -> tuple[list[Exchange], list[Outcome]]:
    return held_out_exchanges(num, game=game, seed=seed)
