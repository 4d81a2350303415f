"""The main job: adversary and defender trained against each other from nothing, beside an RLHF baseline.

Six runs, each what `duologue train` does: the base model (eq. 7 of arXiv 2402.08078) and the SFT defender (eq. 8); from
these RLHF on static prompts, GPO (arXiv 2406.10977) without and with its diversity reward, and an attacker trained
against the frozen SFT defender. Then every defender meets every prompt set, and the table, plots and transcripts are
written. The runs after SFT do not depend on each other and go to as many processes as asked for, one thread each, so
that the numbers do not depend on how many there are. A demo that was killed goes on where it stopped.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from ...envs.games.red_team.game import RedTeam
from ..alignment.attack import AttackConfig, attack
from ..alignment.pretrain import PretrainConfig, pretrain
from ..alignment.rlhf import RLHFConfig, rlhf
from ..alignment.sft import SFTConfig, sft
from ..training.checks import Few, Options, Seed
from ..training.jobs import Bound, Job, run_study
from ..two_player.diversity_reward import DiversityWeights
from ..two_player.gpo import GPOConfig, gpo
from ..two_player.stage_clock import GPOSchedule
from .demo_report import report

BLEU_WEIGHT, EMBEDDING_WEIGHT = 2.0, 1.0
"""The weights of GPO+Div; GPO's release has 5 and 1."""


@dataclass(frozen=True, kw_only=True)
class DemoConfig(Options):
    """The main job on red_team-v0."""

    out: Path | None = None
    """The folder of all runs, the table and the plots; None: runs/demo, or runs/demo_quick."""
    seed: Seed = 0
    """Decides everything that is drawn."""
    quick: bool = False
    """A tenth of the training, to see it work: the table then shows little."""
    num_processes: Few = 2
    """How many runs train at the same time; the results are the same for any number."""

    @property
    def folder(self) -> Path:
        """The folder of all runs."""
        return Path("runs/demo_quick" if self.quick else "runs/demo") if self.out is None else self.out


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
    rewards = DiversityWeights(bleu_weight=BLEU_WEIGHT, embedding_weight=EMBEDDING_WEIGHT)
    diverse = replace(plain, out=out / "gpo_div", diversity=rewards)
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


def demo(config: DemoConfig) -> Path:
    """Run or resume it all; return the folder."""
    game = RedTeam()
    write = partial(report, game=game, seed=config.seed, num_attacks=64 if config.quick else 256)
    return run_study(config, jobs(config), write, name="demo", preload=__name__)
