"""Where tokens are cut: behind marks, at the head of a text, and across both."""

from typing import Any

import pytest

from duologue.envs.chat_layouts import Codec, readable, template_layout
from duologue.envs.chat_templates import template_delimiters
from duologue.tests.envs.chat_families import FAMILIES, GPT_2, LLAMA, loop


def layout_of(name: str) -> tuple[Any, Any]:
    """Return a family's tokenizer and the layout of its template."""
    tokenizer = FAMILIES[name].tokenizer()
    return tokenizer, template_layout(tokenizer, template_delimiters(tokenizer))


def test_a_message_behind_a_line_break_has_no_blank_before_it() -> None:
    """TinyLlama: a text that SentencePiece is given alone gets one, and none behind a mark."""
    tokenizer, layout = layout_of("TinyLlama, later files")
    assert tokenizer.convert_ids_to_tokens(tokenizer.encode("How do", add_special_tokens=False))[0].startswith("▁")
    assert not tokenizer.convert_ids_to_tokens(list(layout.codec.ids("How do")))[0].startswith("▁")
    assert layout.codec.lead == ""


def test_a_blank_before_a_message_is_in_its_first_token() -> None:
    """Mistral 7B: "[INST]" and "▁How", whoever says it."""
    tokenizer, layout = layout_of("Mistral 7B v0.2")
    assert tokenizer.convert_ids_to_tokens(list(layout.codec.ids("How do")))[0].startswith("▁")
    assert layout.codec.lead == " "
    assert layout.assistant[0] == ()
    assert tokenizer.decode(list(layout.user[0])).endswith("[INST]")


def test_the_first_mark_of_a_text_may_begin_otherwise_than_later_ones() -> None:
    """Zephyr: "▁<|" at the head, "<", "|" behind a line break; what closes a message has the later ones' first two."""
    tokenizer, layout = layout_of("TinyLlama, later files")
    names = tokenizer.convert_ids_to_tokens
    assert names(list(layout.begin)) == ["▁<|"]
    for _, closing in (layout.told, layout.user, layout.assistant):
        assert names(list(closing[-2:])) == ["<", "|"]
    assert tokenizer.decode(list(layout.user[0])) == "user|>\n"
    assert tokenizer.decode(list(layout.assistant[0])) == "assistant|>\n"


def test_blanks_at_the_head_of_a_message_are_read_back() -> None:
    """Decoders of this kind drop a blank at the very beginning of what they are given."""
    tokenizer, layout = layout_of("TinyLlama, later files")
    codec, changed = readable(layout.codec)
    assert tokenizer.decode(list(codec.ids("  How"))) == " How"
    assert (codec.text(codec.ids("  How")), changed) == ("  How", None)


def test_a_token_that_runs_into_a_mark_is_cut_by_the_message_alone() -> None:
    """No view is the template's then; the message still says what it says."""
    tokenizer = GPT_2((), (), "", "<|endoftext|>")
    codec = Codec(tokenizer, "So:\n", "", tuple(tokenizer.encode("So:\n")))
    assert tokenizer.decode([*codec.anchor, *codec.ids("How")]) == "So:\nHow"
    assert tokenizer.decode(list(codec.ids("\nHow"))) == "\nHow"


@pytest.mark.parametrize("ending", ["\n", "</s>"])
def test_marks_that_begin_unlike_each_other_cannot_share_a_token(ending: str) -> None:
    """The first is "▁user", later ones are "user" and "assistant": no layout has the same marks everywhere."""
    tokenizer = LLAMA((), (), "", "</s>")
    tokenizer.chat_template = loop("{{ m.role + ':\n' + m.content + eos_token + '\n' }}", "{{ 'assistant:\n' }}")
    if ending == "</s>":  # behind a special token a mark is cut as it is behind a line break
        tokenizer.chat_template = tokenizer.chat_template.replace("eos_token + '\n'", "eos_token")
    with pytest.raises(ValueError, match=r"before the first message of a conversation it gives \['▁us"):
        template_layout(tokenizer, template_delimiters(tokenizer))
