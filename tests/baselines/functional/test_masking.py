import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from duologue.baselines.functional.masking import masked_mean, masked_sum, masked_whiten

VALUES = torch.tensor([[1.0, 2.0, 6.0], [5.0, float("nan"), 7.0]])
MASK = torch.tensor([[True, False, True], [True, False, False]])


def test_sums_and_means_read_marked_values_only() -> None:
    """By hand: 1, 6 and 5 are marked; the nan is not."""
    assert masked_sum(VALUES, MASK).item() == 12
    assert masked_mean(VALUES, MASK).item() == 4
    assert masked_mean(VALUES, MASK, dim=1).tolist() == [3.5, 5]


def test_the_mean_of_nothing_is_zero() -> None:
    """A batch may hold no token of the learner; its loss is then 0, not 0/0."""
    assert masked_mean(VALUES, torch.zeros_like(MASK)).item() == 0


def test_broadcasting_is_refused_with_both_shapes() -> None:
    """Torch alone would make (2, 2) of (2,) and (2, 1)."""
    with pytest.raises(ValueError, match=r"values \(2,\), mask \(2, 1\)"):
        masked_mean(torch.ones(2), torch.ones(2, 1, dtype=torch.bool))


@given(seed=st.integers(0, 2**32 - 1), scale=st.floats(0.1, 100), shift=st.floats(-100, 100))
def test_whitened_values_have_mean_0_and_std_1(seed: int, scale: float, shift: float) -> None:
    """The definition, over the marked values alone; the others come out as 0."""
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(4, 6, generator=generator, dtype=torch.float64) * scale + shift
    mask = torch.rand(4, 6, generator=generator) < 0.5
    mask[0, :2] = True
    whitened = masked_whiten(values, mask)
    assert whitened[mask].mean().item() == pytest.approx(0, abs=1e-9)
    if values[mask].std() > 0.05:
        assert whitened[mask].std(correction=0).item() == pytest.approx(1, rel=1e-4)
    assert (whitened[~mask] == 0).all()


def test_equal_values_are_whitened_to_zero() -> None:
    """The offset under the root stands against 0/0."""
    assert masked_whiten(torch.full((2, 3), 5.0), MASK).tolist() == [[0] * 3] * 2


def test_a_floor_takes_the_place_of_a_smaller_deviation() -> None:
    """By hand: 1, 5, 6 have mean 4 and std sqrt(14 / 3), 2.16; by a floor of 10 they come out as -.3, .1 and .2."""
    floored = masked_whiten(VALUES, MASK, std_floor=10.0)
    assert floored[MASK].tolist() == pytest.approx([-0.3, 0.2, 0.1])
    assert floored[~MASK].tolist() == [0] * 3
    for below in (0.0, 2.0):
        assert torch.equal(masked_whiten(VALUES, MASK, std_floor=below), masked_whiten(VALUES, MASK))


@given(seed=st.integers(0, 2**32 - 1), scale=st.floats(1e-4, 10))
def test_whitened_deviation_is_that_of_the_values_over_the_floor_and_at_most_1(seed: int, scale: float) -> None:
    """min(1, std / floor): noise of a hundredth of the payoffs stays a tenth of a step."""
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(4, 6, generator=generator, dtype=torch.float64) * scale
    mask = torch.rand(4, 6, generator=generator) < 0.5
    mask[0, :2] = True
    std = float(values[mask].std(correction=0))
    found = float(masked_whiten(values, mask, std_floor=0.1)[mask].std(correction=0))
    assert found == pytest.approx(min(1.0, std / 0.1), rel=1e-4)
