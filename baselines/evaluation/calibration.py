"""How far the numbers of a judge or a reward model can be believed: accuracy, confusion, calibration.

A judge says how probable it is that an exchange is unsafe, and is held against labels. A reward model says how probable
it is that one reply is preferred to another, sigmoid(r(x, y_w) - r(x, y_l)), and is held against people's choices: next
to chance, and next to a rule that knows nothing but which reply is longer, because people's choices go with length.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit
from scipy.stats import rankdata

from ...envs.judging import Exchange, Judge, Outcome
from ..reporting.plots import plot_curves
from ..reporting.tables import markdown_table
from .confusion import ConfusionMatrix, confusion
from .intervals import Estimate, wilson_interval

ABOUT_EQUAL = 0.2
"""Two replies are about equally long if their lengths differ by at most this share of the longer one."""

RATES = (0.05, 0.1, 0.25, 0.5, 0.75)
"""What a judge might report; a page shows what each is corrected to."""

Numbers = Sequence[float] | NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Share:
    """How many of a number of trials came out right.

    >>> Share(6, 10).value, [round(bound, 3) for bound in Share(6, 10).interval]
    (0.6, [0.313, 0.832])
    """

    num_right: int
    count: int

    @property
    def value(self) -> float:
        """The share, 0 to 1; NaN without trials."""
        return self.num_right / self.count if self.count else float("nan")

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's 95 % interval."""
        return wilson_interval(self.num_right, self.count)

    def __str__(self) -> str:
        """Return percent, interval and trials, as in tables."""
        low, high = self.interval
        return f"{100 * self.value:.1f} % ({100 * low:.1f} to {100 * high:.1f}, n = {self.count})"


@dataclass(frozen=True, slots=True)
class ReliabilityBin:
    """The predictions between two probabilities, and what came true of them."""

    low: float
    high: float
    """The bin is [low, high), the last one [low, high]."""
    mean_probability: float
    """Of the predictions; NaN without any."""
    observed: Share
    """How many came true."""


@dataclass(frozen=True, slots=True)
class Reliability:
    """A reliability curve: the share that came true by predicted probability (DeGroot & Fienberg, 1983)."""

    bins: tuple[ReliabilityBin, ...]
    log_loss_nats: float
    """Mean of -log of the probability given to what came true; always to say 1/2 is log 2."""

    @property
    def count(self) -> int:
        """Predictions."""
        return sum(bin_.observed.count for bin_ in self.bins)

    @property
    def expected_calibration_error(self) -> float:
        """Mean over predictions of |share that came true - mean probability| of their bin, 0 to 1.

        Guo et al. (2017), equation 3. It depends on the bins, and is above 0 by chance alone.
        """
        filled = [bin_ for bin_ in self.bins if bin_.observed.count]
        gaps = [bin_.observed.count * abs(bin_.observed.value - bin_.mean_probability) for bin_ in filled]
        return sum(gaps) / self.count

    def table(self) -> str:
        """Return the curve as Markdown, a row for each bin that has predictions."""
        rows = [
            [f"{bin_.low:.2f} to {bin_.high:.2f}", f"{bin_.mean_probability:.3f}", str(bin_.observed)]
            for bin_ in self.bins
            if bin_.observed.count
        ]
        return markdown_table(["predicted", "mean", "came true"], rows)

    def plot(self, path: str | Path, *, title: str = "Reliability") -> None:
        """Draw the curve beside the diagonal as a PNG file."""
        filled = [bin_ for bin_ in self.bins if bin_.observed.count]
        ends = (self.bins[0].low, self.bins[-1].high)
        curve = [bin_.mean_probability for bin_ in filled], [bin_.observed.value for bin_ in filled]
        series = {"model": curve, "calibrated": (ends, ends)}
        plot_curves(series, path, title=title, x_label="predicted probability", y_label="came true", percent=True)


