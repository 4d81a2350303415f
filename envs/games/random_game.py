"""Random game: rules drawn from a seed; any shape and size, for property tests and benchmarks.

Rules: `num_turns` turns in a fixed order of speakers, player 0 first, player 1 second, at random from then on. In each
a player says at most `max_turn_tokens` of `branching` words. One of `num_deals` deals is drawn, with probabilities that
are random too. With `irregular=True` a turn may offer fewer words, and the game may end after any turn.

Everything is a function of the seed, the deal and what was said: a BLAKE2 hash of these gives each random number, so
that a seed means the same game on every platform and nothing is stored that grows with the game.

Observation: with `hidden_share=0` all is known to both players: the deal, every turn. Otherwise each deal is unknown to
each player with that probability, and each turn is unheard by the other with that probability. A player keeps all it
has been told, so there is perfect recall whatever the options. Thoughts are possible with `max_thought_tokens`.

Actions: "word0", "word1", ...; a turn of several words ends with `<eos>`, or at its full length.

Rewards: uniform in [-1, 1], at the end or, with `pays_every_turn=True`, after each turn, zero-sum, identical or
general-sum by `payoff`. An illegal token costs 1.

Known values: the size. With turns of one token and `irregular=False` the tree has 1 + num_deals * (1 + branching +
... + branching^num_turns) nodes.

References: random games are the usual check of a solver that has no favourite shape; the order of turns, information
and payoffs is this package's own.

Version history: v0, first version.
"""

from __future__ import annotations

from hashlib import blake2b
from struct import pack, unpack

from ..game import PLAYERS, Dialogue, FiniteDeals, LanguageGame, Payoff, check_count
from ..vocabulary import Tokens, WordVocabulary

MAX_TURNS = 10_000
ENDS_SHARE = 0.2
"""How often an irregular game ends after a turn that need not be the last."""


