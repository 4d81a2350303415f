"""RLHF: policy learning of the defender on static prompts, by PPO the baseline that GPO is compared with.

Stage three of the pipeline in arXiv 2402.08078, section 4.4: policy learning of player two against a player one that
does not move. Player 0 says its seed request as it stands, so the prompts are the game's deals.

Differs from the paper in: the reward is the game's judge; a reward model is one when the game is given it. Besides PPO
the learner can be REINFORCE, RLOO, GRPO, REINFORCE++, or DPO and IPO on fresh pairs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro

from ..agents import EchoAgent
from ..envs import LanguageGame, Speaker
from .players import LearnerOptions
from .policy_gradient_learner import PlayerLearner, rollout_in_groups
from .ppo import PPOConfig
from .rollout import PlayedEpisode, trajectories
from .run import Config, Run
from .setup import GameOptions, TrainedDType, load_model, preamble_of, recorded, save_model, use_threads
from .sft import sft_model

DEFENDER_PPO = PPOConfig(learning_rate=2e-3)
"""How a micro defender learns, in RLHF and in GPO alike."""


@dataclass(frozen=True, kw_only=True)
class RLHFConfig(LearnerOptions):
    """Policy learning of the defender on the prompts that the game deals."""

    options: Annotated[GameOptions, tyro.conf.arg(name="")] = field(default_factory=GameOptions)
    defender: Path | None = None
    """The model to start from; None: the micro defender, trained first in `out`."""
    out: Path = Path("runs/rlhf")
    """The run's folder; the model is in its folder `model`."""
    seed: int = 0
    """Decides deals, sampled tokens and minibatches."""
    num_steps: int = 120
    """Batches, each followed by one update; as many as GPO's defender takes."""
    batch_size: int = 192
    """Episodes in a batch."""
    ppo: PPOConfig = DEFENDER_PPO
    """Options of PPO."""
    save_every: int = 20
    """Steps between two saved states."""
    num_threads: int = 0
    """Threads of torch; 0: its default."""
    device: str = "cpu"
    """Where the model is."""
    dtype: TrainedDType = "float32"
    """The precision of the weights; bfloat16 halves their memory and rounds away the smallest updates."""


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


def rlhf(config: RLHFConfig) -> Path:
    """Run or resume it; return the defender's folder."""
    use_threads(config.num_threads)
    with Run.open(config.out, config, name="rlhf") as run:
        if not run.finished:
            start = sft_model(config.defender, config.options, config.out, config.seed)
            game = config.options.build(start, split="train")
            agent = load_model(start, game, device=config.device, dtype=config.dtype)
            best_response = BestResponse(
                game,
                config.make(agent, num_planned=config.num_steps),
                EchoAgent(skip=preamble_of(game)),
                player=1,
                batch_size=config.batch_size,
                num_steps=config.num_steps,
                seed=config.seed,
                group_size=config.replies_per_prompt,
            )
            run_best_response(best_response, run, save_every=config.save_every)
    return config.out / "model"


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


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    print(f"defender: {rlhf(tyro.cli(RLHFConfig, args=argv, prog='duologue train rlhf', description=__doc__))}")


if __name__ == "__main__":
    main()
