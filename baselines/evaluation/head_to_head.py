"""Entrants against each other in both seatings: mean returns, wins, ties and losses, each with an interval.

A match is one deal played twice, the second time with the seats exchanged and luck of its own, so that neither the deal
nor a seat that always wins favours anybody. Matches of a pair are independent; intervals rest on them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ...agents.population import Seat
from ...envs import Episode, LanguageGame, deal_episodes
from ..reporting.tables import markdown_table
from ..rollouts.episodes import play_out
from .deals import evaluation_rng
from .intervals import Estimate, mean_interval, wilson_interval

Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.int64]

EQUAL = 1e-9
"""Returns of a match closer than this are a tie."""


@dataclass(frozen=True, slots=True)
class SeatMatrix:
    """Everybody who may sit at player 0 against everybody who may sit at player 1."""

    rows: tuple[str, ...]
    """Player 0."""
    columns: tuple[str, ...]
    """Player 1."""
    returns: Floats
    """Mean return of an episode to each player; (2, n, m)."""
    half_widths: Floats
    """Of Student's 95 % intervals of the means; (2, n, m)."""
    num_episodes: int
    """Of each pair."""

    def estimate(self, player: int, row: int, column: int) -> Estimate:
        """Return a player's mean return with its interval."""
        mean, half = float(self.returns[player, row, column]), float(self.half_widths[player, row, column])
        return Estimate(mean, mean - half, mean + half)


@dataclass(frozen=True, slots=True)
class HeadToHead:
    """Every entrant against every other and against itself."""

    names: tuple[str, ...]
    """The entrants; rows and columns of all arrays."""
    seat_returns: Floats
    """Mean return of the row's entrant seated at player 0 and at player 1, against the column's; (2, n, n)."""
    half_widths: Floats
    """Of Student's 95 % intervals of `returns`; (n, n)."""
    wins: Ints
    """Matches in which the row's entrant earned more, both seatings together; (n, n), 0 on the diagonal."""
    ties: Ints
    """Matches in which both earned the same; (n, n), 0 on the diagonal."""
    num_matches: int
    """Of each pair; twice as many episodes."""

    @property
    def returns(self) -> Floats:
        """Mean return of an episode to the row's entrant against the column's, over both seats; (n, n)."""
        means: Floats = self.seat_returns.mean(axis=0)
        return means

    @property
    def losses(self) -> Ints:
        """Matches in which the column's entrant earned more; (n, n)."""
        return self.wins.T

    @property
    def win_rates(self) -> Floats:
        """Share of matches won, ties one half; (n, n), 0.5 on the diagonal."""
        rates: Floats = (self.wins + self.ties / 2) / self.num_matches
        np.fill_diagonal(rates, 0.5)
        return rates

    def win_rate_interval(self, row: int, column: int) -> tuple[float, float]:
        """Return Wilson's 95 % interval of a win rate; ties, which vary less, make it too wide at most."""
        return wilson_interval(float(self.wins[row, column] + self.ties[row, column] / 2), self.num_matches)

    def estimate(self, row: int, column: int) -> Estimate:
        """Return the mean return of the row's entrant with its interval."""
        mean, half = float(self.returns[row, column]), float(self.half_widths[row, column])
        return Estimate(mean, mean - half, mean + half)

    def markdown(self) -> str:
        """Return the mean returns with half widths, and wins-ties-losses, as two tables."""
        size = range(len(self.names))
        means = [[name, *(_cell(self.estimate(i, j)) for j in size)] for i, name in enumerate(self.names)]
        scores = [[name, *(self._score(i, j) for j in size)] for i, name in enumerate(self.names)]
        tables = markdown_table(["return to row", *self.names], means), markdown_table(["W-T-L", *self.names], scores)
        return "\n\n".join(tables)

    def _score(self, row: int, column: int) -> str:
        if row == column:
            return "-"
        return f"{self.wins[row, column]}-{self.ties[row, column]}-{self.losses[row, column]}"


