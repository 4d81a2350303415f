"""The study of defenders and attackers: equal budgets, mixtures kept on disk, nothing trained twice or mixed."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from duologue.agents import CausalLMAgent, ScriptedAgent
from duologue.baselines.learners.base import PlayerLearner
from duologue.baselines.rollouts.trajectories import Trajectories
from duologue.baselines.studies.cross_play import (
    ALGORITHMS,
    ROUND,
    DrawnForEachTurn,
    attack_cell,
    load_seat,
    matrix_cell,
    require_same,
    save_seat,
    train_cell,
)
from duologue.baselines.two_player.learner import Population, Task
from duologue.envs import deal_episodes
from duologue.envs.games.red_team.game import RedTeam
from duologue.tests.baselines.helpers import same, tiny_agent, weights

GAME = RedTeam()


@dataclass(frozen=True, slots=True)
class Counted:
    """What an update of `Counting` reports."""

    updates: int


class Counting:
    """A learner that learns nothing and counts what it is given, by player."""

    def __init__(self, player: int, counts: Counter[tuple[int, int]]) -> None:
        """Take the tally: updates by player and by the episodes of the batch."""
        self.agent, self._player, self._counts = tiny_agent(GAME, seed=player), player, counts

    def update(self, batch: Trajectories, rng: np.random.Generator) -> Counted:
        """Count."""
        self._counts[self._player, len(batch.returns)] += 1
        return Counted(1)

    def state_dict(self) -> dict[str, Any]:
        """Nothing changes."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Nothing changes."""


def counted_task(counts: Counter[tuple[int, int]], *, num_updates: int = ROUND) -> Task:
    """Return a budget of batches of 2 episodes for learners that count."""

    def make_player(player: int, seed: int) -> PlayerLearner:
        return Counting(player, counts)

    return Task(game=GAME, seed=0, num_updates=num_updates, batch_size=2, make_player=make_player)


@pytest.mark.parametrize("name", ALGORITHMS)
def test_every_algorithm_has_the_same_budget(name: str) -> None:
    """Equal numbers of updates of each player that it trains, on equal batches; SFT trains nobody, RLHF no attacker."""
    counts: Counter[tuple[int, int]] = Counter()
    ALGORITHMS[name](counted_task(counts))
    players = {"SFT": (), "RLHF": (1,)}.get(name, (0, 1))
    assert counts == {(player, 2): ROUND for player in players}


@pytest.mark.parametrize("name", ["fictitious play", "GPO"])
def test_a_budget_that_makes_no_whole_rounds_is_refused(name: str) -> None:
    """It would be rounded, and no longer equal."""
    with pytest.raises(ValueError, match=f"num_updates: expected a multiple of {ROUND}, got 7"):
        ALGORITHMS[name](counted_task(Counter(), num_updates=7))


def test_a_mixture_comes_back_from_disk(tmp_path: Path) -> None:
    """Weights 3 and 1; the member of weight 0 is not written, as nobody ever meets it."""
    agents = [tiny_agent(GAME, seed=seed) for seed in range(3)]
    save_seat(Population(tuple(agents), (3, 0, 1)), tmp_path / "seat")
    found = load_seat(tmp_path / "seat", GAME)
    assert isinstance(found, DrawnForEachTurn)
    assert found.population.weights == (0.75, 0.25)
    for member, agent in zip(found.population.members, (agents[0], agents[2]), strict=True):
        assert isinstance(member, CausalLMAgent)
        assert same(weights(member.model), weights(agent.model))


def test_a_single_agent_comes_back_as_it_was(tmp_path: Path) -> None:
    """No mixture of one."""
    agent = tiny_agent(GAME, seed=4)
    save_seat(agent, tmp_path / "seat")
    found = load_seat(tmp_path / "seat", GAME)
    assert isinstance(found, CausalLMAgent)
    assert same(weights(found.model), weights(agent.model))


def test_members_are_drawn_by_their_weights() -> None:
    """Three in four of 2000 views: 4 standard deviations are .039."""
    views = [deal_episodes(GAME, np.random.default_rng(1), 1)[0].view()] * 2000
    mixture = DrawnForEachTurn(Population((ScriptedAgent(["sekop"]), ScriptedAgent(["sorry"])), (3, 1)))
    said = Counter(one.tokens for one in mixture.speak(views, np.random.default_rng(0)))
    assert max(said.values()) / 2000 == pytest.approx(0.75, abs=0.039)
    assert len(said) == 2


def test_a_mixture_is_not_loaded_for_several_rounds(tmp_path: Path) -> None:
    """A member drawn for each turn is the mixture only where a player speaks once."""
    with pytest.raises(ValueError, match="game: expected one of 1 round, in which a player speaks once, got 2"):
        load_seat(tmp_path, RedTeam(num_rounds=2))


def test_what_is_trained_is_not_trained_again_and_is_measured(tmp_path: Path) -> None:
    """The second call finds the folders; a matrix has an entry for each attacker and defender, all of them shares."""
    counts: Counter[tuple[int, int]] = Counter()
    task, folders = counted_task(counts), {name: tmp_path / name for name in ("SFT", "self-play")}
    for _ in range(2):
        for name, folder in folders.items():
            train_cell(name, task, folder)
            attack_cell(task, folder)
    assert counts == {(0, 2): 3 * ROUND, (1, 2): ROUND}  # two fresh attackers, and self-play
    tiny_agent(GAME).save_pretrained(tmp_path / "base")
    measured = matrix_cell(folders, tmp_path / "base", 4, 0)
    assert {row: list(rates) for row, rates in measured["asr"].items()} == {
        "base model": ["SFT", "self-play"],
        "self-play": ["SFT", "self-play"],
    }
    for key in ("fresh", "ood", "over_refusal", "helpful"):
        assert list(measured[key]) == ["SFT", "self-play"]
        assert all(0 <= rate <= 1 for rate in measured[key].values())


def test_results_of_different_options_are_not_mixed(tmp_path: Path) -> None:
    """The first run writes them, an equal one goes on, another is refused."""
    for _ in range(2):
        require_same(tmp_path / "sizes.json", {"batch_size": 8})
    with pytest.raises(ValueError, match=r"sizes\.json: expected the options of the runs that are there"):
        require_same(tmp_path / "sizes.json", {"batch_size": 9})
    (tmp_path / "sizes.json").write_text('{"batch_size":\n')
    with pytest.raises(ValueError, match=r"sizes\.json, line 2: expected JSON"):
        require_same(tmp_path / "sizes.json", {"batch_size": 9})
