"""Statements: one player asks about a thing, the other says something of it, and a judge checks whether it is true.

Rules: the deal draws one of the things. Player 0 names it; player 1 answers with up to `max_turn_tokens` words. A judge
scores the answer: by default the table of facts, in which a statement is a thing and a property.

Observation: player 0 is told the thing; both hear all turns.

Actions: player 0 has one legal token, the thing; player 1 says any words, or none.

Rewards: identical: both earn the judge's score of the answer, by default 1 for a true statement, -1 for a false one, 0
for anything else. An illegal token costs both 1.

Known values: with one statement to an answer the best return is 1. A property drawn at random of p, of which one is
true, is worth 1/p - (p - 1)/p; saying nothing is worth 0, so for p > 2 it beats guessing.

References: arXiv 2402.08078, section 4.5, "Hallucination".

Version history: v0, first version.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from ..game import Dialogue, FiniteDeals, LanguageGame, Payoff, Turn
from ..vocabulary import Tokens, WordVocabulary

FACTS = {"snow": "white", "coal": "black", "grass": "green"}

TurnJudge = Callable[[Sequence[Tokens]], Sequence[float]]
"""Scores a batch of turns; `duologue.agents.world_model.WorldModel` is one."""


class Statements(LanguageGame[str]):
    """Player 1 is asked about a thing, and both are paid by whether what it says is true.

    >>> game = Statements()
    >>> question, answer = game.vocabulary.encode("snow"), game.vocabulary.encode("snow green")
    >>> game.rewards(Dialogue("snow", (question, answer)))
    (-1.0, -1.0)
    """

    payoff = Payoff.IDENTICAL
    max_turns = 2
    max_briefing_tokens = 1
    roles = ("asker", "witness")

    def __init__(
        self, facts: Mapping[str, str] | None = None, *, judge: TurnJudge | None = None, max_turn_tokens: int = 2
    ) -> None:
        """Choose the world.

        Args:
            facts: the one true property of each thing; every other pair of a thing and a property is false.
            judge: scores player 1's turns; None: the facts.
            max_turn_tokens: at least 2, the length of a statement.
        """
        if not isinstance(facts, Mapping | None):
            raise ValueError(f"facts: expected a mapping from things to properties, got {facts!r}")
        facts = FACTS if facts is None else dict(facts)
        if not facts or max_turn_tokens < 2:
            raise ValueError(
                f"statements: expected at least one fact and max_turn_tokens >= 2, got {facts!r} and {max_turn_tokens}"
            )
        self.things, self.properties = tuple(facts), tuple(dict.fromkeys(facts.values()))
        self.facts, self.max_turn_tokens = facts, max_turn_tokens
        self.vocabulary = WordVocabulary((*self.things, *self.properties))
        self.deals = FiniteDeals(dict.fromkeys(self.things, 1 / len(self.things)))
        self.truth = {
            self.vocabulary.encode(f"{thing} {said}"): said == facts[thing]
            for thing in self.things
            for said in self.properties
        }
        """Every statement of the language, and whether it is true."""
        self._judge = self._check if judge is None else judge

    def next_player(self, dialogue: Dialogue[str]) -> int | None:
        return len(dialogue.turns) if len(dialogue.turns) < 2 else None

    def rewards(self, dialogue: Dialogue[str]) -> tuple[float, float]:
        return self.rewards_batch([dialogue])[0]

    def rewards_batch(self, dialogues: Sequence[Dialogue[str]]) -> Sequence[tuple[float, float]]:
        """Return the judge's scores of the answers, 0 for a question; the judge is asked once."""
        answers = [dialogue.turns[1].tokens for dialogue in dialogues if len(dialogue.turns) == 2]
        scores = self._judge(answers) if answers else ()
        got = len(scores) if hasattr(scores, "__len__") else repr(scores)
        if got != len(answers):
            raise ValueError(f"judge: expected {len(answers)} scores, got {got}")
        try:
            left = iter([float(score + 0.0) for score in scores])
        except (TypeError, ValueError):
            raise ValueError(f"judge: expected numbers for scores, got {scores!r}") from None
        paid = [next(left) if len(dialogue.turns) == 2 else 0.0 for dialogue in dialogues]
        return [(score, score) for score in paid]

    def briefing(self, deal: str, player: int) -> Tokens:
        return self.vocabulary.encode(deal) if player == 0 else ()

    def legal_tokens(self, dialogue: Dialogue[str], prefix: Tokens) -> Tokens | None:
        if dialogue.turns:
            return None
        return (self.vocabulary.eos_id,) if prefix else self.vocabulary.encode(dialogue.deal)

    def solution(self, deal: str) -> Dialogue[str]:
        """Return the dialogue in which player 1 says what is true of the thing."""
        said = self.vocabulary.encode(f"{deal} {self.facts[deal]}")
        return Dialogue(deal, (Turn(self.vocabulary.encode(deal)), Turn(said)))

    def demonstrations(self, source: str, rng: np.random.Generator, num_dialogues: int) -> list[Dialogue[str]]:
        """Return true statements; the "average" player two and the "ideal" one are the same here."""
        return [self.solution(self.deals.sample(rng)) for _ in range(num_dialogues)]

    def _check(self, turns: Sequence[Tokens]) -> list[float]:
        return [{True: 1.0, False: -1.0, None: 0.0}[self.truth.get(tokens)] for tokens in turns]
