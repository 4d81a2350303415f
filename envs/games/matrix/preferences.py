"""Preference matrices, and the game in which two players each say the reply that they hold for the better one.

A preference matrix P has P[y, y'] = the probability that reply y is preferred to reply y', so that P + P^T = 1
(Munos et al., *Nash Learning from Human Feedback*, arXiv 2312.00886, section 3).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...engine.contract import TOLERANCE
from .base import MatrixGame, check_integer, finite_matrix

MAX_REPLIES = 4096
INTRANSITIVE_DICE = ((2, 4, 9), (1, 6, 8), (3, 5, 7))
CYCLIC_RANKINGS = ((0, 1, 2), (1, 2, 0), (2, 0, 1))


class PreferenceGame(MatrixGame):
    """Both players say one of the same n replies; player 0 wins P[y, y'] - 1/2 and player 1 loses it.

    The game is symmetric: worth 0, and what is an equilibrium policy for one player is one for the other.

    >>> PreferenceGame(cycle(2 / 3)).payoff_matrices[0].round(3).tolist()
    [[0.0, 0.167, -0.167], [-0.167, 0.0, 0.167], [0.167, -0.167, 0.0]]
    """

    def __init__(self, preferences: ArrayLike, *, words: str | Sequence[str] | None = None) -> None:
        """Take the preference matrix.

        Args:
            preferences: P, with P + P^T = 1 within 1e-9; shape (n, n).
            words: the n replies; None: reply_1, reply_2 ...

        Raises:
            ValueError: not a preference matrix.
        """
        matrix = check_preferences(preferences)
        self.preference_matrix = matrix
        """P, read-only; shape (n, n)."""
        matrix.setflags(write=False)
        replies = [f"reply_{k}" for k in range(1, len(matrix) + 1)] if words is None else words
        super().__init__((matrix - matrix.T) / 2, words_0=replies, words_1=replies)  # P - 1/2, antisymmetric to the bit


def check_preferences(preferences: ArrayLike) -> NDArray[np.float64]:
    """Return a copy of the matrix if it holds probabilities with P + P^T = 1 within 1e-9.

    Raises:
        ValueError: it does not; the message names the worst entry.
    """
    matrix = finite_matrix("preferences", preferences)
    if matrix.shape[0] != matrix.shape[1]:
        raise ValueError(f"preferences: expected a square matrix, got shape {matrix.shape}")
    if matrix.min() < 0 or matrix.max() > 1:
        raise ValueError(f"preferences: expected probabilities, got numbers from {matrix.min()} to {matrix.max()}")
    off = np.abs(matrix + matrix.T - 1)
    if off.max() > TOLERANCE:
        y, other = np.unravel_index(off.argmax(), off.shape)
        got = f"P[{y}, {other}] = {matrix[y, other]} and P[{other}, {y}] = {matrix[other, y]}"
        raise ValueError(f"preferences: expected P + P^T = 1, got {got}")
    return matrix


def random_preference_matrix(num_replies: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return a matrix whose entries above the diagonal are uniform in [0, 1); shape (n, n)."""
    check_integer("num_replies", num_replies, least=1)
    check_integer("num_replies", num_replies, least=1, most=MAX_REPLIES)
    above = np.triu(rng.random((num_replies, num_replies)), 1)
    below = np.tril(1 - above.T, -1)
    return above + below + np.eye(num_replies) / 2


def cycle(p: float) -> NDArray[np.float64]:
    """Return three replies of which each is preferred to the next, and the last to the first, with probability p."""
    if not 0 <= p <= 1:
        raise ValueError(f"p: expected a probability from 0 to 1, got {p}")
    return np.array([[0.5, p, 1 - p], [1 - p, 0.5, p], [p, 1 - p, 0.5]])


def dice(faces: Sequence[Sequence[float]] = INTRANSITIVE_DICE) -> NDArray[np.float64]:
    """Return how probably each die throws more than each other, ties one half; the default is `cycle(5 / 9)`.

    Its dice show that "throws more" is no transitive relation, although every throw is compared with all others alike.
    """
    if not len(faces) or not all(len(die) for die in faces):
        raise ValueError(f"faces: expected at least one face on every die, got {faces!r}")
    margins = np.array([[np.sign(np.subtract.outer(own, other)).mean() for other in faces] for own in faces])
    return (1 + margins) / 2


def annotators(rankings: Sequence[Sequence[int]] = CYCLIC_RANKINGS) -> NDArray[np.float64]:
    """Return how large a share of annotators ranks each reply above each other; the default is `cycle(2 / 3)`.

    Args:
        rankings: each annotator's order of the replies 0 to n - 1, the best first. Each annotator is transitive, their
            majority need not be (arXiv 2312.00886, appendix C).
    """
    if not len(rankings) or any(sorted(ranking) != list(range(len(rankings[0]))) for ranking in rankings):
        raise ValueError(f"rankings: expected orders of the replies 0 to n - 1, got {rankings!r}")
    places = np.argsort(rankings, axis=1)  # (annotators, replies): where each stands
    margins = np.sign(places[:, None, :] - places[:, :, None]).mean(axis=0)
    matrix: NDArray[np.float64] = (1 + margins) / 2
    return matrix
