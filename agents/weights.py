"""Weights of models that are numbers: wherever they are loaded or written."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor


def require_finite(tensors: Mapping[str, Tensor], what: str) -> None:
    """Refuse weights that are not finite.

    Raises:
        ValueError: naming the first of them.
    """
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and tensor.numel() and not is_finite(tensor):
            raise ValueError(f"{what}: expected finite weights, got NaN or infinity in {name}")


def is_finite(tensor: Tensor) -> bool:
    """Return whether all numbers are finite, by two reductions and without a copy."""
    if tensor.element_size() < 2:  # float8 knows no reductions
        tensor = tensor.float()
    return bool(torch.isfinite(torch.stack(tensor.detach().aminmax())).all())


def require_finite_files(folder: Path) -> None:
    """Refuse weights in a folder's safetensors files that are not finite: nothing would be heard of them.

    Raises:
        ValueError: naming the file and the first of them.
    """
    for path in sorted(folder.rglob("*.safetensors")):
        with safe_open(path, "pt") as weights:
            for name in weights.keys():  # noqa: SIM118  (it is no mapping)
                require_finite({name: weights.get_tensor(name)}, path.name)
