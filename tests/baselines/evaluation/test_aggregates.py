import math

import numpy as np
import pytest

from duologue.baselines.evaluation.aggregates import aggregate, aggregate_all, interquartile_mean, optimality_gap
from duologue.baselines.evaluation.intervals import mean_interval


def test_the_interval_of_five_runs_covers_what_it_says() -> None:
    """Five runs of six tasks: of 400 intervals 95 % hold the interquartile mean of all runs that might be.

    Percentiles of the bootstrap held it in 90 %: intervals of seeds were sold as 95 %.
    """
    rng, means, covered = np.random.default_rng(0), np.linspace(0.1, 0.6, 6), 0
    truth = interquartile_mean(means + 0.1 * rng.standard_normal((200_000, 6)))
    for table in means + 0.1 * rng.standard_normal((400, 5, 6)):
        found = aggregate(table, rng, num_resamples=200)
        covered += found.low <= truth <= found.high
    assert 0.93 <= covered / 400 <= 0.98


def test_the_interval_stays_among_the_scores_whatever_ties_there_are() -> None:
    """Most runs of two tasks babble alike, as in a referential game: their spread says next to nothing."""
    rng = np.random.default_rng(0)
    for _ in range(20):
        scores = np.where(rng.random((5, 6)) < 0.7, 1.0, rng.random((5, 6)))
        found = aggregate(scores, rng, num_resamples=200)
        assert scores.min() <= found.low <= found.value <= found.high <= scores.max()


def test_equal_runs_have_an_interval_of_no_width_and_one_run_has_none() -> None:
    """One run tells nothing of how much runs vary."""
    assert aggregate([[1.0, 3.0]] * 5, np.random.default_rng(0), num_resamples=20) == (2.0, 2.0, 2.0)
    assert aggregate([[1.0, 3.0]], np.random.default_rng(0), num_resamples=20) == (2.0, -math.inf, math.inf)
    middle = [[0.0, 0.5], [0.5, 0.5], [0.5, 0.5], [0.5, 1.0]]  # the middle half does not vary, the rest does
    found = aggregate(middle, np.random.default_rng(0), num_resamples=200)
    assert found.low <= found.value == 0.5 <= found.high


def test_the_interval_of_a_mean_is_students() -> None:
    """Of normal scores of one task it is Student's, up to its luck: 20 runs, half width 2.093 s / sqrt(20)."""
    scores = np.random.default_rng(5).standard_normal((20, 1))
    found = aggregate(scores, np.random.default_rng(0), statistic=lambda table: float(table.mean()), num_resamples=1000)
    exact = mean_interval(scores[:, 0].tolist())
    assert found.half_width == pytest.approx(exact.half_width, rel=0.15)
    assert found.value == pytest.approx(exact.value)


def test_another_statistic_and_level() -> None:
    """The interval of the optimality gap at 50 % lies inside that at 95 %."""
    scores = np.random.default_rng(0).random((6, 3))
    wide, narrow = (
        aggregate(scores, np.random.default_rng(1), statistic=optimality_gap, confidence=level) for level in (0.95, 0.5)
    )
    assert wide.value == narrow.value == pytest.approx(optimality_gap(scores))
    assert wide.low < narrow.low < narrow.high < wide.high
    with pytest.raises(ValueError, match="confidence"):
        aggregate(scores, np.random.default_rng(1), confidence=95)


def test_adding_an_algorithm_changes_no_other_interval() -> None:
    """Each has a generator of its own; tables of different tasks are refused."""
    rng = np.random.default_rng(0)
    first, second = rng.random((5, 3)), rng.random((7, 3))
    alone, both = aggregate_all({"a": first}, seed=3), aggregate_all({"b": second, "a": first}, seed=3)
    assert alone["a"] == both["a"]
    with pytest.raises(ValueError, match="the same tasks for all"):
        aggregate_all({"a": first, "b": second[:, :2]}, seed=3)
