import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from duologue.baselines.functional.policy_losses import (
    Aggregation,
    aggregate_tokens,
    clip_fraction,
    clipped_surrogate,
    clipped_value_loss,
    masked_entropy,
    policy_gradient_loss,
    probability_ratio,
    token_logprobs,
)
from duologue.baselines.functional.supervised import behaviour_cloning_loss

Loss = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
"""Of logits (B, T, V), two more numbers per token (B, T), and the mask."""

TOKENS = torch.tensor([[0, 1, 2, 1, 0], [2, 2, 0, 1, 1]])
LOSSES: dict[str, Loss] = {
    "surrogate": lambda x, y, z, m: clipped_surrogate(
        probability_ratio(token_logprobs(x, TOKENS), y, m), z, m, clip_epsilon=0.2
    ),
    "sequence_mean": lambda x, y, z, m: policy_gradient_loss(
        token_logprobs(x, TOKENS), z, m, aggregation="sequence_mean"
    ),
    "constant_length": lambda x, y, z, m: policy_gradient_loss(
        token_logprobs(x, TOKENS), z, m, aggregation="constant_length", constant_length=9
    ),
    "value": lambda x, y, z, m: clipped_value_loss(x[..., 0], y, z, m, clip_epsilon=0.2),
    "entropy": lambda x, y, z, m: masked_entropy(x, m),
    "cloning": lambda x, y, z, m: behaviour_cloning_loss(token_logprobs(x, TOKENS), m),
}


