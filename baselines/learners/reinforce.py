"""REINFORCE with a baseline: the policy gradient of fresh rollouts, equation 9 of arXiv 2402.08078.

Williams, *Simple statistical gradient-following algorithms*, 1992. An action is a token; every own token is charged
kl_coef (log pi - log ref), and what it is credited with is the sum of its own and later rewards, less a baseline.

Differs from the paper in: the baseline is a running mean of past returns, one number for each learner; for one policy
in both seats the roles' own baselines are those of `self_play`, subtracted before. A batch is scored against the mean
of *earlier* batches, so that no return is its own baseline.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ...agents.language_model.causal_lm import CausalLMAgent
from ..functional.advantages import rewards_to_go, shaped_token_rewards
from ..functional.policy_losses import policy_gradient_loss
from ..rollouts.trajectories import Trajectories
from ..training.checks import ShareBelowOne
from .base import PolicyGradientConfig, PolicyLearner
from .ptx import PretrainingData
from .registry import register_learner


@dataclass(frozen=True, kw_only=True)
class ReinforceConfig(PolicyGradientConfig):
    """How one player learns by REINFORCE."""

    baseline_decay: ShareBelowOne = 0.8
    """Share of the baseline, 0 to 1, that stays when a batch's mean return is mixed in."""


@register_learner("reinforce", config=ReinforceConfig)
class ReinforceLearner(PolicyLearner[ReinforceConfig]):
    """One player that learns by REINFORCE."""

    saved = (*PolicyLearner.saved, "baseline")

    def __init__(
        self,
        agent: CausalLMAgent,
        config: ReinforceConfig,
        *,
        num_planned: int | None = None,
        ptx: PretrainingData | None = None,
    ) -> None:
        """Take the agent to train in place, and what else a `TrainedModel` takes."""
        super().__init__(agent, config, num_planned=num_planned, ptx=ptx)
        self.baseline = 0.0
        """The running mean of returns, KL charges included."""

    def advantages(self, batch: Trajectories, old: Tensor, ref: Tensor) -> Tensor:
        """Return each own token's own and later rewards less the baseline, which then follows the batch; (B, T)."""
        own, decay = batch.policy_token_mask, self.config.baseline_decay
        rewards = shaped_token_rewards(batch.rewards, old, ref, own, kl_coef=self.config.kl_coef)
        advantages = torch.where(own, rewards_to_go(rewards, own) - self.baseline, 0.0)
        self.baseline = decay * self.baseline + (1 - decay) * float(rewards.sum(1).mean())
        return advantages

    def loss(self, logprobs: Tensor, ratio: Tensor, advantages: Tensor, ref: Tensor, own: Tensor) -> Tensor:
        """Return the policy-gradient loss."""
        return policy_gradient_loss(logprobs, advantages, own, **self.aggregated)
