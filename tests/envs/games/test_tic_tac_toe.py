"""Tic-tac-toe: the rules, the number of games, and the draw."""

import itertools

import numpy as np
import pytest

from duologue.envs.games.tic_tac_toe import TicTacToe
from duologue.envs.testing.conformance import check_game
from duologue.envs.tree.analysis import TERMINAL, GameTree, backward_induction, prefix_returns
from duologue.tests.envs.games.helpers import played

GOLDEN = """\
X: b2
O: a1
X: c1
O: a2
X: a3
[rewards] +1 -1
[over] returns +1 -1"""
ROWS = ("a1 b1 c1", "a2 b2 c2", "a3 b3 c3", "a1 a2 a3", "b1 b2 b3", "c1 c2 c3", "a1 b2 c3", "a3 b2 c1")


@pytest.fixture(scope="module")
def tree() -> GameTree:
    """The game as arrays."""
    return GameTree(TicTacToe())


def test_tic_tac_toe_keeps_the_contract() -> None:
    """The conformance suite."""
    check_game(TicTacToe())


def test_tic_tac_toe_golden_transcript() -> None:
    """A diff here is a changed rule, which is a new version."""
    assert played(TicTacToe(), None, "b2 a1 c1 a2 a3").transcript() == GOLDEN


@pytest.mark.parametrize("row", ROWS)
def test_each_row_wins_for_either_player(row: str) -> None:
    """Three rows, three columns, two diagonals; the loser names squares that make no row."""
    first, second, third = row.split()
    free = [square for square in TicTacToe.vocabulary.words if square not in row.split()]
    won = played(TicTacToe(), None, f"{first} {free[0]} {second} {free[1]} {third}")
    assert (won.over, won.returns) == (True, [1.0, -1.0])
    rowless = next(three for three in itertools.combinations(free, 3) if " ".join(three) not in ROWS)
    lost = played(TicTacToe(), None, " ".join(f"{x} {o}" for x, o in zip(rowless, row.split(), strict=True)))
    assert (lost.over, lost.returns) == (True, [-1.0, 1.0])


def test_a_full_board_without_a_row_is_a_draw() -> None:
    """Nine squares, no three in a row."""
    episode = played(TicTacToe(), None, "b2 a1 c1 a3 a2 c2 b3 b1 c3")
    assert (episode.over, episode.returns) == (True, [0.0, 0.0])


def test_a_square_can_be_named_once() -> None:
    """Naming a taken square is illegal and forfeits."""
    assert played(TicTacToe(), None, "b2 b2").forfeited_by == 1


def test_there_are_549946_lines_of_play(tree: GameTree) -> None:
    """The known count, the empty line included; our root, where chance has one outcome, is one node more."""
    assert tree.num_nodes == 549_946 + 1
    assert tree.is_perfect_information


def test_there_are_255168_finished_games(tree: GameTree) -> None:
    """Enumeration (Schaefer, 2002): X wins 131,184, O 77,904, 46,080 draws."""
    won = prefix_returns(tree)[tree.player == TERMINAL, 0]
    assert [int(np.sum(won == result)) for result in (1, -1, 0)] == [131_184, 77_904, 46_080]


def test_tic_tac_toe_is_a_draw(tree: GameTree) -> None:
    """Known to every child; here by backward induction."""
    _, values = backward_induction(tree)
    assert values[0].tolist() == [0, 0]
