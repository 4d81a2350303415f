"""The unit of payoff: chips or cents, every learner walks the same path, and distances are multiplied by it."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from duologue.baselines.solvers.alternating_best_response import AlternatingBestResponse
from duologue.baselines.solvers.cfr import CFR, CFRPlus
from duologue.baselines.solvers.double_oracle import DoubleOracle
from duologue.baselines.solvers.fictitious_play import FictitiousPlay
from duologue.baselines.solvers.gpo_ftrl import GPOFTRL
from duologue.baselines.solvers.mirror_descent import MWU, OMWU, Extragradient
from duologue.baselines.solvers.mmd import MMD
from duologue.baselines.solvers.rnad import RNaD
from duologue.baselines.solvers.solver import Solver, solve
from duologue.envs.game import Dialogue
from duologue.envs.games.kuhn_poker import KuhnPoker
from duologue.envs.games.matrix import MatrixGame
from duologue.envs.games.random_game import RandomGame
from duologue.envs.tree.analysis import GameTree

MakeSolver = Callable[[GameTree], Solver]
NUM_STEPS = 12
PERTURBED = np.array([[0.0, -3.0, 3.0], [3.0, 0.0, -1.0], [-3.0, 1.0, 0.0]])

SOLVERS: dict[str, MakeSolver] = {
    "fictitious_play": FictitiousPlay,
    "cfr": CFR,
    "cfr_plus": CFRPlus,
    "mwu": MWU,
    "omwu": OMWU,
    "extragradient": Extragradient,
    "mmd": MMD,
    "mmd_fixed": lambda tree: MMD(tree, magnet="fixed"),
    "mmd_moving": lambda tree: MMD(tree, magnet="moving"),
    "rnad": lambda tree: RNaD(tree, reg_every=5),
    "double_oracle": DoubleOracle,
    "psro": lambda tree: DoubleOracle(tree, meta_solver="uniform"),
    "gpo_ftrl": lambda tree: GPOFTRL(tree, num_iterations=NUM_STEPS),
    "alternating_best_response": AlternatingBestResponse,
}

UNSCALED = ("fictitious_play", "cfr", "cfr_plus", "alternating_best_response")
"""Those without step sizes or tolerances."""


class StakedRandomGame(RandomGame):
    """A random game whose payoffs are multiplied."""

    def __init__(self, seed: int, stake: float) -> None:
        super().__init__(seed, num_turns=3, branching=3, pays_every_turn=True)
        self.stake = stake

    def rewards(self, dialogue: Dialogue[int]) -> tuple[float, float]:
        first, second = super().rewards(dialogue)
        return self.stake * first, self.stake * second


class StakedKuhnPoker(KuhnPoker):
    """Kuhn poker for chips of another worth."""

    def __init__(self, stake: float) -> None:
        self.stake = stake

    def rewards(self, dialogue: Dialogue[tuple[str, str]]) -> tuple[float, float]:
        first, second = super().rewards(dialogue)
        return self.stake * first, self.stake * second


def check_scaled(make: MakeSolver, game: GameTree, staked: GameTree, stake: float) -> None:
    """Hold all reports of the staked game against those of the game itself."""
    for plain, scaled in zip(solve(make(game), NUM_STEPS), solve(make(staked), NUM_STEPS), strict=True):
        for name in ("nash_conv_last", "nash_conv_average", "value"):
            expected, found = getattr(plain, name), getattr(scaled, name)
            assert (found is None) == (expected is None)
            if expected is not None:
                assert found / stake == pytest.approx(expected, rel=1e-6, abs=1e-9), (name, plain.iteration)


@pytest.mark.parametrize("name", SOLVERS)
@given(seed=st.integers(0, 10_000), exponent=st.integers(-9, 9))
@settings(max_examples=8)
def test_random_games_are_learned_alike_in_every_unit(name: str, seed: int, exponent: int) -> None:
    """Every learner's rule is homogeneous in the payoffs, default steps included."""
    stake = 10.0**exponent
    check_scaled(SOLVERS[name], GameTree(StakedRandomGame(seed, 1.0)), GameTree(StakedRandomGame(seed, stake)), stake)


@pytest.mark.parametrize("name", SOLVERS)
@pytest.mark.parametrize("exponent", [-30, 30])
def test_kuhn_poker_is_learned_alike_in_every_unit(name: str, exponent: int) -> None:
    """As above in a game full of ties; powers of two round nothing, so that regrets of 0 stay 0."""
    stake = 2.0**exponent
    check_scaled(SOLVERS[name], GameTree(KuhnPoker()), GameTree(StakedKuhnPoker(stake)), stake)


@pytest.mark.parametrize("name", SOLVERS)
@pytest.mark.parametrize("exponent", [-660, 660])
def test_payoffs_whose_squares_no_float_holds_are_learned_alike(name: str, exponent: int) -> None:
    """2^660 is about 1e199: its square overflows, that of its inverse is 0; a step size must not divide by either."""
    stake = 2.0**exponent
    check_scaled(SOLVERS[name], GameTree(MatrixGame(PERTURBED)), GameTree(MatrixGame(stake * PERTURBED)), stake)


@pytest.mark.parametrize("name", [name for name in SOLVERS if name not in UNSCALED])
@pytest.mark.parametrize("stake", [1e-310, 5e307])
def test_payoffs_at_the_end_of_the_floats_are_refused(name: str, stake: float) -> None:
    """The range of +-3 times 5e307 is infinite, and one over 1e-310 is: step sizes of 0 would leave uniform play."""
    with np.errstate(over="ignore"):
        tree = GameTree(MatrixGame(stake * PERTURBED))
    with pytest.raises(FloatingPointError, match=r"MatrixGame: expected a payoff range .*another unit of payoff"):
        SOLVERS[name](tree)


@pytest.mark.parametrize("exponent", [-660, 0, 660])
def test_the_bound_of_gpo_is_in_units_of_payoff(exponent: int) -> None:
    """algorithms.md, 2.3: the bound is multiplied by D, whatever D is; so are the terms' weights."""
    stake = 2.0**exponent
    bounds = [GPOFTRL(GameTree(StakedKuhnPoker(unit)), num_iterations=9).bound(9) or 0.0 for unit in (1.0, stake)]
    assert bounds[1] == pytest.approx(stake * bounds[0])
    tree = GameTree(MatrixGame(stake * PERTURBED))
    solver = GPOFTRL(tree, num_iterations=9, entropy_weight=0.5 * stake)
    uniform = np.full(3, 1 / 3), np.full(3, 1 / 3)
    gap = np.log(np.exp([0.0, 4 / 3, -4 / 3]).sum() / 3) / 2 + 2 / 3
    assert solver.regularised_nash_conv(uniform) == pytest.approx(stake * gap)
