"""What learners of one player share: the model that they train, and the one loop of the policy gradients.

A learner of the family says two things, what a reply is worth and what is minimised: `advantages` and `loss`. It stands
in a file of its own (`reinforce`, `rloo`, `grpo`, `reinforce_pp`), and so can yours: see `register_learner` in
`learners/registry.py`. PPO, which asks a critic besides, and learners from preferences train the same `TrainedModel`.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from typing_extensions import TypeVar

from ...agents.language_model.causal_lm import CausalLMAgent, TokenEvaluation, evaluating
from ...agents.language_model.sampling import WHOLE
from ..functional.divergences import reply_kl_nats
from ..functional.masking import masked_mean, masked_sum
from ..functional.policy_losses import Aggregation, clip_fraction, probability_ratio
from ..rollouts.trajectories import Trajectories
from ..training.checks import Count, LearningRate, NotNegative, OpenShare, Options, Positive, Rows, Share, Whole
from ..training.run import Config
from ..training.state import Stateful
from .optimisation import (
    ADAM_EPSILON,
    learning_rate_share,
    make_optimizer,
    numbered,
    require_finite,
    set_learning_rate,
    take_step,
)
from .ptx import PretrainingData


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
class TrainingConfig(Options):
    """How a model is trained against its frozen start; every learner has these."""

    learning_rate: LearningRate = 1e-3
    """AdamW's, after the warm-up."""
    warmup_updates: Whole = 4
    """Updates until the full learning rate, linearly."""
    final_learning_rate_share: Share = 0.1
    """What is left of the learning rate at the last planned update; the fall is linear."""
    num_minibatches: Count = 1
    """Gradient steps in a pass over a batch."""
    max_grad_norm: Positive = 1.0
    """The gradient is scaled down to this norm."""
    kl_coef: NotNegative = 0.05
    """The papers' beta: the price of a nat of divergence from the frozen start."""
    ptx_coef: NotNegative = 0.0
    """Weight of the negative log-likelihood of the start's own data in every gradient step: PPO-ptx's gamma."""
    ptx_batch_size: Rows = 64
    """Dialogues of that data in a gradient step."""
    adam_epsilon: Positive = ADAM_EPSILON
    """AdamW's: below it the gradient of a weight makes a step in proportion, above it one of the learning rate."""


@dataclass(frozen=True, kw_only=True)
class PolicyGradientConfig(TrainingConfig):
    """What the learners from rewards add: how a loss per token becomes one number."""

    aggregation: Aggregation = "constant_length"
    """Mean over all tokens, mean per reply and then over replies, or the sum of a reply over a constant."""
    constant_length: Count | None = 1
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

    num_epochs: Count = 2
    """Passes over a batch of episodes."""
    clip_epsilon: OpenShare = 0.2
    """The ratio is clipped to 1 -+ this."""


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
    ptx_loss_nats: float | None = None
    """Mean negative log-likelihood of a token of the start's own data; None without a `ptx_coef`."""


ConfigT = TypeVar("ConfigT", bound=TrainingConfig, default=TrainingConfig)
PolicyConfigT = TypeVar("PolicyConfigT", bound=PolicyGradientConfig, default=PolicyGradientConfig)


class TrainedModel(Stateful, Generic[ConfigT]):
    """A model in training: its agent, the frozen start that it is held to, its optimiser and its learning rate."""

    saved: ClassVar[tuple[str, ...]] = ("num_updates", "agent.model", "ref_model", "_optimizer")

    def __init__(
        self,
        agent: CausalLMAgent,
        config: ConfigT,
        *,
        num_planned: int | None = None,
        heads: Sequence[nn.Module] = (),
        ptx: PretrainingData | None = None,
    ) -> None:
        """Take the agent to train in place.

        Args:
            agent: whoever learns.
            config: how.
            num_planned: the updates over which the learning rate falls; None: it stays.
            heads: what is trained beside the model's own parameters.
            ptx: the start's own data, for a `ptx_coef` above 0.

        Raises:
            ValueError: a `ptx_coef` without data, or an agent whose distribution is cut.
        """
        if config.ptx_coef and ptx is None:
            raise ValueError(f"ptx_coef: expected 0 for a learner that is given no data, got {config.ptx_coef}")
        require_whole(agent)
        self._ptx, self._ptx_losses = ptx, list[float]()
        self.agent, self.config, self.num_planned, self.num_updates = agent, config, num_planned, 0
        self.ref_model = copy.deepcopy(agent.model).eval().requires_grad_(False)
        self._ref_agent = CausalLMAgent(self.ref_model, agent.vocabulary, temperature=agent.temperature)
        self._parameters = [*agent.model.parameters(), *(weight for head in heads for weight in head.parameters())]
        self._optimizer = make_optimizer(
            self._parameters,
            learning_rate=config.learning_rate,
            weight_decay=0.0,
            adam_epsilon=config.adam_epsilon,
        )

    @contextmanager
    def updating(self) -> Iterator[None]:
        """Switch dropout off and set the learning rate for one update; count it.

        Raises:
            FloatingPointError: something in the update was no finite number; the message says which update and what.
        """
        set_learning_rate(self._optimizer, self.learning_rate())
        self.num_updates += 1
        self._ptx_losses = []
        with evaluating(self.agent.model), numbered("update", self.num_updates):
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

    def descend(self, loss: Tensor, rng: np.random.Generator) -> float:
        """Take one gradient step; return the gradient's norm. `rng` draws the start's own data, where they count."""
        if self._ptx is not None and self.config.ptx_coef:
            ptx_loss = self._ptx.loss(self.agent.model, self.config.ptx_batch_size, rng)
            self._ptx_losses.append(float(ptx_loss.detach()))
            loss = loss + self.config.ptx_coef * ptx_loss
        return take_step(loss, self._optimizer, self._parameters, max_grad_norm=self.config.max_grad_norm)

    @property
    def ptx_loss_nats(self) -> float | None:
        """The mean negative log-likelihood of a token of the start's own data in the latest update; None without."""
        return float(np.mean(self._ptx_losses)) if self._ptx_losses else None


