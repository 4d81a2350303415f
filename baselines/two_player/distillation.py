"""A mixture distilled into one network: behaviour cloning on a reservoir of what its members said.

NFSP (Heinrich & Silver, 2016, arXiv 1603.01121) keeps its average policy like this. It is a heuristic: the network fits
the mixture's behaviour where the mixture has been, and no guarantee of the mixture's carries over.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from ...agents.language_model.causal_lm import CausalLMAgent, evaluating
from ..functional.supervised import behaviour_cloning_loss
from ..learners.optimisation import make_optimizer, take_step
from ..rollouts.trajectories import Trajectories
from ..training.checks import Count, LearningRate, Options, Rows, check_count
from ..training.presets import usual
from ..training.state import StateValue

ItemT = TypeVar("ItemT")


class Reservoir(Generic[ItemT]):
    """A uniform sample of all that was ever added: algorithm R (Vitter, *Random sampling with a reservoir*, 1985).

    The first `capacity` items fill it. The n-th item afterwards draws a place from 0 to n - 1, and takes it if there is
    such a place; so each of n items is there with probability capacity / n.
    """

    def __init__(self, capacity: int) -> None:
        """Start empty."""
        self.capacity, self.num_seen = check_count("capacity", capacity), 0
        self.items: list[ItemT] = []

    def add(self, item: ItemT, rng: np.random.Generator) -> None:
        """Add one item; `rng` decides whom it replaces, if anyone."""
        self.num_seen += 1
        if len(self.items) < self.capacity:
            self.items.append(item)
            return
        place = int(rng.integers(self.num_seen))
        if place < self.capacity:
            self.items[place] = item


@dataclass(frozen=True, kw_only=True)
class DistillationOptions(Options):
    """How a mixture becomes one network."""

    capacity: Rows = 4096
    """Episodes in the reservoir."""
    num_steps: Count = 60
    """Gradient steps after each round."""
    batch_size: Rows = usual(128)
    """Episodes in a step."""
    learning_rate: LearningRate = usual(3e-3)
    """AdamW's."""


@dataclass(frozen=True, slots=True)
class SaidRow:
    """What one episode showed a player, and which tokens of it the player chose."""

    tokens: NDArray[np.int64]
    own: NDArray[np.bool_]


class Distillation:
    """One network that fits what all members of a growing mixture have said, each heard equally often."""

    def __init__(self, agent: CausalLMAgent, options: DistillationOptions) -> None:
        """Take the agent to train in place."""
        self.agent, self.options = agent, options
        self.reservoir: Reservoir[SaidRow] = Reservoir(options.capacity)
        self._parameters = list(agent.model.parameters())
        self._optimizer = make_optimizer(self._parameters, learning_rate=options.learning_rate, weight_decay=0.0)

    def hear(self, batch: Trajectories, rng: np.random.Generator) -> None:
        """Add one member's episodes to the reservoir; it should be as many for each member."""
        for row, length in enumerate(batch.attention_mask.sum(1).tolist()):
            tokens, own = batch.tokens[row, :length].numpy(), batch.policy_token_mask[row, :length].numpy()
            self.reservoir.add(SaidRow(tokens, own), rng)

    def fit(self, rng: np.random.Generator) -> float:
        """Take the options' number of steps; return the mean loss, in nats an own token."""
        with evaluating(self.agent.model):
            return float(np.mean([self._step(rng) for _ in range(self.options.num_steps)]))

    def _step(self, rng: np.random.Generator) -> float:
        rows = [self.reservoir.items[k] for k in rng.integers(len(self.reservoir.items), size=self.options.batch_size)]
        device = self.agent.model.device
        tokens = _padded([row.tokens for row in rows]).to(device)
        own = _padded([row.own for row in rows]).to(device)
        attention = _padded([np.ones(len(row.tokens), dtype=bool) for row in rows]).to(device)
        loss = behaviour_cloning_loss(self.agent.evaluate(tokens, attention, own).logprobs, own)
        take_step(loss, self._optimizer, self._parameters)
        return float(loss.detach())

    def state_dict(self) -> dict[str, StateValue]:
        """Return all that the next step depends on."""
        return {
            "num_seen": self.reservoir.num_seen,
            "tokens": [row.tokens for row in self.reservoir.items],
            "own": [row.own for row in self.reservoir.items],
            "model": self.agent.model.state_dict(),
            "optimizer": self._optimizer.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a saved state."""
        self.reservoir.num_seen = state["num_seen"]
        self.reservoir.items = [SaidRow(*row) for row in zip(state["tokens"], state["own"], strict=True)]
        self.agent.model.load_state_dict(state["model"])
        self._optimizer.load_state_dict(state["optimizer"])


def _padded(rows: list[NDArray[Any]]) -> torch.Tensor:
    """Return rows of unequal length as one right-padded tensor (B, T)."""
    return nn.utils.rnn.pad_sequence([torch.from_numpy(row) for row in rows], batch_first=True)
