import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import ArrayLike
from scipy.stats import trim_mean

from duologue.baselines.evaluation.aggregates import (
    interquartile_mean,
    optimality_gap,
    performance_profile,
    stratified_bootstrap,
)


def test_the_interquartile_mean_by_hand() -> None:
    """0 1 2 3 4 5 6 100 without two at each end: (2 + 3 + 4 + 5) / 4, whatever the outlier is."""
    for outlier in (100.0, 1e9):
        scores: ArrayLike = [[0.0, outlier], [1.0, 6.0], [2.0, 5.0], [3.0, 4.0]]
        assert interquartile_mean(scores) == 3.5
    assert interquartile_mean([[1], [2], [9]]) == 4  # a quarter of 3, rounded down, is nobody


@given(scores=st.lists(st.floats(-10, 10), min_size=1, max_size=40))
def test_the_interquartile_mean_is_scipys_trimmed_mean(scores: list[float]) -> None:
    """The definition of the paper's own code: 25 % trimmed from each end of all scores."""
    expected = float(trim_mean(scores, proportiontocut=0.25))
    assert interquartile_mean([scores]) == pytest.approx(expected, abs=1e-9)


def test_the_optimality_gap_by_hand() -> None:
    """Short by 1, 0.5 and 0 of the target 1; what exceeds it does not make up for the rest."""
    assert optimality_gap([[0.0], [0.5], [3.0]]) == pytest.approx(0.5)


def test_a_profile_falls_from_1_to_0() -> None:
    """By hand: of 0.2, 0.4, 0.6, 0.8 three exceed 0.2."""
    assert performance_profile([[0.2, 0.4], [0.6, 0.8]], [0.0, 0.2, 0.5, 0.8]).tolist() == [1, 0.75, 0.5, 0]


def test_resamples_stay_within_their_task() -> None:
    """Strata: runs of one task are all 0 and of the other all 1, so that every resample has the same mean."""
    means = stratified_bootstrap([[0, 1], [0, 1], [0, 1]], lambda x: float(x.mean()), np.random.default_rng(0))
    assert means.tolist() == [0.5] * 2000


def test_tasks_are_resampled_apart() -> None:
    """The variance of the mean of two tasks is the sum of theirs by 4: half of what whole rows would give."""
    scores = [[k, k] for k in range(10)]
    spread = stratified_bootstrap(scores, lambda x: float(x.mean()), np.random.default_rng(0), num_resamples=4000).var()
    assert spread == pytest.approx(np.var(range(10)) / 10 / 2, rel=0.1)


def test_what_is_no_table_of_scores_is_refused() -> None:
    """One axis for runs and one for tasks; a run that failed has no number."""
    with pytest.raises(ValueError, match=r"shape \(runs, tasks\)"):
        interquartile_mean([1.0, 2.0])
    with pytest.raises(ValueError, match="finite"):
        interquartile_mean([[1.0, float("nan")]])