def head_to_head(
    game: LanguageGame[Any],
    entrants: Mapping[str, tuple[Seat, Seat]],
    num_matches: int,
    seed: int,
    *,
    batch_size: int = 256,
) -> HeadToHead:
    """Play every pair of entrants, on the same deals for all pairs.

    In a zero-sum game to win a match is to have a positive sum of returns over both seatings; in others it is to have
    earned more than the other entrant did in the same two seats, so that with identical interests all matches tie and
    only the mean returns tell.

    Args:
        game: the rules.
        entrants: by name, who plays for them as player 0 and as player 1.
        num_matches: of each pair, and of each entrant with itself.
        seed: of the deals and of play.
        batch_size: episodes at once.
    """
    size, seats = len(entrants), list(entrants.values())
    seat_returns, half_widths = np.zeros((2, size, size)), np.zeros((size, size))
    wins, ties = np.zeros((size, size), dtype=np.int64), np.zeros((size, size), dtype=np.int64)
    for i in range(size):
        for j in range(i, size):
            straight = play_returns(game, (seats[i][0], seats[j][1]), num_matches, seed, batch_size=batch_size)
            swapped = play_returns(
                game, (seats[j][0], seats[i][1]), num_matches, seed, stream=int(i != j), batch_size=batch_size
            )
            of_i, of_j = straight[:, 0] + swapped[:, 1], straight[:, 1] + swapped[:, 0]
            seat_returns[:, i, j] = straight[:, 0].mean(), swapped[:, 1].mean()
            seat_returns[:, j, i] = swapped[:, 0].mean(), straight[:, 1].mean()
            half_widths[i, j], half_widths[j, i] = (_half_width(match_returns / 2) for match_returns in (of_i, of_j))
            if i != j:
                wins[i, j], wins[j, i] = (of_i > of_j + EQUAL).sum(), (of_j > of_i + EQUAL).sum()
                ties[i, j] = ties[j, i] = num_matches - wins[i, j] - wins[j, i]
    return HeadToHead(tuple(entrants), seat_returns, half_widths, wins, ties, num_matches)


def seat_matrix(
    game: LanguageGame[Any],
    rows: Mapping[str, Seat],
    columns: Mapping[str, Seat],
    num_episodes: int,
    seed: int,
    *,
    batch_size: int = 256,
) -> SeatMatrix:
    """Play every player 0 against every player 1, on the same deals, as where the seats are different tasks.

    Args:
        game: the rules.
        rows: who may sit at player 0.
        columns: who may sit at player 1.
        num_episodes: of each pair.
        seed: of the deals and of play.
        batch_size: episodes at once.
    """
    returns, half_widths = np.zeros((2, len(rows), len(columns))), np.zeros((2, len(rows), len(columns)))
    for i, first in enumerate(rows.values()):
        for j, second in enumerate(columns.values()):
            paid = play_returns(game, (first, second), num_episodes, seed, batch_size=batch_size)
            for player in (0, 1):
                column = paid[:, player]
                returns[player, i, j], half_widths[player, i, j] = column.mean(), _half_width(column)
    return SeatMatrix(tuple(rows), tuple(columns), returns, half_widths, num_episodes)


def play_returns(
    game: LanguageGame[Any],
    seats: Sequence[Seat],
    num_episodes: int,
    seed: int,
    *,
    stream: int = 0,
    batch_size: int = 256,
) -> Floats:
    """Return both players' returns of `num_episodes` episodes; (num_episodes, 2).

    Deals depend on `seed` only, what is said on `stream` as well; both are drawn apart from what any run trains on.
    """
    if num_episodes < 1:
        raise ValueError(f"num_episodes: expected at least 1, got {num_episodes}")
    episodes = deal_episodes(game, evaluation_rng(seed, 0), num_episodes)
    returns: list[list[float]] = []
    for start in range(0, num_episodes, batch_size):
        batch: list[Episode[Any]] = episodes[start : start + batch_size]
        play_out(batch, seats, evaluation_rng(seed, 1, start, stream))
        returns += [episode.returns for episode in batch]
    paid = np.array(returns)
    if not np.isfinite(paid).all():
        raise ValueError(f"returns: expected finite numbers, got {paid[~np.isfinite(paid)][0]}")
    return paid


def _cell(estimate: Estimate) -> str:
    return f"{estimate.value:+.3f} ± {estimate.half_width:.3f}"


def _half_width(values: Floats) -> float:
    return mean_interval(values.tolist()).half_width
