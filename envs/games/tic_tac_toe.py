"""Tic-tac-toe: three in a row on a board of nine squares, spoken square by square.

Rules: the players in turn name a free square; player 0 marks its squares with X, player 1 with O. Who first has three
in a row, a column or a diagonal wins; if all squares are taken and nobody has, it is a draw.

Observation: both hear all turns. Nothing is hidden and nothing is drawn by chance.

Actions: one word a turn, a square by column and row, "a1" to "c3".

Rewards: zero-sum, at the end: 1 to the winner and -1 to the loser, 0 to both for a draw. An illegal token costs 1.

Known values: 549,946 lines of play, unfinished ones and the empty one included, of which 255,168 are finished: player
0 wins 131,184, player 1 wins 77,904, and 46,080 are draws. Played without a mistake it is a draw.

References: the counts follow from enumeration; S. Schaefer, *MathRec solutions (Tic-Tac-Toe)*, 2002, has the same.

Version history: v0, first version.
"""

from __future__ import annotations

from collections.abc import Hashable

from ..game import NO_CHANCE, Dialogue, LanguageGame, Payoff
from ..vocabulary import Tokens, WordVocabulary

VOCABULARY = WordVocabulary("a1 b1 c1 a2 b2 c2 a3 b3 c3")
SQUARES = VOCABULARY.encode(" ".join(VOCABULARY.words))
BIT = {square: 1 << k for k, square in enumerate(SQUARES)}
FULL = (1 << len(SQUARES)) - 1
ROWS = tuple(
    sum(BIT[VOCABULARY.encode(square)[0]] for square in row.split())
    for row in ("a1 b1 c1", "a2 b2 c2", "a3 b3 c3", "a1 a2 a3", "b1 b2 b3", "c1 c2 c3", "a1 b2 c3", "a3 b2 c1")
)
WINS = tuple(any(squares & row == row for row in ROWS) for squares in range(FULL + 1))
"""Whether a set of squares, one bit each, holds three in a row."""
FREE = tuple(tuple(square for square in SQUARES if not taken & BIT[square]) for taken in range(FULL + 1))
"""The squares outside a set."""
SHORTEST = 5
"""Nobody has three in a row before the fifth turn."""


class TicTacToe(LanguageGame[Hashable]):
    """Three in a row win; the players name squares in turn."""

    vocabulary = VOCABULARY
    payoff = Payoff.ZERO_SUM
    deals = NO_CHANCE
    max_turns = len(SQUARES)
    max_turn_tokens = 1
    roles = ("X", "O")

    def next_player(self, dialogue: Dialogue[Hashable]) -> int | None:
        num_turns = len(dialogue.turns)
        return None if num_turns == len(SQUARES) or _last_wins(dialogue) else num_turns % 2

    def rewards(self, dialogue: Dialogue[Hashable]) -> tuple[float, float]:
        if not _last_wins(dialogue):
            return 0.0, 0.0
        return (1.0, -1.0) if len(dialogue.turns) % 2 else (-1.0, 1.0)

    def legal_tokens(self, dialogue: Dialogue[Hashable], prefix: Tokens) -> Tokens:
        taken = 0
        for turn in dialogue.turns:
            taken |= BIT[turn.tokens[0]]
        return FREE[taken]


def _last_wins(dialogue: Dialogue[Hashable]) -> bool:
    """Whether who spoke last has three in a row; the other cannot have."""
    turns = dialogue.turns
    if len(turns) < SHORTEST:
        return False
    own = 0
    for turn in turns[(len(turns) - 1) % 2 :: 2]:
        own |= BIT[turn.tokens[0]]
    return WINS[own]
