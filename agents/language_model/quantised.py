"""Bases in 4 or 8 bits: a frozen model's linear maps rounded when it is read, by bitsandbytes through transformers.

What is trained beside them is an adapter in float32 (QLoRA: Dettmers et al., 2023, arXiv 2305.14314). In 4 bits the
weights are rounded to NormalFloat4, their scales once more, and made whole again for each product, so that what a model
says is as exact as with any other weights. In 8 bits (LLM.int8: Dettmers et al., 2022, arXiv 2208.07339) what comes in
is rounded as well, row by row: sampled and evaluated log-probabilities then agree to hundredths of a nat and not to
10^-4. Large activations are not treated apart, as whether there are any would depend on the other rows of a batch.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Literal, TypeAlias, get_args

import torch
from transformers import BitsAndBytesConfig, PreTrainedModel

from ...envs.extras import from_extra

Bits: TypeAlias = Literal[4, 8]
BLOCK = 64
"""So many weights of 4 bits share a scale."""
for _part in ("autograd._functions", "backends.cpu.ops"):  # of every product: it rounds; of every import: no kernels
    logging.getLogger(f"bitsandbytes.{_part}").setLevel(logging.ERROR)


def check_bits(name: str, bits: Any) -> Bits:
    """Return the bits; raise ValueError for others than 4 and 8."""
    if isinstance(bits, bool) or bits not in get_args(Bits):
        raise ValueError(f"{name}: expected 4 or 8, got {bits!r:.80}")
    found: Bits = bits
    return found


def load_quantised(
    load: Callable[..., PreTrainedModel], bits: Bits, *, device: torch.device, dtype: torch.dtype
) -> PreTrainedModel:
    """Return a model whose linear maps, but the output's, are rounded to so many bits as it is read.

    Args:
        load: reads it, given the options of `from_pretrained` that say how.
        bits: 4 or 8.
        device: where it is put.
        dtype: what products are computed in.

    Raises:
        ValueError: other bits than 4 and 8, or a model of odd widths, in 4 bits on a CPU.
        ImportError: bitsandbytes or accelerate is not installed.
    """
    check_bits("base_bits", bits)
    with from_extra("quantisation", need="base_bits: expected bitsandbytes and accelerate"):
        import accelerate  # noqa: F401  transformers asks for it
        from bitsandbytes.nn.modules import Linear4bit
    if bits == 8:
        config = BitsAndBytesConfig(load_in_8bit=True, llm_int8_threshold=0.0)
    else:
        config = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=dtype,
        )
    model = load(quantization_config=config, device_map={"": device})
    four = [(name, module) for name, module in model.named_modules() if isinstance(module, Linear4bit)]
    for name, module in four:
        module.support_avx512bf16_for_cpu = False  # else a first pass without gradients ends all gradients
        if device.type == "cpu" and module.in_features % BLOCK:
            raise ValueError(
                f"base_bits: expected linear maps from a multiple of {BLOCK} numbers for 4 bits on a CPU, where "
                f"bitsandbytes reads others wrongly, got {name} from {module.in_features}"
            )
    return model
