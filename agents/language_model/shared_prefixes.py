"""The next token's logits after many texts that begin alike: what they share is read once.

The information states of a game that is told in text differ in their last few words: a briefing of two hundred tokens
stands before all of them. So the texts are laid out as a tree of what follows what, and each piece is read behind the
cache of what stands before it, with no padding. The logits come in parts, so that there is never an array of all texts
by all tokens.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from .checkpoints import num_embeddings
from .decoding import last_logits

TOKENS_OF_A_PASS = 64
"""Reading is shared where that saves more tokens than so many for each further pass through the model."""
ROWS_AT_ONCE = 256
TOKENS_AT_ONCE = 2**13
"""How many tokens a cache may hold; caches of a whole path stand at once, one for each of its pieces."""
LOGITS_AT_ONCE = 2**26
"""How many logits one pass may give."""

Row = tuple[int, ...]
Part = tuple[list[int], Tensor]
"""The numbers of some rows, and the logits after them, (B, V)."""


@dataclass(slots=True)
class Piece:
    """Tokens that follow others, and what follows them."""

    tokens: Row = ()
    rows: list[int] = field(default_factory=list)
    """The numbers of the rows that end with it."""
    later: list[Piece] = field(default_factory=list)


def logits_after(model: PreTrainedModel, rows: Sequence[Row], *, extends: bool) -> Iterator[Part]:
    """Yield the logits after the last token of each row, part by part, in any order; every row comes once.

    Args:
        model: in evaluation mode; gradients should be off.
        rows: token ids, at least one each.
        extends: whether the model's cache can be read on from (`probing.Reading`); if not, rows are read whole.
    """
    tree = laid_out(rows)
    num_tokens, num_passes = cost([tree])
    saved = sum(map(len, rows)) - num_tokens
    if extends and saved > TOKENS_OF_A_PASS * num_passes:
        yield from _read_behind(model, [tree], None, 0)
    else:
        yield from _read_whole(model, rows)


def read_on(model: PreTrainedModel, cache: Any, rows: Sequence[Row]) -> tuple[Tensor, Any]:
    """Return the logits after rows of one length (B, V) that follow what a cache of B rows holds, and the new cache."""
    inputs = torch.tensor(rows, dtype=torch.int64, device=model.device)
    output = model(input_ids=inputs, past_key_values=cache, use_cache=True, logits_to_keep=1)
    return output.logits[:, -1], output.past_key_values


def chosen(cache: Any, rows: Sequence[int]) -> Any:
    """Return a copy of some rows of a cache, as often as they are named; `probing` tries whether it stands alone."""
    if cache is None:
        return None
    twin = copy.copy(cache)
    twin.layers = [copy.copy(layer) for layer in cache.layers]  # whose tensors are replaced, not written into
    twin.reorder_cache(torch.tensor(rows))
    return twin


def laid_out(rows: Sequence[Row]) -> Piece:
    """Return the tree of what follows what; its root has no tokens."""
    order = sorted(range(len(rows)), key=rows.__getitem__)
    return Piece(later=_following(rows, order, 0))


def cost(before: Sequence[Piece]) -> tuple[int, int]:
    """Return how many tokens are read after some pieces of one length, and in how many passes, if none is too large."""
    tokens, passes = 0, 0
    for group in _groups(before):
        pieces = [piece for _, piece in group]
        below = cost(pieces)
        tokens, passes = tokens + len(pieces) * len(pieces[0].tokens) + below[0], passes + 1 + below[1]
    return tokens, passes


def _groups(before: Sequence[Piece]) -> list[list[tuple[int, Piece]]]:
    """Return what follows some pieces, with the number of the piece before it, by length: there is no padding."""
    later = [(number, piece) for number, parent in enumerate(before) for piece in parent.later]
    later.sort(key=lambda pair: len(pair[1].tokens))
    return [list(group) for _, group in groupby(later, key=lambda pair: len(pair[1].tokens))]


def _following(rows: Sequence[Row], order: Sequence[int], start: int) -> list[Piece]:
    """Return the pieces by which sorted rows, equal up to `start` and all longer, go on."""
    pieces = []
    for _, group in groupby(order, key=lambda number: rows[number][start]):
        numbers = list(group)
        first, last = rows[numbers[0]], rows[numbers[-1]]
        end = start + 1
        while end < len(first) and end < len(last) and first[end] == last[end]:
            end += 1
        ending = [number for number in numbers if len(rows[number]) == end]
        longer = numbers[len(ending) :]
        pieces.append(Piece(first[start:end], ending, _following(rows, longer, end)))
    return pieces


def _read_behind(model: PreTrainedModel, before: Sequence[Piece], cache: Any, length: int) -> Iterator[Part]:
    """Read what follows some pieces, in whose rows a cache of `length` tokens stands."""
    for group in _groups(before):
        longer = length + len(group[0][1].tokens)
        at_once = max(1, min(ROWS_AT_ONCE, TOKENS_AT_ONCE // longer, LOGITS_AT_ONCE // num_embeddings(model)))
        for start in range(0, len(group), at_once):
            part = group[start : start + at_once]
            pieces = [piece for _, piece in part]
            behind = chosen(cache, [number for number, _ in part])
            logits, behind = read_on(model, behind, [piece.tokens for piece in pieces])
            ends = [(number, k) for k, piece in enumerate(pieces) for number in piece.rows]
            if ends:
                yield [number for number, _ in ends], logits[[k for _, k in ends]]
            yield from _read_behind(model, pieces, behind, longer)


def _read_whole(model: PreTrainedModel, rows: Sequence[Row]) -> Iterator[Part]:
    """Read the rows padded, those of like length together: a pass of B rows gives up to B times B logits a token."""
    order = sorted(range(len(rows)), key=lambda number: len(rows[number]))
    most = int((LOGITS_AT_ONCE / num_embeddings(model)) ** 0.5)
    at_once = max(1, min(ROWS_AT_ONCE, most))
    for start in range(0, len(order), at_once):
        numbers = order[start : start + at_once]
        yield numbers, last_logits(model, [torch.tensor(rows[number], dtype=torch.int64) for number in numbers])
