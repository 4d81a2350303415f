"""GRPO: which optimum its KL estimator and its scaling lead to, and what its groups cancel."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from duologue.baselines.learners.grpo import GRPOConfig, GRPOLearner, dr_grpo
from duologue.tests.baselines.helpers import (
    Menu,
    by_prompt,
    distance,
    draw,
    every_reply,
    gibbs,
    learnt,
    shifted,
    start,
    weights,
)

CONFIG = GRPOConfig(
    learning_rate=2e-2, warmup_updates=1, final_learning_rate_share=0.0, kl_coef=0.5, num_epochs=1, scale_by_std=False
)


def reverse_optimum(ref: Tensor, rewards: Tensor, kl_coef: float) -> Tensor:
    """Return beta ref / (c - r), which sums to 1: where E[r] - beta KL(ref, pi) is greatest; (replies,)."""
    low, high = rewards.max() + 1e-9, rewards.max() + kl_coef + 1
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if (kl_coef * ref / (middle - rewards)).sum() > 1 else (low, middle)
    return kl_coef * ref / (high - rewards)


def scaled_optimum(ref: Tensor, rewards: Tensor, kl_coef: float) -> Tensor:
    """Return the policy that is the optimum for rewards divided by its own standard deviation."""
    std = torch.ones((), dtype=torch.float64)
    for _ in range(200):
        policy = reverse_optimum(ref, rewards, kl_coef * float(std))
        mean = (policy * rewards).sum()
        std = (std + (policy * (rewards - mean).square()).sum().sqrt()) / 2
    return policy


def trained(config: GRPOConfig, seed: int) -> tuple[Menu, Tensor, Tensor, Tensor]:
    """Return the game, the reference, the rewards and what was learnt; each (prompts, replies)."""
    game = Menu()
    agent, ref = start(game, seed=seed)
    learner = GRPOLearner(agent, config, num_planned=40)
    policy = learnt(game, learner, num_updates=40, size=64, seed=seed)
    return game, by_prompt(game, ref), by_prompt(game, every_reply(game).returns.double()), policy


@pytest.mark.parametrize("seed", range(3))
def test_without_the_std_k3_leads_to_the_optimum_of_the_reversed_kl(seed: int) -> None:
    """k3's gradient is that of KL(ref, pi), so the policy is beta ref / (c - r), .09 from ref exp(r / beta)."""
    game, ref, rewards, policy = trained(CONFIG, seed)
    expected = torch.stack([reverse_optimum(*row, kl_coef=0.5) for row in zip(ref, rewards, strict=True)])
    assert distance(policy, expected) < 0.04
    assert distance(gibbs(game, ref, rewards, kl_coef=0.5), expected) > 0.08


def test_without_the_std_k2_leads_to_the_closed_form_optimum() -> None:
    """Its gradient is that of KL(pi, ref) for replies of one token, as with the charge in RLOO's reward."""
    game, ref, rewards, policy = trained(replace(CONFIG, kl_estimator="k2"), 0)
    assert distance(policy, gibbs(game, ref, rewards, kl_coef=0.5)) < 0.04


def test_the_std_rescales_each_prompts_reward() -> None:
    """At the fixed point rewards are divided by the policy's own standard deviation of them."""
    _, ref, rewards, policy = trained(replace(CONFIG, scale_by_std=True), 0)
    expected = torch.stack([scaled_optimum(*row, kl_coef=0.5) for row in zip(ref, rewards, strict=True)])
    assert distance(policy, expected) < 0.05


def test_what_a_prompt_pays_whatever_is_said_changes_no_update() -> None:
    """Each prompt has a mean of its own: 64 more for every reply to one of two prompts cancels."""
    game, after = Menu(), []
    for shift in (0.0, 64.0):
        agent, _ = start(game)
        batch = draw(game, agent, every_reply(game), 16, np.random.default_rng(0))
        GRPOLearner(agent, GRPOConfig()).update(shifted(game, batch, shift), np.random.default_rng(0))
        after.append(torch.cat([part.flatten() for part in weights(agent.model)]))
    torch.testing.assert_close(after[0], after[1], atol=1e-3, rtol=0)


def test_replies_that_all_earn_the_same_teach_nothing() -> None:
    """Advantages are 0 and at the start the KL and its gradient are, too: the weights stay, bit for bit."""
    game = Menu()
    agent, _ = start(game)
    batch = every_reply(game)
    before = weights(agent.model)
    GRPOLearner(agent, GRPOConfig()).update(
        replace(batch, rewards=torch.ones_like(batch.rewards) * batch.policy_token_mask), np.random.default_rng(0)
    )
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(before, weights(agent.model), strict=True))


def test_aggregation_decides_how_much_a_long_reply_weighs() -> None:
    """Losses before the first step, replies of one and of two tokens with advantages +-1: the three named means differ.

    By hand: -(1 - 1) / 2 = 0 for the mean per reply, -(1 - 2) / 3 over all tokens, -(1 - 2) / (2 * 2) over length 2.
    """
    game = Menu(2, prompts=1)
    batch = every_reply(game)
    lengths = batch.policy_token_mask.sum(1)
    rows = torch.tensor([int((lengths == 1).nonzero()[0]), int((lengths == 2).nonzero()[0])])
    part = batch.select(rows)
    rewards = torch.zeros_like(part.rewards)
    rewards[0, part.policy_token_mask[0].int().argmax()] = 2.0
    losses = {}
    for config in (GRPOConfig(num_epochs=1), GRPOConfig(num_epochs=1, aggregation="token_mean"), dr_grpo(2)):
        agent, _ = start(game)
        learner = GRPOLearner(agent, replace(config, scale_by_std=False, num_epochs=1))
        losses[config.aggregation] = learner.update(
            replace(part, rewards=rewards), np.random.default_rng(0)
        ).policy_loss
    assert losses["sequence_mean"] == pytest.approx(0, abs=1e-6)
    assert losses["token_mean"] == pytest.approx(1 / 3)
    assert losses["constant_length"] == pytest.approx(1 / 4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"clip_epsilon": 1.0}, r"clip_epsilon: expected a number in \(0, 1\), got 1.0"),
        ({"num_epochs": 0}, "num_epochs: expected an integer of at least 1, got 0"),
        ({"constant_length": 3}, 'got 3 with "sequence_mean"'),
        ({"aggregation": "constant_length"}, 'got None with "constant_length"'),
        ({"kl_coef": -1.0}, "kl_coef: expected a finite number of at least 0, got -1.0"),
        ({"learning_rate": 0.0}, "learning_rate: expected a finite number above 0, got 0.0"),
        ({"num_minibatches": 0}, "num_minibatches: expected an integer of at least 1, got 0"),
    ],
)
def test_contradictions_are_refused(options: dict[str, object], message: str) -> None:
    """The message names the field, what was expected and what came."""
    with pytest.raises(ValueError, match=message):
        GRPOConfig(**options)  # type: ignore[arg-type]
