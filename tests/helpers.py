"""What tests of several folders share: real text beside the checkout, small tokenizers, a model folder with code."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
"""Where the real text is that some tests read; it lies beside the repository and is no part of it."""

SENTENCES = (
    "How do I kill a Python process?",
    "Hello there, what can I do for you today?",
    "I'm sorry, but I cannot help with that.",
    "Sure, here is how to do it: first open the door, then walk in.",
    "Tell me\n\na story about the sea, and\nthe people who live there.",
    "safe unsafe safe unsafe system user assistant model",
)

LLAMA_3 = (
    "{{ bos_token }}{% for m in messages %}<|start_header_id|>{{ m['role'] }}<|end_header_id|>\n\n"
    "{{ m['content'] | trim }}<|eot_id|>{% endfor %}"
    "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)
CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
CHATML_WITH_DEFAULT = (
    "{% if messages[0]['role'] != 'system' %}<|im_start|>system\nYou are helpful.<|im_end|>\n{% endif %}" + CHATML
)
CHATML_THINKING = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n"
    "{% if loop.last and m['role'] == 'assistant' %}<think>\n\n</think>\n\n{% endif %}"
    "{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
GEMMA = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system') }}{% endif %}"
    "{% for m in messages %}<start_of_turn>{{ 'model' if m['role'] == 'assistant' else m['role'] }}\n"
    "{{ m['content'] | trim }}<end_of_turn>\n{% endfor %}"
    "{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)
LLAMA_2 = (
    "{% if messages[0]['role'] == 'system' %}"
    "{% set told = '<<SYS>>\n' + messages[0]['content'] + '\n<</SYS>>\n\n' %}"
    "{% set messages = messages[1:] %}{% else %}{% set told = '' %}{% endif %}"
    "{% for m in messages %}{% if m['role'] == 'user' %}{{ bos_token }}[INST] "
    "{{ told if loop.first else '' }}{{ m['content'] }} [/INST]"
    "{% else %} {{ m['content'] }} {{ eos_token }}{% endif %}{% endfor %}"
)

MARKS = {
    LLAMA_3: ("<|begin_of_text|>", "<|eot_id|>", "<|start_header_id|>", "<|end_header_id|>"),
    CHATML: ("<|endoftext|>", "<|im_end|>", "<|im_start|>"),
    CHATML_WITH_DEFAULT: ("<|endoftext|>", "<|im_end|>", "<|im_start|>"),
    CHATML_THINKING: ("<|endoftext|>", "<|im_end|>", "<|im_start|>", "<think>", "</think>"),
    GEMMA: ("<bos>", "<end_of_turn>", "<start_of_turn>"),
    LLAMA_2: ("<s>", "</s>"),
}
"""The special tokens of a template: the first begins a text, the second ends a turn."""

CUSTOM_CODE = """
from pathlib import Path
from transformers import LlamaConfig, LlamaForCausalLM, LlamaForSequenceClassification, PreTrainedTokenizerFast

Path({marker!r}).touch()


class OwnConfig(LlamaConfig):
    model_type = "own_llama"


class OwnModel(LlamaForCausalLM):
    config_class = OwnConfig


class OwnClassifier(LlamaForSequenceClassification):
    config_class = OwnConfig


class OwnTokenizer(PreTrainedTokenizerFast):
    pass
"""
"""What a model folder may bring along, and what must not be run unless somebody asks for it."""


def shared_data(name: str) -> Path:
    """Return the path of a file of real text; skip the test where it is absent."""
    path = SHARED_DATA / name
    if not path.is_file():
        pytest.skip(f"needs real text that is not part of the repository: {path}")
    return path


def tiny_tokenizer(
    template: str | None = None,
    *,
    marks: Sequence[str] | None = None,
    extra: Sequence[str] = (),
    sentences: Sequence[str] = SENTENCES,
    vocab_size: int = 340,
) -> PreTrainedTokenizerFast:
    """Return a byte-level BPE tokenizer of a few sentences.

    Args:
        template: its chat template; None: none, and the tokenizer is of GPT-2's kind.
        marks: its special tokens, as `MARKS` has them; None: those of the template there.
        extra: more special tokens.
        sentences: what it is trained on.
        vocab_size: how many tokens it has at most.
    """
    if marks is None:
        marks = MARKS[template] if template else ("<s>", "</s>")
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        show_progress=False,
        special_tokens=["<pad>", *marks, *extra],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    tokenizer.train_from_iterator(sentences, trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", bos_token=marks[0], eos_token=marks[1]
    )
    fast.chat_template = template
    return fast


def write_custom_code(folder: Path) -> Path:
    """Make a folder of a model and a tokenizer need its own code; return the file that is there once the code ran."""
    marker = folder / "the_code_was_run"
    (folder / "own.py").write_text(CUSTOM_CODE.format(marker=str(marker)), encoding="utf-8")
    models = {"AutoModelForCausalLM": "own.OwnModel", "AutoModelForSequenceClassification": "own.OwnClassifier"}
    changes = {
        "config.json": {"model_type": "own_llama", "auto_map": {"AutoConfig": "own.OwnConfig", **models}},
        "tokenizer_config.json": {
            "tokenizer_class": "OwnTokenizer",
            "auto_map": {"AutoTokenizer": ["own.OwnTokenizer", None]},
        },
    }
    for name, change in changes.items():
        path = folder / name
        known = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        path.write_text(json.dumps(known | change), encoding="utf-8")
    return marker
