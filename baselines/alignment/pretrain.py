"""Pre-training: the base model, cloned from average players on all tokens (arXiv 2402.08078, eq. 7)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro

from ...agents.language_model.causal_lm import CausalLMAgent
from ...agents.language_model.micro import micro_model
from ..learners.behaviour_cloning import BehaviourCloning, BehaviourCloningConfig
from ..rollouts.demonstrations import demonstrations_of, encode_dialogues
from ..training.loop import recorded, use_threads
from ..training.options import GameOptions, save_model
from ..training.run import Run


@dataclass(frozen=True, kw_only=True)
class PretrainConfig:
    """A micro model from scratch, on demonstrations that the game generates."""

    options: Annotated[GameOptions, tyro.conf.arg(name="")] = field(default_factory=GameOptions)
    out: Path = Path("runs/pretrain")
    """The run's folder; the model is in its folder `model`."""
    seed: int = 0
    """Decides the initial weights, the demonstrations and their order."""
    num_demonstrations: int = 30_000
    """Dialogues, each seen by both players."""
    hidden_size: int = 64
    """Width of the model."""
    num_layers: int = 2
    """Depth of the model."""
    num_heads: int = 4
    """Attention heads."""
    cloning: BehaviourCloningConfig = field(default_factory=BehaviourCloningConfig)
    """How it is trained."""
    save_every: int = 200
    """Steps between two saved states."""
    num_threads: int = 0
    """Threads of torch; 0: its default."""


def pretrain(config: PretrainConfig) -> Path:
    """Run or resume it; return the model's folder."""
    use_threads(config.num_threads)
    with Run.open(config.out, config, name="pretrain") as run:
        if not run.finished:
            game = config.options.build()
            dialogues = demonstrations_of(
                game, "average", np.random.default_rng(config.seed), config.num_demonstrations
            )
            model = micro_model(
                game.vocabulary,
                hidden_size=config.hidden_size,
                num_layers=config.num_layers,
                num_heads=config.num_heads,
                max_positions=max(256, game.max_view_tokens),
                seed=config.seed,
            )
            agent = CausalLMAgent(model, game.vocabulary)
            learner = BehaviourCloning(agent, encode_dialogues(game, dialogues), config.cloning, seed=config.seed)
            for _ in recorded(learner, run, num_steps=config.cloning.num_steps, save_every=config.save_every):
                pass
            run.write_folder("model", partial(save_model, agent))
            run.finish()
    return config.out / "model"


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    print(
        f"model: {pretrain(tyro.cli(PretrainConfig, args=argv, prog='duologue train pretrain', description=__doc__))}"
    )


def base_model(folder: Path | None, options: GameOptions, out: Path, seed: int) -> Path:
    """Return the base model's folder; without one, pre-train the micro model in `out/base`."""
    return folder if folder is not None else pretrain(PretrainConfig(options=options, out=out / "base", seed=seed))


if __name__ == "__main__":
    main()
