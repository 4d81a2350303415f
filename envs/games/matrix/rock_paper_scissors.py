"""Rock-paper-scissors in words, once or for several rounds.

Rules: both players say rock, paper or scissors, neither hearing the other. Rock beats scissors, paper beats rock,
scissors beat paper.

Observation: nothing in the first round; before each later round both are told the other's word of the last one.

Actions: one word a turn, "rock", "paper" or "scissors".

Rewards: zero-sum, paid after each round: 1 to the winner, 0 for a draw. An illegal token costs as much as losing all
rounds.

Known values: the game is worth 0. One round has a single equilibrium, all words with probability 1/3; in several rounds
playing so in each of them is an equilibrium. If both always say the same word, NashConv is 2 a round. In one round
(.4, .3, .3) against (.3, .4, .3) has a NashConv of .2.

References: J. von Neumann and O. Morgenstern, *Theory of Games and Economic Behavior*, 1944, section 17.1.

Version history: v0, first version.
"""

from __future__ import annotations

from .base import MatrixGame

PAYOFFS = [[0, -1, 1], [1, 0, -1], [-1, 1, 0]]
WORDS = "rock paper scissors"


class RockPaperScissors(MatrixGame):
    """Rock beats scissors, paper beats rock, scissors beat paper."""

    def __init__(self, *, num_rounds: int = 1) -> None:
        """Set the number of rounds.

        Args:
            num_rounds: how often it is played in one episode.
        """
        super().__init__(PAYOFFS, words_0=WORDS, words_1=WORDS, num_rounds=num_rounds)
