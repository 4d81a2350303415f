"""Several dialogues in one row of a batch, none of which sees another (arXiv 2402.08078, equations 7 and 8).

Dialogues differ much in length, so that a batch of one to a row is mostly padding. A packed row holds several, and
`position_ids` restart at each. Given these and no attention mask, transformers builds the causal mask of blocks (or
the lengths that flash attention wants); `check_isolation` asks a model whether it does. Padding at the end of a row is
one more block.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import PreTrainedModel

from ...agents.language_model.checkpoints import num_embeddings
from ...envs import Vocabulary
from ..data.dialogues import ASSISTANT, USER, TextDialogue
from ..data.encoding import encode_text_dialogue
from ..rollouts.demonstrations import NOBODY

PADDING = -1
"""The segment of padding."""

WINDOW = 8192
"""Dialogues that are packed together, so that the time of packing grows in proportion to their number."""


@dataclass(frozen=True, slots=True)
class LeftOut:
    """What of the dialogues did not become tokens."""

    num_dialogues: int
    """Dialogues in which the assistant has no turn."""
    num_cut_tokens: int
    """Tokens at the ends of dialogues that were too long."""
    num_thoughts: int
    """Thoughts of the assistant's that the vocabulary has no tokens around."""


@dataclass(frozen=True, slots=True)
class TokenCorpus:
    """Dialogues as the assistant's views, end to end: five bytes a token and eight a dialogue."""

    tokens: NDArray[np.int32]
    """(N,)."""
    speaker: NDArray[np.int8]
    """(N,): 0 or 1 where a player said the token (what ends a turn belongs to it), else -1."""
    starts: NDArray[np.int64]
    """(D + 1,): dialogue d is tokens[starts[d]:starts[d + 1]]."""
    left_out: LeftOut
    """What was read and is not here."""

    def __len__(self) -> int:
        """Return the number of dialogues D."""
        return len(self.starts) - 1

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens of each dialogue; (D,)."""
        return np.diff(self.starts)

    def loss_mask(self, tokens_of: str) -> NDArray[np.bool_]:
        """Return (N,), True where a token is cloned: "all" (eq. 7), "player_0" or "player_1" (eq. 8).

        The first token of a dialogue is never predicted and never cloned.
        """
        mask = _spoken_by(torch.from_numpy(self.speaker), tokens_of).numpy().copy()
        mask[self.starts[:-1]] = False
        return mask


@dataclass(frozen=True, slots=True)
class PackedBatch:
    """Rows of dialogues, right-padded; each field is (B, T)."""

    tokens: Tensor
    """int64; 0 in padding."""
    position_ids: Tensor
    """int64; from 0 in each dialogue, and in the padding."""
    speaker: Tensor
    """int8; 0 or 1 where a player said the token, else -1."""
    segments: Tensor
    """int64; which of the row's dialogues, from 0; -1 in padding."""

    def loss_mask(self, tokens_of: str) -> Tensor:
        """Return (B, T), True where a token is cloned: "all" (eq. 7), "player_0" or "player_1" (eq. 8).

        The first token of a dialogue is never predicted and never cloned.
        """
        return _spoken_by(self.speaker, tokens_of) & (self.segments != PADDING) & (self.position_ids > 0)

    def to(self, device: torch.device) -> PackedBatch:
        """Return the batch on a device."""
        return PackedBatch(*(part.to(device) for part in (self.tokens, self.position_ids, self.speaker, self.segments)))


def encode_corpus(dialogues: Iterable[TextDialogue], vocabulary: Vocabulary, *, max_tokens: int) -> TokenCorpus:
    """Return dialogues as the assistant's views, each cut after `max_tokens`; those without a turn of its are left out.

    Raises:
        ValueError: a limit below 2, or no dialogue is left.
    """
    if max_tokens < 2:
        raise ValueError(f"max_tokens: expected at least 2, got {max_tokens}")
    tokens, speakers, num_cut, num_dropped, num_thoughts = [], [], 0, 0, 0
    for dialogue in dialogues:
        encoded = encode_text_dialogue(vocabulary, dialogue)
        if encoded is None:
            num_dropped += 1
            continue
        num_cut += max(0, len(encoded.tokens) - max_tokens)
        num_thoughts += sum(turn.player == ASSISTANT and bool(turn.thought) for turn in dialogue.turns)
        tokens.append(encoded.tokens[:max_tokens].astype(np.int32))
        speakers.append(encoded.speaker[:max_tokens])
    if not tokens:
        raise ValueError(f"dialogues: expected one with a turn of the assistant's, got {num_dropped} without")
    starts = np.cumsum([0, *map(len, tokens)], dtype=np.int64)
    left_out = LeftOut(num_dropped, num_cut, 0 if vocabulary.think_ids else num_thoughts)
    return TokenCorpus(np.concatenate(tokens), np.concatenate(speakers), starts, left_out)


