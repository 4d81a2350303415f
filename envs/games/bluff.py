"""Bluff: one card, one bet; the smallest game here whose equilibrium needs a lie.

Rules: player 0 is dealt an ace or a deuce, each with probability 1/2, and folds or bets. After a bet player 1, who has
not seen the card, folds or calls.

Observation: player 0 is told its card; both hear all turns.

Actions: one word a turn, "fold" or "bet" for player 0, "fold" or "call" for player 1.

Rewards: zero-sum, in chips. Player 0 loses 1 by folding and wins 1 if player 1 folds; after a call it wins 2 with the
ace and loses 2 with the deuce. An illegal token costs 1.

Known values: the game is worth 1/3 to player 0. Player 0 bets every ace and a third of the deuces, player 1 calls two
thirds of the bets; each leaves the other indifferent.

References: the simplest form of the poker models in J. von Neumann and O. Morgenstern, *Theory of Games and Economic
Behavior*, 1944, section 19.

Version history: v0, first version.
"""

from __future__ import annotations

from ..game import Dialogue, FiniteDeals, LanguageGame, Payoff
from ..vocabulary import Tokens, WordVocabulary

VOCABULARY = WordVocabulary("ace deuce fold bet call")  # id 0 is padding, never legal
FOLD, BET, CALL = ((token,) for token in VOCABULARY.encode("fold bet call"))
CHIPS = {  # finished dialogue -> what player 0 wins; player 1 wins the negation
    Dialogue("ace", (FOLD,)): -1.0,
    Dialogue("deuce", (FOLD,)): -1.0,
    Dialogue("ace", (BET, FOLD)): 1.0,
    Dialogue("deuce", (BET, FOLD)): 1.0,
    Dialogue("ace", (BET, CALL)): 2.0,
    Dialogue("deuce", (BET, CALL)): -2.0,
}


class Bluff(LanguageGame[str]):
    """Player 0 sees an ace or a deuce and folds or bets; player 1 folds or calls."""

    vocabulary = VOCABULARY
    payoff = Payoff.ZERO_SUM
    deals = FiniteDeals({"ace": 0.5, "deuce": 0.5})
    max_turns = 2
    max_turn_tokens = 1
    max_briefing_tokens = 1
    roles = ("bettor", "caller")

    def next_player(self, dialogue: Dialogue[str]) -> int | None:
        """Return the other player after a bet, nobody after anything else."""
        return None if dialogue in CHIPS else len(dialogue.turns)

    def rewards(self, dialogue: Dialogue[str]) -> tuple[float, float]:
        """Return the chips won at the end, 0 before."""
        chips = CHIPS.get(dialogue, 0.0)
        return chips, -chips

    def briefing(self, deal: str, player: int) -> Tokens:
        """Return player 0's card."""
        return VOCABULARY.encode(deal) if player == 0 else ()

    def legal_tokens(self, dialogue: Dialogue[str], prefix: Tokens) -> Tokens:
        """Return fold or bet for player 0, fold or call for player 1."""
        return FOLD + (CALL if dialogue.turns else BET)
