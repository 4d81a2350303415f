"""Self-play: both players learn at once, from games against each other or against earlier selves.

One policy sits in both seats (its view tells it the role) or each seat has a policy of its own, with one critic for
both if asked. Against the opponent as it is now this is naive self-play, whose last iterate need not converge: where an
equilibrium must mix, it circles. (A charge for KL to the start holds it to the regularised equilibrium, by exact steps
that are small enough; sampled ones of a constant size keep circling.) `OpponentOptions` name the remedies;
role-conditioned advantages are those of SPIRAL
(B. Liu et al., 2025, arXiv 2506.24119).

Differs from SPIRAL in: any learner takes the place of REINFORCE. The role's baseline is subtracted from the return,
which every learner reads, so that PPO's critic learns what is left; returns are not discounted by turns.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Protocol, runtime_checkable

import numpy as np
import tyro
from transformers import PreTrainedModel

from ...agents.loading import load_agent
from ...envs import LanguageGame
from ...envs.game import PLAYERS
from ..functional.role_advantages import RoleBaseline
from ..learners.base import PlayerLearner
from ..learners.best_response import PlayerStep, player_step, seated
from ..learners.shared_critic import SharedCritic
from ..rollouts.episodes import PlayedEpisode, rollout
from ..rollouts.groups import check_groups, rollout_in_groups
from ..rollouts.trajectories import Trajectories, joined, trajectories
from ..training.checks import Count, Options, Rows, ShareBelowOne
from ..training.presets import usual
from ..training.run import Config
from ..training.state import Stateful
from .learner import Seat
from .opponents import OpponentOptions, Opponents, ema_update
from .train import LearnersConfig, train_two_players


@dataclass(frozen=True, kw_only=True)
class SelfPlayOptions(Options):
    """How long, and against whom."""

    num_updates: Count = 120
    """Updates of each player."""
    batch_size: Rows = usual(128)
    """Episodes for one update of a player."""
    opponents: Annotated[OpponentOptions, tyro.conf.arg(name="opponent")] = field(default_factory=OpponentOptions)
    """Whom a player learns against."""
    role_advantages: bool = False
    """Whether a running mean of each role's returns is subtracted (SPIRAL)."""
    role_baseline_decay: ShareBelowOne = 0.95
    """What stays of that mean when one more return is mixed in."""
    reference: Literal["start", "ema"] = "start"
    """What KL is measured to: each player's start, or the exponential average of its parameters, a heuristic."""


@dataclass(frozen=True, kw_only=True)
class SelfPlayConfig(LearnersConfig):
    """Both players learn at once, from each other or from earlier selves."""

    algorithm: ClassVar[str] = "self_play"
    length: ClassVar[str] = "play.num_updates"
    out: Path = Path("runs/self_play")
    """The run's folder; the models are in its folders `player_0` and `player_1`."""
    play: Annotated[SelfPlayOptions, tyro.conf.arg(name="")] = field(default_factory=SelfPlayOptions)
    """How long, and against whom."""
    one_policy: bool = False
    """Whether one model, player 0's, sits in both seats."""
    shared_critic: bool = False
    """Whether two policies have one critic, with a backbone of its own that starts as player 0's; for PPO."""
    opponent_0: str | None = None
    """Who sits at player 0 while player 1 learns: random, echo, or the folder of a language model or of an SB3 policy,
    which does not learn; None: player 0 by `--opponent.choice`."""
    opponent_1: str | None = None
    """Who sits at player 1 while player 0 learns, likewise."""

    def __post_init__(self) -> None:
        """Check that there is a critic to be shared."""
        super().__post_init__()
        if self.one_policy and self.shared_critic:
            raise ValueError("shared_critic: expected two policies, got --one-policy, whose critic both roles share")


@dataclass(frozen=True, slots=True)
class SelfPlayStep:
    """What one update of each player reports."""

    iteration: int
    """Updates of each player so far."""
    player_0: PlayerStep
    """Of the episodes that player 0 learned from; one policy in both seats reports one update twice."""
    player_1: PlayerStep
    """The same of player 1."""


@runtime_checkable
class HeldToReference(Protocol):
    """A learner whose KL is measured to a model that can be moved."""

    ref_model: PreTrainedModel

    def move_reference(self) -> None:
        """Give the reference weights of its own."""
        ...


