"""What every gradient learner shares: the optimiser and one step of it."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn


def make_optimizer(
    parameters: Iterable[nn.Parameter], *, learning_rate: float, weight_decay: float
) -> torch.optim.AdamW:
    """Return AdamW with betas (0.9, 0.95), as the released GPO script has it (arXiv 2406.10977)."""
    return torch.optim.AdamW(parameters, lr=learning_rate, betas=(0.9, 0.95), weight_decay=weight_decay)


def learning_rate_share(num_updates: int, num_planned: int | None, *, warmup_updates: int, final_share: float) -> float:
    """Return the share of the full learning rate after `num_updates` updates: a linear warm-up, then a linear fall.

    Args:
        num_updates: how many there have been.
        num_planned: over how many it falls to `final_share`; None: it stays.
        warmup_updates: until the full rate.
        final_share: what is left at the last planned update.
    """
    share = min(1.0, (num_updates + 1) / max(1, warmup_updates))
    if num_planned is None:
        return share
    return min(share, 1 - (1 - final_share) * min(1.0, num_updates / num_planned))


def set_learning_rate(optimizer: torch.optim.Optimizer, learning_rate: float) -> None:
    """Set the learning rate of every group."""
    for group in optimizer.param_groups:
        group["lr"] = learning_rate


def take_step(
    loss: Tensor, optimizer: torch.optim.Optimizer, parameters: list[nn.Parameter], *, max_grad_norm: float
) -> float:
    """Descend once; return the gradient's norm before clipping.

    Raises:
        FloatingPointError: the loss is not finite; the parameters are left as they were.
    """
    if not bool(torch.isfinite(loss)):
        raise FloatingPointError(f"loss: expected a finite number, got {float(loss)}")
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    norm = nn.utils.clip_grad_norm_(parameters, max_grad_norm)
    optimizer.step()
    return float(norm)
