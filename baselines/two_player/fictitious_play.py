"""Fictitious play: each player learns to respond to the mixture of all its past opponents, and joins the mixture.

Fictitious self-play (Heinrich, Lanctot & Silver, *Fictitious Self-Play in Extensive-Form Games*, ICML 2015). A round is
`updates_per_round` updates of each player, an approximate best response by any policy learner; both opponents are the
mixtures as they stood before the round, a member drawn once for each episode. The result is the mixtures: in a
two-player zero-sum game with exact responses they converge to an equilibrium, the newest responders do not.

Responders start anew in each round: a model that has become pure tries nothing else and would be stuck with the answer
of the round before; `warm_start` lets them go on. With `distil` each mixture is also fitted by one network, as in NFSP
(arXiv 1603.01121), a heuristic.

Differs from the paper in: a response is learned on policy, not from a replay memory; the average is the population
itself, not a model of it; responses are mixed at equal weights and the players' starts are members.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np
import tyro

from ...agents.language_model.causal_lm import CausalLMAgent
from ...envs import LanguageGame
from ...envs.game import PLAYERS
from ..learners.base import PlayerLearner
from ..learners.best_response import PlayerStep, respond, seated
from ..rollouts.episodes import rollout
from ..rollouts.groups import check_groups
from ..rollouts.trajectories import trajectories
from ..training.checks import Count, Options, Rows
from ..training.options import leaves
from ..training.presets import usual
from ..training.run import Run
from ..training.state import Stateful
from .distillation import Distillation, DistillationOptions
from .learner import Population, Seat, TwoPlayerLearner, derived_seed
from .opponents import OpponentPool
from .train import ResponsesConfig, train_two_players


@dataclass(frozen=True, kw_only=True)
class FictitiousPlayOptions(Options):
    """How many responses, and how good."""

    num_rounds: Count = 20
    """Responses of each player."""
    updates_per_round: Count = 6
    """Updates of a response."""
    batch_size: Rows = usual(128)
    """Episodes for one update."""
    warm_start: bool = False
    """Whether a response starts from the one before; else from a fresh player, as the start was made."""
    distil: bool = False
    """Whether each mixture is fitted by one network besides (NFSP), a heuristic."""
    distillation: DistillationOptions = field(default_factory=DistillationOptions)
    """How it is fitted."""

    @property
    def num_updates(self) -> int:
        """Updates of each player in all."""
        return self.num_rounds * self.updates_per_round

    @property
    def updates_a_learner(self) -> int:
        """Updates of one learner: of a response, or of all of them if each goes on from the one before."""
        return self.num_updates if self.warm_start else self.updates_per_round


@dataclass(frozen=True, kw_only=True)
class FictitiousPlayConfig(ResponsesConfig):
    """Best responses to the mixture of all past opponents, round by round."""

    algorithm: ClassVar[str] = "fictitious_play"
    length: ClassVar[str] = "play.num_rounds"
    out: Path = Path("runs/fictitious_play")
    """The run's folder: the mixtures in `pool`, a model folder for each member, and the last responders."""
    play: Annotated[FictitiousPlayOptions, tyro.conf.arg(name="")] = field(default_factory=FictitiousPlayOptions)
    """How many responses, and how good."""


@dataclass(frozen=True, slots=True)
class FictitiousPlayStep:
    """What one update of each player reports."""

    iteration: int
    """Updates of each player so far."""
    round: int
    """The round it belongs to, from 1."""
    num_members: int
    """Members of each mixture after it, the start included."""
    player_0: PlayerStep
    """Player 0's response to the mixture of player 1's past."""
    player_1: PlayerStep
    """Player 1's response."""


