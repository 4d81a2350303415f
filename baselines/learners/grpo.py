"""GRPO: PPO's clipped ratio with advantages from a group of replies to one prompt, and the KL in the loss.

Shao et al., *DeepSeekMath*, 2024, arXiv 2402.03300, equations 3 and 4: A = (R - mean) / (std + 1e-4) within a group,
the same for all tokens of a reply; kl_coef times the estimator k3 is added to the loss, token by token. Dr. GRPO (Liu
et al., 2025, arXiv 2503.20783) does not divide by the std and sums over a constant length: `dr_grpo`.

What it settles at, for replies of one token: k3's gradient is that of KL(ref, pi), so that without the std the policy
goes to kl_coef ref / (c - reward), c such that it sums to 1, and not to ref exp(reward / kl_coef), where RLOO goes;
with k2 it goes there too. A reply is part of its own group's mean, which shrinks the gain by (k - 1) / k in groups of k
and so acts like a larger kl_coef; the std does so by another factor, which differs from prompt to prompt.

Differs from the paper in: a reply is all that the player says in an episode, over several turns where there are such;
the std has the divisor n - 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ...agents.language_model.causal_lm import CausalLMAgent
from ..functional.advantages import grpo_advantages, prompt_groups
from ..functional.divergences import KLEstimator, reply_kl_nats
from ..functional.masking import masked_mean
from ..functional.policy_losses import Aggregation, clip_fraction, clipped_surrogate, kl_loss, probability_ratio
from ..rollouts.trajectories import Trajectories
from .base import ClippedConfig, PolicyGradientUpdate, TrainedModel, mean_update, over_own_tokens


@dataclass(frozen=True, kw_only=True)
class GRPOConfig(ClippedConfig):
    """How one player learns by GRPO."""

    aggregation: Aggregation = "sequence_mean"
    """GRPO's mean within a reply, then over replies."""
    constant_length: int | None = None
    """The constant of "constant_length", None for the others."""
    scale_by_std: bool = True
    """Whether advantages are divided by the std of their group; Dr. GRPO does not."""
    kl_estimator: KLEstimator = "k3"
    """The estimator in the loss; its gradient is that of KL(ref, pi) with k3, of KL(pi, ref) with k2, 0 with k1."""


def dr_grpo(constant_length: int) -> GRPOConfig:
    """Return the options of Dr. GRPO; `constant_length` is the longest reply."""
    return GRPOConfig(scale_by_std=False, aggregation="constant_length", constant_length=constant_length)


class GRPOLearner:
    """One player that learns by GRPO; it wants several replies to each prompt, see `rollout_in_groups`."""

    def __init__(self, agent: CausalLMAgent, config: GRPOConfig, *, num_planned: int | None = None) -> None:
        """Take the agent to train in place; the learning rate falls over `num_planned` updates, None: it stays."""
        self.agent, self.config = agent, config
        self.trained = TrainedModel(agent, config, num_planned=num_planned)
        self.ref_model = self.trained.ref_model

    def update(self, batch: Trajectories, rng: np.random.Generator) -> PolicyGradientUpdate:
        """Take `num_epochs` passes over a batch of fresh trajectories; `rng` orders the minibatches."""
        config, trained, steps = self.config, self.trained, []
        aggregation, length = config.aggregation, config.constant_length
        batch = batch.to(self.agent.model.device)
        groups = prompt_groups(batch.tokens, batch.policy_token_mask, batch.players)
        advantages = grpo_advantages(batch.returns, groups, scale_by_std=config.scale_by_std)
        with trained.updating():
            old, ref = trained.frozen_logprobs(batch)
            for rows in [rows for _ in range(config.num_epochs) for rows in trained.minibatches(len(batch), rng)]:
                part = batch.select(rows)
                own, width = part.policy_token_mask, part.tokens.shape[1]
                said = trained.evaluate(part)
                ratio = probability_ratio(said.logprobs, old[rows, :width], own)
                gain = clipped_surrogate(
                    ratio,
                    over_own_tokens(advantages[rows], own),
                    own,
                    clip_epsilon=config.clip_epsilon,
                    aggregation=aggregation,
                    constant_length=length,
                )
                charge = kl_loss(
                    said.logprobs,
                    ref[rows, :width],
                    own,
                    estimator=config.kl_estimator,
                    aggregation=aggregation,
                    constant_length=length,
                )
                loss = gain + config.kl_coef * charge
                trained.descend(loss)
                clipped = clip_fraction(ratio, own, clip_epsilon=config.clip_epsilon)
                steps.append((loss, masked_mean(said.entropies, own), clipped))
        return mean_update(steps, reply_kl_nats(old, ref, batch.policy_token_mask))

    def state_dict(self) -> dict[str, Any]:
        """Return all that the next update depends on, the frozen reference included."""
        return {"trained": self.trained.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a saved state."""
        self.trained.load_state_dict(state["trained"])
