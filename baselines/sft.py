"""Supervised fine-tuning: the defender, cloned from an ideal player two on its own tokens (arXiv 2402.08078, eq. 8)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro

from .behaviour_cloning import BehaviourCloning, BehaviourCloningConfig
from .demonstrations import demonstrations_of, encode_dialogues
from .pretrain import PretrainConfig, pretrain
from .run import Run
from .setup import GameOptions, load_model, recorded, save_model, use_threads

SFT_CLONING = BehaviourCloningConfig(tokens_of="player_1", num_steps=190, learning_rate=5e-4)
"""Few small steps: plain requests are learnt, most disguises are not."""


@dataclass(frozen=True, kw_only=True)
class SFTConfig:
    """Cloning of the ideal player two from a base model."""

    options: Annotated[GameOptions, tyro.conf.arg(name="")] = field(default_factory=GameOptions)
    model: Path | None = None
    """The base model's folder; None: the micro model, pre-trained first in the folder `base` of `out`."""
    out: Path = Path("runs/sft")
    """The run's folder; the model is in its folder `model`."""
    seed: int = 0
    """Decides the demonstrations and their order."""
    num_demonstrations: int = 4_000
    """Dialogues."""
    cloning: BehaviourCloningConfig = SFT_CLONING
    """How it is trained."""
    save_every: int = 60
    """Steps between two saved states."""
    num_threads: int = 0
    """Threads of torch; 0: its default."""


def sft(config: SFTConfig) -> Path:
    """Run or resume it; return the model's folder."""
    use_threads(config.num_threads)
    with Run.open(config.out, config, name="sft") as run:
        if not run.finished:
            base = base_model(config.model, config.options, config.out, config.seed)
            game = config.options.build(base)
            rng = np.random.default_rng([config.seed, 1])
            dialogues = demonstrations_of(game, "ideal", rng, config.num_demonstrations)
            agent = load_model(base, game)
            demonstrations = encode_dialogues(game, dialogues, viewers=(1,))
            learner = BehaviourCloning(agent, demonstrations, config.cloning, seed=config.seed)
            for _ in recorded(learner, run, num_steps=config.cloning.num_steps, save_every=config.save_every):
                pass
            run.write_folder("model", partial(save_model, agent))
            run.finish()
    return config.out / "model"


def base_model(folder: Path | None, options: GameOptions, out: Path, seed: int) -> Path:
    """Return the base model's folder; without one, pre-train the micro model in `out/base`."""
    return folder if folder is not None else pretrain(PretrainConfig(options=options, out=out / "base", seed=seed))


def sft_model(folder: Path | None, options: GameOptions, out: Path, seed: int) -> Path:
    """Return the defender's folder; without one, train base and defender in `out/base` and `out/sft`."""
    if folder is not None:
        return folder
    base = base_model(None, options, out, seed)
    return sft(SFTConfig(options=options, model=base, out=out / "sft", seed=seed))


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    print(f"model: {sft(tyro.cli(SFTConfig, args=argv, prog='duologue train sft', description=__doc__))}")


if __name__ == "__main__":
    main()
