"""How far a player has moved from where it started: KL(now, start) of its own tokens, estimated from episodes."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ...agents.language_model.causal_lm import CausalLMAgent, evaluating
from ..rollouts.episodes import PlayedEpisode
from ..rollouts.trajectories import trajectories
from .intervals import Estimate, mean_interval


@torch.no_grad()
def kl_to_start(
    agent: CausalLMAgent, start: CausalLMAgent, played: Sequence[PlayedEpisode], player: int, *, batch_size: int = 256
) -> Estimate:
    """Return the mean over episodes of sum_own log pi(token) - log start(token), in nats, with its 95 % interval.

    The mean over episodes that `agent` itself played is the KL divergence of its part of an episode from what `start`
    would have said in its place: unbiased, and below 0 by chance only. Each model has its own temperature. An episode
    in which the player never spoke counts 0.

    Args:
        agent: the player as it is now.
        start: the model that it was trained from.
        played: episodes in which `agent` sat at `player`.
        player: its seat.
        batch_size: episodes at once.
    """
    speaking = [episode for episode in played if any(t.player == player and t.utterance.tokens for t in episode.turns)]
    if not speaking:
        raise ValueError(f"played: expected an episode in which player {player} speaks, got none")
    moved = [0.0] * (len(played) - len(speaking))
    for first in range(0, len(speaking), batch_size):
        batch = trajectories(speaking[first : first + batch_size], player).to(agent.model.device)
        given = batch.tokens, batch.attention_mask, batch.policy_token_mask, batch.legal_mask
        with evaluating(agent.model), evaluating(start.model):
            ratio = agent.evaluate(*given).logprobs - start.evaluate(*given).logprobs
        moved += ratio.double().sum(1).tolist()
    return mean_interval(moved)
