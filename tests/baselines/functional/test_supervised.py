import math

import pytest
import torch

from duologue.baselines.functional.supervised import (
    PreferenceLoss,
    behaviour_cloning_loss,
    bradley_terry_loss,
    dpo_loss,
    ipo_loss,
    preference_loss,
)


def test_cloning_loss_is_the_masked_mean_of_negative_logprobs() -> None:
    """By hand, equations 7 (all tokens) and 8 (player two's)."""
    logprobs = torch.tensor([[-1.0, -2.0, -6.0]])
    everything, player_two = torch.tensor([[True, True, True]]), torch.tensor([[False, True, True]])
    assert behaviour_cloning_loss(logprobs, everything).item() == 3
    assert behaviour_cloning_loss(logprobs, player_two).item() == 4


def test_cloning_loss_is_least_at_empirical_frequencies() -> None:
    """Of 4 tokens 3 are token 0: the gradient vanishes at probabilities (3/4, 1/4)."""
    logits = torch.tensor([math.log(3.0), 0.0], dtype=torch.float64, requires_grad=True)
    tokens = torch.tensor([0, 0, 1, 0])
    loss = behaviour_cloning_loss(logits.log_softmax(-1)[tokens][None], torch.ones(1, 4, dtype=torch.bool))
    assert torch.autograd.grad(loss, logits)[0].abs().max().item() == pytest.approx(0, abs=1e-12)


def test_bradley_terry_recovers_planted_rewards_up_to_a_shift() -> None:
    """Expected labels of planted rewards (0, 1, 3) have their minimum exactly there."""
    planted = torch.tensor([0.0, 1.0, 3.0], dtype=torch.float64)
    rewards = (planted + 5).requires_grad_()
    first, second = torch.combinations(torch.arange(3)).T
    wins = torch.sigmoid(planted[first] - planted[second])
    loss = torch.stack(
        [
            wins[i] * bradley_terry_loss(rewards[a : a + 1], rewards[b : b + 1])
            + (1 - wins[i]) * bradley_terry_loss(rewards[b : b + 1], rewards[a : a + 1])
            for i, (a, b) in enumerate(zip(first.tolist(), second.tolist(), strict=True))
        ]
    ).sum()
    assert torch.autograd.grad(loss, rewards)[0].abs().max().item() == pytest.approx(0, abs=1e-12)


def test_dpo_by_hand() -> None:
    """Margin gain 2 at beta .5: -log sigmoid(1); smoothing mixes in -log sigmoid(-1)."""
    margins, ref_margins = torch.tensor([3.0]), torch.tensor([1.0])
    right, wrong = math.log(1 + math.exp(-1)), math.log(1 + math.exp(1))
    assert dpo_loss(margins, ref_margins, kl_coef=0.5).item() == pytest.approx(right)
    smooth = dpo_loss(margins, ref_margins, kl_coef=0.5, label_smoothing=0.1)
    assert smooth.item() == pytest.approx(0.9 * right + 0.1 * wrong)


def test_dpo_is_least_at_the_regularised_optimum() -> None:
    """Two replies, P(1 > 2) = p: the optimum has kl_coef * margin gain = logit p."""
    p, kl_coef = 0.7, 0.1
    margin = torch.tensor([math.log(p / (1 - p)) / kl_coef], dtype=torch.float64, requires_grad=True)
    zero = torch.zeros(1, dtype=torch.float64)
    loss = p * dpo_loss(margin, zero, kl_coef=kl_coef) + (1 - p) * dpo_loss(-margin, zero, kl_coef=kl_coef)
    assert torch.autograd.grad(loss, margin)[0].item() == pytest.approx(0, abs=1e-12)


def test_ipo_of_two_replies_settles_at_the_closed_form() -> None:
    """P(1 > 2) = p: pi(1) = sigmoid(logit ref(1) + (p - 1/2) / beta); p .7, beta .1, even ref: .880797."""
    p, kl_coef = 0.7, 0.1
    margin = torch.tensor([math.log(0.8807970779778823 / 0.1192029220221177)], dtype=torch.float64)
    margin.requires_grad_()
    zero = torch.zeros(1, dtype=torch.float64)
    loss = p * ipo_loss(margin, zero, kl_coef=kl_coef) + (1 - p) * ipo_loss(-margin, zero, kl_coef=kl_coef)
    assert torch.autograd.grad(loss, margin)[0].item() == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("loss", ["dpo", "ipo"])
def test_a_soft_label_is_the_mixture_of_both_labels(loss: PreferenceLoss) -> None:
    """Definition; label 1 is the loss of the pair as it stands, label 0 that of the swapped pair."""
    margins, ref_margins = torch.tensor([3.0, -1.0]), torch.tensor([1.0, 0.5])
    function = dpo_loss if loss == "dpo" else ipo_loss
    right, wrong = (function(sign * margins, sign * ref_margins, kl_coef=0.5).item() for sign in (1, -1))

    def labelled(p: float) -> float:
        return preference_loss(margins, ref_margins, torch.full((2,), p), loss=loss, kl_coef=0.5).item()

    assert labelled(1.0) == pytest.approx(right)
    assert labelled(0.0) == pytest.approx(wrong)
    assert labelled(0.3) == pytest.approx(0.3 * right + 0.7 * wrong)


def test_preferences_that_are_no_probabilities_are_refused() -> None:
    """A label of -1 for a lost pair is another convention."""
    zero = torch.zeros(1)
    with pytest.raises(ValueError, match=r"preferences: expected probabilities in \[0, 1\], got -1.0"):
        preference_loss(zero, zero, torch.tensor([-1.0]), loss="dpo", kl_coef=0.1)
    with pytest.raises(ValueError, match=r"preferences: expected probabilities in \[0, 1\], got nan"):
        preference_loss(zero, zero, torch.tensor([torch.nan]), loss="ipo", kl_coef=0.1)
