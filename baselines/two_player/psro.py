"""PSRO: populations that grow by learned best responses to a meta-strategy of the game among their members.

Lanctot et al., *A Unified Game-Theoretic Approach to Multiagent Reinforcement Learning*, NeurIPS 2017, arXiv
1711.00832, algorithm 1. A round trains one response of each player, by any policy learner, against the other's
meta-strategy: a mixture of which one member is drawn for each episode. The responses join, the new pairs are played,
and a meta-solver weighs the members by the estimated payoffs. With "nash" that is double oracle (McMahan, Gordon &
Blum, 2003), with "uniform" fictitious play. The result is the meta-strategies; the newest responses alone may be
beaten by anybody.

With exact responses and payoffs double oracle ends at an equilibrium of a zero-sum game. Here both are estimates. With
a tolerance, training stops once no response gains more, by the upper end of a 95 % interval over fresh episodes; a
poor response gains little anywhere, so that this bounds no best response. It is one look a round, not one in all.

Differs from the paper in: one response a player and round, both to the meta-strategies before it; responses are learned
on policy by a fresh player, made as the start was; the start is the first member; pairs play the same deals.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import tyro

from ...envs import LanguageGame, Payoff
from ...envs.game import PLAYERS
from ..learners.base import PlayerLearner
from ..learners.best_response import PlayerStep, respond
from ..rollouts.groups import check_groups
from ..solvers.meta_solvers import META_SOLVERS, MetaPolicies
from ..training.checks import Count, NotNegative, Options, Rows, check_choice
from ..training.presets import usual
from ..training.run import Run
from ..training.state import Stateful
from .empirical_game import EmpiricalGame, ResponseGains, response_gains
from .learner import Population, Seat, TwoPlayerLearner, derived_seed
from .opponents import OpponentPool
from .train import ResponsesConfig, train_two_players

MetaSolverName = Literal["uniform", "nash", "prd", "regret_matching", "alpha_rank"]


@dataclass(frozen=True, kw_only=True)
class PSROOptions(Options):
    """How many responses, how good, and how their payoffs are weighed."""

    num_updates: Count = 120
    """Updates of each player, over all its responses."""
    updates_per_response: Count = 6
    """Updates of a response; the last one has what is left."""
    batch_size: Rows = usual(128)
    """Episodes for one update."""
    meta_solver: MetaSolverName = "nash"
    """How members are weighed; "nash" is double oracle and needs a zero-sum game, "uniform" is fictitious play."""
    num_payoff_episodes: Rows = 128
    """Episodes of each pair of members; they come on top of those that are learned from."""
    num_gain_episodes: Rows = 256
    """Fresh episodes on which a round's responses are held against the meta-strategies, likewise on top."""
    tolerance: NotNegative | None = None
    """Stop once neither response gains more, by the upper ends of the 95 % intervals; None: use up all updates."""

    def __post_init__(self) -> None:
        """Check the numbers, and that there is such a meta-solver."""
        super().__post_init__()
        check_choice("meta_solver", self.meta_solver, tuple(META_SOLVERS))

    @property
    def updates_a_learner(self) -> int:
        """Updates of one learner, that is of a response; the last may have fewer."""
        return min(self.updates_per_response, self.num_updates)


@dataclass(frozen=True, kw_only=True)
class PSROConfig(ResponsesConfig):
    """Populations that grow by best responses to their meta-strategies."""

    algorithm: ClassVar[str] = "psro"
    length: ClassVar[str] = "play.num_updates"
    out: Path = Path("runs/psro")
    """The run's folder: members in `pool`, their payoffs and weights in `meta_game.json`, and the last responders."""
    play: Annotated[PSROOptions, tyro.conf.arg(name="")] = field(default_factory=PSROOptions)
    """How many responses, how good, and how their payoffs are weighed."""


@dataclass(frozen=True, slots=True)
class PSROStep:
    """What one update of each player reports."""

    iteration: int
    """Updates of each player so far."""
    round: int
    """The round it belongs to, from 1."""
    num_members: int
    """Members of each population after it, the start included."""
    player_0: PlayerStep
    """Player 0's response to player 1's meta-strategy."""
    player_1: PlayerStep
    """Player 1's response."""
    gains: ResponseGains | None
    """Of finished responses over the meta-strategies, on fresh episodes; None within a round."""
    converged: bool
    """Whether neither gained more than the tolerance: they do not join, and training ends."""
    num_training_episodes: int
    """Episodes that were learned from so far."""
    num_payoff_episodes: int
    """Episodes that the payoffs were estimated on so far."""
    num_gain_episodes: int
    """Episodes that the gains were estimated on so far."""


