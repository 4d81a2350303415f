"""Regularised Nash dynamics: each regularised game is solved, and the solutions lead to an equilibrium."""

import numpy as np
import pytest

from duologue.baselines.solvers.rnad import RNaD
from duologue.baselines.solvers.solver import solve
from duologue.envs.games.kuhn_poker import KuhnPoker
from duologue.envs.games.leduc_poker import LeducPoker
from duologue.envs.games.matrix.matching_pennies import MatchingPennies
from duologue.envs.games.matrix.perturbed_rock_paper_scissors import PerturbedRockPaperScissors
from duologue.envs.games.matrix.rock_paper_scissors import RockPaperScissors
from duologue.envs.tree.analysis import PLAYERS, GameTree, Profile, nash_conv, visiting_probabilities
from duologue.envs.tree.infostates import Floats

NEVER = 10**9


def test_with_a_fixed_regulariser_a_matrix_game_ends_at_the_quantal_response_equilibrium() -> None:
    """The fixed point x ∝ exp(A x / .1) of the game of Sokota et al. (2023): the opponent's term is a constant."""
    solver = RNaD(GameTree(PerturbedRockPaperScissors(rescale=True)), eta=0.1, alpha=0.1, reg_every=NEVER)
    for _ in range(3000):
        solver.step()
    for player in PLAYERS:
        np.testing.assert_allclose(solver.last_profile[player], (0.17347803, 0.48630324, 0.34021873), atol=1e-8)


def test_with_a_fixed_regulariser_a_tree_ends_at_the_equilibrium_of_the_transformed_rewards() -> None:
    """Perolat et al. (2022), the reward transform, node by node: log(pi / reg) = q / alpha + constant, reg uniform."""
    tree, alpha = GameTree(KuhnPoker()), 0.4
    solver = RNaD(tree, eta=0.5, alpha=alpha, reg_every=NEVER)
    for _ in range(4000):
        solver.step()
    profile = solver.last_profile
    values = transformed_values(tree, profile, alpha)
    visits = visiting_probabilities(tree, profile)
    for player, table in zip(PLAYERS, tree.tables, strict=True):
        edges = np.flatnonzero((tree.player[tree.parent] == player) & (tree.action >= 0))
        weights = visits[tree.parent[edges]]
        total = np.bincount(tree.action[edges], weights, table.num_actions)
        gains = weights * (tree.rewards[edges, player] + values[edges, player])
        q = np.bincount(tree.action[edges], gains, table.num_actions) / total
        np.testing.assert_allclose(profile[player], table.softmax(q / alpha), atol=1e-8)


def transformed_values(tree: GameTree, profile: Profile, alpha: float) -> Floats:
    """Return both players' values to go with -alpha log(pi / uniform) for one's own words and + for the other's."""
    values = np.zeros((tree.num_nodes, 2))
    for node in range(tree.num_nodes - 1, 0, -1):
        parent = int(tree.parent[node])
        mover = int(tree.player[parent])
        if mover < 0:
            continue
        policy, table = profile[mover], tree.tables[mover]
        probability = policy[tree.action[node]]
        ratio = np.log(probability * table.num_legal[table.infostate_of[tree.action[node]]])
        for player in PLAYERS:
            bonus = -alpha * ratio if player == mover else alpha * ratio
            values[parent, player] += probability * (tree.rewards[node, player] + bonus + values[node, player])
    return values


def test_a_new_regulariser_frees_it_from_the_quantal_response_equilibrium() -> None:
    """Closed form: (1/7, 3/7, 3/7) is the equilibrium of perturbed rock-paper-scissors."""
    solver = RNaD(GameTree(PerturbedRockPaperScissors()))
    for _ in range(3000):
        solver.step()
    for player in PLAYERS:
        np.testing.assert_allclose(solver.last_profile[player], [1 / 7, 3 / 7, 3 / 7], atol=1e-6)


@pytest.mark.parametrize("game", [RockPaperScissors(), MatchingPennies()])
def test_the_last_iterate_settles_where_hedge_cycles(game: RockPaperScissors | MatchingPennies) -> None:
    """Perolat et al. (2021): without a regulariser the dynamics recur, with one they converge."""
    tree = GameTree(game)
    first, second = (np.arange(1.0, table.num_actions + 1) for table in tree.tables)
    solver = RNaD(tree, initial_profile=(first / first.sum(), second[::-1] / second.sum()))
    *_, step = solve(solver, 2000, every=2000)
    assert step.nash_conv_last == pytest.approx(0, abs=1e-8)


def test_the_regulariser_changes_every_so_often() -> None:
    """By the algorithm: up to and including step K nothing differs from a fixed regulariser, afterwards it does."""
    tree = GameTree(KuhnPoker())
    fixed, moving = RNaD(tree, reg_every=NEVER), RNaD(tree, reg_every=4)
    differs = []
    for _ in range(6):
        fixed.step()
        moving.step()
        differs.append(not np.array_equal(fixed.last_profile[0], moving.last_profile[0]))
    assert differs == [False] * 4 + [True] * 2


def test_default_steps_bring_leduc_poker_closer() -> None:
    """Uniform play has NashConv 1709/360; the last iterate falls, with spikes that hardly show before step 500."""
    tree = GameTree(LeducPoker())
    solver = RNaD(tree)
    assert nash_conv(tree, solver.last_profile) == pytest.approx(1709 / 360, abs=1e-9)
    *_, step = solve(solver, 500, every=500)
    assert step.nash_conv_last is not None
    assert step.nash_conv_last < 0.6


def test_steps_that_jump_over_the_regulariser_are_refused() -> None:
    """By algebra log pi - eta alpha log(pi / reg) turns around if eta alpha is 1 or more."""
    with pytest.raises(ValueError, match=r"eta: expected eta \* alpha below 1, got 2.0 \* 0.5"):
        RNaD(GameTree(MatchingPennies()), eta=2.0, alpha=0.5)
