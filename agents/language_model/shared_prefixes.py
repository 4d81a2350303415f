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

    @property
    def groups(self) -> list[list[Piece]]:
        """What follows it, by length: each group is read in one pass without padding."""
        ordered = sorted(self.later, key=lambda piece: len(piece.tokens))
        return [list(group) for _, group in groupby(ordered, key=lambda piece: len(piece.tokens))]

    def cost(self) -> tuple[int, int]:
        """Return how many tokens are read after it, and in how many passes."""
        below = [piece.cost() for piece in self.later]
        num_tokens = sum(len(piece.tokens) for piece in self.later)
        return num_tokens + sum(tokens for tokens, _ in below), len(self.groups) + sum(passes for _, passes in below)


def logits_after(model: PreTrainedModel, rows: Sequence[Row], *, extends: bool) -> Iterator[Part]:
    """Yield the logits after the last token of each row, part by part, in any order; every row comes once.

    Args:
        model: in evaluation mode; gradients should be off.
        rows: token ids, at least one each.
        extends: whether the model's cache can be read on from (`probing.Reading`); if not, rows are read whole.
    """
    tree = _laid_out(rows)
    num_tokens, num_passes = tree.cost()
    saved = sum(map(len, rows)) - num_tokens
    if extends and saved > TOKENS_OF_A_PASS * num_passes:
        yield from _read_behind(model, tree, None, 0)
    else:
        yield from _read_whole(model, rows)


def read_on(model: PreTrainedModel, cache: Any, rows: Sequence[Row]) -> tuple[Tensor, Any]:
    """Return the logits after rows of one length (B, V) that follow what a cache of B rows holds, and the new cache."""
    inputs = torch.tensor(rows, dtype=torch.int64, device=model.device)
    output = model(input_ids=inputs, past_key_values=cache, use_cache=True, logits_to_keep=1)
    return output.logits[:, -1], output.past_key_values


def repeated(cache: Any, row: int, times: int) -> Any:
    """Return a copy of one row of a cache, so many times."""
    twin = copy.deepcopy(cache)
    if twin is not None:
        twin.reorder_cache(torch.full((times,), row))
    return twin


def _laid_out(rows: Sequence[Row]) -> Piece:
    order = sorted(range(len(rows)), key=rows.__getitem__)
    root = Piece()
    root.later = _following(rows, order, 0)
    return root


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


def _read_behind(model: PreTrainedModel, before: Piece, cache: Any, row: int) -> Iterator[Part]:
    """Read what follows a piece whose cache is a row of this one."""
    for group in before.groups:
        at_once = max(1, min(ROWS_AT_ONCE, LOGITS_AT_ONCE // num_embeddings(model)))
        for start in range(0, len(group), at_once):
            part = group[start : start + at_once]
            logits, longer = read_on(model, repeated(cache, row, len(part)), [piece.tokens for piece in part])
            ends = [(number, k) for k, piece in enumerate(part) for number in piece.rows]
            if ends:
                yield [number for number, _ in ends], logits[[k for _, k in ends]]
            for k, piece in enumerate(part):
                yield from _read_behind(model, piece, longer, k)


def _read_whole(model: PreTrainedModel, rows: Sequence[Row]) -> Iterator[Part]:
    """Read the rows padded, those of like length together: a pass of B rows gives up to B times B logits a token."""
    order = sorted(range(len(rows)), key=lambda number: len(rows[number]))
    most = int((LOGITS_AT_ONCE / num_embeddings(model)) ** 0.5)
    at_once = max(1, min(ROWS_AT_ONCE, most))
    for start in range(0, len(order), at_once):
        numbers = order[start : start + at_once]
        yield numbers, last_logits(model, [torch.tensor(rows[number], dtype=torch.int64) for number in numbers])
