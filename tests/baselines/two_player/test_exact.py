"""An equilibrium learner in the form of every other: measured, saved, seated and benchmarked as they are."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from duologue.agents import TabularAgent
from duologue.baselines.benchmark.cell import BenchSettings, Cell, run_cell
from duologue.baselines.benchmark.registry import ALGORITHMS, register_algorithm
from duologue.baselines.rollouts.episodes import rollout
from duologue.baselines.solvers.registry import SOLVERS, make_solver
from duologue.baselines.solvers.solver import solve
from duologue.baselines.two_player.exact import ExactLearner
from duologue.baselines.two_player.factories import exact
from duologue.baselines.two_player.learner import Task, TwoPlayerLearner
from duologue.baselines.two_player.measured import ExactDistance
from duologue.envs import make_game
from duologue.envs.tree import GameTree
from duologue.tests.baselines.helpers import through_a_file

TREE = GameTree(make_game("kuhn_poker-v0"))


@pytest.mark.parametrize("name", [name for name in SOLVERS if name in ("cfr", "cfr_plus", "fictitious_play", "mmd")])
def test_it_is_as_far_from_equilibrium_as_its_solver(name: str) -> None:
    """Two ways to the same numbers: the solver's own report, and the distance of the tables that sit for it."""
    reports = list(solve(make_solver(name, TREE, 12), 12, every=4))
    learner: TwoPlayerLearner = ExactLearner(make_solver(name, TREE, 12), num_steps=12)
    distance = ExactDistance(learner, TREE, every=4)
    found = [measured for step in learner if (measured := distance.after(step)) is not None]
    assert [step.iteration for step in found] == [step.iteration for step in reports] == [4, 8, 12]
    for ours, theirs in zip(found, reports, strict=True):
        assert ours.nash_conv_last == pytest.approx(theirs.nash_conv_last, abs=1e-12)
        assert ours.nash_conv_average == pytest.approx(theirs.nash_conv_average, abs=1e-12)


def test_a_resumed_learner_is_the_uninterrupted_one(tmp_path: Path) -> None:
    """After three of six iterations, through a file; one that is further than the state is refused."""
    whole, stopped, resumed = (ExactLearner(make_solver("cfr", TREE, 6), num_steps=6) for _ in range(3))
    list(whole)
    for step in stopped:
        if step.iteration == 3:
            break
    resumed.load_state_dict(through_a_file(tmp_path, stopped))
    assert [step.iteration for step in resumed] == [4, 5, 6]
    for first, second in zip(whole.seats, resumed.seats, strict=True):
        assert isinstance(first, TabularAgent)
        assert isinstance(second, TabularAgent)
        assert np.array_equal(first.policy, second.policy)
    with pytest.raises(ValueError, match="iteration: expected at least 6, got 3"):
        whole.load_state_dict({"iteration": 3})


def test_its_players_sit_where_language_models_do() -> None:
    """They play whole episodes without a forfeit, before the first iteration as well."""
    learner = ExactLearner(make_solver("cfr", TREE, 2), num_steps=2)
    for seats in (learner.seats, [list(learner), learner.average][1]):
        assert isinstance(seats, tuple)
        played = rollout(TREE.game, seats, 8, np.random.default_rng(0))
        assert not any(episode.forfeited_by(player) for episode in played for player in (0, 1))


def ceiling_of(task: Task) -> TwoPlayerLearner:
    """Return as many iterations of CFR+ as a player has updates."""
    return exact(task, "cfr_plus")


def test_the_benchmark_takes_it_as_a_ceiling(monkeypatch: pytest.MonkeyPatch) -> None:
    """A cell like any other: in Kuhn poker nearer to equilibrium after 12 iterations than PPO after 12 updates."""
    monkeypatch.setattr("duologue.baselines.benchmark.registry.ALGORITHMS", dict(ALGORITHMS))
    register_algorithm("ceiling", takes_learners=False)(ceiling_of)
    settings: Any = BenchSettings(num_updates=12, batch_size=4)
    ceiling, ours = (run_cell(Cell(name, "kuhn", 0), settings) for name in ("ceiling", "self_play"))
    assert ceiling.curve[-1].average.nash_conv < ours.curve[-1].average.nash_conv
