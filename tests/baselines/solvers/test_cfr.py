"""Regret matching against published numbers, another implementation and its own bound."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from duologue.baselines.solvers.cfr import CFR, CFRPlus
from duologue.baselines.solvers.first_order import value_ranges
from duologue.baselines.solvers.solver import solve
from duologue.envs.games.kuhn_poker import KuhnPoker
from duologue.envs.games.leduc_poker import LeducPoker
from duologue.envs.games.random_game import RandomGame
from duologue.envs.tree.analysis import GameTree

CURVES = [
    (CFR, True, {1: 0.916667, 2: 0.541667, 3: 0.388889, 10: 0.137398, 100: 0.0164520, 1000: 0.00187523}),
    (CFRPlus, True, {1: 0.916667, 2: 0.527778, 3: 0.282634, 10: 0.0653742, 100: 0.00238881, 1000: 0.000174731}),
    (CFR, False, {1: 0.916667, 10: 0.192417, 100: 0.0513495, 1000: 0.0145382}),
]


@pytest.mark.parametrize(("solver", "alternating", "expected"), CURVES)
def test_averages_follow_the_known_curves_of_kuhn_poker(
    solver: type[CFR], alternating: bool, expected: dict[int, float]
) -> None:
    """NashConv of the average, made with OpenSpiel's and an independent implementation; player 0 updates first."""
    steps = list(solve(solver(GameTree(KuhnPoker()), alternating=alternating), 1000))
    for iteration, number in expected.items():
        assert steps[iteration - 1].nash_conv_average == pytest.approx(number, rel=1e-5)


@pytest.mark.parametrize(("solver", "theirs"), [(CFR, "CFRSolver"), (CFRPlus, "CFRPlusSolver")])
def test_averages_agree_with_openspiel_on_leduc_poker(solver: type[CFR], theirs: str) -> None:
    """OpenSpiel's C++ solvers of the same name: alternating updates, player 0 first."""
    pyspiel = pytest.importorskip("pyspiel")
    game = pyspiel.load_game("leduc_poker")
    other = getattr(pyspiel, theirs)(game)
    steps = list(solve(solver(GameTree(LeducPoker())), 10))
    for step in steps:
        other.evaluate_and_update_policy()
        if step.iteration in (1, 2, 10):
            gap = pyspiel.nash_conv(game, other.average_policy())
            assert step.nash_conv_average == pytest.approx(gap, rel=1e-6)


@given(st.integers(0, 10_000), st.sampled_from([1, 3, 30]))
def test_simultaneous_cfr_keeps_its_regret_bound(seed: int, num_iterations: int) -> None:
    """Zinkevich et al. (2007), theorems 3 and 4: NashConv <= sum_I D_I sqrt(|A(I)|) / sqrt(T) for the average."""
    tree = GameTree(RandomGame(seed, num_turns=3, branching=3))
    *_, step = solve(CFR(tree, alternating=False), num_iterations, every=num_iterations)
    bound = sum(
        float(ranges @ np.sqrt(table.num_legal)) for ranges, table in zip(value_ranges(tree), tree.tables, strict=True)
    )
    assert step.nash_conv_average is not None
    assert step.nash_conv_average <= bound / np.sqrt(num_iterations) + 1e-12


def test_the_floor_and_the_weights_put_cfr_plus_ahead() -> None:
    """Tammelin (2014): far ahead of CFR on poker games from the first hundred iterations."""
    tree = GameTree(LeducPoker())
    (plain,), (plus,) = (list(solve(solver(tree), 200, every=200)) for solver in (CFR, CFRPlus))
    assert plain.nash_conv_average is not None
    assert plus.nash_conv_average is not None
    assert plus.nash_conv_average < plain.nash_conv_average / 4
