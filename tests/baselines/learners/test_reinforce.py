"""REINFORCE goes where reward minus KL is greatest; its baseline is made of earlier batches."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from duologue.baselines.learners.reinforce import ReinforceConfig, ReinforceLearner
from duologue.tests.baselines.helpers import Menu, distance, draw, every_reply, gibbs, learnt, shifted, start, weights

CONFIG = ReinforceConfig(learning_rate=2e-2, warmup_updates=1, final_learning_rate_share=0.0, kl_coef=0.5)


@pytest.mark.parametrize("seed", range(5))
def test_it_reaches_the_closed_form_optimum(seed: int) -> None:
    """Reward minus beta KL is greatest at ref exp(r / beta), .5 from the start."""
    game = Menu()
    agent, ref = start(game, seed=seed)
    learner = ReinforceLearner(agent, CONFIG, num_planned=40)
    policy = learnt(game, learner, num_updates=40, size=64, seed=seed)
    assert distance(policy, gibbs(game, ref, every_reply(game).returns, kl_coef=0.5)) < 0.08


def test_the_baseline_is_the_mean_of_earlier_batches() -> None:
    """By hand, decay .8, at the start without a charge: 0, then .2 m, then .2 m' + .8 .2 m."""
    game = Menu(prompts=1)
    agent, _ = start(game)
    learner = ReinforceLearner(agent, replace(CONFIG, learning_rate=1e-12, kl_coef=0.0))
    rng, expected = np.random.default_rng(0), 0.0
    for _ in range(3):
        assert learner.baseline == pytest.approx(expected, abs=1e-6)
        batch = draw(game, agent, every_reply(game), 8, rng)
        learner.update(batch, rng)
        expected = 0.8 * expected + 0.2 * float(batch.returns.mean())


def test_what_every_reply_pays_comes_to_change_no_update() -> None:
    """Once the baseline has learnt that every reply earns 64 more, the next update is as if none did."""
    game, after = Menu(prompts=1), []
    for extra in (0.0, 64.0):
        agent, _ = start(game)
        learner = ReinforceLearner(agent, CONFIG)
        learner.baseline = extra
        batch = draw(game, agent, every_reply(game), 16, np.random.default_rng(0))
        learner.update(batch.with_bonus(np.full(16, extra)), np.random.default_rng(0))
        assert learner.baseline > 0.8 * extra
        after.append(torch.cat([part.flatten() for part in weights(agent.model)]))
    torch.testing.assert_close(after[0], after[1], atol=1e-3, rtol=0)


def test_one_baseline_for_all_prompts_is_what_rloo_does_better() -> None:
    """What one prompt pays in any case does change the update; RLOO's groups remove that."""
    game, after = Menu(), []
    for shift in (0.0, 64.0):
        agent, _ = start(game)
        batch = draw(game, agent, every_reply(game), 16, np.random.default_rng(0))
        ReinforceLearner(agent, CONFIG).update(shifted(game, batch, shift), np.random.default_rng(0))
        after.append(torch.cat([part.flatten() for part in weights(agent.model)]))
    assert (after[0] - after[1]).abs().max() > 1e-2


def test_a_decay_of_one_is_refused() -> None:
    """The baseline would never learn."""
    with pytest.raises(ValueError, match=r"baseline_decay: expected a number in \[0, 1\), got 1.0"):
        ReinforceConfig(baseline_decay=1.0)
