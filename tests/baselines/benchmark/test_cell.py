"""One cell's curve: where the last iterate is, told of many updates and not of one."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from duologue.baselines.benchmark.cell import BenchSettings, CurvePoint, Measured, excursions, late_shortfall
from duologue.baselines.two_player.measured import last_fifth


def curve(iterations: Sequence[int], shortfalls: Sequence[float]) -> list[CurvePoint]:
    """Return a curve whose newest players have these shortfalls; its averages have another."""
    average = Measured(nash_conv=9.0, returns=(0.0, 0.0), shortfall=9.0)
    return [
        CurvePoint(iteration, Measured(nash_conv=7.0, returns=(0.0, 0.0), shortfall=shortfall), average)
        for iteration, shortfall in zip(iterations, shortfalls, strict=True)
    ]


def test_the_last_iterate_is_the_mean_over_the_last_fifth() -> None:
    """By hand: of 10 updates the last fifth is the 9th and the 10th; the 8th, at 4/5, is no part of it."""
    training = curve(range(1, 11), [1, 1, 1, 1, 1, 1, 1, 1, 0.3, 0.1])
    assert [point.iteration for point in last_fifth(training)] == [9, 10]
    assert late_shortfall(training) == pytest.approx(0.2)


def test_points_need_not_be_evenly_spaced() -> None:
    """Measured every 6 of 60 updates, and every 3 in the last fifth: 51, 54, 57 and 60 are told, 48 is not."""
    training = curve([6, 12, 18, 24, 30, 36, 42, 48, 51, 54, 57, 60], [5] * 8 + [0.0, 0.2, 0.0, 0.2])
    assert late_shortfall(training) == pytest.approx(0.1)


def test_excursions_are_the_late_points_beyond_the_threshold() -> None:
    """One beside the equilibrium is none; one thrown out of it is, whatever the last point says."""
    training = curve(range(1, 11), [1] * 8 + [0.25, 0.002])
    assert excursions(training) == 1
    assert excursions(training, threshold=0.25) == 0
    assert excursions(training, threshold=0.001) == 2


def test_a_curve_of_one_point_is_its_own_last_fifth_and_an_empty_one_is_told() -> None:
    """A curve of the smoke suite has a single point."""
    assert late_shortfall(curve([6], [0.4])) == 0.4
    with pytest.raises(ValueError, match="points: expected at least one, got none"):
        late_shortfall([])


def test_the_last_fifth_is_measured_more_often() -> None:
    """The published suite has 60 updates: every 6th, and from the 49th on every 2nd, six points in all there."""
    settings = BenchSettings(num_updates=60, batch_size=64)
    measured = [iteration for iteration in range(1, 61) if settings.is_measured(iteration)]
    assert measured == [6, 12, 18, 24, 30, 36, 42, 48, 50, 52, 54, 56, 58, 60]
