"""What learners without a value function share: their options, the model that they train, groups of replies.

Each algorithm's loop stands in a file of its own: `reinforce`, `rloo`, `grpo`, `reinforce_pp` and
`preference_optimisation`. All have the silhouette of `ppo.PPOLearner`, which is the protocol `PlayerLearner`.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from ...agents.language_model.causal_lm import CausalLMAgent, TokenEvaluation, evaluating
from ..functional.masking import masked_sum
from ..functional.policy_losses import Aggregation
from ..rollouts.trajectories import Trajectories
from ..training.run import Config
from ..training.state import StateValue
from .optimisation import learning_rate_share, make_optimizer, set_learning_rate, take_step


class PlayerLearner(Protocol):
    """One player that learns from its trajectories; PPO and all learners of this family are such."""

    agent: CausalLMAgent

    def update(self, batch: Trajectories, rng: np.random.Generator, /) -> Config:
        """Learn from one batch of fresh trajectories; `rng` orders it. Return a record of the update."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Return all that the next update depends on."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a saved state."""
        ...


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """How a model is trained against its frozen start; every learner of the family has these."""

    learning_rate: float = 1e-3
    """AdamW's, after the warm-up."""
    warmup_updates: int = 4
    """Updates until the full learning rate, linearly."""
    final_learning_rate_share: float = 0.1
    """What is left of the learning rate at the last planned update; the fall is linear."""
    num_minibatches: int = 1
    """Gradient steps in a pass over a batch."""
    max_grad_norm: float = 1.0
    """The gradient is scaled down to this norm."""
    kl_coef: float = 0.05
    """The papers' beta: the price of a nat of divergence from the frozen start."""

    def __post_init__(self) -> None:
        """Check the ranges.

        Raises:
            ValueError: a field is out of its range; the message names it.
        """
        if self.num_minibatches < 1:
            raise ValueError(f"num_minibatches: expected at least 1, got {self.num_minibatches}")
        for name in ("learning_rate", "max_grad_norm"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name}: expected a number > 0, got {getattr(self, name)}")
        if self.kl_coef < 0:
            raise ValueError(f"kl_coef: expected a number >= 0, got {self.kl_coef}")


@dataclass(frozen=True, kw_only=True)
class PolicyGradientConfig(TrainingConfig):
    """What the learners from rewards add: how a loss per token becomes one number."""

    aggregation: Aggregation = "constant_length"
    """Mean over all tokens, mean per reply and then over replies, or the sum of a reply over a constant."""
    constant_length: int | None = 1
    """The constant of "constant_length"; 1 gives the gradient of the expected return itself. None for the others."""

    def __post_init__(self) -> None:
        """Check that there is a constant where it is used, and there only."""
        super().__post_init__()
        if (self.aggregation == "constant_length") != (self.constant_length is not None):
            raise ValueError(
                'constant_length: expected a number with aggregation "constant_length" and None otherwise, got '
                f'{self.constant_length} with "{self.aggregation}"'
            )


@dataclass(frozen=True, kw_only=True)
class ClippedConfig(PolicyGradientConfig):
    """What those add that pass over a batch several times, with PPO's clipped ratio."""

    num_epochs: int = 2
    """Passes over a batch of episodes."""
    clip_epsilon: float = 0.2
    """The ratio is clipped to 1 -+ this."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        super().__post_init__()
        if self.num_epochs < 1:
            raise ValueError(f"num_epochs: expected at least 1, got {self.num_epochs}")
        if not 0 < self.clip_epsilon < 1:
            raise ValueError(f"clip_epsilon: expected a number in (0, 1), got {self.clip_epsilon}")


@dataclass(frozen=True, slots=True)
class PolicyGradientUpdate:
    """What one update reports; means over its gradient steps."""

    policy_loss: float
    """The loss, a charge for KL included where the algorithm has it there."""
    entropy_nats: float
    """Mean entropy of an own token."""
    kl_nats: float
    """Mean log pi - log ref of an episode's own tokens, summed, before the update."""
    clip_fraction: float
    """Share of own tokens, 0 to 1, whose ratio left the clip range; 0 where nothing is clipped."""


