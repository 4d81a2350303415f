"""What the commands that train both players share: game, models, and the run, held to the exact tree if asked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import tyro

from ...agents.language_model.causal_lm import CausalLMAgent
from ...envs import LanguageGame
from ...envs.tree.analysis import GameTree
from ..learners.base import PlayerLearner
from ..learners.options import RESPONSE_PPO, LearnerOptions, steady
from ..training.costs import CostMeter, MeteredLearner, write_costs
from ..training.loop import recorded, use_threads
from ..training.options import GameOptions, ModelOptions, save_model
from ..training.run import Run
from .learner import TwoPlayerLearner
from .measured import MeasuredLearner


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

    def build(self, meter: CostMeter | None = None) -> LanguageGame[Any]:
        """Return the rules, their play counted if there is a meter."""
        return self.options.build(self.models.player_0, self.models.player_1, split="train", meter=meter)


@dataclass(frozen=True, kw_only=True)
class LearnersConfig(TwoPlayerConfig):
    """What those ask for whose players learn by any learner."""

    learner: Annotated[LearnerOptions, tyro.conf.arg(name="")] = field(default_factory=steady)
    """How players learn."""

    def make_player(self, game: LanguageGame[Any], *, num_planned: int) -> Callable[[int, int], PlayerLearner]:
        """Return (player, seed) -> a fresh learner, whose learning rate falls over `num_planned` updates if asked."""
        return lambda player, seed: self.learner.make(self.models.make(game, player, seed), num_planned=num_planned)


@dataclass(frozen=True, kw_only=True)
class ResponsesConfig(LearnersConfig):
    """What those ask for whose players grow by responses to mixtures."""

    exact_every: int = 6
    """Updates between two computations of NashConv; it asks every member of both mixtures."""
    learner: Annotated[LearnerOptions, tyro.conf.arg(name="")] = field(default_factory=lambda: steady(RESPONSE_PPO))
    """How a response learns."""


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
            meter = CostMeter()
            with meter.clock():  # some play before their first step
                learner = make(config.build(meter))
            metered = MeteredLearner(learner, meter)
            tree = GameTree(config.build()) if config.exact else None
            measured = metered if tree is None else MeasuredLearner(metered, tree, every=config.exact_every)
            for _ in recorded(measured, run, num_steps=num_steps, save_every=config.save_every):
                pass
            write_costs(run, meter)
            for player, seat in enumerate(learner.seats):
                if isinstance(seat, CausalLMAgent):
                    run.write_folder(f"player_{player}", partial(save_model, seat))
            if write is not None:
                write(run, learner)
            run.finish()
    return config.out
