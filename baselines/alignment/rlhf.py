"""RLHF: policy learning of the defender on static prompts, by PPO the baseline that GPO is compared with.

Stage three of the pipeline in arXiv 2402.08078, section 4.4: policy learning of player two against a player one that
does not move. Player 0 says its seed request as it stands, so the prompts are the game's deals.

Differs from the paper in: the reward is the game's judge; a reward model is one when the game is given it. Besides PPO
the learner can be REINFORCE, RLOO, GRPO, REINFORCE++, or DPO and IPO on fresh pairs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from ...agents import EchoAgent
from ..learners.best_response import BestResponse, run_best_response
from ..learners.options import LearnerOptions
from ..learners.ppo import PPOConfig
from ..training.loop import use_threads
from ..training.options import GameOptions, TrainedDType, load_model, preamble_of
from ..training.run import Run
from .starts import sft_model

DEFENDER_PPO = PPOConfig(learning_rate=2e-3)
"""How a micro defender learns, in RLHF and in GPO alike."""


@dataclass(frozen=True, kw_only=True)
class RLHFConfig(LearnerOptions):
    """Policy learning of the defender on the prompts that the game deals."""

    options: Annotated[GameOptions, tyro.conf.arg(name="")] = field(default_factory=GameOptions)
    defender: Path | None = None
    """The model to start from; None: the micro defender, trained first in `out`."""
    out: Path = Path("runs/rlhf")
    """The run's folder; the model is in its folder `model`."""
    seed: int = 0
    """Decides deals, sampled tokens and minibatches."""
    num_steps: int = 120
    """Batches, each followed by one update; as many as GPO's defender takes."""
    batch_size: int = 192
    """Episodes in a batch."""
    ppo: PPOConfig = DEFENDER_PPO
    """Options of PPO."""
    save_every: int = 20
    """Steps between two saved states."""
    num_threads: int = 0
    """Threads of torch; 0: its default."""
    device: str = "cpu"
    """Where the model is."""
    dtype: TrainedDType = "float32"
    """The precision of the weights; bfloat16 halves their memory and rounds away the smallest updates."""


def rlhf(config: RLHFConfig) -> Path:
    """Run or resume it; return the defender's folder."""
    use_threads(config.num_threads)
    with Run.open(config.out, config, name="rlhf") as run:
        if not run.finished:
            start = sft_model(config.defender, config.options, config.out, config.seed)
            game = config.options.build(start, split="train")
            agent = load_model(start, game, device=config.device, dtype=config.dtype)
            best_response = BestResponse(
                game,
                config.make(agent, num_planned=config.num_steps),
                EchoAgent(skip=preamble_of(game)),
                player=1,
                batch_size=config.batch_size,
                num_steps=config.num_steps,
                seed=config.seed,
                group_size=config.replies_per_prompt,
            )
            run_best_response(best_response, run, save_every=config.save_every)
    return config.out / "model"


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    print(f"defender: {rlhf(tyro.cli(RLHFConfig, args=argv, prog='duologue train rlhf', description=__doc__))}")


if __name__ == "__main__":
    main()
