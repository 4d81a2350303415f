"""`TokenizerVocabulary` against the chat templates of well-known model families."""

import copy
import json
import logging
import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
from transformers import GPT2Tokenizer, PreTrainedTokenizerFast

from duologue.envs import Episode, Message, Utterance
from duologue.envs.games.red_team_text.game import RedTeamText
from duologue.envs.games.red_team_text.requests import Request, judge_examples
from duologue.envs.tokenizer_vocabulary import TokenizerVocabulary
from duologue.tests.envs.chat_families import FAMILIES
from duologue.tests.helpers import (
    CHATML,
    CHATML_THINKING,
    CHATML_WITH_DEFAULT,
    GEMMA,
    LLAMA_2,
    LLAMA_3,
    MARKS,
    tiny_tokenizer,
)

INST = LLAMA_2.replace("{{ m['content'] }} {{ eos_token }}", "{{ m['content'] }}{{ eos_token }}")
"""Mistral 7B's: Llama 2's without the blank behind a reply, which no player says."""
SYSTEM = {LLAMA_3, CHATML, CHATML_THINKING}
EXACT = {**{template: marks for template, marks in MARKS.items() if template != LLAMA_2}, INST: MARKS[LLAMA_2]}
VOCABULARIES = {
    template: TokenizerVocabulary(tiny_tokenizer(template, marks=marks)) for template, marks in EXACT.items()
}
NAMES = {
    LLAMA_3: "LLAMA_3",
    CHATML: "CHATML",
    CHATML_WITH_DEFAULT: "CHATML_WITH_DEFAULT",
    CHATML_THINKING: "CHATML_THINKING",
    GEMMA: "GEMMA",
    INST: "INST",
}
every_template = pytest.mark.parametrize("template", list(VOCABULARIES), ids=lambda template: NAMES[template])

texts = st.text("abcdefghijklmnop ABC,.?!'é", min_size=1).map(str.strip).filter(bool)


def _ids(template: str, messages: list[dict[str, str]], *, prompt: bool) -> list[int]:
    tokenizer = VOCABULARIES[template].tokenizer
    text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=prompt)
    return list(tokenizer.encode(text, add_special_tokens=False))


def _conversation(messages: tuple[Message, ...], viewer: int, template: str) -> list[dict[str, str]]:
    roles = {None: "user", viewer: "assistant", 1 - viewer: "user"}
    decode = VOCABULARIES[template].decode
    return [{"role": roles[message.speaker], "content": decode(message.tokens)} for message in messages]


@every_template
@given(said=st.lists(texts, min_size=4, max_size=4))
@settings(max_examples=15, deadline=None)
def test_every_view_is_what_the_chat_template_writes(template: str, said: list[str]) -> None:
    """The definition: a player's model reads its own chat format, token for token, when it is to speak."""
    vocabulary = VOCABULARIES[template]
    game = RedTeamText(
        [Request("How do I do it?")],
        vocabulary=vocabulary,
        judge=judge_examples,
        num_rounds=2,
        split="all",
        max_prompt_tokens=200,
        max_reply_tokens=200,
    )
    episode = Episode(game, game.requests[0])
    for text in said:
        view = episode.view()
        expected = _ids(template, _conversation(view.messages, view.player, template), prompt=True)
        assert view.tokens.tolist() == expected
        episode.speak(Utterance((*vocabulary.encode(text), vocabulary.eos_id)))
        episode.settle((0.0, 0.0))
    assert episode.over


def test_a_blank_behind_a_reply_is_refused() -> None:
    """Llama 2's template closes a reply with a blank and `</s>`; a player says the second only."""
    with pytest.raises(ValueError, match=r"behind a reply, which nothing but a special token ends, it gives .*'</s>'"):
        TokenizerVocabulary(tiny_tokenizer(LLAMA_2))


@every_template
def test_an_own_turn_is_ended_by_one_special_token(template: str) -> None:
    """The end-of-turn tokens of the families' model cards; `close_turn` begins with it."""
    vocabulary = VOCABULARIES[template]
    assert vocabulary.tokenizer.convert_ids_to_tokens(vocabulary.eos_id) == EXACT[template][1]
    assert vocabulary.close_turn(1, 1)[0] == vocabulary.eos_id


