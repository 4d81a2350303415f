"""The learner that does not learn."""

from __future__ import annotations

from ...envs.tree.analysis import GameTree, Profile, uniform_profile


class Uniform:
    """Every legal token with the same probability, for ever: what a learner has to beat.

    No paper and no guarantee; its last and its average profile are the same.
    """

    def __init__(self, tree: GameTree) -> None:
        self.tree = tree
        self.iteration = 0
        self._profile = uniform_profile(tree)

    @property
    def last_profile(self) -> Profile:
        """The uniform profile."""
        return self._profile

    @property
    def average_profile(self) -> Profile:
        """The uniform profile."""
        return self._profile

    def step(self) -> None:
        """Count."""
        self.iteration += 1
