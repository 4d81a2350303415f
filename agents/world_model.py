"""World models: what is true in the world that the players speak of, and how often they say what is not.

A language game's semantic rules ask for true statements; breaking them is what arXiv 2402.08078, section 4.5, calls
hallucination, and what it lacks against it is a world model that can verify a statement.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..envs import Dialogue, Tokens, Vocabulary


class WorldModel:
    """A table of statements, each true or false; any other words claim nothing.

    >>> from duologue.envs import WordVocabulary
    >>> words = WordVocabulary("snow is white black and")
    >>> world = WorldModel.from_text(words, {"snow is white": True, "snow is black": False})
    >>> world.claims(words.encode("snow is black and snow is white"))
    (False, True)
    """

    def __init__(self, statements: Mapping[Tokens, bool]) -> None:
        """Take every statement that can be made, with its truth.

        Raises:
            ValueError: no statement, or an empty one.
        """
        if not statements or not all(statements):
            raise ValueError(f"statements: expected at least one, none of them empty, got {dict(statements)!r}")
        self.statements = dict(statements)
        self._lengths = sorted({len(statement) for statement in statements}, reverse=True)

    @classmethod
    def from_text(cls, vocabulary: Vocabulary, statements: Mapping[str, bool]) -> WorldModel:
        """Take the statements as text of a vocabulary."""
        return cls({vocabulary.encode(text): truth for text, truth in statements.items()})

    def holds(self, statement: Tokens) -> bool | None:
        """Return whether a statement is true, or None if these words are no statement."""
        return self.statements.get(statement)

    def claims(self, tokens: Tokens) -> tuple[bool, ...]:
        """Return the truth of each statement in a turn, read from left to right, the longest one first."""
        found: list[bool] = []
        start = 0
        while start < len(tokens):
            lengths = (n for n in self._lengths if tokens[start : start + n] in self.statements)
            length = next(lengths, 0)
            if length:
                found.append(self.statements[tokens[start : start + length]])
            start += length if length else 1
        return tuple(found)

    def __call__(self, turns: Sequence[Tokens]) -> list[float]:
        """Return each turn's true statements minus its false ones: the world model as a judge, or a reward."""
        return [float(sum(1 if truth else -1 for truth in self.claims(tokens))) for tokens in turns]


@dataclass(frozen=True, slots=True)
class Hallucination:
    """How much of what a player said is false."""

    num_statements: int
    """Statements it made."""
    num_false: int
    """Those that are not true."""
    num_turns: int
    """Turns it had."""

    @property
    def rate(self) -> float:
        """Share of its statements that are false, 0 to 1; 0 if it made none."""
        return self.num_false / self.num_statements if self.num_statements else 0.0

    @property
    def statement_rate(self) -> float:
        """Statements a turn: silence is the cheap way to say nothing false, so it stands beside the rate."""
        return self.num_statements / self.num_turns if self.num_turns else 0.0


def hallucination(world: WorldModel, dialogues: Iterable[Dialogue[Any]], player: int) -> Hallucination:
    """Count the statements of one player in finished dialogues, forfeited turns apart.

    Args:
        world: what is true.
        dialogues: of episodes that were played, so that their turns name their speakers.
        player: whose statements are counted.
    """
    turns = [
        turn for dialogue in dialogues for turn in dialogue.turns if turn.player == player and not turn.ending.forfeits
    ]
    claims = [truth for turn in turns for truth in world.claims(turn.tokens)]
    return Hallucination(len(claims), claims.count(False), len(turns))
