"""GPO's theoretical algorithm: both players follow the regularised leader, and the averages are the result."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import entr

from ...envs.game import PLAYERS
from ...envs.tree.analysis import (
    GameTree,
    Policy,
    Profile,
    best_response,
    check_profile,
    counterfactual_values,
    expected_returns,
)
from ...envs.tree.infostates import Floats, InfostateTable, sums_by
from ..training.checks import check_count, check_finite, check_not_negative, check_positive, require_positive
from .first_order import Logits, LogitSolver

NO_WEIGHT = 1e-200
"""Entropy that weighs less, beside the payoff range, is nothing, and would overflow as a divisor."""


class GPOFTRL(LogitSolver):
    """FTRL for adversary and defender at once, for a number of iterations that is known beforehand.

    Paper: R. Zheng et al., "Toward Optimal LLM Alignments Using Two-Player Games", 2024, arXiv 2406.10977, section 3.
    Player 0, the adversary mu, and player 1, the defender pi, play

        max_pi min_mu J(pi, mu),   J = E[r(x, y)] - diversity_weight E[R_div(x)] - entropy_weight H(mu)   (3.1), (3.7)
        mu_t(x)   proportional to exp(-eta_mu sum_{s<t} [E_{pi_s} r(x, .) - diversity_weight R_div(x)] / k_t)
        pi_t(y|x) proportional to exp(eta_pi sum_{s<t} mu_s(x) r(x, y)),   k_t = 1 + eta_mu (t - 1) entropy_weight

    from uniform (t = 1), and the averages over t, weighted by own reach, are the result. The constants behind the
    paper's O(.) come from Hoeffding's lemma at every information state (Cesa-Bianchi & Lugosi, 2006, theorem 2.2):

        eta_p = sqrt(8 L_p / (T S_p)) / D_p,   NashConv <= sum_p D_p sqrt(L_p S_p / (2 T))   after T iterations

    with eta_p / C_I the step size at information state I, where C_I is the most reach that chance and the opponent can
    give it; L_p the sum of C_I ln |A(I)|, S_p the most information states that chance and the opponent can let player p
    pass in an episode if p itself goes everywhere at once, D_p the payoff range. For n prompts and m replies C = S = 1
    and L = ln n and n ln m: the factor sqrt(n) is real, as a prompt's answer is learned only as often as it is asked.

    Guarantee: in zero-sum games NashConv of the *average* is at most `bound(t)` after each iteration t. With terms,
    that of J is at most `regularised_bound(t)`, if player 0 speaks before it hears anything of player 1. The last
    profile settles where a pure equilibrium exists, as in a one-shot game of perfect information.

    Differs from the paper in: explicit constants; R_div and H(mu), there functions of a whole prompt, are sums over
    player 0's tokens, each weighted by chance and by player 0's own reach only, so that they stay constants for the
    defender; counterfactual values at every information state carry it over to games of any length.
    """

    def __init__(
        self,
        tree: GameTree,
        *,
        num_iterations: int,
        diversity: ArrayLike | None = None,
        diversity_weight: float = 1.0,
        entropy_weight: float = 0.0,
        payoff_range: float | None = None,
        eta: Sequence[float] | None = None,
    ) -> None:
        """Fix the step sizes, and start from uniform policies.

        Args:
            tree: of the game.
            num_iterations: T, for which the step sizes are made; the bound holds before and after it as well.
            diversity: R_div, a fixed number for each action of player 0, shape (A_0,); None: 0.
            diversity_weight: beta_div.
            entropy_weight: eta of eq. 3.7, in units of payoff a nat.
            payoff_range: D, if a wider one than the tree's own is to be used, such as 1 for rewards in [0, 1].
            eta: both players' step sizes, instead of those above.

        Raises:
            ValueError: a number out of its range, or diversity of another shape; the message names it.
        """
        check_count("num_iterations", num_iterations)
        check_not_negative("entropy_weight", entropy_weight)
        super().__init__(tree, None)
        own_range = _payoff_range(tree, payoff_range)
        self._gains: Logits = np.zeros(tree.tables[0].num_actions), np.zeros(tree.tables[1].num_actions)
        bonus = _weighted(tree.tables[0], diversity, diversity_weight)
        self._distortion, widening = _ranges(tree.tables[0], bonus, entropy_weight)
        self._scales = _Scales(tree, 0, own_range + widening), _Scales(tree, 1, own_range)
        self._bonus = bonus * tree.tables[0].spread(self._scales[0].most_reach)
        self._entropies = entropy_weight * self._scales[0].most_reach
        self._entropy_weight = entropy_weight
        self._has_terms = bool(bonus.any()) or entropy_weight > 0
        self.eta = _step_sizes(self._scales, num_iterations, eta)
        """The step sizes eta_mu and eta_pi."""

    def bound(self, iteration: int) -> float | None:
        """Return what NashConv of the average after `iteration` steps cannot exceed; None where nothing is proved.

        With terms that is the bound for J, and how far the terms can move either player's best choice.

        Raises:
            ValueError: `iteration` is below 1: there is no average before the first step.
        """
        bound = self.regularised_bound(iteration)
        return None if bound is None else bound + self._distortion

    def regularised_bound(self, iteration: int) -> float | None:
        """Return what `regularised_nash_conv` of the average after `iteration` steps cannot exceed, or None."""
        check_count("iteration", iteration)
        heard = self.tree.sequences[1, self.tree.player == 0]
        if not self.tree.is_zero_sum or (self._has_terms and heard.any()):
            return None
        return sum(scale.regret(eta, iteration) for scale, eta in zip(self._scales, self.eta, strict=True)) / iteration

    def regularised_nash_conv(self, profile: Sequence[Policy]) -> float:
        """Return NashConv of J (eq. 3.6, which calls it NEGap), diversity and entropy included."""
        first, second = check_profile(self.tree, profile)
        gradient = self.tree.gradient(0, self.tree.tables[1].reach(second))
        gradient[1:] += self._bonus
        best = self._best_adversary(gradient)
        gain = self._objective(gradient, best) - self._objective(gradient, first)
        reply = best_response(self.tree, 1, first).value - float(expected_returns(self.tree, (first, second))[1])
        return gain + reply

    def _advance(self) -> tuple[Profile, Logits]:
        values = self._adversary_values(self._profile), counterfactual_values(self.tree, 1, self._profile)
        self._gains = self._gains[0] + values[0], self._gains[1] + values[1]
        cooling = 1 + self.eta[0] * self._entropy_weight * (self.iteration + 1)
        first = self.eta[0] / cooling * self._gains[0] * self._scales[0].per_reach
        return self._profile, (first, self.eta[1] * self._gains[1] * self._scales[1].per_reach)

    def _adversary_values(self, profile: Profile) -> Floats:
        if not self._has_terms:
            return counterfactual_values(self.tree, 0, profile)
        table, gradient = self.tree.tables[0], self.tree.gradient(0, self.tree.tables[1].reach(profile[1]))
        gradient[1:] += self._bonus
        return table.back_up(gradient + self._entropy_gradient(profile[0]), profile[0])

    def _entropy_gradient(self, policy: Policy) -> Floats:
        """Return the entropy terms of a policy, each at the sequence that leads to its information state."""
        table = self.tree.tables[0]
        entropies = self._entropies * table.sums(entr(policy))
        return sums_by(table.parent_sequence, entropies, table.num_actions + 1)

    def _objective(self, gradient: Floats, policy: Policy) -> float:
        return float((gradient + self._entropy_gradient(policy)) @ self.tree.tables[0].reach(policy))

    def _best_adversary(self, gradient: Floats) -> Policy:
        """Return the best response to a fixed defender, deepest first: greedy, a softmax where entropy is paid."""
        table, policy = self.tree.tables[0], self.tree.tables[0].uniform()
        weights = table.spread(self._entropies)
        counts = weights > NO_WEIGHT * self._scales[0].payoff_range
        for level in reversed(table.levels):
            values = table.back_up(gradient + self._entropy_gradient(policy), policy)
            soft = table.softmax(values / np.where(counts, weights, 1.0))
            best = np.where(counts, soft, table.greedy(values))
            here = slice(int(table.offsets[level.start]), int(table.offsets[level.stop]))
            policy[here] = best[here]
        return policy


class _Scales:
    """What a player's step size and regret depend on."""

    def __init__(self, tree: GameTree, player: int, payoff_range: float) -> None:
        table, opponent_table = tree.tables[player], tree.tables[1 - player]
        nodes = np.flatnonzero(tree.player == player)
        reach = sums_by(tree.infostate[nodes], tree.chance_reach[nodes], table.num_infostates)
        self.most_reach = np.minimum(1.0, reach)
        """C_I; shape (I,)."""
        self.per_reach = table.spread(np.divide(1.0, self.most_reach, where=reach > 0, out=np.zeros_like(reach)))
        """1 / C_I at each action, 0 where chance never comes; shape (A,)."""
        self.sum_log_actions = float(self.most_reach @ np.log(table.num_legal))
        self.payoff_range = payoff_range
        nodes = nodes[table.num_legal[tree.infostate[nodes]] > 1]
        passed = sums_by(tree.sequences[1 - player, nodes], tree.chance_reach[nodes], opponent_table.num_actions + 1)
        self.most_passed = opponent_table.root_value(passed, opponent_table.maxima(opponent_table.best_values(passed)))

    def step_size(self, num_iterations: int) -> float:
        """Return the step size with the least regret after that many steps; any will do for who has no choice."""
        if not min(self.sum_log_actions, self.payoff_range) > 0:
            return 1.0
        return float(np.sqrt(8 * self.sum_log_actions / (num_iterations * self.most_passed)) / self.payoff_range)

    def regret(self, eta: float, iteration: int) -> float:
        """Return what the player's regret after `iteration` steps of size `eta` cannot exceed."""
        payoffs = eta * self.payoff_range * self.payoff_range  # the square alone can be more than a float holds
        return self.sum_log_actions / eta + payoffs * iteration * self.most_passed / 8


