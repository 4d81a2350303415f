"""Where there is nothing to gain but noise, a player that meets a learning player stays where it is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from duologue.baselines.learners.options import SELF_PLAY_PPO, LearnerOptions, steady
from duologue.baselines.rollouts.trajectories import Trajectories
from duologue.tests.baselines.helpers import Menu, draw, every_reply, start

TEXTBOOK = {"advantage_std_floor": 0.0, "adam_epsilon": 1e-8}
AT_REST, AT_THE_START = 0.002, 0.3
"""Standard deviations of advantages in the tiny red-team game, payoffs of range 1: at its equilibrium, and in the first
batches."""


def options_of(name: str, *, textbook: bool) -> LearnerOptions:
    """Return how players learn from each other, or the same as the papers have it."""
    options = replace(steady(), learner=name)
    changed = replace(options.config, learning_rate=2e-3, warmup_updates=1, kl_coef=0.0)
    return replace(options, **{name: replace(changed, **TEXTBOOK) if textbook else changed})


def spread(batch: Trajectories, std: float) -> Trajectories:
    """Return a batch whose returns are drawn, whatever was said."""
    noise = torch.randn(len(batch), generator=torch.Generator().manual_seed(0))
    last = batch.policy_token_mask.cumsum(1).argmax(1)
    rewards = torch.zeros_like(batch.rewards)
    rewards[torch.arange(len(batch)), last] = std * noise
    return replace(batch, rewards=rewards)


def moved(options: LearnerOptions, std: float) -> float:
    """Return how far log-probabilities have moved, at most, after four updates on one batch of such returns."""
    game = Menu()
    agent, _ = start(game)
    batch = spread(draw(game, agent, every_reply(game), 32, np.random.default_rng(0)), std)
    learner, parts = options.make(agent), (batch.tokens, batch.attention_mask, batch.policy_token_mask)
    before = agent.evaluate(*parts).logprobs.detach()
    for seed in range(4):
        learner.update(batch, np.random.default_rng(seed))
    return float((agent.evaluate(*parts).logprobs.detach() - before).abs().max())


@pytest.mark.parametrize("name", ["ppo", "grpo", "reinforce_pp"])
def test_what_is_no_gain_makes_no_full_step_and_what_is_one_does(name: str) -> None:
    """By the textbook noise is scaled up to the step of a gain, to 5 %, and that throws players out of equilibria."""
    textbook, ours = (
        [moved(options_of(name, textbook=flag), std) for std in (AT_REST, AT_THE_START)] for flag in (True, False)
    )
    assert textbook[0] == pytest.approx(textbook[1], rel=0.05)
    assert ours[0] < 0.4 * textbook[0]
    assert ours[1] > 0.8 * textbook[1]


def test_players_learn_from_each_other_so_and_from_fixed_ones_by_the_textbook() -> None:
    """Supervised training and models of other sizes keep Adam's own epsilon."""
    assert (SELF_PLAY_PPO.advantage_std_floor, SELF_PLAY_PPO.adam_epsilon) == (0.1, 1e-2)
    for name in ("grpo", "reinforce_pp"):
        fixed = getattr(LearnerOptions(), name)
        assert (fixed.advantage_std_floor, fixed.adam_epsilon) == (0.0, 1e-8)