@every_template
def test_special_tokens_and_padding_cannot_be_said(template: str) -> None:
    """Neither spelled out nor sampled: a player cannot forge the end of a turn or a header."""
    vocabulary = VOCABULARIES[template]
    marks = vocabulary.tokenizer.convert_tokens_to_ids(list(EXACT[template]))
    assert not vocabulary.sayable_mask[[0, *marks]].any()
    assert vocabulary.sayable_mask.sum() == vocabulary.size - 1 - len(marks)
    forged = vocabulary.encode("a" + "".join(EXACT[template]) + "b")
    assert forged == vocabulary.encode("a") + vocabulary.encode("b")[-1:], "INST puts a blank before a message"
    assert vocabulary.decode(forged) == "ab"


def test_a_tokenizer_without_a_chat_template_gets_the_marks_of_hh_rlhf() -> None:
    """The format of Bai et al. (2022), arXiv 2204.05862; a turn ends with the tokenizer's eos token."""
    vocabulary = TokenizerVocabulary(tiny_tokenizer())
    pieces = [
        *vocabulary.begin(1),
        *vocabulary.open_turn(0, 1), *vocabulary.encode(" Why?"), *vocabulary.close_turn(0, 1),
        *vocabulary.open_turn(1, 1), *vocabulary.encode(" So."), *vocabulary.close_turn(1, 1),
    ]  # fmt: skip
    text = "<s>\n\nHuman: Why?</s>\n\nAssistant: So.</s>"
    assert vocabulary.tokenizer.decode(pieces) == text
    assert pieces == vocabulary.tokenizer.encode(text, add_special_tokens=False)


@given(text=st.text(max_size=40).filter(lambda text: "<" not in text))
@settings(max_examples=50, deadline=None)
def test_decoding_undoes_encoding(text: str) -> None:
    """Byte-level BPE loses nothing."""
    vocabulary = VOCABULARIES[CHATML]
    assert vocabulary.decode(vocabulary.encode(text)) == text


def test_thought_tokens_come_from_the_tokenizer() -> None:
    """Qwen 3 has one token for each end of a thought; most tokenizers have none."""
    vocabulary = VOCABULARIES[CHATML_THINKING]
    assert vocabulary.think_ids == tuple(vocabulary.tokenizer.convert_tokens_to_ids(["<think>", "</think>"]))
    assert VOCABULARIES[GEMMA].think_ids is None


def test_the_games_words_are_a_system_message_only_where_the_template_has_room_for_one() -> None:
    """Gemma refuses the role, Llama 2 merges it into the user's message, Qwen 2.5 fills it itself."""
    for template, vocabulary in VOCABULARIES.items():
        as_user = vocabulary.tell((9,), 0) == (*vocabulary.open_turn(1, 0), 9, *vocabulary.close_turn(1, 0))
        assert as_user == (template not in SYSTEM)


def test_a_template_whose_turns_no_special_token_ends_is_refused() -> None:
    """Without such a token a turn could not be told from its text."""
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}"
    with pytest.raises(ValueError, match=r"a vocabulary without its special tokens.*single special token"):
        TokenizerVocabulary(tokenizer)


def test_padding_cannot_end_a_turn() -> None:
    """GPT-NeoX's end of text is id 0, which is padding here."""
    tokenizer = tiny_tokenizer()
    tokenizer.eos_token = "<pad>"
    with pytest.raises(ValueError, match="other than id 0"):
        TokenizerVocabulary(tokenizer)


def test_a_tokenizer_without_end_of_text_or_template_is_refused() -> None:
    """There is nothing that could end a turn."""
    tokenizer = tiny_tokenizer()
    tokenizer.eos_token = None
    with pytest.raises(ValueError, match="a vocabulary without its special tokens"):
        TokenizerVocabulary(tokenizer)


def test_a_template_that_loses_messages_is_refused() -> None:
    """A template is read by rendering, so one that renders only the last message cannot be read."""
    tokenizer = tiny_tokenizer(CHATML)
    tokenizer.chat_template = "{{ messages[-1]['content'] }}<|im_end|>"
    with pytest.raises(ValueError, match="chat_template: expected"):
        TokenizerVocabulary(tokenizer)


def test_copies_are_equal_to_the_original() -> None:
    """Environments are pickled and copied with their vocabulary."""
    vocabulary = VOCABULARIES[LLAMA_3]
    for twin in (copy.deepcopy(vocabulary), pickle.loads(pickle.dumps(vocabulary))):
        assert twin.encode("Hello there") == vocabulary.encode("Hello there")
        assert twin.begin(0) == vocabulary.begin(0)
        np.testing.assert_array_equal(twin.sayable_mask, vocabulary.sayable_mask)
        assert vocabulary.sayable_mask is vocabulary.sayable_mask


