"""Fictitious play on a tree (XFP)."""

from __future__ import annotations

from typing import Literal

from ...envs.tree.analysis import GameTree, Policy, Profile, best_response
from ..training.checks import check_choice
from .solver import AverageProfile, start_profile


class FictitiousPlay:
    """Both players answer the other's average policy as well as can be, together (XFP).

    Paper: Heinrich, Lanctot & Silver, "Fictitious Self-Play in Extensive-Form Games", ICML 2015, algorithm 1, with
    alpha_t = 1 / (t + 1): at each information state pi <- pi + alpha x_b (b - pi) / ((1 - alpha) x_pi + alpha x_b),
    where x are own reaches and b is the best response. That is the average, weighted by own reach, of the start and
    all best responses, which is how it is computed here. On a matrix game it is Brown's (1951) fictitious play,
    simultaneous.

    Guarantee: in two-player zero-sum games (and identical-interest ones) the *average* profile approaches the
    equilibria, about as t^(-1/2) in practice; the last profile, a pair of pure best responses, does not.

    Differs from the paper in: ties, which it leaves open, go to the first or the last action at every information
    state, those that the opponent never lets happen included.
    """

    def __init__(
        self, tree: GameTree, *, ties: Literal["first", "last"] = "first", initial_profile: Profile | None = None
    ) -> None:
        """Start from `initial_profile` (uniform by default), the first member of the average.

        Raises:
            ValueError: `ties` is neither "first" nor "last", or the start is no profile.
        """
        self.tree = tree
        self.iteration = 0
        self._ties = check_choice("ties", ties, ("first", "last"))
        self._last: Profile | None = None
        self._members = AverageProfile(tree)
        self._average = start_profile(tree, initial_profile)
        self._members.add(self._average)

    @property
    def last_profile(self) -> Profile | None:
        """The newest pair of best responses."""
        return self._last

    @property
    def average_profile(self) -> Profile:
        """The average that the next best responses answer, weighted by own reach."""
        return self._average

    def step(self) -> None:
        """Answer the averages, then put the answers into them."""
        self._last = self._response(0), self._response(1)
        self._members.add(self._last)
        average = self._members.profile
        assert average is not None
        self._average = average
        self.iteration += 1

    def _response(self, player: int) -> Policy:
        return best_response(self.tree, player, self._average[1 - player], ties=self._ties).policy
