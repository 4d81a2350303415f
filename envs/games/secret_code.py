"""Secret code: the same question means something else in every code; a prompt of solved examples gives it away.

Rules: a code gives each of k objects one of w words. The deal draws an object; player 0 names it and player 1 answers
with a word. Nobody is told the code: who is to answer must have learned it, or read it off examples in its briefing
(the option `num_shots` of any game, `duologue.envs.Demonstrated`).

Observation: player 0 is told the object; both hear all turns.

Actions: one word a turn: player 0 has one legal token, the object; player 1 chooses a word.

Rewards: identical: both earn 1 if the word is the object's in the code, else 0. An illegal token costs both 1.

Known values: the best return is 1. An answer drawn without knowing the code is right with probability 1/w in the mean
over all w^k codes. With examples of all k objects, looking the object up is right in every code.

References: T. Brown et al., *Language models are few-shot learners*, NeurIPS 2020 (answers read off a prompt).

Version history: v0, first version.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np

from ..game import Dialogue, FiniteDeals, LanguageGame, Payoff, Turn, check_count
from ..vocabulary import Tokens, WordVocabulary


class SecretCode(LanguageGame[int]):
    """Player 1 says the word that a code gives to the object which player 0 names.

    >>> game = SecretCode(code=(1, 0))
    >>> [game.vocabulary.decode(turn.tokens) for turn in game.solution(0).turns]
    ['object0', 'word1']
    """

    payoff = Payoff.IDENTICAL
    max_turns = 2
    max_turn_tokens = 1
    max_briefing_tokens = 1
    roles = ("asker", "decoder")

    def __init__(self, code: Sequence[int] = (2, 0, 1), num_words: int | None = None) -> None:
        """Choose the code.

        Args:
            code: the number of each object's word.
            num_words: w, how many words there are; None: as many as objects.
        """
        if not isinstance(code, Sequence) or isinstance(code, str):
            raise ValueError(f"code: expected a sequence of whole numbers, got {code!r}")
        num_words = len(code) if num_words is None else num_words
        check_count("num_words", num_words, least=0)
        if not code or not all(isinstance(word, int) and 0 <= word < num_words for word in code):
            raise ValueError(f"code: expected at least one whole number, each in [0, {num_words}), got {code!r}")
        self.code = tuple(code)
        names = (*(f"object{k}" for k in range(len(code))), *(f"word{w}" for w in range(num_words)))
        self.vocabulary = WordVocabulary(names)
        tokens = self.vocabulary.encode(" ".join(names))
        self.objects, self.words = tokens[: len(code)], tokens[len(code) :]
        self.deals = FiniteDeals(dict.fromkeys(range(len(code)), 1 / len(code)))

    def next_player(self, dialogue: Dialogue[int]) -> int | None:
        return len(dialogue.turns) if len(dialogue.turns) < 2 else None

    def rewards(self, dialogue: Dialogue[int]) -> tuple[float, float]:
        right = len(dialogue.turns) == 2 and dialogue.turns[1].tokens[0] == self.words[self.code[dialogue.deal]]
        return float(right), float(right)

    def briefing(self, deal: int, player: int) -> Tokens:
        return (self.objects[deal],) if player == 0 else ()

    def legal_tokens(self, dialogue: Dialogue[int], prefix: Tokens) -> Tokens:
        return self.words if dialogue.turns else (self.objects[dialogue.deal],)

    def solution(self, deal: int) -> Dialogue[int]:
        """Return the dialogue in which player 1 is right."""
        return Dialogue(deal, (Turn((self.objects[deal],)), Turn((self.words[self.code[deal]],))))

    def examples(self, deal: int) -> list[Dialogue[int]]:
        """Return the solutions of all objects, that of the deal among them: together they give the code away."""
        return [self.solution(deal) for deal in range(len(self.code))]

    def demonstrations(self, source: str, rng: np.random.Generator, num_dialogues: int) -> list[Dialogue[int]]:
        """Return solved dialogues; the "average" player two and the "ideal" one are the same here."""
        return [self.solution(self.deals.sample(rng)) for _ in range(num_dialogues)]


def all_codes(num_objects: int, num_words: int) -> list[SecretCode]:
    """Return the games of all w^k codes, which have one vocabulary."""
    return [SecretCode(code, num_words) for code in product(range(num_words), repeat=num_objects)]
