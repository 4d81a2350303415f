"""The vocabulary of a Hugging Face tokenizer: real text, turns delimited by its chat template."""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterable
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from .chat_layouts import Layout, opening_with, plain_layout, readable, template_layout
from .chat_templates import (
    THINK_TOKENS,
    Delimiters,
    Tokenizer,
    end_of_turn,
    mark_ids,
    strips_messages,
    template_delimiters,
    template_text,
)
from .vocabulary import PAD, Tokens, checked_ids

logger = logging.getLogger(__name__)

HUMAN_HEADER, ASSISTANT_HEADER = "\n\nHuman:", "\n\nAssistant:"
"""What opens a turn where a tokenizer has no chat template: the marks of the hh-rlhf data (arXiv
2204.05862)."""

MAX_SIZE = 2**24
"""More tokens than any tokenizer has; masks and embeddings have an entry for each id."""


class TokenizerVocabulary:
    """The tokens of a Hugging Face tokenizer; a view is a conversation of its owner's.

    The viewer's own turns are the assistant's and the other player's are the user's. A view is token for
    token what `apply_chat_template` gives for the same messages: the two are compared when the vocabulary is
    made, and a template that is not laid out exactly is refused, as are all that change messages, tell the
    date, or draw. Where the generation prompt opens a thought (DeepSeek R1), a view ends with it in games with
    thoughts, in which the player goes on with the thought and says `</think>`; in others a reply is opened as
    the earlier ones are. What is compared are conversations of 1 to 129 messages, with the game's words and
    without, begun by either player, of texts that begin and end with letters, digits and marks. Where a text
    begins or ends with blanks, a token may run across its end, or the template strip them: a view may differ
    there. The game may tell no such text if the template strips it; a player's turn stands as it was said, an
    empty one too. A thought stays in its owner's view, where some templates drop those of earlier turns.

    The game's words (briefing, announcement) are a system message. Where the chat template takes no system
    message of its own (Gemma) or writes one itself (Llama 3.1), they are a message of the user's, apart from
    those of the other player: a listener then reads two of the user's messages in a row, each as the template
    writes it, though some templates write no such conversation as a whole. An announcement stands as a
    briefing does, though some templates take a system message at the head only.

    Without a chat template, `HUMAN_HEADER` and `ASSISTANT_HEADER` open a turn and the tokenizer's `eos_token`
    ends it.

    Special tokens, thought tokens, added tokens that stand in the template's marks, ids that name no token, and
    id 0 (padding) can never be said, and `encode` leaves out special tokens that a text spells. Marks that are
    ordinary text ("[INST]", "### Response:") can be said as any text can. Where a tokenizer gives id 0 to a
    word (Llama 3: "!"), a player can still be told it, as it can the token for unknown words. A tokenizer that
    changes text (to lower case, say) is taken, and a warning logged: players, judges and transcripts have the
    text as it is in its tokens.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        """Read the turn delimiters from the tokenizer's chat template.

        Raises:
            ValueError: no special token ends a turn, the template cannot be rendered or its messages not be told
                apart, it changes them, tells the date, or writes a conversation otherwise than one message after
                the other.
        """
        self.tokenizer = tokenizer
        template = template_text(tokenizer)
        self.size = max(len(tokenizer), 1 + max(tokenizer.get_vocab().values(), default=-1))
        if self.size > MAX_SIZE:
            raise ValueError(f"tokenizer: expected token ids below {MAX_SIZE}, got {self.size - 1}")
        self.think_ids = _think_ids(tokenizer)
        if template is None:
            layout = plain_layout(tokenizer, _plain_delimiters(tokenizer))
        else:
            layout = template_layout(tokenizer, template_delimiters(tokenizer))
        self._layout = layout
        self._begins = (layout.begin, layout.begin)
        self._told, self._user, self._assistant = layout.told, layout.user, layout.assistant
        self._strips = template is not None and strips_messages(tokenizer, "u" if self._told == self._user else "su")
        self.eos_id, self.open_thought = self._assistant[1][0], layout.open_thought
        self._special_ids = _special_ids(tokenizer, layout).union(self.think_ids or ())
        self._left_out = self._special_ids.difference(_unknown_word(tokenizer, layout))
        self._codec, changed = readable(layout.codec)
        if changed is not None:
            logger.warning("tokenizer: %r is read as %r", changed, self.decode(self.encode(changed)))

    @cached_property
    def sayable_mask(self) -> NDArray[np.int8]:
        """1 for ordinary tokens; shape (V,), read-only."""
        mask = np.zeros(self.size, dtype=np.int8)
        mask[list(self.tokenizer.get_vocab().values())] = 1
        mask[[PAD, self.eos_id, *self._special_ids]] = 0
        mask.setflags(write=False)
        return mask

    def __getstate__(self) -> dict[str, object]:
        """Leave the mask out of copies: numpy's would be writable."""
        return {name: value for name, value in self.__dict__.items() if name != "sayable_mask"}

    def opening_with(self, system: str) -> Tokens | None:
        """Return what opens a view with a system prompt, as the chat template writes it; None: it has no place for it.

        No place is one without a chat template, one that refuses or loses a system prompt, and one before which
        messages would be laid out otherwise than without.
        """
        return None if self.tokenizer.chat_template is None else opening_with(self._layout, system)

    def seated(self, openings: tuple[Tokens | None, Tokens | None]) -> TokenizerVocabulary:
        """Return the vocabulary of two seats, in whose views the game's words are a message of the user's.

        Args:
            openings: what opens the views of player 0 and of player 1, of `opening_with`; None: what always does.
        """
        vocabulary = copy.copy(self)
        first, second = (self._layout.begin if opening is None else opening for opening in openings)
        vocabulary._begins = (first, second)
        vocabulary._told = self._user
        vocabulary._strips = self.tokenizer.chat_template is not None and strips_messages(self.tokenizer, "u")
        return vocabulary

    def encode(self, text: str) -> Tokens:
        """Return the tokens of a text as a message, without the special tokens that it spells."""
        return tuple(token for token in self._codec.ids(text) if token not in self._left_out)

    def decode(self, tokens: Iterable[int]) -> str:
        """Return the text of tokens, special tokens left out.

        Raises:
            ValueError: an id is not in the vocabulary.
        """
        return self._codec.text(checked_ids(tokens, self.size))

    def begin(self, viewer: int) -> Tokens:
        """Return what the template writes before the first message."""
        return self._begins[viewer]

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


