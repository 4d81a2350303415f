"""Chat formats of model families, as their documentation describes them, with small tokenizers of each one's kind.

The templates are written here, from the formats that model cards and papers show, and do what the families' own do to
messages: strip them, refuse roles, write a system message of their own, drop thoughts. What is left out are tools.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import LlamaTokenizer, PreTrainedTokenizerFast

from duologue.tests.helpers import SENTENCES

# ruff: noqa: RUF001 - DeepSeek's marks have full-width bars

TRAINED_ON = (
    *SENTENCES,
    "user assistant system model User Assistant System USER ASSISTANT Human Bot Instruction Response Input",
    "A chat between a curious user and an artificial intelligence assistant.",
    "You are a helpful assistant. How do I? Sure: here. \n\n\n ### ### [INST] [/INST]",
    "<| |> < > :\n\n:\n.\n?\n.\n\n?\n\n",
    '"Yes," she said, (or so): 12 345. I can\'t; the sea (the sea), and so on.',
)
BYTES = [f"<0x{byte:02X}>" for byte in range(256)]
GPT_2_WORDS = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
"""How GPT-2 cuts text before merging (Radford et al., 2019, the released encoder)."""
TIKTOKEN_WORDS = "|".join(
    (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}",
        r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    )
)
"""How tokenizers after GPT-4's do (Llama 3, Qwen): marks take the line breaks that follow them."""

Special = tuple[str | AddedToken, ...]
Maker = Callable[[Special, Special, str, str], Any]


def _marked(inner: Tokenizer, special: Special, added: Special, bos: str, eos: str) -> PreTrainedTokenizerFast:
    names = {"pad_token": "<pad>", "eos_token": eos} | ({"bos_token": bos} if bos else {})
    fast = PreTrainedTokenizerFast(tokenizer_object=inner, **names)
    fast.add_special_tokens({"additional_special_tokens": list(special)})
    fast.add_tokens(list(added))
    return fast


