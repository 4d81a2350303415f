"""Text dialogues with a who-speaks structure (arXiv 2402.08078, section 5.1), before any vocabulary is chosen.

The paper learns from question-answer (Q-A) and question-reasoning-answer (Q-C-A) sequences: Q is the user's turn,
A the assistant's, and C is the assistant's private thought, which precedes A and is told to nobody.
"""

from __future__ import annotations

from dataclasses import dataclass

USER, ASSISTANT = 0, 1
"""The players of a text dialogue, as numbers: player one and player two of the paper."""


@dataclass(frozen=True, slots=True)
class TextTurn:
    """One turn of a text dialogue.

    >>> TextTurn(ASSISTANT, "4", thought="2 + 2 = 4").player
    1
    """

    player: int | None
    """0: the user; 1: the assistant; None: the game (a system message, told to both)."""
    text: str
    thought: str = ""
    """Private reasoning that preceded the text: C of Q-C-A."""

    def __post_init__(self) -> None:
        """Check who speaks, that the game does not think, and that UTF-8 can write the words (no lone surrogates)."""
        if self.player is not None and self.player not in (USER, ASSISTANT):
            raise ValueError(f"player: expected 0 (user), 1 (assistant) or None (the game), got {self.player!r}")
        (self.text + self.thought).encode("utf-8")
        if self.player is None and self.thought:
            raise ValueError(f"thought: expected none in a turn of the game, got {quoted(self.thought)}")


@dataclass(frozen=True, slots=True)
class TextDialogue:
    """Finished turns in order. Any order is taken; `check_alternation` asks for the one that players need."""

    turns: tuple[TextTurn, ...]

    def extend(self, turn: TextTurn) -> TextDialogue:
        """Return the dialogue one turn longer."""
        return TextDialogue((*self.turns, turn))


@dataclass(frozen=True, slots=True)
class PreferencePair:
    """Two replies to the same prompt, of which the first was preferred."""

    prompt: TextDialogue
    chosen: TextTurn
    rejected: TextTurn

    def __post_init__(self) -> None:
        """Check that one player gives both replies."""
        if self.chosen.player is None or self.chosen.player != self.rejected.player:
            players = f"{self.chosen.player} and {self.rejected.player}"
            raise ValueError(f"preference pair: expected both replies by one player, got them by {players}")

    @property
    def dialogues(self) -> tuple[TextDialogue, TextDialogue]:
        """The prompt with the chosen and with the rejected reply."""
        return self.prompt.extend(self.chosen), self.prompt.extend(self.rejected)


def check_alternation(dialogue: TextDialogue, *, first: int | None = USER, last: int | None = None) -> None:
    """Check that the players take turns and that every turn of theirs has words; the game may speak in between.

    Args:
        dialogue: what is checked.
        first: who must open; None: either.
        last: who must have the last turn; None: either.

    Raises:
        ValueError: naming the first turn that breaks it.
    """
    expected, speaker = first, None
    for number, turn in enumerate(dialogue.turns):
        if turn.player is None:
            continue
        if expected is not None and turn.player != expected:
            raise ValueError(f"turn {number}: expected player {expected} to speak, got player {turn.player}")
        if not turn.text.strip():
            raise ValueError(f"turn {number}: expected words, got {turn.text!r}")
        expected, speaker = 1 - turn.player, turn.player
    if speaker is None:
        raise ValueError("dialogue: expected at least one turn of a player, got none")
    if last is not None and speaker != last:
        raise ValueError(f"dialogue: expected player {last} to have the last turn, got player {speaker}")


def merge_turns(dialogue: TextDialogue, separator: str = "\n\n") -> TextDialogue:
    """Return the dialogue with neighbouring turns of one speaker joined; their texts and thoughts are separated."""
    turns: list[TextTurn] = []
    for turn in dialogue.turns:
        if turns and turns[-1].player == turn.player:
            before = turns.pop()
            texts = [text for text in (before.text, turn.text) if text]
            thoughts = [thought for thought in (before.thought, turn.thought) if thought]
            turn = TextTurn(turn.player, separator.join(texts), separator.join(thoughts))
        turns.append(turn)
    return TextDialogue(tuple(turns))


def tidy(dialogue: TextDialogue) -> TextDialogue:
    """Return the dialogue without the blanks around texts and thoughts, and without turns that are then empty."""
    turns = (TextTurn(turn.player, turn.text.strip(), turn.thought.strip()) for turn in dialogue.turns)
    return TextDialogue(tuple(turn for turn in turns if turn.text or turn.thought))


def quoted(text: str, length: int = 60) -> str:
    """Return the text in quotes for an error message, its end left out where it is long."""
    return repr(text if len(text) <= length else text[: length - 3] + "...")
