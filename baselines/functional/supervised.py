"""Losses from given data: demonstrations and preferences.

With margin G(p) = log p(chosen|prompt) - log p(rejected|prompt), each a sum over the reply's tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import logsigmoid

from .masking import masked_mean, require_same_shape
from .nash import checked_preferences

PreferenceLoss = Literal["dpo", "ipo"]
"""Which loss of a preference, by name; see `preference_loss`."""


def behaviour_cloning_loss(logprobs: Float[Tensor, "B T"], loss_mask: Bool[Tensor, "B T"]) -> Float[Tensor, ""]:
    """Return -mean(log pi(a_t|s_t)) over the marked tokens.

    The language game (arXiv 2402.08078): equation 7, pre-training, if the mask marks every token; equation 8,
    SFT, if it marks player two's.
    """
    return -masked_mean(logprobs, loss_mask)


def bradley_terry_loss(chosen_rewards: Float[Tensor, " B"], rejected_rewards: Float[Tensor, " B"]) -> Float[Tensor, ""]:
    """Return -mean(log sigmoid(r(x, y_w) - r(x, y_l))), the loss of a reward model.

    Ouyang et al. (2022), equation 1. Adding a number per prompt to the rewards changes nothing.
    """
    require_same_shape(chosen_rewards=chosen_rewards, rejected_rewards=rejected_rewards)
    return -logsigmoid(chosen_rewards - rejected_rewards).mean()


def dpo_loss(
    margins: Float[Tensor, " B"],
    ref_margins: Float[Tensor, " B"],
    *,
    kl_coef: float,
    label_smoothing: float = 0.0,
) -> Float[Tensor, ""]:
    """Return -mean(log sigmoid(kl_coef (G(pi) - G(ref)))).

    DPO (Rafailov et al., 2023), equation 7, whose beta is our `kl_coef`. `label_smoothing`, in [0, 1/2), is
    the assumed share of swapped labels: the loss of the swapped pair is mixed in with that weight.
    """
    if not 0 <= label_smoothing < 0.5:
        raise ValueError(f"label_smoothing: expected a number in [0, 1/2), got {label_smoothing}")
    preferences = torch.full_like(margins, 1 - label_smoothing)
    return preference_loss(margins, ref_margins, preferences, loss="dpo", kl_coef=kl_coef)


def ipo_loss(margins: Float[Tensor, " B"], ref_margins: Float[Tensor, " B"], *, kl_coef: float) -> Float[Tensor, ""]:
    """Return mean((G(pi) - G(ref) - 1 / (2 kl_coef))^2).

    IPO (Azar et al., 2023), equation 17, whose tau is our `kl_coef`.
    """
    return preference_loss(margins, ref_margins, torch.ones_like(margins), loss="ipo", kl_coef=kl_coef)


def preference_loss(
    margins: Float[Tensor, " B"],
    ref_margins: Float[Tensor, " B"],
    preferences: Float[Tensor, " B"],
    *,
    loss: PreferenceLoss,
    kl_coef: float,
) -> Float[Tensor, ""]:
    """Return mean(p L(first, second) + (1 - p) L(second, first)) for pairs whose first reply is preferred with p.

    `margins` are log p(first|prompt) - log p(second|prompt). A label is p = 1 or 0, a known probability a soft label
    with the same expected gradient, a tie p = 1/2. L is that of `dpo_loss` or of `ipo_loss`.
    """
    require_same_shape(margins=margins, ref_margins=ref_margins, preferences=preferences)
    checked_preferences(preferences)
    gains = margins - ref_margins
    if loss == "dpo":
        scaled = kl_coef * gains
        losses = -preferences * logsigmoid(scaled) - (1 - preferences) * logsigmoid(-scaled)
    elif loss == "ipo":
        target = 1 / (2 * kl_coef)
        losses = preferences * (gains - target).square() + (1 - preferences) * (gains + target).square()
    else:
        raise ValueError(f"loss: expected dpo or ipo, got {loss!r}")
    return losses.mean()


def meta_policy_loss(
    logprobs: Float[Tensor, "B T"],
    policy_token_mask: Bool[Tensor, "B T"],
    game_index: Int[Tensor, " B"],
    *,
    weights: Sequence[float],
) -> Float[Tensor, ""]:
    """Return -sum_G w_G mean over G's tokens of log pi(a|s): a game counts by its weight, not by its length.

    Equation (10), negated to be minimised; games without a token in the batch are left out and the other weights scaled
    to sum to 1. `behaviour_cloning_loss` on the same batch is the pooled mean, which weights games by their tokens.
    """
    total, present = logprobs.new_zeros(()), 0.0
    for index, weight in enumerate(weights):
        own = policy_token_mask & (game_index == index)[:, None]  # (B, T)
        if weight and bool(own.any()):
            total = total - weight * logprobs[own].mean()
            present += weight
    if not present:
        raise ValueError(f"policy_token_mask: expected a token of a game with weight among {list(weights)}, got none")
    return total / present
