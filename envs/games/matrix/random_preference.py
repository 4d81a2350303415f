"""A preference game with random preferences: whose reply is preferred to the other's?

Rules: both players say one of `num_replies` replies, neither hearing the other. An annotator prefers reply y to reply
y' with probability P[y, y'], where P + P^T = 1; above the diagonal P is uniform in [0, 1), drawn with `seed`, which is
part of the rules.

Observation: nothing.

Actions: one word a turn, "reply_1", "reply_2" ...

Rewards: zero-sum. Player 0 wins P[y, y'] - 1/2, the expected preference, and player 1 loses it. An illegal token costs
the largest payoff.

Known values: the game is symmetric and worth 0; a policy that is an equilibrium policy for one player is one for the
other. The payoff matrix is antisymmetric, so almost surely there is one equilibrium, on an odd number of replies.

References: R. Munos et al., *Nash Learning from Human Feedback*, ICML 2024 (arXiv 2312.00886), section 3, for the game;
I. Kaplansky, *A Contribution to von Neumann's Theory of Games*, Annals of Mathematics 46(3), 1945, for the odd number.

Version history: v0, first version.
"""

from __future__ import annotations

import numpy as np

from .base import check_integer
from .preferences import PreferenceGame, random_preference_matrix


class RandomPreference(PreferenceGame):
    """Both players say a reply; the reward is how much player 0's is preferred."""

    def __init__(self, *, num_replies: int = 5, seed: int = 0) -> None:
        """Draw the preferences.

        Args:
            num_replies: how many replies there are.
            seed: of the generator that draws P.

        Raises:
            ValueError: no reply, or a negative seed.
        """
        check_integer("seed", seed, least=0)
        super().__init__(random_preference_matrix(num_replies, np.random.default_rng(seed)))
