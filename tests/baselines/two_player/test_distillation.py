"""Reservoirs hold a uniform sample; a network fits what a mixture says, heard alike."""

from pathlib import Path

import numpy as np
import pytest

from duologue.agents import Population, ScriptedAgent
from duologue.baselines.rollouts.episodes import rollout
from duologue.baselines.rollouts.trajectories import trajectories
from duologue.baselines.two_player.distillation import Distillation, DistillationOptions, Reservoir
from duologue.envs import Episode
from duologue.tests.baselines.helpers import RED, OneWord, same, through_a_file, tiny_agent, weights

GAME = OneWord()
OPTIONS = DistillationOptions(capacity=64, num_steps=80, batch_size=32, learning_rate=2e-2)


def test_every_item_is_kept_as_often() -> None:
    """Vitter (1985), algorithm R: capacity / n = 3/10 for each of ten items, over 4000 streams; sd .0072."""
    rng, kept = np.random.default_rng(0), np.zeros(10)
    for _ in range(4000):
        reservoir = Reservoir[int](3)
        for item in range(10):
            reservoir.add(item, rng)
        assert len(set(reservoir.items)) == 3
        kept[reservoir.items] += 1
    assert kept / 4000 == pytest.approx(np.full(10, 0.3), abs=0.03)


def test_until_it_is_full_all_is_kept_and_nothing_drawn() -> None:
    """In order, and the generator is where it was."""
    rng, reservoir = np.random.default_rng(0), Reservoir[str](3)
    for item in "abc":
        reservoir.add(item, rng)
    assert reservoir.items == ["a", "b", "c"]
    assert rng.random() == np.random.default_rng(0).random()
    with pytest.raises(ValueError, match="capacity: expected an integer of at least 1, got 0"):
        Reservoir(0)


def fed(seed: int = 0) -> Distillation:
    """Return a network that has heard a mixture which says red in three of four episodes."""
    distillation, rng = Distillation(tiny_agent(GAME, seed=seed), OPTIONS), np.random.default_rng(0)
    mixture = Population((ScriptedAgent(["red"]), ScriptedAgent(["blue"])), (0.75, 0.25))
    distillation.hear(trajectories(rollout(GAME, (mixture, mixture), 64, rng), 0), rng)
    return distillation


def test_the_network_says_what_the_mixture_says() -> None:
    """The share of red in the reservoir, and a loss near the entropy of that share."""
    distillation = fed()
    share = np.mean([int(RED in row.tokens[row.own]) for row in distillation.reservoir.items])
    distillation.fit(np.random.default_rng(0))
    loss = distillation.fit(np.random.default_rng(1))
    said = distillation.agent.speak([Episode(GAME, "").view()] * 400, np.random.default_rng(0))
    assert np.mean([one.tokens == (RED,) for one in said]) == pytest.approx(share, abs=0.08)
    assert loss == pytest.approx(-share * np.log(share) - (1 - share) * np.log(1 - share), abs=0.05)


def test_it_comes_back_bit_for_bit(tmp_path: Path) -> None:
    """Reservoir, network and optimiser, into one that starts from other weights."""
    first, second = fed(), Distillation(tiny_agent(GAME, seed=5), OPTIONS)
    first.fit(np.random.default_rng(0))
    second.load_state_dict(through_a_file(tmp_path, first))
    assert second.reservoir.num_seen == 64
    assert first.fit(np.random.default_rng(1)) == second.fit(np.random.default_rng(1))
    assert same(weights(first.agent.model), weights(second.agent.model))


@pytest.mark.parametrize("name", ["capacity", "num_steps", "batch_size"])
def test_options_out_of_range_are_refused(name: str) -> None:
    """The error names the field."""
    with pytest.raises(ValueError, match=f"{name}: expected an integer of at least 1, got 0"):
        DistillationOptions(**{name: 0})
