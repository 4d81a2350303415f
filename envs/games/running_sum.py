"""Running sum: a question of several steps, whose answer is one word; a thought is the scratch paper.

Rules: the deal draws `num_terms` digits below `modulus`, each with equal probability. Player 0 reads them out, word by
word; player 1 answers with one digit, their sum modulo `modulus`. With `max_thought_tokens` it may think first.

Observation: player 0 is told the digits and hears the answer; player 1 hears the digits. Thoughts are private.

Actions: player 0 has one legal token at each place, the digit dealt. Player 1 answers with one of the digits.

Rewards: identical: both earn 1 for the right answer, else 0. An illegal token costs both 1.

Known values: the best return is 1. An answer that does not depend on all digits is right with probability 1/modulus,
because the missing ones are uniform. One that thinks aloud needs a single addition a step: the worked-out thought is
the list of partial sums, its last word the answer.

References: M. Nye et al., *Show your work: scratchpads for intermediate computation with language models*, 2021,
arXiv 2112.00114; J. Wei et al., *Chain-of-thought prompting elicits reasoning in large language models*, NeurIPS 2022.

Version history: v0, first version.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, product

import numpy as np

from ..game import Dialogue, FiniteDeals, LanguageGame, Payoff, SampledDeals, Turn, check_count
from ..vocabulary import Tokens, WordVocabulary

Digits = tuple[int, ...]

MAX_LISTED = 20_000
"""More questions than this are drawn and not listed."""


class RunningSum(LanguageGame[Digits]):
    """Player 1 adds up the digits that player 0 reads out, with or without scratch paper.

    >>> game = RunningSum(modulus=3, num_terms=4, max_thought_tokens=4)
    >>> game.vocabulary.decode(game.worked_out((2, 1, 2, 2)))
    '2 0 2 1'
    """

    payoff = Payoff.IDENTICAL
    max_turns = 2
    roles = ("asker", "adder")

    def __init__(self, modulus: int = 3, num_terms: int = 6, max_thought_tokens: int = 0) -> None:
        """Choose how hard the question is, and whether there is scratch paper.

        Args:
            modulus: how many digits there are, at least 2.
            num_terms: how many of them are added, at least 1.
            max_thought_tokens: the most words in a thought; `num_terms` are needed to write down all partial sums.
        """
        for name, number, least in (
            ("modulus", modulus, 2),
            ("num_terms", num_terms, 1),
            ("max_thought_tokens", max_thought_tokens, 0),
        ):
            check_count(name, number, least=least)
        self.modulus, self.num_terms, self.max_thought_tokens = modulus, num_terms, max_thought_tokens
        self.vocabulary = WordVocabulary([str(digit) for digit in range(modulus)])
        self.digits = self.vocabulary.encode(" ".join(self.vocabulary.words))
        self.max_turn_tokens = self.max_briefing_tokens = num_terms
        listed = modulus**num_terms <= MAX_LISTED
        self.deals = FiniteDeals(self._questions()) if listed else SampledDeals(self._draw)

    def next_player(self, dialogue: Dialogue[Digits]) -> int | None:
        return len(dialogue.turns) if len(dialogue.turns) < 2 else None

    def rewards(self, dialogue: Dialogue[Digits]) -> tuple[float, float]:
        right = len(dialogue.turns) == 2 and dialogue.turns[1].tokens == self.worked_out(dialogue.deal)[-1:]
        return float(right), float(right)

    def briefing(self, deal: Digits, player: int) -> Tokens:
        return self._written(deal) if player == 0 else ()

    def legal_tokens(self, dialogue: Dialogue[Digits], prefix: Tokens) -> Tokens:
        if not dialogue.turns:
            return self._written(dialogue.deal)[len(prefix) : len(prefix) + 1]
        return (self.vocabulary.eos_id,) if prefix else self.digits

    def worked_out(self, deal: Digits) -> Tokens:
        """Return the partial sums, the last of which is the answer."""
        return self._written([total % self.modulus for total in accumulate(deal)])

    def solution(self, deal: Digits) -> Dialogue[Digits]:
        """Return the dialogue in which player 1 is right, its thought written out if the game has room for it."""
        sums = self.worked_out(deal)
        thought = sums if self.max_thought_tokens >= len(sums) else ()
        return Dialogue(deal, (Turn(self.briefing(deal, 0)), Turn(sums[-1:], thought)))

    def demonstrations(self, source: str, rng: np.random.Generator, num_dialogues: int) -> list[Dialogue[Digits]]:
        """Return solved dialogues; the "average" player two and the "ideal" one are the same here."""
        return [self.solution(self.deals.sample(rng)) for _ in range(num_dialogues)]

    def _written(self, digits: Sequence[int]) -> Tokens:
        return tuple(self.digits[digit] for digit in digits)

    def _questions(self) -> dict[Digits, float]:
        every = list(product(range(self.modulus), repeat=self.num_terms))
        return dict.fromkeys(every, 1 / len(every))

    def _draw(self, rng: np.random.Generator) -> Digits:
        return tuple(rng.integers(self.modulus, size=self.num_terms).tolist())
