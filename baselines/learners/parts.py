"""Batches that a model reads in parts: passes over some of their rows at a time, with the whole batch's gradient.

A loss may weigh its tokens by all others of the minibatch, as means over tokens do. So what a model says is first
computed without gradients, part by part; the loss of the whole says how it changes with each of those numbers; and
these changes are then handed back through each part in turn, computed once more with gradients. The sum is the gradient
of the whole batch's loss, whatever the loss (Gao et al., 2021, *GradCache*, arXiv 2101.06983), for one forward pass
more. Episodes in which the same was seen and said are read once: of small games a batch holds a handful that differ.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias, TypeVar

import torch
from torch import Tensor, nn

from ..rollouts.trajectories import Trajectories
from .optimisation import require_finite

ReportT = TypeVar("ReportT")
Outputs: TypeAlias = Callable[[Trajectories], Sequence[Tensor]]
"""From some episodes to what a model says of each of their tokens, (B, T) each."""


def parts_of(attention_mask: Tensor, tokens_at_once: int) -> list[Tensor]:
    """Return the rows (of B) of each part: with its padding it has at most so many tokens, or is a single row.

    Rows of like length stand together; 0 tokens: all rows are one part, in their order.
    """
    lengths = attention_mask.sum(1)
    if not tokens_at_once or len(lengths) * int(lengths.max()) <= tokens_at_once:
        return [torch.arange(len(lengths), device=lengths.device)]
    order, parts, longest = lengths.argsort(stable=True), list[list[int]](), 0
    for row in order.tolist():
        longest = max(longest, int(lengths[row]))
        if not parts or (len(parts[-1]) + 1) * longest > tokens_at_once:
            parts.append([])
            longest = int(lengths[row])
        parts[-1].append(row)
    return [torch.tensor(rows, device=lengths.device) for rows in parts]


def distinct(batch: Trajectories) -> tuple[Trajectories, Tensor]:
    """Return the episodes that differ in what a model reads or may say, and each one's number among these, (B,)."""
    marked = batch.tokens * 4 + batch.attention_mask * 2 + batch.policy_token_mask
    read = [batch.players[:, None], marked, *([] if batch.legal_mask is None else [batch.legal_mask.sets])]
    _, number = torch.unique(torch.cat(read, dim=1), dim=0, return_inverse=True)
    first = number.new_full((int(number.max()) + 1,), len(number))
    first.scatter_reduce_(0, number, torch.arange(len(number), device=number.device), "amin")
    order = first.argsort()  # as they stand in the batch
    return batch.select(first[order]), order.argsort()[number]


@torch.no_grad()
def said_of(outputs: Outputs, batch: Trajectories, tokens_at_once: int) -> list[Tensor]:
    """Return what a model says of a batch, (B, T) each, without gradients, part by part."""
    if not tokens_at_once:
        return list(outputs(batch))
    told, number = distinct(batch)
    return _for_all(_in_parts(outputs, told, tokens_at_once), number, batch)


def said_at_once(outputs: Outputs, batch: Trajectories, tokens_at_once: int) -> list[Tensor] | None:
    """Return the same with gradients, by a single pass; None where that would be more tokens than may pass at once."""
    if not tokens_at_once:
        return list(outputs(batch))
    told, number = distinct(batch)
    return _for_all(outputs(told), number, batch) if len(parts_of(told.attention_mask, tokens_at_once)) == 1 else None


def _for_all(said: Sequence[Tensor], number: Tensor, batch: Trajectories) -> list[Tensor]:
    missing = batch.tokens.shape[1] - said[0].shape[1]
    return [nn.functional.pad(one[number], (0, missing)) for one in said]


@torch.no_grad()
def _in_parts(outputs: Outputs, batch: Trajectories, tokens_at_once: int) -> list[Tensor]:
    whole: list[Tensor] = []
    for rows in parts_of(batch.attention_mask, tokens_at_once):
        some = outputs(batch.select(rows))
        whole = whole or [one.new_zeros(batch.tokens.shape) for one in some]
        for all_rows, one in zip(whole, some, strict=True):
            all_rows[rows, : one.shape[1]] = one
    return whole


def backward_in_parts(
    outputs: Outputs,
    batch: Trajectories,
    loss_of: Callable[[Sequence[Tensor]], tuple[Tensor, ReportT]],
    tokens_at_once: int,
    *,
    said: Sequence[Tensor] | None = None,
) -> ReportT:
    """Add the gradient of a batch's loss to the parameters' gradients; return what `loss_of` reports.

    Args:
        outputs: what the model says.
        batch: B episodes, as trimmed as `select` leaves them.
        loss_of: from what is said of all of them to the loss and a report on it.
        tokens_at_once: more are not passed through the model at a time; 0: all are.
        said: what the model says of them, if it is known already, with gradients.

    Raises:
        FloatingPointError: the loss is no finite number.
    """
    if said is None and not tokens_at_once:
        said = outputs(batch)
    if said is not None:
        return _backward(loss_of, said)
    told, number = distinct(batch)
    parts = parts_of(told.attention_mask, tokens_at_once)
    whole = len(parts) == 1
    leaves = outputs(told) if whole else [one.requires_grad_() for one in _in_parts(outputs, told, tokens_at_once)]
    report = _backward(loss_of, [one[number] for one in leaves])
    for rows in [] if whole else parts:
        pairs = [
            (one, leaf.grad[rows, : one.shape[1]])
            for one, leaf in zip(outputs(told.select(rows)), leaves, strict=True)
            if one.requires_grad and leaf.grad is not None
        ]
        torch.autograd.backward([one for one, _ in pairs], [change for _, change in pairs])
    return report


def _backward(loss_of: Callable[[Sequence[Tensor]], tuple[Tensor, ReportT]], said: Sequence[Tensor]) -> ReportT:
    loss, report = loss_of(said)
    require_finite("loss", loss)
    loss.backward()
    return report
