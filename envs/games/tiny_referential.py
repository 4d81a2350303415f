"""Tiny referential game: one player sees an object, says a word for it, and the other names the object.

Rules: the deal draws one of k objects, each with probability 1/k. Player 0 (the sender) says one of w words, which
mean nothing beforehand; player 1 (the receiver) then names an object.

Observation: the sender is told the object; the receiver hears the word and nothing else.

Actions: one word a turn, "word0", "word1", ... for the sender, "object0", "object1", ... for the receiver.

Rewards: identical: both earn 1 if the receiver names the object, else 0. An illegal token costs both 1.

Known values: a word can lead the receiver to one object only, so at most min(k, w) of the k objects are ever named
right: the best return is 1 if w >= k, and min(k, w)/k in general. It is reached where different words stand for as
many objects as there are words for. Any other such code is as good, and the players must agree on one. Babbling is an
equilibrium as well: if the sender's word does not depend on the object and the receiver's answer not on the word,
both earn 1/k, and neither can gain alone.

References: D. Lewis, *Convention*, 1969, chapter IV (signalling games); A. Lazaridou, A. Peysakhovich and M. Baroni,
*Multi-agent cooperation and the emergence of (natural) language*, ICLR 2017 (referential games).

Version history: v0, first version.
"""

from __future__ import annotations

from ..game import Dialogue, FiniteDeals, LanguageGame, Payoff, check_count
from ..vocabulary import Tokens, WordVocabulary


class TinyReferential(LanguageGame[int]):
    """The sender says a word for an object; both earn 1 if the receiver names it.

    >>> game = TinyReferential(num_objects=2, num_words=2)
    >>> game.rewards(Dialogue(1, (game.words[:1], game.objects[1:])))
    (1.0, 1.0)
    """

    payoff = Payoff.IDENTICAL
    max_turns = 2
    max_turn_tokens = 1
    max_briefing_tokens = 1
    roles = ("sender", "receiver")

    def __init__(self, num_objects: int = 3, num_words: int = 3) -> None:
        """Choose the size of the world and of the language.

        Args:
            num_objects: k, how many objects there are.
            num_words: w, how many words the sender has; with fewer than k some objects must share one.
        """
        for name, number in (("num_objects", num_objects), ("num_words", num_words)):
            check_count(name, number)
        names = (*(f"object{k}" for k in range(num_objects)), *(f"word{w}" for w in range(num_words)))
        self.vocabulary = WordVocabulary(names)
        tokens = self.vocabulary.encode(" ".join(names))
        self.objects, self.words = tokens[:num_objects], tokens[num_objects:]
        self.deals = FiniteDeals(dict.fromkeys(range(num_objects), 1 / num_objects))

    def next_player(self, dialogue: Dialogue[int]) -> int | None:
        return len(dialogue.turns) if len(dialogue.turns) < 2 else None

    def rewards(self, dialogue: Dialogue[int]) -> tuple[float, float]:
        right = len(dialogue.turns) == 2 and dialogue.turns[1].tokens[0] == self.objects[dialogue.deal]
        return float(right), float(right)

    def briefing(self, deal: int, player: int) -> Tokens:
        return (self.objects[deal],) if player == 0 else ()

    def legal_tokens(self, dialogue: Dialogue[int], prefix: Tokens) -> Tokens:
        return self.objects if dialogue.turns else self.words
