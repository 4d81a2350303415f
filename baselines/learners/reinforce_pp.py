"""REINFORCE++: the KL in the reward, advantages normalised over the whole batch, PPO's clipped ratio.

Hu et al., *REINFORCE++*, arXiv 2501.03262, section 3: every own token is charged kl_coef (log pi - log ref), its
advantage is the sum of its own and later rewards, shifted and scaled to mean 0 and standard deviation 1 over all own
tokens of the *global* batch; no critic, and no group is needed. The baseline form, "REINFORCE++-baseline" there,
subtracts the mean return of the replies to the same prompt before that.

Differs from the paper in: the baseline form keeps the charge in the reward; the standard deviation has a floor
if asked for, `advantage_std_floor`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..functional.advantages import group_mean_returns, prompt_groups, rewards_to_go, shaped_token_rewards
from ..functional.masking import masked_whiten
from ..functional.policy_losses import Aggregation, clipped_surrogate
from ..rollouts.trajectories import Trajectories
from ..training.checks import Count, NotNegative
from .base import ClippedConfig, PolicyLearner
from .registry import register_learner


@dataclass(frozen=True, kw_only=True)
class ReinforcePPConfig(ClippedConfig):
    """How one player learns by REINFORCE++."""

    aggregation: Aggregation = "token_mean"
    """The mean over all own tokens of the batch."""
    constant_length: Count | None = None
    """The constant of "constant_length", None for the others."""
    subtract_group_mean: bool = False
    """Whether the mean return of the replies to the same prompt is subtracted first: the baseline form."""
    advantage_std_floor: NotNegative = 0.0
    """Where the std of the batch's advantages is less, this takes its place, in payoffs; 0: the paper's formula."""


@register_learner("reinforce_pp", config=ReinforcePPConfig)
class ReinforcePPLearner(PolicyLearner[ReinforcePPConfig]):
    """One player that learns by REINFORCE++."""

    def advantages(self, batch: Trajectories, old: Tensor, ref: Tensor) -> Tensor:
        """Return the advantage of each own token, normalised over the whole batch; (B, T)."""
        own = batch.policy_token_mask
        rewards = shaped_token_rewards(batch.rewards, old, ref, own, kl_coef=self.config.kl_coef)
        advantages = rewards_to_go(rewards, own)
        if self.config.subtract_group_mean:
            means = group_mean_returns(batch.returns, prompt_groups(batch.tokens, own, batch.players))
            advantages = torch.where(own, advantages - means[:, None], 0.0)
        return masked_whiten(advantages, own, std_floor=self.config.advantage_std_floor)

    def loss(self, logprobs: Tensor, ratio: Tensor, advantages: Tensor, ref: Tensor, own: Tensor) -> Tensor:
        """Return the clipped loss."""
        return clipped_surrogate(ratio, advantages, own, clip_epsilon=self.config.clip_epsilon, **self.aggregated)