def entropy_regularised_adversary(rewards: ArrayLike, eta: float) -> Floats:
    """Return the adversary that minimises E_mu[max_y r(x, y)] - eta H(mu), against a defender that knows it.

    The closed form behind eq. 3.7 of arXiv 2406.10977: mu(x) proportional to exp(-max_y r(x, y) / eta), the worst
    prompt alone (the first of several) at eta = 0, uniform for large eta.

    Args:
        rewards: r(x, y), a row for each prompt and a column for each reply.
        eta: weight of the entropy, at least 0.

    Raises:
        ValueError: rewards that are no matrix of finite numbers, or `eta` out of its range.

    >>> entropy_regularised_adversary([[1.0, 0.0], [0.25, 0.5]], eta=0.0).tolist()
    [0.0, 1.0]
    """
    best_reply = _matrix("rewards", rewards).max(1)
    if check_not_negative("eta", eta) == 0:
        weights: Floats = np.eye(len(best_reply))[best_reply.argmin()]
    else:
        with np.errstate(over="ignore"):  # what is infinitely far behind is never said
            weights = np.exp((best_reply.min() - best_reply) / eta)
    distribution: Floats = weights / weights.sum()
    return distribution


def effective_number(distribution: ArrayLike) -> float:
    """Return exp of the entropy: 1 for a point mass, n for n equally likely outcomes.

    >>> effective_number([0.5, 0.5, 0.0])
    2.0
    """
    return float(np.exp(entr(np.asarray(distribution, dtype=np.float64)).sum()))


