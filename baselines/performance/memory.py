"""What both players of a game need on one device, in bytes: counted on models without weights, by the code's own sizes.

    python -m duologue.baselines.performance.memory

Nothing is run: models are built on torch's meta device, adapters are put on them, and what has a gradient and what has
not is counted as the learners have it. The backward pass is an estimate: it depends on the family and on fused kernels.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

import torch
from transformers import AutoModelForCausalLM, LlamaConfig, PreTrainedModel

from ...agents.language_model.adapters import NewAdapter, SharedBase
from ...agents.language_model.scoring import LOGITS_AT_ONCE
from ..training.presets import PRESETS

GIB = 2**30
SINGLE, HALF = 4, 2
"""Bytes of a number in float32 and in bfloat16."""
LOGIT_COPIES = 4
"""Tensors as large as a chunk of logits at the same time: logits, their log-softmax, its exponential, its gradient."""
CARD_GIB = 80
"""Of the card that the table is about."""


@dataclass(frozen=True, kw_only=True)
class Family:
    """The shape of a language model, as its makers have published it."""

    name: str
    hidden_size: int
    num_layers: int
    num_heads: int
    num_key_value_heads: int
    intermediate_size: int
    vocab_size: int
    tied: bool

    def config(self) -> LlamaConfig:
        """Return it as transformers builds it."""
        return LlamaConfig(
            hidden_size=self.hidden_size,
            num_hidden_layers=self.num_layers,
            num_attention_heads=self.num_heads,
            num_key_value_heads=self.num_key_value_heads,
            intermediate_size=self.intermediate_size,
            vocab_size=self.vocab_size,
            tie_word_embeddings=self.tied,
        )


FAMILIES = (
    Family(name="0.5 B", hidden_size=896, num_layers=24, num_heads=14, num_key_value_heads=2,
           intermediate_size=4864, vocab_size=151936, tied=True),
    Family(name="1.5 B", hidden_size=1536, num_layers=28, num_heads=12, num_key_value_heads=2,
           intermediate_size=8960, vocab_size=151936, tied=True),
    Family(name="3 B", hidden_size=2048, num_layers=36, num_heads=16, num_key_value_heads=2,
           intermediate_size=11008, vocab_size=151936, tied=True),
    Family(name="8 B", hidden_size=4096, num_layers=32, num_heads=32, num_key_value_heads=8,
           intermediate_size=14336, vocab_size=128256, tied=False),
)  # fmt: skip
"""Qwen2.5's three sizes and Llama 3.1's."""


@dataclass(frozen=True, slots=True)
class Need:
    """Bytes on the device, of both players together."""

    weights: int
    """Of the policies, adapters or whole."""
    references: int
    """Of frozen models that KL is measured to; 0 where they are the base."""
    gradients: int
    """Of one player: they are freed before the other learns."""
    moments: int
    """Adam's two, of one player: the other's are on the CPU meanwhile."""
    logits: int
    """A chunk of them, and what is computed of it."""
    activations: int
    """What a backward pass over `tokens_at_once` keeps; an estimate."""

    @property
    def total(self) -> int:
        """The sum."""
        return sum(getattr(self, name) for name in self.__slots__)


def need(family: Family, *, lora_rank: int, tokens_at_once: int, gradient_checkpointing: bool, half: bool) -> Need:
    """Return what GPO's two players need.

    Args:
        family: of both.
        lora_rank: of their adapters on one base; 0: two models whose weights are all trained, in float32.
        tokens_at_once: that pass through a model at a time.
        gradient_checkpointing: whether layers keep their inputs alone.
        half: whether a base, and what is computed, is in bfloat16.
    """
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(family.config())
    if lora_rank:
        base = _bytes(model, HALF if half else SINGLE)
        trained = _bytes(SharedBase(model).new(NewAdapter(rank=lora_rank)), SINGLE)
        weights, references = base + 2 * trained, 0
    else:
        trained = _bytes(model, SINGLE)
        weights, references = 2 * trained, 2 * trained
    number = HALF if half else SINGLE
    return Need(
        weights=weights,
        references=references,
        gradients=trained,
        moments=2 * trained,
        logits=LOGIT_COPIES * SINGLE * max(LOGITS_AT_ONCE, family.vocab_size),
        activations=number * tokens_at_once * _numbers_kept(family, gradient_checkpointing=gradient_checkpointing),
    )


def _numbers_kept(family: Family, *, gradient_checkpointing: bool) -> int:
    """Return how many numbers a backward pass keeps for each token, by the layers of a Llama.

    A layer keeps its input, two normalised copies of it in float32 and as computed, queries, keys, values, what
    attention gives, the sum after it, and three tensors as wide as its middle. Computed twice, it keeps its input, and
    one layer at a time has the rest.
    """
    width, middle = family.hidden_size, family.intermediate_size
    key_width = width * family.num_key_value_heads // family.num_heads
    layer = 2 * width + 2 * 3 * width + 2 * width + 2 * key_width + 3 * middle
    return family.num_layers * width + layer if gradient_checkpointing else family.num_layers * layer


def _bytes(model: PreTrainedModel, size: int) -> int:
    return size * sum(weight.numel() for weight in model.parameters())


def table() -> str:
    """Return the needs of both players of GPO as a Markdown table, one row for each size and way to train."""
    tokens = int(PRESETS["pretrained_lora"]["tokens_at_once"])
    rank = int(PRESETS["pretrained_lora"]["lora_rank"])
    lines = [
        f"| both players, {tokens} tokens at once, GiB | weights | references | gradients | Adam | logits | "
        f"activations | in all | of {CARD_GIB} |",
        "| --- " + "| ---: " * 7 + "| --- |",
    ]
    ways = (
        (f"LoRA {rank}, bfloat16 base, layers computed twice", {"lora_rank": rank, "half": True, "twice": True}),
        (f"LoRA {rank}, bfloat16 base", {"lora_rank": rank, "half": True, "twice": False}),
        ("all weights, float32, autocast, layers computed twice", {"lora_rank": 0, "half": True, "twice": True}),
    )
    for family in FAMILIES:
        for said, how in ways:
            found = need(
                family,
                lora_rank=int(how["lora_rank"]),
                half=bool(how["half"]),
                gradient_checkpointing=bool(how["twice"]),
                tokens_at_once=tokens,
            )
            parts = [f"{getattr(found, name) / GIB:.1f}" for name in Need.__slots__]
            total = found.total / GIB
            fits = "fits" if total < CARD_GIB else "too much"
            lines.append(f"| {family.name}, {said} | {' | '.join(parts)} | {total:.1f} | {fits} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(table())
