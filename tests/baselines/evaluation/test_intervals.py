import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from duologue.baselines.evaluation import mean_interval, wilson_interval


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_gives_newcombes_table(successes: int, n: int, low: float, high: float) -> None:
    """Newcombe (1998), Statistics in Medicine 17, 857-872, table I, method 3."""
    assert wilson_interval(successes, n) == pytest.approx((low, high), abs=5e-5)


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_agrees_with_scipy_and_mirrors(case: tuple[int, int]) -> None:
    """An independent implementation; failures are successes seen from the other side."""
    successes, n = case
    low, high = wilson_interval(successes, n)
    expected = stats.binomtest(successes, n).proportion_ci(0.95, method="wilson")
    assert (low, high) == pytest.approx((expected.low, expected.high), abs=1e-12)
    assert low <= successes / n <= high
    assert wilson_interval(n - successes, n) == pytest.approx((1 - high, 1 - low), abs=1e-12)


def test_no_trials_tell_nothing_and_impossible_counts_are_named() -> None:
    """The widest interval, not an error: an excluded set may be empty."""
    assert wilson_interval(0, 0) == (0.0, 1.0)
    with pytest.raises(ValueError, match="expected 0 to n=3, got 4"):
        wilson_interval(4, 3)


def test_students_interval_of_five_seeds() -> None:
    """By hand: mean 3, standard deviation sqrt(2.5), t(0.975, 4) = 2.776445."""
    estimate = mean_interval([1.0, 2.0, 3.0, 4.0, 5.0])
    assert estimate.value == 3
    assert estimate.half_width == pytest.approx(2.776445 * math.sqrt(2.5 / 5), abs=1e-6)
    assert estimate.high - 3 == pytest.approx(3 - estimate.low)


def test_one_seed_has_no_finite_interval_and_none_is_an_error() -> None:
    """A single number says nothing of the spread."""
    assert mean_interval([0.25]) == (0.25, -math.inf, math.inf)
    with pytest.raises(ValueError, match="at least one"):
        mean_interval([])


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_value_that_is_no_number_has_no_mean(value: float) -> None:
    """It would be shown as a mean of nan ± nan."""
    with pytest.raises(ValueError, match=r"values: expected finite numbers, got (nan|inf)"):
        mean_interval([0.5, value])


@pytest.mark.parametrize("confidence", [0, 1, 2, -1, math.nan, math.inf, "0.9", True])
def test_a_confidence_is_a_share(confidence: float) -> None:
    """At 1 an interval has no ends, beyond it they are NaN, and below 0 the low one is above the high one."""
    for call in (
        lambda: mean_interval([1.0, 2.0], confidence=confidence),
        lambda: wilson_interval(1, 2, confidence=confidence),
    ):
        with pytest.raises(ValueError, match=r"confidence: expected a number in \(0, 1\), got"):
            call()
