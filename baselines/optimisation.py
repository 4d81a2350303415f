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
