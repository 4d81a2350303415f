"""The 144 ordinal games: how many there are, how many equilibria they have, and where the famous ones stand."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction
from itertools import permutations, product
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from duologue.envs import Payoff
from duologue.envs.games.matrix.prisoners_dilemma import PrisonersDilemma
from duologue.envs.games.matrix.robinson_goforth import RobinsonGoforth, ordinal_games, ordinal_index
from duologue.envs.testing.conformance import check_game
from duologue.envs.tree.analysis import GameTree, nash_conv
from duologue.tests.envs.games.matrix.helpers import Floats, played_payoffs, pure_equilibria

Game = tuple[int, ...]
"""Player 0's ranks row by row, then player 1's: eight numbers."""


def swap_rows(game: Game) -> Game:
    """The same game with up and down exchanged."""
    a, b, c, d, e, f, g, h = game
    return c, d, a, b, g, h, e, f


def swap_columns(game: Game) -> Game:
    """The same game with left and right exchanged."""
    a, b, c, d, e, f, g, h = game
    return b, a, d, c, f, e, h, g


def swap_players(game: Game) -> Game:
    """The same game with the players exchanged: both matrices transposed."""
    a, b, c, d, e, f, g, h = game
    return e, g, f, h, a, c, b, d


def forms(game: Game) -> frozenset[Game]:
    """The four forms of a game."""
    return frozenset((game, swap_rows(game), swap_columns(game), swap_rows(swap_columns(game))))


ALL: list[Game] = [first + second for first, second in product(permutations((1, 2, 3, 4)), repeat=2)]


def as_tuple(matrices: NDArray[np.float64]) -> Game:
    """The eight ranks of a game given as matrices."""
    return tuple(int(rank) for rank in matrices.reshape(8))


def test_generated_games_are_one_of_each_class_of_the_576() -> None:
    """Robinson and Goforth (2005): 24 * 24 pairs of rankings, four forms each, 144 games."""
    classes = {forms(game) for game in ALL}
    generated = [as_tuple(matrices) for matrices in ordinal_games()]
    assert (len(ALL), len(classes), len(generated)) == (576, 144, 144)
    assert {forms(game) for game in generated} == classes


def test_exchanging_the_players_leaves_78() -> None:
    """Rapoport and Guyer (1966) count 78; the 12 symmetric games are their own mirror image."""
    classes = {forms(game) | forms(swap_players(game)) for game in ALL}
    assert len(classes) == 78
    assert sum(swap_players(game) in forms(game) for game in map(as_tuple, ordinal_games())) == 12


def test_games_are_sorted_as_the_page_says() -> None:
    """Player 0's best outcome is (up, left); the rest is lexicographic."""
    games = [as_tuple(matrices) for matrices in ordinal_games()]
    assert all(game[0] == 4 for game in games)
    assert games == sorted(games)
    assert games[0] == (4, 1, 2, 3, 1, 2, 3, 4)


def test_pure_equilibria_of_all_144_games() -> None:
    """Robinson and Goforth (2005): 18 games have none, 108 one, 18 two."""
    counts = Counter(len(pure_equilibria(matrices)) for matrices in ordinal_games())
    assert counts == {0: 18, 1: 108, 2: 18}


def test_pure_equilibria_have_nash_conv_zero_in_the_played_game_and_nothing_else_pure_has() -> None:
    """Every pure profile of every 12th game, through the tree."""
    for index in range(1, 145, 12):
        game = RobinsonGoforth(index=index)
        tree, equilibria = GameTree(game), pure_equilibria(played_payoffs(game))
        for i, j in product(range(2), repeat=2):
            assert (nash_conv(tree, (np.eye(2)[i], np.eye(2)[j])) == 0) == ((i, j) in equilibria)


def mixed_equilibrium(matrices: Floats) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The policies that leave the other indifferent: p solves p B[0] + (1 - p) B[1] equal in both columns."""
    (a, b, c, d), (e, f, g, h) = ([Fraction(int(rank)) for rank in own.reshape(4)] for own in matrices)
    up, left = (h - g) / (e - f - g + h), (d - b) / (a - b - c + d)
    return np.array([up, 1 - up], dtype=np.float64), np.array([left, 1 - left], dtype=np.float64)


def test_games_without_a_pure_equilibrium_have_a_mixed_one() -> None:
    """In those 18 both players must be indifferent, which fixes the other's mixture."""
    without = [k for k, matrices in enumerate(ordinal_games()) if not pure_equilibria(matrices)]
    for k in without:
        profile = mixed_equilibrium(ordinal_games()[k])
        assert all(0 < policy[0] < 1 for policy in profile)
        assert nash_conv(GameTree(RobinsonGoforth(index=k + 1)), profile) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(
    ("name", "payoffs_0", "index", "equilibria"),
    [
        ("prisoner's dilemma", [[3, 1], [4, 2]], 73, [2]),
        ("chicken", [[3, 2], [4, 1]], 31, [2, 4]),
        ("stag hunt", [[4, 1], [3, 2]], 47, [2, 4]),
    ],
)
def test_famous_symmetric_games(name: str, payoffs_0: list[list[int]], index: int, equilibria: list[int]) -> None:
    """Their usual ranks (Rapoport and Guyer, 1966), and what their pure equilibria are worth to player 0."""
    assert ordinal_index(payoffs_0, np.transpose(payoffs_0)) == index, name
    matrices = ordinal_games()[index - 1]
    assert sorted(int(matrices[0, i, j]) for i, j in pure_equilibria(matrices)) == equilibria


def test_index_of_any_form_is_the_index_of_the_game() -> None:
    """All 576 pairs of rankings are found; only ranks count, so that Axelrod's payoffs are the dilemma too."""
    games = np.array(ALL).reshape(-1, 2, 2, 2)
    counts = Counter(ordinal_index(first, second) for first, second in games)
    assert counts == dict.fromkeys(range(1, 145), 4)
    for game, (first, second) in zip(ALL[::7], games[::7], strict=True):
        assert as_tuple(ordinal_games()[ordinal_index(first, second) - 1]) in forms(game)
    assert ordinal_index(*PrisonersDilemma().payoff_matrices) == 73


def test_payoff_types() -> None:
    """Six games have identical ranks; ranks that sum to 5 are no zero sum."""
    types = Counter(RobinsonGoforth(index=index).payoff for index in range(1, 145))
    assert types == {Payoff.IDENTICAL: 6, Payoff.GENERAL: 138}


@pytest.mark.parametrize("index", [1, 24, 73, 144])
def test_game_keeps_every_contract(index: int) -> None:
    """The conformance suite over two rounds."""
    check_game(RobinsonGoforth(index=index, num_rounds=2), episodes=8)


@pytest.mark.parametrize("index", [0, 145, 1.0, True, "73"])
def test_unknown_index_is_named(index: Any) -> None:
    """The thing, what was expected, what came."""
    with pytest.raises(ValueError, match=f"index: expected an integer from 1 to 144, got {index!r}"):
        RobinsonGoforth(index=index)


@pytest.mark.parametrize("payoffs_1", [[[1, 2], [2, 3]], [[1, 2, 3]]])
def test_ties_and_other_shapes_have_no_index(payoffs_1: list[list[int]]) -> None:
    """An ordinal game here is strict and two by two."""
    with pytest.raises(ValueError, match="payoffs: expected two 2x2 matrices without ties, got"):
        ordinal_index([[1, 2], [3, 4]], payoffs_1)
