"""Text dialogues as the token rows that players learn from: one player's view, and who said each token."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from ...envs import Tokens, Vocabulary
from ..rollouts.demonstrations import NOBODY, Demonstrations
from .dialogues import ASSISTANT, TextDialogue, TextTurn

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class EncodedDialogue:
    """One dialogue as a player's view; laid out as the engine would (`Episode.views`)."""

    tokens: NDArray[np.int64]
    """(n,)."""
    speaker: NDArray[np.int8]
    """(n,): 0 or 1 where a player said the token (the end of a turn belongs to the turn), else -1."""
    num_cut_turns: int = 0
    """Turns at the end that did not fit."""


@dataclass(frozen=True, slots=True)
class TextDemonstrations(Demonstrations):
    """Demonstrations from text, and what became of the dialogues that they were made of."""

    num_cut: int = 0
    """Dialogues of which turns at the end were left out."""
    num_dropped: int = 0
    """Dialogues that were left out: no turn of the viewer's fits."""
    num_thoughts_left_out: int = 0
    """Thoughts of the viewer's that the vocabulary has no tokens around."""


def encode_text_dialogue(
    vocabulary: Vocabulary, dialogue: TextDialogue, *, viewer: int = ASSISTANT, max_tokens: int | None = None
) -> EncodedDialogue | None:
    """Return the dialogue as its `viewer` sees it, cut after the last turn that fits.

    The game's words are told, own thoughts stand before own words between the vocabulary's thought tokens (where it
    has them), and the other player's thoughts are unheard. The end of every turn counts as said by its speaker; a game
    closes a turn of `max_turn_tokens` itself, which text does not tell.

    Returns:
        The row, or None if there is no turn of the viewer's, or none fits in `max_tokens`.
    """
    parts, cut = [_part(vocabulary.begin(viewer))], 0
    length, spoke = len(parts[0][0]), False
    for number, turn in enumerate(dialogue.turns):
        part = _turn_part(vocabulary, turn, viewer)
        length += len(part[0])
        if max_tokens is not None and length > max_tokens:
            cut = len(dialogue.turns) - number
            break
        parts.append(part)
        spoke = spoke or turn.player == viewer
    if not spoke:
        return None
    tokens, speaker = (np.concatenate(rows) for rows in zip(*parts, strict=True))
    return EncodedDialogue(tokens, speaker, cut)


def encode_text_dialogues(
    vocabulary: Vocabulary,
    dialogues: Iterable[TextDialogue],
    *,
    viewer: int = ASSISTANT,
    max_tokens: int | None = None,
) -> TextDemonstrations:
    """Return dialogues as demonstrations for `viewer`, to clone by equation 7 or 8 of arXiv 2402.08078.

    Args:
        vocabulary: of the model, `TokenizerVocabulary` for real text.
        dialogues: read once.
        viewer: whose view a row is; the tokens of its turns, thoughts included, are that player's in the loss.
        max_tokens: the longest row; a longer dialogue is cut between turns, or dropped where no turn of the
            viewer's fits. Both are counted, and a warning is logged.

    Raises:
        ValueError: no dialogue is left.
    """
    rows, num_cut, num_dropped, num_thoughts = [], 0, 0, 0
    for dialogue in dialogues:
        row = encode_text_dialogue(vocabulary, dialogue, viewer=viewer, max_tokens=max_tokens)
        if row is None:
            num_dropped += 1
            continue
        rows.append(row)
        num_cut += row.num_cut_turns > 0
        num_thoughts += sum(bool(turn.thought) for turn in dialogue.turns if turn.player == viewer)
    num_thoughts = num_thoughts if vocabulary.think_ids is None else 0
    if not rows:
        raise ValueError(
            f"dialogues: expected one with a turn of player {viewer} within {max_tokens} tokens, got {num_dropped} "
            "without"
        )
    if num_cut or num_dropped or num_thoughts:
        kept = len(rows), num_cut, num_dropped, num_thoughts
        logger.warning("%d dialogues encoded, %d of them cut; %d dropped; %d thoughts left out", *kept)
    return _padded(rows, num_cut, num_dropped, num_thoughts)


def _padded(rows: list[EncodedDialogue], num_cut: int, num_dropped: int, num_thoughts: int) -> TextDemonstrations:
    lengths = np.array([len(row.tokens) for row in rows])
    attention = np.arange(lengths.max()) < lengths[:, None]  # (B, T)
    tokens = np.zeros(attention.shape, dtype=np.int64)
    speaker = np.full(attention.shape, NOBODY, dtype=np.int8)
    for k, row in enumerate(rows):
        tokens[k, : lengths[k]], speaker[k, : lengths[k]] = row.tokens, row.speaker
    return TextDemonstrations(
        torch.from_numpy(tokens),
        torch.from_numpy(attention),
        torch.from_numpy(speaker),
        num_cut=num_cut,
        num_dropped=num_dropped,
        num_thoughts_left_out=num_thoughts,
    )


def _turn_part(vocabulary: Vocabulary, turn: TextTurn, viewer: int) -> tuple[NDArray[np.int64], NDArray[np.int8]]:
    """Return a turn's tokens in the viewer's view, and who said each."""
    words = vocabulary.encode(turn.text)
    if turn.player is None:
        return _part(vocabulary.tell(words, viewer))
    opening, closing = vocabulary.open_turn(turn.player, viewer), vocabulary.close_turn(turn.player, viewer)
    if turn.player == viewer:
        said = (*_thought(vocabulary, turn.thought), *words, *closing[:1])
    else:
        said = (*words, *closing[:1]) if words else ()
    rest = closing[1:] if said else closing
    return _part(opening, said, rest, player=turn.player)


def _thought(vocabulary: Vocabulary, thought: str) -> Tokens:
    if not thought or vocabulary.think_ids is None:
        return ()
    return (vocabulary.think_ids[0], *vocabulary.encode(thought), vocabulary.think_ids[1])


def _part(
    opening: Tokens, said: Tokens = (), rest: Tokens = (), *, player: int = NOBODY
) -> tuple[NDArray[np.int64], NDArray[np.int8]]:
    tokens = np.array((*opening, *said, *rest), dtype=np.int64)
    speaker = np.full(len(tokens), NOBODY, dtype=np.int8)
    speaker[len(opening) : len(opening) + len(said)] = player
    return tokens, speaker