@dataclass(frozen=True, slots=True)
class JudgeReport:
    """What a judge's probabilities are worth on labelled exchanges; unusable ones are counted in `confusion` alone."""

    confusion: ConfusionMatrix
    reliability: Reliability
    """Of p_unsafe."""
    auc: Estimate | None
    """See `area_under_curve`; None for a judge that gives no probabilities, or where a label is missing."""

    def table(self) -> str:
        """Return all numbers as Markdown."""
        matrix = self.confusion
        auc = "-" if self.auc is None else f"{self.auc.value:.3f} ({self.auc.low:.3f} to {self.auc.high:.3f})"
        rows = [
            ["unsafe: called unsafe, called safe", f"{matrix.true_unsafe}, {matrix.false_safe}"],
            ["safe: called unsafe, called safe", f"{matrix.false_unsafe}, {matrix.true_safe}"],
            ["accuracy", str(Share(matrix.true_unsafe + matrix.true_safe, matrix.num_unsafe + matrix.num_safe))],
            ["sensitivity: unsafe, called unsafe", str(Share(matrix.true_unsafe, matrix.num_unsafe))],
            ["specificity: safe, called safe", str(Share(matrix.true_safe, matrix.num_safe))],
            ["unusable verdicts", str(matrix.unusable)],
            ["area under the curve (chance: 0.5)", auc],
            *_calibration_rows(self.reliability),
        ]
        return f"{markdown_table(['judge', 'value'], rows)}\n\n{self.reliability.table()}\n"

    def page(self) -> str:
        """Return the same, with what rates of as many exchanges would be corrected to."""
        matrix = self.confusion
        n = matrix.num_unsafe + matrix.num_safe
        both = ((rate, matrix.corrected_estimate(rate, n), matrix.difference_estimate(rate, n)) for rate in RATES)
        rows = [[f"{100 * rate:.0f}", *map(_corrected, estimates)] for rate, *estimates in both]
        header = ["reported, %", "Rogan and Gladen, %", "difference estimator, %"]
        note = f"What a rate that the judge reports of {n} exchanges is corrected to, with 95 % intervals:"
        return f"{self.table()}\n{note}\n\n{markdown_table(header, rows)}\n"

    def json(self) -> dict[str, object]:
        """Return all numbers; each rate with the two ends of its interval."""
        matrix = self.confusion
        return {
            "confusion": matrix,
            "accuracy": [matrix.accuracy, *matrix.accuracy_interval],
            "sensitivity": [matrix.sensitivity, *matrix.sensitivity_interval],
            "specificity": [matrix.specificity, *matrix.specificity_interval],
            "auc": None if self.auc is None else list(self.auc),
            "reliability": self.reliability,
        }


@dataclass(frozen=True, slots=True)
class PairReport:
    """What a reward model's order of replies is worth on pairs that people ordered; chance is 1/2."""

    accuracy: Share
    """Pairs in which the chosen reply has the higher reward; a tie is not right."""
    num_ties: int
    """Pairs with equal rewards."""
    length_accuracy: Share
    """The same of the rule "the longer is better", or of its opposite, on the pairs whose lengths differ."""
    prefers_longer: bool
    """Which rule; learnt elsewhere."""
    accuracy_at_equal_length: Share
    """Of the reward model on the pairs of about equal length (`ABOUT_EQUAL`), where length tells little."""
    accuracy_against_length: Share
    """Of the reward model on the pairs that the rule on length gets wrong; one that has learnt length alone has 0."""
    reliability: Reliability
    """Of the probability that the reply with the higher reward is the chosen one, 1/2 to 1."""

    def table(self) -> str:
        """Return all numbers as Markdown."""
        rule = "longer" if self.prefers_longer else "shorter"
        rows = [
            ["accuracy (chance: 50 %)", str(self.accuracy)],
            ["ties", str(self.num_ties)],
            [f"the {rule} reply is better: accuracy", str(self.length_accuracy)],
            ["accuracy at about equal length", str(self.accuracy_at_equal_length)],
            ["accuracy where length misleads", str(self.accuracy_against_length)],
            *_calibration_rows(self.reliability),
        ]
        return f"{markdown_table(['reward model', 'value'], rows)}\n\n{self.reliability.table()}\n"


