"""Perturbed rock-paper-scissors: unequal stakes move the equilibrium away from uniform play.

Rules: rock-paper-scissors, where the stakes depend on the words: a rock and a paper, or a rock and scissors, play for
3, a paper and scissors for 1.

Observation: nothing in the first round; before each later round both are told the other's word of the last one.

Actions: one word a turn, "rock", "paper" or "scissors".

Rewards: zero-sum, paid after each round: the stake to the winner, 0 for a draw. With `rescale` player 0 wins
(payoff + 3) / 6, a number in [0, 1], and player 1 loses it. An illegal token costs the largest stake of all rounds.

Known values: one round has a single equilibrium, rock with probability 1/7, paper and scissors with 3/7 each, for both
players. It is worth 0, or 1/2 if rescaled. Uniform play has a NashConv of 4/3, 2/9 if rescaled.

References: S. Sokota et al., *A Unified Approach to Reinforcement Learning, Quantal Response Equilibria, and Two-Player
Zero-Sum Games*, ICLR 2023, who test magnetic mirror descent on it.

Version history: v0, first version.
"""

from __future__ import annotations

import numpy as np

from .base import MatrixGame
from .rock_paper_scissors import WORDS

PAYOFFS = np.array([[0.0, -3.0, 3.0], [3.0, 0.0, -1.0], [-3.0, 1.0, 0.0]])
RESCALED_PAYOFFS = (PAYOFFS + 3) / 6


class PerturbedRockPaperScissors(MatrixGame):
    """Rock-paper-scissors in which rock is played for three times as much."""

    def __init__(self, *, rescale: bool = False, num_rounds: int = 1) -> None:
        """Set the scale and the number of rounds.

        Args:
            rescale: move player 0's payoffs affinely to [0, 1]; player 1 loses what player 0 wins.
            num_rounds: how often it is played in one episode.
        """
        payoffs = RESCALED_PAYOFFS if rescale else PAYOFFS
        super().__init__(payoffs, words_0=WORDS, words_1=WORDS, num_rounds=num_rounds)
