"""Leduc poker: two rounds of betting around one public card; the usual next step after Kuhn poker.

Rules: six cards, jack < queen < king in two suits, spades and hearts. The deal gives each player one card and lays one
aside, face down: 120 deals, each with probability 1/120. Both ante 1. A round of betting begins with player 0. Who
speaks folds (only if facing a raise), calls (puts in what the other has put in; nothing if that is nothing, which is a
check), or raises (puts in 2 more than that in the first round, 4 more in the second); a round has at most two raises,
by both players together. It ends when a raise is called or both have called; a fold ends the game. After the first
round the card laid aside is turned up, after the second both show: a card of the same rank as the public card wins,
otherwise the higher rank; equal ranks share the pot.

Observation: each player is told its own card, with its suit; both hear all turns, and the game announces the public
card after the first round.

Actions: one word a turn, "fold", "call" or "raise".

Rewards: zero-sum, in chips, at the end: the winner gains what the loser put in, at most 13. An illegal token
costs 13, so that forfeiting never pays.

Known values: 936 information states, half of them each player's, as the suits are told apart (which changes no value).
If all words are equally likely, player 0 loses 5/64, the best responses gain 693/320 and 1487/576, and NashConv is
1709/360 = 4.747222. The game is worth -0.085606 to player 0 (by linear programming).

References: F. Southey, M. Bowling, B. Larson, C. Piccione, N. Burch, D. Billings and C. Rayner, *Bayes' bluff: opponent
modelling in poker*, UAI 2005.

Version history: v0, first version.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import permutations
from typing import NamedTuple

from ..game import Dialogue, FiniteDeals, LanguageGame, Payoff
from ..vocabulary import Tokens, WordVocabulary

Cards = tuple[str, str, str]
"""Player 0's card, player 1's card, and the public card."""

RANKS = ("jack", "queen", "king")
DECK = tuple(f"{rank}-of-{suit}" for rank in RANKS for suit in ("spades", "hearts"))
RANK = {card: RANKS.index(card.split("-")[0]) for card in DECK}
VOCABULARY = WordVocabulary((*DECK, "fold", "call", "raise"))
CARD = {card: VOCABULARY.encode(card) for card in DECK}
FOLD, CALL, RAISE = VOCABULARY.encode("fold call raise")
NUM_ROUNDS = 2
RAISE_CHIPS = (2, 4)
"""What a raise adds, by round."""
MAX_RAISES = 2
"""The most raises in a round."""


class Betting(NamedTuple):
    """Where the betting stands; the cards do not matter to it."""

    chips: tuple[int, int] = (1, 1)
    """What each player has put in."""
    round: int = 0
    player: int | None = 0
    """Who is to speak, None at the end."""
    num_raises: int = 0
    called: bool = False
    """Whether somebody has called in this round."""
    folded_by: int | None = None
    reveals: bool = False
    """Whether the last turn ended the first round, so that the public card is turned up."""

    @property
    def legal(self) -> Tokens:
        """The words that may be said."""
        fold = (FOLD,) if self.chips[0] != self.chips[1] else ()
        return (*fold, CALL, *((RAISE,) if self.num_raises < MAX_RAISES else ()))

    def after(self, word: int) -> Betting:
        """Return where the betting stands after one more word."""
        assert self.player is not None
        if word == FOLD:
            return self._replace(player=None, folded_by=self.player, reveals=False)
        other, most = 1 - self.player, max(self.chips)
        pays = most + RAISE_CHIPS[self.round] if word == RAISE else most
        chips = (pays, self.chips[1]) if self.player == 0 else (self.chips[0], pays)
        if word == RAISE:
            return Betting(chips, self.round, other, self.num_raises + 1)
        if not self.num_raises and not self.called:
            return Betting(chips, self.round, other, called=True)
        over = self.round + 1 == NUM_ROUNDS
        return Betting(chips, self.round + 1, None if over else 0, reveals=not over)


def _bettings(betting: Betting, words: tuple[Tokens, ...]) -> Iterator[tuple[tuple[Tokens, ...], Betting]]:
    yield words, betting
    if betting.player is not None:
        for word in betting.legal:
            yield from _bettings(betting.after(word), (*words, (word,)))


def _strength(card: str, public: str) -> int:
    return len(RANKS) if RANK[card] == RANK[public] else RANK[card]


BETTINGS = dict(_bettings(Betting(), ()))
"""Where the betting stands, by the tokens of all turns."""
LEGAL = {words: betting.legal for words, betting in BETTINGS.items()}
HANDS: list[Cards] = list(permutations(DECK, 3))
SHOWDOWN = {  # 1 where player 0 wins, -1 where player 1 does, 0 where they share
    hand: (_strength(hand[0], hand[2]) > _strength(hand[1], hand[2]))
    - (_strength(hand[0], hand[2]) < _strength(hand[1], hand[2]))
    for hand in HANDS
}


class LeducPoker(LanguageGame[Cards]):
    """Both players hold one of six cards; a public card comes between two rounds of betting.

    >>> game = LeducPoker()
    >>> words = ((CALL,), (CALL,), (RAISE,), (CALL,))
    >>> game.rewards(Dialogue(("jack-of-spades", "king-of-spades", "jack-of-hearts"), words))
    (5.0, -5.0)
    """

    vocabulary = VOCABULARY
    payoff = Payoff.ZERO_SUM
    deals = FiniteDeals[Cards](dict.fromkeys(HANDS, 1 / len(HANDS)))
    max_turns = NUM_ROUNDS * (MAX_RAISES + 2)
    max_turn_tokens = 1
    max_briefing_tokens = 1
    max_announcement_tokens = 1
    forfeit_cost = 13.0
    roles = ("first", "second")

    def next_player(self, dialogue: Dialogue[Cards]) -> int | None:
        return _betting(dialogue).player

    def rewards(self, dialogue: Dialogue[Cards]) -> tuple[float, float]:
        betting = _betting(dialogue)
        if betting.player is not None:
            return 0.0, 0.0
        sign = SHOWDOWN[dialogue.deal] if betting.folded_by is None else 2 * betting.folded_by - 1
        won = float(sign * min(betting.chips))
        return won, -won

    def briefing(self, deal: Cards, player: int) -> Tokens:
        return CARD[deal[player]]

    def announcement(self, dialogue: Dialogue[Cards], player: int) -> Tokens:
        return CARD[dialogue.deal[2]] if _betting(dialogue).reveals else ()

    def annotate(self, dialogue: Dialogue[Cards]) -> str:
        return f"the public card is {dialogue.deal[2]}" if _betting(dialogue).reveals else ""

    def legal_tokens(self, dialogue: Dialogue[Cards], prefix: Tokens) -> Tokens:
        return LEGAL[tuple([turn.tokens for turn in dialogue.turns])]


def _betting(dialogue: Dialogue[Cards]) -> Betting:
    return BETTINGS[tuple([turn.tokens for turn in dialogue.turns])]