class FictitiousPlay(Stateful):
    """The learner: iterate over it to train; it can be saved between two steps."""

    saved = ("iteration", "rng", "learners", "pools", "distillations")

    def __init__(
        self,
        game: LanguageGame[Any],
        make_player: Callable[[int, int], PlayerLearner],
        options: FictitiousPlayOptions,
        *,
        seed: int,
        group_size: int = 1,
        folder: Path | None = None,
    ) -> None:
        """Make both players' starts, the first members of their mixtures.

        Args:
            game: the rules.
            make_player: (player, seed) -> a fresh learner for that seat.
            options: how many responses, and how good.
            seed: decides deals, tokens and minibatches, and the seeds that `make_player` is given.
            group_size: episodes that share their deal and all before the learner's first turn.
            folder: where the members are written; None: nowhere.
        """
        check_groups(options.batch_size, group_size)
        self.game, self.options, self.iteration, self.group_size = game, options, 0, group_size
        self.rng, self._seed, self._make_player = np.random.default_rng(seed), seed, make_player
        self.learners = self._fresh(0)
        self.pools = tuple(
            OpponentPool(learner.agent, folder=None if folder is None else folder / f"player_{player}")
            for player, learner in enumerate(self.learners)
        )
        """Of each player, all that it has been."""
        self.distillations = (
            tuple(Distillation(self._make_player(player, seed).agent, options.distillation) for player in PLAYERS)
            if options.distil
            else ()
        )
        """Of each player's mixture, the network that fits it."""
        self._join()

    def __iter__(self) -> Iterator[FictitiousPlayStep]:
        """Yield after each update of both responders."""
        per_round = self.options.updates_per_round
        while self.iteration < self.options.num_updates:
            if self.iteration % per_round == 0 and not self.options.warm_start:
                self.learners = self._fresh(self.iteration // per_round + 1)
            first, second = (self._respond(player) for player in PLAYERS)
            self.iteration += 1
            if self.iteration % per_round == 0:
                self._join()
            in_round = (self.iteration - 1) // per_round + 1
            yield FictitiousPlayStep(self.iteration, in_round, len(self.pools[0]), first, second)

    @property
    def seats(self) -> tuple[Seat, Seat]:
        """The newest responders."""
        return self.learners[0].agent, self.learners[1].agent

    @property
    def average(self) -> tuple[Population, Population]:
        """The mixtures: the result."""
        return self.pools[0].population(), self.pools[1].population()

    @property
    def distilled(self) -> tuple[CausalLMAgent, ...]:
        """The network that fits each mixture, a heuristic; none without `distil`."""
        return tuple(distillation.agent for distillation in self.distillations)

    def _fresh(self, round_number: int) -> tuple[PlayerLearner, PlayerLearner]:
        seed = derived_seed(self._seed, round_number)
        return self._make_player(0, seed), self._make_player(1, seed)

    def _respond(self, player: int) -> PlayerStep:
        step, _ = respond(
            self.learners[player],
            self.game,
            self.average[1 - player],
            self.rng,
            player=player,
            batch_size=self.options.batch_size,
            group_size=self.group_size,
            iteration=self.iteration + 1,
        )
        return step

    def _join(self) -> None:
        """Let both players as they are now join their mixtures, and teach the networks what they say."""
        agents, average = self.seats, self.average if self.iteration else self.seats
        against = [seated(agents[player], average[1 - player], player) for player in PLAYERS]
        for player, distillation in enumerate(self.distillations):
            played = rollout(self.game, against[player], self.options.batch_size, self.rng)
            distillation.hear(trajectories(played, player), self.rng)
            distillation.fit(self.rng)
        for pool, learner in zip(self.pools, self.learners, strict=True):
            pool.add(learner.agent, self.iteration)


def fictitious_play(config: FictitiousPlayConfig) -> Path:
    """Run or resume it; return the run's folder."""
    config = config.resolved()

    def make(game: LanguageGame[Any]) -> FictitiousPlay:
        return FictitiousPlay(
            game,
            config.make_player(game, num_planned=config.play.updates_a_learner),
            config.play,
            seed=config.seed,
            group_size=config.learner.replies_per_prompt,
            folder=config.out / "pool",
        )

    return train_two_players(config, make, num_steps=config.play.num_updates, write=write_distilled)


def write_distilled(run: Run, learner: TwoPlayerLearner) -> None:
    """Write the networks that fit the mixtures, if there are such, as model folders."""
    assert isinstance(learner, FictitiousPlay)
    leaves(**{f"distilled_{player}": agent for player, agent in enumerate(learner.distilled)})(run)
