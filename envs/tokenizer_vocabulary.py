"""The vocabulary of a Hugging Face tokenizer: real text, turns delimited by its chat template."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from .vocabulary import PAD, Tokens

HUMAN_HEADER, ASSISTANT_HEADER = "\n\nHuman:", "\n\nAssistant:"
"""What opens a turn where a tokenizer has no chat template: the marks of the hh-rlhf data (arXiv
2204.05862)."""

THINK_TOKENS = ("<think>", "</think>")

_ASKED, _REPLIED, _ASKED_AGAIN, _TOLD = (f"Zqx {name}:  \"a\" <b> &\n\n'C'." for name in "0123")
"""Messages that show most changes that a template could make: of case, of quotes and marks, of blanks."""
_WORD = "Hello"
CLOCK = "strftime_now"
"""The function by which a chat template asks for today's date."""


class Tokenizer(Protocol):
    """What is used of a Hugging Face tokenizer."""

    def __len__(self) -> int:
        """Return the number of token ids, added tokens included."""
        ...

    def __getattr__(self, name: str, /) -> Any:
        """Return `bos_token`, `eos_token`, `chat_template`, `all_special_ids` or `added_tokens_decoder`."""
        ...

    def get_vocab(self) -> Mapping[str, int]:
        """Return every token with its id."""
        ...

    def encode(self, text: str, *, add_special_tokens: bool) -> Sequence[int]:
        """Return the ids of a text."""
        ...

    def decode(self, token_ids: list[int], *, skip_special_tokens: bool = False) -> Any:
        """Return the text of ids."""
        ...

    def apply_chat_template(
        self, conversation: list[dict[str, str]], *, tokenize: bool, add_generation_prompt: bool
    ) -> Any:
        """Return a conversation as text."""
        ...


@dataclass(frozen=True, slots=True)
class Delimiters:
    """The text around the messages of a conversation."""

    begin: str
    told: tuple[str, str]
    """What opens and what closes the game's own words."""
    user: tuple[str, str]
    assistant: tuple[str, str]