class PSRO(Stateful):
    """The learner: iterate over it to train; it can be saved between two steps."""

    saved = ("iteration", "converged", "rng", "learners", "pools", "meta_game", "_meta_policies", "_num_gain_episodes")

    def __init__(
        self,
        game: LanguageGame[Any],
        make_player: Callable[[int, int], PlayerLearner],
        options: PSROOptions,
        *,
        seed: int,
        group_size: int = 1,
        folder: Path | None = None,
    ) -> None:
        """Make both players' starts, the first members of their populations.

        Args:
            game: the rules.
            make_player: (player, seed) -> a fresh learner for that seat.
            options: how many responses, how good, and how their payoffs are weighed.
            seed: decides deals, tokens and minibatches, and the seeds that `make_player` is given.
            group_size: episodes that share their deal and all before the learner's first turn.
            folder: where the members are written; None: nowhere.

        Raises:
            ValueError: no whole groups, or "nash" and a game that is not zero-sum.
        """
        check_groups(options.batch_size, group_size)
        if options.meta_solver == "nash" and game.payoff != Payoff.ZERO_SUM:
            others = ", ".join(name for name in META_SOLVERS if name != "nash")
            raise ValueError(
                f"meta_solver: 'nash' needs a zero-sum game, got {type(game).__name__}; any game takes {others} "
                f"(--meta-solver prd)"
            )
        self.game, self.options, self.iteration, self.group_size = game, options, 0, group_size
        self.rng, self._seed, self._make_player = np.random.default_rng(seed), seed, make_player
        self.converged = False
        """Whether the newest responses gained no more than the tolerance."""
        self.learners = self._fresh(0)
        self.pools = tuple(
            OpponentPool(learner.agent, folder=None if folder is None else folder / f"player_{player}")
            for player, learner in enumerate(self.learners)
        )
        """Of each player, all its members."""
        self.meta_game = EmpiricalGame(game, num_episodes=options.num_payoff_episodes, seed=self._play_seed())
        """What the members earn against each other."""
        self._num_gain_episodes = 0
        self._join()

    def __iter__(self) -> Iterator[PSROStep]:
        """Yield after each update of both responders."""
        options = self.options
        while self.iteration < options.num_updates and not self.converged:
            if self.iteration % options.updates_per_response == 0:
                self.learners = self._fresh(self.iteration // options.updates_per_response + 1)
            first, second = (self._respond(player) for player in PLAYERS)
            self.iteration += 1
            gains = None
            if self.iteration % options.updates_per_response == 0 or self.iteration == options.num_updates:
                gains = self._gains()
                self.converged = options.tolerance is not None and gains.at_most(options.tolerance)
                if not self.converged:
                    self._join()
            yield self._report(first, second, gains)

    @property
    def seats(self) -> tuple[Seat, Seat]:
        """The newest responses."""
        return self.learners[0].agent, self.learners[1].agent

    @property
    def average(self) -> tuple[Population, Population]:
        """The meta-strategies: the result."""
        first, second = (
            Population(pool.members, tuple(weights.tolist()))
            for pool, weights in zip(self.pools, self.meta_policies, strict=True)
        )
        return first, second

    @property
    def meta_policies(self) -> MetaPolicies:
        """Both players' weights of their members."""
        return self._meta_policies

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

    def _gains(self) -> ResponseGains:
        num_episodes = self.options.num_gain_episodes
        self._num_gain_episodes += 3 * num_episodes
        return response_gains(self.game, self.average, self.seats, num_episodes, self._play_seed())

    def _play_seed(self) -> int:
        """Return the seed of play that nobody learns from: of the payoffs at iteration 0, later of the gains."""
        return int(np.random.SeedSequence([self._seed, self.iteration]).generate_state(1)[0])

    def _join(self) -> None:
        """Let both responses join, play the new pairs and weigh all members anew."""
        for pool, learner in zip(self.pools, self.learners, strict=True):
            pool.add(learner.agent, self.iteration)
        self.meta_game.extend(self.pools[0].members, self.pools[1].members)
        self._weigh()

    def _weigh(self) -> None:
        payoffs = self.meta_game.returns
        from_zero = payoffs - payoffs.min(axis=(1, 2), keepdims=True)  # in PRD rounding grows where payoffs are below 0
        self._meta_policies = META_SOLVERS[self.options.meta_solver](from_zero)

    def _report(self, first: PlayerStep, second: PlayerStep, gains: ResponseGains | None) -> PSROStep:
        return PSROStep(
            iteration=self.iteration,
            round=(self.iteration - 1) // self.options.updates_per_response + 1,
            num_members=len(self.pools[0]),
            player_0=first,
            player_1=second,
            gains=gains,
            converged=self.converged,
            num_training_episodes=2 * self.iteration * self.options.batch_size,
            num_payoff_episodes=self.meta_game.num_episodes_played,
            num_gain_episodes=self._num_gain_episodes,
        )


def train_psro(config: PSROConfig) -> Path:
    """Run or resume it; return the run's folder."""
    config = config.resolved()

    def make(game: LanguageGame[Any]) -> PSRO:
        return PSRO(
            game,
            config.make_player(game, num_planned=config.play.updates_a_learner),
            config.play,
            seed=config.seed,
            group_size=config.learner.replies_per_prompt,
            folder=config.out / "pool",
        )

    return train_two_players(config, make, num_steps=config.play.num_updates, write=write_meta_game)


def write_meta_game(run: Run, learner: TwoPlayerLearner) -> None:
    """Write what the members are, earn and weigh."""
    assert isinstance(learner, PSRO)
    run.write_json(
        "meta_game.json",
        {
            "members": [pool.iterations for pool in learner.pools],
            "weights": list(learner.meta_policies),
            "returns": learner.meta_game.returns,
            "half_widths": learner.meta_game.half_widths,
            "num_episodes": learner.meta_game.num_episodes,
        },
    )
