from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from duologue.baselines.evaluation import holm, mean_interval, paired_interval, paired_permutation_test
from duologue.baselines.evaluation.paired import paired_tests


def by_enumeration(differences: list[float]) -> float:
    """Return the share of all choices of signs whose mean is as far from 0 as the observed one."""
    signs = np.array(list(product((1, -1), repeat=len(differences))))
    return float(np.mean(np.abs(signs @ differences) >= abs(sum(differences)) - 1e-9))


@given(st.lists(st.integers(-5, 5), min_size=1, max_size=8))
def test_the_sign_flip_test_is_exact_where_it_is_small(differences: list[int]) -> None:
    """All 2^n signs, counted one by one; exchanging the two algorithms changes nothing."""
    table = np.array(differences, dtype=np.float64)[:, None]
    p_value = paired_permutation_test(table, 0 * table)
    assert p_value == pytest.approx(by_enumeration([float(d) for d in differences]))
    assert paired_permutation_test(0 * table, table) == pytest.approx(p_value)


def test_five_seeds_are_few_and_tasks_are_strata() -> None:
    """By hand: 2 of 2^5 signs are as far out as five alike, 2 of 2^10 where each seed is in two tasks of its own."""
    ahead, zero = np.ones((5, 2)), np.zeros((5, 2))
    assert paired_permutation_test(ahead[:, :1], zero[:, :1]) == 2 / 32
    assert paired_permutation_test(ahead, zero) == 2 / 1024
    assert paired_permutation_test(ahead, zero, flip="seeds") == 2 / 32
    assert paired_permutation_test(zero, zero) == 1
    assert paired_permutation_test([[3.0], [-1.0], [2.0]], [[0.0]] * 3) == 4 / 8


def test_what_pairs_share_cancels() -> None:
    """Seeds differ by 100 times what the algorithms do: intervals of each overlap, the paired difference does not."""
    rng = np.random.default_rng(0)
    luck, noise = 10 * rng.standard_normal((8, 1)), 0.05 * rng.standard_normal((2, 8, 3))
    first, second = luck + noise[0], luck + noise[1] + 0.1
    assert paired_permutation_test(first, second) < 0.01
    difference = paired_interval(first, second)
    assert difference.value == pytest.approx(-0.1, abs=0.05)
    assert difference.high < 0
    assert difference == mean_interval((first - second).mean(axis=1).tolist())
    apart = [mean_interval(scores.mean(axis=1).tolist()) for scores in (first, second)]
    assert apart[0].high > apart[1].low


def test_the_sampled_test_holds_its_level() -> None:
    """Without a difference 5 % of p-values are below 5 %; none is 0, however many signs are drawn."""
    rng = np.random.default_rng(0)
    p_values = [paired_permutation_test(*rng.standard_normal((2, 5, 6)), num_resamples=199, seed=k) for k in range(300)]
    assert 0.02 < np.mean(np.array(p_values) < 0.05) < 0.09
    far = paired_permutation_test(np.ones((5, 6)), np.zeros((5, 6)), num_resamples=199)
    assert 1 / 200 <= far <= 2 / 200


def test_holms_correction_by_hand() -> None:
    """The worked example of the method's usual presentation: .005 x 4, .01 x 3, .03 x 2, then no less than before."""
    assert holm([0.01, 0.04, 0.03, 0.005]).tolist() == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]).tolist() == [1.0, 1.0]
    assert holm([]).tolist() == []
    with pytest.raises(ValueError, match="p_values: expected numbers from 0 to 1"):
        holm([0.1, 1.5])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=10))
def test_holm_lies_between_nothing_and_bonferroni(p_values: list[float]) -> None:
    """Order is kept; the smallest is multiplied by all, the largest by no less than 1."""
    corrected, given_values = holm(p_values), np.array(p_values)
    assert (corrected >= given_values).all()
    assert (corrected <= np.minimum(1, len(p_values) * given_values) + 1e-12).all()
    assert (np.diff(corrected[np.argsort(given_values, kind="stable")]) >= 0).all()


def test_all_pairs_are_corrected_together() -> None:
    """By hand: three pairs, one without a difference; the two others have p = 2/1024, times 3 and, no less, 2."""
    zero = np.zeros((5, 2))
    tests = paired_tests({"a": zero, "b": zero, "c": zero + 1})
    assert [(t.first, t.second) for t in tests] == [("a", "b"), ("a", "c"), ("b", "c")]
    assert [t.p_value for t in tests] == [1, 2 / 1024, 2 / 1024]
    assert [t.corrected for t in tests] == pytest.approx([1, 6 / 1024, 6 / 1024])
    assert [t.difference.value for t in tests] == [0, -1, -1]
    assert paired_tests({"a": zero}) == []


def test_scores_that_are_no_pairs_are_refused() -> None:
    """Other seeds, another shape, something that is not exchanged."""
    with pytest.raises(ValueError, match=r"same seeds and tasks for both, got shapes \(2, 1\) and \(3, 1\)"):
        paired_permutation_test([[1.0]] * 2, [[1.0]] * 3)
    with pytest.raises(ValueError, match=r"shape \(runs, tasks\)"):
        paired_interval([1.0], [2.0])
    with pytest.raises(ValueError, match="flip"):
        paired_permutation_test([[1.0]], [[0.0]], flip="rows")  # type: ignore[arg-type]
