"""Hugging Face tokenizers from local folders."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (
    AutoTokenizer,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)


def load_tokenizer(folder: str | Path, *, trust_remote_code: bool = False) -> PreTrainedTokenizerBase:
    """Return the tokenizer saved in a folder; nothing is downloaded.

    Args:
        folder: what `save_pretrained` wrote.
        trust_remote_code: whether Python code in the folder may be run; without it such a folder is refused.

    Raises:
        ValueError: there is no such folder, or no tokenizer in it.
    """
    if not Path(folder).is_dir():
        raise ValueError(f"tokenizer: expected a folder with a saved tokenizer, got {str(folder)!r}")
    try:
        tokenizer = AutoTokenizer.from_pretrained(
            str(folder), local_files_only=True, trust_remote_code=trust_remote_code
        )
    except Exception as error:  # a hostile folder ends in any error of Python's
        raise ValueError(f"tokenizer {folder}: expected a folder with a saved tokenizer, got {error}") from error
    assert isinstance(tokenizer, PreTrainedTokenizerBase)
    return tokenizer


PAD, BEGIN, END = "<|pad|>", "<|begin|>", "<|end|>"

ROLE_TOKENS = ("<|system|>", "<|user|>", "<|assistant|>")

CHAT_TEMPLATE = (
    "<|begin|>{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def train_tokenizer(texts: Iterable[str], *, vocab_size: int = 4096) -> PreTrainedTokenizerFast:
    """Return a byte-level BPE tokenizer with a chat template and one special token for each of its marks.

    The padding token has id 0. A pair of texts is encoded for a classifier as `<|begin|> a <|end|> b
    <|end|>`.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        show_progress=False,
        special_tokens=[PAD, BEGIN, END, *ROLE_TOKENS],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
    )
    tokenizer.train_from_iterator(texts, trainer)
    marks = [(mark, tokenizer.token_to_id(mark)) for mark in (BEGIN, END)]
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A", pair=f"{BEGIN} $A {END} $B:1 {END}:1", special_tokens=marks
    )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        bos_token=BEGIN,
        eos_token=END,
        additional_special_tokens=list(ROLE_TOKENS),
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
    )
    fast.chat_template = CHAT_TEMPLATE
    return fast