class SelfPlay(Stateful):
    """The learner: iterate over it to train; it can be saved between two steps."""

    saved = ("iteration", "rng", "learners", "opponents", "_baseline")

    average: tuple[Seat, Seat] | None = None
    """Self-play keeps none; whoever wants one averages its iterates."""

    def __init__(
        self,
        game: LanguageGame[Any],
        learners: Sequence[PlayerLearner],
        options: SelfPlayOptions,
        *,
        seed: int,
        group_size: int = 1,
        folder: Path | None = None,
        fixed: tuple[Seat | None, Seat | None] = (None, None),
    ) -> None:
        """Take one learner for both seats, or one for each.

        Args:
            game: the rules.
            learners: one or two; two must not share an agent.
            options: how long, and against whom.
            seed: decides deals, tokens and minibatches.
            group_size: episodes that share their deal and all before the learner's first turn.
            folder: where snapshots of past selves are written; None: nowhere.
            fixed: who sits at player 0 and at player 1 while the other learns, any agents; None: by the options.

        Raises:
            ValueError: another number of learners, no whole groups, or a reference that a learner does not have.
        """
        if len(learners) not in (1, 2):
            raise ValueError(f"learners: expected one for both seats or one for each, got {len(learners)}")
        moved = options.reference == "ema"
        if moved and not all(isinstance(learner, HeldToReference) for learner in learners):
            raise ValueError(f"reference: expected learners with a ref_model to average, got {learners}")
        for learner in learners if moved else ():
            assert isinstance(learner, HeldToReference)
            learner.move_reference()
        check_groups(options.batch_size, group_size)
        self.game, self.learners, self.options, self.iteration = game, tuple(learners), options, 0
        self.group_size, self.fixed = group_size, fixed
        self.rng = np.random.default_rng(seed)
        self.opponents = tuple(
            Opponents(learner.agent, options.opponents, folder=None if folder is None else folder / f"player_{k}")
            for k, learner in enumerate(self.learners)
        )
        """Of each learner, whom the others meet in its place."""
        self._baseline = RoleBaseline(decay=options.role_baseline_decay)
        self.last_played: tuple[list[PlayedEpisode], list[PlayedEpisode]] = [], []
        """The latest batch that each player learned from."""

    def __iter__(self) -> Iterator[SelfPlayStep]:
        """Yield after each update of both players."""
        while self.iteration < self.options.num_updates:
            self.last_played = self._play()
            batches = [trajectories(self.last_played[player], player) for player in PLAYERS]
            updates = self._update([self._scored(batches[player], player) for player in PLAYERS])
            self.iteration += 1
            self._follow()
            first, second = (
                player_step(
                    batches[player],
                    self.last_played[player],
                    updates[player],
                    player=player,
                    iteration=self.iteration,
                )
                for player in PLAYERS
            )
            yield SelfPlayStep(self.iteration, first, second)

    @property
    def seats(self) -> tuple[Seat, Seat]:
        """The newest players."""
        return self.learners[0].agent, self.learners[-1].agent

    def _play(self) -> tuple[list[PlayedEpisode], list[PlayedEpisode]]:
        """Play what each player learns from; against the newest opponent the same episodes serve both."""
        if self.options.opponents.choice == "latest" and self.group_size == 1 and self.fixed == (None, None):
            played = rollout(self.game, self.seats, self.options.batch_size, self.rng)
            return played, played
        return self._play_as(0), self._play_as(1)

    def _play_as(self, player: int) -> list[PlayedEpisode]:
        opponents, learner = self.opponents[(1 - player) % len(self.opponents)], self.seats[player]
        fixed = self.fixed[1 - player]
        opposite = opponents.seat if fixed is None else fixed
        played = rollout_in_groups(
            self.game,
            seated(learner, opposite, player),
            self.options.batch_size,
            self.rng,
            player=player,
            group_size=self.group_size,
        )
        if fixed is None:
            opponents.record(played, seat=1 - player)
        return played

    def _scored(self, batch: Trajectories, player: int) -> Trajectories:
        """Return a batch with the role's baseline subtracted from each return, if it is asked for."""
        if not self.options.role_advantages:
            return batch
        name = type(self.game).__name__
        shift = self._baseline.advantages(batch.returns, game=name, player=player) - batch.returns
        return batch.with_bonus(shift.double().numpy())

    def _update(self, batches: Sequence[Trajectories]) -> list[Config]:
        """Let each learner learn; one policy in both seats learns from both parts at once."""
        if len(self.learners) == 1:
            return [self.learners[0].update(joined(*batches), self.rng)] * 2
        return [learner.update(batch, self.rng) for learner, batch in zip(self.learners, batches, strict=True)]

    def _follow(self) -> None:
        for learner, opponents in zip(self.learners, self.opponents, strict=True):
            opponents.follow(self.iteration)
            if self.options.reference == "ema":
                assert isinstance(learner, HeldToReference)
                ema_update(learner.ref_model, learner.agent.model, decay=self.options.opponents.ema_decay)


def make_self_play(game: LanguageGame[Any], config: SelfPlayConfig) -> SelfPlay:
    """Return the learner, its players loaded or made."""
    agents = [config.start(game, player, config.seed) for player in PLAYERS[: 1 if config.one_policy else 2]]
    critic = SharedCritic(agents[0].model) if config.shared_critic else None

    def load(spec: str | None, player: int) -> Seat | None:
        if spec is None:
            return None
        vocabulary = game.vocabularies[player]
        return load_agent(spec, vocabulary, game=config.options.game, max_view_tokens=game.max_view_tokens)

    learners = [
        config.learner.make(
            agent,
            num_planned=config.play.num_updates,
            critic=critic,
            ptx=config.learner.ptx(game, None if config.one_policy else player, config.seed),
        )
        for player, agent in enumerate(agents)
    ]
    return SelfPlay(
        game,
        learners,
        config.play,
        seed=config.seed,
        group_size=config.learner.replies_per_prompt,
        folder=config.out / "pool",
        fixed=(load(config.opponent_0, 0), load(config.opponent_1, 1)),
    )


def self_play(config: SelfPlayConfig) -> Path:
    """Run or resume it; return the run's folder."""
    config = config.resolved()
    return train_two_players(config, lambda game: make_self_play(game, config), num_steps=config.play.num_updates)
