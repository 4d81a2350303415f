"""What has to be written to have a game spoken: its rules as text, and a text for everything that is said in it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Generic

from typing_extensions import TypeVar

from ..game import LanguageGame

GameT = TypeVar("GameT", bound=LanguageGame[Any], default=Any)


class Prompts(ABC, Generic[GameT]):
    """The texts of one game. Words are the game's own, as its vocabulary decodes them; texts are what is said instead.

    To have a game of your own spoken, write the first two methods, the third if the game announces something. A class
    of a module, not a lambda, so that the game can be pickled.
    """

    @abstractmethod
    def briefing(self, game: GameT, deal: Any, player: int) -> str:
        """Return what `player` is told before the first turn: the rules, its role, what it was dealt, how to answer."""

    @abstractmethod
    def turns(self, game: GameT) -> Mapping[str, Sequence[str]]:
        """Return the forms of every turn that can be said, by its words; the first is what the other player hears."""

    def announcements(self, game: GameT) -> Mapping[str, str]:
        """Return the text of every announcement that the game can make, by its words."""
        return {}


def forms(words: str, *sentences: str) -> tuple[str, ...]:
    """Return words as they are said: with a capital letter, as they stand, and in sentences that have a {} for them.

    >>> forms("check", "I {}")
    ('Check', 'check', 'I check')
    """
    said = (words[:1].upper() + words[1:], words, *(sentence.format(words) for sentence in sentences))
    return tuple(dict.fromkeys(said))
