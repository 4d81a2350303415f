"""The whole training of arXiv 2402.08078 in one command: base model, SFT, reward model, RLHF, and what becomes of it.

The base model (eq. 7) and the SFT defender (eq. 8) are made as ever. Pairs of the SFT defender's replies, ordered by
the game's oracle with noise, teach two Bradley-Terry reward models: one few pairs, one many. Then PPO starts from the
SFT defender four times: against the oracle (the control), against the reward model of few pairs with a small and with a
larger charge for KL, and against the one of many pairs. Every few updates the judge that pays and the oracle score the
same replies to fixed held-out requests: where the judge's score rises and the oracle's falls, the reward is hacked
(Gao, Schulman & Hilton, 2023, arXiv 2210.10760).

A run that was killed goes on where it stopped; the numbers do not depend on how many processes train at a time.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np

from ...agents.judges.making import make_judge
from ...envs.games.red_team.game import RedTeam
from ...envs.judging import Judge
from ..alignment.pretrain import PretrainConfig, pretrain
from ..alignment.reward_model import BradleyTerryConfig, RewardModelConfig, train_reward_model
from ..alignment.rlhf import DEFENDER_PPO, RLHFConfig, best_reply
from ..alignment.sft import SFTConfig, sft
from ..learners.best_response import BestResponse
from ..training.checks import Count, Few, NotNegative, Options, Positive, Rows, Seed
from ..training.jobs import Bound, Job, run_study
from ..training.loop import Training, train
from ..training.options import GameOptions
from ..training.run import Record
from ..training.watchers import Watcher
from .judged_replies import HeldOutScores, held_out_prompts, held_out_scores, reply_to
from .stages_report import Arm, report


@dataclass(frozen=True, kw_only=True)
class StageSizes(Options):
    """How much is trained, and on what."""

    num_demonstrations: Rows = 30_000
    """Dialogues that the base model is cloned from."""
    num_pretraining_steps: Count = 1_600
    """Its gradient steps."""
    few_pairs: Rows = 1_000
    """Pairs for the reward model that is hacked."""
    many_pairs: Rows = 6_000
    """Pairs for the other one."""
    few_steps: Count = 300
    """Gradient steps on few pairs."""
    many_steps: Count = 450
    """Gradient steps on many pairs."""
    temperature: Positive = 0.25
    """The noise of the oracle's choices: the first of two replies is chosen with sigmoid(gain in reward / this)."""
    kl_coef: NotNegative = DEFENDER_PPO.kl_coef
    """Charge per nat of KL to the SFT defender; that of GPO and the demo."""
    large_kl_coef: NotNegative = 0.1
    """The charge that is to protect from the reward model's errors."""
    num_updates: Count = 60
    """Updates of each RLHF run."""
    batch_size: Rows = 192
    """Episodes for an update."""
    measure_every: Count = 10
    """Updates between two measurements on the held-out requests."""


QUICK = StageSizes(
    num_demonstrations=4_000,
    num_pretraining_steps=150,
    few_pairs=100,
    many_pairs=300,
    few_steps=25,
    many_steps=50,
    num_updates=6,
    batch_size=64,
    measure_every=3,
)


@dataclass(frozen=True, kw_only=True)
class StagesConfig(Options):
    """All stages on red_team-v0."""

    out: Path | None = None
    """The folder of all runs, the tables and the plot; None: runs/stages, or runs/stages_quick."""
    seed: Seed = 0
    """Decides everything that is drawn."""
    quick: bool = False
    """A twentieth of the training, to see it work: the tables then show little."""
    sizes: StageSizes = field(default_factory=StageSizes)
    """How much is trained; not read by a quick run."""
    num_processes: Few = 2
    """How many runs train at the same time; the results are the same for any number."""

    def __post_init__(self) -> None:
        """Refuse sizes that would not be read.

        Raises:
            ValueError: a quick run is given sizes.
        """
        super().__post_init__()
        if self.quick and self.sizes != StageSizes():
            raise ValueError(f"sizes: expected the defaults in a quick run, which has its own, got {self.sizes}")

    @property
    def folder(self) -> Path:
        """The folder of all runs."""
        return Path("runs/stages_quick" if self.quick else "runs/stages") if self.out is None else self.out


@dataclass(frozen=True, kw_only=True)
class MeasuredRLHFConfig(RLHFConfig):
    """RLHF that is measured on held-out requests of red_team-v0 while it trains."""

    measure_every: Count = 10
    """Updates between two measurements."""


