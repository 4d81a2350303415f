"""Small games for the tests: some use what Bluff does not, the others break one rule each."""

from typing import Any

import numpy as np

from duologue.envs import Dialogue, FiniteDeals, LanguageGame, Payoff, SampledDeals, Tokens, WordVocabulary

VOCABULARY = WordVocabulary("red blue yes no maybe")
RED, BLUE, YES, NO, MAYBE = VOCABULARY.encode("red blue yes no maybe")


class Whisper(LanguageGame[str]):
    """Three turns with thoughts, per-turn general-sum rewards, a turn that nobody hears and an announcement.

    Player 0 speaks unheard, player 1 answers and is heard in its first word only, and then the game tells
    player 0 the colour that was dealt; player 0 has the last word, one of two.
    """

    vocabulary = VOCABULARY
    payoff = Payoff.GENERAL
    deals = FiniteDeals({"red": 0.25, "blue": 0.75})
    max_turns = 3
    max_turn_tokens = 3
    max_thought_tokens = 2
    max_announcement_tokens = 1
    roles = ("whisperer", "guesser")
    forfeit_cost = 2.0

    def next_player(self, dialogue: Dialogue[str]) -> int | None:
        return None if len(dialogue.turns) == 3 else len(dialogue.turns) % 2

    def rewards(self, dialogue: Dialogue[str]) -> tuple[float, float]:
        right = RED if dialogue.deal == "red" else BLUE
        return float(len(dialogue.turns)), 0.5 * (right in dialogue.turns[-1].tokens)

    def hears(self, dialogue: Dialogue[str], player: int) -> Tokens | None:
        return None if len(dialogue.turns) == 1 else dialogue.turns[-1].tokens[:1]

    def announcement(self, dialogue: Dialogue[str], player: int) -> Tokens:
        return VOCABULARY.encode(dialogue.deal) if len(dialogue.turns) == 2 and player == 0 else ()

    def legal_tokens(self, dialogue: Dialogue[str], prefix: Tokens) -> Tokens | None:
        return None if len(dialogue.turns) < 2 else (RED, BLUE) if not prefix else (VOCABULARY.eos_id,)

    def annotate(self, dialogue: Dialogue[str]) -> str:
        return f"turn {len(dialogue.turns)}"


class Coordination(LanguageGame[int]):
    """Both players earn 1 if they say the same; deals are drawn and cannot be listed; player 1 may begin."""

    vocabulary = VOCABULARY
    payoff = Payoff.IDENTICAL
    deals: SampledDeals[int]
    max_turns = 2
    max_turn_tokens = 2
    max_briefing_tokens = 1

    def __init__(self) -> None:
        """Draw who begins."""
        self.deals = SampledDeals(_coin)

    def briefing(self, deal: int, player: int) -> Tokens:
        return (YES,) if player == deal else (NO,)

    def next_player(self, dialogue: Dialogue[int]) -> int | None:
        return None if len(dialogue.turns) == 2 else (dialogue.deal + len(dialogue.turns)) % 2

    def rewards(self, dialogue: Dialogue[int]) -> tuple[float, float]:
        agreed = len(dialogue.turns) == 2 and dialogue.turns[0].tokens == dialogue.turns[1].tokens
        return float(agreed), float(agreed)


def _coin(rng: np.random.Generator) -> int:
    return int(rng.integers(2))


class LeakyMask(Whisper):
    """Lets player 1 say only the colour that was dealt, of which nobody has told it."""

    def legal_tokens(self, dialogue: Dialogue[str], prefix: Tokens) -> Tokens | None:
        return VOCABULARY.encode(dialogue.deal) if len(dialogue.turns) == 1 else None


class LeakyThought(Whisper):
    """Lets player 1 hear what player 0 thought."""

    def hears(self, dialogue: Dialogue[str], player: int) -> Tokens | None:
        turn = dialogue.turns[-1]
        return turn.thought if turn.player == 0 else turn.tokens[:1]


class LeakyThoughtMask(Whisper):
    """Lets player 0's thought decide what player 1 may say."""

    def legal_tokens(self, dialogue: Dialogue[str], prefix: Tokens) -> Tokens | None:
        return (YES,) if len(dialogue.turns) == 1 and len(dialogue.turns[0].thought) == 2 else None


class LeakyUnheardTurn(Whisper):
    """Lets a turn that player 1 did not hear decide what it may say."""

    def legal_tokens(self, dialogue: Dialogue[str], prefix: Tokens) -> Tokens | None:
        return (YES,) if len(dialogue.turns) == 1 and len(dialogue.turns[0].tokens) > 1 else None


class LeakyMemory(Whisper):
    """Remembers earlier episodes, which no player may know."""

    def __init__(self) -> None:
        """Remember nothing yet."""
        self.calls = 0

    def legal_tokens(self, dialogue: Dialogue[str], prefix: Tokens) -> Tokens | None:
        self.calls += 1
        return (YES, NO) if self.calls % 50 == 49 else None


class WrongPayoff(Whisper):
    """Says that it is zero-sum and is not."""

    payoff = Payoff.ZERO_SUM


class WrongBatch(Whisper):
    """Gives a batch's rewards in reverse order."""

    def rewards_batch(self, dialogues: Any) -> list[tuple[float, float]]:
        return [self.rewards(dialogue) for dialogue in dialogues][::-1]


class TooManyTurns(Whisper):
    """Goes on after `max_turns`."""

    max_turns = 2


class Flaky(Whisper):
    """Whisper whose rules fail while `failing` names them: "rewards", "legal_tokens" or "all", deals' openings too."""

    failing: str | None = None

    def rewards(self, dialogue: Dialogue[str]) -> tuple[float, float]:
        self._fail("rewards")
        return super().rewards(dialogue)

    def legal_tokens(self, dialogue: Dialogue[str], prefix: Tokens) -> Tokens | None:
        if prefix:
            self._fail("legal_tokens")
        return super().legal_tokens(dialogue, prefix)

    def _fail(self, what: str) -> None:
        if self.failing in (what, "all"):
            raise ConnectionError(what)