def loss_and_gradient(loss: Loss, x: Tensor, y: Tensor, z: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Return the loss and its gradient with respect to the logits."""
    x = x.clone().requires_grad_()
    value = loss(x, y, z, mask)
    return value.detach(), torch.autograd.grad(value, x)[0]


@pytest.mark.parametrize("name", LOSSES)
def test_padding_and_opponents_tokens_change_no_loss_and_no_gradient(name: str) -> None:
    """Only own tokens enter a loss: bit for bit the same loss, and gradients of exactly 0 elsewhere."""
    generator = torch.Generator().manual_seed(1)
    x, noise = torch.randn(2, 2, 5, 3, generator=generator)
    y, z = torch.randn(2, 2, 5, generator=generator) - 1
    mask = torch.tensor([[True, False, True, True, False], [False, True, False, False, False]])
    other = torch.where(mask[..., None], x, 50 * noise)
    y_other, z_other = torch.where(mask, y, -torch.inf), torch.where(mask, z, torch.nan)
    before, after = (
        loss_and_gradient(LOSSES[name], x, y, z, mask),
        loss_and_gradient(LOSSES[name], other, y_other if name == "surrogate" else y, z, mask),
    )
    assert before[0] != 0
    assert torch.equal(before[0], after[0])
    assert torch.equal(before[1], after[1])
    assert (before[1][~mask] == 0).all()
    assert torch.equal(before[0], LOSSES[name](x, y, z_other, mask))


def test_token_logprobs_respect_forbidden_tokens() -> None:
    """By hand: of three tokens the last is forbidden, the others have odds 3 to 1."""
    logits = torch.tensor([[[math.log(3.0), 0.0, -torch.inf]] * 2])
    logprobs = token_logprobs(logits, torch.tensor([[0, 1]]))
    torch.testing.assert_close(logprobs.exp(), torch.tensor([[0.75, 0.25]]))


def test_clipped_surrogate_by_hand() -> None:
    """Eps .2: min(1.5 * 1, 1.2) = 1.2; min(.5 * -1, -.8) = -.8; min(1.5 * -2, -2.4) = -3; mean -2.6/3."""
    ratio, advantage = torch.tensor([[1.5, 0.5, 1.5]]), torch.tensor([[1.0, -1.0, -2.0]])
    mask = torch.ones(1, 3, dtype=torch.bool)
    assert clipped_surrogate(ratio, advantage, mask, clip_epsilon=0.2).item() == pytest.approx(2.6 / 3)
    assert clip_fraction(ratio, mask, clip_epsilon=0.2).item() == 1


@given(seed=st.integers(0, 2**32 - 1), clip_epsilon=st.floats(0.01, 0.5))
def test_ratio_1_removes_clipping(seed: int, clip_epsilon: float) -> None:
    """On fresh samples PPO's gradient is the policy gradient (PPO, section 3)."""
    generator = torch.Generator().manual_seed(seed)
    logprobs, advantage = torch.randn(2, 3, 4, generator=generator)
    mask = torch.rand(3, 4, generator=generator) < 0.7
    logprobs.requires_grad_()
    ratio = probability_ratio(logprobs, logprobs.detach(), mask)
    surrogate = clipped_surrogate(ratio, advantage, mask, clip_epsilon=clip_epsilon)
    plain = policy_gradient_loss(logprobs, advantage, mask)
    gradients = [torch.autograd.grad(loss, logprobs)[0] for loss in (surrogate, plain)]
    torch.testing.assert_close(*gradients)


def test_clipped_value_loss_by_hand() -> None:
    """V_old 0, V 1, G 2, eps .5: max(1, 1.5^2) / 2; with V 3 the unclipped and clipped errors 1 and 2.25."""
    values, returns = torch.tensor([[1.0, 3.0, 7.0]]), torch.tensor([[2.0, 2.0, 0.0]])
    mask = torch.tensor([[True, True, False]])
    loss = clipped_value_loss(values, torch.zeros(1, 3), returns, mask, clip_epsilon=0.5)
    assert loss.item() == pytest.approx(2.25 / 2)


def test_entropy_counts_legal_tokens_only_and_has_a_finite_gradient() -> None:
    """Two equally likely legal tokens have ln 2 nats; a fully masked row is padding."""
    logits = torch.tensor([[[0.0, 0.0, -torch.inf], [-torch.inf] * 3]], requires_grad=True)
    entropy = masked_entropy(logits, torch.tensor([[True, False]]))
    assert entropy.item() == pytest.approx(math.log(2))
    assert torch.isfinite(torch.autograd.grad(entropy, logits)[0]).all()


@pytest.mark.parametrize(
    ("aggregation", "length", "expected"),
    [("token_mean", None, 1 / 10), ("sequence_mean", None, 1 / 2), ("constant_length", 10, 1 / 20)],
)
def test_aggregations_of_lengths_1_and_9_by_hand(aggregation: Aggregation, length: int | None, expected: float) -> None:
    """The only token of the short reply has loss 1, the 9 of the long one have 0."""
    mask = torch.arange(9) < torch.tensor([[1], [9]])
    losses = torch.zeros(2, 9)
    losses[0, 0] = 1
    loss = aggregate_tokens(losses, mask, aggregation=aggregation, constant_length=length)
    assert loss.item() == pytest.approx(expected)


@pytest.mark.parametrize("length", [None, 7])
def test_one_batch_of_8_equals_the_mean_of_8_singles(length: int | None) -> None:
    """True of the two aggregations that treat replies alike, not of the mean over all tokens."""
    generator = torch.Generator().manual_seed(2)
    losses = torch.randn(8, 7, generator=generator, dtype=torch.float64)
    mask = torch.arange(7) < torch.arange(8).clamp(1, 7)[:, None]
    aggregation: Aggregation = "sequence_mean" if length is None else "constant_length"

    def one(rows: slice) -> Tensor:
        return aggregate_tokens(losses[rows], mask[rows], aggregation=aggregation, constant_length=length)

    singles = torch.stack([one(slice(b, b + 1)) for b in range(8)])
    torch.testing.assert_close(one(slice(None)), singles.mean())


def test_a_length_without_its_aggregation_is_refused() -> None:
    """Contradictions raise."""
    ones, mask = torch.ones(1, 2), torch.ones(1, 2, dtype=torch.bool)
    with pytest.raises(ValueError, match="constant_length"):
        aggregate_tokens(ones, mask, aggregation="token_mean", constant_length=3)
    with pytest.raises(ValueError, match="constant_length"):
        aggregate_tokens(ones, mask, aggregation="constant_length")


def test_tensors_that_would_broadcast_are_refused() -> None:
    """By our guard, or under pytest already by the shape annotations."""
    ones, mask = torch.ones(2, 3), torch.ones(2, 3, dtype=torch.bool)
    with pytest.raises((ValueError, TypeError), match=r"advantage|action_values"):
        policy_gradient_loss(ones, torch.ones(2, 1), mask)
