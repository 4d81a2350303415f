"""Opponents: frozen snapshots, who is met how often, and states that come back bit for bit."""

from pathlib import Path

import numpy as np
import pytest
import torch

from duologue.agents import CausalLMAgent, Population
from duologue.baselines.rollouts.episodes import PlayedEpisode, rollout
from duologue.baselines.two_player.opponents import (
    OpponentChoice,
    OpponentOptions,
    OpponentPool,
    Opponents,
    ema_update,
    frozen_copy,
)
from duologue.tests.baselines.helpers import bluff, same, through_a_file, tiny_agent, weights

GAME = bluff()


def changed(agent: CausalLMAgent) -> None:
    """Move every parameter, as an update would."""
    with torch.no_grad():
        for parameter in agent.model.parameters():
            parameter.add_(1.0)


def filled_pool(*, capacity: int | None = None, folder: Path | None = None) -> tuple[OpponentPool, CausalLMAgent]:
    """Return a pool with snapshots of an agent that changed after each, at 0, 5, 10 and 15."""
    agent = tiny_agent(GAME)
    pool = OpponentPool(agent, capacity=capacity, folder=folder)
    for iteration in (0, 5, 10, 15):
        pool.add(agent, iteration)
        changed(agent)
    return pool, agent


def test_a_snapshot_never_changes() -> None:
    """The agent learns on; what was frozen stays, without gradients and in evaluation mode."""
    agent = tiny_agent(GAME)
    before, frozen = weights(agent.model), frozen_copy(agent)
    changed(agent)
    assert same(weights(frozen.model), before)
    assert not same(weights(agent.model), before)
    assert not any(parameter.requires_grad for parameter in frozen.model.parameters())
    assert not frozen.model.training


def test_the_oldest_goes_first() -> None:
    """Capacity 2 of four snapshots; each differs from the next by the change between them."""
    pool, agent = filled_pool(capacity=2)
    assert pool.iterations == (10, 15)
    assert len(pool) == len(pool.population().members) == 2
    changed(pool.members[0])
    torch.testing.assert_close(weights(pool.members[0].model), weights(pool.members[1].model))
    changed(pool.members[1])
    torch.testing.assert_close(weights(pool.members[1].model), weights(agent.model))


@pytest.mark.parametrize("on_disk", [False, True])
def test_a_pool_comes_back_bit_for_bit(on_disk: bool, tmp_path: Path) -> None:
    """From its state, or from its folder where the state only names the snapshots; it can go on."""
    folder = tmp_path / "pool" if on_disk else None
    first, agent = filled_pool(capacity=3, folder=folder)
    second = OpponentPool(tiny_agent(GAME, seed=9), capacity=3, folder=folder)
    second.load_state_dict(through_a_file(tmp_path / "state", first))
    assert second.iterations == (5, 10, 15)
    for ours, theirs in zip(first.members, second.members, strict=True):
        assert same(weights(ours.model), weights(theirs.model))
        assert not any(parameter.requires_grad for parameter in theirs.model.parameters())
    assert bool(first.state_dict()["models"]) != on_disk
    assert [second.add(agent, 20), *second.iterations] == [1, 10, 15, 20]


def test_a_snapshot_from_disk_is_computed_as_it_was(tmp_path: Path) -> None:
    """In the same precision and with the same attention; else a run that goes on would be another."""
    agent = tiny_agent(GAME)
    agent.compute_dtype = torch.bfloat16
    agent.model.set_attn_implementation("eager")
    pool = OpponentPool(agent, folder=tmp_path)
    pool.add(agent, 0)
    state = pool.state_dict()
    pool.load_state_dict(state)
    assert pool.members[0].compute_dtype is torch.bfloat16
    assert pool.members[0].model.config._attn_implementation == "eager"


