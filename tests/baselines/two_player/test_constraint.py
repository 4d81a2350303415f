"""DiveR-CT's constraint on an adversary: what it learns from, and a price that is saved."""

from pathlib import Path

import numpy as np
import pytest

from duologue.baselines.rollouts.episodes import rollout
from duologue.baselines.rollouts.trajectories import trajectories
from duologue.baselines.two_player.constraint import ConstraintOptions, CostConstraint
from duologue.tests.baselines.helpers import OneWord, through_a_file, tiny_agent

GAME = OneWord()


def test_without_a_threshold_rewards_are_what_they_were() -> None:
    """GPO's sum of the game and of novelty, the very same batch."""
    agent = tiny_agent(GAME)
    batch = trajectories(rollout(GAME, (agent, agent), 4, np.random.default_rng(0)), 0)
    constraint = CostConstraint(ConstraintOptions())
    constraint.observe(1.0)
    assert constraint.price is None
    both = batch.with_bonus(np.ones(4))
    assert constraint.weighed(batch, both) is both


def test_the_game_is_weighed_by_its_price_and_the_scale_stays() -> None:
    """(novelty + price * game) / (1 + price), by hand for a price of e."""
    agent = tiny_agent(GAME)
    batch = trajectories(rollout(GAME, (agent, agent), 8, np.random.default_rng(0)), 0)
    constraint = CostConstraint(ConstraintOptions(threshold=0.0, learning_rate=1.0))
    constraint.observe(1.0)
    novelty = np.linspace(-1, 1, 8)
    paid = constraint.weighed(batch, batch.with_bonus(novelty))
    expected = (novelty + np.e * batch.returns.numpy()) / (1 + np.e)
    assert constraint.price == pytest.approx(np.e)
    assert paid.returns.tolist() == pytest.approx(expected.tolist(), abs=1e-6)


def test_the_price_follows_the_mean_over_a_window_and_survives_a_file(tmp_path: Path) -> None:
    """Losses that leave the window count no more; a copy goes on bit for bit."""
    options = ConstraintOptions(threshold=0.0, window=2, learning_rate=0.5)
    constraint, copy = CostConstraint(options), CostConstraint(options)
    for loss in (1.0, 1.0, -1.0, -1.0):
        constraint.observe(loss)
    nu = 0.5
    nu += 0.5 * np.exp(nu) * 1.0
    nu += 0.0
    nu -= 0.5 * np.exp(nu) * 1.0
    assert constraint.price == pytest.approx(np.exp(nu))
    copy.load_state_dict(through_a_file(tmp_path, constraint))
    for one in (constraint, copy):
        one.observe(0.7)
    assert copy.price == constraint.price


@pytest.mark.parametrize("name", ["learning_rate", "max_multiplier", "window"])
def test_bad_options_are_refused(name: str) -> None:
    """The message names the field."""
    with pytest.raises(ValueError, match=f"{name}: expected"):
        ConstraintOptions(**{name: 0})
