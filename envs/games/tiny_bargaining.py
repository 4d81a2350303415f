"""Tiny bargaining: the players take turns to propose how to share a few coins, which lose value while they talk.

Rules: there are n coins. In each round one player proposes how many coins the other is to have, at least 1 and at most
n - 1; the other accepts, which ends the game, or rejects. Player 0 proposes in the first round, player 1 in the second,
and so on; when the last round's proposal is rejected, the coins are lost.

Observation: both hear all turns. Nothing is hidden and nothing is drawn by chance.

Actions: one word a turn, the coins for the other, "1" to "n-1", or "accept" or "reject".

Rewards: general-sum. A proposal of x accepted in round t (the first is 0) pays d^t (n - x) to who made it and d^t x to
the other, where d is the discount; all else pays 0. An illegal token costs its speaker 1.

Known values: by backward induction. In the last round any proposal is accepted, as a coin is better than nothing, so
1 is proposed and n - 1 kept. Let the proposer of the next round keep k coins there; it now accepts x coins if x >= d k,
and the proposer offers the least such x (at least 1), which is better than rejection as long as n - x > d (n - k). By
default, n = 5, d = 0.6, 3 rounds:

| round | proposer | the other expects d k | proposes | keeps |
| --- | --- | --- | --- | --- |
| 2 | player 0 | 0 | 1 | 4 |
| 1 | player 1 | 0.6 * 4 = 2.4 | 3 | 2 |
| 0 | player 0 | 0.6 * 2 = 1.2 | 2 | 3 |

So player 0 proposes 2, player 1 accepts at once, and the returns are (3, 2). As neither 2.4 nor 1.2 is a whole number,
nobody is ever indifferent, and this subgame-perfect equilibrium is the only one. With one round (the ultimatum game)
the returns are (4, 1), with two (2, 3): player 1 would keep 4 in the last, worth 2.4, and must be offered 3.

References: I. Ståhl, *Bargaining Theory*, 1972; A. Rubinstein, *Perfect equilibrium in a bargaining model*,
Econometrica 50, 1982, pages 97-109, whose infinite game with divisible coins gives player 0 the share 1 / (1 + d).

Version history: v0, first version.
"""

from __future__ import annotations

from collections.abc import Hashable

from ..game import NO_CHANCE, Dialogue, LanguageGame, Payoff, check_count
from ..vocabulary import Tokens, WordVocabulary


class TinyBargaining(LanguageGame[Hashable]):
    """Alternating offers over a few coins, with a discount.

    >>> game = TinyBargaining()
    >>> game.rewards(Dialogue(None, (game.proposals[1:2], (game.accept,))))
    (3.0, 2.0)
    """

    payoff = Payoff.GENERAL
    deals = NO_CHANCE
    max_turn_tokens = 1
    roles = ("first proposer", "second proposer")

    def __init__(self, num_coins: int = 5, num_rounds: int = 3, discount: float = 0.6) -> None:
        """Choose what is shared, for how long, and how fast it loses value.

        Args:
            num_coins: n, how many coins there are to share, at least 2.
            num_rounds: how many proposals can be made before the coins are lost.
            discount: d in (0, 1], what a coin is worth in the next round.
        """
        for name, number, least in (("num_coins", num_coins, 2), ("num_rounds", num_rounds, 1)):
            check_count(name, number, least=least)
        if not 0 < discount <= 1:
            raise ValueError(f"discount: expected a number in (0, 1], got {discount}")
        self.vocabulary = WordVocabulary((*(str(coins) for coins in range(1, num_coins)), "accept", "reject"))
        *proposals, self.accept, self.reject = self.vocabulary.encode(" ".join(self.vocabulary.words))
        self.proposals = tuple(proposals)
        self.max_turns = 2 * num_rounds
        self.discount = discount
        """What a coin is worth in the next round."""
        self._num_coins = num_coins

    def next_player(self, dialogue: Dialogue[Hashable]) -> int | None:
        num_turns = len(dialogue.turns)
        if num_turns == self.max_turns or (num_turns and dialogue.turns[-1].tokens[0] == self.accept):
            return None
        round_, answers = divmod(num_turns, 2)
        return (round_ + answers) % 2

    def rewards(self, dialogue: Dialogue[Hashable]) -> tuple[float, float]:
        if dialogue.turns[-1].tokens[0] != self.accept:
            return 0.0, 0.0
        round_ = len(dialogue.turns) // 2 - 1
        worth = self.discount**round_
        offered = 1 + self.proposals.index(dialogue.turns[-2].tokens[0])
        kept = self._num_coins - offered
        return (worth * kept, worth * offered) if round_ % 2 == 0 else (worth * offered, worth * kept)

    def legal_tokens(self, dialogue: Dialogue[Hashable], prefix: Tokens) -> Tokens:
        return (self.accept, self.reject) if len(dialogue.turns) % 2 else self.proposals