def test_snapshots_on_disk_are_model_folders(tmp_path: Path) -> None:
    """Any of them can be given to another command; what the pool dropped is still there for an older state."""
    pool, _ = filled_pool(capacity=2, folder=tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["000000", "000005", "000010", "000015"]
    loaded = CausalLMAgent.from_pretrained(tmp_path / "000015", GAME.vocabulary)
    assert same(weights(loaded.model), weights(pool.members[1].model))


def test_snapshots_are_in_order() -> None:
    """A second one of the same iteration would be another member of the same name."""
    pool, agent = filled_pool()
    with pytest.raises(ValueError, match="iteration: expected one after 15, got 15"):
        pool.add(agent, 15)
    with pytest.raises(ValueError, match="capacity: expected an integer of at least 1, got 0"):
        OpponentPool(agent, capacity=0)


def test_averaged_parameters_by_hand() -> None:
    """theta_ema <- d theta_ema + (1 - d) theta: from 0 with d = 3/4 towards 8, 2 and then 3.5."""
    average, newest = torch.nn.Linear(1, 1), torch.nn.Linear(1, 1)
    torch.nn.init.zeros_(average.weight)
    torch.nn.init.constant_(newest.weight, 8.0)
    found = []
    for _ in range(2):
        ema_update(average, newest, decay=0.75)
        found.append(average.weight.item())
    assert found == [2.0, 3.5]
    assert newest.weight.item() == 8


def followed(choice: OpponentChoice, updates: int = 5) -> tuple[Opponents, CausalLMAgent]:
    """Return the opponents of an agent that was changed in each of some updates, with a snapshot after every other."""
    agent = tiny_agent(GAME)
    opponents = Opponents(agent, OpponentOptions(choice=choice, snapshot_every=2, capacity=3, ema_decay=0.5))
    for iteration in range(1, updates + 1):
        changed(agent)
        opponents.follow(iteration)
    return opponents, agent


def mean_shift(seat: object) -> float:
    """Return by how much an agent's parameters exceed those that `followed` started from."""
    assert isinstance(seat, CausalLMAgent)
    start = weights(tiny_agent(GAME).model)
    return float(np.mean([float((a - b).mean()) for a, b in zip(weights(seat.model), start, strict=True)]))


def test_prioritised_opponents_are_the_strong_ones_or_those_of_like_strength() -> None:
    """Beaten in none, half and all of the games: "hard" draws them by (1 - x), "var" by x (1 - x)."""
    for weighting, expected in (("hard", [2 / 3, 1 / 3, 0.0]), ("var", [0.0, 1.0, 0.0])):
        options = OpponentOptions(choice="pfsp", pfsp_weighting=weighting, snapshot_every=1)  # type: ignore[arg-type]
        opponents = Opponents(tiny_agent(GAME), options)
        for iteration in (1, 2):
            opponents.follow(iteration)
        opponents._wins, opponents._games = [0.0, 1.0, 2.0], [2.0, 2.0, 2.0]
        assert opponents.probabilities().tolist() == pytest.approx(expected)


def test_who_is_met_by_each_choice() -> None:
    """Each update adds 1 to every parameter: the newest has 5, the start 0, the average with d = 1/2 4.03125."""
    expected = {"fixed": [0], "uniform": [0, 2, 4], "pfsp": [0, 2, 4]}
    choices: tuple[OpponentChoice, ...] = ("fixed", "uniform", "pfsp")
    for choice in choices:
        seat = followed(choice)[0].seat
        assert isinstance(seat, Population)
        assert [mean_shift(one) for one in seat.members] == pytest.approx(expected[choice], abs=1e-4)
        assert set(seat.weights) == {1 / len(seat.members)}
    latest, agent = followed("latest")
    assert latest.seat is agent
    assert mean_shift(followed("ema")[0].seat) == pytest.approx(4.03125, abs=1e-4)


def meetings(members: list[int], returns: list[float]) -> list[PlayedEpisode]:
    """Return episodes of bluff in which player 1 was these members and player 0 won or lost."""
    found = []
    for member, paid in zip(members, returns, strict=True):
        one = rollout(GAME, (tiny_agent(GAME), tiny_agent(GAME)), 1, np.random.default_rng(0))[0]
        one.episode.returns[:] = paid, -paid
        found.append(PlayedEpisode(one.episode, one.turns, (0, member)))
    return found


def test_win_rates_come_from_the_episodes() -> None:
    """Player 0 against three snapshots: one win of two, a tie, one never met; then the older weigh .9."""
    opponents, _ = followed("pfsp")
    opponents.record(meetings([0, 0, 1], [1.0, -2.0, 0.0]), seat=1)
    assert opponents.win_rates().tolist() == [0.5, 0.5, 0.5]
    opponents.record(meetings([0, 1], [2.0, -1.0]), seat=1)
    assert opponents.win_rates().tolist() == pytest.approx([1.9 / 2.8, 0.45 / 1.9, 0.5])
    expected = np.array([0.9 / 2.8, 1.45 / 1.9, 0.5])
    assert opponents.probabilities() == pytest.approx(expected / expected.sum())
    seat = opponents.seat
    assert isinstance(seat, Population)
    assert seat.weights == pytest.approx(expected / expected.sum())


def test_a_dropped_snapshot_takes_its_win_rate_along() -> None:
    """Capacity 3: the second of four becomes the first, and keeps what is known of it."""
    opponents, _ = followed("pfsp")
    opponents.record(meetings([0, 1], [1.0, -1.0]), seat=1)
    assert opponents.win_rates().tolist() == [1, 0, 0.5]
    opponents.follow(6)
    assert opponents.pool.iterations == (2, 4, 6)
    assert opponents.win_rates().tolist() == [0, 0.5, 0.5]


@pytest.mark.parametrize("choice", ["latest", "uniform", "pfsp", "fixed", "ema"])
def test_opponents_come_back(choice: OpponentChoice, tmp_path: Path) -> None:
    """Members, win rates and averages, into opponents of an agent with other weights."""
    first, _ = followed(choice)
    first.record(meetings([0, 0], [1.0, 1.0]), seat=1)
    second = Opponents(tiny_agent(GAME, seed=4), first.options)
    second.load_state_dict(through_a_file(tmp_path, first))
    assert second.win_rates().tolist() == first.win_rates().tolist()
    if choice == "latest":
        return
    pairs = [(first.seat, second.seat)]
    if isinstance(first.seat, Population) and isinstance(second.seat, Population):
        assert second.seat.weights == first.seat.weights
        pairs = list(zip(first.seat.members, second.seat.members, strict=True))
    for ours, theirs in pairs:
        assert isinstance(ours, CausalLMAgent)
        assert isinstance(theirs, CausalLMAgent)
        assert same(weights(ours.model), weights(theirs.model))


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("capacity", 0, "an integer of at least 1"),
        ("snapshot_every", 0, "an integer of at least 1"),
        ("ema_decay", 1.5, "a number from 0 to 1"),
        ("win_rate_decay", -0.1, "a number from 0 to 1"),
        ("pfsp_power", 0, "a finite number above 0"),
    ],
)
def test_options_out_of_range_are_refused(name: str, value: float, expected: str) -> None:
    """The error names the field."""
    with pytest.raises(ValueError, match=f"{name}: expected {expected}, got {value}"):
        OpponentOptions(**{name: value})  # type: ignore[arg-type]
