"""Battle of the sexes: both want to meet, and disagree about where.

Rules: both players say opera or football, neither hearing the other.

Observation: nothing in the first round; before each later round both are told the other's word of the last one.

Actions: one word a turn, "opera" or "football".

Rewards: general-sum, paid after each round: 0 to both if they differ; at the opera 2 to player 0 and 1 to player 1, at
the football 1 to player 0 and 2 to player 1. An illegal token costs 2 for each round of the episode.

Known values: one round has three equilibria: both say opera, worth (2, 1); both say football, worth (1, 2); or each
says the word it likes better with probability 2/3, worth 2/3 to each, less than either of the others to anybody.

References: R. D. Luce and H. Raiffa, *Games and Decisions*, 1957, section 5.3.

Version history: v0, first version.
"""

from __future__ import annotations

from .base import MatrixGame

PAYOFFS_0 = [[2, 0], [0, 1]]
PAYOFFS_1 = [[1, 0], [0, 2]]
WORDS = "opera football"


class BattleOfTheSexes(MatrixGame):
    """Both win by saying the same word, player 0 more by opera, player 1 more by football."""

    roles = ("opera lover", "football lover")

    def __init__(self, *, num_rounds: int = 1) -> None:
        """Set the number of rounds.

        Args:
            num_rounds: how often it is played in one episode.
        """
        super().__init__(PAYOFFS_0, PAYOFFS_1, words_0=WORDS, words_1=WORDS, num_rounds=num_rounds)
