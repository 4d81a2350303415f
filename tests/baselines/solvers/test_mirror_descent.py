"""Hedge, its optimistic form and extragradient against closed forms and their own bounds."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from duologue.baselines.solvers.first_order import LogitSolver, value_ranges
from duologue.baselines.solvers.mirror_descent import MWU, OMWU, Extragradient
from duologue.baselines.solvers.solver import solve
from duologue.envs.games.matrix import MatrixGame
from duologue.envs.games.matrix.rock_paper_scissors import PAYOFFS, RockPaperScissors
from duologue.envs.games.random_game import RandomGame
from duologue.envs.tree.analysis import GameTree, Profile, nash_conv
from duologue.envs.tree.infostates import Floats

START = np.array([0.4, 0.3, 0.3]), np.array([0.3, 0.4, 0.3])
RPS = np.array(PAYOFFS, dtype=np.float64)


def softmax(logits: Floats) -> Floats:
    """Return exp(logits), normalised."""
    weights = np.exp(logits - logits.max())
    policy: Floats = weights / weights.sum()
    return policy


def kl_from_uniform(profile: Profile) -> float:
    """Return KL(u, x) + KL(u, y) in nats."""
    return -sum(float(np.mean(np.log(len(policy) * policy))) for policy in profile)


def last_gaps(solver: LogitSolver, iterations: list[int]) -> list[float]:
    """Return NashConv of the newest iterate at each of `iterations`."""
    gaps = []
    for iteration in iterations:
        while solver.iteration < iteration:
            solver.step()
        gaps.append(nash_conv(solver.tree, solver.last_profile))
    return gaps


def test_the_last_iterate_of_hedge_runs_to_the_boundary() -> None:
    """Closed form on rock-paper-scissors, eta = .1, simultaneous, from (.4, .3, .3) and (.3, .4, .3)."""
    solver = MWU(GameTree(RockPaperScissors()), eta=0.1, initial_profile=START)
    assert last_gaps(solver, [0, 100, 1000, 5000]) == pytest.approx([0.2, 0.2261, 1.0239, 1.9972], abs=1e-3)


def test_hedge_moves_away_from_the_mixed_equilibrium_at_every_step() -> None:
    """KL(u, x_t) + KL(u, y_t) from the equilibrium u of rock-paper-scissors grows (Bailey & Piliouras, 2018)."""
    solver = MWU(GameTree(RockPaperScissors()), eta=0.1, initial_profile=START)
    distances = [kl_from_uniform(solver.last_profile)]
    for _ in range(1000):
        solver.step()
        distances.append(kl_from_uniform(solver.last_profile))
    assert np.all(np.diff(distances) > 0)


def test_the_last_iterate_of_optimistic_hedge_settles() -> None:
    """Closed form on rock-paper-scissors, eta = .1, 2 g_t - g_{t-1} with g_{-1} = g_0."""
    solver = OMWU(GameTree(RockPaperScissors()), eta=0.1, initial_profile=START)
    gaps = last_gaps(solver, [0, 100, 1000, 5000])
    assert gaps[:3] == pytest.approx([0.2, 0.1660, 0.0245], abs=1e-3)
    assert gaps[3] == pytest.approx(4.0e-5, rel=0.02)


@pytest.mark.parametrize("num_iterations", [1, 2, 5, 10, 100, 1000])
@pytest.mark.parametrize("start", [None, START])
def test_averages_of_hedge_keep_the_bound_of_rock_paper_scissors(num_iterations: int, start: Profile | None) -> None:
    """With eta = sqrt(8 ln 3 / T) / 2 NashConv of the averages is at most 2 sqrt(2 ln 3 / T), for every T."""
    eta = np.sqrt(8 * np.log(3) / num_iterations) / 2
    solver = MWU(GameTree(RockPaperScissors()), eta=eta, initial_profile=start)
    *_, step = solve(solver, num_iterations, every=num_iterations)
    assert step.nash_conv_average is not None
    assert step.nash_conv_average <= 2 * np.sqrt(2 * np.log(3) / num_iterations)


@pytest.mark.parametrize("name", ["hedge", "optimistic", "extragradient"])
def test_a_matrix_game_gives_the_textbook_updates(name: str) -> None:
    """By definition x receives A y and y receives -(x A), written out for one random matrix and 25 steps."""
    payoffs, eta = np.random.default_rng(3).normal(size=(3, 4)), 0.2
    classes: dict[str, Callable[..., LogitSolver]] = {"hedge": MWU, "optimistic": OMWU, "extragradient": Extragradient}
    solver = classes[name](GameTree(MatrixGame(payoffs)), eta=eta)
    u, v = np.zeros(3), np.zeros(4)
    before = None
    used = []
    for _ in range(25):
        x, y = softmax(u), softmax(v)
        if name == "extragradient":
            x, y = softmax(u + eta * payoffs @ y), softmax(v - eta * x @ payoffs)
        now = payoffs @ y, -(x @ payoffs)
        again = now if before is None or name != "optimistic" else before
        u, v = u + eta * (2 * now[0] - again[0]), v + eta * (2 * now[1] - again[1])
        before = now
        used.append((x, y))
        solver.step()
        np.testing.assert_allclose(solver.last_profile[0], softmax(u), atol=1e-12)
        np.testing.assert_allclose(solver.last_profile[1], softmax(v), atol=1e-12)
    assert solver.average_profile is not None
    for player in (0, 1):
        np.testing.assert_allclose(solver.average_profile[player], np.mean([pair[player] for pair in used], axis=0))


def test_default_steps_of_hedge_follow_the_ranges_that_it_has_seen() -> None:
    """By its definition, written out for one matrix: eta = sqrt(8 ln n / V), V the sum of squared ranges of A y."""
    payoffs = np.random.default_rng(3).normal(size=(3, 4))
    solver = MWU(GameTree(MatrixGame(payoffs)))
    gains, variation = np.zeros(3), 0.0
    for _ in range(10):
        now = payoffs @ solver.last_profile[1]
        gains, variation = gains + now, variation + np.ptp(now) ** 2
        solver.step()
        expected = softmax(np.sqrt(8 * np.log(3) / variation) * gains)
        np.testing.assert_allclose(solver.last_profile[0], expected, atol=1e-12)


@given(st.integers(0, 10_000), st.sampled_from([1, 4, 40]), st.sampled_from([0.02, 0.5, 5.0]))
def test_constant_steps_keep_the_regret_bound_on_random_games(seed: int, num_iterations: int, eta: float) -> None:
    """Cesa-Bianchi & Lugosi (2006), theorem 2.2, summed over information states as in Zinkevich et al. (2007)."""
    tree = GameTree(RandomGame(seed, num_turns=3, branching=3))
    *_, step = solve(MWU(tree, eta=eta), num_iterations, every=num_iterations)
    bound = sum(
        float(np.sum(np.log(table.num_legal) / eta + eta * num_iterations * ranges**2 / 8))
        for ranges, table in zip(value_ranges(tree), tree.tables, strict=True)
    )
    assert step.nash_conv_average is not None
    assert step.nash_conv_average <= bound / num_iterations + 1e-12


@given(st.integers(0, 10_000), st.sampled_from([1, 4, 40]))
def test_default_steps_of_hedge_keep_their_regret_bound_on_random_games(seed: int, num_iterations: int) -> None:
    """The bound of its docstring: sum_I D_I (1.36 sqrt(T ln |A(I)|) + 5) / T."""
    tree = GameTree(RandomGame(seed, num_turns=3, branching=3))
    *_, step = solve(MWU(tree), num_iterations, every=num_iterations)
    bound = sum(
        float(ranges @ (1.36 * np.sqrt(num_iterations * np.log(table.num_legal)) + 5))
        for ranges, table in zip(value_ranges(tree), tree.tables, strict=True)
    )
    assert step.nash_conv_average is not None
    assert step.nash_conv_average <= bound / num_iterations + 1e-12


@given(st.integers(0, 10_000), st.integers(1, 6), st.integers(1, 6), st.sampled_from([1, 5, 50]))
def test_optimism_and_extragradient_average_at_rate_one_over_t(seed: int, m: int, n: int, num_iterations: int) -> None:
    """Nemirovski (2004), Rakhlin & Sridharan (2013): D (ln m + ln n) / T, eta = 1 / D; q_{-1} = q_0 costs 2 D / T."""
    payoffs = np.random.default_rng(seed).normal(size=(m, n))
    tree = GameTree(MatrixGame(payoffs))
    bound = tree.payoff_range * (np.log(m) + np.log(n)) / num_iterations
    for solver, extra in ((OMWU(tree), 2 * tree.payoff_range / num_iterations), (Extragradient(tree), 0.0)):
        *_, step = solve(solver, num_iterations, every=num_iterations)
        assert step.nash_conv_average is not None
        assert step.nash_conv_average <= bound + extra + 1e-12


@pytest.mark.parametrize("make", [OMWU, Extragradient])
def test_default_steps_settle_in_rock_paper_scissors(make: type[OMWU] | type[Extragradient]) -> None:
    """The equilibrium is unique and mixes all words, where the last iterate converges linearly (Wei et al., 2021)."""
    gaps = last_gaps(make(GameTree(RockPaperScissors()), initial_profile=START), [0, 100, 200, 400])
    assert gaps[0] == pytest.approx(0.2, abs=1e-12)
    assert gaps[1] < gaps[0] / 2
    assert gaps[2] < gaps[1] / 2
    assert gaps[3] < gaps[2] / 4


def test_default_steps_of_hedge_do_not_settle_in_rock_paper_scissors() -> None:
    """Bailey & Piliouras (2018): the last iterate of multiplicative weights leaves every interior equilibrium."""
    solver = MWU(GameTree(RockPaperScissors()), initial_profile=START)
    assert min(last_gaps(solver, list(range(500, 1000, 50)))) > 0.2
