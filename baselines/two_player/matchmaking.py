"""Who meets whom in a league, from how often each opponent was beaten: AlphaStar's matches as probabilities.

Vinyals et al., *Grandmaster level in StarCraft II using multi-agent reinforcement learning*, Nature 575, 2019,
Methods, "Multi-agent learning", and the pseudocode published with it, which has the thresholds.

Weights are over the opponent's main agent as it is now, first, and then all frozen players of the opponent's side.
Differs from the source in: a league exploiter's f is (1 - x)^power, not min(1/2, 1 - x).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..training.state import Stateful

Floats: TypeAlias = NDArray[np.float64]

Role = Literal["main", "main_exploiter", "league_exploiter"]

ROLES: tuple[Role, ...] = ("main", "main_exploiter", "league_exploiter")

WEAKER_THAN_NOW = 0.3
"""A main agent that beats the current one at most this often meets its past instead."""

WEAKER_THAN_MAIN = 0.1
"""The same of a main exploiter."""

STRONG_EXPLOITER = 0.3
"""Some frozen main exploiter beaten less often than this: all of them are met again."""

FORGOTTEN = 0.7
"""Some earlier main agent beaten less often than this: those are met again."""

BEATEN = 0.7
"""A player that wins more often than this against all that it trains against is frozen at once."""


class WinRates(Stateful):
    """How often a learner has beaten each opponent, ties as half; it knows opponents by name."""

    saved = ("_wins", "_games")

    def __init__(self, *, decay: float) -> None:
        """Start without a game; earlier games weigh `decay` times as much once a new batch has come."""
        self._decay = decay
        self._wins: dict[str, float] = {}
        self._games: dict[str, float] = {}

    def of(self, names: Sequence[str]) -> Floats:
        """Return the rates against some opponents, 1/2 where there was no game; shape (K,)."""
        return np.array([self._wins[name] / self._games[name] if self._games.get(name) else 0.5 for name in names])

    def record(self, names: Sequence[str], margins: Sequence[float]) -> None:
        """Take in a batch: whom each episode was played against, and our return less theirs."""
        for table in (self._wins, self._games):
            for name in table:
                table[name] *= self._decay
        for name, margin in zip(names, margins, strict=True):
            self._wins[name] = self._wins.get(name, 0.0) + 0.5 * (1 + float(np.sign(margin)))
            self._games[name] = self._games.get(name, 0.0) + 1


def match_weights(
    role: Role,
    now: float,
    past: Floats,
    past_roles: Sequence[Role],
    *,
    self_play: float,
    forgotten: float,
    power: float,
) -> Floats:
    """Return the probability of each opponent; shape (1 + K,).

    Args:
        role: the learner's.
        now: its win rate against the opponent's main agent as it is.
        past: its win rates against the opponent's frozen players, oldest first among those of one role; (K,).
        past_roles: their roles; at least one is "main".
        self_play: the share of a main agent's games against the current main agent.
        forgotten: the share of its games against those that it no longer beats; the rest is PFSP over all.
        power: of f_hard.
    """
    mains = np.array([past_role == "main" for past_role in past_roles])
    match role:
        case "main":
            lost = forgotten_weights(past, past_roles, power)
            at_itself = _current_or_past(now, past, mains, above=WEAKER_THAN_NOW)
            everybody = np.concatenate([[0.0], pfsp_probabilities(past, power=power)])
            return self_play * at_itself + (1 - self_play - forgotten) * everybody + forgotten * (
                at_itself if lost is None else np.concatenate([[0.0], lost])
            )  # fmt: skip
        case "main_exploiter":
            return _current_or_past(now, past, mains, above=WEAKER_THAN_MAIN)
        case "league_exploiter":
            return np.concatenate([[0.0], pfsp_probabilities(past, power=power)])


def forgotten_weights(past: Floats, past_roles: Sequence[Role], power: float) -> Floats | None:
    """Return PFSP over frozen main exploiters that are strong, else over forgotten main agents; None: neither; (K,).

    A main agent counts as forgotten if win rates rise again after it: a steady fall towards newer ones is progress.
    """
    exploiters = np.flatnonzero([past_role == "main_exploiter" for past_role in past_roles])
    if len(exploiters) and past[exploiters].min() < STRONG_EXPLOITER:
        return _among(past, exploiters, "hard", power)
    mains = np.flatnonzero([past_role == "main" for past_role in past_roles])
    rises = np.flatnonzero(np.diff(past[mains]) > 0)
    met = mains[: rises[-1] + 2] if len(rises) else mains[:0]
    return _among(past, met, "hard", power) if len(met) and past[met].min() < FORGOTTEN else None


def is_ready(rates: Floats, num_updates: int, snapshot_every: int) -> bool:
    """Say whether a player is frozen: it beats all that it trains against, or has had twice the usual time."""
    return num_updates >= snapshot_every and (rates.min() > BEATEN or num_updates >= 2 * snapshot_every)


def _current_or_past(now: float, past: Floats, mains: NDArray[np.bool_], *, above: float) -> Floats:
    """Return 1 on the current main agent, or PFSP by f_var over its past if it is too strong; (1 + K,)."""
    if now > above:
        return np.concatenate([[1.0], np.zeros(len(past))])
    return np.concatenate([[0.0], _among(past, np.flatnonzero(mains), "var", 1.0)])


def _among(past: Floats, chosen: NDArray[np.int64], weighting: PFSPWeighting, power: float) -> Floats:
    """Return PFSP over some of the frozen players; (K,)."""
    weights = np.zeros(len(past))
    weights[chosen] = pfsp_probabilities(past[chosen], weighting=weighting, power=power)
    return weights


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
