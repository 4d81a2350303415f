"""Whether one algorithm is ahead of another where both had the same seeds: tests of paired differences, and of many.

Scores are arrays (R, M) of R seeds on M tasks (games, prompt sets, defenders), cell by cell of the same seed and task.
What seeds share (starts, deals) then cancels, which intervals of each algorithm by itself cannot use: two that overlap
may well differ, and of 45 pairs two or three differ at 5 % by chance alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from ..training.checks import check_choice, check_open_share, check_rows
from .aggregates import Floats, check_scores
from .intervals import Estimate, mean_interval

Flip = Literal["cells", "seeds"]
"""What is exchanged between the two algorithms: a score of one seed in one task, or all of a seed's scores together."""


def paired_permutation_test(
    first: ArrayLike, second: ArrayLike, *, flip: Flip = "cells", num_resamples: int = 10_000, seed: int = 0
) -> float:
    """Return the two-sided p-value of the mean paired difference by exchanging the two algorithms' scores.

    Fisher's (1935, The Design of Experiments, section 21) sign-flip test: if both are alike, each difference might as
    well have had the other sign, which is the only assumption. All 2^n choices of signs are tried where that takes no
    more than `num_resamples`; else that many are drawn, with the observed one among them (Phipson & Smyth, 2010).

    Args:
        first: one algorithm's scores, shape (R, M).
        second: the other's, of the same seeds and tasks.
        flip: "cells" where a seed's scores in two tasks have nothing in common, as when a model is trained in each:
            the tasks are strata, n = R M. "seeds" where they come from one model, as on several prompt sets: n = R,
            and with 5 seeds p is at least 2/32.
        num_resamples: how many choices of signs at most.
        seed: draws them.

    Raises:
        ValueError: the shapes differ, or a number is none.

    >>> paired_permutation_test([[1.0], [2.0], [3.0], [4.0], [5.0]], [[0.0]] * 5)
    0.0625
    """
    differences = _differences(first, second)
    check_rows("num_resamples", num_resamples)
    of_seeds = check_choice("flip", flip, ("cells", "seeds")) == "seeds"
    units = differences.mean(axis=1) if of_seeds else differences.ravel()
    if len(units) < 2 or not units.any():  # either sign is as far out
        return 1.0
    found = stats.permutation_test(
        (units,),
        np.mean,
        permutation_type="samples",
        vectorized=True,
        n_resamples=num_resamples,
        random_state=np.random.default_rng(seed),
    )
    return float(found.pvalue)


def paired_interval(first: ArrayLike, second: ArrayLike, *, confidence: float = 0.95) -> Estimate:
    """Return the mean of first - second with Student's interval over seeds, a seed's mean over tasks being one value.

    It holds whether or not a seed's tasks have something in common. A single seed has an infinite interval.

    >>> [round(number, 3) for number in paired_interval([[1.0], [2.0], [3.0]], [[0.0], [0.0], [0.0]])]
    [2.0, -0.484, 4.484]
    """
    return mean_interval(_differences(first, second).mean(axis=1).tolist(), confidence=confidence)


def holm(p_values: ArrayLike) -> Floats:
    """Return p-values corrected for their number, (n,): those below alpha hold all at once, up to alpha.

    Holm (1979), "A Simple Sequentially Rejective Multiple Test Procedure", Scandinavian Journal of Statistics 6, 65-70:
    the k-th smallest of n is multiplied by n - k + 1, none less than one before it. It holds whatever the dependence
    of the tests, and rejects all that Bonferroni's correction does.

    >>> holm([0.01, 0.04, 0.03, 0.005]).round(3).tolist()
    [0.03, 0.06, 0.06, 0.02]
    """
    given = np.asarray(p_values, dtype=np.float64)
    if given.ndim != 1 or not ((given >= 0) & (given <= 1)).all():
        raise ValueError(f"p_values: expected numbers from 0 to 1, shape (n,), got {given.tolist()}")
    order, corrected = np.argsort(given, kind="stable"), np.empty_like(given)
    steps = given[order] * np.arange(len(given), 0, -1)
    corrected[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return corrected


class PairedTest(NamedTuple):
    """Two algorithms on the same seeds and tasks."""

    first: str
    second: str
    difference: Estimate
    """Mean of the first's scores less the second's, with Student's interval over seeds, for this pair alone."""
    p_value: float
    """Of the permutation test."""
    corrected: float
    """The same after Holm's correction for all pairs."""


def paired_tests(
    scores: Mapping[str, ArrayLike],
    *,
    flip: Flip = "cells",
    num_resamples: int = 10_000,
    seed: int = 0,
    confidence: float = 0.95,
) -> list[PairedTest]:
    """Return the tests of every pair of algorithms, Holm's correction over all of them; see `paired_permutation_test`.

    Args:
        scores: of each algorithm, shape (R, M), of the same seeds and tasks.
        flip: what is exchanged.
        num_resamples: choices of signs at most.
        seed: draws them, the same for each pair.
        confidence: of the differences' intervals, in (0, 1).
    """
    check_open_share("confidence", confidence)
    pairs = list(combinations(scores, 2))
    p_values = [
        paired_permutation_test(scores[a], scores[b], flip=flip, num_resamples=num_resamples, seed=seed)
        for a, b in pairs
    ]
    return [
        PairedTest(a, b, paired_interval(scores[a], scores[b], confidence=confidence), p_value, corrected)
        for (a, b), p_value, corrected in zip(pairs, p_values, holm(p_values).tolist(), strict=True)
    ]


def _differences(first: ArrayLike, second: ArrayLike) -> Floats:
    """Return first - second, (R, M); raise ValueError unless both have that shape."""
    of_first, of_second = check_scores(first), check_scores(second)
    if of_first.shape != of_second.shape:
        raise ValueError(
            f"scores: expected the same seeds and tasks for both, got shapes {of_first.shape} and {of_second.shape}"
        )
    differences: Floats = of_first - of_second
    return differences