def reliability(
    probabilities: Numbers, outcomes: Sequence[bool] | NDArray[np.bool_], *, num_bins: int = 10, low: float = 0.0
) -> Reliability:
    """Return the reliability curve of predictions.

    Args:
        probabilities: (n,), each in [low, 1].
        outcomes: (n,), whether it came true.
        num_bins: how many bins of equal width there are.
        low: where the first bin begins, such as 1/2 for the probability of the likelier of two.

    Raises:
        ValueError: shapes that differ, nothing at all, or a number that is no such probability.
    """
    p, true = np.asarray(probabilities, dtype=np.float64), np.asarray(outcomes, dtype=bool)
    if p.shape != true.shape or p.ndim != 1 or not len(p):
        raise ValueError(f"outcomes: expected one for each of at least one probability, got {true.shape} for {p.shape}")
    if not (low <= p.min() and p.max() <= 1):  # false for NaN as well
        raise ValueError(f"probabilities: expected numbers in [{low}, 1], got {p.min()} to {p.max()}")
    edges = np.linspace(low, 1.0, num_bins + 1)
    which = np.clip(np.searchsorted(edges, p, side="right") - 1, 0, num_bins - 1)
    bins = []
    for k in range(num_bins):
        inside = which == k
        mean = float(p[inside].mean()) if inside.any() else float("nan")
        observed = Share(int(true[inside].sum()), int(inside.sum()))
        bins.append(ReliabilityBin(float(edges[k]), float(edges[k + 1]), mean, observed))
    with np.errstate(divide="ignore"):  # a sure prediction that fails costs infinitely much
        loss = -float(np.log(np.where(true, p, 1 - p)).mean())
    return Reliability(tuple(bins), loss)


def judge_report(
    judge: Judge, exchanges: Sequence[Exchange], unsafe: Sequence[bool], *, num_bins: int = 10
) -> JudgeReport:
    """Return what a judge is worth on exchanges of which `unsafe` tells the truth; the judge reads them once.

    Its rewards are p_safe - p_unsafe, as those of `agents/judges/learned.py` are.

    Raises:
        ValueError: another number of labels, or no verdict was usable.
    """
    verdicts = judge(exchanges)
    matrix = confusion(lambda _: verdicts, exchanges, unsafe)
    pairs = zip(verdicts, unsafe, strict=True)
    usable = [((1 - verdict.reward) / 2, label) for verdict, label in pairs if verdict.outcome is not Outcome.UNUSABLE]
    if not usable:
        raise ValueError(f"judge: expected a usable verdict, got none on {len(exchanges)} exchanges")
    p_unsafe, labels = [p for p, _ in usable], [label for _, label in usable]
    graded = len(set(labels)) == 2 and not set(p_unsafe) <= {0.0, 1.0}
    auc = area_under_curve(p_unsafe, labels) if graded else None
    return JudgeReport(matrix, reliability(p_unsafe, labels, num_bins=num_bins), auc)


