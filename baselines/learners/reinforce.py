"""REINFORCE with a baseline: the policy gradient of fresh rollouts, equation 9 of arXiv 2402.08078.

Williams, *Simple statistical gradient-following algorithms*, 1992. An action is a token; every own token is charged
kl_coef (log pi - log ref), and what it is credited with is the sum of its own and later rewards, less a baseline.

Differs from the paper in: the baseline is a running mean of past returns, one number for each learner; for one policy
in both seats the roles' own baselines are those of `self_play`, subtracted before. A batch is scored against the mean
of *earlier* batches, so that no return is its own baseline.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ...agents.language_model.causal_lm import CausalLMAgent
from ..functional.advantages import rewards_to_go, shaped_token_rewards
from ..functional.divergences import reply_kl_nats
from ..functional.masking import masked_mean
from ..functional.policy_losses import policy_gradient_loss
from ..rollouts.trajectories import Trajectories
from .base import PolicyGradientConfig, PolicyGradientUpdate, TrainedModel, mean_update


@dataclass(frozen=True, kw_only=True)
class ReinforceConfig(PolicyGradientConfig):
    """How one player learns by REINFORCE."""

    baseline_decay: float = 0.8
    """Share of the baseline, 0 to 1, that stays when a batch's mean return is mixed in."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        super().__post_init__()
        if not 0 <= self.baseline_decay < 1:
            raise ValueError(f"baseline_decay: expected a number in [0, 1), got {self.baseline_decay}")


class ReinforceLearner:
    """One player that learns by REINFORCE."""

    def __init__(self, agent: CausalLMAgent, config: ReinforceConfig, *, num_planned: int | None = None) -> None:
        """Take the agent to train in place; the learning rate falls over `num_planned` updates, None: it stays."""
        self.agent, self.config = agent, config
        self.trained = TrainedModel(agent, config, num_planned=num_planned)
        self.ref_model = self.trained.ref_model
        self.baseline = 0.0
        """The running mean of returns, KL charges included."""

    def update(self, batch: Trajectories, rng: np.random.Generator) -> PolicyGradientUpdate:
        """Take one pass over a batch of fresh trajectories; `rng` orders its minibatches."""
        config, trained, steps = self.config, self.trained, []
        batch = batch.to(self.agent.model.device)
        with trained.updating():
            now, ref = trained.frozen_logprobs(batch)
            own = batch.policy_token_mask
            rewards = shaped_token_rewards(batch.rewards, now, ref, own, kl_coef=config.kl_coef)
            advantages = torch.where(own, rewards_to_go(rewards, own) - self.baseline, 0.0)
            mixed_in = (1 - config.baseline_decay) * float(rewards.sum(1).mean())
            self.baseline = config.baseline_decay * self.baseline + mixed_in
            for rows in trained.minibatches(len(batch), rng):
                part = batch.select(rows)
                chosen, width = part.policy_token_mask, part.tokens.shape[1]
                said = trained.evaluate(part)
                loss = policy_gradient_loss(
                    said.logprobs,
                    advantages[rows, :width],
                    chosen,
                    aggregation=config.aggregation,
                    constant_length=config.constant_length,
                )
                trained.descend(loss)
                steps.append((loss, masked_mean(said.entropies, chosen), loss.new_zeros(())))
        return mean_update(steps, reply_kl_nats(now, ref, own))

    def state_dict(self) -> dict[str, Any]:
        """Return all that the next update depends on, the frozen reference and the baseline included."""
        return {"baseline": self.baseline, "trained": self.trained.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a saved state."""
        self.baseline = state["baseline"]
        self.trained.load_state_dict(state["trained"])