class TokenizerVocabulary:
    """The tokens of a Hugging Face (fast) tokenizer; a view is a conversation of its owner's.

    The viewer's own turns are the assistant's and the other player's are the user's. A view is token for
    token what `apply_chat_template` gives for the same messages, as long as no token of the tokenizer runs
    across the end of a message (a message that ends in a line break, say). Templates that change messages or
    tell the date are refused. Many only strip the blanks around a message: there the game may tell nothing
    that begins or ends with one, while a player's turn stands as it was said. A thought stays in its owner's
    view, where some templates drop those of earlier turns.

    The game's words (briefing, announcement) are a system message. Where the chat template takes no system
    message of its own (Gemma) or writes one itself (Llama 3.1), they are a message of the user's, apart from
    those of the other player: a listener then reads two of the user's messages in a row, each as the template
    writes it, though some templates write no such conversation as a whole.

    Without a chat template, `HUMAN_HEADER` and `ASSISTANT_HEADER` open a turn and the tokenizer's `eos_token`
    ends it.

    Special tokens, thought tokens, ids that name no token, and id 0 (padding) can never be said, and
    `encode` leaves out special tokens that a text spells. Where a tokenizer gives id 0 to a word (Llama 3:
    "!"), a player can still be told it.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        """Read the turn delimiters from the tokenizer's chat template.

        Raises:
            ValueError: no special token ends a turn, the template's messages cannot be told apart, or it
                changes them or tells the date.
        """
        self.tokenizer = tokenizer
        self._strips = bool(tokenizer.chat_template) and _strips_messages(tokenizer)
        self.size = len(tokenizer)
        self.think_ids = _think_ids(tokenizer)
        self._special_ids = _special_ids(tokenizer)
        texts = template_delimiters(tokenizer) if tokenizer.chat_template else _plain_delimiters(tokenizer)
        self._begin = self._ids(texts.begin)
        self._told, self._user, self._assistant = map(self._around, (texts.told, texts.user, texts.assistant))
        self.eos_id = self._end_of_turn(texts.assistant[1])

    @cached_property
    def sayable_mask(self) -> NDArray[np.int8]:
        """1 for ordinary tokens; shape (V,)."""
        mask = np.zeros(self.size, dtype=np.int8)
        mask[[token for token in self.tokenizer.get_vocab().values() if token < self.size]] = 1
        mask[[PAD, self.eos_id, *self._special_ids, *(self.think_ids or ())]] = 0
        return mask

    def encode(self, text: str) -> Tokens:
        """Return the tokens of a text, without the special tokens that it spells."""
        return tuple(token for token in self._ids(text) if token not in self._special_ids)

    def decode(self, tokens: Iterable[int]) -> str:
        """Return the text of tokens, special tokens left out."""
        return str(self.tokenizer.decode([int(token) for token in tokens], skip_special_tokens=True))

    def begin(self, viewer: int) -> Tokens:
        """Return what the template writes before the first message."""
        return self._begin

    def tell(self, tokens: Tokens, viewer: int) -> Tokens:
        """Return the game's words as a message.

        Raises:
            ValueError: they begin or end with blanks, which the chat template would strip.
        """
        if self._strips and (text := self.decode(tokens)) != text.strip():
            raise ValueError(f"tell: expected no blanks around a text, as the chat template strips them, got {text!r}")
        return (*self._told[0], *tokens, *self._told[1])

    def open_turn(self, speaker: int, viewer: int) -> Tokens:
        """Return the assistant's header for an own turn (the generation prompt), else the user's."""
        return self._assistant[0] if speaker == viewer else self._user[0]

    def close_turn(self, speaker: int, viewer: int) -> Tokens:
        """Return what ends a message; for an own turn the first token is `eos_id`."""
        return self._assistant[1] if speaker == viewer else self._user[1]

    def _ids(self, text: str) -> Tokens:
        return tuple(self.tokenizer.encode(text, add_special_tokens=False))

    def _around(self, texts: tuple[str, str]) -> tuple[Tokens, Tokens]:
        """Return the tokens of an opening and a closing as they are beside a word.

        Byte-level tokenizers cut two line breaks differently at the end of a text and before a word.
        """
        opening, closing = texts
        word, opened, closed = self._ids(_WORD), self._ids(opening + _WORD), self._ids(_WORD + closing)
        before = opened[: -len(word)] if opened[-len(word) :] == word else self._ids(opening)
        after = closed[len(word) :] if closed[: len(word)] == word else self._ids(closing)
        return before, after

    def _end_of_turn(self, closing: str) -> int:
        after = self._assistant[1]
        if not after or after[0] not in self._special_ids or after[0] == PAD:
            raise ValueError(
                "tokenizer: a vocabulary without its special tokens: expected a turn to be ended by a single "
                f"special token other than id {PAD}, which is padding; got {closing!r}, that is {list(after)}"
            )
        return after[0]


def template_delimiters(tokenizer: Tokenizer) -> Delimiters:
    """Return what a tokenizer's chat template writes around messages, found by rendering short conversations.

    Raises:
        ValueError: the template loses, changes or reorders messages, or tells the date.
    """
    if f"{CLOCK}(" in str(tokenizer.chat_template):
        raise ValueError(
            f"chat_template: expected the same text on every day, got a template that calls {CLOCK}; give the "
            f"tokenizer one with a fixed date, as chat_template.replace('{CLOCK}(\"%d %b %Y\")', '\"1 Jan 2026\"')"
        )
    ask, reply = {"role": "user", "content": _ASKED}, {"role": "assistant", "content": _REPLIED}
    again = {"role": "user", "content": _ASKED_AGAIN}
    asked, prompted = _render(tokenizer, [ask]), _render(tokenizer, [ask], add_generation_prompt=True)
    preamble, close_user = _split(asked, _ASKED)
    close_assistant = _split(_render(tokenizer, [ask, reply]), _REPLIED)[1]
    between, _ = _split(_split(_render(tokenizer, [ask, reply, again]), _REPLIED)[1], _ASKED_AGAIN)
    open_user = between.removeprefix(close_assistant)
    unread = not prompted.startswith(asked) or not between.startswith(close_assistant)
    if unread or not preamble.endswith(open_user):
        raise ValueError(
            "chat_template: expected the same marks around every message of a role, got "
            f"{prompted!r} and, between two messages of the user, {between!r} after {close_assistant!r}"
        )
    begin = preamble.removesuffix(open_user)
    user = (open_user, close_user)
    told = _system_delimiters(tokenizer, begin, open_user)
    assistant = (prompted.removeprefix(asked), close_assistant.lstrip(" "))
    return Delimiters(begin, user if told is None else told, user, assistant)


def _system_delimiters(tokenizer: Tokenizer, begin: str, open_user: str) -> tuple[str, str] | None:
    """Return what stands around a system message; None if that is no message like the others."""
    messages = [{"role": "system", "content": _TOLD}, {"role": "user", "content": _ASKED}]
    try:
        text = _render(tokenizer, messages)
    except Exception:  # a template refuses a role by jinja2's TemplateError, which this package does not import
        return None
    preamble, found, rest = text.partition(_TOLD)
    between = rest.partition(_ASKED)[0]
    if not (found and preamble.startswith(begin) and preamble != begin and between.endswith(open_user)):
        return None
    return preamble.removeprefix(begin), between.removesuffix(open_user)


def _strips_messages(tokenizer: Tokenizer) -> bool:
    padded = f" {_ASKED} "
    return padded not in _render(tokenizer, [{"role": "user", "content": padded}])


def _plain_delimiters(tokenizer: Tokenizer) -> Delimiters:
    if tokenizer.eos_token is None:
        raise ValueError(
            "tokenizer: a vocabulary without its special tokens: expected an eos_token or a chat_template, got neither"
        )
    eos = str(tokenizer.eos_token)
    begin = "" if tokenizer.bos_token is None else str(tokenizer.bos_token)
    user = (HUMAN_HEADER, eos)
    return Delimiters(begin, user, user, (ASSISTANT_HEADER, eos))


def _render(tokenizer: Tokenizer, messages: list[dict[str, str]], *, add_generation_prompt: bool = False) -> str:
    text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=add_generation_prompt)
    return str(text)


def _split(text: str, message: str) -> tuple[str, str]:
    before, found, after = text.partition(message)
    if not found:
        raise ValueError(f"chat_template: expected each message word for word, got {text!r} without {message!r}")
    return before, after


def _special_ids(tokenizer: Tokenizer) -> frozenset[int]:
    added = {token for token, text in tokenizer.added_tokens_decoder.items() if text.special}
    return frozenset(added.union(tokenizer.all_special_ids))


def _think_ids(tokenizer: Tokenizer) -> tuple[int, int] | None:
    vocabulary = tokenizer.get_vocab()
    if not all(token in vocabulary for token in THINK_TOKENS):
        return None
    return vocabulary[THINK_TOKENS[0]], vocabulary[THINK_TOKENS[1]]
