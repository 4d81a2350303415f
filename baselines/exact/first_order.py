"""What the learners share that change both players' logits at once, and the scales their default steps come from."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
from scipy.sparse import coo_matrix, csr_matrix

from ...envs.game import PLAYERS
from ...envs.infostates import Floats, InfostateTable
from ...envs.tree import (
    TERMINAL,
    GameTree,
    Profile,
    check_profile,
    counterfactual_values,
    prefix_returns,
    uniform_profile,
    visiting_probabilities,
)
from .solver import AverageProfile

Logits = tuple[Floats, Floats]
"""Both players' logits, one for each action."""


class LogitSolver(ABC):
    """A learner whose policies are the softmax of logits at every information state, both players moving at once.

    Its average profile is that of the policies used by the finished steps, the start included, the newest not yet.
    """

    def __init__(self, tree: GameTree, initial_profile: Profile | None) -> None:
        """Start from `initial_profile`, uniform where it is None.

        Raises:
            ValueError: the start is no profile, or an action in it has probability 0, which no step could change.
        """
        start = uniform_profile(tree) if initial_profile is None else check_profile(tree, initial_profile)
        if any(np.any(policy <= 0) for policy in start):
            raise ValueError("initial_profile: expected probabilities above 0, got an action with probability 0")
        self.tree = tree
        self.iteration = 0
        self._logits: Logits = np.log(start[0]), np.log(start[1])
        self._profile = start
        self._average = AverageProfile(tree)

    @property
    def last_profile(self) -> Profile:
        """The newest iterate."""
        return self._profile

    @property
    def average_profile(self) -> Profile | None:
        """The average of the iterates that were used, weighted by own reach; None before the first step."""
        return self._average.profile

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


def require_positive(**numbers: float | None) -> None:
    """Refuse numbers that are not finite and above 0; None stands for a default and passes.

    Raises:
        ValueError: the first such number, by name.
    """
    for name, number in numbers.items():
        if number is not None and not (np.isfinite(number) and number > 0):
            raise ValueError(f"{name}: expected a finite number above 0, got {number}")


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
    scale = 2 * float(np.sqrt(weights @ (returns - weights @ returns) ** 2).max())
    return scale if scale > 0 else 1.0


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
        ranges.append(np.minimum(widest, np.bincount(at, tree.chance_reach[nodes] * span, table.num_infostates)))
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
