"""Magnetic mirror descent against quantal response equilibria in closed form and plain mirror descent."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from duologue.baselines.solvers.mmd import MMD
from duologue.baselines.solvers.solver import solve
from duologue.envs.games.kuhn_poker import KuhnPoker
from duologue.envs.games.leduc_poker import LeducPoker
from duologue.envs.games.matrix import MatrixGame
from duologue.envs.games.matrix.matching_pennies import MatchingPennies
from duologue.envs.games.matrix.perturbed_rock_paper_scissors import RESCALED_PAYOFFS, PerturbedRockPaperScissors
from duologue.envs.tree.analysis import PLAYERS, GameTree, action_values, nash_conv, visiting_probabilities
from duologue.envs.tree.infostates import Floats

QRE = {
    0.1: ((0.17347803, 0.48630324, 0.34021873), 0.03004),
    0.2: ((0.22364492, 0.47798817, 0.29836691), 0.06209),
}


def perturbed() -> GameTree:
    """Return perturbed rock-paper-scissors with payoffs in [0, 1]."""
    return GameTree(PerturbedRockPaperScissors(rescale=True))


def kl(p: Floats, q: Floats) -> float:
    """Return KL(p, q) in nats."""
    return float(np.sum(p * (np.log(p) - np.log(q))))


def test_it_starts_a_ninth_from_equilibrium() -> None:
    """Closed form on the game of Sokota et al. (2023): exploitability 1/9 at uniform play."""
    tree = perturbed()
    assert nash_conv(tree, MMD(tree).last_profile) / 2 == pytest.approx(1 / 9, abs=1e-12)


@pytest.mark.parametrize("alpha", [0.1, 0.2])
def test_a_fixed_magnet_leads_both_players_to_the_quantal_response_equilibrium(alpha: float) -> None:
    """The fixed point x ∝ exp(A x / alpha) of the game of Sokota et al. (2023), and its exploitability."""
    solver = MMD(perturbed(), magnet="fixed", eta=alpha, alpha=alpha)
    *_, step = solve(solver, 3000, every=3000)
    expected, exploitability = QRE[alpha]
    for player in PLAYERS:
        np.testing.assert_allclose(solver.last_profile[player], expected, atol=1e-8)
    assert step.nash_conv_last is not None
    assert step.nash_conv_last / 2 == pytest.approx(exploitability, abs=1e-5)


def distances(alpha: float, iterations: tuple[int, ...]) -> list[float]:
    """Return the mean over players of KL(iterate, QRE)."""
    final = MMD(perturbed(), magnet="fixed", eta=alpha, alpha=alpha)
    for _ in range(3000):
        final.step()
    solver = MMD(perturbed(), magnet="fixed", eta=alpha, alpha=alpha)
    found = []
    for iteration in iterations:
        while solver.iteration < iteration:
            solver.step()
        pairs = zip(solver.last_profile, final.last_profile, strict=True)
        found.append(float(np.mean([kl(policy, equilibrium) for policy, equilibrium in pairs])))
    return found


def test_the_last_iterate_approaches_the_quantal_response_equilibrium_at_the_known_speed() -> None:
    """Mean KL(iterate, QRE) on the game of Sokota et al. (2023), made with an independent implementation."""
    assert distances(0.1, (100, 300)) == pytest.approx([1.05e-2, 2.20e-4], rel=0.01)
    after_100, after_300 = distances(0.2, (100, 300))
    assert after_100 == pytest.approx(2.26e-5, rel=0.01)
    assert after_300 < 1e-11


@given(st.integers(0, 10_000), st.sampled_from([0.05, 0.4]), st.sampled_from([0.1, 1.0]))
def test_it_is_mirror_descent_on_the_regularised_game_with_a_smaller_step(seed: int, eta: float, alpha: float) -> None:
    """Algebra: log pi + eta' (q - alpha log(pi / rho)), eta' = eta / (1 + eta alpha), gives the same trajectory."""
    payoffs = np.random.default_rng(seed).normal(size=(3, 4))
    solver = MMD(GameTree(MatrixGame(payoffs)), magnet="fixed", eta=eta, alpha=alpha)
    smaller = eta / (1 + eta * alpha)
    x, y = np.full(3, 1 / 3), np.full(4, 1 / 4)
    for _ in range(30):
        u = np.log(x) + smaller * (payoffs @ y - alpha * np.log(3 * x))
        v = np.log(y) + smaller * (-(x @ payoffs) - alpha * np.log(4 * y))
        x, y = np.exp(u) / np.exp(u).sum(), np.exp(v) / np.exp(v).sum()
        solver.step()
        np.testing.assert_allclose(solver.last_profile[0], x, atol=1e-11)
        np.testing.assert_allclose(solver.last_profile[1], y, atol=1e-11)


def test_on_a_tree_a_fixed_magnet_leads_to_the_agent_quantal_response_equilibrium() -> None:
    """McKelvey & Palfrey (1998): pi ∝ exp(q / alpha) at every information state, q a mean over the tree's nodes."""
    tree, alpha = GameTree(KuhnPoker()), 0.4
    solver = MMD(tree, magnet="fixed", alpha=alpha)
    for _ in range(3000):
        solver.step()
    profile = solver.last_profile
    visits, returns = visiting_probabilities(tree, profile), action_values(tree, profile, to_go=True)
    for player, table in zip(PLAYERS, tree.tables, strict=True):
        edges = np.flatnonzero((tree.player[tree.parent] == player) & (tree.action >= 0))
        weights = visits[tree.parent[edges]]
        total = np.bincount(tree.action[edges], weights, table.num_actions)
        q = np.bincount(tree.action[edges], weights * returns[edges, player], table.num_actions) / total
        np.testing.assert_allclose(profile[player], table.softmax(q / alpha), atol=1e-9)


