"""Regularised Nash dynamics: solve a regularised game, make its solution the regulariser, repeat."""

from __future__ import annotations

from ...envs.game import PLAYERS
from ...envs.tree.analysis import GameTree, Profile
from ...envs.tree.infostates import Floats
from ..training.checks import check_count, require_positive
from .first_order import Encounters, Logits, LogitSolver, log_softmax, payoff_scale
from .mmd import given_reached


class RNaD(LogitSolver):
    """Regularised Nash dynamics (R-NaD), tabular.

    Paper: Perolat et al., "Mastering the game of Stratego with model-free multiagent reinforcement learning", Science
    378, 2022 (arXiv 2206.15378); theory in Perolat et al., "From Poincaré Recurrence to Convergence in Imperfect
    Information Games", ICML 2021. Rewards become r^i - alpha log(pi^i / reg^i) + alpha log(pi^-i / reg^-i); the step is
    log pi <- log pi + eta q with q the action values under these rewards, so that at the action itself it is
    log pi + eta (q - alpha log(pi / reg)); every `reg_every` steps reg <- pi.

    Step size: alpha = S / 10 and eta = 1 / (2 S) by default, with S twice the standard deviation of the return under
    uniform play (`first_order.payoff_scale`); eta alpha must be below 1. `reg_every` is 50.

    Guarantee: in two-player zero-sum games each regularised game has one equilibrium, to which the continuous dynamics
    converge, and the sequence of these equilibria converges to a Nash equilibrium: the *last* iterate. On Leduc poker
    it falls with spikes (NashConv from .05 back to .9 within 12,000 steps), where a player returns to words that it had
    all but given up. The average is kept, without a claim.

    Differs from the paper in: discrete steps of exact replicator dynamics (exponential weights) with action values
    given that the information state is reached (0 where it is not), no network, no sampling, no v-trace; reg changes
    at once rather than by interpolation.
    """

    def __init__(
        self,
        tree: GameTree,
        *,
        eta: float | None = None,
        alpha: float | None = None,
        reg_every: int = 50,
        initial_profile: Profile | None = None,
    ) -> None:
        """Take the step size, the weight of the regulariser and how many steps it stays.

        Raises:
            ValueError: a number that is not above 0, or `eta` times `alpha` of 1 or more.
        """
        require_positive(eta=eta, alpha=alpha)
        super().__init__(tree, initial_profile)
        scale = payoff_scale(tree)
        self._alpha = alpha if alpha is not None else scale / 10
        self._eta = eta if eta is not None else 0.5 / scale
        if self._eta * self._alpha >= 1:
            raise ValueError(f"eta: expected eta * alpha below 1, got {self._eta} * {self._alpha}")
        self._reg_every = check_count("reg_every", reg_every)
        self._reg = self._log_policies()
        self._encounters = Encounters(tree, 0), Encounters(tree, 1)

    def _advance(self) -> tuple[Profile, Logits]:
        policies = self._log_policies()
        if self.iteration and self.iteration % self._reg_every == 0:
            self._reg = policies
        ratios = policies[0] - self._reg[0], policies[1] - self._reg[1]
        first, second = (policies[p] + self._eta * self._regularised_values(p, ratios) for p in PLAYERS)
        return self._profile, (first, second)

    def _log_policies(self) -> Logits:
        tables = self.tree.tables
        return log_softmax(tables[0], self._logits[0]), log_softmax(tables[1], self._logits[1])

    def _regularised_values(self, player: int, ratios: Logits) -> Floats:
        """Return the player's action values under the transformed rewards; `ratios` are log(pi / reg)."""
        table, opponent = self.tree.tables[player], self.tree.tables[1 - player]
        plan = opponent.reach(self._profile[1 - player])
        reach = self._encounters[player].reach(plan)
        gradient = self.tree.gradient(player, plan).copy()
        gradient[1:] -= self._alpha * table.spread(reach) * ratios[player]
        divergences = opponent.sums(self._profile[1 - player] * ratios[1 - player])
        theirs = plan[opponent.parent_sequence] * divergences
        gradient += self._alpha * (self._encounters[1 - player].chance.T @ theirs)
        return given_reached(self.tree, player, table.back_up(gradient, self._profile[player]), reach)
