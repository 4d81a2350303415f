"""The bare decode loops that rollouts are compared with."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel


def never_ending(model: PreTrainedModel, eos_id: int) -> PreTrainedModel:
    """Return the model with `<eos>` out of reach, so that everybody says as many tokens; it is changed in place."""
    head = nn.Linear(model.lm_head.in_features, model.lm_head.out_features)
    with torch.no_grad():
        head.weight.copy_(model.lm_head.weight)
        head.bias.zero_()[eos_id] = -1e4
    model.set_output_embeddings(head)
    return model


@torch.no_grad()
def bare_loop(model: PreTrainedModel, prompts: Tensor, num_tokens: int, choose: Callable[[Tensor], Tensor]) -> Tensor:
    """Return `num_tokens` tokens after each prompt (B, T) of one length, by nothing but model calls with a cache."""
    output = model(input_ids=prompts, use_cache=True, logits_to_keep=1)
    said = [choose(output.logits[:, -1])]
    while len(said) < num_tokens:
        output = model(input_ids=said[-1], past_key_values=output.past_key_values, use_cache=True)
        said.append(choose(output.logits[:, -1]))
    return torch.cat(said, dim=1)


def pick_likeliest(logits: Tensor) -> Tensor:
    """Return the likeliest token of each row; (B, 1)."""
    return logits.argmax(-1, keepdim=True)


def pick_sampled(logits: Tensor) -> Tensor:
    """Return a token drawn for each row; (B, 1)."""
    return torch.multinomial(logits.softmax(-1), 1)
