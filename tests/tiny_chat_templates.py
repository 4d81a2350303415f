"""Chat templates with the structure of well-known families, and small tokenizers for them, all built here.

`tiny_tokenizers` has the bare marks of each family; these add what the families' templates do besides: a system message
that is always there, thoughts that are dropped from earlier replies, messages that must alternate, a date.
"""

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from duologue.tests.tiny_tokenizers import SENTENCES

CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
LLAMA_3 = (
    "{% for message in messages %}"
    "{% set text = '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n' + message['content'] | trim %}"
    "{{ (bos_token if loop.first else '') + text + '<|eot_id|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)
LLAMA_3_DATED = (
    "{{ bos_token }}<|start_header_id|>system<|end_header_id|>\n\nToday is {{ DATE }}.\n\n"
    "{% if messages and messages[0]['role'] == 'system' %}{{ messages[0]['content'] | trim }}"
    "{% set messages = messages[1:] %}{% endif %}<|eot_id|>"
    "{% for message in messages %}<|start_header_id|>{{ message['role'] }}<|end_header_id|>\n\n"
    "{{ message['content'] | trim }}<|eot_id|>{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)
"""Like Llama 3.1's: a system message that is always there. DATE is to be replaced by an expression."""
QWEN = (
    "{% set ns = namespace(query=-1) %}"
    "{% for message in messages %}{% if message['role'] == 'user' %}{% set ns.query = loop.index0 %}{% endif %}"
    "{% endfor %}{% for message in messages %}"
    "{% if message['role'] == 'assistant' %}"
    "{% set said = message['content'].split('</think>')[-1].lstrip('\n') %}"
    "{% set thought = message['content'].split('</think>')[0].split('<think>')[-1].strip('\n')"
    " if '</think>' in message['content'] else '' %}"
    "{{ '<|im_start|>assistant\n' }}"
    "{% if loop.index0 > ns.query and (loop.last or thought) %}"
    "{{ '<think>\n' + thought + '\n</think>\n\n' }}{% endif %}"
    "{{ said + '<|im_end|>\n' }}"
    "{% else %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
"""Like Qwen 3's: ChatML, where a reply has a thought only after the last question."""
GEMMA = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
    "{% for message in messages %}"
    "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('roles alternate') }}{% endif %}"
    "{% set role = 'model' if message['role'] == 'assistant' else message['role'] %}"
    "{{ '<start_of_turn>' + role + '\n' + message['content'] | trim + '<end_of_turn>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"
)
"""Like Gemma's: no system role, the assistant is "model", and user and model alternate, the user first."""

MARKS = {
    CHATML: ("<|endoftext|>", "<|im_end|>", "<|im_start|>"),
    LLAMA_3: ("<|begin_of_text|>", "<|eot_id|>", "<|start_header_id|>", "<|end_header_id|>"),
    QWEN: ("<|endoftext|>", "<|im_end|>", "<|im_start|>", "<think>", "</think>"),
    GEMMA: ("<bos>", "<end_of_turn>", "<start_of_turn>"),
}
"""The special tokens of a template: the first begins a text, the second ends a turn."""


def chat_tokenizer(template: str, *, marks: tuple[str, ...] | None = None) -> PreTrainedTokenizerFast:
    """Return a byte-level BPE tokenizer of 400 tokens at most with a chat template.

    Args:
        template: the template, one of `MARKS` unless `marks` are given.
        marks: the special tokens, the first of which begins a text and the second of which ends a turn.
    """
    marks = MARKS[template] if marks is None else marks
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        show_progress=False,
        special_tokens=["<pad>", *marks],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    tokenizer.train_from_iterator((*SENTENCES, "Today is 26 July 2024.", "assistant user system model"), trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", bos_token=marks[0], eos_token=marks[1]
    )
    fast.chat_template = template
    return fast
