"""Causal language models to train on text: new ones, those of a folder, and low-rank adapters on either."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM, PreTrainedModel, PreTrainedTokenizerBase

from ...agents.language_model.causal_lm import Attention
from ...agents.language_model.checkpoints import load_checkpoint, positions_of, require_embeddings, without_bars
from ...envs.extras import from_extra
from ..training.checks import Options, Width, check_model_size

ADAPTER_FOLDER = "adapter"

FLASH: Attention = "flash_attention_2"


@dataclass(frozen=True, kw_only=True)
class ModelSize(Options):
    """The size of a new Llama-style model; the default has 2.6 M parameters over 4096 tokens.

    Over 16,384 tokens, hidden_size=640, num_layers=12 and num_heads=10 have 70 M.
    """

    hidden_size: Width = 192
    """Width."""
    num_layers: Width = 4
    """Depth."""
    num_heads: Width = 6
    """Attention heads."""

    def __post_init__(self) -> None:
        """Check the sizes; raise ValueError where one is absurd."""
        super().__post_init__()
        check_model_size(hidden_size=self.hidden_size, num_layers=self.num_layers, num_heads=self.num_heads)


def new_model(
    tokenizer: PreTrainedTokenizerBase,
    size: ModelSize,
    *,
    max_positions: int,
    seed: int,
    attn_implementation: Attention = "sdpa",
) -> LlamaForCausalLM:
    """Return a randomly initialised model over a tokenizer; the caller's random state is left as it was.

    Raises:
        ImportError: flash attention was asked for, and its package is not installed.
    """
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=size.hidden_size,
        intermediate_size=int(size.hidden_size * 8 / 3),
        num_hidden_layers=size.num_layers,
        num_attention_heads=size.num_heads,
        max_position_embeddings=max_positions,
        tie_word_embeddings=True,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_config(config, attn_implementation=attn_implementation)
    assert isinstance(model, LlamaForCausalLM)
    return model


def load_causal_model(
    folder: Path,
    tokenizer: PreTrainedTokenizerBase,
    *,
    max_positions: int,
    attn_implementation: Attention = "sdpa",
    trust_remote_code: bool = False,
) -> PreTrainedModel:
    """Return the model of a folder in float32: nothing is downloaded and no pickle read.

    Args:
        folder: holds config.json and weights as safetensors.
        tokenizer: the model needs an embedding for each of its tokens.
        max_positions: that the model must have.
        attn_implementation: how attention is computed.
        trust_remote_code: whether Python code in the folder may be run; without it such a folder is refused.

    Raises:
        ValueError: no model there, or one with too few embeddings or positions.
    """
    model = load_checkpoint(
        AutoModelForCausalLM,
        folder,
        trust_remote_code=trust_remote_code,
        dtype=torch.float32,
        attn_implementation=attn_implementation,
    )
    require_embeddings(model, len(tokenizer), "the tokenizer", f"model {folder}")
    limit = positions_of(model)
    if limit is not None and limit < max_positions:
        raise ValueError(f"max_row_tokens: expected at most {limit}, the positions of {folder}, got {max_positions}")
    return model


def add_lora(model: PreTrainedModel, *, rank: int, seed: int) -> nn.Module:
    """Return the model with trainable low-rank adapters on every linear map, all else frozen.

    LoRA (Hu et al., 2021, arXiv 2106.09685) by Hugging Face's peft; alpha is twice the rank.

    Raises:
        ImportError: peft is not installed.
    """
    with from_extra("peft", need="lora_rank: expected peft for adapters"):
        from peft import LoraConfig, get_peft_model
    config = LoraConfig(task_type="CAUSAL_LM", r=rank, lora_alpha=2 * rank, target_modules="all-linear")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        adapted = get_peft_model(model, config)
    assert isinstance(adapted, nn.Module)
    return adapted


def plain_model(model: nn.Module) -> PreTrainedModel:
    """Return a transformers model: the given one, or a copy with its adapters merged into the weights."""
    if isinstance(model, PreTrainedModel):
        return model
    merged = copy.deepcopy(model).merge_and_unload()  # type: ignore[operator]
    assert isinstance(merged, PreTrainedModel)
    return merged


def save_causal_model(model: nn.Module, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Write model and tokenizer so that transformers alone can load them; adapters also in a folder of their own."""
    with without_bars():
        plain_model(model).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        if not isinstance(model, PreTrainedModel):
            model.save_pretrained(folder / ADAPTER_FOLDER)  # type: ignore[operator]
