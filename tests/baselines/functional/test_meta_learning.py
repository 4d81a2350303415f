"""The objective of equation (10), by hand."""

import pytest
import torch

from duologue.baselines.functional.supervised import behaviour_cloning_loss, meta_policy_loss

LOGPROBS = -torch.tensor([[1.0, 2.0, 3.0], [4.0, 9.0, 9.0]])
MASK = torch.tensor([[True, True, True], [True, False, False]])
GAMES = torch.tensor([0, 1])


def test_eq_10_is_the_mean_of_per_game_means_and_pooling_is_not() -> None:
    """Game 0 has three tokens of 1, 2, 3 nats, game 1 one of 4: (2 + 4) / 2 = 3 against (1 + 2 + 3 + 4) / 4 = 2.5."""
    assert meta_policy_loss(LOGPROBS, MASK, GAMES, weights=[0.5, 0.5]).item() == pytest.approx(3.0)
    assert behaviour_cloning_loss(LOGPROBS, MASK).item() == pytest.approx(2.5)


def test_weights_proportional_to_tokens_give_the_pooled_mean() -> None:
    """3/4 of 2 and 1/4 of 4 are 2.5."""
    assert meta_policy_loss(LOGPROBS, MASK, GAMES, weights=[0.75, 0.25]).item() == pytest.approx(2.5)


def test_a_game_that_is_not_in_the_batch_is_left_out() -> None:
    """What is left of a half is the whole, so that the loss keeps its scale."""
    loss = meta_policy_loss(LOGPROBS[:1], MASK[:1], GAMES[:1], weights=[0.5, 0.5])
    assert loss.item() == pytest.approx(2.0)


def test_a_batch_without_tokens_is_refused() -> None:
    """Its mean would be 0 / 0."""
    with pytest.raises(ValueError, match="expected a token of a game with weight"):
        meta_policy_loss(LOGPROBS, torch.zeros_like(MASK), GAMES, weights=[0.5, 0.5])
