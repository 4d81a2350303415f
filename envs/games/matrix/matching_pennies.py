"""Matching pennies: the smallest zero-sum game that needs mixing.

Rules: both players say heads or tails, neither hearing the other. Player 0 wins if the words match, player 1 if they
differ.

Observation: nothing in the first round; before each later round both are told the other's word of the last one.

Actions: one word a turn, "heads" or "tails".

Rewards: zero-sum, 1 to the winner of each round. An illegal token costs as much as losing all rounds.

Known values: the game is worth 0. One round has a single equilibrium, both words with probability 1/2; in several
rounds playing so in each of them is an equilibrium. Any pair of pure policies has a NashConv of 2 in one round.

References: J. von Neumann and O. Morgenstern, *Theory of Games and Economic Behavior*, 1944, section 17.1.

Version history: v0, first version.
"""

from __future__ import annotations

from .base import MatrixGame

WORDS = "heads tails"


class MatchingPennies(MatrixGame):
    """Player 0 wins if both say the same, player 1 if not."""

    roles = ("matcher", "mismatcher")

    def __init__(self, *, num_rounds: int = 1) -> None:
        """Set the number of rounds.

        Args:
            num_rounds: how often it is played in one episode.
        """
        super().__init__([[1, -1], [-1, 1]], words_0=WORDS, words_1=WORDS, num_rounds=num_rounds)
