"""What the learners share that change both players' logits at once, and the scales their default steps come from."""

from __future__ import annotations

from abc import abstractmethod

import numpy as np
from scipy.sparse import coo_matrix, csr_matrix

from ...envs.game import PLAYERS
from ...envs.tree.analysis import (
    TERMINAL,
    GameTree,
    Profile,
    counterfactual_values,
    prefix_returns,
    uniform_profile,
    visiting_probabilities,
)
from ...envs.tree.infostates import Floats, InfostateTable, sums_by
from .solver import AveragingSolver

Logits = tuple[Floats, Floats]
"""Both players' logits, one for each action."""


class LogitSolver(AveragingSolver):
    """A learner whose policies are the softmax of logits at every information state, both players moving at once."""

    def __init__(self, tree: GameTree, initial_profile: Profile | None) -> None:
        """Start from `initial_profile`, uniform where it is None.

        Raises:
            ValueError: the start is no profile, or an action in it has probability 0, which no step could change.
            FloatingPointError: payoffs out of the range of floats, as `payoff_unit` says.
        """
        super().__init__(tree, initial_profile)
        self._unit = payoff_unit(tree)
        if any(np.any(policy <= 0) for policy in self._profile):
            raise ValueError("initial_profile: expected probabilities above 0, got an action with probability 0")
        self._logits: Logits = np.log(self._profile[0]), np.log(self._profile[1])

    def step(self) -> None:
        """Replace the policies and add those that were learned from to the average."""
        used, self._logits = self._advance()
        self._average.add(used)
        self._profile = softmax_profile(self.tree, self._logits)
        self.iteration += 1

    @abstractmethod
    def _advance(self) -> tuple[Profile, Logits]:
        """Return the profile that this iteration learns from, and the next logits."""


def softmax_profile(tree: GameTree, logits: Logits) -> Profile:
    """Return the policies proportional to exp(logits) at every information state."""
    return tree.tables[0].softmax(logits[0]), tree.tables[1].softmax(logits[1])


def log_softmax(table: InfostateTable, logits: Floats) -> Floats:
    """Return the logarithm of the softmax, finite where the probability itself is too small for a number."""
    shifted = logits - table.spread(table.maxima(logits))
    return shifted - table.spread(np.log(table.sums(np.exp(shifted))))


def both_values(tree: GameTree, profile: Profile) -> Logits:
    """Return both players' counterfactual action values: what a learner is told after each iteration."""
    return counterfactual_values(tree, 0, profile), counterfactual_values(tree, 1, profile)


class Encounters:
    """Where one player's information states and the other's sequences meet: chance's probability of each pair."""

    def __init__(self, tree: GameTree, player: int) -> None:
        """Collect the player's decision nodes, by the sequence that the other player has said there."""
        nodes = np.flatnonzero(tree.player == player)
        table, opponent = tree.tables[player], tree.tables[1 - player]
        shape = (table.num_infostates, opponent.num_actions + 1)
        self.chance: csr_matrix = coo_matrix(
            (tree.chance_reach[nodes], (tree.infostate[nodes], tree.sequences[1 - player, nodes])), shape=shape
        ).tocsr()

    def reach(self, opponent_plan: Floats) -> Floats:
        """Return chance's and the opponent's reach of each information state; shape (I,)."""
        reach: Floats = self.chance @ opponent_plan
        return reach


def payoff_scale(tree: GameTree) -> float:
    """Return S, twice the standard deviation of an episode's return when both play uniformly (of the player with more).

    Unlike the payoff range, it is not set by a rare jackpot; for a fair coin that pays +-1 both are 2. It is 1 in a
    game that always pays the same, where no step size matters.
    """
    leaves = tree.player == TERMINAL
    weights = visiting_probabilities(tree, uniform_profile(tree))[leaves]
    returns = prefix_returns(tree)[leaves]
    off = returns - weights @ returns
    widest = payoff_unit(tree)  # squares of payoffs themselves could overflow, or vanish
    scale = 2 * widest * float(np.sqrt(weights @ (off / widest) ** 2).max())
    return scale if scale > 0 else 1.0


def payoff_unit(tree: GameTree) -> float:
    """Return the payoff range, or what a game that always pays the same pays, 1 if that is nothing.

    Raises:
        FloatingPointError: it is so large or so small that step sizes would be 0 or infinite.
    """
    with np.errstate(over="ignore", divide="ignore"):
        unit = tree.payoff_range or float(np.abs(tree.rewards).max()) or 1.0
        fits = np.isfinite(unit) and np.isfinite(np.divide(1.0, unit))
    if not fits:
        raise FloatingPointError(
            f"{type(tree.game).__name__}: expected a payoff range that is a float, as is one over it, got {unit}; "
            "another unit of payoff would help"
        )
    return unit


def value_ranges(tree: GameTree) -> Logits:
    """Return bounds D_I on how far the counterfactual values at each information state lie apart; shapes (I,).

    With R(h) the range of what may still be paid after a node h of I, D_I is the smaller of max_h R(h) and
    sum_h chance(h) R(h), whatever the policies are.
    """
    spans, ranges = _spans(tree), []
    for player, table in zip(PLAYERS, tree.tables, strict=True):
        nodes = np.flatnonzero(tree.player == player)
        at, span = tree.infostate[nodes], spans[nodes, player]
        widest = np.zeros(table.num_infostates)
        np.maximum.at(widest, at, span)
        ranges.append(np.minimum(widest, sums_by(at, tree.chance_reach[nodes] * span, table.num_infostates)))
    return ranges[0], ranges[1]


def default_steps(tree: GameTree) -> Logits:
    """Return 1 / D_I (see `value_ranges`) at each player's actions, 0 where nothing is at stake."""
    first, second = (
        table.spread(np.divide(1.0, ranges, out=np.zeros_like(ranges), where=ranges > 0))
        for table, ranges in zip(tree.tables, value_ranges(tree), strict=True)
    )
    return first, second


def _spans(tree: GameTree) -> Floats:
    """Return the largest minus the smallest amount that either player may still be paid after each node; (N, 2)."""
    most, least = np.zeros((tree.num_nodes, 2)), np.zeros((tree.num_nodes, 2))
    for nodes in tree.levels[:0:-1]:
        parents, first = np.unique(tree.parent[nodes], return_index=True)  # siblings lie side by side
        most[parents] = np.maximum.reduceat(tree.rewards[nodes] + most[nodes], first)
        least[parents] = np.minimum.reduceat(tree.rewards[nodes] + least[nodes], first)
    return most - least