class TrainedModel:
    """A model in training: its agent, the frozen start that it is held to, its optimiser and its learning rate."""

    def __init__(self, agent: CausalLMAgent, config: TrainingConfig, *, num_planned: int | None = None) -> None:
        """Take the agent to train in place.

        Args:
            agent: whoever learns.
            config: how.
            num_planned: the updates over which the learning rate falls; None: it stays.
        """
        self.agent, self.config, self.num_planned, self.num_updates = agent, config, num_planned, 0
        self.ref_model = copy.deepcopy(agent.model).eval().requires_grad_(False)
        self._ref_agent = CausalLMAgent(self.ref_model, agent.vocabulary, temperature=agent.temperature)
        self._parameters = list(agent.model.parameters())
        self._optimizer = make_optimizer(self._parameters, learning_rate=config.learning_rate, weight_decay=0.0)

    @contextmanager
    def updating(self) -> Iterator[None]:
        """Switch dropout off and set the learning rate for one update; count it."""
        set_learning_rate(self._optimizer, self.learning_rate())
        self.num_updates += 1
        with evaluating(self.agent.model):
            yield

    def learning_rate(self) -> float:
        """Return the learning rate of the next update."""
        warmup, final = self.config.warmup_updates, self.config.final_learning_rate_share
        share = learning_rate_share(self.num_updates, self.num_planned, warmup_updates=warmup, final_share=final)
        return self.config.learning_rate * share

    def evaluate(self, batch: Trajectories) -> TokenEvaluation:
        """Return what the model says of a batch, with gradients."""
        return _evaluate(self.agent, batch)

    @torch.no_grad()
    def frozen_logprobs(self, batch: Trajectories) -> tuple[Tensor, Tensor]:
        """Return log pi as it is now and log ref of the own tokens, (B, T) each, without gradients."""
        return _evaluate(self.agent, batch).logprobs, _evaluate(self._ref_agent, batch).logprobs

    @torch.no_grad()
    def ref_reply_logprobs(self, batch: Trajectories) -> Tensor:
        """Return log ref of each whole reply, (B,)."""
        return _evaluate(self._ref_agent, batch).logprobs.sum(1)

    def reply_logprobs(self, batch: Trajectories) -> Tensor:
        """Return log pi of each whole reply, (B,), with gradients."""
        return masked_sum(self.evaluate(batch).logprobs, batch.policy_token_mask, dim=1)

    def minibatches(self, num_rows: int, rng: np.random.Generator) -> list[Tensor]:
        """Return the rows of each gradient step of a pass, in random order."""
        parts = np.array_split(rng.permutation(num_rows), min(self.config.num_minibatches, num_rows))
        return [torch.from_numpy(rows).to(self.agent.model.device) for rows in parts]

    def descend(self, loss: Tensor) -> float:
        """Take one gradient step; return the gradient's norm."""
        return take_step(loss, self._optimizer, self._parameters, max_grad_norm=self.config.max_grad_norm)

    def state_dict(self) -> dict[str, StateValue]:
        """Return all that the next update depends on, the frozen reference included."""
        return {
            "num_updates": self.num_updates,
            "model": self.agent.model.state_dict(),
            "ref_model": self.ref_model.state_dict(),
            "optimizer": self._optimizer.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a saved state."""
        self.num_updates = state["num_updates"]
        self.agent.model.load_state_dict(state["model"])
        self.ref_model.load_state_dict(state["ref_model"])
        self._optimizer.load_state_dict(state["optimizer"])


def _evaluate(agent: CausalLMAgent, batch: Trajectories) -> TokenEvaluation:
    return agent.evaluate(batch.tokens, batch.attention_mask, batch.policy_token_mask, batch.legal_mask)


def over_own_tokens(advantages: Tensor, policy_token_mask: Tensor) -> Tensor:
    """Return each reply's advantage (B,) on all its own tokens (B, T), and 0 elsewhere."""
    return torch.where(policy_token_mask, advantages[:, None], 0.0)


def mean_update(steps: Sequence[tuple[Tensor, Tensor, Tensor]], own_kl_nats: Tensor) -> PolicyGradientUpdate:
    """Return the report on gradient steps, each a loss, an entropy and a clip fraction; KL is one number a reply."""
    loss, entropy, clipped = torch.stack([torch.stack(step).detach() for step in steps]).mean(0).tolist()
    return PolicyGradientUpdate(loss, entropy, float(own_kl_nats.mean()), clipped)
