"""What every gradient learner shares: the optimiser and one step of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..training.checks import Count, NotNegative, Options, Positive, Whole


@dataclass(frozen=True, kw_only=True)
class SupervisedConfig(Options):
    """How a model is fitted to given data by AdamW."""

    num_steps: Count = 300
    """Gradient steps."""
    batch_size: Count = 32
    """Items in a step."""
    learning_rate: Positive = 1e-3
    """Peak learning rate; linear warm-up, then linear decay to 2 % of it."""
    warmup_steps: Whole = 20
    """Steps until the peak."""
    weight_decay: NotNegative = 0.1
    """AdamW's decay."""
    max_grad_norm: Positive = 1.0
    """The gradient is scaled down to this norm."""

    def learning_rate_at(self, iteration: int) -> float:
        """Return the learning rate of step `iteration`, counted from 0."""
        warmup = min(1.0, (iteration + 1) / max(1, self.warmup_steps))
        return self.learning_rate * warmup * max(0.02, 1 - iteration / self.num_steps)


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
    loss: Tensor, optimizer: torch.optim.Optimizer, parameters: list[nn.Parameter], *, max_grad_norm: float = 1.0
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
