"""Role-conditioned advantages: a return less what its role has usually earned in that game."""

from __future__ import annotations

from typing import Any

from jaxtyping import Float
from torch import Tensor


def updated_running_mean(mean: float, returns: Float[Tensor, " B"], *, decay: float) -> float:
    """Return the mean after each return in turn has been mixed in: b <- decay b + (1 - decay) R."""
    for episode_return in returns.tolist():
        mean = decay * mean + (1 - decay) * episode_return
    return mean


class RoleBaseline:
    """A running mean of returns for each game and player (SPIRAL, arXiv 2506.24119, role-conditioned advantage).

    A = R - b[game, player], then b <- decay b + (1 - decay) R, from b = 0. The batch is scored before its returns are
    mixed in, so that no return is part of its own baseline. One baseline for both roles would leave each role the
    advantage of its seat: in a game that player 0 wins by its rules alone, everything player 0 says would be praised.

    Differs from the paper in: returns are not discounted by the turns that follow.
    """

    def __init__(self, *, decay: float = 0.95) -> None:
        """Take the share, in [0, 1), of a mean that stays when one more return is mixed in."""
        if not 0 <= decay < 1:
            raise ValueError(f"decay: expected a number in [0, 1), got {decay}")
        self.decay = decay
        self._means: dict[str, dict[int, float]] = {}

    def value(self, game: str, player: int) -> float:
        """Return b[game, player]."""
        return self._means.get(game, {}).get(player, 0.0)

    def advantages(self, returns: Float[Tensor, " B"], *, game: str, player: int) -> Float[Tensor, " B"]:
        """Return R - b[game, player], then mix the returns into b."""
        baseline = self.value(game, player)
        mean = updated_running_mean(baseline, returns, decay=self.decay)
        self._means.setdefault(game, {})[player] = mean
        return returns - baseline

    def state_dict(self) -> dict[str, dict[int, float]]:
        """Return all means."""
        return {game: dict(means) for game, means in self._means.items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from saved means."""
        self._means = {game: dict(means) for game, means in state.items()}
