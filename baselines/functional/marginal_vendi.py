"""What one text adds to the Vendi score of a set: a novelty that saturates where the set is already dense."""

import numpy as np
from numpy.typing import NDArray

from .diversity import Embeddings, Floats, require_unit_rows


def marginal_vendi(embeddings: Embeddings, history: Embeddings) -> Floats:
    """Return (n + 1) (log VS(history with x) - log VS(history)) for each row x, (B,); 0 without a history.

    VS is the Vendi score (Friedman & Dieng, 2023, definition 3.1) and n the size of the history. Its logarithm is the
    entropy of the eigenvalues of the mean of phi phi^T, which one row of n + 1 moves by O(1/n): the factor keeps the
    number from fading as the history grows. A row orthogonal to n copies adds (n + 1) h(1 / (n + 1)), h the entropy of
    a coin; what the history is full of costs.

    >>> marginal_vendi(np.eye(2), np.eye(2)[:1]).round(4).tolist()
    [0.0, 1.3863]
    """
    rows, past = require_unit_rows(embeddings, "embeddings"), require_unit_rows(history, "history")
    if not len(past) or not len(rows):
        return np.zeros(len(rows))
    size, second_moment = len(past), past.T @ past
    with_row = (second_moment + rows[:, :, None] * rows[:, None, :]) / (size + 1)  # (B, d, d)
    return (size + 1) * (_entropies(with_row) - _entropies(second_moment[None] / size))


def _entropies(matrices: NDArray[np.float64]) -> Floats:
    """Return the entropy of the eigenvalues of symmetric matrices (N, d, d) of trace 1, (N,)."""
    eigenvalues = np.maximum(np.linalg.eigvalsh(matrices), 1e-15)
    entropies: Floats = -(eigenvalues * np.log(eigenvalues)).sum(axis=-1)
    return entropies