def _matrix(name: str, numbers: ArrayLike) -> Floats:
    matrix = np.asarray(numbers, dtype=np.float64)
    if matrix.ndim != 2 or not matrix.size or not np.isfinite(matrix).all():
        raise ValueError(f"{name}: expected finite numbers of shape (n, m), n and m >= 1, got {numbers!r}")
    return matrix


def _weighted(table: InfostateTable, diversity: ArrayLike | None, weight: float) -> Floats:
    """Return the weighted diversity of each of player 0's actions; shape (A,)."""
    try:
        numbers = np.zeros(table.num_actions) if diversity is None else np.asarray(diversity, dtype=np.float64)
    except (ValueError, TypeError):
        raise ValueError(f"diversity: expected {table.num_actions} finite numbers, got {diversity!r}") from None
    weighted: Floats = check_finite("diversity_weight", weight) * numbers
    if numbers.shape != (table.num_actions,) or not np.isfinite(weighted).all():
        raise ValueError(
            f"diversity: expected {table.num_actions} finite numbers, got {weight} times {numbers} "
            f"of shape {numbers.shape}"
        )
    return weighted


def _payoff_range(tree: GameTree, payoff_range: float | None) -> float:
    if payoff_range is None:
        return tree.payoff_range
    if check_positive("payoff_range", payoff_range) < tree.payoff_range:
        raise ValueError(f"payoff_range: expected at least the tree's own {tree.payoff_range}, got {payoff_range!r}")
    return payoff_range


def _ranges(table: InfostateTable, bonus: Floats, entropy_weight: float) -> tuple[float, float]:
    """Return how much the terms can differ between two policies of player 0, and between two of its actions' values."""
    bonus_range, nats = 0.0, []
    for level in table.levels:
        bonus_range += float(np.ptp(bonus[int(table.offsets[level.start]) : int(table.offsets[level.stop])]))
        nats.append(float(np.log(table.num_legal[level].max())))
    return bonus_range + entropy_weight * sum(nats), bonus_range + entropy_weight * sum(nats[1:])


def _step_sizes(
    scales: tuple[_Scales, _Scales], num_iterations: int, eta: Sequence[float] | None
) -> tuple[float, float]:
    if eta is None:
        return scales[0].step_size(num_iterations), scales[1].step_size(num_iterations)
    if isinstance(eta, str) or not isinstance(eta, (Sequence, np.ndarray)) or len(eta) != len(PLAYERS):
        raise ValueError(f"eta: expected two numbers, one a player, got {eta!r}")
    require_positive(eta_mu=eta[0], eta_pi=eta[1])
    return float(eta[0]), float(eta[1])
