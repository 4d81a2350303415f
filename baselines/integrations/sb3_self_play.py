"""Self-play of Stable-Baselines3 policies against a pool of their own past.

After every `pool_every` updates the newest policies are copied into a pool. Opponents are the newest policies, or one
of the pool, drawn evenly for each episode, which is fictitious self-play (Heinrich, Lanctot & Silver, 2015) as long as
the pool is never cut. Each seat has a policy of its own, or one policy learns both seats. The latter must be able to
tell them apart by its view: in games whose seats see the same and are not symmetric, give each its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import tyro

from ...agents.population import Population, Seat
from ...agents.sb3 import SB3Agent
from ...envs import LanguageGame, RandomAgent
from ...envs.game import PLAYERS
from ..training.checks import Count, Options, Threads, check_choice
from ..training.costs import CostMeter
from ..training.loop import Training, trainer
from ..training.options import GameOptions, RunOptions
from ..training.run import Run
from ..training.state import StateValue
from .sb3 import SB3Config, SB3Learner, SB3Update


@dataclass(frozen=True, kw_only=True)
class SB3SelfPlayConfig(Options):
    """Whom the policies play."""

    opponents: Literal["uniform", "latest"] = "uniform"
    """One of the pool, drawn anew for each episode, or the newest policies."""
    share_policy: bool = False
    """One policy for both seats, half of whose episodes are played in each."""
    pool_every: Count = 1
    """Updates between two copies into the pool."""
    num_updates: Count = 100
    """Updates of each policy."""

    def __post_init__(self) -> None:
        """Check the options, and that they say whom to play."""
        super().__post_init__()
        check_choice("opponents", self.opponents, ("uniform", "latest"))


@dataclass(frozen=True, slots=True)
class SB3SelfPlayStep:
    """What one iteration reports."""

    iteration: int
    pool_size: int
    """Copies of each policy that the update was played against; 1 if against the newest."""
    updates: tuple[SB3Update, ...]
    """One for each policy: player 0's and player 1's, or that of both."""


class SB3SelfPlay:
    """Policies that learn against their past: iterate over it to train."""

    def __init__(
        self, game: LanguageGame[Any], learning: SB3Config, config: SB3SelfPlayConfig, *, seed: int = 0
    ) -> None:
        """Make fresh policies.

        Args:
            game: the rules.
            learning: how each policy learns.
            config: whom it plays.
            seed: decides first weights, deals, tokens and minibatches.
        """
        self.config, self.iteration = config, 0
        groups: list[tuple[int, ...]] = [PLAYERS] if config.share_policy else [(player,) for player in PLAYERS]
        self.learners: list[SB3Learner] = []
        for number, players in enumerate(groups):
            # nobody is asked before the first update, which seats the pool
            learner = SB3Learner(
                game, learning, players=players, seats=(RandomAgent(), RandomAgent()), seed=len(groups) * seed + number
            )
            self.learners.append(learner)
        self.pool: list[tuple[SB3Agent, ...]] = [self._copies()]
        """Copies of all policies, oldest first; the random start is the first."""

    @property
    def seats(self) -> tuple[SB3Agent, SB3Agent]:
        """The newest players; they learn on."""
        return self.learners[0].agent, self.learners[-1].agent

    @property
    def average(self) -> tuple[Population, Population]:
        """All of the pool, each copy alike: what converges where play against the newest may cycle."""
        return Population.even([entry[0] for entry in self.pool]), Population.even([entry[-1] for entry in self.pool])

    def __iter__(self) -> Iterator[SB3SelfPlayStep]:
        """Yield after each update of all policies until the end."""
        while self.iteration < self.config.num_updates:
            opponents = self._opponents()  # of all policies, before any of them learns on
            for learner in self.learners:
                learner.env.seats = opponents
            updates = tuple(learner.update() for learner in self.learners)
            size = len(self.pool) if self.config.opponents == "uniform" else 1
            self.iteration += 1
            if self.iteration % self.config.pool_every == 0:
                self.pool.append(self._copies())
            yield SB3SelfPlayStep(self.iteration, size, updates)

    def state_dict(self) -> dict[str, StateValue]:
        """Return all that the next update depends on, the pool included."""
        return {
            "iteration": self.iteration,
            "learners": [learner.state_dict() for learner in self.learners],
            "pool": [[agent.policy.state_dict() for agent in copies] for copies in self.pool],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a saved state."""
        self.iteration = state["iteration"]
        for learner, saved in zip(self.learners, state["learners"], strict=True):
            learner.load_state_dict(saved)
        self.pool = []
        for weights in state["pool"]:
            self.pool.append(self._copies())
            for agent, saved in zip(self.pool[-1], weights, strict=True):
                agent.policy.load_state_dict(saved)

    def _copies(self) -> tuple[SB3Agent, ...]:
        return tuple(learner.agent.snapshot() for learner in self.learners)

    def _opponents(self) -> tuple[Seat, Seat]:
        if self.config.opponents == "uniform":
            return self.average
        newest = self._copies()
        return newest[0], newest[-1]


@dataclass(frozen=True, kw_only=True)
class TrainSB3SelfPlayConfig(RunOptions):
    """Policies of Stable-Baselines3 against their own past."""

    algorithm: ClassVar[str] = "sb3_self_play"
    options: Annotated[GameOptions, tyro.conf.arg(name="")] = field(
        default_factory=lambda: GameOptions(game="kuhn_poker-v0")
    )
    learning: Annotated[SB3Config, tyro.conf.arg(name="")] = field(default_factory=SB3Config)
    self_play: Annotated[SB3SelfPlayConfig, tyro.conf.arg(name="")] = field(default_factory=SB3SelfPlayConfig)
    out: Path = Path("runs/sb3_self_play")
    """The run's folder; the policies are in its folders `player_0` and `player_1`, or `model` if there is one."""
    num_threads: Threads = 1
    """Threads of torch, 0 being its default; more than one only slow down nets as small as these."""


@trainer
def train_sb3_self_play(config: TrainSB3SelfPlayConfig) -> Training:
    """Return what a run of it trains."""
    meter, names = CostMeter(), ["model"] if config.self_play.share_policy else ["player_0", "player_1"]
    game = config.options.build(meter=meter)
    self_play = SB3SelfPlay(game, config.learning, config.self_play, seed=config.seed)

    def write(run: Run) -> None:
        for name, learner in zip(names, self_play.learners, strict=True):
            learner.agent.game = config.options.game
            run.write_folder(name, learner.agent.save_pretrained)

    return Training(learner=self_play, num_steps=config.self_play.num_updates, watch=[meter], write=write)
