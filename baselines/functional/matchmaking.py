"""Whom to meet next: probabilities of opponents from how often each was beaten."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

PFSPWeighting = Literal["hard", "var"]
"""How an opponent's weight depends on the win rate against it; see `pfsp_probabilities`."""


def pfsp_probabilities(
    win_rates: NDArray[np.float64], *, weighting: PFSPWeighting = "hard", power: float = 1.0
) -> NDArray[np.float64]:
    """Return p(B) proportional to f(x), x = P(we beat B): f_hard = (1 - x)^power, f_var = x (1 - x); shape (K,).

    Prioritised fictitious self-play (Vinyals et al., *Grandmaster level in StarCraft II*, 2019, Methods). "hard" seeks
    those who beat us, "var" those of our own strength. If every weight is 0, all are equally likely.
    """
    if win_rates.ndim != 1 or not len(win_rates) or not ((win_rates >= 0) & (win_rates <= 1)).all():
        raise ValueError(f"win_rates: expected numbers from 0 to 1, one an opponent, got {win_rates}")
    weights = (1 - win_rates) ** power if weighting == "hard" else win_rates * (1 - win_rates)
    total = weights.sum()
    return weights / total if total > 0 else np.full(len(weights), 1 / len(weights))
