"""REINFORCE++: the KL in the reward, advantages normalised over the whole batch, PPO's clipped ratio.

Hu et al., *REINFORCE++*, arXiv 2501.03262, section 3: every own token is charged kl_coef (log pi - log ref), its
advantage is the sum of its own and later rewards, shifted and scaled to mean 0 and standard deviation 1 over all own
tokens of the *global* batch; no critic, and no group is needed. The baseline form, "REINFORCE++-baseline" there,
subtracts the mean return of the replies to the same prompt before that.

Differs from the paper in: the baseline form keeps the charge in the reward.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...agents.language_model.causal_lm import CausalLMAgent
from ..functional.advantages import group_mean_returns, prompt_groups, rewards_to_go, shaped_token_rewards
from ..functional.divergences import reply_kl_nats
from ..functional.masking import masked_mean, masked_whiten
from ..functional.policy_losses import Aggregation, clip_fraction, clipped_surrogate, probability_ratio
from ..rollouts.trajectories import Trajectories
from .base import ClippedConfig, PolicyGradientUpdate, TrainedModel, mean_update


@dataclass(frozen=True, kw_only=True)
class ReinforcePPConfig(ClippedConfig):
    """How one player learns by REINFORCE++."""

    aggregation: Aggregation = "token_mean"
    """The mean over all own tokens of the batch."""
    constant_length: int | None = None
    """The constant of "constant_length", None for the others."""
    subtract_group_mean: bool = False
    """Whether the mean return of the replies to the same prompt is subtracted first: the baseline form."""


class ReinforcePPLearner:
    """One player that learns by REINFORCE++."""

    def __init__(self, agent: CausalLMAgent, config: ReinforcePPConfig, *, num_planned: int | None = None) -> None:
        """Take the agent to train in place; the learning rate falls over `num_planned` updates, None: it stays."""
        self.agent, self.config = agent, config
        self.trained = TrainedModel(agent, config, num_planned=num_planned)
        self.ref_model = self.trained.ref_model

    def update(self, batch: Trajectories, rng: np.random.Generator) -> PolicyGradientUpdate:
        """Take `num_epochs` passes over a batch of fresh trajectories; `rng` orders the minibatches."""
        config, trained, steps = self.config, self.trained, []
        batch = batch.to(self.agent.model.device)
        with trained.updating():
            old, ref = trained.frozen_logprobs(batch)
            advantages = self.advantages(batch, old, ref)
            for rows in [rows for _ in range(config.num_epochs) for rows in trained.minibatches(len(batch), rng)]:
                part = batch.select(rows)
                own, width = part.policy_token_mask, part.tokens.shape[1]
                said = trained.evaluate(part)
                ratio = probability_ratio(said.logprobs, old[rows, :width], own)
                loss = clipped_surrogate(
                    ratio,
                    advantages[rows, :width],
                    own,
                    clip_epsilon=config.clip_epsilon,
                    aggregation=config.aggregation,
                    constant_length=config.constant_length,
                )
                trained.descend(loss)
                clipped = clip_fraction(ratio, own, clip_epsilon=config.clip_epsilon)
                steps.append((loss, masked_mean(said.entropies, own), clipped))
        return mean_update(steps, reply_kl_nats(old, ref, batch.policy_token_mask))

    def advantages(self, batch: Trajectories, logprobs: Tensor, ref_logprobs: Tensor) -> Tensor:
        """Return the advantage of each own token, normalised over the whole batch; (B, T)."""
        own = batch.policy_token_mask
        rewards = shaped_token_rewards(batch.rewards, logprobs, ref_logprobs, own, kl_coef=self.config.kl_coef)
        advantages = rewards_to_go(rewards, own)
        if self.config.subtract_group_mean:
            means = group_mean_returns(batch.returns, prompt_groups(batch.tokens, own, batch.players))
            advantages = torch.where(own, advantages - means[:, None], 0.0)
        return masked_whiten(advantages, own)

    def state_dict(self) -> dict[str, Any]:
        """Return all that the next update depends on, the frozen reference included."""
        return {"trained": self.trained.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a saved state."""
        self.trained.load_state_dict(state["trained"])
