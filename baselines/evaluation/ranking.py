"""Entrants ranked three ways from one head-to-head: ratings, alpha-rank, mean returns; and what no ranking can show."""

from __future__ import annotations

from dataclasses import dataclass

from ..reporting.tables import markdown_table
from ..solvers.alpha_rank import alpha_rank
from .head_to_head import HeadToHead
from .ratings import Floats, Ratings, bradley_terry, cyclic_share, majority_cycles


@dataclass(frozen=True, slots=True)
class Ranking:
    """What one head-to-head says of its entrants."""

    names: tuple[str, ...]
    ratings: Ratings
    """Bradley-Terry, from wins, ties and losses."""
    l2: float
    """The prior's weight in the ratings."""
    mean_returns: Floats
    """Mean return against the other entrants, over both seats; (n,)."""
    win_rates: Floats
    """Share of matches won against the other entrants, ties one half; (n,)."""
    alpha_rank: Floats
    """The share of time an evolving population plays each, from mean returns; (n,)."""
    cycles: tuple[tuple[int, ...], ...]
    """Threes of which each wins most of its matches against the next, and the last against the first."""
    cyclic_share: float
    """Share of the advantages in mean return that no rating explains, 0 to 1."""

    def markdown(self) -> str:
        """Return a table, best rating first, and a line on cycles."""
        elo, low, high = self.ratings.on_elo_scale()
        rows = [
            [
                self.names[k],
                f"{elo[k]:.0f} [{low[k]:.0f}, {high[k]:.0f}]",
                f"{self.alpha_rank[k]:.3f}",
                f"{self.win_rates[k]:.3f}",
                f"{self.mean_returns[k]:+.3f}",
            ]
            for k in sorted(range(len(self.names)), key=lambda k: -elo[k])
        ]
        table = markdown_table(["entrant", "Elo scale [95 %]", "alpha-rank", "win rate", "mean return"], rows)
        prior = f"Bradley-Terry with a prior of weight {self.l2:g}" if self.l2 else "Bradley-Terry without a prior"
        share = f"Cyclic share of the advantages: {self.cyclic_share:.1%}."
        return f"{table}\n\n{prior}. {share} {self.cycle_line()}"

    def cycle_line(self, *, max_shown: int = 5) -> str:
        """Return the cycles as a sentence."""
        if not self.cycles:
            return "No three entrants beat each other in a cycle."
        shown = ["; ".join(" > ".join(self.names[k] for k in (*c, c[0])) for c in self.cycles[:max_shown])]
        more = [f"and {len(self.cycles) - max_shown} more"] if len(self.cycles) > max_shown else []
        return f"Cycles, > for wins against: {' '.join([*shown, *more])}."


def rank(result: HeadToHead, *, l2: float = 0.1) -> Ranking:
    """Rank the entrants of a head-to-head.

    Args:
        result: at least two entrants.
        l2: weight of the ratings' prior, see `bradley_terry`; 0 needs everybody to have lost and won.
    """
    size = len(result.names)
    if size < 2:
        raise ValueError(f"result: expected at least two entrants, got {result.names}")
    returns, win_rates = result.returns, result.win_rates
    return Ranking(
        names=result.names,
        ratings=bradley_terry(result.wins, ties=result.ties, l2=l2),
        l2=l2,
        mean_returns=_mean_of_others(returns),
        win_rates=_mean_of_others(win_rates),
        alpha_rank=alpha_rank(returns),
        cycles=tuple(majority_cycles(win_rates)),
        cyclic_share=cyclic_share(returns),
    )


def _mean_of_others(matrix: Floats) -> Floats:
    """Return the mean of each row without the diagonal; (n,)."""
    means: Floats = (matrix.sum(1) - matrix.diagonal()) / (len(matrix) - 1)
    return means
