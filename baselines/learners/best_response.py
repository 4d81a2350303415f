"""One player learns against an opponent that does not: the best response of arXiv 2402.08078, equation (5)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...agents.population import Seat
from ...envs import LanguageGame
from ..rollouts.episodes import PlayedEpisode, cut_share
from ..rollouts.groups import check_groups, rollout_in_groups
from ..rollouts.trajectories import Trajectories, trajectories
from ..training.costs import meter_of
from ..training.loop import Training
from ..training.options import leaves
from ..training.run import Config
from ..training.state import Stateful
from ..training.watchers import Transcripts
from .base import PlayerLearner


@dataclass(frozen=True, slots=True)
class PlayerStep:
    """What one batch of episodes and one update of one player report."""

    iteration: int
    """Batches so far."""
    mean_return: float
    """Mean return of an episode to the player that learns, bonuses and KL charges apart."""
    forfeit_rate: float
    """Share of episodes, 0 to 1, that it lost by an utterance that was no legal turn."""
    num_policy_tokens: int
    """Its own tokens in the batch."""
    update: Config
    """The update's own numbers, a record of the learner's."""
    cut_share: float
    """Share of its turns, 0 to 1, that were left free and cut at their limit."""


def respond(
    learner: PlayerLearner,
    game: LanguageGame[Any],
    opponent: Seat,
    rng: np.random.Generator,
    *,
    player: int,
    batch_size: int,
    group_size: int = 1,
    iteration: int,
) -> tuple[PlayerStep, list[PlayedEpisode]]:
    """Play a batch of episodes against an opponent, learn from it, and report: one step towards a best response.

    Args:
        learner: whoever learns.
        game: the rules.
        opponent: who sits opposite, an agent or a population.
        rng: the source of all luck.
        player: the learner's seat.
        batch_size: episodes.
        group_size: episodes that share their deal and all before the learner's first turn.
        iteration: the number of the step, for the report.
    """
    seats = seated(learner.agent, opponent, player)
    played = rollout_in_groups(game, seats, batch_size, rng, player=player, group_size=group_size)
    return learn_from(learner, played, rng, player=player, iteration=iteration), played


def learn_from(
    learner: PlayerLearner, played: Sequence[PlayedEpisode], rng: np.random.Generator, *, player: int, iteration: int
) -> PlayerStep:
    """Let a learner update on what it did in finished episodes, and report."""
    batch = trajectories(played, player)
    return player_step(batch, played, learner.update(batch, rng), player=player, iteration=iteration)


def player_step(
    batch: Trajectories, played: Sequence[PlayedEpisode], update: Config, *, player: int, iteration: int
) -> PlayerStep:
    """Return the report on one batch and what was learned from it."""
    forfeits = float(np.mean([episode.forfeited_by(player) for episode in played]))
    cut, mean_return = cut_share(played, player), float(batch.returns.mean())
    return PlayerStep(iteration, mean_return, forfeits, batch.num_policy_tokens, update, cut)


def seated(agent: Seat, opponent: Seat, player: int) -> tuple[Seat, Seat]:
    """Return both seats, the agent's at `player`."""
    return (agent, opponent) if player == 0 else (opponent, agent)


class BestResponse(Stateful):
    """Trains one player against a fixed opponent: RLHF for player 1, an attacker for player 0."""

    saved = ("iteration", "rng", "learner")

    def __init__(
        self,
        game: LanguageGame[Any],
        learner: PlayerLearner,
        opponent: Seat,
        *,
        player: int,
        batch_size: int,
        num_steps: int,
        seed: int,
        group_size: int = 1,
    ) -> None:
        """Seat the learner at `player` and the opponent opposite; `group_size` replies are given to each prompt."""
        check_groups(batch_size, group_size)
        self.game, self.learner, self.opponent, self.player = game, learner, opponent, player
        self.batch_size, self.num_steps, self.iteration = batch_size, num_steps, 0
        self.group_size = group_size
        self.rng = np.random.default_rng(seed)
        self.last_played: list[PlayedEpisode] = []
        """The latest batch of episodes."""

    def __iter__(self) -> Iterator[PlayerStep]:
        """Yield after each update."""
        while self.iteration < self.num_steps:
            step, self.last_played = respond(
                self.learner,
                self.game,
                self.opponent,
                self.rng,
                player=self.player,
                batch_size=self.batch_size,
                group_size=self.group_size,
                iteration=self.iteration + 1,
            )
            self.iteration += 1
            yield step

    def training(self) -> Training:
        """Return what a run of it trains: the learner, its last transcripts, and the model that it leaves."""
        meter, transcripts = meter_of(self.game), Transcripts(lambda: self.last_played, self.num_steps)
        watch = [transcripts] if meter is None else [meter, transcripts]
        return Training(learner=self, num_steps=self.num_steps, watch=watch, write=leaves(model=self.learner.agent))
