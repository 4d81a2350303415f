"""REINFORCE++ normalises over the whole batch; its baseline form takes the mean of a prompt's replies off first."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from duologue.baselines.learners.reinforce_pp import ReinforcePPConfig, ReinforcePPLearner
from duologue.tests.baselines.helpers import Menu, distance, draw, every_reply, gibbs, learnt, shifted, start

CONFIG = ReinforcePPConfig(
    learning_rate=2e-2, warmup_updates=1, final_learning_rate_share=0.0, kl_coef=0.5, num_epochs=1
)


@pytest.mark.parametrize("seed", range(3))
def test_it_reaches_the_closed_form_optimum(seed: int) -> None:
    """Normalising rescales the gradient of reward minus beta KL, whose zero stays at ref exp(r / beta)."""
    game = Menu()
    agent, ref = start(game, seed=seed)
    config = replace(CONFIG, subtract_group_mean=seed == 2)
    learner = ReinforcePPLearner(agent, config, num_planned=40)
    policy = learnt(game, learner, num_updates=40, size=64, seed=seed)
    assert distance(policy, gibbs(game, ref, every_reply(game).returns, kl_coef=0.5)) < 0.08


def advantages(config: ReinforcePPConfig, shift: float) -> tuple[Tensor, Tensor]:
    """Return the advantages of a batch of replies of one and two tokens, (B, T), and the mask of own tokens."""
    game = Menu(2)
    agent, _ = start(game)
    batch = shifted(game, draw(game, agent, every_reply(game), 16, np.random.default_rng(0)), shift)
    generator = torch.Generator().manual_seed(0)
    logprobs, ref = (
        torch.where(batch.policy_token_mask, x, 0.0) for x in torch.randn(2, *batch.tokens.shape, generator=generator)
    )
    return ReinforcePPLearner(agent, config).advantages(batch, logprobs, ref), batch.policy_token_mask


@pytest.mark.parametrize("subtract_group_mean", [False, True])
def test_advantages_have_mean_0_and_deviation_1_over_all_own_tokens(subtract_group_mean: bool) -> None:
    """Of the whole batch, not of each prompt: section 3 of the paper."""
    found, own = advantages(replace(CONFIG, subtract_group_mean=subtract_group_mean), 3.0)
    assert float(found[own].mean()) == pytest.approx(0, abs=1e-6)
    assert float(found[own].std(correction=0)) == pytest.approx(1, abs=1e-5)
    assert not found[~own].any()


def test_the_group_mean_cancels_what_a_prompt_pays_in_any_case() -> None:
    """The plain form has no such baseline: 64 more for one of two prompts drowns all else there."""
    config = replace(CONFIG, subtract_group_mean=True)
    torch.testing.assert_close(advantages(config, 64.0)[0], advantages(config, 0.0)[0], atol=1e-4, rtol=0)
    assert (advantages(CONFIG, 64.0)[0] - advantages(CONFIG, 0.0)[0]).abs().max() > 0.5


def test_a_token_is_credited_with_its_own_and_later_charges_only() -> None:
    """By hand, before normalising: rewards (0, 1), d = (1, 2), beta .5 give to go (-.5 + 0, 0) = (-.5, 0)."""
    game = Menu(2, prompts=1)
    agent, _ = start(game)
    one = every_reply(game).select(torch.tensor([12]))
    own = one.policy_token_mask
    rewards = torch.zeros_like(one.rewards)
    rewards[0, own[0].nonzero()[-1]] = 1.0
    charges = torch.zeros_like(one.rewards)
    charges[0, own[0].nonzero().squeeze(-1)] = torch.tensor([1.0, 2.0])
    found = ReinforcePPLearner(agent, CONFIG).advantages(
        replace(one, rewards=rewards), charges, torch.zeros_like(charges)
    )
    assert found[own].tolist() == pytest.approx([-1, 1], abs=1e-5)  # (-.5, 0), normalised


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"clip_epsilon": 0.0}, r"clip_epsilon: expected a number in \(0, 1\), got 0.0"),
        ({"num_epochs": 0}, "num_epochs: expected an integer of at least 1, got 0"),
    ],
)
def test_contradictions_are_refused(options: dict[str, float], message: str) -> None:
    """The message names the field, what was expected and what came."""
    with pytest.raises(ValueError, match=message):
        ReinforcePPConfig(**options)  # type: ignore[arg-type]
