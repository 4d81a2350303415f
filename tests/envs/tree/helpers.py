"""Small games for the tests of the exact tier; each has something that the registered ones have not."""

from typing import Any

from duologue.envs import Dialogue, FiniteDeals, LanguageGame, Payoff, Tokens, WordVocabulary

VOCABULARY = WordVocabulary("yes no")
YES, NO = VOCABULARY.encode("yes no")


class Aside(LanguageGame[str]):
    """All that can be hidden, in a small tree: a private card, a thought, an unheard word, an announcement.

    Player 0 knows the card and says up to two words of which the first is heard; player 1 answers one word after at
    most one thought; then player 0, told whether the card was "yes", has the last word. Every turn pays.
    """

    vocabulary = VOCABULARY
    payoff = Payoff.GENERAL
    deals = FiniteDeals({"yes": 0.25, "no": 0.75})
    max_turns = 3
    max_turn_tokens = 2
    max_thought_tokens = 1
    max_briefing_tokens = 1
    max_announcement_tokens = 1

    def next_player(self, dialogue: Dialogue[str]) -> int | None:
        return None if len(dialogue.turns) == 3 else len(dialogue.turns) % 2

    def rewards(self, dialogue: Dialogue[str]) -> tuple[float, float]:
        last = dialogue.turns[-1]
        right = VOCABULARY.encode(dialogue.deal)
        return len(last.tokens) - 0.25 * len(last.thought), float(last.tokens[:1] == right) * len(dialogue.turns)

    def briefing(self, deal: str, player: int) -> Tokens:
        return VOCABULARY.encode(deal) if player == 0 else ()

    def hears(self, dialogue: Dialogue[str], player: int) -> Tokens | None:
        return dialogue.turns[-1].tokens[:1]

    def announcement(self, dialogue: Dialogue[str], player: int) -> Tokens:
        return VOCABULARY.encode(dialogue.deal) if len(dialogue.turns) == 2 and player == 0 else ()

    def legal_tokens(self, dialogue: Dialogue[str], prefix: Tokens) -> Tokens | None:
        if len(dialogue.turns) == 0:
            return None
        return (VOCABULARY.eos_id,) if prefix else (YES, NO)


class Corridor(LanguageGame[None]):
    """A thousand turns of one word; the first and the last have a choice."""

    vocabulary = VOCABULARY
    payoff = Payoff.ZERO_SUM
    deals = FiniteDeals({None: 1.0})
    max_turns = 1_000
    max_turn_tokens = 1

    def next_player(self, dialogue: Dialogue[None]) -> int | None:
        return len(dialogue.turns) % 2 if len(dialogue.turns) < self.max_turns else None

    def rewards(self, dialogue: Dialogue[None]) -> tuple[float, float]:
        return (0.001, -0.001) if dialogue.turns[-1].tokens == (YES,) else (0.0, 0.0)

    def legal_tokens(self, dialogue: Dialogue[None], prefix: Tokens) -> Tokens:
        return (YES, NO) if len(dialogue.turns) == 0 else (YES,)


class Sequel(LanguageGame[None]):
    """Perfect information: both say yes or no in turn; pays (2, 1) after yes, no and (1, 2) after no, no."""

    vocabulary = VOCABULARY
    payoff = Payoff.GENERAL
    deals = FiniteDeals({None: 1.0})
    max_turns = 2
    max_turn_tokens = 1

    def next_player(self, dialogue: Dialogue[None]) -> int | None:
        return len(dialogue.turns) if len(dialogue.turns) < 2 else None

    def rewards(self, dialogue: Dialogue[None]) -> tuple[float, float]:
        said = "".join(VOCABULARY.decode(turn.tokens)[0] for turn in dialogue.turns)
        return {"yn": (2.0, 1.0), "nn": (1.0, 2.0)}.get(said, (0.0, 0.0))

    def legal_tokens(self, dialogue: Dialogue[None], prefix: Tokens) -> Tokens:
        return (YES, NO)


class Forgetful(Sequel):
    """Player 0 speaks twice, or once after player 1: a layout without names makes the two look alike to it."""

    vocabulary: Any
    payoff = Payoff.ZERO_SUM
    deals: Any = FiniteDeals({"alone": 0.5, "answering": 0.5})

    def __init__(self) -> None:
        self.vocabulary = _Blurred("yes no")

    def next_player(self, dialogue: Dialogue[Any]) -> int | None:
        return (0 if dialogue.deal == "alone" else 1 - len(dialogue.turns)) if len(dialogue.turns) < 2 else None

    def rewards(self, dialogue: Dialogue[Any]) -> tuple[float, float]:
        return 0.0, 0.0


class Tattling(Aside):
    """Lets player 1 say only the card, of which it has not been told."""

    def legal_tokens(self, dialogue: Dialogue[str], prefix: Tokens) -> Tokens | None:
        return VOCABULARY.encode(dialogue.deal) if len(dialogue.turns) == 1 else super().legal_tokens(dialogue, prefix)


class _Blurred(WordVocabulary):
    """Lays out words alone: neither who said them nor where a turn ends."""

    def tell(self, tokens: Tokens, viewer: int) -> Tokens:
        return ()

    def open_turn(self, speaker: int, viewer: int) -> Tokens:
        return ()

    def close_turn(self, speaker: int, viewer: int) -> Tokens:
        return ()


class WrongSum(Sequel):
    """Says that it is zero-sum and is not."""

    payoff = Payoff.ZERO_SUM


class Endless(Sequel):
    """Goes on for ever with the words that it is given."""

    max_turns: Any = float("inf")

    def __init__(self, words: Tokens) -> None:
        self.words = words

    def next_player(self, dialogue: Dialogue[None]) -> int | None:
        return len(dialogue.turns) % 2

    def rewards(self, dialogue: Dialogue[None]) -> tuple[float, float]:
        return 0.0, 0.0

    def legal_tokens(self, dialogue: Dialogue[None], prefix: Tokens) -> Tokens:
        return self.words


class OwnDeals(Sequel):
    """Lists its deals by a class of its own."""

    deals: Any

    def __init__(self, probabilities: tuple[float, float]) -> None:
        self.deals = self
        self.probabilities = probabilities

    def outcomes(self) -> dict[str, float]:
        """Return two deals."""
        return dict(zip(("first", "second"), self.probabilities, strict=True))


class Listed(Sequel):
    """Gives lists where tuples are declared."""

    def legal_tokens(self, dialogue: Dialogue[None], prefix: Tokens) -> Any:
        return [YES, NO]

    def hears(self, dialogue: Dialogue[None], player: int) -> Any:
        return list(dialogue.turns[-1].tokens)
