"""Best responses in turn, without an average: what the alternating training of two players idealises."""

from __future__ import annotations

from ...envs.tree.analysis import GameTree, Profile, best_response
from .solver import start_profile


class AlternatingBestResponse:
    """Player 0 answers player 1 as well as can be, then player 1 answers that; one iteration is both.

    Paper: the idealised form of GPO's stages (arXiv 2406.10977), where each role is trained against the
    frozen other one; a stage here is an exact best response.

    Guarantee: where play stops changing the pair is an equilibrium, as in games of perfect information with a pure
    equilibrium that is stable. None where an equilibrium needs mixing: on rock-paper-scissors the pair cycles and its
    NashConv is 2 for ever. No average profile: it would be another algorithm, fictitious play, that a reader took for
    this one.

    Differs from the paper in: exact responses, player 0 first, no KL to a reference policy.
    """

    def __init__(self, tree: GameTree, *, initial_profile: Profile | None = None) -> None:
        """Start from `initial_profile`, uniform by default."""
        self.tree = tree
        self.iteration = 0
        self._last = start_profile(tree, initial_profile)

    @property
    def last_profile(self) -> Profile:
        """The newest pair: player 1's answer and what it answers."""
        return self._last

    @property
    def average_profile(self) -> None:
        """None: the algorithm has no average."""
        return

    def step(self) -> None:
        """Let player 0 answer, then player 1."""
        first = best_response(self.tree, 0, self._last[1]).policy
        self._last = first, best_response(self.tree, 1, first).policy
        self.iteration += 1