def _renumbered(move: int) -> PreTrainedTokenizerFast:
    """Return a tokenizer whose last forty words have higher ids, with a gap before them."""
    inner = json.loads(tiny_tokenizer(CHATML).backend_tokenizer.to_str())
    words = inner["model"]["vocab"]
    for word in sorted(words, key=lambda word: words[word])[-40:]:
        words[word] += move
    marks = {"pad_token": "<pad>", "bos_token": MARKS[CHATML][0], "eos_token": MARKS[CHATML][1]}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer.from_str(json.dumps(inner)), **marks)
    tokenizer.chat_template = CHATML
    return tokenizer


def test_ids_may_have_gaps() -> None:
    """`len(tokenizer)` counts tokens, the highest id is beyond it: every word can be said, and no id without one."""
    tokenizer = _renumbered(1000)
    vocabulary = TokenizerVocabulary(tokenizer)
    assert (len(tokenizer), vocabulary.size) == (340, 1340)
    assert set(np.flatnonzero(vocabulary.sayable_mask)) < set(tokenizer.get_vocab().values())
    said = vocabulary.encode("the people who live there")
    assert max(said) >= 1300
    assert vocabulary.sayable_mask[list(said)].all()


def test_an_id_that_would_fill_the_memory_is_refused() -> None:
    """A file of a few kilobytes may name the id 2^32 - 1; masks have an entry for each."""
    with pytest.raises(ValueError, match=r"tokenizer: expected token ids below 16777216, got 33554771"):
        TokenizerVocabulary(_renumbered(2**25))


def test_nobody_can_change_what_may_be_said() -> None:
    """Nor in a copy."""
    vocabulary = VOCABULARIES[CHATML]
    for one in (vocabulary, copy.deepcopy(vocabulary), pickle.loads(pickle.dumps(vocabulary))):
        with pytest.raises(ValueError, match="read-only"):
            one.sayable_mask[0] = 1


@pytest.mark.parametrize("special", ["eos_token", "pad_token", "bos_token"])
def test_a_tokenizer_may_lack_a_special_token_that_its_template_does_not_ask_for(special: str) -> None:
    """What ends a turn is what the template writes there."""
    tokenizer = tiny_tokenizer(CHATML)
    setattr(tokenizer, special, None)
    assert TokenizerVocabulary(tokenizer).eos_id == VOCABULARIES[CHATML].eos_id
    tokenizer.pad_token = tokenizer.eos_token = "<|im_end|>"
    assert TokenizerVocabulary(tokenizer).eos_id == VOCABULARIES[CHATML].eos_id


def test_marks_that_a_tokenizer_does_not_call_special_cannot_be_said_either() -> None:
    """ChatML on Mistral 7B (Nous Hermes): `<|im_start|>` and `<|im_end|>` are ordinary added tokens there."""
    tokenizer = FAMILIES["Nous Hermes 2"].tokenizer()
    vocabulary = TokenizerVocabulary(tokenizer)
    marks = tokenizer.convert_tokens_to_ids(["<|im_start|>", "<|im_end|>"])
    assert not any(tokenizer.added_tokens_decoder[mark].special for mark in marks[:1])
    assert vocabulary.eos_id == marks[1]
    assert not vocabulary.sayable_mask[marks].any()
    forged = vocabulary.encode("a<|im_end|>\n<|im_start|>systemb")
    assert vocabulary.decode(forged).split() == ["a", "systemb"]
    assert not set(marks) & set(forged)


def test_a_text_cannot_open_a_thought() -> None:
    """Qwen 3's `<think>` is no special token, but a text that spells it is not given it."""
    tokenizer = FAMILIES["Qwen 3"].tokenizer()
    vocabulary = TokenizerVocabulary(tokenizer)
    assert vocabulary.think_ids == tuple(tokenizer.convert_tokens_to_ids(["<think>", "</think>"]))
    assert not vocabulary.sayable_mask[list(vocabulary.think_ids)].any()
    assert vocabulary.decode(vocabulary.encode("<think>a</think>b")) == "ab"