class PolicyLearner(TrainedModel[PolicyConfigT]):
    """One player that follows a policy gradient: a subclass says what a reply is worth and what is minimised.

    Its options are a `PolicyGradientConfig`, or a `ClippedConfig` if it passes over a batch several times.
    """

    def advantages(self, batch: Trajectories, old: Tensor, ref: Tensor) -> Tensor:
        """Return what each own token is credited with, (B, T), or each whole reply, (B,).

        Args:
            batch: fresh trajectories, on the model's device.
            old: log pi of the own tokens before the update, (B, T), 0 elsewhere.
            ref: log ref of the own tokens, (B, T), 0 elsewhere.
        """
        raise NotImplementedError(f"{type(self).__name__}: expected a method `advantages`, got none")

    def loss(self, logprobs: Tensor, ratio: Tensor, advantages: Tensor, ref: Tensor, own: Tensor) -> Tensor:
        """Return the loss of a minibatch, a scalar to be minimised.

        Args:
            logprobs: log pi, (B, T), with gradients.
            ratio: pi / pi before the update, (B, T), with gradients; 1 at tokens that are not the learner's.
            advantages: what `advantages` returned, (B, T), 0 at tokens that are not the learner's.
            ref: log ref, (B, T).
            own: whether a token is the learner's, (B, T).
        """
        raise NotImplementedError(f"{type(self).__name__}: expected a method `loss`, got none")

    def update(self, batch: Trajectories, rng: np.random.Generator) -> PolicyGradientUpdate:
        """Pass over a batch of fresh trajectories, once or `num_epochs` times; `rng` orders its minibatches."""
        steps, batch = [], batch.to(self.agent.model.device)
        with self.updating():
            old, ref = self.frozen_logprobs(batch)
            advantages = self._over_tokens(batch, self.advantages(batch, old, ref))
            for name, numbers in (("rewards", batch.rewards), ("logprobs", old - ref), ("advantages", advantages)):
                require_finite(name, numbers)
            for rows in [rows for _ in range(self.num_epochs) for rows in self.minibatches(len(batch), rng)]:
                part = batch.select(rows)
                own, width = part.policy_token_mask, part.tokens.shape[1]
                said = self.evaluate(part)
                ratio = probability_ratio(said.logprobs, old[rows, :width], own)
                loss = self.loss(said.logprobs, ratio, advantages[rows, :width], ref[rows, :width], own)
                self.descend(loss, rng)
                steps.append((loss, masked_mean(said.entropies, own), self._clip_fraction(ratio, own)))
        return _mean_update(steps, reply_kl_nats(old, ref, batch.policy_token_mask), self.ptx_loss_nats)

    @property
    def num_epochs(self) -> int:
        """Passes over a batch."""
        return self.config.num_epochs if isinstance(self.config, ClippedConfig) else 1

    @property
    def aggregated(self) -> dict[str, Any]:
        """The arguments by which a loss per token becomes one number."""
        return {"aggregation": self.config.aggregation, "constant_length": self.config.constant_length}

    def _clip_fraction(self, ratio: Tensor, own: Tensor) -> Tensor:
        if not isinstance(self.config, ClippedConfig):
            return ratio.new_zeros(())
        return clip_fraction(ratio, own, clip_epsilon=self.config.clip_epsilon)

    @staticmethod
    def _over_tokens(batch: Trajectories, advantages: Tensor) -> Tensor:
        """Return advantages (B, T), those of whole replies on all their own tokens, and 0 elsewhere."""
        per_token = advantages[:, None] if advantages.ndim == 1 else advantages
        return torch.where(batch.policy_token_mask, per_token, 0.0)


def require_whole(agent: CausalLMAgent) -> None:
    """Raise ValueError where an agent that is to learn cuts off its distribution: the ratio of a cut token is 0."""
    if agent.truncation != WHOLE:
        raise ValueError(f"agent: expected one that learns to cut nothing off its distribution, got {agent.truncation}")


def _evaluate(agent: CausalLMAgent, batch: Trajectories) -> TokenEvaluation:
    return agent.evaluate(batch.tokens, batch.attention_mask, batch.policy_token_mask, batch.legal_mask)


def _mean_update(
    steps: Sequence[tuple[Tensor, Tensor, Tensor]], own_kl_nats: Tensor, ptx_loss_nats: float | None
) -> PolicyGradientUpdate:
    """Return the report on gradient steps, each a loss, an entropy and a clip fraction; KL is one number a reply."""
    loss, entropy, clipped = torch.stack([torch.stack(step).detach() for step in steps]).mean(0).tolist()
    return PolicyGradientUpdate(loss, entropy, float(own_kl_nats.mean()), clipped, ptx_loss_nats)
