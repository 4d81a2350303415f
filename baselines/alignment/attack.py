"""The attacker: PPO of the adversary against a frozen defender, a red-teaming run and a lower bound on its weakness.

Section 5.2 of arXiv 2402.08078 reads red teaming as zero-sum play; with one side frozen it is the best response of
player 0, eq. 5 there.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, ClassVar

import tyro

from ..learners.best_response import BestResponse
from ..learners.options import LearnerOptions
from ..learners.ppo import PPOConfig
from ..training.checks import Count
from ..training.loop import Training, train
from ..training.options import GameOptions, TrainingOptions, load_model
from .starts import Starts, both_models


@dataclass(frozen=True, kw_only=True)
class AttackConfig(TrainingOptions, LearnerOptions):
    """Policy learning of the adversary against a defender that does not learn."""

    algorithm: ClassVar[str] = "attack"
    options: Annotated[GameOptions, tyro.conf.arg(name="")] = field(default_factory=GameOptions)
    defender: Path | None = None
    """Who is attacked; None: the micro defender, trained first in `out`."""
    adversary: Path | None = None
    """The model to start from; None: the base model of that defender."""
    out: Path = Path("runs/attack")
    """The run's folder; the model is in its folder `model`."""
    num_steps: Count = 40
    """Batches, each followed by one update."""
    batch_size: Count = 192
    """Episodes in a batch."""
    ppo: PPOConfig = field(default_factory=PPOConfig)
    """Options of PPO."""
    save_every: Count = 20
    """Steps between two saved states."""


def attack(config: AttackConfig) -> Path:
    """Run or resume it; return the run's folder."""
    return train(config, lambda: _training(config, both_models(config.defender, config.adversary, config)))


def _training(config: AttackConfig, starts: Starts) -> Training:
    game = config.options.build(starts.defender, starts.adversary, split="train")
    defender, agent = (
        load_model(folder, game, device=config.device, dtype=config.dtype)
        for folder in (starts.defender, starts.adversary)
    )
    best_response = BestResponse(
        game,
        config.make(agent, num_planned=config.num_steps),
        defender,
        player=0,
        batch_size=config.batch_size,
        num_steps=config.num_steps,
        seed=config.seed,
        group_size=config.replies_per_prompt,
    )
    return best_response.training()
