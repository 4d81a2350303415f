"""One player's decision points as flat arrays: what its policies are indexed by.

A player's *sequence* is its own actions so far (von Stengel, 1996): under perfect recall it is named by the last of
them, so that sequence 0 is "nothing said yet" and sequence a + 1 ends with action a. The probability that a policy
puts on a sequence, its own reach, is the player's *realisation plan*.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

Policy = NDArray[np.float64]
"""One player's policy: the probability of each of its actions, all information states in one array; shape (A,)."""

TIE = 1e-12
"""Action values closer than this, as a share of the largest, count as equal; the first action wins."""


def sums_by(index: Ints | NDArray[np.int32], weights: Floats, size: int) -> Floats:
    """Return the sum of the weights that share an index, for each index below `size`; shape (size,)."""
    return np.bincount(index, weights, size).astype(np.float64, copy=False)


def read_only(numbers: Ints) -> Ints:
    """Return the same array, not to be written to any more: every solver on a tree shares it."""
    numbers.setflags(write=False)
    return numbers


@dataclass(frozen=True)
class _Level:
    """The information states with one number of own earlier actions, as slices of the player's arrays."""

    infostates: slice
    actions: slice
    starts: Ints
    """Where each information state's actions start, from the start of the level."""
    parents: Ints
    """The actions that lead here, from the start of the level before; empty at the first level."""


@dataclass(frozen=True, eq=False)
class InfostateTable:
    """A player's I information states, sorted by the number of own earlier actions, and their A actions.

    Everything that a solver computes on a tree goes through these arrays, level by level. They are read-only.
    """

    player: int
    offsets: Ints
    """The actions of information state i are offsets[i]:offsets[i + 1]; shape (I + 1,)."""
    tokens: Ints
    """The token that each action says; shape (A,)."""
    parent_sequence: Ints
    """The player's sequence when it comes to each information state; shape (I,)."""
    nodes: Ints
    """A node of the tree in each information state; shape (I,)."""
    level_offsets: Ints
    """The information states of level k are level_offsets[k]:level_offsets[k + 1]."""

    @property
    def num_infostates(self) -> int:
        """The number I of information states."""
        return len(self.nodes)

    @property
    def num_actions(self) -> int:
        """The number A of actions in all information states together."""
        return len(self.tokens)

    @cached_property
    def num_legal(self) -> Ints:
        """How many actions each information state has; shape (I,)."""
        return read_only(np.diff(self.offsets))

    @cached_property
    def infostate_of(self) -> Ints:
        """The information state of each action; shape (A,)."""
        return read_only(np.repeat(np.arange(self.num_infostates), self.num_legal))

    @cached_property
    def levels(self) -> tuple[slice, ...]:
        """The information states by number of own earlier actions, fewest first."""
        return tuple(level.infostates for level in self._levels)

    @cached_property
    def _levels(self) -> tuple[_Level, ...]:
        levels: list[_Level] = []
        for first, end in zip(self.level_offsets[:-1].tolist(), self.level_offsets[1:].tolist(), strict=True):
            low, high = int(self.offsets[first]), int(self.offsets[end])
            above = levels[-1].actions.start if levels else 0
            parents = self.parent_sequence[first:end] - 1 - above if levels else np.zeros(0, dtype=np.int64)
            levels.append(_Level(slice(first, end), slice(low, high), self.offsets[first:end] - low, parents))
        return tuple(levels)

    @cached_property
    def _parent_of_action(self) -> Ints:
        return self.parent_sequence[self.infostate_of]

    def sums(self, values: Floats) -> Floats:
        """Return the sum of `values` (A,) in each information state; shape (I,)."""
        return np.add.reduceat(values, self.offsets[:-1]) if len(values) else values.copy()

    def maxima(self, values: Floats) -> Floats:
        """Return the largest of `values` (A,) in each information state; shape (I,)."""
        return np.maximum.reduceat(values, self.offsets[:-1]) if len(values) else values.copy()

    def spread(self, values: Floats) -> Floats:
        """Return each information state's number (I,) at each of its actions; shape (A,)."""
        return values[self.infostate_of]

    def uniform(self) -> Policy:
        """Return the policy that says every legal token with the same probability."""
        return 1.0 / self.spread(self.num_legal.astype(np.float64))

    def normalise(self, weights: Floats) -> Policy:
        """Return the policy proportional to `weights` (A,) >= 0, uniform where all of them are 0."""
        totals = self.spread(self.sums(weights))
        return np.where(totals > 0, weights / np.where(totals > 0, totals, 1.0), self.uniform())

    def softmax(self, logits: Floats) -> Policy:
        """Return the policy proportional to exp(logits); shape (A,)."""
        weights: Floats = np.exp(logits - self.spread(self.maxima(logits)))
        policy: Policy = weights / self.spread(self.sums(weights))
        return policy

    def greedy(self, values: Floats, *, ties: str = "first") -> Policy:
        """Return the pure policy that takes the best of `values` (A,), the "first" or "last" within `TIE` of it."""
        if ties not in ("first", "last"):
            raise ValueError(f'ties: expected "first" or "last", got {ties!r}')
        order = np.arange(self.num_actions, dtype=np.float64)
        order = -order if ties == "first" else order
        near = TIE * np.abs(values).max(initial=0.0)
        best = np.where(values >= self.spread(self.maxima(values)) - near, order, -np.inf)
        chosen: Policy = np.equal(best, self.spread(self.maxima(best))).astype(np.float64)
        return chosen

    def reach(self, policy: Policy) -> Floats:
        """Return the realisation plan: the own reach of each sequence; shape (A + 1,)."""
        plan = np.empty(self.num_actions + 1)
        plan[0] = 1.0
        for level in self._levels:
            actions = level.actions
            plan[actions.start + 1 : actions.stop + 1] = policy[actions] * plan[self._parent_of_action[actions]]
        return plan

    def policy_of(self, plan: Floats) -> Policy:
        """Return the behaviour policy of a realisation plan (A + 1,), uniform where the plan never comes."""
        return self.normalise(plan[1:])

    def back_up(self, gradient: Floats, policy: Policy) -> Floats:
        """Return the counterfactual value of each action, what follows it played by `policy`; shape (A,).

        Args:
            gradient: of the return by the player's own realisation plan; shape (A + 1,).
            policy: the player's own; shape (A,).
        """
        values = gradient[1:].copy()
        for k in range(len(self._levels) - 1, 0, -1):
            level, above = self._levels[k], self._levels[k - 1].actions
            worth = np.add.reduceat(policy[level.actions] * values[level.actions], level.starts)
            values[above] += sums_by(level.parents, worth, above.stop - above.start)
        return values

    def best_values(self, gradient: Floats) -> Floats:
        """Return the counterfactual value of each action, what follows it played as well as can be; shape (A,)."""
        values = gradient[1:].copy()
        for k in range(len(self._levels) - 1, 0, -1):
            level, above = self._levels[k], self._levels[k - 1].actions
            worth = np.maximum.reduceat(values[level.actions], level.starts)
            values[above] += sums_by(level.parents, worth, above.stop - above.start)
        return values

    def root_value(self, gradient: Floats, worth: Floats) -> float:
        """Return the player's return if its information states are worth `worth` (I,) to it."""
        return float(gradient[0] + (worth[self.levels[0]].sum() if self.levels else 0.0))
