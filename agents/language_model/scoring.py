"""What a pass over whole sequences costs in memory: logits of a few positions at a time, layers computed twice.

The logits of N tokens out of V are N V numbers, for a batch of 192 replies of 64 tokens out of 152,000 those are 7.5 GB
in float32, and a log-softmax with its gradient holds several as large. So the output layer is applied to hidden states
in chunks, each of which is computed again where its gradient is wanted (Chen et al., 2016, arXiv 1604.06174).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel
from transformers.modeling_layers import GradientCheckpointingLayer

from .checkpoints import text_config

LOGITS_AT_ONCE = 2**24
"""So many logits, 64 MiB in float32, are computed at a time."""
IMPOSSIBLE = -1e4
"""A log-probability, in nats, whose probability is 0 in any precision."""

Head: TypeAlias = Callable[[PreTrainedModel, Tensor], Tensor]
"""From the backbone's last hidden states (N, H) to logits (N, V)."""


def score(logits: Tensor, said: Tensor, *, entropy_grad: bool) -> tuple[Tensor, Tensor]:
    """Return the log-probability of each token that was said, and the entropy of what it was drawn from; (N,) each.

    Args:
        logits: (N, V), -inf for what could not be said.
        said: the tokens; (N,).
        entropy_grad: whether a gradient of the entropies is wanted, which holds two more tensors of the size.
    """
    logprobs = torch.log_softmax(logits, dim=-1)
    own = logprobs.gather(-1, said[:, None]).squeeze(-1)
    with nullcontext() if entropy_grad else torch.no_grad():
        entropies = -(logprobs.exp() * logprobs.clamp(min=IMPOSSIBLE)).sum(-1)
    return own, entropies


def in_chunks(scores: Callable[[slice], tuple[Tensor, Tensor]], num_positions: int, size: int) -> tuple[Tensor, Tensor]:
    """Return what `scores` says of all positions, `size` of them at a time; with gradients each is computed twice."""
    found = []
    for start in range(0, num_positions, size):
        part = slice(start, min(start + size, num_positions))
        if torch.is_grad_enabled():
            found.append(checkpoint(scores, part, use_reentrant=False, preserve_rng_state=False))
        else:
            found.append(scores(part))
    own, entropies = (torch.cat(parts) for parts in zip(*found, strict=True))
    return own, entropies


@contextmanager
def computed_twice(model: PreTrainedModel, asked: bool) -> Iterator[None]:
    """Let the layers of a model keep nothing but their inputs inside, and be computed again for their gradients.

    Raises:
        ValueError: it has no layers that can be.
    """
    if not (asked and torch.is_grad_enabled()):
        yield
        return
    whole = getattr(model, "unadapted", model)
    layers = [module for module in whole.modules() if isinstance(module, GradientCheckpointingLayer)]
    if not layers:
        raise ValueError(
            f"gradient_checkpointing: expected a model of layers that can be computed twice, got {type(whole).__name__}"
        )
    for layer in layers:  # and not by transformers' own switch, which works in training mode alone, dropout and all
        layer.forward = partial(checkpoint, layer.forward, use_reentrant=False, preserve_rng_state=False)
    try:
        yield
    finally:
        for layer in layers:
            del layer.forward


def plain_head(model: PreTrainedModel, hidden: Tensor) -> Tensor:
    """Return the logits of hidden states by the output layer alone."""
    logits: Tensor = model.get_output_embeddings()(hidden)
    return logits


def _finished(name: str, finish: Callable[[Tensor, float], Tensor], model: PreTrainedModel, hidden: Tensor) -> Tensor:
    return finish(plain_head(model, hidden), getattr(text_config(model.config), name))


FINISHES: Mapping[str, Callable[[Any, Any], Any]] = {
    "final_logit_softcapping": lambda logits, cap: cap * torch.tanh(logits / cap),  # Gemma 2
    "logits_scaling": lambda logits, scale: logits / scale,  # Granite
    "logit_scale": lambda logits, scale: logits * scale,  # Cohere
}
"""What some families do with the output layer's logits, by the option that says how much."""


def heads_of(model: PreTrainedModel) -> list[Head]:
    """Return the ways in which a model may come from hidden states to logits; which is right, is to be tried."""
    config = text_config(model.config)
    given = [name for name in FINISHES if isinstance(getattr(config, name, None), int | float)]
    return [plain_head, *(partial(_finished, name, FINISHES[name]) for name in given)]
