"""Counterfactual regret minimisation: regret matching at every information state."""

from __future__ import annotations

import numpy as np

from ...envs.game import PLAYERS
from ...envs.tree.analysis import GameTree, Profile, counterfactual_values
from ...envs.tree.infostates import Floats
from ..training.checks import check_flag
from .solver import AveragingSolver


class CFR(AveragingSolver):
    """Regret matching on counterfactual values (CFR).

    Paper: Zinkevich, Johanson, Bowling & Piccione, "Regret Minimization in Games with Incomplete Information", NeurIPS
    2007, equations 7 and 8: R(I, a) += v(I, a) - v(I); the next policy is proportional to max(R, 0), uniform where no
    regret is positive. Values are weighted by chance's and the opponent's reach, averages by the own reach.

    Guarantee: in two-player zero-sum games NashConv of the *average* is at most sum_I D_I sqrt(|A(I)|) / sqrt(T), with
    D_I the range of the counterfactual values at I (theorems 3 and 4; for simultaneous updates). No step size.
    None for the last profile.

    Differs from the paper in: `alternating` (the default, as in most implementations) lets player 1 answer what player
    0 has just become; the paper updates both at once.
    """

    def __init__(self, tree: GameTree, *, alternating: bool = True, initial_profile: Profile | None = None) -> None:
        """Start without regrets, at `initial_profile`, uniform by default."""
        super().__init__(tree, initial_profile)
        self._alternating = check_flag("alternating", alternating)
        self._regrets = tuple(np.zeros(table.num_actions) for table in tree.tables)

    def step(self) -> None:
        """Use the present policies once: add them to the average and learn from what they would have regretted."""
        used = self._profile
        self._average.add(used, self._weight())
        for player in PLAYERS:
            new = self._updated(player, self._profile if self._alternating else used)
            self._profile = (new, self._profile[1]) if player == 0 else (self._profile[0], new)
        self.iteration += 1

    def _updated(self, player: int, profile: Profile) -> Floats:
        table, regrets, policy = self.tree.tables[player], self._regrets[player], profile[player]
        values = counterfactual_values(self.tree, player, profile)
        regrets += values - table.spread(table.sums(policy * values))
        self._forget(regrets)
        return table.normalise(np.maximum(regrets, 0.0))

    def _weight(self) -> float:
        return 1.0

    def _forget(self, regrets: Floats) -> None:
        """Change the regrets in place after each update; plain CFR keeps all of them."""


class CFRPlus(CFR):
    """CFR whose regrets never fall below 0, averaged with weight t at iteration t (CFR+).

    Paper: Tammelin, "Solving Large Imperfect Information Games Using CFR+", 2014 (arXiv 1407.5042), algorithm 1.

    Guarantee: as CFR's, for the *average*; in practice about 1/t, ten times ahead of CFR after 100 iterations of Kuhn
    poker.

    Differs from the paper in: averages start with the first iteration (its delay d = 0).
    """

    def _weight(self) -> float:
        return self.iteration + 1.0

    def _forget(self, regrets: Floats) -> None:
        np.maximum(regrets, 0.0, out=regrets)