def first_fit(lengths: Sequence[int] | NDArray[np.int64], capacity: int) -> list[list[int]]:
    """Return which dialogues share a row: each goes into the first row with room, long ones first.

    First-fit decreasing needs at most 11/9 of the fewest rows possible, plus 6/9 of one (Dósa, 2007).

    >>> first_fit([3, 5, 2, 4], capacity=7)
    [[1, 2], [3, 0]]

    Raises:
        ValueError: a dialogue that is longer than a row, or empty.
    """
    lengths = np.asarray(lengths, dtype=np.int64)
    if len(lengths) and not (lengths.min() > 0 and lengths.max() <= capacity):
        raise ValueError(f"lengths: expected 1 to {capacity} (a row), got {lengths.min()} to {lengths.max()}")
    rows: list[list[int]] = []
    room = np.full(len(lengths), capacity)
    for index in np.argsort(-lengths, kind="stable").tolist():
        row = int(np.argmax(room >= lengths[index]))  # rows that are still empty follow the others
        room[row] -= lengths[index]
        if row == len(rows):
            rows.append([])
        rows[row].append(index)
    return rows


def epoch_rows(corpus: TokenCorpus, capacity: int, rng: np.random.Generator, *, pack: bool = True) -> list[list[int]]:
    """Return the rows of one pass over all dialogues, in random order; one dialogue to a row unless `pack`."""
    order = rng.permutation(len(corpus))
    if not pack:
        return [[int(index)] for index in order]
    rows = []
    for start in range(0, len(order), WINDOW):
        window = order[start : start + WINDOW]
        rows += [[int(window[k]) for k in row] for row in first_fit(corpus.lengths[window], capacity)]
    return [rows[k] for k in rng.permutation(len(rows))]


def pack(corpus: TokenCorpus, rows: Sequence[Sequence[int]]) -> PackedBatch:
    """Return the batch of which each row holds the dialogues of these indices, as wide as the fullest row."""
    lengths = corpus.lengths
    width = max(int(sum(lengths[index] for index in row)) for row in rows)
    tokens, positions = np.zeros((len(rows), width), dtype=np.int64), np.zeros((len(rows), width), dtype=np.int64)
    speaker, segments = np.full((len(rows), width), NOBODY, np.int8), np.full((len(rows), width), PADDING, np.int64)
    for r, row in enumerate(rows):
        at = 0
        for segment, index in enumerate(row):
            start, end = corpus.starts[index], corpus.starts[index + 1]
            there = slice(at, at := at + int(end - start))
            tokens[r, there], speaker[r, there] = corpus.tokens[start:end], corpus.speaker[start:end]
            positions[r, there], segments[r, there] = np.arange(end - start), segment
        positions[r, at:] = np.arange(width - at)
    return PackedBatch(*(torch.from_numpy(part) for part in (tokens, positions, speaker, segments)))


def next_token_logits(model: nn.Module, batch: PackedBatch) -> Tensor:
    """Return the logits (B, T - 1, V) of each token but a row's first, given its own dialogue.

    Where every row holds one dialogue the positions are left to the model: what stands behind a dialogue, padding,
    cannot reach it through a causal model, whichever way it counts.
    """
    packed = bool((batch.segments > 0).any())
    positions = {"position_ids": batch.position_ids[:, :-1]} if packed else {}
    logits: Tensor = model(input_ids=batch.tokens[:, :-1], use_cache=False, **positions).logits
    return logits


@torch.no_grad()
def check_isolation(model: PreTrainedModel, *, tolerance: float = 1e-3) -> None:
    """Check that a model keeps the dialogues of a row apart: the second must be told nothing by the first.

    Raises:
        ValueError: it does not, as recurrent models and some that count positions in their own way do not.
    """
    size = num_embeddings(model)
    tokens = torch.arange(1, 11).remainder(size)[None].to(model.device)
    changed = torch.cat([tokens[:, :5].flip(1).roll(1, 1), tokens[:, 5:]], 1)
    positions = torch.arange(5).repeat(2)[None].to(model.device)
    training = model.training
    model.eval()
    try:
        logits, changed_logits = (
            model(input_ids=x, position_ids=positions, use_cache=False).logits[:, 5:] for x in (tokens, changed)
        )
        alone = model(input_ids=tokens[:, 5:], use_cache=False).logits
    except TypeError as error:
        raise ValueError(f"{type(model).__name__}: expected a model that takes position_ids, got {error}") from error
    finally:
        model.train(training)
    apart = max(float((logits - reference).abs().max()) for reference in (changed_logits, alone)) / max(
        1.0, float(alone.abs().max())
    )
    if apart > tolerance:
        raise ValueError(
            f"{type(model).__name__}: expected dialogues packed into one row to leave each other's logits alone, got a "
            f"difference of {apart:.2g}; give each dialogue a row of its own (--no-pack)"
        )


def _spoken_by(speaker: Tensor, tokens_of: str) -> Tensor:
    if tokens_of == "all":
        return torch.ones_like(speaker, dtype=torch.bool)
    players = {"player_0": USER, "player_1": ASSISTANT}
    if tokens_of not in players:
        raise ValueError(f"tokens_of: expected one of all, {', '.join(players)}, got {tokens_of!r}")
    return speaker == players[tokens_of]
