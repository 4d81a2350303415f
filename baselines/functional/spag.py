"""The pieces of SPAG's loss (P. Cheng et al., 2024, arXiv 2404.10642): who is trained, on which turns, by how much.

Rows are players' parts of episodes, columns K their turns. A turn's probability is that of all its tokens.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from .masking import require_same_shape
from .policy_losses import clipped_surrogate, probability_ratio

TURN_GROWTH = 1.25
"""How much more a turn is paid than the one before; the inverse of SPAG's decay weight of 0.8."""


def turn_numbers(policy_token_mask: Bool[Tensor, "B T"]) -> Int[Tensor, "B T"]:
    """Return the number of the own turn that each own token belongs to, from 0; -1 at the other tokens.

    Own turns are runs of own tokens: in a player's view something precedes each of its turns.
    """
    before = torch.nn.functional.pad(policy_token_mask, (1, 0))[:, :-1]
    starts = policy_token_mask & ~before
    return torch.where(policy_token_mask, starts.cumsum(1) - 1, -1)


def turn_sums(values: Float[Tensor, "B T"], numbers: Int[Tensor, "B T"], *, num_turns: int) -> Float[Tensor, "B K"]:
    """Return the sum of the values of each own turn; 0 where a row has fewer than `num_turns` turns."""
    require_same_shape(values=values, numbers=numbers)
    own = numbers >= 0
    sums = values.new_zeros(len(values), num_turns)
    return sums.scatter_add(1, numbers.clamp(min=0), torch.where(own, values, 0.0))


def turn_shares(turn_mask: Bool[Tensor, "B K"], *, growth: float = TURN_GROWTH) -> Float[Tensor, "B K"]:
    """Return r_k = growth^k / sum_j growth^j for the turns of each row: later ones count more, all together 1.

    SPAG's reward of a turn, (1 - 1/growth) growth^(k - K) / (1 - growth^-K), for an episode that was won by 1.
    """
    places = torch.arange(turn_mask.shape[1], dtype=torch.get_default_dtype(), device=turn_mask.device)
    powers = torch.where(turn_mask, growth**places, 0.0)
    return powers / powers.sum(1, keepdim=True).clamp(min=torch.finfo(powers.dtype).tiny)


def role_weights(players: Int[Tensor, " B"]) -> Float[Tensor, " B"]:
    """Return N / (2 N_role) for each of N winners' parts: each role then weighs one half of the mean over all.

    Args:
        players: who won each decided episode, 0 or 1. A role that never won weighs nothing; the other still one half.
    """
    if bool(((players < 0) | (players > 1)).any()):
        raise ValueError(f"players: expected 0 or 1 for each episode won, got {players.unique().tolist()}")
    wins = torch.bincount(players, minlength=2)
    return len(players) / (2.0 * wins[players])


def spag_loss(
    logprobs: Float[Tensor, "B K"],
    ref_logprobs: Float[Tensor, "B K"],
    rewards: Float[Tensor, "B K"],
    weights: Float[Tensor, " B"],
    turn_mask: Bool[Tensor, "B K"],
    *,
    clip_epsilon: float,
    kl_coef: float,
) -> Float[Tensor, ""]:
    """Return -mean_rows(weight sum_turns min(rho A, clip(rho, 1 - eps, 1 + eps) A)), A = reward - kl_coef log rho.

    SPAG's objective without its supervised term. rho = pi / ref, where ref is the policy that played; A is taken as a
    constant, as an advantage is, so that on fresh turns the gradient is that of reward and KL(pi, ref).
    """
    ratio = probability_ratio(logprobs, ref_logprobs, turn_mask)
    advantages = (rewards - kl_coef * (logprobs - ref_logprobs)).detach() * weights[:, None]
    return clipped_surrogate(
        ratio, advantages, turn_mask, clip_epsilon=clip_epsilon, aggregation="constant_length", constant_length=1
    )
