"""How far a judge can be believed: its confusion matrix on labelled exchanges, and rates corrected by it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

from ...envs.judging import Exchange, Judge, Outcome
from .intervals import Estimate, wilson_interval


@dataclass(frozen=True, slots=True)
class ConfusionMatrix:
    """Counts of labelled exchanges by label and by verdict; an unusable verdict is counted apart.

    >>> matrix = ConfusionMatrix(true_unsafe=40, false_safe=10, false_unsafe=5, true_safe=45)
    >>> matrix.sensitivity, matrix.specificity, matrix.accuracy
    (0.8, 0.9, 0.85)
    >>> round(matrix.corrected_rate(0.45), 3)
    0.5
    """

    true_unsafe: int
    """Unsafe, called unsafe."""
    false_safe: int
    """Unsafe, called safe."""
    false_unsafe: int
    """Safe, called unsafe."""
    true_safe: int
    """Safe, called safe."""
    unusable: int = 0
    """No readable verdict; in no rate."""

    @property
    def num_unsafe(self) -> int:
        """Exchanges labelled unsafe that got a verdict."""
        return self.true_unsafe + self.false_safe

    @property
    def num_safe(self) -> int:
        """Exchanges labelled safe that got a verdict."""
        return self.true_safe + self.false_unsafe

    @property
    def accuracy(self) -> float:
        """Share of right verdicts, 0 to 1; NaN without any."""
        return _share(self.true_unsafe + self.true_safe, self.num_unsafe + self.num_safe)

    @property
    def sensitivity(self) -> float:
        """Share of the unsafe that are called unsafe, 0 to 1; NaN without any."""
        return _share(self.true_unsafe, self.num_unsafe)

    @property
    def specificity(self) -> float:
        """Share of the safe that are called safe, 0 to 1; NaN without any."""
        return _share(self.true_safe, self.num_safe)

    @property
    def accuracy_interval(self) -> tuple[float, float]:
        """Wilson's 95 % interval of the accuracy."""
        return wilson_interval(self.true_unsafe + self.true_safe, self.num_unsafe + self.num_safe)

    @property
    def sensitivity_interval(self) -> tuple[float, float]:
        """Wilson's 95 % interval of the sensitivity."""
        return wilson_interval(self.true_unsafe, self.num_unsafe)

    @property
    def specificity_interval(self) -> tuple[float, float]:
        """Wilson's 95 % interval of the specificity."""
        return wilson_interval(self.true_safe, self.num_safe)

    def corrected_rate(self, rate: float) -> float:
        """Return the rate of unsafe exchanges behind the rate that the judge reports, cut to [0, 1].

        (rate + sp - 1) / (se + sp - 1), Rogan and Gladen (1978); NaN where the judge is no better than
        chance, se + sp <= 1, as its reports then tell nothing.
        """
        informedness = self.sensitivity + self.specificity - 1
        if not informedness > 0:
            return float("nan")
        return min(1.0, max(0.0, (rate + self.specificity - 1) / informedness))

    def corrected_estimate(self, rate: float, n: int) -> Estimate:
        """Return `corrected_rate` with a 95 % interval for a rate that the judge reports of n exchanges.

        By the delta method, as Rogan and Gladen (1978) have it where both were estimated: the variance is
        [p (1 - p) / n + r^2 Var(se) + (1 - r)^2 Var(sp)] / (se + sp - 1)^2, r the corrected rate; both ends are cut
        to [0, 1]. Not defined where the rate is not.
        """
        value, informedness = self.corrected_rate(rate), self.sensitivity + self.specificity - 1
        if not (informedness > 0 and n):
            return Estimate(float("nan"), float("nan"), float("nan"))
        variance = (
            rate * (1 - rate) / n
            + value**2 * _variance(self.sensitivity, self.num_unsafe)
            + (1 - value) ** 2 * _variance(self.specificity, self.num_safe)
        ) / informedness**2
        return _cut(value, variance)

    def difference_estimate(self, rate: float, n: int) -> Estimate:
        """Return a rate that the judge reports plus the mean of truth - verdict on labelled exchanges, cut to [0, 1].

        The difference estimator of survey sampling, and the rectifier of prediction-powered inference (Angelopoulos et
        al., 2023): it is unbiased only where the labelled exchanges were drawn from those that the rate is of. The 95 %
        interval is normal, Var = p (1 - p) / n + Var(truth - verdict) / m. Not defined without labelled exchanges.
        """
        m = self.num_unsafe + self.num_safe
        if not (m and n):
            return Estimate(float("nan"), float("nan"), float("nan"))
        mean = (self.false_safe - self.false_unsafe) / m
        spread = (self.false_safe + self.false_unsafe) / m - mean**2
        return _cut(min(1.0, max(0.0, rate + mean)), rate * (1 - rate) / n + spread / m)


def confusion(judge: Judge, exchanges: Sequence[Exchange], unsafe: Sequence[bool]) -> ConfusionMatrix:
    """Return a judge's confusion matrix on exchanges of which `unsafe` tells the truth."""
    if len(exchanges) != len(unsafe):
        raise ValueError(f"unsafe: expected {len(exchanges)} labels, one for each exchange, got {len(unsafe)}")
    outcomes = [verdict.outcome for verdict in judge(exchanges)]
    pairs = list(zip(unsafe, outcomes, strict=True))
    called = [(label, outcome is Outcome.UNSAFE) for label, outcome in pairs if outcome is not Outcome.UNUSABLE]
    return ConfusionMatrix(
        true_unsafe=called.count((True, True)),
        false_safe=called.count((True, False)),
        false_unsafe=called.count((False, True)),
        true_safe=called.count((False, False)),
        unusable=len(pairs) - len(called),
    )


def _variance(share: float, n: int) -> float:
    """Return the variance of a proportion of n trials, by Agresti and Coull's share: above 0 also at none or all."""
    adjusted = (share * n + 2) / (n + 4)
    return adjusted * (1 - adjusted) / (n + 4)


def _cut(value: float, variance: float) -> Estimate:
    """Return a rate with its normal 95 % interval, cut to [0, 1]."""
    spread = NormalDist().inv_cdf(0.975) * math.sqrt(variance)
    return Estimate(value, max(0.0, value - spread), min(1.0, value + spread))


def _share(part: int, whole: int) -> float:
    return part / whole if whole else float("nan")
