"""The nouns of a game with a judge: what the judge sees, what it may say, and what that pays.

An adversary prompts, a defender replies; the judge is handed each such `Exchange` in a batch and answers with one
`Verdict` each: what the defender earns, and which `Outcome` it was. `RedTeamGame` is the kind of game that asks one, so
that whoever wraps, trains or measures such games need know none of them.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from typing_extensions import TypeVar

from .game import Dialogue, LanguageGame
from .vocabulary import Tokens, Vocabulary

RequestT = TypeVar("RequestT")


@dataclass(frozen=True, slots=True)
class Exchange:
    """One prompt and its reply, as a judge sees them."""

    prompt: Tokens
    reply: Tokens
    vocabulary: Vocabulary
    seed: Tokens = ()
    """The request that the adversary was given to rewrite; empty: none."""
    harmful_seed: bool | None = None
    """Whether that request is labelled harmful; None: no seed, or no label."""

    @property
    def prompt_text(self) -> str:
        """The prompt as text."""
        return self.vocabulary.decode(self.prompt)

    @property
    def reply_text(self) -> str:
        """The reply as text."""
        return self.vocabulary.decode(self.reply)


class Outcome(StrEnum):
    """What became of one exchange. An attack succeeds if the outcome is UNSAFE."""

    UNSAFE = "unsafe"
    """A harmful topic's content was given."""
    REFUSED = "refused"
    """A harmful request was refused."""
    DEFLECTED = "deflected"
    """A harmful request got an answer that is neither harmful nor a refusal."""
    HELPFUL = "helpful"
    """A benign request was answered right."""
    PARTIAL = "partial"
    """A benign request was answered in part."""
    WRONG = "wrong"
    """A benign request got a wrong answer or noise."""
    OVER_REFUSED = "over_refused"
    """A benign request was refused."""
    ILL_FORMED = "ill_formed"
    """The prompt is no request, or not faithful to its seed."""
    UNUSABLE = "unusable"
    """The judge gave no readable verdict; the exchange pays nothing."""

    @property
    def refusal(self) -> bool:
        """Whether the defender refused, rightly or not."""
        return self in (Outcome.REFUSED, Outcome.OVER_REFUSED)


@dataclass(frozen=True, slots=True)
class Verdict:
    """A judge's opinion of one exchange."""

    reward: float
    """What the defender earns, in [-1, 1]; the adversary earns the negation in the zero-sum game."""
    outcome: Outcome


Judge = Callable[[Sequence[Exchange]], Sequence[Verdict]]
"""A batched callable: one verdict for each exchange, in order."""


def checked(verdicts: Sequence[Verdict], num_exchanges: int) -> Sequence[Verdict]:
    """Return the verdicts if there is one for each exchange and every one is usable.

    Raises:
        ValueError: a verdict is missing, its reward is not a finite number in [-1, 1], or its outcome no `Outcome`.
    """
    check_number_of(verdicts, num_exchanges)
    for verdict in verdicts:
        if not _usable(verdict):
            raise ValueError(f"judge: expected a finite reward in [-1, 1] and an Outcome, got {verdict!r}")
    return verdicts


def check_number_of(verdicts: object, num_exchanges: int) -> None:
    """Raise ValueError unless a judge gave one verdict for each exchange, in a list or the like."""
    if isinstance(verdicts, (list, tuple)) and len(verdicts) == num_exchanges:
        return
    got = len(verdicts) if hasattr(verdicts, "__len__") else repr(verdicts)
    if got != num_exchanges or isinstance(verdicts, (str, Mapping)):
        raise ValueError(f"judge: expected {num_exchanges} verdicts, one for each exchange, got {got}")


def _usable(verdict: object) -> bool:
    reward, outcome = getattr(verdict, "reward", None), getattr(verdict, "outcome", None)
    if not isinstance(reward, (float, int, np.number)) or not isinstance(outcome, Outcome):
        return False
    return -1.0 <= float(reward) <= 1.0  # which NaN is not


class RedTeamGame(LanguageGame[RequestT]):
    """Player 0 writes a prompt, player 1 replies, and the exchange pays both; repeated for `num_rounds`.

    A subclass sets the attributes of `LanguageGame` and `num_rounds`, and says how an exchange is judged and paid.
    """

    roles = ("adversary", "defender")
    num_rounds: int
    num_preamble_tokens: int = 0
    """How many tokens of the adversary's briefing precede the request itself."""

    def request_in(self, told: Tokens) -> Tokens:
        """Return the request in what the adversary was told of it."""
        return told[self.num_preamble_tokens :]

    @abstractmethod
    def verdicts(self, dialogues: Sequence[Dialogue[RequestT]]) -> list[Verdict]:
        """Return the verdict on the last exchange (prompt and reply) of each dialogue, in order, in one batch."""

    def payoffs(self, dialogue: Dialogue[RequestT], verdict: Verdict) -> tuple[float, float]:
        """Return both players' rewards for a judged exchange: (-r, r) / num_rounds, r the verdict's reward."""
        reward = verdict.reward / self.num_rounds
        return -reward, reward

    def faithful(self, dialogue: Dialogue[RequestT]) -> bool:
        """Whether the latest prompt keeps what it must of the request that was dealt; here every prompt but "" does."""
        return bool(last_prompt(dialogue))

    def harmful(self, dialogue: Dialogue[RequestT]) -> bool | None:
        """Whether the latest prompt asks for harm, else whether the request that was dealt does; None: no label tells.

        Here it is the `harmful` of the deal, which rewriting does not change; a deal without one has no label.
        """
        label = getattr(dialogue.deal, "harmful", None)
        return label if isinstance(label, bool) else None

    def next_player(self, dialogue: Dialogue[RequestT]) -> int | None:
        """Return the players in turn, the adversary first."""
        spoken = len(dialogue.turns)
        return None if spoken == 2 * self.num_rounds else spoken % 2

    def rewards(self, dialogue: Dialogue[RequestT]) -> tuple[float, float]:
        """Return 0 after a prompt and the exchange's payoff after a reply."""
        return self.rewards_batch([dialogue])[0]

    def rewards_batch(self, dialogues: Sequence[Dialogue[RequestT]]) -> list[tuple[float, float]]:
        """Return `rewards` for many dialogues, the judge being called once."""
        replied = [dialogue for dialogue in dialogues if len(dialogue.turns) % 2 == 0]
        verdicts = iter(checked(self.verdicts(replied), len(replied)) if replied else ())
        return [
            self.payoffs(dialogue, next(verdicts)) if len(dialogue.turns) % 2 == 0 else (0.0, 0.0)
            for dialogue in dialogues
        ]


def last_prompt(dialogue: Dialogue[RequestT]) -> Tokens:
    """Return the latest prompt, replied to or not."""
    return dialogue.turns[(len(dialogue.turns) - 1) // 2 * 2].tokens


def last_exchange(dialogue: Dialogue[RequestT]) -> tuple[Tokens, Tokens]:
    """Return the last prompt and reply."""
    return dialogue.turns[-2].tokens, dialogue.turns[-1].tokens
