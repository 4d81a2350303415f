"""Roles: what a player of real text is told beside what the game deals, and how what is told becomes its tokens."""

from __future__ import annotations

from dataclasses import dataclass

from ...tokenizer_vocabulary import TokenizerVocabulary
from ...vocabulary import Tokens, Vocabulary, WordVocabulary

REQUEST = "{request}"
"""Where a template has what its player is asked."""
RETOLD = 4
"""How many tokens another tokenizer, or the same one for a text that was cut otherwise, may need for one."""


@dataclass(frozen=True, slots=True)
class Role:
    """A player's system prompt, and the message in which it is asked.

    >>> Role(template="Say it in other words: {request}").filled("How do I bake?")
    'Say it in other words: How do I bake?'
    """

    system: str = ""
    """Stands where the player's chat template has a system prompt; in its first message, before an empty line, where
    the template has no place for one. "": none."""
    template: str = REQUEST
    """The message, of the user's, with {request} in it once: for the adversary the request that is dealt, for the
    defender each prompt that it hears."""

    def __post_init__(self) -> None:
        """Raise ValueError unless the template, and it alone, has one place for what is asked."""
        if REQUEST in self.system:
            raise ValueError(f"system: expected {REQUEST} in the template alone, got {self.system!r:.200}")
        if self.template.count(REQUEST) != 1:
            raise ValueError(f"template: expected one {REQUEST} in it, got {self.template!r:.200}")

    def filled(self, text: str) -> str:
        """Return the message in which this is asked."""
        return self.template.replace(REQUEST, text)


class Listener:
    """What one player hears or is told, as text, in its tokens: the text is filled in and then encoded, once."""

    def __init__(self, role: Role, vocabulary: Vocabulary, lead: str) -> None:
        """Take what stands before the first message: the system prompt where the vocabulary has no place for it."""
        self.role, self.vocabulary, self.lead = role, vocabulary, lead

    def alters(self, *, first: bool) -> bool:
        """Whether a message is anything but what is asked."""
        return self.role.template != REQUEST or bool(first and self.lead)

    def message(self, text: str, *, first: bool, most: int) -> Tokens:
        """Return the message that asks a text, of which it has at most this many tokens."""
        asked = self.vocabulary.encode(text)
        if len(asked) > most:
            text = self.vocabulary.decode(asked[:most])
        return self.vocabulary.encode(self._text(text, first=first))

    def asked(self, message: Tokens) -> Tokens:
        """Return what the first message asks."""
        if not self.alters(first=True):
            return message
        before, after = self._text(REQUEST, first=True).split(REQUEST)
        if isinstance(self.vocabulary, WordVocabulary):  # which has no blanks
            start = len(self.vocabulary.encode(before))
            return message[start : len(message) - len(self.vocabulary.encode(after))]
        text = self.vocabulary.decode(message)
        return self.vocabulary.encode(text.removeprefix(before.lstrip()).removesuffix(after.rstrip()).strip())

    def num_added(self, *, first: bool = True) -> int:
        """Return how many tokens a message has beside what is asked, and a few that may run across its ends."""
        return len(self.vocabulary.encode(self._text("", first=first))) + 4 if self.alters(first=first) else 0

    def _text(self, text: str, *, first: bool) -> str:
        return ((self.lead if first else "") + self.role.filled(text)).strip()


def seated(
    roles: tuple[Role, Role], vocabularies: tuple[Vocabulary, Vocabulary]
) -> tuple[tuple[Vocabulary, Vocabulary], tuple[Listener, Listener]]:
    """Return the vocabularies of two seats, system prompts in their places, and their listeners.

    A vocabulary that both share stays one, as its views know whose they are.
    """
    opened = [_opening(role, vocabulary) for role, vocabulary in zip(roles, vocabularies, strict=True)]
    first, second = vocabularies
    if first is second:
        placed = (_placed(first, (opened[0], opened[1])),) * 2
    else:
        placed = (_placed(first, (opened[0], None)), _placed(second, (None, opened[1])))
    leads = [f"{role.system}\n\n" if role.system and opened[k] is None else "" for k, role in enumerate(roles)]
    return placed, (Listener(roles[0], placed[0], leads[0]), Listener(roles[1], placed[1], leads[1]))


def _opening(role: Role, vocabulary: Vocabulary) -> Tokens | None:
    """Return what opens the views of a role with a system prompt; None: there is none, or no place for it."""
    if not role.system or not isinstance(vocabulary, TokenizerVocabulary):
        return None
    return vocabulary.opening_with(role.system)


def _placed(vocabulary: Vocabulary, openings: tuple[Tokens | None, Tokens | None]) -> Vocabulary:
    return vocabulary.seated(openings) if isinstance(vocabulary, TokenizerVocabulary) else vocabulary
