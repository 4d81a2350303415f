"""The game among the members of two populations: whose payoffs are estimated by play, and who gains by leaving it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ...agents.population import Seat
from ...envs import LanguageGame
from ...envs.game import PLAYERS
from ..evaluation.intervals import mean_interval
from ..rollouts.episodes import rollout
from ..training.state import Stateful

Floats: TypeAlias = NDArray[np.float64]


class EmpiricalGame(Stateful):
    """Payoff matrices that grow with the populations; a pair, once played, is not played again.

    All pairs play the same deals, so that luck favours no member.
    """

    saved = ("returns", "half_widths", "num_episodes_played")

    def __init__(self, game: LanguageGame[Any], *, num_episodes: int, seed: int) -> None:
        """Start without a member.

        Args:
            game: the rules.
            num_episodes: of each pair.
            seed: of the deals and of play.
        """
        self.game, self.num_episodes, self.seed = game, num_episodes, seed
        self.returns: Floats = np.zeros((2, 0, 0))
        """Mean return of an episode to each player, player 0's members in rows; (2, n, m)."""
        self.half_widths: Floats = np.zeros((2, 0, 0))
        """Of Student's 95 % intervals of those means; (2, n, m)."""
        self.num_episodes_played = 0
        """In all."""

    def extend(self, rows: Sequence[Seat], columns: Sequence[Seat]) -> None:
        """Play the pairs that are new.

        Args:
            rows: all members of player 0, those already known first.
            columns: all members of player 1, likewise.
        """
        known = self.returns.shape[1:]
        returns, half_widths = (np.zeros((2, len(rows), len(columns))) for _ in range(2))
        returns[:, : known[0], : known[1]] = self.returns
        half_widths[:, : known[0], : known[1]] = self.half_widths
        for i, first in enumerate(rows):
            for j, second in enumerate(columns):
                if i >= known[0] or j >= known[1]:
                    paid = play_returns(self.game, (first, second), self.num_episodes, self.seed)
                    estimates = [mean_interval(paid[:, player].tolist()) for player in PLAYERS]
                    returns[:, i, j] = [estimate.value for estimate in estimates]
                    half_widths[:, i, j] = [estimate.half_width for estimate in estimates]
                    self.num_episodes_played += self.num_episodes
        self.returns, self.half_widths = returns, half_widths


@dataclass(frozen=True, slots=True)
class ResponseGains:
    """What each player's response earns more than the one whose place it takes, with 95 % intervals.

    The best responses gain no less, up to the intervals: a response that has learned nothing gains nothing.
    """

    player_0: float
    """Mean gain of player 0's response."""
    half_width_0: float
    """Of its interval."""
    player_1: float
    """Mean gain of player 1's response."""
    half_width_1: float
    """Of its interval."""

    def at_most(self, tolerance: float) -> bool:
        """Say whether both intervals lie at or below a number."""
        return max(self.player_0 + self.half_width_0, self.player_1 + self.half_width_1) <= tolerance


def response_gains(
    game: LanguageGame[Any],
    seats: tuple[Seat, Seat],
    responses: tuple[Seat, Seat],
    num_episodes: int,
    seed: int,
) -> ResponseGains:
    """Let each response take its player's place while the other stays; all three plays have the same deals.

    Args:
        game: the rules.
        seats: the profile that is left.
        responses: who takes player 0's place, and who takes player 1's.
        num_episodes: of each play; they should be others than those that the responses learned from.
        seed: of the deals and of play.
    """
    own, found = play_returns(game, seats, num_episodes, seed), []
    for player in PLAYERS:
        left = (responses[0], seats[1]) if player == 0 else (seats[0], responses[1])
        gained = play_returns(game, left, num_episodes, seed)[:, player] - own[:, player]
        estimate = mean_interval(gained.tolist())
        found += [estimate.value, estimate.half_width]
    return ResponseGains(*found)


def play_returns(game: LanguageGame[Any], seats: Sequence[Seat], num_episodes: int, seed: int) -> Floats:
    """Return both players' returns of `num_episodes` episodes, whose deals depend on `seed` only; (num_episodes, 2)."""
    played = rollout(game, seats, num_episodes, np.random.default_rng(seed))
    return np.array([episode.episode.returns for episode in played])
