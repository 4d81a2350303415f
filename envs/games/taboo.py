"""Adversarial Taboo: one player knows a word and asks so that the other says it; the other tries to guess it first.

Rules: the language is generated. A word is a row of syllables, one for each of k attributes, as "bade" or "beda"; a
syllable is a property, and a word has those that it is made of. The deal draws a target among n words, each with
probability 1/n. Player 0, the attacker, asks by naming a property or a word: player 1, the defender, must name a word
that has the property, or another word that shares a property with the named one. Instead it may guess, "i know the
word ! it is X". The attacker wins if the defender says the target without guessing, guesses wrong, or gives an answer
that does not fit; it loses if it says the target itself. The defender wins by a right guess. After `max_turns` turns
it is a tie. A word is uttered as a whole: the property "ba" is in "bade", but who asks for "ba" has not said "bade".

Observation: the attacker is told the target; both hear all turns.

Actions: the attacker says one property or word, to which some word is an answer. The defender says one word, or the
seven words of the guess and one word more.

Rewards: zero-sum: 1 to the winner and -1 to the loser, 0 to both for a tie. An illegal token costs 1.

Known values: with 4 words of 2 attributes and one exchange (`max_turns=2`) the game is worth 1/3 to the attacker. Two
words have the property that is asked for; say the target is one of them with probability t, each equally likely. Then
an answer costs the defender t/2, a guess among the two 1 - t, and one among the others t. By symmetry and because a
least cost is concave, no belief costs more than the best t, which is 2/3: all three answers then cost at least 1/3.
The attacker gets there by a property of the target twice in three times, or by naming a word that is not the target,
each with equal probability: two of the three words left fit. Two exchanges are worth 1/2 (a linear program over the
whole tree). With 2 words the game is worth 0: a guess at once is a fair coin. One exchange of the default game is
worth 1/4: asking for a property of the target secures that, as a guess among four words costs 1/2, and any fitting
word by chance concedes no more.

References: P. Cheng et al., *Self-playing adversarial language game enhances LLM reasoning* (SPAG), NeurIPS 2024,
arXiv 2404.10642: Adversarial Taboo between language models. Its defender talks freely; ours must give an example,
which is what makes it run a risk.

Version history: v0, first version.
"""

from __future__ import annotations

from enum import StrEnum

import numpy as np

from ..game import Dialogue, FiniteDeals, LanguageGame, Payoff, Turn
from ..vocabulary import Tokens, WordVocabulary

CONSONANTS, VOWELS = "bdfgklmnprst", "aeiou"
GUESS = "i know the word ! it is"


class TabooOutcome(StrEnum):
    """How the last turn ended the game, or that it did not."""

    OPEN = ""
    """Nobody has won."""
    UTTERED = "the defender said the word"
    """The attacker wins."""
    UNFIT = "the answer does not fit"
    """The attacker wins."""
    WRONG_GUESS = "the guess is wrong"
    """The attacker wins."""
    RIGHT_GUESS = "the guess is right"
    """The defender wins."""
    GIVEN_AWAY = "the attacker said the word"
    """The defender wins."""


ATTACKER_WINS = frozenset({TabooOutcome.UTTERED, TabooOutcome.UNFIT, TabooOutcome.WRONG_GUESS})


