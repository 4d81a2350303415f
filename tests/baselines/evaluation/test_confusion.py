"""The confusion matrix of a judge and the rates corrected by it."""

import math
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from duologue.baselines.evaluation.confusion import ConfusionMatrix, confusion
from duologue.envs import WordVocabulary
from duologue.envs.judging import Exchange, Outcome, Verdict

WORDS = WordVocabulary("safe unsafe unusable")


def _say(exchanges: Sequence[Exchange]) -> list[Verdict]:
    outcomes = {"safe": Outcome.HELPFUL, "unsafe": Outcome.UNSAFE, "unusable": Outcome.UNUSABLE}
    return [Verdict(0.0, outcomes[exchange.reply_text]) for exchange in exchanges]


def test_each_pair_of_label_and_verdict_has_its_count() -> None:
    """Counted by hand."""
    said = "unsafe unsafe safe unsafe safe safe safe unusable".split()
    truth = [True, True, True, False, False, False, False, True]
    matrix = confusion(_say, [Exchange((), WORDS.encode(word), WORDS) for word in said], truth)
    assert matrix == ConfusionMatrix(true_unsafe=2, false_safe=1, false_unsafe=1, true_safe=3, unusable=1)
    assert (matrix.sensitivity, matrix.specificity) == (2 / 3, 3 / 4)
    assert matrix.accuracy == 5 / 7


@given(rate=st.floats(0, 1), sensitivity=st.integers(51, 100), specificity=st.integers(50, 100))
def test_the_correction_undoes_the_judges_errors(rate: float, sensitivity: int, specificity: int) -> None:
    """The reported rate is se * rate + (1 - sp) (1 - rate): Rogan and Gladen (1978)."""
    matrix = ConfusionMatrix(sensitivity, 100 - sensitivity, 100 - specificity, specificity)
    reported = matrix.sensitivity * rate + (1 - matrix.specificity) * (1 - rate)
    assert matrix.corrected_rate(reported) == pytest.approx(rate, abs=1e-9)


def test_a_judge_no_better_than_chance_corrects_nothing() -> None:
    """At se + sp = 1 the reported rate does not depend on the true one."""
    assert math.isnan(ConfusionMatrix(30, 70, 30, 70).corrected_rate(0.3))
    assert math.isnan(ConfusionMatrix(0, 0, 1, 2).corrected_rate(0.3))


def test_intervals_hold_their_rates() -> None:
    """Each interval belongs to the rate of its name."""
    matrix = ConfusionMatrix(40, 10, 5, 45)
    for rate, (low, high) in (
        (matrix.accuracy, matrix.accuracy_interval),
        (matrix.sensitivity, matrix.sensitivity_interval),
        (matrix.specificity, matrix.specificity_interval),
    ):
        assert low < rate < high


def test_every_exchange_needs_a_label() -> None:
    """The error counts both."""
    with pytest.raises(ValueError, match="unsafe: expected 0 labels, one for each exchange, got 1"):
        confusion(_say, [], [True])


def test_a_corrected_rate_lies_in_an_interval_that_labels_and_exchanges_narrow() -> None:
    """By hand at se = sp = .9, p = .5: r = .5, the variance [.25 / n + 2 (.25) Var(.9)] / .64."""
    matrix = ConfusionMatrix(90, 10, 10, 90)
    found = matrix.corrected_estimate(0.5, 400)
    share = 92 / 104
    spread = 1.959964 * math.sqrt((0.25 / 400 + 0.5 * share * (1 - share) / 104) / 0.64)
    assert found == pytest.approx((0.5, 0.5 - spread, 0.5 + spread), abs=1e-6)
    assert ConfusionMatrix(900, 100, 100, 900).corrected_estimate(0.5, 400).half_width < found.half_width
    assert matrix.corrected_estimate(0.5, 4000).half_width < found.half_width
    assert math.isnan(ConfusionMatrix(30, 70, 30, 70).corrected_estimate(0.3, 10).value)
    assert ConfusionMatrix(10, 0, 0, 10).corrected_estimate(0.0, 10).high > 0  # none wrong of ten is not never wrong


def test_the_difference_estimator_adds_what_the_judge_misses() -> None:
    """By hand: of 20, 3 unsafe called safe and 1 safe called unsafe: + .1; truth - verdict has the mean square .2."""
    matrix = ConfusionMatrix(5, 3, 1, 11)
    spread = 1.959964 * math.sqrt(0.3 * 0.7 / 100 + (0.2 - 0.01) / 20)
    assert matrix.difference_estimate(0.3, 100) == pytest.approx((0.4, 0.4 - spread, 0.4 + spread), abs=1e-6)
    assert matrix.difference_estimate(0.95, 100).value == 1.0
    assert math.isnan(ConfusionMatrix(0, 0, 0, 0).difference_estimate(0.5, 10).value)
