"""Alternating best responses: an equilibrium where they stop, a cycle where an equilibrium needs mixing."""

import numpy as np
import pytest

from duologue.baselines.solvers.alternating_best_response import AlternatingBestResponse
from duologue.baselines.solvers.solver import solve
from duologue.envs.games.matrix.prisoners_dilemma import PrisonersDilemma
from duologue.envs.games.matrix.rock_paper_scissors import RockPaperScissors
from duologue.envs.tree.analysis import GameTree


def test_alternating_best_responses_cycle_on_rock_paper_scissors_for_ever() -> None:
    """Closed form: the last pair has NashConv 2, because player 1 always beats a pure word; period 3."""
    tree = GameTree(RockPaperScissors())
    start = np.array([0.4, 0.3, 0.3]), np.array([0.3, 0.4, 0.3])
    solver = AlternatingBestResponse(tree, initial_profile=start)
    said = []
    for step in solve(solver, 30):
        assert step.nash_conv_last == pytest.approx(2, abs=1e-12)
        said.append(int(solver.last_profile[0].argmax()))
    assert {tuple(said[k : k + 3]) for k in range(0, 30, 3)} == {tuple(said[:3])}
    assert sorted(said[:3]) == [0, 1, 2]


def test_they_stop_at_the_equilibrium_of_the_prisoners_dilemma() -> None:
    """To defect is strictly dominant (Luce & Raiffa, 1957)."""
    tree = GameTree(PrisonersDilemma())
    solver = AlternatingBestResponse(tree)
    assert [step.nash_conv_last for step in solve(solver, 3)] == [0.0, 0.0, 0.0]
    assert [int(policy.argmax()) for policy in solver.last_profile] == [1, 1]
    assert solver.average_profile is None