class HeldOut(Watcher):
    """Scores a defender on the held-out requests every few updates.

    The measurements have generators of their own, so that training goes the same way with and without them.
    """

    name = "held_out"

    def __init__(self, training: BestResponse, judge: Judge | None, *, measure_every: int, seed: int) -> None:
        """Take the training of player 1, and the judge that pays; None: the oracle."""
        self.training, self.judge, self.measure_every, self.seed = training, judge, measure_every, seed

    def after(self, step: Record) -> HeldOutScores | None:
        """Return the scores of the updated policy; None between two measurements."""
        if step.iteration % self.measure_every and step.iteration != self.training.num_steps:
            return None
        rng = np.random.default_rng([self.seed, 3, step.iteration])
        return held_out_scores(reply_to(held_out_prompts(), self.training.learner.agent, rng), self.judge)


def measured_rlhf(config: MeasuredRLHFConfig) -> Path:
    """Run or resume RLHF from `config.defender`; return the run's folder.

    Raises:
        ValueError: no defender to start from.
    """
    if config.defender is None:
        raise ValueError("defender: expected the folder of the SFT model, got none")
    return train(config, _measured_training)


def _measured_training(config: MeasuredRLHFConfig) -> Training:
    """Return RLHF's training, on all requests, with its held-out scores."""
    game = config.options.build(config.start)
    best_response = best_reply(config, game)
    asked = config.options.judge
    judge = None if asked is None else make_judge(asked, game.vocabulary)
    held_out = HeldOut(best_response, judge, measure_every=config.measure_every, seed=config.seed)
    training = best_response.training()
    return replace(training, watch=[*training.watch, held_out])


def arms(sizes: StageSizes) -> list[Arm]:
    """Return the RLHF runs that are compared."""
    few, many = f"{sizes.few_pairs} pairs", f"{sizes.many_pairs} pairs"
    return [
        Arm("rlhf_oracle", "oracle", None, sizes.kl_coef),
        Arm("rlhf_few", few, "reward_few", sizes.kl_coef),
        Arm("rlhf_few_kl", few, "reward_few", sizes.large_kl_coef),
        Arm("rlhf_many", many, "reward_many", sizes.kl_coef),
    ]


def jobs(config: StagesConfig) -> list[Job]:
    """Return the runs in an order in which they can be done."""
    out = config.folder.resolve()  # the same options by whatever path the folder is named
    sizes = QUICK if config.quick else config.sizes
    pretraining = PretrainConfig(
        out=out / "base", seed=config.seed, num_demonstrations=sizes.num_demonstrations, num_threads=1
    )
    cloning = replace(pretraining.cloning, num_steps=sizes.num_pretraining_steps)
    tuning = SFTConfig(model=out / "base/model", out=out / "sft", seed=config.seed, num_threads=1)
    return [
        Job("base", Bound(pretrain, replace(pretraining, cloning=cloning)), cloning.num_steps),
        Job("sft", Bound(sft, tuning), tuning.cloning.num_steps, ("base",)),
        *_reward_jobs(config, sizes, out),
        *(_rlhf_job(arm, config, sizes, out) for arm in arms(sizes)),
    ]


def _reward_jobs(config: StagesConfig, sizes: StageSizes, out: Path) -> list[Job]:
    """Return the reward models, each a head on the SFT defender, as in Ouyang et al. (2022, arXiv 2203.02155)."""
    plans = (("reward_many", sizes.many_pairs, sizes.many_steps), ("reward_few", sizes.few_pairs, sizes.few_steps))
    return [
        Job(
            name,
            Bound(
                train_reward_model,
                RewardModelConfig(
                    defender=out / "sft/model",
                    model=out / "sft/model",
                    num_pairs=num_pairs,
                    temperature=sizes.temperature,
                    training=BradleyTerryConfig(num_steps=num_steps),
                    out=out / name,
                    seed=config.seed,
                    num_threads=1,
                ),
            ),
            num_steps,
            ("sft",),
        )
        for name, num_pairs, num_steps in plans
    ]


def _rlhf_job(arm: Arm, config: StagesConfig, sizes: StageSizes, out: Path) -> Job:
    judge = None if arm.judge is None else f"reward:{out / arm.judge / 'model'}"
    tuning = MeasuredRLHFConfig(
        options=GameOptions(judge=judge),
        defender=out / "sft/model",
        out=out / arm.name,
        seed=config.seed,
        num_steps=sizes.num_updates,
        batch_size=sizes.batch_size,
        ppo=replace(DEFENDER_PPO, kl_coef=arm.kl_coef),
        measure_every=sizes.measure_every,
        num_threads=1,
    )
    needs = ("sft",) if arm.judge is None else ("sft", arm.judge)
    return Job(arm.name, Bound(measured_rlhf, tuning), sizes.num_updates, needs)


def stages(config: StagesConfig) -> Path:
    """Run or resume it all; return the folder."""
    compared = arms(QUICK if config.quick else config.sizes)
    write = partial(report, game=RedTeam(), arms=compared, seed=config.seed)
    return run_study(config, jobs(config), write, name="stages", preload=__name__)
