"""Sums, means and whitening over the positions a mask marks, with guards against silent broadcasting.

A mask is True where a token takes part. What stands at the other positions never matters, not even `nan`.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def require_same_shape(**tensors: Tensor) -> None:
    """Raise a `ValueError` that names the tensors and their shapes unless all shapes agree.

    Torch would broadcast `(B,)` beside `(B, 1)` to `(B, B)` without a word.
    """
    if len({tensor.shape for tensor in tensors.values()}) > 1:
        shapes = ", ".join(f"{name} {tuple(tensor.shape)}" for name, tensor in tensors.items())
        raise ValueError(f"expected tensors of one shape, got {shapes}")


def masked_sum(
    values: Float[Tensor, "..."], mask: Bool[Tensor, "..."], *, dim: int | None = None
) -> Float[Tensor, "..."]:
    """Return the sum of the marked values, over everything or along `dim`."""
    require_same_shape(values=values, mask=mask)
    if mask.dtype != torch.bool:
        raise ValueError(f"mask: expected torch.bool, True where a token takes part, got {mask.dtype}")
    marked = torch.where(mask, values, 0.0)
    return marked.sum() if dim is None else marked.sum(dim)


def masked_mean(
    values: Float[Tensor, "..."], mask: Bool[Tensor, "..."], *, dim: int | None = None
) -> Float[Tensor, "..."]:
    """Return the mean of the marked values, over everything or along `dim`; 0 where nothing is marked."""
    total = masked_sum(values, mask, dim=dim)
    count = mask.sum() if dim is None else mask.sum(dim)
    return total / count.clamp(min=1)


def masked_whiten(
    values: Float[Tensor, "..."],
    mask: Bool[Tensor, "..."],
    *,
    std_floor: float = 0.0,
    variance_offset: float = 1e-8,
) -> Float[Tensor, "..."]:
    """Return the marked values shifted to mean 0 and divided by max(std, std_floor), and 0 elsewhere.

    Values that differ by much come out with standard deviation 1, values that differ by less than the floor with
    std / std_floor: what is noise stays small. Without a floor whatever there is comes out with standard deviation 1.

    Args:
        values: numbers of any unit.
        mask: which of them count.
        std_floor: in the unit of the values; below it they are scaled as if this were their standard deviation.
        variance_offset: added to the variance, so that equal values are 0 and not 0/0. The variance is that of the
            marked values themselves (divisor n, not n - 1).
    """
    centred = values - masked_mean(values, mask)
    variance = masked_mean(centred.square(), mask).clamp(min=std_floor**2)
    return torch.where(mask, centred * torch.rsqrt(variance + variance_offset), 0.0)
