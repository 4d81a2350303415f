"""What learners of one player share: the model that they train, and the one loop of the policy gradients.

A learner of the family says two things, what a reply is worth and what is minimised: `advantages` and `loss`. It stands
in a file of its own (`reinforce`, `rloo`, `grpo`, `reinforce_pp`), and so can yours: see `register_learner` in
`learners/registry.py`. PPO, which asks a critic besides, and learners from preferences train the same `TrainedModel`.

One file: the options, the model that they are about and the loop over it are what whoever writes a learner reads.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from typing_extensions import TypeVar

from ...agents.language_model.adapters import put_on, reference_of
from ...agents.language_model.causal_lm import CausalLMAgent, TokenEvaluation, evaluating
from ...agents.language_model.sampling import WHOLE
from ..functional.divergences import k3
from ..functional.masking import masked_mean
from ..functional.policy_losses import Aggregation, clip_fraction, probability_ratio
from ..rollouts.seconds import part as timed
from ..rollouts.trajectories import Trajectories
from ..training.checks import Count, LearningRate, NotNegative, OpenShare, Options, Positive, Rows, Share, Whole
from ..training.presets import usual
from ..training.run import Config
from ..training.state import Stateful
from .optimisation import (
    ADAM_EPSILON,
    descend,
    learning_rate_share,
    make_optimizer,
    numbered,
    place_moments,
    require_finite,
    require_full_precision,
    set_learning_rate,
)
from .parts import ReportT, backward_in_parts, said_at_once, said_of
from .ptx import PretrainingData

WARNED_KL_NATS = 1.0
"""So many nats a token from its start a policy hardly says what it was taught; it is warned of."""
_LOG = logging.getLogger(__name__)


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

    learning_rate: LearningRate = usual(1e-3)
    """AdamW's, after the warm-up."""
    warmup_updates: Whole = 4
    """Updates until the full learning rate, linearly."""
    final_learning_rate_share: Share = 0.1
    """What is left of the learning rate at the last planned update; the fall is linear."""
    num_minibatches: Count = 1
    """Gradient steps in a pass over a batch."""
    tokens_at_once: Whole = usual(0)
    """Tokens, padding included, that pass through the model at a time, unless one episode has more; the gradient is
    that of the whole minibatch, at the price of one forward pass more where it does not fit. Equal episodes pass once.
    0: a minibatch, and for estimates the batch."""
    max_grad_norm: Positive = 1.0
    """The gradient is scaled down to this norm."""
    kl_coef: NotNegative = 0.05
    """The papers' beta: the price of a nat of divergence from the frozen start."""
    ptx_coef: NotNegative = 0.0
    """Weight of the negative log-likelihood of the start's own data in every gradient step: PPO-ptx's gamma."""
    ptx_batch_size: Rows = 64
    """Dialogues of that data in a gradient step."""
    adam_epsilon: Positive = usual(ADAM_EPSILON)
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
    target_kl: NotNegative | None = None
    """An update ends before a gradient step if its policy is already so many nats a token from where it began; 0: it
    takes all steps. None: 0, and a real model's 0.03."""


class TooFar(Exception):
    """Says that an update has moved the policy as far as it may."""


@dataclass(frozen=True, slots=True, kw_only=True)
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
    kl_nats_per_token: float
    """The same for an own token."""
    tokens_per_reply: float
    """Mean number of an episode's own tokens."""
    grad_norm: float
    """The gradient's norm before it is clipped."""
    learning_rate: float
    """AdamW's in this update."""
    num_gradient_steps: int
    """How many there were; fewer than planned where `target_kl` was passed."""
    ptx_loss_nats: float | None = None
    """Mean negative log-likelihood of a token of the start's own data; None without a `ptx_coef`."""


ConfigT = TypeVar("ConfigT", bound=TrainingConfig, default=TrainingConfig)
PolicyConfigT = TypeVar("PolicyConfigT", bound=PolicyGradientConfig, default=PolicyGradientConfig)


