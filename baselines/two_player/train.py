"""What the commands that train both players share: game, models, and the run, held to the exact tree if asked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import tyro

from ...agents.language_model.causal_lm import CausalLMAgent
from ...envs import LanguageGame
from ...envs.game import PLAYERS
from ...envs.tree.analysis import GameTree
from ..learners.base import PlayerLearner
from ..learners.options import RESPONSE_PPO, LearnerOptions, steady
from ..training.checks import Count, Rows
from ..training.costs import CostMeter
from ..training.loop import Training, train
from ..training.options import GameOptions, ModelOptions, TrainingOptions, leaves
from ..training.presets import usual
from ..training.run import Run
from ..training.watchers import Watcher
from .learner import TwoPlayerLearner
from .measured import ExactDistance


@dataclass(frozen=True, kw_only=True)
class TwoPlayerConfig(TrainingOptions):
    """What all such commands ask for."""

    options: Annotated[GameOptions, tyro.conf.arg(name="")] = field(default_factory=GameOptions)
    models: Annotated[ModelOptions, tyro.conf.arg(name="")] = field(default_factory=ModelOptions)
    """The models that players start from."""
    exact: bool = False
    """Whether NashConv is computed on the whole tree; in games small enough to enumerate."""
    exact_every: Count = 1
    """Updates between two computations."""

    def build(self, meter: CostMeter | None = None) -> LanguageGame[Any]:
        """Return the rules, their play counted if there is a meter."""
        seats = (self.models.player_0, self.models.player_1)
        return self.options.build(seats=seats, split="train", meter=meter, device=self.device)

    def start(self, game: LanguageGame[Any], player: int, seed: int) -> CausalLMAgent:
        """Return the model that a player starts from; `seed` decides the weights of a micro model."""
        folder, role = self.models.folder(player), self.options.roles[player]
        if folder is not None:
            return self.load(folder, game, player, name=f"player_{player}", role=role, seed=seed)
        if self.lora_rank:
            raise ValueError(f"lora_rank: expected 0 for a micro model that no folder holds, got {self.lora_rank}")
        if self.base_bits:
            raise ValueError(f"base_bits: expected none for a micro model that no folder holds, got {self.base_bits}")
        agent = role.drawn(self.models.make(game, player, seed, device=self.device))
        agent.compute_dtype = self.compute_dtype
        return agent


@dataclass(frozen=True, kw_only=True)
class LearnersConfig(TwoPlayerConfig):
    """What those ask for whose players learn by any learner."""

    learner: Annotated[LearnerOptions, tyro.conf.arg(name="")] = field(default_factory=steady)
    """How players learn."""

    def make_player(self, game: LanguageGame[Any], *, num_planned: int) -> Callable[[int, int], PlayerLearner]:
        """Return (player, seed) -> a fresh learner, whose learning rate falls over `num_planned` updates if asked."""
        ptx = [self.learner.ptx(game, player, self.seed) for player in PLAYERS]  # encoded once for all learners
        return lambda player, seed: self.learner.make(
            self.start(game, player, seed), num_planned=num_planned, ptx=ptx[player]
        )


@dataclass(frozen=True, kw_only=True)
class ResponsesConfig(LearnersConfig):
    """What those ask for whose players grow by responses to mixtures."""

    exact_every: Count = 6
    """Updates between two computations of NashConv; it asks every member of both mixtures."""
    learner: Annotated[LearnerOptions, tyro.conf.arg(name="")] = field(default_factory=lambda: steady(RESPONSE_PPO))
    """How a response learns."""


@dataclass(frozen=True, kw_only=True)
class ResponderConfig(LearnersConfig):
    """Whoever learns, for a measurement, against players that do not: by the numbers of what it starts from."""

    learner: Annotated[LearnerOptions, tyro.conf.arg(name="")] = field(
        default_factory=lambda: LearnerOptions(ppo=RESPONSE_PPO)
    )
    """How it learns."""
    batch_size: Rows = usual(128)
    """Episodes for one update."""

    def responder(self, game: LanguageGame[Any], player: int, seed: int) -> PlayerLearner:
        """Return a fresh one for a seat; what the other seat starts from decides nothing."""
        other: dict[str, Any] = {f"player_{1 - player}": None}
        config = replace(self, models=replace(self.models, **other)).resolved()
        return config.learner.make(config.start(game, player, seed))


def train_two_players(
    config: TwoPlayerConfig,
    make: Callable[[LanguageGame[Any]], TwoPlayerLearner],
    *,
    num_steps: int,
    write: Callable[[Run, TwoPlayerLearner], None] | None = None,
) -> Path:
    """Run or resume it; return the run's folder.

    Args:
        config: what was asked for.
        make: returns the learner.
        num_steps: its steps.
        write: writes more than the newest players once training has ended.
    """

    def training(config: TwoPlayerConfig) -> Training:
        meter = CostMeter()
        with meter.clock():  # some play before their first step
            learner = make(config.build(meter))
        watch: list[Watcher] = [meter]
        if config.exact:
            watch.append(ExactDistance(learner, GameTree(config.build()), every=config.exact_every))

        def leave(run: Run) -> None:
            agents = {f"player_{player}": seat for player, seat in enumerate(learner.seats)}
            leaves(**{name: seat for name, seat in agents.items() if isinstance(seat, CausalLMAgent)})(run)
            if write is not None:
                write(run, learner)

        return Training(learner=learner, num_steps=num_steps, watch=watch, write=leave)

    return train(config, training)