def area_under_curve(scores: Numbers, labels: Sequence[bool] | NDArray[np.bool_]) -> Estimate:
    """Return the probability that an unsafe exchange scores higher than a safe one, a tie being half.

    The 95 % interval is normal with the variance of DeLong et al. (1988), which takes the exchanges as independent, and
    is cut to [0, 1]: exchanges that share a prompt are not, so that it is too narrow for them.

    >>> round(area_under_curve([0.9, 0.4, 0.5, 0.1], [True, True, False, False]).value, 2)
    0.75

    Args:
        scores: (n,), higher where it is more likely unsafe.
        labels: (n,), whether it is unsafe.

    Raises:
        ValueError: shapes that differ, or one label is missing.
    """
    values, unsafe = np.asarray(scores, dtype=np.float64), np.asarray(labels, dtype=bool)
    m, n = int(unsafe.sum()), int((~unsafe).sum())
    if values.shape != unsafe.shape or not (m and n):
        raise ValueError(f"labels: expected both for {values.shape} scores, got {m} unsafe and {n} safe")
    ranks = rankdata(values)
    above = (ranks[unsafe] - rankdata(values[unsafe])) / n  # of each unsafe one: the share of safe ones below it
    below = 1 - (ranks[~unsafe] - rankdata(values[~unsafe])) / m
    value = float(above.mean())
    variance = sum(float(part.var(ddof=1)) / len(part) for part in (above, below) if len(part) > 1)
    spread = 1.96 * math.sqrt(variance)
    return Estimate(value, max(0.0, value - spread), min(1.0, value + spread))


def pair_report(
    chosen_rewards: Numbers,
    rejected_rewards: Numbers,
    chosen_lengths: Numbers,
    rejected_lengths: Numbers,
    *,
    prefers_longer: bool,
    num_bins: int = 5,
) -> PairReport:
    """Return what rewards are worth on pairs that people ordered.

    Args:
        chosen_rewards: (n,), of the replies that people chose.
        rejected_rewards: (n,), of the others.
        chosen_lengths: (n,), in characters or tokens.
        rejected_lengths: (n,), likewise.
        prefers_longer: the rule on length to compare with; see `longer_is_preferred`, and ask it of other pairs.
        num_bins: bins of the reliability curve, from 1/2 to 1.

    Raises:
        ValueError: shapes that differ, no pair, or a reward that is not finite.
    """
    columns = (chosen_rewards, rejected_rewards, chosen_lengths, rejected_lengths)
    won, lost, long, short = (np.asarray(column, dtype=np.float64) for column in columns)
    if won.ndim != 1 or not len(won) or {lost.shape, long.shape, short.shape} != {won.shape}:
        shapes = ", ".join(str(column.shape) for column in (won, lost, long, short))
        raise ValueError(f"pairs: expected four columns of one length, at least 1, got {shapes}")
    margins, longer = won - lost, long - short
    if not np.isfinite(margins).all():
        raise ValueError(f"rewards: expected finite numbers, got {int((~np.isfinite(margins)).sum())} that are not")
    right, by_length = margins > 0, (longer > 0) == prefers_longer
    differ = longer != 0
    equal = np.abs(longer) <= ABOUT_EQUAL * np.maximum(long, short)
    confidence = expit(np.abs(margins))
    return PairReport(
        accuracy=_share(right),
        num_ties=int((margins == 0).sum()),
        length_accuracy=_share(by_length[differ]),
        prefers_longer=prefers_longer,
        accuracy_at_equal_length=_share(right[equal]),
        accuracy_against_length=_share(right[differ & ~by_length]),
        reliability=reliability(confidence, right, num_bins=num_bins, low=0.5),
    )


def longer_is_preferred(chosen_lengths: Numbers, rejected_lengths: Numbers) -> bool:
    """Return which rule on length orders more pairs as people did; ask it of pairs to learn from, not of the tested."""
    longer = np.asarray(chosen_lengths, dtype=np.float64) - np.asarray(rejected_lengths, dtype=np.float64)
    return bool((longer > 0).sum() >= (longer < 0).sum())


def _corrected(rate: Estimate) -> str:
    return "-" if math.isnan(rate.value) else f"{100 * rate.value:.1f} ({100 * rate.low:.1f} to {100 * rate.high:.1f})"


def _share(right: NDArray[np.bool_]) -> Share:
    return Share(int(right.sum()), len(right))


def _calibration_rows(curve: Reliability) -> list[list[str]]:
    return [
        ["log loss, nats (always 1/2: 0.693)", f"{curve.log_loss_nats:.3f}"],
        ["expected calibration error", f"{curve.expected_calibration_error:.3f}"],
    ]
