"""Kuhn poker: three cards, one bet; small enough to solve by hand, rich enough to need bluffs.

Rules: the deal gives each player one of three cards, jack < queen < king, each of the six deals with probability 1/6,
and each antes 1. Player 0 checks or bets 1. After a check player 1 checks, which ends the game, or bets; a bet is
answered by a fold or a call, which ends it. If nobody folds, the higher card wins.

Observation: each player is told its own card; both hear all turns.

Actions: one word a turn, "check" or "bet", after a bet "fold" or "call".

Rewards: zero-sum, in chips, at the end: the winner gains what the loser put in, 1 after two checks or a fold, 2 after
a call. An illegal token costs 2, so that forfeiting never pays.

Known values: 12 information states and 30 terminal states. The game is worth -1/18 to player 0. Player 0 has one
equilibrium for each a in [0, 1/3]: it bets a jack with probability a, a queen never, a king with 3a; when it has
checked and player 1 bets, it folds a jack, calls with a queen with probability a + 1/3 and always with a king. Player
1 has one: after a check it bets a jack with probability 1/3, a queen never, a king always; after a bet it folds a
jack, calls with a queen with probability 1/3 and always with a king. If all words are equally likely, player 0 wins
1/8, the best responses gain 3/8 and 13/24, and NashConv is 11/12.

References: H. W. Kuhn, *A simplified two-person poker*, Contributions to the Theory of Games I, 1950, pages 97-103.

Version history: v0, first version.
"""

from __future__ import annotations

from itertools import permutations
from typing import NamedTuple

from ..game import Dialogue, FiniteDeals, LanguageGame, Payoff
from ..vocabulary import Tokens, WordVocabulary

Cards = tuple[str, str]
"""What player 0 and what player 1 was dealt."""

RANKS = ("jack", "queen", "king")
VOCABULARY = WordVocabulary((*RANKS, "check", "bet", "fold", "call"))
CARD = {rank: VOCABULARY.encode(rank) for rank in RANKS}
CHECK, BET, FOLD, CALL = VOCABULARY.encode("check bet fold call")
OPEN, FACING_BET = (CHECK, BET), (FOLD, CALL)


class _Ending(NamedTuple):
    """How the betting ended."""

    stake_chips: float
    """What the loser pays the winner."""
    folded_by: int | None


ENDINGS: dict[Tokens, _Ending] = {  # the words of a finished game -> how it ended
    (CHECK, CHECK): _Ending(1.0, None),
    (BET, FOLD): _Ending(1.0, 1),
    (BET, CALL): _Ending(2.0, None),
    (CHECK, BET, FOLD): _Ending(1.0, 0),
    (CHECK, BET, CALL): _Ending(2.0, None),
}


class KuhnPoker(LanguageGame[Cards]):
    """Both players hold one of three cards; one of them may bet a chip.

    >>> game = KuhnPoker()
    >>> game.rewards(Dialogue(("king", "queen"), ((BET,), (CALL,))))
    (2.0, -2.0)
    """

    vocabulary = VOCABULARY
    payoff = Payoff.ZERO_SUM
    deals = FiniteDeals[Cards](dict.fromkeys(permutations(RANKS, 2), 1 / 6))
    max_turns = 3
    max_turn_tokens = 1
    max_briefing_tokens = 1
    forfeit_cost = 2.0
    roles = ("first", "second")

    def next_player(self, dialogue: Dialogue[Cards]) -> int | None:
        return None if _words(dialogue) in ENDINGS else len(dialogue.turns) % 2

    def rewards(self, dialogue: Dialogue[Cards]) -> tuple[float, float]:
        ending = ENDINGS.get(_words(dialogue))
        if ending is None:
            return 0.0, 0.0
        first, second = dialogue.deal
        higher = RANKS.index(first) > RANKS.index(second)
        won = higher if ending.folded_by is None else ending.folded_by == 1
        chips = ending.stake_chips if won else -ending.stake_chips
        return chips, -chips

    def briefing(self, deal: Cards, player: int) -> Tokens:
        return CARD[deal[player]]

    def legal_tokens(self, dialogue: Dialogue[Cards], prefix: Tokens) -> Tokens:
        turns = dialogue.turns
        return FACING_BET if turns and turns[-1].tokens[0] == BET else OPEN


def _words(dialogue: Dialogue[Cards]) -> Tokens:
    return tuple([turn.tokens[0] for turn in dialogue.turns])
