"""Weights that are no numbers are refused by name."""

import pytest
import torch

from duologue.agents.weights import require_finite


def test_finite_weights_pass_in_every_precision() -> None:
    """Empty tensors and numbers that are no fractions among them."""
    kinds = (torch.float64, torch.float32, torch.bfloat16, torch.float16, torch.float8_e4m3fn, torch.int64)
    require_finite({str(kind): torch.ones(2, 2).to(kind) for kind in kinds} | {"none": torch.zeros(0)}, "model")
    with pytest.raises(ValueError, match="model: expected finite weights, got NaN or infinity in b"):
        require_finite({"a": torch.ones(2), "b": torch.tensor([1.0, -torch.inf])}, "model")
