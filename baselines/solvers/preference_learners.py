"""Learners of the original preference game: tabular forms of self-play alignment without a reference policy.

Each has `policy`, the newest iterate, `average_policy`, the plain mean of the policies that finished steps answered,
`step`, and `num_queries`: how often it asked how all replies fare against one policy, P pi. Games can be stacked, as in
`preference_games.py`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax, softmax

from ...envs.tree.infostates import Floats
from ..training.checks import check_positive
from .preference_games import check_policies, check_preference_matrices, preferred


class LogitLearner(ABC):
    """A learner whose policies are the softmax of logits: its start, its newest iterate, the mean of those before."""

    _previous: Floats | None = None

    def __init__(self, name: str, preferences: NDArray[np.floating], start: Floats) -> None:
        """Take what the start is called in errors, P (..., n, n) and the start (..., n), every reply above 0."""
        self.preferences = check_preference_matrices(preferences)
        self._logits: Floats = np.log(check_policies(name, start, self.preferences))
        self._sum = np.zeros_like(self._logits)
        self.iteration = 0
        self.num_queries = 0

    @property
    def policy(self) -> Floats:
        """The newest iterate."""
        newest: Floats = softmax(self._logits, axis=-1)
        return newest

    @property
    def average_policy(self) -> Floats:
        """The mean of the iterates that finished steps moved away from; the start before the first."""
        return self._sum / self.iteration if self.iteration else self.policy

    def step(self) -> None:
        """Make one update."""
        self._sum += self.policy
        moved: Floats = log_softmax(self._next_logits(), axis=-1)
        self._logits = moved
        self.iteration += 1

    @abstractmethod
    def _next_logits(self) -> Floats:
        """Return the updated logits, up to a constant."""

    def _ask(self, opponents: Floats) -> Floats:
        """Return P pi and count the query."""
        self.num_queries += 1
        return preferred(self.preferences, opponents)

    def _ask_optimistically(self) -> Floats:
        """Return 2 r_t - r_{t-1} for r_t = P pi_t, r_{-1} = r_0."""
        rewards = self._ask(self.policy)
        before = rewards if self._previous is None else self._previous
        self._previous = rewards
        return 2 * rewards - before


class PreferenceFictitiousPlay:
    """The policy is the mean of its start and of all pure best responses to it so far, one population.

    Paper: Brown, "Iterative Solution of Games by Fictitious Play" (1951): x_t = x_{t-1} + (e_b - x_{t-1}) / (t + 1)
    with b = argmax P x_{t-1}, ties to the first reply.

    Guarantee: gap0 of `policy`, which is the average itself, falls to 0 (Robinson, 1951), about as t^(-1/2).
    """

    def __init__(self, preferences: NDArray[np.floating], initial_policy: Floats) -> None:
        """Take P (..., n, n) and the start (..., n), every reply above 0."""
        self.preferences = check_preference_matrices(preferences)
        self.policy = check_policies("initial_policy", initial_policy, self.preferences)
        self.iteration = 0
        self.num_queries = 0

    @property
    def average_policy(self) -> Floats:
        """The policy: fictitious play keeps nothing but the average."""
        return self.policy

    def step(self) -> None:
        """Move towards the best reply."""
        best = preferred(self.preferences, self.policy).argmax(-1)
        self.iteration += 1
        self.num_queries += 1
        answer = np.eye(self.policy.shape[-1])[best]
        self.policy = self.policy + (answer - self.policy) / (self.iteration + 1)


class HedgeSelfPlay(LogitLearner):
    """Multiplicative weights against itself: what SPO and SPPO do at every prompt.

    Papers: Swamy et al., 2024, "A Minimaximalist Approach to RLHF" (SPO, 2401.04056); Wu et al., 2024, "Self-Play
    Preference Optimization" (SPPO, 2405.00675): log pi_{t+1} = log pi_t + eta P pi_t.

    Guarantee: gap0 of the *average* is at most 2 log(n) / (eta T) + eta / 4 from a uniform start (regret of Hedge with
    payoffs in [0, 1]), O(1/sqrt(T)) at the best eta; the last iterate leaves a mixed equilibrium for the boundary.
    """

    def __init__(self, preferences: NDArray[np.floating], initial_policy: Floats, *, step_size: float) -> None:
        """Take P (..., n, n), the start (..., n) and eta."""
        super().__init__("initial_policy", preferences, initial_policy)
        self._step_size = check_positive("step_size", step_size)

    def _next_logits(self) -> Floats:
        return self._logits + self._step_size * self._ask(self.policy)


class OptimisticSelfPlay(HedgeSelfPlay):
    """Hedge that bets on the last change happening again: ONPO.

    Paper: Zhang et al., 2025, "Improving LLM General Preference Alignment via Optimistic Online Mirror Descent"
    (ONPO, 2502.16852): log pi_{t+1} = log pi_t + eta (2 r_t - r_{t-1}), r_t = P pi_t, r_{-1} = r_0; one query a step.

    Guarantee: gap0 of the *average* is at most 2 (log(n) / eta + 1) / T from a uniform start with eta <= 1/2: O(1/T)
    (by the regret bound of Syrgkanis et al., 2015; the 1 pays for r_{-1} = r_0). A bound of 4 sqrt(D) / T,
    D = log n, is exceeded in this measure where D > 1. With an equilibrium of full support the last iterate converges
    as well, linearly (2512.24818).
    """

    def _next_logits(self) -> Floats:
        return self._logits + self._step_size * self._ask_optimistically()


class MultiplayerSelfPlay:
    """Each of several players answers all others at once: MNPO.

    Paper: Wu et al., 2025, "Multiplayer Nash Preference Optimization" (MNPO, 2509.23102): log pi_i <- mean over the
    other players j of log pi_j + eta P pi_j; n - 1 queries a step for one player's policy. From equal starts it is
    Hedge in self-play; with two players each continues the other's path.

    Guarantee: of the *average*, O(1/sqrt(T)), by the paper.
    """

    def __init__(self, preferences: NDArray[np.floating], initial_policies: Floats, *, step_size: float) -> None:
        """Take P (..., n, n), the players' starts (num_players, ..., n) and eta."""
        self.preferences = check_preference_matrices(preferences)
        starts = np.asarray(initial_policies, dtype=np.float64)
        if starts.ndim < 2 or len(starts) < 2:
            raise ValueError(f"initial_policies: expected those of at least 2 players, got shape {starts.shape}")
        self._logits = np.log([check_policies("initial_policies", start, self.preferences) for start in starts])
        self._step_size = check_positive("step_size", step_size)
        self._sums = np.zeros_like(self._logits)
        self.iteration = 0
        self.num_queries = 0

    @property
    def policies(self) -> Floats:
        """All players' newest iterates; shape (num_players, ..., n)."""
        newest: Floats = softmax(self._logits, axis=-1)
        return newest

    @property
    def policy(self) -> Floats:
        """The first player's newest iterate."""
        first: Floats = self.policies[0]
        return first

    @property
    def average_policy(self) -> Floats:
        """The mean of the first player's iterates; its start before the first step."""
        mean: Floats = self._sums[0] / self.iteration if self.iteration else self.policy
        return mean

    def step(self) -> None:
        """Move every player to the geometric mean of what the others would do next."""
        policies = self.policies
        self._sums += policies
        moved = np.log(policies) + self._step_size * preferred(self.preferences, policies)
        num_others = len(policies) - 1
        self._logits = (moved.sum(0) - moved) / num_others
        self.iteration += 1
        self.num_queries += num_others
