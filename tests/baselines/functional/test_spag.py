"""SPAG's loss by hand: the weights of turns and roles, and the clipped ratio of whole turns."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from duologue.baselines.functional.spag import role_weights, spag_loss, turn_numbers, turn_shares, turn_sums


def mask(*rows: str) -> Tensor:
    """Return rows of x and . as a mask, True at x."""
    return torch.tensor([[letter == "x" for letter in row] for row in rows])


def test_three_turns_share_the_return_as_16_20_and_25_of_61() -> None:
    """1.25^k for k = 1, 2, 3 is 5/4, 25/16 and 125/64, or 80, 100 and 125 of 305; one turn gets all."""
    shares = turn_shares(mask("xxx", "x.."))
    torch.testing.assert_close(shares, torch.tensor([[16 / 61, 20 / 61, 25 / 61], [1.0, 0.0, 0.0]]))


@given(lengths=st.lists(st.integers(0, 12), min_size=1, max_size=5), growth=st.floats(0.5, 2))
def test_shares_sum_to_one_and_grow_by_a_constant_factor(lengths: list[int], growth: float) -> None:
    """SPAG, section 3.3: the rewards of an episode's turns sum to its outcome; no turns get nothing."""
    turn_mask = torch.arange(12) < torch.tensor(lengths)[:, None]
    shares = turn_shares(turn_mask, growth=growth)
    assert shares.sum(1).tolist() == pytest.approx([float(length > 0) for length in lengths], abs=1e-5)
    for row, length in zip(shares.tolist(), lengths, strict=True):
        assert row[length:] == [0.0] * (12 - length)
        assert row[1:length] == pytest.approx([growth * share for share in row[: max(0, length - 1)]], rel=1e-4)


def test_own_tokens_are_numbered_by_turn() -> None:
    """Runs of own tokens, the first of which may stand at the very start."""
    assert turn_numbers(mask(".xx.x..xxx", "x.x.......")).tolist() == [
        [-1, 0, 0, -1, 1, -1, -1, 2, 2, 2],
        [0, -1, 1, -1, -1, -1, -1, -1, -1, -1],
    ]


def test_turn_sums_add_own_tokens_only() -> None:
    """By hand; what stands at other tokens, even nan, does not matter."""
    numbers = turn_numbers(mask(".xx.x"))
    values = torch.tensor([[math.nan, 1.0, 2.0, math.nan, 4.0]])
    assert turn_sums(values, numbers, num_turns=3).tolist() == [[3.0, 4.0, 0.0]]


def test_three_wins_against_one_weigh_as_much() -> None:
    """N / (2 N_role) with N = 4: 2/3 each for three, 2 for one."""
    assert role_weights(torch.tensor([0, 0, 1, 0])).tolist() == pytest.approx([2 / 3, 2 / 3, 2, 2 / 3])


def test_a_role_that_never_won_leaves_the_other_its_half() -> None:
    """N / (2 N) = 1/2, as in the objective, whose other expectation is empty."""
    assert role_weights(torch.tensor([1, 1, 1])).tolist() == [0.5, 0.5, 0.5]


@given(wins=st.tuples(st.integers(1, 30), st.integers(1, 30)))
def test_roles_weigh_half_and_half(wins: tuple[int, int]) -> None:
    """However often each won, the mean over all of its weight is one half."""
    players = torch.tensor([0] * wins[0] + [1] * wins[1])
    weights = role_weights(players)
    for player in (0, 1):
        assert float(weights[players == player].sum()) / len(players) == pytest.approx(0.5, rel=1e-5)


def test_only_winners_have_a_weight() -> None:
    """A tie has no winner."""
    with pytest.raises(ValueError, match=r"players: expected 0 or 1 for each episode won, got \[-1, 0\]"):
        role_weights(torch.tensor([0, -1]))


def loss(logprobs: Tensor, ref: Tensor, rewards: Tensor, weights: list[float], turn_mask: Tensor) -> Tensor:
    """Return the loss with the paper's constants."""
    return spag_loss(logprobs, ref, rewards, torch.tensor(weights), turn_mask, clip_epsilon=0.2, kl_coef=0.2)


def test_the_loss_by_hand() -> None:
    """Row 1: rho = 1 pays 0.4; rho = 2 is clipped, A = 0.6 - 0.2 ln 2. Row 2: rho = 1/2, A = 1 + 0.2 ln 2."""
    logprobs = torch.tensor([[-1.0, -1.0], [-1.0 - math.log(2), math.nan]])
    ref = torch.tensor([[-1.0, -1.0 - math.log(2)], [-1.0, math.nan]])
    rewards = torch.tensor([[0.4, 0.6], [1.0, 0.0]])
    first = 0.4 + 1.2 * (0.6 - 0.2 * math.log(2))
    second = 0.5 * (1 + 0.2 * math.log(2))
    expected = -(2 * first + 0.5 * second) / 2
    assert float(loss(logprobs, ref, rewards, [2.0, 0.5], mask("xx", "x."))) == pytest.approx(expected)


def test_on_fresh_turns_the_gradient_is_the_weighted_reward() -> None:
    """At rho = 1 the charge is 0 and nothing is clipped: -w r / B for each log-probability."""
    logprobs = torch.tensor([[-1.0, -2.0], [-3.0, 0.0]], requires_grad=True)
    rewards = torch.tensor([[0.4, 0.6], [1.0, 5.0]])
    loss(logprobs, logprobs.detach(), rewards, [2.0, 0.5], mask("xx", "x.")).backward()
    torch.testing.assert_close(logprobs.grad, torch.tensor([[-0.4, -0.6], [-0.25, 0.0]]))


def test_a_turn_that_became_much_likelier_is_pushed_back() -> None:
    """With A = r - 0.2 log rho < 0 the gradient turns: log rho = 6 > 5 r for r = 1."""
    logprobs = torch.tensor([[0.0]], requires_grad=True)
    loss(logprobs, torch.tensor([[-6.0]]), torch.tensor([[1.0]]), [1.0], mask("x")).backward()
    assert logprobs.grad is not None
    assert float(logprobs.grad) == pytest.approx(0.2 * math.exp(6), rel=1e-5)
