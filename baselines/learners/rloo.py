"""RLOO: REINFORCE with the mean return of the other replies to the same prompt as baseline.

Ahmadian et al., *Back to Basics*, 2024, arXiv 2402.14740, section 3.2 (the estimator is that of Kool et al., 2019). The
action is the whole reply, and its return R is the game's minus kl_coef (log pi - log ref), summed over the reply.

Differs from the paper in: a reply is all that the player says in an episode, over several turns where there are such.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ...agents.language_model.causal_lm import CausalLMAgent
from ..functional.advantages import prompt_groups, rloo_advantages
from ..functional.divergences import reply_kl_nats
from ..functional.masking import masked_mean
from ..functional.policy_losses import policy_gradient_loss
from ..rollouts.trajectories import Trajectories
from .base import PolicyGradientConfig, PolicyGradientUpdate, TrainedModel, mean_update, over_own_tokens


@dataclass(frozen=True, kw_only=True)
class RLOOConfig(PolicyGradientConfig):
    """How one player learns by RLOO."""


class RLOOLearner:
    """One player that learns by RLOO; it needs two replies or more to each prompt, see `rollout_in_groups`."""

    def __init__(self, agent: CausalLMAgent, config: RLOOConfig, *, num_planned: int | None = None) -> None:
        """Take the agent to train in place; the learning rate falls over `num_planned` updates, None: it stays."""
        self.agent, self.config = agent, config
        self.trained = TrainedModel(agent, config, num_planned=num_planned)
        self.ref_model = self.trained.ref_model

    def update(self, batch: Trajectories, rng: np.random.Generator) -> PolicyGradientUpdate:
        """Take one pass over a batch of fresh trajectories; `rng` orders its minibatches."""
        config, trained, steps = self.config, self.trained, []
        batch = batch.to(self.agent.model.device)
        groups = prompt_groups(batch.tokens, batch.policy_token_mask, batch.players)
        with trained.updating():
            now, ref = trained.frozen_logprobs(batch)
            kl_nats = reply_kl_nats(now, ref, batch.policy_token_mask)
            advantages = rloo_advantages(batch.returns - config.kl_coef * kl_nats, groups)
            for rows in trained.minibatches(len(batch), rng):
                part = batch.select(rows)
                own, said = part.policy_token_mask, trained.evaluate(part)
                loss = policy_gradient_loss(
                    said.logprobs,
                    over_own_tokens(advantages[rows], own),
                    own,
                    aggregation=config.aggregation,
                    constant_length=config.constant_length,
                )
                trained.descend(loss)
                steps.append((loss, masked_mean(said.entropies, own), loss.new_zeros(())))
        return mean_update(steps, kl_nats)

    def state_dict(self) -> dict[str, Any]:
        """Return all that the next update depends on, the frozen reference included."""
        return {"trained": self.trained.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a saved state."""
        self.trained.load_state_dict(state["trained"])