class RandomGame(LanguageGame[int]):
    """Rules that a seed determines.

    >>> game = RandomGame(7, num_turns=1, branching=2, num_deals=1)
    >>> [round(game.rewards(Dialogue(0, ((word,),)))[0], 6) for word in game.words]
    [-0.420897, 0.967337]
    """

    max_briefing_tokens = 1

    def __init__(
        self,
        seed: int = 0,
        *,
        num_turns: int = 4,
        branching: int = 2,
        num_deals: int = 2,
        payoff: str = "zero_sum",
        hidden_share: float = 0.5,
        max_turn_tokens: int = 1,
        max_thought_tokens: int = 0,
        pays_every_turn: bool = False,
        irregular: bool = False,
    ) -> None:
        """Draw the rules.

        Args:
            seed: a whole number; the same means the same rules.
            num_turns: the most turns, and the number of turns of a regular game.
            branching: how many words there are.
            num_deals: how many deals chance draws from.
            payoff: "zero_sum", "identical" or "general".
            hidden_share: in [0, 1], how often a player does not learn the deal, or does not hear a turn.
            max_turn_tokens: the most words in a turn; beyond 1, `<eos>` may end it after the first.
            max_thought_tokens: the most words in a thought; 0: no thoughts.
            pays_every_turn: pay after each turn, not only at the end.
            irregular: offer fewer words in some turns, and end before `num_turns` in some lines of play.
        """
        if not isinstance(seed, int):
            raise ValueError(f"seed: expected a whole number, got {seed!r}")
        check_count("num_turns", num_turns, most=MAX_TURNS)
        for name, count in (("branching", branching), ("num_deals", num_deals), ("max_turn_tokens", max_turn_tokens)):
            check_count(name, count)
        check_count("max_thought_tokens", max_thought_tokens, least=0)
        if not 0 <= hidden_share <= 1:
            raise ValueError(f"hidden_share: expected a number in [0, 1], got {hidden_share}")
        if payoff not in list(Payoff):
            raise ValueError(f"payoff: expected one of {', '.join(Payoff)}, got {payoff!r}")
        self.payoff = Payoff(payoff)
        self.max_turns, self.max_turn_tokens = num_turns, max_turn_tokens
        self.max_thought_tokens = max_thought_tokens
        self._key = b"%d," % seed
        self._pays_every_turn, self._irregular = pays_every_turn, irregular
        self._draw_words(branching, num_deals)
        self._draw_information(num_turns, num_deals, hidden_share)

    def next_player(self, dialogue: Dialogue[int]) -> int | None:
        return None if self._over(dialogue) else self._speakers[len(dialogue.turns)]

    def rewards(self, dialogue: Dialogue[int]) -> tuple[float, float]:
        if not self._pays_every_turn and not self._over(dialogue):
            return 0.0, 0.0
        first, second = self._uniforms(b"reward", dialogue)
        reward = 2 * first - 1
        if self.payoff is Payoff.ZERO_SUM:
            return reward, -reward
        return reward, reward if self.payoff is Payoff.IDENTICAL else 2 * second - 1

    def briefing(self, deal: int, player: int) -> Tokens:
        return self._signals[player][deal]

    def hears(self, dialogue: Dialogue[int], player: int) -> Tokens | None:
        return dialogue.turns[-1].tokens if self._heard[len(dialogue.turns) - 1] else None

    def legal_tokens(self, dialogue: Dialogue[int], prefix: Tokens) -> Tokens:
        words = self._offered(dialogue) if self._irregular else self.words
        return (*words, self.vocabulary.eos_id) if prefix else words

    def _offered(self, dialogue: Dialogue[int]) -> Tokens:
        """Return the words of a turn, by what its speaker knows: the time and its own last turn."""
        num_turns = len(dialogue.turns)
        before = self._own_last[num_turns]
        said = dialogue.turns[before].tokens if before is not None else ()
        number, _ = self._hash(b"offer", (num_turns, *said))
        return self.words[: 1 + int(number * len(self.words))]

    def _over(self, dialogue: Dialogue[int]) -> bool:
        num_turns = len(dialogue.turns)
        if num_turns == self.max_turns or not self._irregular or not num_turns:
            return num_turns == self.max_turns
        return self._uniforms(b"end", dialogue)[0] < ENDS_SHARE

    def _draw_words(self, branching: int, num_deals: int) -> None:
        words = (f"word{k}" for k in range(branching))
        self.vocabulary = WordVocabulary((*words, *(f"deal{k}" for k in range(num_deals)), "unknown"))
        tokens = self.vocabulary.encode(" ".join(self.vocabulary.words))
        self.words, self._told = tokens[:branching], tokens[branching:]

    def _draw_information(self, num_turns: int, num_deals: int, hidden_share: float) -> None:
        weights = [0.1 + self._hash(b"deal", (deal,))[0] for deal in range(num_deals)]
        total = sum(weights)
        self.deals = FiniteDeals({deal: weight / total for deal, weight in enumerate(weights)})
        self._signals = [
            [
                self._told[-1:] if self._hash(b"signal", (p, deal))[0] < hidden_share else self._told[deal : deal + 1]
                for deal in range(num_deals)
            ]
            for p in PLAYERS
        ]
        self._heard = [self._hash(b"heard", (k,))[0] >= hidden_share for k in range(num_turns)]
        self._speakers = [k if k in PLAYERS else int(2 * self._hash(b"speaker", (k,))[0]) for k in range(num_turns)]
        last: list[int | None] = [None, None]
        self._own_last: list[int | None] = []
        for turn, speaker in enumerate(self._speakers):
            self._own_last.append(last[speaker])
            last[speaker] = turn

    def _uniforms(self, purpose: bytes, dialogue: Dialogue[int]) -> tuple[float, float]:
        turns = dialogue.turns
        if self.max_turn_tokens == 1:
            return self._hash(purpose, (dialogue.deal, *[turn.tokens[0] for turn in turns]))
        return self._hash(purpose, (dialogue.deal, *[n for turn in turns for n in (len(turn.tokens), *turn.tokens)]))

    def _hash(self, purpose: bytes, numbers: tuple[int, ...]) -> tuple[float, float]:
        """Return two numbers in [0, 1) that look independent and uniform over seeds, purposes and numbers."""
        text = self._key + purpose + pack(f">{len(numbers)}I", *numbers)
        first, second = unpack(">2Q", blake2b(text, digest_size=16).digest())
        return (first >> 11) * 2.0**-53, (second >> 11) * 2.0**-53
