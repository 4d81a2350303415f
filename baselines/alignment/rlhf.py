"""RLHF: policy learning of the defender on static prompts, by PPO the baseline that GPO is compared with.

Stage three of the pipeline in arXiv 2402.08078, section 4.4: policy learning of player two against a player one that
does not move. Player 0 says its seed request as it stands, so the prompts are the game's deals.

Differs from the paper in: the reward is the game's judge; a reward model is one when the game is given it. Besides PPO
the learner can be REINFORCE, RLOO, GRPO, REINFORCE++, or DPO and IPO on fresh pairs.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from ...envs import LanguageGame
from ..learners.best_response import BestResponse
from ..learners.options import LearnerOptions
from ..learners.ppo import PPOConfig
from ..training.checks import Count, Rows
from ..training.costs import CostMeter
from ..training.loop import Training, trainer
from ..training.options import static_prompts
from ..training.presets import usual
from .starts import DefenderOptions

DEFENDER_PPO = PPOConfig(learning_rate=usual(2e-3))
"""How a micro defender learns, in RLHF and in GPO alike."""


@dataclass(frozen=True, kw_only=True)
class RLHFConfig(DefenderOptions, LearnerOptions):
    """Policy learning of the defender on the prompts that the game deals."""

    algorithm: ClassVar[str] = "rlhf"
    length: ClassVar[str] = "num_steps"
    out: Path = Path("runs/rlhf")
    """The run's folder; the model is in its folder `model`."""
    num_steps: Count = 120
    """Batches, each followed by one update; as many as GPO's defender takes."""
    batch_size: Rows = usual(192)
    """Episodes in a batch."""
    ppo: PPOConfig = DEFENDER_PPO
    """Options of PPO."""
    save_every: Count = 20
    """Steps between two saved states."""


@trainer
def rlhf(config: RLHFConfig) -> Training:
    """Return what a run of it trains."""
    game = config.options.build(config.start, split="train", meter=CostMeter(), device=config.device)
    return best_reply(config, game).training()


def best_reply(config: RLHFConfig, game: LanguageGame[Any]) -> BestResponse:
    """Return the learner of replies to the prompts that the game deals."""
    agent = config.load(config.start, game, 1, name="defender", role=config.options.defender_role)
    return BestResponse(
        game,
        config.make(agent, num_planned=config.num_steps, ptx=config.ptx(game, 1, config.seed)),
        static_prompts(game),
        player=1,
        batch_size=config.batch_size,
        num_steps=config.num_steps,
        seed=config.seed,
        group_size=config.replies_per_prompt,
    )
