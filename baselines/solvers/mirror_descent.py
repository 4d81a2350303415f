"""Exponential weights at every information state: Hedge, its optimistic form, and extragradient."""

from __future__ import annotations

import numpy as np

from ...envs.game import PLAYERS
from ...envs.tree.analysis import GameTree, Profile
from ...envs.tree.infostates import Floats
from ..training.checks import require_positive
from .first_order import Logits, LogitSolver, both_values, default_steps, softmax_profile


class MWU(LogitSolver):
    """Multiplicative weights: Hedge, which is FTRL with entropy, on counterfactual values at every information state.

    Paper: Freund & Schapire, "Adaptive game playing using multiplicative weights", Games and Economic Behavior 29,
    1999; on trees the counterfactual decomposition of Zinkevich et al. (2007) with Hedge in place of regret matching.
    Logits are those of the start + eta G, with G the sum of all counterfactual values so far.

    Step size: a number `eta` is constant. By default eta = sqrt(8 ln |A(I)| / V) at information state I, where V sums
    the squared ranges (largest minus smallest) of the counterfactual values that I has seen: about
    sqrt(8 ln |A(I)| / t) / range, which no scale of the payoffs can put wrong.

    Guarantee: in two-player zero-sum games, from the uniform start, NashConv of the *average* after T iterations is at
    most sum_I (ln |A(I)| / eta + eta T D_I^2 / 8) / T, with D_I a bound on those ranges (Cesa-Bianchi & Lugosi, 2006,
    theorem 2.2); by default at most sum_I (1.36 sqrt(V ln |A(I)|) + 5 D_I) / T, where V <= T D_I^2. The *last* profile
    moves away from an equilibrium that mixes all actions.

    Differs from the paper in: both players learn, at once; the default step sizes, which are in the manner of
    Cesa-Bianchi, Mansour & Stoltz, "Improved second-order bounds for prediction with expert advice", 2007.
    """

    def __init__(self, tree: GameTree, *, eta: float | None = None, initial_profile: Profile | None = None) -> None:
        """Take the constant step size, or None for the decreasing ones."""
        require_positive(eta=eta)
        super().__init__(tree, initial_profile)
        self._start = self._logits
        self._gains: Logits = np.zeros_like(self._start[0]), np.zeros_like(self._start[1])
        self._eta = eta
        self._variations = tuple(np.zeros(table.num_infostates) for table in tree.tables)

    def _advance(self) -> tuple[Profile, Logits]:
        values = both_values(self.tree, self._profile)
        self._gains = self._gains[0] + values[0], self._gains[1] + values[1]
        first, second = (self._start[p] + self._step_size(p, values[p]) * self._gains[p] for p in PLAYERS)
        return self._profile, (first, second)

    def _step_size(self, player: int, values: Floats) -> Floats | float:
        if self._eta is not None:
            return self._eta
        table, variation = self.tree.tables[player], self._variations[player]
        variation += ((table.maxima(values) + table.maxima(-values)) / self._unit) ** 2
        entropy = 8 * np.log(table.num_legal)
        steps = np.sqrt(np.divide(entropy, variation, out=np.zeros_like(entropy), where=variation > 0))
        return table.spread(steps) / self._unit


class OMWU(LogitSolver):
    """Optimistic multiplicative weights: the newest values count twice, those before are taken back once.

    Paper: Rakhlin & Sridharan, "Optimization, Learning, and Games with Predictable Sequences", NeurIPS 2013; last
    iterate: Daskalakis & Panageas, ITCS 2019, and Wei et al., "Linear Last-iterate Convergence in Constrained
    Saddle-point Optimization", ICLR 2021. Logits += eta (2 q_t - q_{t-1}), q_{-1} = q_0.

    Step size: a constant, `eta` or by default 1 / D_I at information state I, with D_I the range that counterfactual
    values can have there (`first_order.value_ranges`; in a matrix game at most the payoff range D).

    Guarantee: in zero-sum matrix games with eta <= 1 / D NashConv of the *average* is at most
    (ln m + ln n + 2) / (eta T) for m and n actions (the 2 comes from q_{-1} = q_0), and the *last* iterate converges
    linearly where the equilibrium is unique and eta is small. On trees the last profile is seen to converge on Kuhn
    poker; nothing is claimed.

    Differs from the paper in: counterfactual values at every information state rather than one matrix.
    """

    def __init__(self, tree: GameTree, *, eta: float | None = None, initial_profile: Profile | None = None) -> None:
        """Take the constant step size, or None for the default ones."""
        require_positive(eta=eta)
        super().__init__(tree, initial_profile)
        self._eta = _constant_steps(tree, eta)
        self._before: Logits | None = None

    def _advance(self) -> tuple[Profile, Logits]:
        values = both_values(self.tree, self._profile)
        before = values if self._before is None else self._before
        self._before = values
        first, second = (self._logits[p] + self._eta[p] * (2 * values[p] - before[p]) for p in PLAYERS)
        return self._profile, (first, second)


class Extragradient(LogitSolver):
    """Mirror-prox: look half a step ahead, then step from the old place with the values found there.

    Paper: Korpelevich, 1976; with entropy, Nemirovski, "Prox-Method with Rate of Convergence O(1/t)", SIAM Journal on
    Optimization 15, 2004. half = softmax(logits + eta q(policy)); logits += eta q(half).

    Step size: a constant, `eta` or by default 1 / D_I at information state I, as in `OMWU`.

    Guarantee: in zero-sum matrix games with eta <= 2 / D NashConv of the *average* of the half points is at most
    (ln m + ln n) / (eta T), and the *last* iterate is seen to converge. On trees it is seen to converge on Kuhn poker;
    nothing is claimed.

    Differs from the paper in: counterfactual values at every information state; the average is that of the half
    points, as in the theorem, and two evaluations of the tree make one iteration.
    """

    def __init__(self, tree: GameTree, *, eta: float | None = None, initial_profile: Profile | None = None) -> None:
        """Take the constant step size, or None for the default ones."""
        require_positive(eta=eta)
        super().__init__(tree, initial_profile)
        self._eta = _constant_steps(tree, eta)

    def _advance(self) -> tuple[Profile, Logits]:
        half = softmax_profile(self.tree, self._moved(self._profile))
        return half, self._moved(half)

    def _moved(self, at: Profile) -> Logits:
        values = both_values(self.tree, at)
        return self._logits[0] + self._eta[0] * values[0], self._logits[1] + self._eta[1] * values[1]


def _constant_steps(tree: GameTree, eta: float | None) -> tuple[Floats | float, Floats | float]:
    return default_steps(tree) if eta is None else (eta, eta)
