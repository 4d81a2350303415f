"""The ten tabular games of EGPO (Zhou et al., COLM 2025, 2503.08942; code zhourunlong/EGPO)."""

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import softmax


def egpo_games() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the preferences P (10, 10, 10) and the reference policies (10, 10)."""
    preferences, logits = _drawn()
    return preferences, softmax(logits, axis=-1)


def egpo_reference_logits() -> NDArray[np.float64]:
    """Return the logits of the reference policies, as drawn; shape (10, 10)."""
    return _drawn()[1]


def _drawn() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the preferences and the reference logits, from torch's float32 stream."""
    generator = torch.Generator().manual_seed(2018011309)
    reference = torch.empty(10, 10, 1).normal_(0, 1, generator=generator)
    low = torch.rand(10, 10, 10, generator=generator)
    preferences = torch.tril(low, -1) + torch.triu(1 - low.transpose(1, 2), 1) + 0.5 * torch.eye(10)
    return preferences.numpy().astype(np.float64), reference[..., 0].numpy().astype(np.float64)
