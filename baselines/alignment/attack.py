"""The attacker: PPO of the adversary against a frozen defender, a red-teaming run and a lower bound on its weakness.

Section 5.2 of arXiv 2402.08078 reads red teaming as zero-sum play; with one side frozen it is the best response of
player 0, eq. 5 there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from ..learners.best_response import BestResponse, run_best_response
from ..learners.ppo import PPOConfig, PPOLearner
from ..training.loop import use_threads
from ..training.options import GameOptions, load_model
from ..training.run import Run
from .starts import adversary_model, sft_model


@dataclass(frozen=True, kw_only=True)
class AttackConfig:
    """PPO of the adversary against a defender that does not learn."""

    options: Annotated[GameOptions, tyro.conf.arg(name="")] = field(default_factory=GameOptions)
    defender: Path | None = None
    """Who is attacked; None: the micro defender, trained first in `out`."""
    adversary: Path | None = None
    """The model to start from; None: the base model of that defender."""
    out: Path = Path("runs/attack")
    """The run's folder; the model is in its folder `model`."""
    seed: int = 0
    """Decides deals, sampled tokens and minibatches."""
    num_steps: int = 40
    """Batches, each followed by one PPO update."""
    batch_size: int = 192
    """Episodes in a batch."""
    ppo: PPOConfig = field(default_factory=PPOConfig)
    """How the adversary learns."""
    save_every: int = 20
    """Steps between two saved states."""
    num_threads: int = 0
    """Threads of torch; 0: its default."""
    device: str = "cpu"
    """Where the models are."""


def attack(config: AttackConfig) -> Path:
    """Run or resume it; return the adversary's folder."""
    use_threads(config.num_threads)
    with Run.open(config.out, config, name="attack") as run:
        if not run.finished:
            victim = sft_model(config.defender, config.options, config.out, config.seed)
            start = adversary_model(config.adversary, victim, config.out)
            game = config.options.build(victim, start, split="train")
            agent = load_model(start, game, device=config.device)
            best_response = BestResponse(
                game,
                PPOLearner(agent, config.ppo, num_planned=config.num_steps),
                load_model(victim, game, device=config.device),
                player=0,
                batch_size=config.batch_size,
                num_steps=config.num_steps,
                seed=config.seed,
            )
            run_best_response(best_response, run, save_every=config.save_every)
    return config.out / "model"


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    print(f"adversary: {attack(tyro.cli(AttackConfig, args=argv, prog='duologue train attack', description=__doc__))}")


if __name__ == "__main__":
    main()
