"""Preference matrices are as defined, and preference games are symmetric, worth 0 and cyclic where they should be."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from duologue.envs import Payoff
from duologue.envs.games.matrix.preferences import (
    PreferenceGame,
    annotators,
    check_preferences,
    cycle,
    dice,
    random_preference_matrix,
)
from duologue.envs.games.matrix.random_preference import RandomPreference
from duologue.envs.testing.conformance import check_game
from duologue.envs.tree.analysis import GameTree, expected_returns, nash_conv
from duologue.tests.envs.games.matrix.helpers import optimal_range, played_payoffs

PROBABILITIES = st.floats(0, 1)


@settings(max_examples=30)
@given(num_replies=st.integers(1, 12), seed=st.integers(0, 2**16))
def test_random_preferences_of_both_orders_sum_to_one(num_replies: int, seed: int) -> None:
    """The definition: P + P^T = 1, hence 1/2 on the diagonal, with entries in [0, 1]."""
    matrix = random_preference_matrix(num_replies, np.random.default_rng(seed))
    assert matrix.shape == (num_replies, num_replies)
    assert np.abs(matrix + matrix.T - 1).max() <= 1e-15
    assert (np.diag(matrix) == 0.5).all()
    assert 0 <= matrix.min() <= matrix.max() <= 1


def test_random_preferences_are_uniform_above_the_diagonal() -> None:
    """4950 draws: mean 1/2 within 3 standard errors of sqrt(1/12/4950) = .0041, and every tenth of [0, 1) hit."""
    above = random_preference_matrix(100, np.random.default_rng(0))[np.triu_indices(100, 1)]
    assert abs(above.mean() - 0.5) < 3 * 0.0041
    assert np.histogram(above, bins=10, range=(0, 1))[0].min() > 400


@settings(max_examples=20)
@given(num_replies=st.integers(1, 7), seed=st.integers(0, 2**16))
def test_preference_game_is_symmetric_and_worth_zero(num_replies: int, seed: int) -> None:
    """An equilibrium found by linear programming is one for both players, and worth 0 to each."""
    game = RandomPreference(num_replies=num_replies, seed=seed)
    payoffs = played_payoffs(game)
    assert np.array_equal(payoffs[0], -payoffs[0].T)
    assert payoffs[0] == pytest.approx(game.preference_matrix - 0.5, abs=1e-15)
    policy = optimal_range(payoffs[0], 0.0)[0]
    policy = np.maximum(policy, 0) / np.maximum(policy, 0).sum()
    tree = GameTree(game)
    assert nash_conv(tree, (policy, policy)) == pytest.approx(0, abs=1e-9)
    assert expected_returns(tree, (policy, policy)) == pytest.approx([0, 0], abs=1e-12)


@pytest.mark.parametrize("seed", range(10))
def test_random_preference_game_has_one_equilibrium_on_an_odd_number_of_replies(seed: int) -> None:
    """Kaplansky (1945): an antisymmetric matrix of even order has no completely mixed equilibrium in general."""
    least, greatest = optimal_range(RandomPreference(num_replies=6, seed=seed).payoff_matrices[0], 0.0)
    assert least == pytest.approx(greatest, abs=1e-8)
    assert np.count_nonzero(least > 1e-7) % 2 == 1


def test_same_seed_same_preferences() -> None:
    """The seed is part of the rules."""
    first, again, other = (RandomPreference(seed=seed).preference_matrix for seed in (3, 3, 4))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_each_die_beats_the_next_with_probability_five_ninths() -> None:
    """Counted over the nine pairs of faces: {2, 4, 9}, {1, 6, 8}, {3, 5, 7}."""
    faces = ((2, 4, 9), (1, 6, 8), (3, 5, 7))
    for k in range(3):
        wins = sum(own > other for own, other in product(faces[k], faces[(k + 1) % 3]))
        assert wins == 5
    assert dice() == pytest.approx(cycle(5 / 9), abs=1e-15)


def test_equal_throws_count_one_half() -> None:
    """A coin with faces 0 and 1 against one that always shows 1: wins never, ties half the time."""
    assert dice([(0, 1), (1, 1)]).tolist() == [[0.5, 0.25], [0.75, 0.5]]


def test_three_transitive_annotators_make_a_cycle_of_two_thirds() -> None:
    """Appendix C of arXiv 2312.00886: each annotator has a total order, their majority has none."""
    assert annotators() == pytest.approx(cycle(2 / 3), abs=1e-15)
    assert annotators([(2, 0, 1)]).tolist() == [[0.5, 1, 0], [0, 0.5, 0], [1, 1, 0.5]]


@pytest.mark.parametrize("matrix", [cycle(5 / 9), dice(), annotators()], ids=["cycle", "dice", "annotators"])
def test_uniform_play_is_the_equilibrium_of_a_cycle(matrix: Any) -> None:
    """Rock-paper-scissors in other clothes; always to say one reply has a NashConv of 2 (p - 1/2)."""
    tree, third = GameTree(PreferenceGame(matrix)), np.full(3, 1 / 3)
    assert nash_conv(tree, (third, third)) == pytest.approx(0, abs=1e-12)
    pure = np.eye(3)[0]
    assert nash_conv(tree, (pure, pure)) == pytest.approx(2 * (matrix[0, 1] - 0.5), abs=1e-12)


@given(p=PROBABILITIES)
def test_cycle_is_a_preference_matrix(p: float) -> None:
    """For every p, those below one half included, which turn the cycle round."""
    assert check_preferences(cycle(p))[0, 1] == p


@pytest.mark.parametrize("game", [RandomPreference(), PreferenceGame(dice(), words="red green blue")])
def test_game_keeps_every_contract(game: PreferenceGame) -> None:
    """The conformance suite."""
    assert game.payoff is Payoff.ZERO_SUM
    check_game(game, episodes=8)


def test_preference_matrix_is_a_read_only_copy() -> None:
    """Rules never change, so neither must their tables."""
    matrix = cycle(0.6)
    game = PreferenceGame(matrix)
    matrix[0, 1] = 0.9
    assert game.preference_matrix[0, 1] == 0.6
    with pytest.raises(ValueError, match="read-only"):
        game.preference_matrix[0, 1] = 0.9


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: PreferenceGame([[0.5, 0.7]]), r"preferences: expected a square matrix, got shape \(1, 2\)"),
        (lambda: PreferenceGame([[0.5, float("nan")], [0.5, 0.5]]), "preferences: expected finite numbers, got nan"),
        (lambda: PreferenceGame([[0.5, 1.5], [-0.5, 0.5]]), "preferences: expected probabilities, got numbers from"),
        (
            lambda: PreferenceGame([[0.5, 0.7], [0.4, 0.5]]),
            r"preferences: expected P \+ P\^T = 1, got P\[0, 1\] = 0.7 and P\[1, 0\] = 0.4",
        ),
        (lambda: RandomPreference(num_replies=0), "num_replies: expected an integer of at least 1, got 0"),
        (lambda: RandomPreference(seed=-1), "seed: expected an integer of at least 0, got -1"),
        (lambda: cycle(1.5), "p: expected a probability from 0 to 1, got 1.5"),
        (lambda: annotators([(0, 2)]), r"rankings: expected orders of the replies 0 to n - 1, got \[\(0, 2\)\]"),
        (lambda: annotators([(0, 1), (0,)]), "rankings: expected orders of the replies 0 to n - 1, got"),
        (lambda: dice([(1, 2), ()]), r"faces: expected at least one face on every die, got \[\(1, 2\), \(\)\]"),
    ],
)
def test_bad_input_is_named(call: Callable[[], object], message: str) -> None:
    """The thing, what was expected, what came."""
    with pytest.raises(ValueError, match=message):
        call()
