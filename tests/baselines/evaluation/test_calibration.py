"""Calibration: numbers worked out by hand, properties, and what is refused."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from duologue.baselines.evaluation.calibration import (
    Share,
    area_under_curve,
    judge_report,
    longer_is_preferred,
    pair_report,
    reliability,
)
from duologue.envs import WordVocabulary
from duologue.envs.judging import Exchange, Outcome, Verdict

WORDS = WordVocabulary("red blue yes no maybe")


def _exchanges(count: int) -> list[Exchange]:
    return [Exchange((8,), (9 + k % 4,), WORDS) for k in range(count)]


def test_the_curve_of_five_predictions_by_hand() -> None:
    """Bins [0, 1/2) and [1/2, 1]: means 0.2 and 0.8, 1 of 2 and 2 of 3 true, error (2 * 0.3 + 3 * 0.1333) / 5 = 0.2."""
    curve = reliability([0.1, 0.3, 0.5, 0.9, 1.0], [True, False, True, False, True], num_bins=2)
    assert [one.mean_probability for one in curve.bins] == pytest.approx([0.2, 0.8])
    assert [(one.low, one.high, one.observed) for one in curve.bins] == [(0, 0.5, Share(1, 2)), (0.5, 1, Share(2, 3))]
    assert curve.expected_calibration_error == pytest.approx(0.2)
    assert curve.log_loss_nats == pytest.approx(-np.log([0.1, 0.7, 0.5, 0.1, 1.0]).mean())


def test_a_calibrated_forecaster_has_almost_no_error_and_an_overconfident_one_has_its_excess() -> None:
    """Outcomes drawn with p: error near 0; the same told as 0 or 1: error mean(min(p, 1 - p)), 1/4 for uniform p."""
    rng = np.random.default_rng(0)
    p = rng.random(40_000)
    true = rng.random(40_000) < p
    assert reliability(p, true).expected_calibration_error < 0.02
    assert reliability(p.round(), true).expected_calibration_error == pytest.approx(0.25, abs=0.02)


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1), st.integers(1, 12))
def test_every_prediction_is_in_one_bin_that_holds_its_probability(
    predictions: list[tuple[float, bool]], num_bins: int
) -> None:
    """Property: counts and outcomes add up, bin means lie inside their bins, the error in [0, 1]."""
    p, true = [pair[0] for pair in predictions], [pair[1] for pair in predictions]
    curve = reliability(p, true, num_bins=num_bins)
    assert curve.count == len(p)
    assert sum(one.observed.num_right for one in curve.bins) == sum(true)
    filled = [one for one in curve.bins if one.observed.count]
    assert all(one.low - 1e-9 <= one.mean_probability <= one.high + 1e-9 for one in filled)
    assert 0 <= curve.expected_calibration_error <= 1


def test_a_judges_report_has_its_confusion_and_the_curve_of_its_usable_verdicts() -> None:
    """By hand: p_unsafe 0.9, 0.2, 0.6, 0.1 on labels 1, 1, 0, 0, and one unusable verdict that is in no rate."""
    probabilities = [0.9, 0.2, 0.6, 0.1]
    verdicts = [Verdict(1 - 2 * p, Outcome.UNSAFE if p >= 0.5 else Outcome.DEFLECTED) for p in probabilities]
    calls: list[int] = []

    def judge(exchanges: Sequence[Exchange]) -> list[Verdict]:
        calls.append(len(exchanges))
        return [*verdicts, Verdict(0.0, Outcome.UNUSABLE)]

    report = judge_report(judge, _exchanges(5), [True, True, False, False, True])
    matrix = report.confusion
    assert (matrix.true_unsafe, matrix.false_safe, matrix.false_unsafe, matrix.true_safe) == (1, 1, 1, 1)
    assert matrix.unusable == 1
    assert report.reliability.count == 4
    assert report.reliability.log_loss_nats == pytest.approx(-np.log([0.9, 0.2, 0.4, 0.9]).mean())
    assert calls == [5]
    assert "50.0 % (15.0 to 85.0, n = 4)" in report.table()
    assert report.auc is not None
    assert report.auc.value == 0.75  # of four pairs only (0.2, 0.6) is in the wrong order
    assert "0.750" in report.page()


def test_the_area_under_the_curve_is_the_share_of_pairs_in_order() -> None:
    """Against all pairs, ties being half; DeLong's variance against 2,000 bootstrap samples of each label."""
    rng = np.random.default_rng(0)
    labels = rng.random(300) < 0.3
    scores = np.round(rng.standard_normal(300) + labels, 1)
    found = area_under_curve(scores, labels)
    pairs = np.sign(scores[labels][:, None] - scores[~labels])
    assert found.value == pytest.approx((1 + pairs.mean()) / 2)
    draws = [
        (
            1
            + pairs[rng.integers(len(pairs), size=len(pairs))][
                :, rng.integers(pairs.shape[1], size=pairs.shape[1])
            ].mean()
        )
        / 2
        for _ in range(2000)
    ]
    assert found.half_width / 1.96 == pytest.approx(np.std(draws), rel=0.1)
    assert area_under_curve(-scores, labels).value == pytest.approx(1 - found.value)
    with pytest.raises(ValueError, match=r"labels: expected both for \(2,\) scores, got 2 unsafe and 0 safe"):
        area_under_curve([0.1, 0.2], [True, True])


