"""From rewards to advantages: reward shaping and credit, GAE over the learner's own tokens, group baselines.

A dialogue holds tokens of several speakers. Only the learner's own tokens are actions, so an action's
successor is the learner's *next own token*, however many tokens of others and of padding stand between.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from .divergences import KLEstimator, kl_estimate
from .masking import require_same_shape


def credit_own_tokens(rewards: Float[Tensor, "B T"], policy_token_mask: Bool[Tensor, "B T"]) -> Float[Tensor, "B T"]:
    """Move the rewards that fall on other tokens to the player's latest own token before them.

    A player is also paid in the other's turn, for what it said before. Rewards ahead of the first own token
    answer to no decision of the player; they go to the first own token, where they add the same constant to
    each of its returns and keep the episode's total. A row without own tokens comes out as zeros.
    """
    require_same_shape(rewards=rewards, policy_token_mask=policy_token_mask)
    num_tokens = rewards.shape[1]
    if num_tokens == 0:
        return rewards.clone()
    positions = torch.arange(num_tokens, device=rewards.device).expand_as(rewards)
    latest = torch.where(policy_token_mask, positions, -1).cummax(dim=1).values  # (B, T), -1: none yet
    first = policy_token_mask.int().argmax(dim=1, keepdim=True)  # (B, 1)
    target = torch.where(latest >= 0, latest, first)
    credited = torch.zeros_like(rewards).scatter_add(1, target, rewards)
    return torch.where(policy_token_mask, credited, 0.0)


def shaped_token_rewards(
    rewards: Float[Tensor, "B T"],
    logprobs: Float[Tensor, "B T"],
    ref_logprobs: Float[Tensor, "B T"],
    policy_token_mask: Bool[Tensor, "B T"],
    *,
    kl_coef: float,
    estimator: KLEstimator = "k1",
) -> Float[Tensor, "B T"]:
    """Return reward_t - kl_coef k_t on own tokens and 0 elsewhere; with k1, k_t = logprobs_t - ref_logprobs_t.

    The penalised reward of RLHF (Ziegler et al., 2019, equation 2), token by token. `logprobs` are those of
    the policy that spoke; k1 is the estimator whose place in the reward gives the gradient of the KL. With k2
    and k3 the reward's gradient lacks the term that comes from differentiating the estimator itself.
    """
    require_same_shape(
        rewards=rewards, logprobs=logprobs, ref_logprobs=ref_logprobs, policy_token_mask=policy_token_mask
    )
    _require_credited(rewards, policy_token_mask)
    penalty = kl_coef * kl_estimate(logprobs.detach(), ref_logprobs.detach(), estimator=estimator)
    return torch.where(policy_token_mask, rewards - penalty, 0.0)


def gae(
    rewards: Float[Tensor, "B T"],
    values: Float[Tensor, "B T"],
    policy_token_mask: Bool[Tensor, "B T"],
    *,
    gamma: float,
    gae_lambda: float,
    bootstrap_values: Float[Tensor, " B"] | None = None,
) -> tuple[Float[Tensor, "B T"], Float[Tensor, "B T"]]:
    """Return advantages A_t = sum_l (gamma gae_lambda)^l delta_{t+l} and returns A_t + V_t on own tokens.

    GAE (Schulman et al., 2016, equation 16), with delta_t = reward_t + gamma V_next - V_t, where
    "next" is the next own token. Both results are detached, and 0 on all other tokens.

    Args:
        rewards: Already on own tokens; see `credit_own_tokens`.
        values: V before each own token was spoken; the others are never read.
        policy_token_mask: True on the learner's own tokens.
        gamma: Discount per own token.
        gae_lambda: 0 gives one-step advantages, 1 gives return minus value.
        bootstrap_values: V at the point where an episode was *truncated*, and 0 for one that terminated;
            None if all terminated.
    """
    require_same_shape(rewards=rewards, values=values, policy_token_mask=policy_token_mask)
    _require_credited(rewards, policy_token_mask)
    rewards, values = rewards.detach(), values.detach()
    next_value = torch.zeros_like(values[:, 0]) if bootstrap_values is None else bootstrap_values.detach()
    require_same_shape(bootstrap_values=next_value, episodes=values[:, 0])
    advantages = torch.zeros_like(values)
    next_advantage = torch.zeros_like(next_value)
    for t in reversed(range(values.shape[1])):
        own = policy_token_mask[:, t]
        delta = rewards[:, t] + gamma * next_value - values[:, t]
        next_advantage = torch.where(own, delta + gamma * gae_lambda * next_advantage, next_advantage)
        next_value = torch.where(own, values[:, t], next_value)
        advantages[:, t] = torch.where(own, next_advantage, 0.0)
    return advantages, torch.where(policy_token_mask, advantages + values, 0.0)


def rewards_to_go(rewards: Float[Tensor, "B T"], policy_token_mask: Bool[Tensor, "B T"]) -> Float[Tensor, "B T"]:
    """Return G_t, the sum of the rewards on own token t and on later own tokens; 0 elsewhere.

    REINFORCE (Williams, 1992) without discount; the same as the returns of `gae` with lambda 1 and gamma 1.
    """
    require_same_shape(rewards=rewards, policy_token_mask=policy_token_mask)
    _require_credited(rewards, policy_token_mask)
    return torch.where(policy_token_mask, rewards.flip(1).cumsum(1).flip(1), 0.0)


def prompt_groups(
    tokens: Int[Tensor, "B T"], policy_token_mask: Bool[Tensor, "B T"], players: Int[Tensor, " B"]
) -> Int[Tensor, " B"]:
    """Return a number for each row, equal for rows of one player with the same tokens before their first own token.

    That is all the player knew when it began to reply, so that a baseline made of such a group depends on none of its
    members' own choices. Players are kept apart since they are paid for different things, and not every vocabulary
    names the speaker: where both are told the same, their rows look alike. A row without own tokens is a group of its
    own.
    """
    require_same_shape(tokens=tokens, policy_token_mask=policy_token_mask)
    require_same_shape(players=players, episodes=tokens[:, 0])
    started = policy_token_mask.int().cumsum(1) > 0  # (B, T)
    silent = torch.where(started.any(1), 0, torch.arange(1, len(tokens) + 1, device=tokens.device))
    keys = torch.cat([silent[:, None], started.long(), torch.where(started, 0, tokens.long()), players[:, None]], dim=1)
    groups: Tensor = torch.unique(keys, dim=0, return_inverse=True)[1]
    return groups


def group_mean_returns(returns: Float[Tensor, " B"], groups: Int[Tensor, " B"]) -> Float[Tensor, " B"]:
    """Return, for each reply, the mean return of its group, itself included."""
    require_same_shape(returns=returns, groups=groups)
    return _group_means(returns, *_group_members(groups))


def rloo_advantages(returns: Float[Tensor, " B"], groups: Int[Tensor, " B"]) -> Float[Tensor, " B"]:
    """Return A_i = R_i - mean of R_j over the other members j of i's group.

    RLOO (Kool et al., 2019; Ahmadian et al., 2024). A group, one integer, is the replies that share game,
    player and prompt.
    """
    require_same_shape(returns=returns, groups=groups)
    members, counts = _group_members(groups)
    if returns.numel() and int(counts.min()) < 2:
        raise ValueError("groups: expected 2 replies or more in each, to leave one out, got one with 1")
    size = counts[members].to(returns.dtype)
    return (returns - _group_means(returns, members, counts)) * size / (size - 1)


def grpo_advantages(
    returns: Float[Tensor, " B"],
    groups: Int[Tensor, " B"],
    *,
    scale_by_std: bool = True,
    std_floor: float = 0.0,
    std_offset: float = 1e-4,
) -> Float[Tensor, " B"]:
    """Return A_i = (R_i - mean) / (max(std, std_floor) + std_offset), mean and std of i's group.

    GRPO (Shao et al., 2024) with floor 0; without `scale_by_std`, Dr. GRPO (Liu et al., 2025). The std has the divisor
    n - 1, as in public code; a group of one gets the advantage 0. The floor, in the unit of the returns, keeps returns
    that are nearly equal from counting as much as those that are not.
    """
    require_same_shape(returns=returns, groups=groups)
    members, counts = _group_members(groups)
    centred = returns - _group_means(returns, members, counts)
    if not scale_by_std:
        return centred
    squares = torch.zeros_like(counts, dtype=returns.dtype).index_add(0, members, centred.square())
    std = (squares / (counts - 1).clamp(min=1)).sqrt().clamp(min=std_floor)
    return centred / (std[members] + std_offset)


def _group_members(groups: Tensor) -> tuple[Tensor, Tensor]:
    """Return each reply's group as an index from 0, and each group's size."""
    _, members, counts = torch.unique(groups, return_inverse=True, return_counts=True)
    return members, counts


def _group_means(returns: Tensor, members: Tensor, counts: Tensor) -> Tensor:
    """Return, for each reply, the mean return of its group."""
    totals = torch.zeros_like(counts, dtype=returns.dtype).index_add(0, members, returns)
    return (totals / counts)[members]


def _require_credited(rewards: Tensor, policy_token_mask: Tensor) -> None:
    """Raise if a reward lies on a token that will be skipped: it would be forgotten."""
    stray = (rewards != 0) & ~policy_token_mask
    if bool(stray.any()):
        raise ValueError(
            f"rewards: expected 0 outside policy_token_mask, got {int(stray.sum())} other entries; "
            "move them with credit_own_tokens first"
        )
