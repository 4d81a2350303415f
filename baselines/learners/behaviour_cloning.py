"""Behaviour cloning: pre-training (eq. 7) and supervised fine-tuning (eq. 8) of arXiv 2402.08078, section 4.

The two equations are printed alike: the data and the mask differ. Eq. 7 clones the average player two, every token in
the loss; eq. 8 clones the ideal one, player two's tokens alone, so that player one's get no gradient.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from ...agents.language_model.causal_lm import CausalLMAgent
from ..rollouts.demonstrations import Demonstrations
from ..training.checks import Count, LearningRate, NotNegative, Rows, Whole
from ..training.presets import usual
from ..training.state import Stateful
from .optimisation import SupervisedConfig, make_optimizer, numbered, set_learning_rate, take_step
from .ptx import cloning_loss

LENGTH_BUCKET = 4


@dataclass(frozen=True, kw_only=True)
class BehaviourCloningConfig(SupervisedConfig):
    """How a language model is cloned from demonstrations."""

    tokens_of: Literal["all", "player_0", "player_1"] = "all"
    """Whose tokens are in the loss: all (eq. 7), or one player's (eq. 8: player_1)."""
    num_steps: Count = 1600
    """Gradient steps."""
    batch_size: Rows = 48
    """Views in a step."""
    learning_rate: LearningRate = usual(6e-3)
    """Peak learning rate; linear warm-up, then linear decay to 2 % of it."""
    warmup_steps: Whole = 30
    """Steps until the peak."""
    weight_decay: NotNegative = 0.01
    """AdamW's decay."""


@dataclass(frozen=True, slots=True)
class BehaviourCloningStep:
    """What one gradient step reports."""

    iteration: int
    """Gradient steps so far."""
    loss_nats: float
    """Mean negative log-likelihood of a cloned token."""
    num_tokens: int
    """Tokens in the loss of this step."""


class BehaviourCloning(Stateful):
    """The learner: iterate over it to train; it stops after `num_steps` and can be saved between two steps."""

    saved = ("iteration", "agent.model", "_optimizer")

    def __init__(
        self, agent: CausalLMAgent, demonstrations: Demonstrations, config: BehaviourCloningConfig, *, seed: int
    ) -> None:
        """Take the agent to train in place; `seed` orders the batches."""
        if len(demonstrations) < config.batch_size:
            raise ValueError(
                f"demonstrations: expected at least batch_size={config.batch_size}, got {len(demonstrations)}"
            )
        self.agent, self.config, self.seed, self.iteration = agent, config, seed, 0
        self._data, self._mask = demonstrations, demonstrations.loss_mask(config.tokens_of)
        self.num_tokens = 0
        """Tokens that were in a loss since it was made, each as often as it was."""
        self._parameters = list(agent.model.parameters())
        self._optimizer = make_optimizer(
            self._parameters, learning_rate=config.learning_rate, weight_decay=config.weight_decay
        )

    def __iter__(self) -> Iterator[BehaviourCloningStep]:
        """Yield after each gradient step."""
        self.agent.model.train()
        epoch, batches = -1, list[np.ndarray]()
        per_epoch = len(self._data) // self.config.batch_size
        while self.iteration < self.config.num_steps:
            if self.iteration // per_epoch != epoch:
                epoch = self.iteration // per_epoch
                batches = self._batches(epoch)
            yield self._step(torch.from_numpy(batches[self.iteration % per_epoch]))

    def _step(self, rows: torch.Tensor) -> BehaviourCloningStep:
        with self.agent.computing():
            loss, num_tokens = cloning_loss(self.agent.model, self._data, self._mask, rows)
        set_learning_rate(self._optimizer, self.config.learning_rate_at(self.iteration))
        with numbered("step", self.iteration + 1):
            take_step(loss, self._optimizer, self._parameters, max_grad_norm=self.config.max_grad_norm)
        self.iteration += 1
        self.num_tokens += num_tokens
        return BehaviourCloningStep(self.iteration, float(loss.detach()), num_tokens)

    def _batches(self, epoch: int) -> list[np.ndarray]:
        """Return the epoch's batches of rows, views of like length together, all in random order."""
        rng = np.random.default_rng([self.seed, epoch])
        rows = rng.permutation(len(self._data))
        lengths = self._data.attention_mask.sum(1).numpy()[rows]
        rows = rows[np.argsort(lengths // LENGTH_BUCKET, kind="stable")]
        size = self.config.batch_size
        batches = [rows[start : start + size] for start in range(0, len(rows) - size + 1, size)]
        return [batches[k] for k in rng.permutation(len(batches))]