class Taboo(LanguageGame[int]):
    """The attacker asks for words until the defender says the target or guesses it.

    >>> game = Taboo(num_words=4, num_attributes=2)
    >>> game.vocabulary.decode(game.words), game.vocabulary.decode(game.properties)
    ('bada beda bade bede', 'ba be da de')
    >>> said = [game.vocabulary.encode(text) for text in ("be", "i know the word ! it is bede")]
    >>> game.rewards(Dialogue(3, tuple(said)))
    (-1.0, 1.0)
    """

    payoff = Payoff.ZERO_SUM
    max_briefing_tokens = 1
    roles = ("attacker", "defender")

    def __init__(self, num_words: int = 8, num_attributes: int = 3, max_turns: int = 6) -> None:
        """Choose the size of the language and the length of the game.

        Args:
            num_words: n, how many words there are, 2 to 5^k.
            num_attributes: k, of how many syllables a word consists, 2 to 12; each of them can be asked for.
            max_turns: turns until it is a tie, two for each exchange, at least 2.
        """
        _check_sizes(num_words, num_attributes, max_turns)
        num_values = next(v for v in range(2, len(VOWELS) + 1) if v**num_attributes >= num_words)
        syllables = [_syllables(word, num_attributes, num_values) for word in range(num_words)]
        properties = sorted(set().union(*syllables), key=lambda s: (CONSONANTS.index(s[0]), VOWELS.index(s[1])))
        names = ["".join(of_word) for of_word in syllables]
        self.vocabulary = WordVocabulary([*GUESS.split(), *properties, *names])
        self.guess, self.properties, self.words = (
            self.vocabulary.encode(text) for text in (GUESS, " ".join(properties), " ".join(names))
        )
        self.max_turns, self.max_turn_tokens = max_turns, len(self.guess) + 1
        self.properties_of = {
            word: frozenset(self.vocabulary.encode(" ".join(of_word)))
            for word, of_word in zip(self.words, syllables, strict=True)
        }
        """The properties of each word."""
        self.answers = self._answers()
        """What fits each question."""
        self.deals = FiniteDeals(dict.fromkeys(range(num_words), 1 / num_words))

    def next_player(self, dialogue: Dialogue[int]) -> int | None:
        over = len(dialogue.turns) == self.max_turns or self.outcome(dialogue) is not TabooOutcome.OPEN
        return None if over else len(dialogue.turns) % 2

    def rewards(self, dialogue: Dialogue[int]) -> tuple[float, float]:
        outcome = self.outcome(dialogue)
        if outcome is TabooOutcome.OPEN:
            return 0.0, 0.0
        return (1.0, -1.0) if outcome in ATTACKER_WINS else (-1.0, 1.0)

    def outcome(self, dialogue: Dialogue[int]) -> TabooOutcome:
        """Return how the last turn ended the game; a tie has the outcome `OPEN`."""
        if not dialogue.turns:
            return TabooOutcome.OPEN
        target, said = self.words[dialogue.deal], dialogue.turns[-1].tokens
        if len(dialogue.turns) % 2:
            return TabooOutcome.GIVEN_AWAY if said[0] == target else TabooOutcome.OPEN
        if said[0] == self.guess[0]:
            return TabooOutcome.RIGHT_GUESS if said[-1] == target else TabooOutcome.WRONG_GUESS
        if said[0] == target:
            return TabooOutcome.UTTERED
        fits = said[0] in self.answers[dialogue.turns[-2].tokens[0]]
        return TabooOutcome.OPEN if fits else TabooOutcome.UNFIT

    def briefing(self, deal: int, player: int) -> Tokens:
        return (self.words[deal],) if player == 0 else ()

    def turn_limit(self, dialogue: Dialogue[int]) -> int:
        return self.max_turn_tokens if len(dialogue.turns) % 2 else 1

    def legal_tokens(self, dialogue: Dialogue[int], prefix: Tokens) -> Tokens:
        if len(dialogue.turns) % 2 == 0:
            return tuple(self.answers)
        if not prefix:
            return (self.guess[0], *self.words)
        if prefix[0] != self.guess[0]:
            return (self.vocabulary.eos_id,)
        return self.guess[len(prefix) : len(prefix) + 1] if len(prefix) < len(self.guess) else self.words

    def annotate(self, dialogue: Dialogue[int]) -> str:
        return self.outcome(dialogue).value

    def demonstrations(self, source: str, rng: np.random.Generator, num_dialogues: int) -> list[Dialogue[int]]:
        """Return games between an average attacker and an average or "ideal" defender.

        The attacker mostly asks for a property of the target, sometimes anything. The average defender names any word
        that fits, now and then one that does not, and guesses too early; the ideal one names a word that has been said
        before where one fits, and guesses when one word is left.
        """
        return [self._demonstration(self.deals.sample(rng), source == "ideal", rng) for _ in range(num_dialogues)]

    def _answers(self) -> dict[int, Tokens]:
        answers = {
            **{prop: tuple(w for w in self.words if prop in self.properties_of[w]) for prop in self.properties},
            **{
                word: tuple(w for w in self.words if w != word and self.properties_of[w] & self.properties_of[word])
                for word in self.words
            },
        }
        return {question: fitting for question, fitting in answers.items() if fitting}

    def _demonstration(self, deal: int, ideal: bool, rng: np.random.Generator) -> Dialogue[int]:
        dialogue: Dialogue[int] = Dialogue(deal)
        while (player := self.next_player(dialogue)) is not None:
            said = self._question(deal, rng) if player == 0 else self._answer(dialogue, ideal, rng)
            dialogue = dialogue.extend(Turn(said))
        return dialogue

    def _question(self, deal: int, rng: np.random.Generator) -> Tokens:
        true = sorted(self.properties_of[self.words[deal]])
        return (int(rng.choice(true if rng.random() < 0.7 else tuple(self.answers))),)

    def _answer(self, dialogue: Dialogue[int], ideal: bool, rng: np.random.Generator) -> Tokens:
        said = {turn.tokens[0] for turn in dialogue.turns}
        asked = said & set(self.properties)
        left = [word for word in self.words if word not in said and asked <= self.properties_of[word]]
        fitting = self.answers[dialogue.turns[-1].tokens[0]]
        if left and (len(left) == 1 if ideal else rng.random() < 0.2):
            return (*self.guess, int(rng.choice(left)))
        if ideal:
            return (int(rng.choice([word for word in fitting if word in said] or fitting)),)
        return (int(rng.choice(self.words if rng.random() < 0.1 else fitting)),)


def _check_sizes(num_words: int, num_attributes: int, max_turns: int) -> None:
    if not isinstance(num_attributes, int) or not 2 <= num_attributes <= len(CONSONANTS):
        raise ValueError(f"num_attributes: expected a whole number from 2 to {len(CONSONANTS)}, got {num_attributes}")
    most = len(VOWELS) ** num_attributes
    if not isinstance(num_words, int) or not 2 <= num_words <= most:
        raise ValueError(f"num_words: expected a whole number from 2 to {most}, got {num_words}")
    if not isinstance(max_turns, int) or max_turns < 2:
        raise ValueError(f"max_turns: expected a whole number of at least 2, got {max_turns}")


def _syllables(word: int, num_attributes: int, num_values: int) -> list[str]:
    """Return the syllables of a word, the digits of its number: a consonant for each place, a vowel for each digit."""
    digits = ((word // num_values**place) % num_values for place in range(num_attributes))
    return [CONSONANTS[place] + VOWELS[digit] for place, digit in enumerate(digits)]