def test_a_judge_that_says_yes_and_no_has_no_area_under_a_curve() -> None:
    """Two points are no curve: its sensitivity and specificity say all there is."""
    said = [Verdict(-1.0, Outcome.UNSAFE), Verdict(1.0, Outcome.DEFLECTED)]
    report = judge_report(lambda rows: said, _exchanges(2), [True, False])
    assert report.auc is None
    assert report.json()["auc"] is None


def test_four_pairs_by_hand() -> None:
    """Margins 2, -1, 0, 1; the rule "longer" is right on pair 0 only of the three whose lengths differ."""
    report = pair_report([2, 0, 1, 3], [0, 1, 1, 2], [10, 4, 7, 95], [5, 8, 7, 100], prefers_longer=True)
    assert (report.accuracy, report.num_ties) == (Share(2, 4), 1)
    assert report.length_accuracy == Share(1, 3)
    assert report.accuracy_at_equal_length == Share(1, 2)
    assert report.accuracy_against_length == Share(1, 2)
    expected = np.log1p(np.exp([-2.0, 1.0, 0.0, -1.0])).mean()
    assert report.reliability.log_loss_nats == pytest.approx(expected)
    assert report.reliability.bins[0].low == 0.5


def test_a_reward_that_is_the_length_is_no_better_than_the_rule_on_length() -> None:
    """Its accuracy is the rule's, and 0 where the rule is wrong: what the comparison is there to show."""
    rng = np.random.default_rng(0)
    long, short = rng.integers(1, 100, 200).astype(float), rng.integers(1, 80, 200).astype(float)
    differ = long != short
    report = pair_report(long[differ], short[differ], long[differ], short[differ], prefers_longer=True)
    assert report.accuracy == report.length_accuracy
    assert report.accuracy_against_length.num_right == 0 < report.accuracy_against_length.count
    opposite = pair_report(long[differ], short[differ], long[differ], short[differ], prefers_longer=False)
    assert opposite.length_accuracy.num_right == differ.sum() - report.length_accuracy.num_right
    assert longer_is_preferred(long, short)
    assert not longer_is_preferred(short, long)


@given(st.lists(st.tuples(st.floats(-5, 5), st.floats(-5, 5), st.floats(-9, 9)), min_size=1, max_size=20))
def test_a_number_per_prompt_added_to_both_rewards_changes_nothing(rows: list[tuple[float, float, float]]) -> None:
    """Property of Bradley-Terry: only differences of replies to one prompt count."""
    won, lost, shift = (np.array(column).round(2) for column in zip(*rows, strict=True))
    lengths = (np.ones(len(rows)), np.ones(len(rows)))
    plain = pair_report(won, lost, *lengths, prefers_longer=True)
    moved = pair_report(won + 8 * shift.round(), lost + 8 * shift.round(), *lengths, prefers_longer=True)
    assert moved.reliability.log_loss_nats == pytest.approx(plain.reliability.log_loss_nats, abs=1e-9)
    assert abs(moved.accuracy.num_right - plain.accuracy.num_right) <= (np.abs(won - lost) < 1e-9).sum()


def test_the_report_is_a_table_and_a_picture(tmp_path: Path) -> None:
    """The table names chance, the rule and the intervals; the picture is a PNG file."""
    report = pair_report([1.0] * 6, [0.0] * 6, [3.0] * 6, [2.0] * 6, prefers_longer=False)
    table = report.table()
    assert "| accuracy (chance: 50 %)               | 100.0 % (61.0 to 100.0, n = 6) |" in table
    assert "the shorter reply is better" in table
    assert "0.50 to 0.60" not in table
    report.reliability.plot(tmp_path / "curve.png")
    assert (tmp_path / "curve.png").read_bytes()[:4] == b"\x89PNG"


def test_shares_of_nothing_are_not_a_number() -> None:
    """No trials, no share; the interval is all there is."""
    assert math.isnan(Share(0, 0).value)
    assert Share(0, 0).interval == (0.0, 1.0)


def test_what_cannot_be_reported_is_refused() -> None:
    """Each error names what was expected and what came."""
    with pytest.raises(ValueError, match=r"probabilities: expected numbers in \[0.0, 1\], got nan"):
        reliability([0.5, float("nan")], [True, False])
    with pytest.raises(ValueError, match=r"probabilities: expected numbers in \[0.5, 1\], got 0.2"):
        reliability([0.2], [True], low=0.5)
    with pytest.raises(ValueError, match="outcomes: expected one for each"):
        reliability([], [])
    with pytest.raises(ValueError, match="rewards: expected finite numbers, got 1 that are not"):
        pair_report([math.inf], [0], [1], [1], prefers_longer=True)
    with pytest.raises(ValueError, match=r"pairs: expected four columns of one length, at least 1, got \(2,\), \(1,\)"):
        pair_report([1, 2], [0], [1], [1], prefers_longer=True)
    with pytest.raises(ValueError, match="judge: expected a usable verdict, got none on 2 exchanges"):
        judge_report(lambda rows: [Verdict(0.0, Outcome.UNUSABLE) for _ in rows], _exchanges(2), [True, False])
    with pytest.raises(ValueError, match="unsafe: expected 2 labels"):
        judge_report(lambda rows: [Verdict(0.0, Outcome.UNSAFE) for _ in rows], _exchanges(2), [True])
