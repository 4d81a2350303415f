"""The prisoner's dilemma: the only equilibrium is worse for both than what they could have.

Rules: both players say cooperate or defect, neither hearing the other.

Observation: nothing in the first round; before each later round both are told the other's word of the last one.

Actions: one word a turn, "cooperate" or "defect".

Rewards: general-sum, paid after each round: 3 each if both cooperate, 1 each if both defect; if one defects alone it
gets 5 and the other 0. An illegal token costs 5 for each round of the episode.

Known values: to defect is strictly dominant, so both defect in the only equilibrium of one round, which is worth 1 to
each. However many rounds there are, if their number is known, every equilibrium leads to defection in all of them (Luce
and Raiffa, section 5.5); to cooperate until the other has defected is none: two players who do so have a NashConv of
4, as each would gain 2 by defecting in the last round.

References: R. D. Luce and H. Raiffa, *Games and Decisions*, 1957, sections 5.4 and 5.5. The payoffs are those of R.
Axelrod, *The Evolution of Cooperation*, 1984.

Version history: v0, first version.
"""

from __future__ import annotations

import numpy as np

from .base import MatrixGame

PAYOFFS = np.array([[3.0, 0.0], [5.0, 1.0]])
WORDS = "cooperate defect"


class PrisonersDilemma(MatrixGame):
    """Each is better off by defecting, whatever the other does, and both are worse off if both do."""

    roles = ("first prisoner", "second prisoner")

    def __init__(self, *, num_rounds: int = 1) -> None:
        """Set the number of rounds.

        Args:
            num_rounds: how often it is played in one episode; both players know it.
        """
        super().__init__(PAYOFFS, PAYOFFS.T, words_0=WORDS, words_1=WORDS, num_rounds=num_rounds)
