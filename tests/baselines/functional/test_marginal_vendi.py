"""What one row adds to the Vendi score: hand-made histories, the definition, and the limit of a long history."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from duologue.baselines.functional.diversity import marginal_vendi, vendi_score


def unit_rows(count: int, dim: int, *, seed: int) -> NDArray[np.float64]:
    """Return random directions."""
    rows = np.random.default_rng(seed).standard_normal((count, dim))
    lengths: NDArray[np.float64] = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / lengths


@pytest.mark.parametrize("copies", [1, 3, 9])
def test_a_copy_adds_nothing_and_a_new_direction_the_entropy_of_a_coin(copies: int) -> None:
    """N copies have score 1; an orthogonal row makes the eigenvalues n/(n+1) and 1/(n+1)."""
    history, share = np.tile([1.0, 0.0], (copies, 1)), 1 / (copies + 1)
    coin = -share * np.log(share) - (1 - share) * np.log(1 - share)
    added = marginal_vendi(np.eye(2), history)
    assert added == pytest.approx([0.0, (copies + 1) * coin], abs=1e-10)


def test_the_crowded_direction_costs() -> None:
    """Of e1, e1, e2 another e1 lowers the score: ln of the entropies of 2/3 and 3/4, times 4, by hand."""
    history = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    before = -(2 / 3) * np.log(2 / 3) - (1 / 3) * np.log(1 / 3)
    after = -(3 / 4) * np.log(3 / 4) - (1 / 4) * np.log(1 / 4)
    added = marginal_vendi(np.array([[1.0, 0.0], [0.0, 1.0]]), history)
    assert added == pytest.approx([4 * (after - before), 4 * (np.log(2) - before)], abs=1e-10)
    assert added[0] < 0 < added[1]


@given(seed=st.integers(0, 1000), size=st.integers(1, 12), dim=st.integers(2, 8))
def test_it_is_the_difference_of_two_vendi_scores(seed: int, size: int, dim: int) -> None:
    """The definition, with the score taken from the singular values of the rows instead."""
    history, new = unit_rows(size, dim, seed=seed), unit_rows(3, dim, seed=seed + 1)
    direct = [(size + 1) * np.log(vendi_score(np.vstack([history, row])) / vendi_score(history)) for row in new]
    assert marginal_vendi(new, history) == pytest.approx(direct, abs=1e-7)


def test_it_does_not_fade_as_the_history_grows() -> None:
    """Ten times the same history: the limit -phi' log(C) phi - H(C) is near, and both are near it."""
    history, new = unit_rows(40, 4, seed=0), unit_rows(5, 4, seed=1)
    eigenvalues, vectors = np.linalg.eigh(history.T @ history / len(history))
    entropy = -(eigenvalues * np.log(eigenvalues)).sum()
    limit = -(np.square(new @ vectors) @ np.log(eigenvalues)) - entropy
    assert marginal_vendi(new, np.tile(history, (10, 1))) == pytest.approx(limit.tolist(), abs=0.01)
    assert marginal_vendi(new, history) == pytest.approx(limit.tolist(), abs=0.1)


def test_without_a_history_nothing_is_added() -> None:
    """The first batch of a run scores 0, like every term."""
    assert marginal_vendi(np.eye(2), np.zeros((0, 2))).tolist() == [0, 0]
    assert marginal_vendi(np.zeros((0, 2)), np.eye(2)).tolist() == []
