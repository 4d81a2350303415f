"""The micro model: a small Llama-style transformer from scratch, for the micro tier and for tests."""

from __future__ import annotations

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from ...envs import Vocabulary


def micro_model(
    vocabulary: Vocabulary,
    *,
    hidden_size: int = 96,
    num_layers: int = 3,
    num_heads: int = 4,
    max_positions: int = 256,
    seed: int = 0,
) -> LlamaForCausalLM:
    """Return a randomly initialised causal model over the vocabulary; the default has about 0.35 M parameters.

    The caller's random state is left as it was.
    """
    config = LlamaConfig(
        vocab_size=vocabulary.size,
        hidden_size=hidden_size,
        intermediate_size=int(hidden_size * 8 / 3),
        num_hidden_layers=num_layers,
        num_attention_heads=num_heads,
        max_position_embeddings=max_positions,
        tie_word_embeddings=True,
        pad_token_id=0,
        bos_token_id=None,
        eos_token_id=vocabulary.eos_id,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return LlamaForCausalLM(config)
