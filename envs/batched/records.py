"""What the batched engine keeps of a dialogue outside its arrays, for whoever asks about one episode."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeAlias

from ..engine.views import Message, Utterance, utterance_of
from ..game import PLAYERS, DealT, Dialogue, LanguageGame

Heard: TypeAlias = tuple[tuple[Message, ...], tuple[Message, ...]]


@dataclass(slots=True)
class Record(Generic[DealT]):
    """A dialogue, and how it came about."""

    dialogue: Dialogue[DealT]
    parent: Record[DealT] | None = None
    """The dialogue one turn before; None at the root."""
    rewards: tuple[float, float] = (0.0, 0.0)
    """What the last turn paid."""
    said: Utterance | None = None
    """How it was said, where the turn does not tell: there was a thought or a forfeit."""
    _heard: Heard | None = None

    @property
    def line(self) -> list[Record[DealT]]:
        """The records from the root to this one."""
        line = [self]
        while (parent := line[-1].parent) is not None:
            line.append(parent)
        return line[::-1]

    def utterance(self, game: LanguageGame[DealT]) -> Utterance:
        """Return how the last turn was said."""
        assert self.parent is not None
        return self.said or utterance_of(game, self.parent.dialogue, self.dialogue.turns[-1])

    def heard(self, game: LanguageGame[DealT]) -> Heard:
        """Return all that each player has been told, piece by piece; worked out once, when somebody asks."""
        if self._heard is None:
            before: Heard = ((), ()) if self.parent is None else self.parent.heard(game)
            first, second = (
                (*old, *(message for message in new if message.speaker is not None or message.tokens))
                for old, new in zip(before, _news(game, self.dialogue), strict=True)
            )
            self._heard = (first, second)
        return self._heard


def _news(game: LanguageGame[DealT], dialogue: Dialogue[DealT]) -> list[list[Message]]:
    """Return what the last turn, or the deal, brought each player; the game's own words may be none."""
    if not dialogue.turns:
        return [[Message(None, game.briefing(dialogue.deal, player))] for player in PLAYERS]
    turn = dialogue.turns[-1]
    speaker = turn.player or 0
    news = [[Message(speaker, turn.tokens)], list[Message]()]
    if not turn.ending.forfeits:
        heard = game.hears(dialogue, 1 - speaker)
        news[1] += [] if heard is None else [Message(speaker, heard)]
        for told, viewer in zip(news, (speaker, 1 - speaker), strict=True):
            told.append(Message(None, game.announcement(dialogue, viewer)))
    return news if speaker == 0 else news[::-1]
