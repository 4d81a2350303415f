"""A ring game of two players: what to say depends on whether the other is believed to be rational.

Rules: both players say one word, neither hearing the other. Player 0's payoff depends on both words, player 1's on its
own word only, so that the chain "my payoff depends on yours" ends with player 1.

Observation: nothing; both know the tables.

Actions: one word a turn, "a", "b" or "c" for player 0, "x", "y" or "z" for player 1.

Rewards: general-sum. Player 0 gets, for a: 10, 4, 6 against x, y, z; for b: 2, 12, 8; for c: 6, 8, 9. Player 1 gets 3,
9, 5 for x, y, z in variant 1 and 9, 3, 5 in variant 2. An illegal token costs 12.

Known values: dominance solves both variants. In variant 1 player 1 says y, which is strictly dominant, and player 0,
who believes that, says b: (12, 9). In variant 2 it is x and a: (10, 9). No word of player 0 is dominated, and one who
holds player 1's words for equally likely says c in both; player 0's table is the same in both, so only one who believes
the other rational changes its word between the variants.

References: T. Kneeland, *Identifying Higher-Order Rationality*, Econometrica 83(5), 2015, has rings of four players and
the idea of pairs of games that differ in the last player's table; C. Fan et al., *Can Large Language Models Serve as
Rational Players in Game Theory?*, AAAI 2024 (arXiv 2312.05488), let language models play a ring-network game. The
tables are our own.

Version history: v0, first version.
"""

from __future__ import annotations

import numpy as np

from .base import MatrixGame, check_integer

PAYOFFS_0 = np.array([[10.0, 4.0, 6.0], [2.0, 12.0, 8.0], [6.0, 8.0, 9.0]])
PAYOFFS_1 = {1: [3.0, 9.0, 5.0], 2: [9.0, 3.0, 5.0]}


class RingNetwork(MatrixGame):
    """Player 1 has a dominant word, player 0 has to guess that it is said."""

    def __init__(self, *, variant: int = 1) -> None:
        """Choose player 1's table.

        Args:
            variant: 1 makes y player 1's best word, 2 makes it x.

        Raises:
            ValueError: another variant.
        """
        check_integer("variant", variant, least=1, most=len(PAYOFFS_1))
        super().__init__(PAYOFFS_0, np.tile(PAYOFFS_1[variant], (3, 1)), words_0="a b c", words_1="x y z")