def _plain_delimiters(tokenizer: Tokenizer) -> Delimiters:
    if tokenizer.eos_token is None:
        raise ValueError(
            "tokenizer: a vocabulary without its special tokens: expected an eos_token or a chat_template, got neither"
        )
    eos = str(tokenizer.eos_token)
    end_of_turn(tokenizer, eos)
    begin = "" if tokenizer.bos_token is None else str(tokenizer.bos_token)
    return Delimiters(begin, None, (HUMAN_HEADER, eos), (ASSISTANT_HEADER, eos))


def _special_ids(tokenizer: Tokenizer, layout: Layout) -> frozenset[int]:
    """Return the special tokens, and the added ones that stand in marks."""
    special = {token for token, text in tokenizer.added_tokens_decoder.items() if text.special}
    special |= {token for token in tokenizer.all_special_ids if token is not None}
    return frozenset(special | (layout.in_marks & set(mark_ids(tokenizer))))


def _unknown_word(tokenizer: Tokenizer, layout: Layout) -> set[int]:
    """Return the token that stands for words that a tokenizer does not know, if it is for nothing else."""
    others = {tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id, PAD, None} | layout.in_marks
    return {tokenizer.unk_token_id} - others


def _think_ids(tokenizer: Tokenizer) -> tuple[int, int] | None:
    vocabulary = tokenizer.get_vocab()
    if not all(token in vocabulary for token in THINK_TOKENS):
        return None
    return vocabulary[THINK_TOKENS[0]], vocabulary[THINK_TOKENS[1]]
