import numpy as np
import pytest

from duologue.baselines.evaluation.aggregates import aggregate, aggregate_all, optimality_gap


def test_the_interval_covers_the_mean_of_a_known_distribution() -> None:
    """A uniform score has the interquartile mean 1/2: of 100 intervals of 10 runs on 4 tasks at least 85 hold it."""
    rng, covered = np.random.default_rng(0), 0
    for _ in range(100):
        found = aggregate(rng.random((10, 4)), rng, num_resamples=100)
        covered += found.low <= 0.5 <= found.high
        assert found.low <= found.value <= found.high
    assert covered >= 85


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
