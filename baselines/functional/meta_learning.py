"""The meta-policy's objective of arXiv 2402.08078, equation (10), beside the one that pools all tokens."""

from __future__ import annotations

from collections.abc import Sequence

from jaxtyping import Bool, Float, Int
from torch import Tensor


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