def byte_level(words: str) -> Maker:
    """Return what makes byte-level BPE tokenizers that cut text by a pattern."""

    def make(special: Special, added: Special, bos: str, eos: str) -> Any:
        inner = Tokenizer(models.BPE())
        cut = pre_tokenizers.Split(Regex(words), "isolated")
        inner.pre_tokenizer = pre_tokenizers.Sequence(
            [cut, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
        )
        inner.decoder = decoders.ByteLevel()
        alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
        trainer = trainers.BpeTrainer(
            vocab_size=500, show_progress=False, special_tokens=["<pad>"], initial_alphabet=alphabet
        )
        inner.train_from_iterator(TRAINED_ON * 3, trainer)
        return _marked(inner, special, added, bos, eos)

    return make


def _sentencepiece(pre_tokenizer: Any) -> tuple[dict[str, int], list[tuple[str, str]]]:
    inner = Tokenizer(models.BPE(byte_fallback=True))
    inner.pre_tokenizer = pre_tokenizer
    trainer = trainers.BpeTrainer(vocab_size=560, show_progress=False, special_tokens=["<unk>", "<s>", "</s>", *BYTES])
    texts = [line for text in TRAINED_ON for line in text.split("\n") if line]  # a line break is a byte there
    inner.train_from_iterator(texts * 3, trainer)
    model = json.loads(inner.to_str())["model"]
    return model["vocab"], [
        tuple(merge) if isinstance(merge, list) else tuple(merge.split(" ")) for merge in model["merges"]
    ]


def llama(*, legacy: bool) -> Maker:
    """Return what makes tokenizers like Llama 2's: a blank before a text, or (legacy) before each of its pieces."""

    def make(special: Special, added: Special, bos: str, eos: str) -> Any:
        vocab, merges = _sentencepiece(pre_tokenizers.Metaspace(prepend_scheme="always", split=True))
        tokenizer = LlamaTokenizer(vocab=vocab, merges=merges, legacy=legacy, bos_token=bos or "<s>", eos_token="</s>")
        tokenizer.add_special_tokens({"additional_special_tokens": list(special)})
        tokenizer.add_tokens(list(added))
        tokenizer.eos_token = eos
        if not bos:
            tokenizer.bos_token = None
        return tokenizer

    return make


def normalised(special: Special, added: Special, bos: str, eos: str) -> Any:
    """Return a tokenizer of Llama 2's kind as files of 2023 have it: a normalizer puts a blank before each piece."""
    vocab, merges = _sentencepiece(pre_tokenizers.Metaspace(prepend_scheme="always", split=True))
    inner = Tokenizer(models.BPE(vocab=vocab, merges=merges, byte_fallback=True, fuse_unk=True, unk_token="<unk>"))
    inner.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    inner.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return _marked(inner, ("<unk>", "<s>", "</s>", *special), added, bos, eos)


def gemma(special: Special, added: Special, bos: str, eos: str) -> Any:
    """Return a tokenizer of Gemma's kind: pieces as Llama 2's, without a blank before a text."""
    vocab, merges = _sentencepiece(pre_tokenizers.Metaspace(prepend_scheme="never", split=True))
    inner = Tokenizer(models.BPE(vocab=vocab, merges=merges, byte_fallback=True, fuse_unk=True, unk_token="<unk>"))
    inner.normalizer = normalizers.Replace(" ", "▁")
    inner.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    return _marked(inner, ("<unk>", *special), added, bos, eos)


def unigram(special: Special, added: Special, bos: str, eos: str) -> Any:
    """Return a Unigram tokenizer with a blank before a text."""
    inner = Tokenizer(models.Unigram())
    inner.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    trainer = trainers.UnigramTrainer(
        vocab_size=400, show_progress=False, special_tokens=["<pad>", "<unk>", *BYTES], unk_token="<unk>"
    )
    inner.train_from_iterator(TRAINED_ON * 3, trainer)
    model = json.loads(inner.to_str())["model"]
    inner = Tokenizer(models.Unigram([tuple(entry) for entry in model["vocab"]], model["unk_id"], byte_fallback=True))
    inner.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    inner.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return _marked(inner, special, added, bos, eos)


GPT_2, TIKTOKEN = byte_level(GPT_2_WORDS), byte_level(TIKTOKEN_WORDS)
LLAMA, LEGACY = llama(legacy=False), llama(legacy=True)


@dataclass(frozen=True, kw_only=True)
class Family:
    """A format: how messages are written, by which tokens, and what becomes of it."""

    template: str
    make: Maker
    bos: str = ""
    eos: str
    special: Special = ()
    """Marks besides those two."""
    added: Special = field(default=())
    """Marks that the tokenizer does not call special."""
    refused: str = ""
    """What the error says; empty: views are exact."""
    system: bool = False
    """Whether the game's words are a system message."""
    opens_thought: bool = False
    """Whether the generation prompt opens a thought."""

    def tokenizer(self) -> Any:
        """Return a small tokenizer of the family's kind."""
        marks = (*((self.bos,) if self.bos else ()), self.eos, *self.special)
        names = {str(text) for text in self.added}
        made = self.make(tuple(mark for mark in marks if mark not in names), self.added, self.bos, self.eos)
        made.chat_template = self.template
        return made


def loop(body: str, prompt: str = "") -> str:
    """Return a template that writes each message alike and then a generation prompt."""
    return f"{{% for m in messages %}}{body}{{% endfor %}}{{% if add_generation_prompt %}}{prompt}{{% endif %}}"


def text(value: str) -> str:
    """Return what writes a text with line breaks, which Jinja would drop behind a block."""
    return "{{ " + json.dumps(value, ensure_ascii=False) + " }}"


def by_role(user: str, assistant: str, system: str = "{{ raise_exception('no system message') }}") -> str:
    """Return what writes a message by its role."""
    others = f"{{% elif m.role == 'assistant' %}}{assistant}{{% else %}}{system}{{% endif %}}"
    return f"{{% if m.role == 'user' %}}{user}{others}"


def defaulted(words: str, template: str) -> str:
    """Return a template that begins with words of its own unless the first message is the system's."""
    return f"{{% if messages[0].role != 'system' %}}{words}{{% endif %}}{template}"


ALTERNATE = (
    "{% set told = messages[0].content if messages[0].role == 'system' else none %}"
    "{% if told is not none %}{% set messages = messages[1:] %}{% endif %}"
    "{% for m in messages %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('user and assistant alternate') }}{% endif %}{% endfor %}"
)
"""What refuses conversations that do not go from user to assistant and back, and keeps the system's words."""
TOLD_FIRST = "{{ told ~ '\n\n' if told is not none and loop.first else '' }}"

CHATML = loop("{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}", "{{ '<|im_start|>assistant\n' }}")
LLAMA_3 = "{{ '<|start_header_id|>' + m.role + '<|end_header_id|>\n\n' + m.content | trim + '<|eot_id|>' }}"
LLAMA_3_PROMPT = "{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}"
LLAMA_3_MARKS = ("<|start_header_id|>", "<|end_header_id|>")
LLAMA_3_DATED = (
    "{{ bos_token + '<|start_header_id|>system<|end_header_id|>\n\n' }}"
    "{{ 'Cutting Knowledge Date: December 2023\nToday Date: ' }}"
    "{% if date_string is not defined %}{% set date_string = DATE %}{% endif %}{{ date_string + '\n\n' }}"
    "{% if messages[0].role == 'system' %}{{ messages[0].content | trim }}{% set messages = messages[1:] %}{% endif %}"
    "{{ '<|eot_id|>' }}"
) + loop(LLAMA_3, LLAMA_3_PROMPT)
INST = (
    ALTERNATE
    + "{{ bos_token }}"
    + loop(
        by_role("{{ '[INST] ' }}" + TOLD_FIRST + "{{ m.content + ' [/INST]' }}", "{{ ' ' + m.content + eos_token }}")
    )
)
ZEPHYR = loop("{{ '<|' + m.role + '|>\n' + m.content + eos_token + '\n' }}", "{{ '<|assistant|>\n' }}")
PHI_3 = loop(
    "{{ '<|' + m.role + '|>\n' + m.content + '<|end|>\n' }}", "{{ '<|assistant|>\n' }}{% else %}{{ eos_token }}"
)
"""A conversation that is not to be continued is ended."""
GEMMA = (
    ALTERNATE
    + "{{ bos_token }}"
    + loop(
        "{{ '<start_of_turn>' + ('model' if m.role == 'assistant' else 'user') + '\n' }}"
        + TOLD_FIRST
        + "{{ m.content | trim + '<end_of_turn>\n' }}",
        "{{ '<start_of_turn>model\n' }}",
    )
)
DEEPSEEK = "{{ bos_token }}" + loop(
    by_role(
        "{{ '<｜User｜>' + m.content }}",
        "{{ '<｜Assistant｜>' + m.content.split('</think>')[-1] + '<｜end▁of▁sentence｜>' }}",
        "{{ m.content }}",
    ),
    "{{ PROMPT }}",
)
DEEPSEEK_MARKS: dict[str, Any] = {
    "bos": "<｜begin▁of▁sentence｜>",
    "eos": "<｜end▁of▁sentence｜>",
    "special": ("<｜User｜>", "<｜Assistant｜>"),
}
QWEN_3 = (
    "{% set ns = namespace(asked=-1) %}"
    "{% for m in messages %}{% if m.role == 'user' %}{% set ns.asked = loop.index0 %}{% endif %}{% endfor %}"
    + loop(
        "{% set said = m.content.split('</think>')[-1].lstrip('\n') if m.role == 'assistant' else m.content %}"
        "{{ '<|im_start|>' + m.role + '\n' }}"
        "{% if m.role == 'assistant' and loop.last and loop.index0 > ns.asked %}"
        "{{ '<think>\n\n</think>\n\n' }}{% endif %}"
        "{{ said + '<|im_end|>\n' }}",
        "{{ '<|im_start|>assistant\n' }}"
        "{% if enable_thinking is defined and not enable_thinking %}{{ '<think>\n\n</think>\n\n' }}{% endif %}",
    )
)
CORRECT_USER = "{{ bos_token }}" + loop(
    "{{ 'GPT4 Correct ' + m.role.title() + ': ' + m.content + '<|end_of_turn|>' }}", "{{ 'GPT4 Correct Assistant:' }}"
)
COMMAND_R = "{{ bos_token }}" + loop(
    "{{ '<|START_OF_TURN_TOKEN|><|' + {'user': 'USER', 'assistant': 'CHATBOT', 'system': 'SYSTEM'}[m.role] + '_TOKEN|>'"
    " + m.content | trim + '<|END_OF_TURN_TOKEN|>' }}",
    "{{ '<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>' }}",
)
COMMAND_R_MARKS: dict[str, Any] = {
    "bos": "<BOS_TOKEN>",
    "eos": "<|END_OF_TURN_TOKEN|>",
    "special": ("<|START_OF_TURN_TOKEN|>", "<|USER_TOKEN|>", "<|CHATBOT_TOKEN|>", "<|SYSTEM_TOKEN|>"),
}
VICUNA = (
    ALTERNATE
    + (
        "{{ bos_token }}{{ told if told is not none else 'A chat between a curious user and an artificial intelligence "
        "assistant. The assistant gives helpful, detailed, and polite answers.' }}"
    )
    + loop(
        by_role(
            "{{ ' USER: ' if loop.first else 'USER: ' }}{{ m.content }}", "{{ ' ASSISTANT: ' + m.content + eos_token }}"
        ),
        "{{ ' ASSISTANT:' }}",
    )
)

IM: dict[str, Any] = {"eos": "<|im_end|>", "special": ("<|im_start|>", "<|endoftext|>")}
THOUGHT = "expected a generation prompt that is what stands before every reply"
UNENDED = "expected a turn to be ended by a single special token"
OTHERWISE = "expected views to be token for token what the template gives"
CLOCK = "expected the same text on every day"


FAMILIES: dict[str, Family] = {
    "ChatML": Family(template=CHATML, make=TIKTOKEN, **IM, system=True),
    "Llama 2": Family(
        template=ALTERNATE
        + loop(
            by_role(
                "{{ bos_token + '[INST] ' }}"
                "{{ '<<SYS>>\n' + told + '\n<</SYS>>\n\n' if told is not none and loop.first else '' }}"
                "{{ m.content | trim + ' [/INST]' }}",
                "{{ ' ' + m.content | trim + ' ' + eos_token }}",
            )
        ),
        make=LLAMA,
        bos="<s>",
        eos="</s>",
        refused="behind a reply, which nothing but a special token ends",
    ),
    "Llama 3": Family(
        template="{{ bos_token }}" + loop(LLAMA_3, LLAMA_3_PROMPT),
        make=TIKTOKEN,
        bos="<|begin_of_text|>",
        eos="<|eot_id|>",
        special=LLAMA_3_MARKS,
        system=True,
    ),
    "Llama 3.1": Family(
        template=LLAMA_3_DATED.replace("DATE", "'26 Jul 2024'"),
        make=TIKTOKEN,
        bos="<|begin_of_text|>",
        eos="<|eot_id|>",
        special=LLAMA_3_MARKS,
    ),
    "Llama 3.2": Family(
        template=LLAMA_3_DATED.replace(
            "DATE", "strftime_now('%d %b %Y') if strftime_now is defined else '26 Jul 2024'"
        ),
        make=TIKTOKEN,
        bos="<|begin_of_text|>",
        eos="<|eot_id|>",
        special=LLAMA_3_MARKS,
        refused=CLOCK,
    ),
    "Llama 4": Family(
        template="{{ bos_token }}"
        + loop(
            "{{ '<|header_start|>' + m.role + '<|header_end|>\n\n' + m.content | trim + '<|eot|>' }}",
            "{{ '<|header_start|>assistant<|header_end|>\n\n' }}",
        ),
        make=TIKTOKEN,
        bos="<|begin_of_text|>",
        eos="<|eot|>",
        special=("<|header_start|>", "<|header_end|>"),
        system=True,
    ),
    "Mistral 7B v0.2": Family(template=INST, make=LEGACY, bos="<s>", eos="</s>"),
    "Mistral 7B, later files": Family(template=INST, make=LLAMA, bos="<s>", eos="</s>"),
    "Mistral 7B, files of 2023": Family(template=INST, make=normalised, bos="<s>", eos="</s>"),
    "Mixtral": Family(template=INST.replace("'[INST] '", "' [INST] '"), make=normalised, bos="<s>", eos="</s>"),
    "Mistral v3": Family(
        template=INST.replace("' [/INST]'", "'[/INST]'"),
        make=LEGACY,
        bos="<s>",
        eos="</s>",
        special=("[INST]", "[/INST]"),
    ),
    "Mistral Nemo (Tekken)": Family(
        template=INST.replace("'[INST] '", "'[INST]'").replace("' [/INST]'", "'[/INST]'").replace("' ' + ", ""),
        make=TIKTOKEN,
        bos="<s>",
        eos="</s>",
        special=("[INST]", "[/INST]"),
    ),
    "Mistral Small (v7)": Family(
        template="{{ bos_token }}"
        + loop(
            by_role(
                "{{ '[INST]' + m.content + '[/INST]' }}",
                "{{ m.content + eos_token }}",
                "{{ '[SYSTEM_PROMPT]' + m.content + '[/SYSTEM_PROMPT]' }}",
            )
        ),
        make=TIKTOKEN,
        bos="<s>",
        eos="</s>",
        special=("[INST]", "[/INST]", "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]"),
        system=True,
    ),
    "Zephyr": Family(template=ZEPHYR, make=normalised, bos="<s>", eos="</s>", system=True),
    "TinyLlama": Family(template=ZEPHYR, make=LEGACY, bos="<s>", eos="</s>", system=True),
    "TinyLlama, later files": Family(template=ZEPHYR, make=LLAMA, bos="<s>", eos="</s>", system=True),
    "Phi-3": Family(
        template="{{ bos_token }}" + PHI_3,
        make=LEGACY,
        bos="<s>",
        eos="<|end|>",
        special=tuple(
            AddedToken(f"<|{name}|>", rstrip=True, normalized=False) for name in ("system", "user", "assistant", "end")
        ),
        system=True,
    ),
    "Phi-3.5, later files": Family(
        template=PHI_3,
        make=LLAMA,
        eos="<|end|>",
        special=("<|system|>", "<|user|>", "<|assistant|>"),
        system=True,
    ),
    "Phi-4": Family(
        template=loop(
            "{{ '<|im_start|>' + m.role + '<|im_sep|>' + m.content + '<|im_end|>' }}",
            "{{ '<|im_start|>assistant<|im_sep|>' }}",
        ),
        make=TIKTOKEN,
        eos="<|im_end|>",
        special=("<|im_start|>", "<|im_sep|>"),
        system=True,
    ),
    "Gemma": Family(
        template=GEMMA.replace("messages[0].role == 'system'", "false"),
        make=gemma,
        bos="<bos>",
        eos="<end_of_turn>",
        special=("<start_of_turn>",),
    ),
    "Gemma 3": Family(template=GEMMA, make=gemma, bos="<bos>", eos="<end_of_turn>", special=("<start_of_turn>",)),
    "Qwen 1.5": Family(
        template=defaulted(text("<|im_start|>system\nYou are a helpful assistant<|im_end|>\n"), CHATML),
        make=TIKTOKEN,
        **IM,
    ),
    "Qwen 2.5": Family(
        template=defaulted(
            text(
                "<|im_start|>system\nYou are Qwen, created by Alibaba Cloud. You are a helpful assistant.<|im_end|>\n"
            ),
            CHATML,
        ),
        make=TIKTOKEN,
        **IM,
    ),
    "Qwen 3": Family(template=QWEN_3, make=TIKTOKEN, **IM, added=("<think>", "</think>"), system=True),
    "QwQ": Family(
        template=CHATML.replace("assistant\n' }}", "assistant\n<think>\n' }}"),
        make=TIKTOKEN,
        **IM,
        added=("<think>", "</think>"),
        system=True,
        opens_thought=True,
    ),
    "DeepSeek LLM": Family(
        template="{{ bos_token }}"
        + loop(
            by_role(
                "{{ 'User: ' + m.content + '\n\n' }}",
                "{{ 'Assistant: ' + m.content + eos_token }}",
                "{{ m.content + '\n\n' }}",
            ),
            "{{ 'Assistant:' }}",
        ),
        make=GPT_2,
        bos="<｜begin▁of▁sentence｜>",
        eos="<｜end▁of▁sentence｜>",
    ),
    "DeepSeek V3": Family(template=DEEPSEEK.replace("PROMPT", "'<｜Assistant｜>'"), make=TIKTOKEN, **DEEPSEEK_MARKS),
    "DeepSeek R1": Family(
        template=DEEPSEEK.replace("PROMPT", "'<｜Assistant｜><think>\n'"),
        make=TIKTOKEN,
        **DEEPSEEK_MARKS,
        added=("<think>", "</think>"),
        opens_thought=True,
    ),
    "Vicuna": Family(template=VICUNA, make=LEGACY, bos="<s>", eos="</s>"),
    "Alpaca": Family(
        template=text("Below is an instruction that describes a task. Write a response that completes it.\n\n")
        + loop(
            by_role(
                "{{ '### Instruction:\n' + m.content + '\n\n' }}",
                "{{ '### Response:\n' + m.content + eos_token + '\n\n' }}",
            ),
            "{{ '### Response:\n' }}",
        ),
        make=LEGACY,
        eos="</s>",
    ),
    "OpenChat 3.5": Family(
        template=CORRECT_USER, make=normalised, bos="<s>", eos="<|end_of_turn|>", special=("</s>",), system=True
    ),
    "Starling": Family(
        template=CORRECT_USER, make=LLAMA, bos="<s>", eos="<|end_of_turn|>", added=("<|end_of_turn|>",), system=True
    ),
    "Falcon": Family(
        template=loop("{{ m.role.title() + ': ' + m.content + '\n\n' }}", "{{ 'Assistant:' }}"),
        make=GPT_2,
        eos="<|endoftext|>",
        refused=UNENDED,
    ),
    "Falcon 3": Family(
        template=loop(
            by_role(
                "{{ '<|user|>\n' + m.content + '\n' }}",
                "{{ '<|assistant|>\n' + m.content + eos_token + '\n' }}",
                "{{ '<|system|>\n' + m.content + '\n' }}",
            ),
            "{{ '<|assistant|>\n' }}",
        ),
        make=GPT_2,
        eos="<|endoftext|>",
        special=("<|system|>", "<|user|>", "<|assistant|>"),
        system=True,
    ),
    "Command R": Family(template=COMMAND_R, make=GPT_2, **COMMAND_R_MARKS, system=True),
    "Aya Expanse": Family(
        template=COMMAND_R.replace(
            "{{ bos_token }}", "{{ bos_token }}" + ALTERNATE.replace("messages[1:]", "messages")
        ),
        make=GPT_2,
        **COMMAND_R_MARKS,
    ),
    "Granite 3": Family(
        template=loop(
            "{{ '<|start_of_role|>' + m.role + '<|end_of_role|>' + m.content + '<|end_of_text|>\n' }}",
            "{{ '<|start_of_role|>assistant<|end_of_role|>' }}",
        ),
        make=GPT_2,
        eos="<|end_of_text|>",
        special=("<|start_of_role|>", "<|end_of_role|>"),
        system=True,
    ),
    "OLMo": Family(
        template="{{ bos_token }}"
        + loop(
            by_role(
                "{{ '<|user|>\n' + m.content + '\n' }}",
                "{{ '<|assistant|>\n' + m.content + eos_token }}{{ '' if loop.last else '\n' }}",
                "{{ '<|system|>\n' + m.content + '\n' }}",
            ),
            "{{ '<|assistant|>\n' }}",
        ),
        make=GPT_2,
        bos="<|endoftext|>",
        eos="<|endoftext|>",
        system=True,
    ),
    "OLMo 2": Family(
        template="{{ bos_token }}"
        + loop(
            by_role(
                "{{ '<|user|>\n' + m.content + '\n' }}",
                "{{ '<|assistant|>\n' + m.content + eos_token }}{{ '' if loop.last else '\n' }}",
                "{{ '<|system|>\n' + m.content + '\n' }}",
            ),
            "{{ '<|assistant|>\n' }}",
        ),
        make=TIKTOKEN,
        bos="<|endoftext|>",
        eos="<|endoftext|>",
        refused=OTHERWISE,
    ),
    "SmolLM 2": Family(
        template=defaulted(
            text(
                "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n"
            ),
            CHATML,
        ),
        make=GPT_2,
        **IM,
    ),
    "SmolLM 3": Family(
        template="{% set today = strftime_now('%d %B %Y') %}"
        "{{ '<|im_start|>system\n## Metadata\n\nToday Date: ' + today + '\n<|im_end|>\n' }}" + CHATML,
        make=TIKTOKEN,
        **IM,
        refused=CLOCK,
    ),
    "StableLM 2 Zephyr": Family(template=ZEPHYR, make=TIKTOKEN, eos="<|endoftext|>", system=True),
    "StableLM alpha": Family(
        template=loop("{{ '<|' + m.role.upper() + '|>' + m.content }}", "{{ '<|ASSISTANT|>' }}"),
        make=GPT_2,
        eos="<|endoftext|>",
        special=("<|SYSTEM|>", "<|USER|>", "<|ASSISTANT|>"),
        refused=UNENDED,
    ),
    "Yi": Family(template=CHATML, make=LEGACY, **IM, system=True),
    "InternLM": Family(
        template="{{ bos_token }}"
        + loop(
            by_role("{{ '<|User|>:' + m.content + '<eoh>\n' }}", "{{ '<|Bot|>:' + m.content + '<eoa>\n' }}"),
            "{{ '<|Bot|>:' }}",
        ),
        make=LLAMA,
        bos="<s>",
        eos="<eoa>",
        special=("<|User|>", "<|Bot|>", "<eoh>"),
    ),
    "InternLM 2": Family(template="{{ bos_token }}" + CHATML, make=LLAMA, bos="<s>", **IM, system=True),
    "Baichuan 2": Family(
        template=loop(
            by_role("{{ '<reserved_106>' + m.content }}", "{{ '<reserved_107>' + m.content }}", "{{ m.content }}"),
            "{{ '<reserved_107>' }}",
        ),
        make=LLAMA,
        eos="</s>",
        special=("<reserved_106>", "<reserved_107>"),
        refused=UNENDED,
    ),
    "ChatGLM 3": Family(
        template="{{ '[gMASK]sop' }}" + loop("{{ '<|' + m.role + '|>\n ' + m.content }}", "{{ '<|assistant|>' }}"),
        make=LLAMA,
        eos="</s>",
        special=("[gMASK]", "sop", "<|user|>", "<|assistant|>", "<|system|>"),
        refused=UNENDED,
    ),
    "GLM-4": Family(
        template="{{ '[gMASK]<sop>' }}" + loop("{{ '<|' + m.role + '|>\n' + m.content }}", "{{ '<|assistant|>\n' }}"),
        make=TIKTOKEN,
        eos="<|endoftext|>",
        special=("[gMASK]", "<sop>", "<|user|>", "<|assistant|>", "<|system|>"),
        refused=UNENDED,
    ),
    "Nous Hermes 2": Family(
        template=CHATML,
        make=normalised,
        bos="<s>",
        eos="<|im_end|>",
        added=tuple(AddedToken(mark, normalized=False) for mark in ("<|im_start|>", "<|im_end|>")),
        system=True,
    ),
    "Orca 2": Family(template=CHATML, make=LEGACY, bos="<s>", **IM, system=True),
    "MPT": Family(template=CHATML, make=GPT_2, **IM, system=True),
    "Solar": Family(
        template=loop(
            by_role(
                "{{ '### User:\n' + m.content + '\n\n' }}", "{{ '### Assistant:\n' + m.content + eos_token + '\n\n' }}"
            ),
            "{{ '### Assistant:\n' }}",
        ),
        make=normalised,
        bos="<s>",
        eos="</s>",
    ),
    "gpt-oss (harmony)": Family(
        template=text("<|start|>system<|message|>You are ChatGPT.\nCurrent date: 2025-06-28<|end|>")
        + loop(
            by_role(
                "{{ '<|start|>user<|message|>' + m.content + '<|end|>' }}",
                "{{ '<|start|>assistant<|channel|>final<|message|>' + m.content + '<|end|>' }}",
            ),
            "{{ '<|start|>assistant' }}",
        ),
        make=TIKTOKEN,
        eos="<|return|>",
        special=("<|start|>", "<|message|>", "<|channel|>", "<|end|>"),
        refused=THOUGHT,
    ),
    "Nemotron (Llama 3.1)": Family(
        template="{{ bos_token }}"
        + defaulted("{{ '<|start_header_id|>system<|end_header_id|>\n\n<|eot_id|>' }}", loop(LLAMA_3, LLAMA_3_PROMPT)),
        make=TIKTOKEN,
        bos="<|begin_of_text|>",
        eos="<|eot_id|>",
        special=LLAMA_3_MARKS,
    ),
    "Nemotron 3 Nano": Family(
        template=CHATML.replace("assistant\n' }}", "assistant\n<think>\n' }}").replace(
            "m.content +", "('<think></think>' if m.role == 'assistant' else '') + m.content +"
        ),
        make=TIKTOKEN,
        **IM,
        added=("<think>", "</think>"),
        system=True,
        opens_thought=True,
    ),
    "Nemotron-4": Family(
        template=loop(
            by_role(
                "{{ '<extra_id_1>User\n' + m.content + '\n' }}",
                "{{ '<extra_id_1>Assistant\n' + m.content + '\n' }}",
                "{{ '<extra_id_0>System\n' + m.content + '\n\n' }}",
            ),
            "{{ '<extra_id_1>Assistant\n' }}",
        ),
        make=LLAMA,
        eos="</s>",
        special=("<extra_id_0>", "<extra_id_1>"),
        refused=UNENDED,
    ),
    "MiniMax Text 01": Family(
        template=loop(
            "{{ '<beginning_of_sentence>' + {'user': 'user name=user', 'assistant': 'ai name=assistant',"
            " 'system': 'system ai_setting=assistant'}[m.role] + '\n' + m.content + '<end_of_sentence>\n' }}",
            "{{ '<beginning_of_sentence>ai name=assistant\n' }}",
        ),
        make=TIKTOKEN,
        eos="<end_of_sentence>",
        special=("<beginning_of_sentence>",),
        system=True,
    ),
    "ERNIE 4.5": Family(
        template="{{ bos_token }}"
        + loop(
            by_role(
                "{{ 'User: ' + m.content + '\n' }}",
                "{{ 'Assistant: ' + m.content + '<|end_of_sentence|>' }}",
                "{{ m.content + '\n' }}",
            ),
            "{{ 'Assistant: ' }}",
        ),
        make=LLAMA,
        bos="<|begin_of_sentence|>",
        eos="<|end_of_sentence|>",
        refused=OTHERWISE,
    ),
    "Jamba": Family(
        template="{{ bos_token }}"
        + loop("{{ '<|bom|><|' + m.role + '|> ' + m.content + '<|eom|>' }}", "{{ '<|bom|><|assistant|>' }}"),
        make=LLAMA,
        bos="<|startoftext|>",
        eos="<|eom|>",
        special=("<|bom|>", "<|system|>", "<|user|>", "<|assistant|>"),
        system=True,
    ),
    "Guanaco": Family(
        template=loop(
            by_role("{{ '### Human: ' + m.content }}", "{{ '### Assistant: ' + m.content + eos_token }}"),
            "{{ '### Assistant:' }}",
        ),
        make=LLAMA,
        eos="</s>",
    ),
    "Tülu": Family(
        template=loop(
            by_role(
                "{{ '<|user|>\n' + m.content + '\n' }}",
                "{{ '<|assistant|>\n' + m.content + eos_token + '\n' }}",
                "{{ '<|system|>\n' + m.content + '\n' }}",
            ),
            "{{ '<|assistant|>\n' }}",
        ),
        make=LEGACY,
        bos="<s>",
        eos="</s>",
        system=True,
    ),
    "EXAONE 3": Family(
        template=defaulted(
            text("[|system|][|endofturn|]\n"),
            loop(
                by_role(
                    "{{ '[|user|]' + m.content + '\n' }}",
                    "{{ '[|assistant|]' + m.content + '[|endofturn|]\n' }}",
                    "{{ '[|system|]' + m.content + '[|endofturn|]\n' }}",
                ),
                "{{ '[|assistant|]' }}",
            ),
        ),
        make=GPT_2,
        eos="[|endofturn|]",
        special=("[|system|]", "[|user|]", "[|assistant|]"),
    ),
    "Kimi K2": Family(
        template=defaulted(
            text("<|im_system|>system<|im_middle|>You are Kimi, an AI assistant.<|im_end|>"),
            loop(
                "{{ '<|im_' + m.role + '|>' + m.role + '<|im_middle|>' + m.content + '<|im_end|>' }}",
                "{{ '<|im_assistant|>assistant<|im_middle|>' }}",
            ),
        ),
        make=TIKTOKEN,
        eos="<|im_end|>",
        special=("<|im_system|>", "<|im_user|>", "<|im_assistant|>", "<|im_middle|>"),
    ),
    "RWKV": Family(
        template=loop("{{ m.role.title() + ': ' + m.content + '\n\n' }}", "{{ 'Assistant:' }}"),
        make=unigram,
        eos="</s>",
        refused=UNENDED,
    ),
    "LLM-jp": Family(
        template="{{ bos_token }}"
        + loop(
            by_role("{{ '\n\n### 指示:\n' + m.content }}", "{{ '\n\n### 応答:\n' + m.content + eos_token }}"),
            "{{ '\n\n### 応答:\n' }}",
        ),
        make=unigram,
        bos="<s>",
        eos="</s>",
    ),
}
