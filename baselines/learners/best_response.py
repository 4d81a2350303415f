"""One player learns against an opponent that does not: the best response of arXiv 2402.08078, equation (5)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from ...envs import LanguageGame, Speaker
from ..rollouts.episodes import PlayedEpisode
from ..rollouts.groups import rollout_in_groups
from ..rollouts.trajectories import trajectories
from ..training.loop import recorded
from ..training.options import save_model
from ..training.run import Config, Run
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


class BestResponse:
    """Trains one player against a fixed opponent: RLHF for player 1, an attacker for player 0."""

    def __init__(
        self,
        game: LanguageGame[Any],
        learner: PlayerLearner,
        opponent: Speaker,
        *,
        player: int,
        batch_size: int,
        num_steps: int,
        seed: int,
        group_size: int = 1,
    ) -> None:
        """Seat the learner at `player` and the opponent opposite; `group_size` replies are given to each prompt."""
        if batch_size < 1 or group_size < 1 or batch_size % group_size:
            raise ValueError(f"batch_size: expected whole groups of {group_size}, at least one, got {batch_size}")
        self.game, self.learner, self.player = game, learner, player
        self.agents = (learner.agent, opponent) if player == 0 else (opponent, learner.agent)
        self.batch_size, self.num_steps, self.iteration = batch_size, num_steps, 0
        self.group_size = group_size
        self.rng = np.random.default_rng(seed)
        self.last_played: list[PlayedEpisode] = []
        """The latest batch of episodes."""

    def __iter__(self) -> Iterator[PlayerStep]:
        """Yield after each update."""
        while self.iteration < self.num_steps:
            played = self._play()
            batch = trajectories(played, self.player)
            update = self.learner.update(batch, self.rng)
            self.iteration += 1
            self.last_played = played
            forfeits = float(np.mean([one.forfeited_by(self.player) for one in played]))
            yield PlayerStep(self.iteration, float(batch.returns.mean()), forfeits, batch.num_policy_tokens, update)

    def _play(self) -> list[PlayedEpisode]:
        return rollout_in_groups(
            self.game, self.agents, self.batch_size, self.rng, player=self.player, group_size=self.group_size
        )

    def state_dict(self) -> dict[str, Any]:
        """Return all that the next step depends on."""
        return {
            "iteration": self.iteration,
            "rng": self.rng.bit_generator.state,
            "learner": self.learner.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a saved state."""
        self.iteration = state["iteration"]
        self.rng.bit_generator.state = state["rng"]
        self.learner.load_state_dict(state["learner"])


def run_best_response(best_response: BestResponse, run: Run, *, save_every: int) -> None:
    """Train to the end from wherever the run was left; write its last transcripts and the model."""
    num_steps = best_response.num_steps
    for step in recorded(best_response, run, num_steps=num_steps, save_every=save_every):
        if step.iteration == num_steps:
            write_transcripts(run, step.iteration, best_response.last_played)
    run.write_folder("model", partial(save_model, best_response.learner.agent))
    run.finish()


def write_transcripts(run: Run, iteration: int, played: Sequence[PlayedEpisode], *, num_shown: int = 16) -> None:
    """Write the first episodes of a batch as readable text."""
    text = "\n\n".join(one.episode.transcript() for one in played[:num_shown])
    run.write_text(f"transcripts/{iteration:05d}.txt", f"{text}\n")
