"""The 144 strategically different two-by-two games whose payoffs are strict ranks.

Rules: player 0 says up or down, player 1 left or right, neither hearing the other. Each player ranks the four outcomes
from 1, the worst, to 4, the best, without ties. `index` chooses the game.

Observation: nothing in the first round; before each later round both are told the other's word of the last one.

Actions: one word a turn, "up" or "down" for player 0, "left" or "right" for player 1.

Rewards: the rank of the outcome, paid to both after each round. Six of the games have identical ranks for both; all
others are general-sum. An illegal token costs 4 for each round of the episode.

Known values: there are 24 * 24 = 576 pairs of rankings. Games that differ in the order of the rows or of the columns
only are the same game, which leaves 144; exchanging the players as well would leave 78. In pure policies 18 of them
have no equilibrium, 108 have one and 18 have two; those that have none have a single mixed one. The prisoner's dilemma
is index 73, chicken 31, the stag hunt 47.

The order: of the four forms of a game we take the one in which player 0's best outcome is (up, left). With a, b, c for
player 0's ranks of (up, right), (down, left), (down, right), games are sorted by (a, b, c), then by player 1's ranks of
(up, left), (up, right), (down, left), (down, right), both lexicographically. Index 1 has the ranks 4, 1, 2, 3
for player 0 and 1, 2, 3, 4 for player 1. These are not the numbers of Robinson and Goforth's chart.

References: D. Robinson and D. Goforth, *The Topology of the 2x2 Games: A New Periodic Table*, 2005, has the 144 games;
A. Rapoport and M. Guyer, *A Taxonomy of 2x2 Games*, General Systems 11, 1966, the 78.

Version history: v0, first version.
"""

from __future__ import annotations

from functools import cache
from itertools import permutations, product

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .base import MatrixGame, check_integer, finite_matrix

NUM_GAMES = 144
RANKS = (1, 2, 3, 4)


class RobinsonGoforth(MatrixGame):
    """One of the 144 two-by-two games in which both players rank the outcomes strictly."""

    def __init__(self, *, index: int = 1, num_rounds: int = 1) -> None:
        """Choose the game.

        Args:
            index: from 1 to 144, in the order given above.
            num_rounds: how often it is played in one episode.

        Raises:
            ValueError: an index outside 1 to 144.
        """
        check_integer("index", index, least=1, most=NUM_GAMES)
        first, second = ordinal_games()[index - 1]
        super().__init__(first, second, words_0="up down", words_1="left right", num_rounds=num_rounds)


@cache
def ordinal_games() -> NDArray[np.float64]:
    """Return the ranks in all games, in their order, by game, player, row and column; shape (144, 2, 2, 2).

    Swapping rows and swapping columns moves player 0's best outcome to any cell in exactly one way, so one form of each
    game has it at (0, 0).
    """
    pairs = product(permutations(RANKS), permutations(RANKS))
    games = np.array([pair for pair in pairs if pair[0][0] == max(RANKS)], dtype=np.float64).reshape(-1, 2, 2, 2)
    games.setflags(write=False)
    return games


def ordinal_index(payoffs_0: ArrayLike, payoffs_1: ArrayLike) -> int:
    """Return the index, 1 to 144, of the ordinal game that a two-by-two game is, whatever the order of its rows.

    >>> ordinal_index([[3, 0], [5, 1]], [[3, 5], [0, 1]])  # prisoner's dilemma
    73

    Raises:
        ValueError: payoffs of another shape, or two equal payoffs of one player.
    """
    payoffs = finite_matrix("payoffs_0", payoffs_0), finite_matrix("payoffs_1", payoffs_1)
    if any(own.shape != (2, 2) or len(np.unique(own)) < 4 for own in payoffs):
        raise ValueError(f"payoffs: expected two 2x2 matrices without ties, got {[own.tolist() for own in payoffs]}")
    ranks = np.reshape(payoffs, (2, 4)).argsort().argsort().reshape(2, 2, 2) + 1
    row, column = np.argwhere(ranks[0] == max(RANKS))[0]
    ranks = np.roll(ranks, (-row, -column), axis=(1, 2))
    return int(np.flatnonzero((ordinal_games() == ranks).all(axis=(1, 2, 3)))[0]) + 1
