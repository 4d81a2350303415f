"""What the commands that train both players share: game, models, and the run, held to the exact tree if asked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import tyro

from ..agents.language_model import CausalLMAgent
from ..envs import LanguageGame
from ..envs.tree import GameTree
from .measured import MeasuredLearner
from .players import ModelOptions
from .run import Run
from .setup import GameOptions, recorded, save_model, use_threads
from .two_player import TwoPlayerLearner


@dataclass(frozen=True, kw_only=True)
class TwoPlayerConfig:
    """What all such commands ask for."""

    options: Annotated[GameOptions, tyro.conf.arg(name="")] = field(default_factory=GameOptions)
    models: Annotated[ModelOptions, tyro.conf.arg(name="")] = field(default_factory=ModelOptions)
    """The models that players start from."""
    out: Path = Path("runs/two_player")
    """The run's folder."""
    seed: int = 0
    """Decides random weights, deals, sampled tokens and minibatches."""
    exact: bool = False
    """Whether NashConv is computed on the whole tree; in games small enough to enumerate."""
    exact_every: int = 1
    """Updates between two computations."""
    save_every: int = 20
    """Updates between two saved states."""
    num_threads: int = 0
    """Threads of torch; 0: its default."""


def train_two_players(
    config: TwoPlayerConfig,
    name: str,
    make: Callable[[LanguageGame[Any]], TwoPlayerLearner],
    *,
    num_steps: int,
    write: Callable[[Run, TwoPlayerLearner], None] | None = None,
) -> Path:
    """Run or resume it; return the run's folder.

    Args:
        config: what was asked for.
        name: the run's, such as "self_play".
        make: returns the learner.
        num_steps: its steps.
        write: writes more than the newest players once training has ended.
    """
    use_threads(config.num_threads)
    with Run.open(config.out, config, name=name) as run:
        if not run.finished:
            game = config.options.build(config.models.player_0, config.models.player_1, split="train")
            learner = make(game)
            measured = MeasuredLearner(learner, GameTree(game), every=config.exact_every) if config.exact else learner
            for _ in recorded(measured, run, num_steps=num_steps, save_every=config.save_every):
                pass
            for player, seat in enumerate(learner.seats):
                if isinstance(seat, CausalLMAgent):
                    run.write_folder(f"player_{player}", partial(save_model, seat))
            if write is not None:
                write(run, learner)
            run.finish()
    return config.out
