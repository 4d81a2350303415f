"""Text dialogues for a training command: read, split by how they open, and given a tokenizer of their own."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from transformers import PreTrainedTokenizerFast

from ...agents.language_model.tokenizers import train_tokenizer
from ...envs.chat_templates import THINK_TOKENS
from ..data.dialogues import TextDialogue
from ..data.readers import Format, OnError, read_dialogues

Replies = Literal["chosen", "rejected", "both"]


@dataclass(frozen=True, kw_only=True)
class TextSource:
    """Files of dialogues, of which a share is held out."""

    paths: tuple[Path, ...]
    """Files or folders of dialogues."""
    format: Format = "auto"
    """How a row is read."""
    on_error: OnError = "raise"
    """Whether an unusable row stops the reading or is skipped and counted."""
    heldout_share: float = 0.1
    """Share of the openings that are held out."""
    seed: int = 0
    """Decides which."""

    def dialogues(self, replies: Replies, *, heldout: bool) -> Iterator[TextDialogue]:
        """Yield the dialogues that are held out, or the others; each of them once, in the order of the files.

        Args:
            replies: which dialogues of preference pairs; where there are no pairs "both" changes nothing.
            heldout: dialogues that open alike are on one side, so that no prompt is on both.
        """
        seen = set[bytes]()
        sides: tuple[Literal["chosen", "rejected"], ...] = ("chosen", "rejected") if replies == "both" else (replies,)
        for path, side in itertools.product(self.paths, sides):
            for dialogue in read_dialogues(path, format=self.format, on_error=self.on_error, which=side):
                if self._is_heldout(dialogue) != heldout:
                    continue
                key = _digest(repr(dialogue))
                if replies != "both" or key not in seen:
                    seen.add(key)
                    yield dialogue

    def _is_heldout(self, dialogue: TextDialogue) -> bool:
        opening = next((turn.text for turn in dialogue.turns if turn.player is not None), "")
        return int.from_bytes(_digest(f"{self.seed} {opening.strip()}")) < self.heldout_share * 2**64


def new_tokenizer(dialogues: Iterable[TextDialogue], *, vocab_size: int) -> PreTrainedTokenizerFast:
    """Return a byte-level BPE tokenizer of the turns, with tokens around thoughts if there are any."""
    thinks = False

    def texts() -> Iterator[str]:
        nonlocal thinks
        for turn in (turn for dialogue in dialogues for turn in dialogue.turns):
            thinks = thinks or bool(turn.thought)
            yield from (text for text in (turn.thought, turn.text) if text)

    tokenizer = train_tokenizer(texts(), vocab_size=vocab_size)
    if thinks:
        tokenizer.add_tokens(list(THINK_TOKENS), special_tokens=True)
    return tokenizer


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
