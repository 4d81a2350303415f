"""What the tests of matrix games share: payoffs found by play, mixed policies, equilibria by brute force."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linprog

from duologue.envs import Episode
from duologue.envs.games.matrix import MatrixGame
from duologue.envs.tree.analysis import GameTree, Policy, Profile

Floats = NDArray[np.float64]
Rounds = list[tuple[str, str]]


def played(game: MatrixGame, words: str) -> Episode[Any]:
    """The episode in which these words are said."""
    episode = Episode(game, None)
    for token in game.vocabulary.encode(words):
        episode.push(token)
    return episode


def played_payoffs(game: MatrixGame) -> Floats:
    """The returns of one round for every pair of words, found by play; shape (2, n, m)."""
    rows, columns = game.action_tokens
    returns = np.zeros((2, len(rows), len(columns)))
    for (i, row), (j, column) in product(enumerate(rows), enumerate(columns)):
        returns[:, i, j] = played(game, game.vocabulary.decode((row, column))).returns
    return returns


def profile(first: Sequence[float], second: Sequence[float]) -> Profile:
    """Mixed policies of one round."""
    return np.array(first, dtype=np.float64), np.array(second, dtype=np.float64)


def follow(tree: GameTree, player: int, rule: Callable[[Rounds], str]) -> Policy:
    """The policy that says what `rule` makes of the words of all finished rounds, player 0's first."""
    table, vocabulary = tree.tables[player], tree.game.vocabulary
    policy = np.zeros(table.num_actions)
    for infostate, node in enumerate(table.nodes):
        path: list[str] = []
        while tree.parent[node] > 0:
            path.insert(0, vocabulary.decode([int(tree.token[node])]))
            node = tree.parent[node]
        finished = list(zip(path[0::2], path[1::2], strict=False))
        actions = range(table.offsets[infostate], table.offsets[infostate + 1])
        (said,) = [a for a in actions if vocabulary.decode([int(table.tokens[a])]) == rule(finished)]
        policy[said] = 1
    return policy


def gains(payoffs: Floats, x: Floats, y: Floats) -> Floats:
    """What each player of a matrix game would win by its best reply; shape (2,)."""
    own_0, own_1 = payoffs[0] @ y, x @ payoffs[1]
    return np.array([own_0.max() - x @ own_0, own_1.max() - own_1 @ y])


def pure_equilibria(payoffs: Floats) -> list[tuple[int, int]]:
    """All cells from which neither player gains by moving alone, by looking at each of them."""
    rows, columns = payoffs.shape[1:]
    return [
        (i, j)
        for i, j in product(range(rows), range(columns))
        if payoffs[0, i, j] >= payoffs[0, :, j].max() and payoffs[1, i, j] >= payoffs[1, i, :].max()
    ]


def optimal_range(payoffs_0: Floats, value: float) -> Floats:
    """The least and the greatest probability of each row in policies that secure `value`; shape (2, n)."""
    num_rows, num_columns = payoffs_0.shape
    least, greatest = (
        [
            linprog(
                sign * np.eye(num_rows)[i],
                A_ub=-payoffs_0.T,
                b_ub=np.full(num_columns, -value + 1e-12),
                A_eq=np.ones((1, num_rows)),
                b_eq=[1.0],
            ).x[i]
            for i in range(num_rows)
        ]
        for sign in (1, -1)
    )
    return np.array([least, greatest])
