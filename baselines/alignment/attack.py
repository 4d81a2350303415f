"""The attacker: PPO of the adversary against a frozen defender, a red-teaming run and a lower bound on its weakness.

Section 4.7 of arXiv 2402.08078 reads red teaming as zero-sum play; with one side frozen it is the best response of
player 0, eq. 5 there.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from ..learners.best_response import BestResponse
from ..learners.options import LearnerOptions
from ..learners.ppo import PPOConfig
from ..training.checks import Count, Rows
from ..training.costs import CostMeter
from ..training.loop import Training, trainer
from ..training.presets import usual
from .starts import BothPlayersOptions


@dataclass(frozen=True, kw_only=True)
class AttackConfig(BothPlayersOptions, LearnerOptions):
    """Policy learning of the adversary against a defender that does not learn."""

    algorithm: ClassVar[str] = "attack"
    length: ClassVar[str] = "num_steps"
    defender: Path | None = None
    """Who is attacked; None: the micro defender, trained first in `out`."""
    out: Path = Path("runs/attack")
    """The run's folder; the model is in its folder `model`."""
    num_steps: Count = 40
    """Batches, each followed by one update."""
    batch_size: Rows = usual(192)
    """Episodes in a batch."""
    ppo: PPOConfig = field(default_factory=PPOConfig)
    """Options of PPO."""
    save_every: Count = 20
    """Steps between two saved states."""


@trainer
def attack(config: AttackConfig) -> Training:
    """Return what a run of it trains."""
    game = config.options.build(seats=config.starts, split="train", meter=CostMeter(), device=config.device)
    named, roles = ("adversary", "defender"), config.options.roles
    agent, defender = (
        config.load(folder, game, player, name=named[player], role=roles[player])
        for player, folder in enumerate(config.starts)
    )
    best_response = BestResponse(
        game,
        config.make(agent, num_planned=config.num_steps, ptx=config.ptx(game, 0, config.seed)),
        defender,
        player=0,
        batch_size=config.batch_size,
        num_steps=config.num_steps,
        seed=config.seed,
        group_size=config.replies_per_prompt,
    )
    return best_response.training()
