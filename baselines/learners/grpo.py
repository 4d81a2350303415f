"""GRPO: PPO's clipped ratio with advantages from a group of replies to one prompt, and the KL in the loss.

Shao et al., *DeepSeekMath*, 2024, arXiv 2402.03300, equations 3 and 4: A = (R - mean) / (std + 1e-4) within a group,
the same for all tokens of a reply; kl_coef times the estimator k3 is added to the loss, token by token. Dr. GRPO (Liu
et al., 2025, arXiv 2503.20783) does not divide by the std and sums over a constant length: `dr_grpo`.

What it settles at, for replies of one token: k3's gradient is that of KL(ref, pi), so that without the std the policy
goes to kl_coef ref / (c - reward), c such that it sums to 1, and not to ref exp(reward / kl_coef), where RLOO goes;
with k2 it goes there too. A reply is part of its own group's mean, which shrinks the gain by (k - 1) / k in groups of k
and so acts like a larger kl_coef; the std does so by another factor, which differs from prompt to prompt.

Differs from the paper in: a reply is all that the player says in an episode, over several turns where there are such;
the std has the divisor n - 1, and a floor if asked for, `advantage_std_floor`, so that replies which fare alike but for
noise do not count as much as those which do not.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ..functional.advantages import grpo_advantages, prompt_groups
from ..functional.divergences import KLEstimator
from ..functional.policy_losses import Aggregation, clipped_surrogate, kl_loss
from ..rollouts.trajectories import Trajectories
from ..training.checks import Count, NotNegative
from .base import ClippedConfig, PolicyLearner
from .registry import register_learner


@dataclass(frozen=True, kw_only=True)
class GRPOConfig(ClippedConfig):
    """How one player learns by GRPO."""

    aggregation: Aggregation = "sequence_mean"
    """GRPO's mean within a reply, then over replies."""
    constant_length: Count | None = None
    """The constant of "constant_length", None for the others."""
    scale_by_std: bool = True
    """Whether advantages are divided by the std of their group; Dr. GRPO does not."""
    advantage_std_floor: NotNegative = 0.0
    """Where the std of a group is less, this takes its place, in payoffs; 0: the paper's formula."""
    kl_estimator: KLEstimator = "k3"
    """The estimator in the loss; its gradient is that of KL(ref, pi) with k3, of KL(pi, ref) with k2, 0 with k1."""


def dr_grpo(constant_length: int) -> GRPOConfig:
    """Return the options of Dr. GRPO; `constant_length` is the longest reply."""
    return GRPOConfig(scale_by_std=False, aggregation="constant_length", constant_length=constant_length)


@register_learner("grpo", config=GRPOConfig, replies_per_prompt=4)
class GRPOLearner(PolicyLearner[GRPOConfig]):
    """One player that learns by GRPO; it wants several replies to each prompt, see `rollout_in_groups`."""

    def advantages(self, batch: Trajectories, old: Tensor, ref: Tensor) -> Tensor:
        """Return each reply's return against the mean of its group; (B,)."""
        groups = prompt_groups(batch.tokens, batch.policy_token_mask, batch.players)
        config = self.config
        return grpo_advantages(
            batch.returns, groups, scale_by_std=config.scale_by_std, std_floor=config.advantage_std_floor
        )

    def loss(self, logprobs: Tensor, ratio: Tensor, advantages: Tensor, ref: Tensor, own: Tensor) -> Tensor:
        """Return the clipped loss and the charge for KL."""
        config = self.config
        gain = clipped_surrogate(ratio, advantages, own, clip_epsilon=config.clip_epsilon, **self.aggregated)
        charge = kl_loss(logprobs, ref, own, estimator=config.kl_estimator, **self.aggregated)
        return gain + config.kl_coef * charge
