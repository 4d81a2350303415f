"""What every gradient learner shares: the optimiser and one step of it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..training.checks import Count, LearningRate, NotNegative, Options, Positive, Rows, Whole

LARGEST_WEIGHT = 1e5
"""Beyond it the products within a layer leave the range of float32, so that a model says nothing but NaN."""


@dataclass(frozen=True, kw_only=True)
class SupervisedConfig(Options):
    """How a model is fitted to given data by AdamW."""

    num_steps: Count = 300
    """Gradient steps."""
    batch_size: Rows = 32
    """Items in a step."""
    learning_rate: LearningRate = 1e-3
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


ADAM_EPSILON = 1e-8
"""Adam's own (Kingma & Ba, 2015): a step is as large as the learning rate says, however small the gradient."""
GAME_ADAM_EPSILON = 1e-2
"""For a micro model that learns in a game from a player that learns too, with payoffs of range about 1.

Where neither player can gain, a batch's gradient is noise that vanishes with the advantages, and by `ADAM_EPSILON` it
would be scaled up to steps as large as ever: these throw players out of an equilibrium that they have found. Beside
this number the gradient of a weight is small there, so that the step shrinks with it. A gradient of norm 1 spread over
a micro model's ten thousand weights is 1e-2 for each; in a larger model it is less, and this would stop its learning.
"""


def make_optimizer(
    parameters: Iterable[nn.Parameter],
    *,
    learning_rate: float,
    weight_decay: float,
    adam_epsilon: float = ADAM_EPSILON,
) -> torch.optim.AdamW:
    """Return AdamW with betas (0.9, 0.95), as the released GPO script has it (arXiv 2406.10977)."""
    return torch.optim.AdamW(
        parameters, lr=float(learning_rate), betas=(0.9, 0.95), eps=float(adam_epsilon), weight_decay=weight_decay
    )


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
        group["lr"] = float(learning_rate)


def take_step(
    loss: Tensor, optimizer: torch.optim.Optimizer, parameters: list[nn.Parameter], *, max_grad_norm: float = 1.0
) -> float:
    """Descend once; return the gradient's norm before clipping.

    Raises:
        FloatingPointError: the loss, the gradient or a new weight is no finite number. Only in the last case is any
            parameter another than before.
    """
    require_finite("loss", loss)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    return descend(optimizer, parameters, max_grad_norm=max_grad_norm)


def descend(optimizer: torch.optim.Optimizer, parameters: list[nn.Parameter], *, max_grad_norm: float) -> float:
    """Clip the gradient that the parameters have, and step; return its norm before that. It raises as `take_step`."""
    norm = nn.utils.clip_grad_norm_(parameters, max_grad_norm)
    require_finite("gradient norm", norm)
    optimizer.step()
    require_sound_weights(parameters)
    return float(norm)


@torch.no_grad()
def require_sound_weights(parameters: Iterable[Tensor]) -> None:
    """Raise FloatingPointError if a weight is so large that no model is left, or no number at all."""
    largest = float(nn.utils.get_total_norm(parameters, norm_type=math.inf))
    if not largest <= LARGEST_WEIGHT:
        raise FloatingPointError(
            f"weights after the step: expected numbers of at most {LARGEST_WEIGHT:g}, got {largest:g}; the learning "
            "rate may be too large"
        )


def require_full_precision(model: nn.Module) -> None:
    """Raise ValueError where weights that are to be trained are in half precision.

    A step of AdamW is about the learning rate in size, and bfloat16 keeps 8 bits: of the weights of a chat model of
    135 M parameters steps of 1e-6 move 0.4 %, and steps of 1e-5 2 %; the rest is rounded away.
    """
    for name, weight in model.named_parameters():
        if weight.requires_grad and weight.element_size() < 4:
            raise ValueError(
                f"model: expected weights in float32 to be trained, got {str(weight.dtype).removeprefix('torch.')} "
                f"({name}), which rounds small steps away; load them in float32 and compute in half precision "
                "(compute_dtype), or train adapters"
            )


def place_moments(optimizer: torch.optim.Optimizer, device: torch.device) -> None:
    """Move what an optimiser remembers of each weight to a device."""
    for state in optimizer.state.values():
        for name, moment in state.items():
            if isinstance(moment, Tensor) and moment.ndim and moment.device != device:
                state[name] = moment.to(device)


@contextmanager
def numbered(what: str, number: int) -> Iterator[None]:
    """Let a FloatingPointError from inside say where: "update 3: loss: expected a finite number, got nan"."""
    try:
        yield
    except FloatingPointError as error:
        raise FloatingPointError(f"{what} {number}: {error}") from error


def require_finite(name: str, numbers: Tensor) -> None:
    """Raise FloatingPointError unless all of these are finite numbers; the message names them and counts the others."""
    if not isinstance(numbers, Tensor):
        raise TypeError(f"{name}: expected a tensor, got {numbers!r}")
    numbers = numbers.detach()
    is_finite = torch.isfinite(numbers)
    if bool(is_finite.all()):
        return
    wrong = numbers[~is_finite].flatten()
    among = "" if numbers.ndim == 0 else f" and {len(wrong) - 1} more among {numbers.numel()}"
    expected = "a finite number" if numbers.ndim == 0 else "finite numbers"
    raise FloatingPointError(f"{name}: expected {expected}, got {float(wrong[0])}{among}")
