"""Value functions for both players: what a player can expect, fitted to the returns of rollouts from its own views.

One network serves both players, because a view says whose it is. It is fitted at two kinds of places: a view in which
the player is to speak (its V), and the same view with the turn that was said (its Q). The target is the return
from that turn on, the Monte Carlo estimate of equation (4) of arXiv 2402.08078 in its to-go form. Value functions of
both players, for planning, are what section 5.2 of arXiv 2402.08078 asks for.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import PreTrainedModel

from ...agents.language_model.causal_lm import evaluating
from ...agents.language_model.checkpoints import text_config
from ...envs import Utterance, View, Vocabulary
from ..rollouts.episodes import PlayedEpisode
from ..training.checks import Count, LearningRate, NotNegative, Options, Rows
from .optimisation import make_optimizer, numbered, take_step

AT_ONCE = 1024
"""Places that `ValueModel` gives to the model in one batch."""


@dataclass(frozen=True, kw_only=True)
class ValueConfig(Options):
    """How a value function is fitted."""

    num_steps: Count = 400
    """Gradient steps."""
    batch_size: Rows = 128
    """Places in a step."""
    learning_rate: LearningRate = 3e-3
    """AdamW's learning rate; it falls linearly to 0."""
    weight_decay: NotNegative = 0.0
    """AdamW's decay."""


@dataclass(frozen=True, slots=True)
class ValueStep:
    """What one gradient step reports."""

    iteration: int
    """Gradient steps so far."""
    loss: float
    """Mean squared error against the returns, in squared units of the return; luck alone keeps it above 0."""


class ValueData(NamedTuple):
    """Places in episodes and what followed."""

    places: list[NDArray[np.int64]]
    """Token ids of a player's view, each of its own length."""
    returns: NDArray[np.float32]
    """What that player was paid from its turn on; one a place."""


class ValueModel:
    """A transformer with a number at the end: what the player whose view it reads can expect."""

    def __init__(self, model: PreTrainedModel, vocabulary: Vocabulary) -> None:
        """Take a causal language model; its last hidden state is read by a new linear head that starts at 0."""
        self.model, self.vocabulary = model, vocabulary
        self.head = nn.Linear(text_config(model.config).hidden_size, 1, device=model.device)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def parameters(self) -> list[nn.Parameter]:
        """Return what there is to fit."""
        return [*self.model.parameters(), *self.head.parameters()]

    def estimates(self, places: Sequence[NDArray[np.int64]]) -> Tensor:
        """Return the value of each place, with gradients; shape (B,)."""
        device = self.model.device
        tokens = nn.utils.rnn.pad_sequence([torch.from_numpy(place) for place in places], batch_first=True).to(device)
        lengths = torch.tensor([len(place) for place in places], device=device)
        attention = torch.arange(tokens.shape[1], device=device) < lengths[:, None]
        output = self.model(
            input_ids=tokens,
            attention_mask=attention,
            use_cache=False,
            output_hidden_states=True,
            logits_to_keep=1,
        )
        last = output.hidden_states[-1][torch.arange(len(places), device=device), lengths - 1]
        estimates: Tensor = self.head(last).squeeze(-1)
        return estimates

    @torch.no_grad()
    def values(self, views: Sequence[View]) -> NDArray[np.float64]:
        """Return V: what the player of each view can expect before it speaks; shape (B,)."""
        return self._numbers([view.tokens for view in views])

    @torch.no_grad()
    def scores(self, views: Sequence[View], utterances: Sequence[Utterance]) -> NDArray[np.float64]:
        """Return Q: what it can expect once it has said an utterance, as `BestOfN` takes it; shape (B,)."""
        return self._numbers([_after(view, said) for view, said in zip(views, utterances, strict=True)])

    def _numbers(self, places: list[NDArray[np.int64]]) -> NDArray[np.float64]:
        with evaluating(self.model):
            parts = [self.estimates(places[k : k + AT_ONCE]).cpu().numpy() for k in range(0, len(places), AT_ONCE)]
        return np.concatenate([np.zeros(0), *parts]).astype(np.float64)


def value_data(played: Sequence[PlayedEpisode]) -> ValueData:
    """Return the places of both players in finished episodes: before each turn, and after it."""
    places: list[NDArray[np.int64]] = []
    returns: list[float] = []
    for episode in played:
        paid = np.asarray(episode.episode.reward_history)  # (K, 2)
        to_go = paid[::-1].cumsum(0)[::-1]
        for turn, ahead in zip(episode.turns, to_go, strict=True):
            places += [turn.view.tokens, _after(turn.view, turn.utterance)]
            returns += [float(ahead[turn.player])] * 2
    return ValueData(places, np.asarray(returns, dtype=np.float32))


def fit_values(
    values: ValueModel, data: ValueData, config: ValueConfig, rng: np.random.Generator
) -> Iterator[ValueStep]:
    """Fit the value function in place by least squares, and yield after each gradient step."""
    parameters = values.parameters()
    optimizer = make_optimizer(parameters, learning_rate=config.learning_rate, weight_decay=config.weight_decay)
    targets = torch.from_numpy(data.returns).to(values.model.device)
    for iteration in range(config.num_steps):
        rows = rng.integers(len(data.places), size=config.batch_size)
        errors = values.estimates([data.places[row] for row in rows]) - targets[rows]
        for group in optimizer.param_groups:
            group["lr"] = config.learning_rate * (1 - iteration / config.num_steps)
        loss = errors.square().mean()
        with numbered("step", iteration + 1):
            take_step(loss, optimizer, parameters)
        yield ValueStep(iteration + 1, float(loss.detach()))


def _after(view: View, utterance: Utterance) -> NDArray[np.int64]:
    """Return the view's tokens with a turn, closed as the engine closes it."""
    eos = view.vocabulary.eos_id
    said = utterance.tokens[:-1] if utterance.tokens[-1:] == (eos,) else utterance.tokens
    closing = view.vocabulary.close_turn(view.player, view.player)
    return np.concatenate([view.tokens, np.asarray((*said, *closing), dtype=np.int64)])