class TrainedModel(Stateful, Generic[ConfigT]):
    """A model in training: its agent, the frozen start that it is held to, its optimiser and its learning rate."""

    saved: ClassVar[tuple[str, ...]] = ("num_updates", "agent.model", "kept_reference", "_optimizer")

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
            ValueError: a `ptx_coef` without data, weights in half precision, or an agent whose distribution is cut.
        """
        if config.ptx_coef and ptx is None:
            raise ValueError(f"ptx_coef: expected 0 for a learner that is given no data, got {config.ptx_coef}")
        require_full_precision(agent.model)
        require_whole(agent)
        self._ptx, self._ptx_losses, self._grad_norms = ptx, list[float](), list[float]()
        self._first: TokenEvaluation | None = None
        """What the model said before an update, with gradients, until its first step."""
        self.agent, self.config, self.num_planned, self.num_updates = agent, config, num_planned, 0
        self.ref_model, self._reference_moves = reference_of(agent.model), False
        self._ref_agent = self._speaking(self.ref_model)
        self._parameters = [*agent.model.parameters(), *(weight for head in heads for weight in head.parameters())]
        self._optimizer = make_optimizer(
            self._parameters,
            learning_rate=config.learning_rate,
            weight_decay=0.0,
            adam_epsilon=config.adam_epsilon,
        )

    @property
    def kept_reference(self) -> nn.Module | None:
        """The reference, to be saved; None where it stays what a folder holds, from which it is made again."""
        return self.ref_model if self._reference_moves or not self.agent.model.config.name_or_path else None

    def move_reference(self) -> None:
        """Give the reference weights of its own, for whoever moves them."""
        self.ref_model, self._reference_moves = reference_of(self.agent.model, own=True), True
        self._ref_agent = self._speaking(self.ref_model)

    @contextmanager
    def updating(self) -> Iterator[None]:
        """Switch dropout off and set the learning rate for one update; count it.

        Adam's moments are on the model's device inside, and on the CPU outside, where the other player learns.

        Raises:
            FloatingPointError: something in the update was no finite number; the message says which update and what.
        """
        set_learning_rate(self._optimizer, self.learning_rate())
        self.num_updates += 1
        self._ptx_losses, self._grad_norms = [], []
        place_moments(self._optimizer, self.agent.model.device)
        try:
            with evaluating(self.agent.model), numbered("update", self.num_updates):
                yield
        finally:
            self._first = None
            place_moments(self._optimizer, torch.device("cpu"))

    def learning_rate(self) -> float:
        """Return the learning rate of the next update."""
        warmup, final = self.config.warmup_updates, self.config.final_learning_rate_share
        share = learning_rate_share(self.num_updates, self.num_planned, warmup_updates=warmup, final_share=final)
        return self.config.learning_rate * share

    def said(self, batch: Trajectories, *, reference: bool = False) -> TokenEvaluation:
        """Return what the model, or its reference, says of a batch, without gradients."""
        agent = self._ref_agent if reference else self.agent
        with timed("estimates"):
            return TokenEvaluation(*said_of(lambda part: _evaluate(agent, part), batch, self.config.tokens_at_once))

    def said_before(self, batch: Trajectories, *, entropy_grad: bool = False) -> TokenEvaluation:
        """Return what the model says of a batch before an update, without gradients.

        Where the first gradient step is on the whole batch, and the batch may pass at once, one pass serves both:
        `gradient_steps` hands it on, with gradients.
        """
        said = None
        if self.config.num_minibatches == 1:
            with timed("estimates"):
                said = said_at_once(
                    lambda part: _evaluate(self.agent, part, entropy_grad=entropy_grad),
                    batch,
                    self.config.tokens_at_once,
                )
        if said is None:
            return self.said(batch)
        self._first = TokenEvaluation(*said)
        return TokenEvaluation(*(one.detach() for one in said))

    def gradient_steps(
        self, batch: Trajectories, num_epochs: int, rng: np.random.Generator
    ) -> Iterator[tuple[Tensor, TokenEvaluation | None]]:
        """Yield the rows of each gradient step, and what `said_before` knows of them with gradients, if anything."""
        for _ in range(num_epochs):
            for rows in self.minibatches(len(batch), rng):
                if self._first is None:
                    yield rows, None
                else:
                    width = int(batch.attention_mask.sum(1).max())  # as `select` trims it
                    first, self._first = TokenEvaluation(*(said[:, :width] for said in self._first)), None
                    yield torch.arange(len(batch), device=rows.device), first
                    del first  # and the memory of its pass

    def step(
        self,
        batch: Trajectories,
        loss_of: Callable[[TokenEvaluation], tuple[Tensor, ReportT]],
        rng: np.random.Generator,
        *,
        entropy_grad: bool = False,
        said: TokenEvaluation | None = None,
    ) -> ReportT:
        """Take one gradient step on a minibatch; return what `loss_of` reports.

        Args:
            batch: the minibatch.
            loss_of: from what the model says of it to the loss, and a report.
            rng: draws the start's own data, where they count.
            entropy_grad: whether the loss has entropies in it.
            said: what the model says of it, if it is known, with gradients.
        """
        with timed("gradient_steps"):
            return self._stepped(batch, loss_of, rng, entropy_grad=entropy_grad, said=said)

    def _stepped(
        self,
        batch: Trajectories,
        loss_of: Callable[[TokenEvaluation], tuple[Tensor, ReportT]],
        rng: np.random.Generator,
        *,
        entropy_grad: bool,
        said: TokenEvaluation | None,
    ) -> ReportT:
        config = self.config
        self._optimizer.zero_grad(set_to_none=True)

        def loss_before_backward(said: Sequence[Tensor]) -> tuple[Tensor, ReportT]:
            found = loss_of(TokenEvaluation(*said))
            put_on(self.agent.model)  # others may have spoken since its pass
            return found

        report = backward_in_parts(
            lambda part: _evaluate(self.agent, part, entropy_grad=entropy_grad),
            batch,
            loss_before_backward,
            config.tokens_at_once,
            said=said,
        )
        if self._ptx is not None and config.ptx_coef:
            with self.agent.computing():
                nats = self._ptx.backward(
                    self.agent.model,
                    config.ptx_batch_size,
                    rng,
                    coef=config.ptx_coef,
                    tokens_at_once=config.tokens_at_once,
                )
            self._ptx_losses.append(nats)
        self._grad_norms.append(descend(self._optimizer, self._parameters, max_grad_norm=config.max_grad_norm))
        self._optimizer.zero_grad(set_to_none=True)  # the other player needs the memory
        return report

    def stop_at(self, target_kl: float | None, logprobs: Tensor, old: Tensor, own: Tensor) -> None:
        """Raise TooFar where log pi has left what it was before the update by more than so many nats a token (k3)."""
        if target_kl and float(masked_mean(k3(logprobs.detach(), old), own)) > target_kl:
            raise TooFar

    def watched_kl(self, old: Tensor, ref: Tensor, own: Tensor) -> tuple[float, float]:
        """Return the mean log pi - log ref of a reply and of a token, in nats; warn where the latter is large."""
        total = float((old - ref).sum())
        a_reply, a_token = total / len(own), total / max(1, int(own.sum()))
        if a_token > WARNED_KL_NATS:
            _LOG.warning(
                "update %d: the policy is %.2f nats a token from its start, more than %g: it may say nothing sensible "
                "any more; a lower learning rate, a higher kl_coef or a target_kl would hold it back",
                self.num_updates,
                a_token,
                WARNED_KL_NATS,
            )
        return a_reply, a_token

    def watched(self, batch: Trajectories, kl_nats: tuple[float, float], num_steps: int) -> dict[str, Any]:
        """Return what every update from rewards reports beside its losses, by field; `kl_nats` is of `watched_kl`."""
        return {
            "kl_nats": kl_nats[0],
            "kl_nats_per_token": kl_nats[1],
            "tokens_per_reply": batch.num_policy_tokens / len(batch),
            "grad_norm": self.grad_norm,
            "learning_rate": self.last_learning_rate,
            "num_gradient_steps": num_steps,
            "ptx_loss_nats": self.ptx_loss_nats,
        }

    @property
    def grad_norm(self) -> float:
        """The mean norm of the gradients of the latest update, before they were clipped."""
        return float(np.mean(self._grad_norms))

    @property
    def last_learning_rate(self) -> float:
        """The learning rate of the latest update."""
        return float(self._optimizer.param_groups[0]["lr"])

    def _speaking(self, model: PreTrainedModel) -> CausalLMAgent:
        """Return an agent that says what a model says, as the learner's own is sampled and computed."""
        return self.agent.with_model(model)

    def minibatches(self, num_rows: int, rng: np.random.Generator) -> list[Tensor]:
        """Return the rows of each gradient step of a pass, in random order."""
        parts = np.array_split(rng.permutation(num_rows), min(self.config.num_minibatches, num_rows))
        return [torch.from_numpy(rows).to(self.agent.model.device) for rows in parts]

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
        steps, batch = list[Tensor](), batch.to(self.agent.model.device)
        with self.updating():
            ref = self.said(batch, reference=True).logprobs
            old = self.said_before(batch).logprobs
            advantages = self._over_tokens(batch, self.advantages(batch, old, ref))
            for name, numbers in (("rewards", batch.rewards), ("logprobs", old - ref), ("advantages", advantages)):
                require_finite(name, numbers)
            kl_nats = self.watched_kl(old, ref, batch.policy_token_mask)
            with suppress(TooFar):
                for rows, said in self.gradient_steps(batch, self.num_epochs, rng):
                    steps.append(self._step(batch.select(rows), old[rows], advantages[rows], ref[rows], rng, said))
        loss, entropy, clipped = torch.stack(steps).mean(0).tolist()
        watched = self.watched(batch, kl_nats, len(steps))
        return PolicyGradientUpdate(policy_loss=loss, entropy_nats=entropy, clip_fraction=clipped, **watched)

    def _step(
        self,
        part: Trajectories,
        old: Tensor,
        advantages: Tensor,
        ref: Tensor,
        rng: np.random.Generator,
        said: TokenEvaluation | None = None,
    ) -> Tensor:
        """Take one gradient step; return its loss, entropy and clip fraction, (3,)."""
        own, width = part.policy_token_mask, part.tokens.shape[1]
        old, advantages, ref = (numbers[:, :width] for numbers in (old, advantages, ref))

        def loss_of(said: TokenEvaluation) -> tuple[Tensor, Tensor]:
            if isinstance(self.config, ClippedConfig):
                self.stop_at(self.config.target_kl, said.logprobs, old, own)
            ratio = probability_ratio(said.logprobs, old, own)
            loss = self.loss(said.logprobs, ratio, advantages, ref, own)
            require_finite("loss", loss)  # it may be a user's
            report = loss, masked_mean(said.entropies, own), self._clip_fraction(ratio, own)
            return loss, torch.stack(report).detach()

        return self.step(part, loss_of, rng, said=said)

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


def _evaluate(agent: CausalLMAgent, batch: Trajectories, *, entropy_grad: bool = False) -> TokenEvaluation:
    given = (batch.tokens, batch.attention_mask, batch.policy_token_mask, batch.legal_mask)
    return agent.evaluate(*given, entropy_grad=entropy_grad)
