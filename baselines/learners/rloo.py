"""RLOO: REINFORCE with the mean return of the other replies to the same prompt as baseline.

Ahmadian et al., *Back to Basics*, 2024, arXiv 2402.14740, section 3.2 (the estimator is that of Kool et al., 2019). The
action is the whole reply, and its return R is the game's minus kl_coef (log pi - log ref), summed over the reply.

Differs from the paper in: a reply is all that the player says in an episode, over several turns where there are such.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ..functional.advantages import prompt_groups, rloo_advantages
from ..functional.divergences import reply_kl_nats
from ..functional.policy_losses import policy_gradient_loss
from ..rollouts.trajectories import Trajectories
from .base import PolicyGradientConfig, PolicyLearner
from .registry import register_learner


@dataclass(frozen=True, kw_only=True)
class RLOOConfig(PolicyGradientConfig):
    """How one player learns by RLOO."""


@register_learner("rloo", config=RLOOConfig, replies_per_prompt=4)
class RLOOLearner(PolicyLearner[RLOOConfig]):
    """One player that learns by RLOO; it needs two replies or more to each prompt, see `rollout_in_groups`."""

    def advantages(self, batch: Trajectories, old: Tensor, ref: Tensor) -> Tensor:
        """Return each reply's return less its charge, against the other replies to its prompt; (B,)."""
        kl_nats = reply_kl_nats(old, ref, batch.policy_token_mask)
        groups = prompt_groups(batch.tokens, batch.policy_token_mask, batch.players)
        return rloo_advantages(batch.returns - self.config.kl_coef * kl_nats, groups)

    def loss(self, logprobs: Tensor, ratio: Tensor, advantages: Tensor, ref: Tensor, own: Tensor) -> Tensor:
        """Return the policy-gradient loss."""
        return policy_gradient_loss(logprobs, advantages, own, **self.aggregated)