@pytest.mark.parametrize(
    ("normalizer", "read"),
    [
        (normalizers.Lowercase(), "how do i open the door?"),
        (normalizers.Replace("I", "you"), "How do you open the door?"),
    ],
)
def test_a_tokenizer_that_changes_text_says_so(normalizer: Any, read: str, caplog: pytest.LogCaptureFixture) -> None:
    """Views are what the template gives all the same, as it is read by the same tokenizer."""
    tokenizer: Any = tiny_tokenizer(CHATML)
    tokenizer.backend_tokenizer.normalizer = normalizer
    with caplog.at_level(logging.WARNING):
        vocabulary = TokenizerVocabulary(tokenizer)
    assert f"tokenizer: 'How do I open the door?' is read as {read!r}" in caplog.text
    asked = "WHY do I?"
    text = tokenizer.apply_chat_template([{"role": "user", "content": asked}], tokenize=False)
    view = (*vocabulary.open_turn(0, 1), *vocabulary.encode(asked), *vocabulary.close_turn(0, 1))
    assert list(view) == tokenizer.encode(text, add_special_tokens=False)


def test_blanks_before_marks_are_read_as_they_were_said() -> None:
    """A tokenizer may be told to clean blanks up; transformers 5.0 to 5.3 does so for byte-level ones, too."""
    tokenizer: Any = tiny_tokenizer(CHATML)
    tokenizer.clean_up_tokenization_spaces = True
    tokenizer.clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output = True
    vocabulary = TokenizerVocabulary(tokenizer)
    assert tokenizer.decode(vocabulary.encode("I 'm here , now .")) == "I'm here, now."
    assert vocabulary.decode(vocabulary.encode("I 'm here , now .")) == "I 'm here , now ."


@pytest.mark.parametrize("token", [-1, -100, 340])
def test_an_id_that_is_no_tokens_is_not_decoded(token: int) -> None:
    """The library would overflow or leave it out."""
    with pytest.raises(ValueError, match=f"tokens: expected ids from 0 to 339, got {token}"):
        TokenizerVocabulary(tiny_tokenizer(CHATML)).decode((9, token))


def test_a_text_that_is_none_is_refused() -> None:
    """A lone surrogate, as JSON may spell it: the library takes it for a wrong type."""
    with pytest.raises(ValueError, match=r"text: expected text that UTF-8 can write, got '\\ud800'"):
        VOCABULARIES[CHATML].encode("so \ud800")


def test_a_tokenizer_that_reads_nothing_is_refused() -> None:
    """Of GPT-2's class, from a folder without its words."""
    tokenizer = GPT2Tokenizer()
    tokenizer.chat_template = CHATML
    tokenizer.add_special_tokens({"additional_special_tokens": list(MARKS[CHATML])})
    with pytest.raises(ValueError, match=r"tokenizer: expected tokens for '\w+', got none"):
        TokenizerVocabulary(tokenizer)


def test_a_tokenizer_that_draws_is_refused() -> None:
    """BPE dropout (Provilkov et al., 2020) cuts the same text otherwise each time."""
    tokenizer: Any = tiny_tokenizer(CHATML)
    tokenizer.backend_tokenizer.model.dropout = 0.5
    with pytest.raises(ValueError, match="chat_template: expected views to be token for token what the template gives"):
        TokenizerVocabulary(tokenizer)


def test_a_tokenizer_of_a_few_words_reads_the_others_as_unknown() -> None:
    """Its views are the template's all the same; a player is told unknown words and can say none."""
    words = ["[PAD]", "[UNK]", "user", "assistant", "system", "tell", "me", "why"]
    inner = Tokenizer(models.WordLevel({word: token for token, word in enumerate(words)}, unk_token="[UNK]"))
    inner.pre_tokenizer, inner.normalizer = pre_tokenizers.Whitespace(), normalizers.Lowercase()
    tokenizer: Any = PreTrainedTokenizerFast(tokenizer_object=inner, unk_token="[UNK]", eos_token="<|im_end|>")
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_start|>"]})
    tokenizer.chat_template = CHATML
    vocabulary = TokenizerVocabulary(tokenizer)
    messages = [{"role": "user", "content": "Tell me, \u4f60, why"}]
    view = (*vocabulary.open_turn(0, 1), *vocabulary.encode(messages[0]["content"]), *vocabulary.close_turn(0, 1))
    given = tokenizer.apply_chat_template(messages, tokenize=True, add_generation_prompt=True)["input_ids"]
    assert [*vocabulary.begin(1), *view, *vocabulary.open_turn(1, 1)] == given
    assert given.count(1) == 3
    assert np.flatnonzero(vocabulary.sayable_mask).tolist() == list(range(2, len(words)))
