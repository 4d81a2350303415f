"""Learners on the exact tree: what is measured of whom, and when."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from duologue.agents import Population, ScriptedAgent, TabularAgent, pure_policy_of
from duologue.agents.tabular import seat_policy, seat_profile
from duologue.baselines.solvers.solver import SolveStep
from duologue.baselines.two_player.learner import Seat, Task
from duologue.baselines.two_player.measured import ExactDistance
from duologue.envs import make_game
from duologue.envs.tree.analysis import GameTree
from duologue.tests.baselines.helpers import through_a_file

GAME = make_game("matching_pennies-v0")
TREE = GameTree(GAME)
HEADS, TAILS = (
    tuple(TabularAgent(TREE, player, pure_policy_of(TREE, player, ScriptedAgent([word]))) for player in (0, 1))
    for word in ("heads", "tails")
)


@dataclass(frozen=True)
class Turned:
    """A step record."""

    iteration: int


class Circling:
    """Plays all four pure profiles of matching pennies in turn, as naive best responses do."""

    def __init__(self, *, keeps_average: bool = False) -> None:
        """Stand before the first."""
        self.iteration, self._keeps = 0, keeps_average

    def __iter__(self) -> Iterator[Turned]:
        """Yield after each move."""
        while self.iteration < 8:
            self.iteration += 1
            yield Turned(self.iteration)

    @property
    def seats(self) -> tuple[Seat, Seat]:
        """Heads or tails, by turns."""
        k = self.iteration - 1
        return (HEADS[0], TAILS[0])[k // 2 % 2], (HEADS[1], TAILS[1])[(k + 1) // 2 % 2]

    @property
    def average(self) -> tuple[Seat, Seat] | None:
        """Both sides of both coins, if anything."""
        if not self._keeps:
            return None
        return Population.even((HEADS[0], TAILS[0])), Population.even((HEADS[1], TAILS[1]))

    def state_dict(self) -> dict[str, Any]:
        """Return where it stands."""
        return {"iteration": self.iteration}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Stand there again."""
        self.iteration = state["iteration"]


def distances(learner: Circling, *, every: int = 1, distance: ExactDistance | None = None) -> list[SolveStep | None]:
    """Return what is measured after each of the steps that are left."""
    watcher = ExactDistance(learner, TREE, every=every) if distance is None else distance
    return [watcher.after(step) for step in learner]


def test_the_iterates_circle_and_their_average_settles() -> None:
    """NashConv 2 for pure play, 0 for the average of each whole round; algorithms.md 5.1 and style.md 7."""
    exact = [step for step in distances(Circling()) if step is not None]
    assert [step.iteration for step in exact] == list(range(1, 9))
    assert [step.nash_conv_last for step in exact] == pytest.approx([2.0] * 8)
    assert [step.nash_conv_average for step in exact[3::4]] == pytest.approx([0.0, 0.0], abs=1e-12)
    assert exact[0].nash_conv_average == pytest.approx(2)


def test_a_learners_own_average_is_measured_instead() -> None:
    """The population that it states is at the equilibrium from the first step."""
    found = distances(Circling(keeps_average=True))
    assert [step.nash_conv_average for step in found if step] == pytest.approx([0.0] * 8, abs=1e-12)


@pytest.mark.parametrize("keeps_average", [False, True])
def test_between_two_measurements_iterates_still_count(keeps_average: bool) -> None:
    """At every fourth step the same numbers as when each step is measured."""
    often = distances(Circling(keeps_average=keeps_average))
    seldom = distances(Circling(keeps_average=keeps_average), every=4)
    assert [step is None for step in seldom] == [True, True, True, False] * 2
    assert seldom[3::4] == often[3::4]


def test_a_resumed_average_is_the_uninterrupted_one(tmp_path: Path) -> None:
    """Bit for bit after three of eight steps."""
    whole, learner = distances(Circling()), Circling()
    first = ExactDistance(learner, TREE)
    begun = [first.after(step) for step in islice(learner, 3)]
    second = ExactDistance(learner, TREE)
    second.load_state_dict(through_a_file(tmp_path, first))
    assert [*begun, *distances(learner, distance=second)] == whole


def test_whoever_states_no_probabilities_is_refused() -> None:
    """A scripted agent can be seated, but not measured."""
    with pytest.raises(TypeError, match="player 1: expected agents with token_probabilities, got"):
        seat_policy(TREE, 1, Population.even((HEADS[1], ScriptedAgent(["heads"]))))
    assert len(seat_profile(TREE, (HEADS[0], HEADS[1]))) == 2
    with pytest.raises(ValueError, match="every: expected an integer of at least 1, got 0"):
        ExactDistance(Circling(), TREE, every=0)


@pytest.mark.parametrize("name", ["num_updates", "batch_size"])
def test_a_task_has_a_budget(name: str) -> None:
    """The error names the number."""

    def nobody(player: int, seed: int) -> Any:
        raise AssertionError

    budget: dict[str, Any] = {"num_updates": 1, "batch_size": 1} | {name: 0}
    with pytest.raises(ValueError, match=f"{name}: expected an integer of at least 1, got 0"):
        Task(game=GAME, seed=0, make_player=nobody, **budget)
