"""Token-level PPO with KL to a frozen reference, for one player of a language game.

PPO (Schulman et al., 2017, arXiv 1707.06347) as RLHF uses it: an action is a token, every own token is charged
kl_coef (log pi - log ref), the game's rewards arrive at the latest own token, and GAE runs over own tokens only.

Differs from the paper in: value and policy share the trunk, unless a critic is given, which the learners of both
players share; advantages are whitened over own tokens.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ...agents.language_model.causal_lm import CausalLMAgent, evaluating
from ..functional.advantages import gae, shaped_token_rewards
from ..functional.masking import masked_mean, masked_whiten
from ..functional.policy_losses import clip_fraction, clipped_surrogate, clipped_value_loss, probability_ratio
from ..rollouts.trajectories import Trajectories
from .optimisation import learning_rate_share, make_optimizer, set_learning_rate, take_step
from .shared_critic import SharedCritic


@dataclass(frozen=True, kw_only=True)
class PPOConfig:
    """How one player learns from its trajectories."""

    learning_rate: float = 1e-3
    """AdamW's, after the warm-up."""
    warmup_updates: int = 4
    """Updates until the full learning rate, linearly."""
    final_learning_rate_share: float = 0.1
    """What is left of the learning rate at the last planned update; the fall is linear."""
    num_epochs: int = 2
    """Passes over a batch of episodes."""
    num_minibatches: int = 2
    """Gradient steps in a pass."""
    clip_epsilon: float = 0.2
    """The ratio is clipped to 1 -+ this."""
    value_clip_epsilon: float = 0.2
    """Values move at most this far from the old ones in the value loss."""
    value_coef: float = 0.1
    """Weight of the value loss; a shared critic, which has an optimiser of its own, does without."""
    entropy_coef: float = 0.0
    """Weight of the entropy bonus."""
    kl_coef: float = 0.01
    """Charge per nat of log pi - log ref, token by token; GPO's 0.01."""
    gamma: float = 1.0
    """Discount from one own token to the next."""
    gae_lambda: float = 0.95
    """GAE's lambda."""
    max_grad_norm: float = 1.0
    """The gradient is scaled down to this norm."""

    def __post_init__(self) -> None:
        """Check the ranges.

        Raises:
            ValueError: a field is out of its range; the message names it.
        """
        for name in ("clip_epsilon", "value_clip_epsilon"):
            if not 0 < getattr(self, name) < 1:
                raise ValueError(f"{name}: expected a number in (0, 1), got {getattr(self, name)}")
        for name in ("num_epochs", "num_minibatches"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: expected at least 1, got {getattr(self, name)}")
        if not self.learning_rate > 0 or self.kl_coef < 0:
            raise ValueError(f"expected learning_rate > 0 and kl_coef >= 0, got {self.learning_rate}, {self.kl_coef}")


@dataclass(frozen=True, slots=True)
class PPOUpdate:
    """What one update reports; means over its gradient steps."""

    policy_loss: float
    value_loss: float
    entropy_nats: float
    """Mean entropy of an own token."""
    kl_nats: float
    """Mean log pi - log ref of an episode's own tokens, summed, before the update."""
    clip_fraction: float
    """Share of own tokens, 0 to 1, whose ratio left the clip range."""


@dataclass(frozen=True, slots=True)
class _Estimates:
    old_logprobs: Tensor
    old_values: Tensor
    advantages: Tensor
    returns: Tensor


class PPOLearner:
    """One player that learns: its agent, the frozen start that it is held to, and its optimiser."""

    def __init__(
        self,
        agent: CausalLMAgent,
        config: PPOConfig,
        *,
        num_planned: int | None = None,
        critic: SharedCritic | None = None,
    ) -> None:
        """Take the agent to train in place; it is given a value head if it has none.

        Args:
            agent: whoever learns.
            config: how.
            num_planned: the updates over which the learning rate falls; None: it stays.
            critic: estimates values in place of the value head, which the agent then loses.
        """
        self.critic = critic
        if critic is not None:
            agent.value_head = None
        elif agent.value_head is None:
            agent.value_head = nn.Linear(agent.model.config.hidden_size, 1, device=agent.model.device)
            nn.init.zeros_(agent.value_head.weight)
            nn.init.zeros_(agent.value_head.bias)
        self.agent, self.config, self.num_planned, self.num_updates = agent, config, num_planned, 0
        self.ref_model = copy.deepcopy(agent.model).eval().requires_grad_(False)
        self._ref_agent = CausalLMAgent(self.ref_model, agent.vocabulary, temperature=agent.temperature)
        head = [] if agent.value_head is None else agent.value_head.parameters()
        self._parameters = [*agent.model.parameters(), *head]
        self._optimizer = make_optimizer(self._parameters, learning_rate=config.learning_rate, weight_decay=0.0)

    def update(self, batch: Trajectories, rng: np.random.Generator) -> PPOUpdate:
        """Take `num_epochs` passes over one batch of fresh trajectories.

        Args:
            batch: what this player saw, said and earned.
            rng: orders the minibatches.
        """
        batch = batch.to(self.agent.model.device)
        with evaluating(self.agent.model):
            estimates, kl_nats = self._estimate(batch)
            set_learning_rate(self._optimizer, self._learning_rate())
            self.num_updates += 1
            steps = [
                self._step(batch, estimates, torch.from_numpy(rows))
                for _ in range(self.config.num_epochs)
                for rows in np.array_split(rng.permutation(len(batch)), min(self.config.num_minibatches, len(batch)))
            ]
        policy_loss, value_loss, entropy, clipped = np.mean(steps, axis=0).tolist()
        return PPOUpdate(policy_loss, value_loss, entropy, kl_nats, clipped)

    def _learning_rate(self) -> float:
        warmup, final = self.config.warmup_updates, self.config.final_learning_rate_share
        share = learning_rate_share(self.num_updates, self.num_planned, warmup_updates=warmup, final_share=final)
        return self.config.learning_rate * share

    @torch.no_grad()
    def _estimate(self, batch: Trajectories) -> tuple[_Estimates, float]:
        own, config = batch.policy_token_mask, self.config
        now = self.agent.evaluate(batch.tokens, batch.attention_mask, own, batch.legal_mask)
        ref = self._ref_agent.evaluate(batch.tokens, batch.attention_mask, own, batch.legal_mask)
        values = now.values if self.critic is None else self.critic.values(batch)
        rewards = shaped_token_rewards(batch.rewards, now.logprobs, ref.logprobs, own, kl_coef=config.kl_coef)
        advantages, returns = gae(rewards, values, own, gamma=config.gamma, gae_lambda=config.gae_lambda)
        kl_nats = float((now.logprobs - ref.logprobs).sum(1).mean())
        return _Estimates(now.logprobs, values, masked_whiten(advantages, own), returns), kl_nats

    def _step(self, batch: Trajectories, estimates: _Estimates, rows: Tensor) -> tuple[float, float, float, float]:
        config, part = self.config, batch.select(rows)
        own, width = part.policy_token_mask, part.tokens.shape[1]
        old = [
            getattr(estimates, name)[rows, :width] for name in ("old_logprobs", "old_values", "advantages", "returns")
        ]
        old_logprobs, old_values, advantages, returns = old
        now = self.agent.evaluate(part.tokens, part.attention_mask, own, part.legal_mask)
        ratio = probability_ratio(now.logprobs, old_logprobs, own)
        policy_loss = clipped_surrogate(ratio, advantages, own, clip_epsilon=config.clip_epsilon)
        value_loss = self._fit_values(part, now.values, old_values, returns)
        entropy = masked_mean(now.entropies, own)
        loss = policy_loss + config.value_coef * value_loss - config.entropy_coef * entropy
        take_step(loss, self._optimizer, self._parameters, max_grad_norm=config.max_grad_norm)
        clipped = clip_fraction(ratio.detach(), own, clip_epsilon=config.clip_epsilon)
        parts = (policy_loss, value_loss, entropy, clipped)
        return tuple(float(part.detach()) for part in parts)  # type: ignore[return-value]

    def _fit_values(self, part: Trajectories, values: Tensor, old_values: Tensor, returns: Tensor) -> Tensor:
        """Return the value loss: of the value head, to be minimised with the policy's, or of a critic just updated."""
        config, own = self.config, part.policy_token_mask
        if self.critic is None:
            return clipped_value_loss(values, old_values, returns, own, clip_epsilon=config.value_clip_epsilon)
        values = self.critic.values(part)
        loss = clipped_value_loss(values, old_values, returns, own, clip_epsilon=config.value_clip_epsilon)
        rate = self._optimizer.param_groups[0]["lr"]
        self.critic.step(loss, learning_rate=rate, max_grad_norm=config.max_grad_norm)
        return loss.detach()

    @property
    def _value_network(self) -> SharedCritic | nn.Linear:
        if self.critic is not None:
            return self.critic
        assert self.agent.value_head is not None
        return self.agent.value_head

    def state_dict(self) -> dict[str, Any]:
        """Return all that the next update depends on, the frozen reference and the critic included."""
        return {
            "num_updates": self.num_updates,
            "model": self.agent.model.state_dict(),
            "value_head": self._value_network.state_dict(),
            "ref_model": self.ref_model.state_dict(),
            "optimizer": self._optimizer.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a saved state."""
        self.num_updates = state["num_updates"]
        self.agent.model.load_state_dict(state["model"])
        self._value_network.load_state_dict(state["value_head"])
        self.ref_model.load_state_dict(state["ref_model"])
        self._optimizer.load_state_dict(state["optimizer"])
