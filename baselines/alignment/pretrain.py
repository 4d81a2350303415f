"""Pre-training: the base model, cloned from average players on all tokens (arXiv 2402.08078, eq. 7)."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, ClassVar

import numpy as np
import tyro

from ...agents.language_model.causal_lm import CausalLMAgent
from ...agents.language_model.micro import micro_model
from ..learners.behaviour_cloning import BehaviourCloning, BehaviourCloningConfig
from ..rollouts.demonstrations import demonstrations_of, encode_dialogues
from ..training.checks import Count, Rows, Width, check_model_size
from ..training.costs import CostMeter
from ..training.loop import Training, trainer
from ..training.options import GameOptions, TrainingOptions, leaves, placed
from ..training.run import FINISHED_FILE


@dataclass(frozen=True, kw_only=True)
class PretrainConfig(TrainingOptions):
    """A micro model from scratch, on demonstrations that the game generates."""

    algorithm: ClassVar[str] = "pretrain"
    options: Annotated[GameOptions, tyro.conf.arg(name="")] = field(default_factory=GameOptions)
    out: Path = Path("runs/pretrain")
    """The run's folder; the model is in its folder `model`."""
    num_demonstrations: Rows = 30_000
    """Dialogues, each seen by both players."""
    hidden_size: Width = 64
    """Width of the model."""
    num_layers: Width = 2
    """Depth of the model."""
    num_heads: Width = 4
    """Attention heads."""
    cloning: BehaviourCloningConfig = field(default_factory=BehaviourCloningConfig)
    """How it is trained."""
    save_every: Count = 200
    """Steps between two saved states."""

    def __post_init__(self) -> None:
        """Check the sizes; raise ValueError where one is absurd."""
        super().__post_init__()
        check_model_size(hidden_size=self.hidden_size, num_layers=self.num_layers, num_heads=self.num_heads)


@trainer
def pretrain(config: PretrainConfig) -> Training:
    """Return what a run of it trains."""
    meter = CostMeter()
    game = config.options.build(meter=meter, device=config.device)
    dialogues = demonstrations_of(game, "average", np.random.default_rng(config.seed), config.num_demonstrations)
    model = micro_model(
        game.vocabulary,
        hidden_size=config.hidden_size,
        num_layers=config.num_layers,
        num_heads=config.num_heads,
        max_positions=max(256, game.max_view_tokens),
        seed=config.seed,
    )
    agent = CausalLMAgent(placed(model, config.device), game.vocabulary, compute_dtype=config.compute_dtype)
    learner = BehaviourCloning(agent, encode_dialogues(game, dialogues), config.cloning, seed=config.seed)
    meter.cloning(lambda: learner.num_tokens)
    return Training(learner=learner, num_steps=config.cloning.num_steps, watch=[meter], write=leaves(model=agent))


def base_model(options: GameOptions, asked: TrainingOptions) -> Path:
    """Pre-train a micro model in `base` for whoever was given none, say so, and return its folder."""
    out = asked.out / "base"
    if not (out / FINISHED_FILE).is_file():
        print(f"base model: none was given, pre-training a micro model in {out}", flush=True)
    return pretrain(PretrainConfig(options=options, out=out, seed=asked.seed, device=asked.device)) / "model"