def test_default_steps_of_a_fixed_magnet_reach_its_fixed_point_within_the_theorems_range() -> None:
    """With eta <= alpha / L^2 the distance shrinks by at least 1 / (1 + eta alpha) a step (Sokota et al., 2023)."""
    tree = perturbed()
    solver = MMD(tree, magnet="fixed")
    for _ in range(3000):
        solver.step()
    for player, values in zip(PLAYERS, (RESCALED_PAYOFFS, -RESCALED_PAYOFFS.T), strict=True):
        logits = values @ solver.last_profile[1 - player] / 0.1
        np.testing.assert_allclose(solver.last_profile[player], tree.tables[player].softmax(logits), atol=1e-9)


def test_annealed_and_moving_magnets_lead_to_the_unregularised_equilibrium() -> None:
    """Closed form (1/7, 3/7, 3/7) of perturbed rock-paper-scissors; a fixed magnet stays .03 away from it."""
    for magnet, tolerance in (("annealed", 0.02), ("moving", 1e-6)):
        solver = MMD(perturbed(), magnet=magnet)  # type: ignore[arg-type]
        for _ in range(2000):
            solver.step()
        for player in PLAYERS:
            np.testing.assert_allclose(solver.last_profile[player], [1 / 7, 3 / 7, 3 / 7], atol=tolerance)


def test_the_released_schedules_bring_kuhn_poker_near_equilibrium() -> None:
    """Sokota et al. (2023), released code: 1 / sqrt(t) for both; or alpha 1, eta .1 and a magnet that moves by .05."""
    tree = GameTree(KuhnPoker())
    annealed = MMD(tree, eta=1.0, alpha=1.0)
    moving = MMD(tree, magnet="moving", eta=0.1, alpha=1.0, magnet_rate=0.05)
    for solver, levels in ((annealed, (0.02, 0.012)), (moving, (0.01, 0.002))):
        for level, step in zip(levels, solve(solver, 2000, every=1000), strict=True):
            assert step.nash_conv_last is not None
            assert step.nash_conv_last < level


def test_the_magnet_moves_towards_the_policy_before_the_step() -> None:
    """By hand, as in the released code: at rate 1 the magnet of each step is the policy before the last one."""
    payoffs, eta, alpha = np.array([[2.0, 0.0], [0.0, 1.0]]), 0.5, 0.5
    start = np.array([0.7, 0.3]), np.array([0.4, 0.6])
    solver = MMD(
        GameTree(MatrixGame(payoffs)), magnet="moving", eta=eta, alpha=alpha, magnet_rate=1.0, initial_profile=start
    )
    magnet, (x, y) = np.log([0.5, 0.5]), start
    for _ in range(5):
        before = np.log(x)
        u = (before + eta * payoffs @ y + eta * alpha * magnet) / (1 + eta * alpha)
        solver.step()
        x, y = np.exp(u) / np.exp(u).sum(), solver.last_profile[1]
        np.testing.assert_allclose(solver.last_profile[0], x, atol=1e-12)
        magnet = before


def test_default_schedules_work_where_payoffs_differ_widely() -> None:
    """Leduc poker pays -13 to 13, matching pennies -1 to 1; uniform play of Leduc has NashConv 4.747."""
    *_, leduc = solve(MMD(GameTree(LeducPoker())), 500, every=500)
    start = np.array([0.7, 0.3]), np.array([0.4, 0.6])
    *_, pennies = solve(MMD(GameTree(MatchingPennies()), initial_profile=start), 500, every=500)
    assert leduc.nash_conv_last is not None
    assert pennies.nash_conv_last is not None
    assert leduc.nash_conv_last < 0.3
    assert pennies.nash_conv_last < 0.05


def test_what_the_magnet_cannot_be_is_refused() -> None:
    """The errors name the option, what it takes and what came."""
    tree = GameTree(MatchingPennies())
    with pytest.raises(ValueError, match="magnet: expected 'fixed', 'annealed' or 'moving', got 'strong'"):
        MMD(tree, magnet="strong")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"magnet_rate: expected a number in \(0, 1\], got 1.5"):
        MMD(tree, magnet="moving", magnet_rate=1.5)
    with pytest.raises(ValueError, match="alpha: expected a finite number above 0, got 0"):
        MMD(tree, alpha=0)
