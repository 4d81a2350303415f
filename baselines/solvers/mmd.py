"""Magnetic mirror descent: mirror descent that a magnet holds back, so that its last iterate settles."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np

from ...envs.game import PLAYERS
from ...envs.tree.analysis import GameTree, Profile, uniform_profile
from ...envs.tree.infostates import Floats
from ..training.checks import check_choice, check_positive, require_positive
from .first_order import Encounters, Logits, LogitSolver, both_values, log_softmax, payoff_scale, payoff_unit

Magnet = Literal["fixed", "annealed", "moving"]


class MMD(LogitSolver):
    """Magnetic mirror descent with a fixed, an annealed or a moving magnet.

    Paper: Sokota et al., "A Unified Approach to Reinforcement Learning, Quantal Response Equilibria, and Two-Player
    Zero-Sum Games", ICLR 2023 (arXiv 2206.05825), its update with entropy:
    log pi <- (log pi + eta q + eta alpha log rho) / (1 + eta alpha), with magnet rho, the start of which is uniform.
    It is online mirror descent on the regularised game with step eta / (1 + eta alpha).

    On trees this is the paper's behavioural form: one such step at every information state, where q is the
    counterfactual value divided by chance's and the opponent's reach, that is the expected return of the action given
    that the information state is reached; 0 where the opponent never lets it be reached, so that only the magnet acts.

    With D the payoff range (largest minus smallest return), S twice the standard deviation of the return under uniform
    play (`first_order.payoff_scale`), and t = 1, 2, ...:

    * "fixed" keeps eta, alpha and rho; defaults alpha = D / 10, eta = 4 alpha / D^2. Guarantee: on zero-sum matrix
      games the *last* iterate converges linearly to the one alpha-QRE, pi ∝ rho exp(q / alpha), if eta <= alpha / L^2,
      with L the largest |payoff|, which is D / 2 once the payoffs are centred. On trees it aims at the agent QRE and
      does so in practice.
    * "annealed" has alpha_t = alpha / sqrt(t), eta_t = eta / sqrt(t); defaults alpha = S / 2, eta = 2 / S. The released
      code has 1 / sqrt(t) for both on Kuhn poker. The *last* iterate approaches a Nash equilibrium in practice.
    * "moving" keeps eta and alpha and moves the magnet after the policy, rho <- rho^(1 - magnet_rate) pi^magnet_rate,
      pi being the policy before the step, as in the released code; defaults alpha = S / 4, eta = 1 / S, where the
      released code has 1 and .1. The *last* iterate approaches a Nash equilibrium in practice: on Kuhn poker
      steadily, on Leduc poker with spikes (NashConv from .04 back to .9 within 12,000 steps), where a player returns to
      words that it had all but given up.

    Averages are kept, without a claim.
    """

    def __init__(
        self,
        tree: GameTree,
        *,
        magnet: Magnet = "annealed",
        eta: float | None = None,
        alpha: float | None = None,
        magnet_rate: float = 0.05,
        initial_profile: Profile | None = None,
    ) -> None:
        """Take the step size, the weight of the magnet and its speed; None for the defaults of the kind of magnet.

        Raises:
            ValueError: an unknown kind of magnet, a number that is not above 0, or a `magnet_rate` above 1.
        """
        check_choice("magnet", magnet, ("fixed", "annealed", "moving"))
        require_positive(eta=eta, alpha=alpha)
        if check_positive("magnet_rate", magnet_rate) > 1:
            raise ValueError(f"magnet_rate: expected a number in (0, 1], got {magnet_rate!r}")
        super().__init__(tree, initial_profile)
        self._eta, self._alpha = _default_sizes(tree, magnet, eta, alpha)
        self._kind = magnet
        self._magnet_rate = magnet_rate
        uniform = uniform_profile(tree)
        self._magnet: Logits = np.log(uniform[0]), np.log(uniform[1])
        self._encounters = Encounters(tree, 0), Encounters(tree, 1)

    def _advance(self) -> tuple[Profile, Logits]:
        slower = math.sqrt(self.iteration + 1) if self._kind == "annealed" else 1.0
        eta, alpha = self._eta / slower, self._alpha / slower
        values = values_given_infostate(self.tree, self._encounters, self._profile)
        first, second = (
            (self._logits[p] + eta * values[p] + eta * alpha * self._magnet[p]) / (1 + eta * alpha) for p in PLAYERS
        )
        if self._kind == "moving":
            self._magnet = self._moved_magnet(0), self._moved_magnet(1)
        return self._profile, (first, second)

    def _moved_magnet(self, player: int) -> Floats:
        policy = log_softmax(self.tree.tables[player], self._logits[player])
        return (1 - self._magnet_rate) * self._magnet[player] + self._magnet_rate * policy


def _default_sizes(tree: GameTree, magnet: Magnet, eta: float | None, alpha: float | None) -> tuple[float, float]:
    """Return eta and alpha, each as given or, where None, as the docstring of `MMD` says."""
    scale, widest = payoff_scale(tree), payoff_unit(tree)
    weight = alpha if alpha is not None else {"fixed": widest / 10, "annealed": scale / 2, "moving": scale / 4}[magnet]
    default = {"fixed": 4 * (weight / widest) / widest, "annealed": 2 / scale, "moving": 1 / scale}[magnet]
    return eta if eta is not None else default, weight


def values_given_infostate(tree: GameTree, encounters: tuple[Encounters, Encounters], profile: Profile) -> Logits:
    """Return both players' expected returns to go of each action, given its information state; 0 where unreached."""
    values = both_values(tree, profile)
    first, second = (
        given_reached(
            tree, player, values[player], encounters[player].reach(tree.tables[1 - player].reach(profile[1 - player]))
        )
        for player in PLAYERS
    )
    return first, second


def given_reached(tree: GameTree, player: int, values: Floats, reach: Floats) -> Floats:
    """Return counterfactual values (A,) divided by the others' reach (I,) of their information states, or 0."""
    others = tree.tables[player].spread(reach)
    return np.divide(values, others, out=np.zeros_like(values), where=others > 0)
