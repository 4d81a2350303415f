"""The dictator game: one player shares ten coins with another, who has no say in it.

Rules: player 0 says how many of ten coins it gives to player 1 and keeps the others. Player 1 hears it and says thanks,
the only word it has.

Observation: player 1 hears how much it is given.

Actions: one word a turn, "zero", "one" ... "ten" for player 0, "thanks" for player 1.

Rewards: general-sum, a coin is worth 1, paid when player 0 has spoken; the sum is always 10. An illegal token costs 10.

Known values: to give nothing is strictly dominant, so it is the only equilibrium, worth (10, 0). If player 0 draws the
number uniformly both get 5 on average and NashConv is 5. People give more: 28 % on average over the experiments that
Engel collected.

References: R. Forsythe, J. L. Horowitz, N. E. Savin and M. Sefton, *Fairness in Simple Bargaining Experiments*, Games
and Economic Behavior 6(3), 1994; C. Engel, *Dictator Games: A Meta Study*, Experimental Economics 14(4), 2011; C. Fan
et al., AAAI 2024 (arXiv 2312.05488), on language models as dictators.

Version history: v0, first version.
"""

from __future__ import annotations

from collections.abc import Hashable

from ...game import NO_CHANCE, Dialogue, LanguageGame, Payoff
from ...vocabulary import Tokens, WordVocabulary

COINS = 10
VOCABULARY = WordVocabulary("zero one two three four five six seven eight nine ten thanks")
GIFTS, THANKS = VOCABULARY.encode("zero one two three four five six seven eight nine ten"), VOCABULARY.encode("thanks")


class Dictator(LanguageGame):
    """Player 0 gives player 1 some of ten coins."""

    vocabulary = VOCABULARY
    payoff = Payoff.GENERAL
    deals = NO_CHANCE
    max_turns = 2
    max_turn_tokens = 1
    roles = ("dictator", "recipient")
    forfeit_cost = float(COINS)

    def next_player(self, dialogue: Dialogue[Hashable]) -> int | None:
        """Return the dictator, then the recipient."""
        return None if len(dialogue.turns) == 2 else len(dialogue.turns)

    def rewards(self, dialogue: Dialogue[Hashable]) -> tuple[float, float]:
        """Return what is kept and what is given; thanks earn nothing."""
        if len(dialogue.turns) == 2:
            return 0.0, 0.0
        given = GIFTS.index(dialogue.turns[0].tokens[0])
        return float(COINS - given), float(given)

    def legal_tokens(self, dialogue: Dialogue[Hashable], prefix: Tokens) -> Tokens:
        """Return the numbers for the dictator, thanks for the recipient."""
        return THANKS if dialogue.turns else GIFTS
