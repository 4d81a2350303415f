"""PFSP: known answers, and what holds of any win rates."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from duologue.baselines.two_player.matchmaking import PFSPWeighting, pfsp_probabilities

RATES = np.array([0.0, 0.5, 0.75, 1.0])


@pytest.mark.parametrize(
    ("weighting", "power", "expected"),
    [
        ("hard", 1.0, [4 / 7, 2 / 7, 1 / 7, 0]),
        ("hard", 2.0, [16 / 21, 4 / 21, 1 / 21, 0]),
        ("var", 1.0, [0, 4 / 7, 3 / 7, 0]),
    ],
)
def test_probabilities_by_hand(weighting: PFSPWeighting, power: float, expected: list[float]) -> None:
    """f_hard = (1 - x)^p, f_var = x (1 - x), algorithms.md 5.1: e.g. 1, 1/2, 1/4, 0 over 7/4."""
    assert pfsp_probabilities(RATES, weighting=weighting, power=power).tolist() == pytest.approx(expected)


@pytest.mark.parametrize(("weighting", "rate"), [("hard", 1.0), ("var", 1.0), ("var", 0.0)])
def test_without_weight_all_are_alike(weighting: PFSPWeighting, rate: float) -> None:
    """Where everyone has been beaten for good, somebody must still be met."""
    assert pfsp_probabilities(np.full(4, rate), weighting=weighting).tolist() == [0.25] * 4


@given(st.lists(st.floats(0, 1), min_size=2, max_size=6), st.floats(0.5, 4))
def test_who_beats_us_more_is_met_no_less(rates: list[float], power: float) -> None:
    """Probabilities sum to 1 and, by "hard", fall with the win rate."""
    found = pfsp_probabilities(np.array(rates), power=power)
    assert found.sum() == pytest.approx(1)
    assert (np.diff(found[np.argsort(rates, kind="stable")]) <= 1e-12).all()


@pytest.mark.parametrize("rates", [[], [1.5], [-0.1, 0.2], [float("nan")]])
def test_win_rates_are_shares(rates: list[float]) -> None:
    """The error says what came."""
    with pytest.raises(ValueError, match="win_rates: expected numbers from 0 to 1, one an opponent, got"):
        pfsp_probabilities(np.array(rates))
