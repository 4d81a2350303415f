import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from duologue.baselines.functional.advantages import (
    credit_own_tokens,
    gae,
    group_mean_returns,
    grpo_advantages,
    prompt_groups,
    rewards_to_go,
    rloo_advantages,
    shaped_token_rewards,
)


def random_batch(seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return rewards everywhere, values and a mask with an own token in each row, (3, 7)."""
    generator = torch.Generator().manual_seed(seed)
    rewards, values = torch.randn(2, 3, 7, generator=generator, dtype=torch.float64)
    mask = torch.rand(3, 7, generator=generator) < 0.5
    mask[:, 3] = True
    return rewards, values, mask


def test_rewards_move_to_the_latest_own_token() -> None:
    """By hand: 1 precedes all own tokens and goes to the first, 4 + 8 to the token before them."""
    rewards = torch.tensor([[1.0, 2.0, 4.0, 8.0, 16.0], [1.0, 0.0, 0.0, 0.0, 0.0]])
    mask = torch.tensor([[False, True, False, False, True], [False] * 5])
    assert credit_own_tokens(rewards, mask).tolist() == [[0, 15, 0, 0, 16], [0] * 5]


@given(seed=st.integers(0, 2**32 - 1))
def test_credit_keeps_every_episodes_total(seed: int) -> None:
    """Nothing is forgotten, nothing counted twice, and a second application changes nothing."""
    rewards, _, mask = random_batch(seed)
    credited = credit_own_tokens(rewards, mask)
    torch.testing.assert_close(credited.sum(1), rewards.sum(1))
    assert (credited[~mask] == 0).all()
    assert torch.equal(credit_own_tokens(credited, mask), credited)


def test_the_penalty_is_kl_coef_times_k1_on_own_tokens() -> None:
    """By hand: 1 - .5 (-1 - -3) = 0 on the own token; the other token's difference is ignored."""
    rewards, mask = torch.tensor([[1.0, 0.0]]), torch.tensor([[True, False]])
    logprobs, ref_logprobs = torch.tensor([[-1.0, -9.0]]), torch.tensor([[-3.0, -1.0]])
    assert shaped_token_rewards(rewards, logprobs, ref_logprobs, mask, kl_coef=0.5).tolist() == [[0, 0]]


def test_a_reward_that_would_be_forgotten_is_refused() -> None:
    """A reward on a token that advantages skip has to be credited first."""
    rewards, values, mask = random_batch(0)
    with pytest.raises(ValueError, match="credit_own_tokens"):
        gae(rewards, values, mask, gamma=1.0, gae_lambda=1.0)


def test_gae_of_three_own_tokens_by_hand() -> None:
    """Gamma = lambda = 1/2, V = (2, 4, 8), reward 8 at the end: deltas 0, 0, 0 without bootstrap."""
    rewards = torch.tensor([[0.0, 9.0, 0.0, 8.0]]) * torch.tensor([[1, 0, 1, 1]])
    values, mask = torch.tensor([[2.0, 9.0, 4.0, 8.0]]), torch.tensor([[True, False, True, True]])
    advantages, returns = gae(rewards, values, mask, gamma=0.5, gae_lambda=0.5)
    assert advantages.tolist() == [[0, 0, 0, 0]]
    assert returns.tolist() == [[2, 0, 4, 8]]
    bootstrapped, _ = gae(rewards, values, mask, gamma=0.5, gae_lambda=0.5, bootstrap_values=torch.tensor([32.0]))
    assert bootstrapped.tolist() == [[1, 0, 4, 16]]  # delta_last = 16, then times 1/4 per own token


@given(seed=st.integers(0, 2**32 - 1))
def test_at_lambda_1_and_gamma_1_returns_are_rewards_to_go(seed: int) -> None:
    """Algebra: the values telescope away, so GAE is return minus value."""
    rewards, values, mask = random_batch(seed)
    rewards = credit_own_tokens(rewards, mask)
    bootstrap = torch.tensor([0.0, 1.5, -2.0], dtype=torch.float64)
    advantages, returns = gae(rewards, values, mask, gamma=1.0, gae_lambda=1.0, bootstrap_values=bootstrap)
    to_go = rewards.flip(1).cumsum(1).flip(1) + bootstrap[:, None]
    torch.testing.assert_close(returns, torch.where(mask, to_go, 0.0))
    torch.testing.assert_close(advantages, torch.where(mask, to_go - values, 0.0))


@given(seed=st.integers(0, 2**32 - 1), gamma=st.floats(0, 1), gae_lambda=st.floats(0, 1))
def test_gae_equals_gae_of_the_dialogue_without_the_others_tokens(seed: int, gamma: float, gae_lambda: float) -> None:
    """Next means the next own token, so that cutting the other tokens out changes nothing."""
    rewards, values, mask = random_batch(seed)
    rewards = credit_own_tokens(rewards, mask)
    advantages, returns = gae(rewards, values, mask, gamma=gamma, gae_lambda=gae_lambda)
    for b in range(3):
        own = mask[b]
        alone = gae(
            rewards[b : b + 1, own],
            values[b : b + 1, own],
            own[own][None],
            gamma=gamma,
            gae_lambda=gae_lambda,
        )
        assert torch.equal(advantages[b, own], alone[0][0])
        assert torch.equal(returns[b, own], alone[1][0])


def test_group_baselines_by_hand() -> None:
    """Returns 1, 3, 8 of one group and 5, 5 of another, interleaved."""
    returns, groups = torch.tensor([1.0, 5.0, 3.0, 5.0, 8.0]), torch.tensor([7, 2, 7, 2, 7])
    assert rloo_advantages(returns, groups).tolist() == [-4.5, 0, -1.5, 0, 6]
    assert grpo_advantages(returns, groups, scale_by_std=False).tolist() == [-3, 0, -1, 0, 4]
    expected = torch.tensor([-3.0, 0.0, -1.0, 0.0, 4.0]) / (13**0.5 + 1e-4)  # 26 / (3 - 1) = 13
    torch.testing.assert_close(grpo_advantages(returns, groups), expected)
    floored = torch.tensor([-3.0, 0.0, -1.0, 0.0, 4.0]) / (5 + 1e-4)  # a floor of 5 is above the std of 3.6
    torch.testing.assert_close(grpo_advantages(returns, groups, std_floor=5.0), floored)
    torch.testing.assert_close(grpo_advantages(returns, groups, std_floor=3.0), expected)


def test_leaving_one_out_needs_two() -> None:
    """The mean over the other members of a group of one is 0/0."""
    with pytest.raises(ValueError, match="leave one out"):
        rloo_advantages(torch.tensor([1.0]), torch.tensor([0]))


@given(seed=st.integers(0, 2**32 - 1))
def test_rewards_to_go_are_the_returns_of_gae_at_lambda_1(seed: int) -> None:
    """Two ways to the same sums; a reward off the own tokens is refused by both."""
    rewards, values, mask = random_batch(seed)
    credited = credit_own_tokens(rewards, mask)
    expected = gae(credited, values, mask, gamma=1.0, gae_lambda=1.0)[1]
    torch.testing.assert_close(rewards_to_go(credited, mask), expected)
    with pytest.raises(ValueError, match="credit_own_tokens"):
        rewards_to_go(torch.ones(1, 2), torch.tensor([[True, False]]))


def test_prompt_groups_by_hand() -> None:
    """Tokens before the first own one count, later ones and padding do not; silent rows and players stand alone."""
    tokens = torch.tensor(
        [[5, 6, 7, 0], [5, 6, 8, 9], [5, 7, 7, 0], [5, 6, 0, 0], [5, 6, 0, 0], [5, 6, 6, 7], [5, 6, 8, 9]]
    )
    own = torch.tensor([[0, 0, 1, 0], [0, 0, 1, 1], [0, 0, 1, 0], [0] * 4, [0] * 4, [0, 1, 0, 1], [0, 0, 1, 1]]).bool()
    groups = prompt_groups(tokens, own, torch.tensor([0, 0, 0, 0, 0, 0, 1])).tolist()
    assert groups[0] == groups[1]
    assert len(set(groups)) == 6


@given(seed=st.integers(0, 2**32 - 1))
def test_group_baselines_sum_to_0_in_each_group_and_ignore_its_level(seed: int) -> None:
    """Centred advantages; what a group is paid in any case cancels, so that no group knows of another."""
    generator = torch.Generator().manual_seed(seed)
    groups = torch.tensor([0, 0, 0, 1, 1, 2, 2, 2, 2])[torch.randperm(9, generator=generator)]
    returns = torch.randn(9, generator=generator, dtype=torch.float64)
    moved = returns + torch.tensor([3.0, -8.0, 1.5], dtype=torch.float64)[groups]
    for advantages in (rloo_advantages, grpo_advantages):
        found = advantages(returns, groups)
        torch.testing.assert_close(advantages(moved, groups), found)
        sums = torch.zeros(3, dtype=torch.float64).index_add(0, groups, found)
        torch.testing.assert_close(sums, torch.zeros_like(sums))
    centred = grpo_advantages(returns, groups, scale_by_std=False)
    torch.testing.assert_close(returns - group_mean_returns(returns, groups), centred)
    size = torch.tensor([3.0, 2.0, 4.0], dtype=torch.float64)[groups]
    torch.testing.assert_close(rloo_advantages(returns, groups) * (size - 1) / size, centred)
