"""Plain documents in which marks say who speaks, as dialogues and back.

A document is what stands before its first mark (the game's words: a passage, say) and then turns, each opened by a
mark at the start of a line: `Q:`, `C:` and `A:` of question-answer and question-reasoning-answer data (arXiv
2402.08078, section 5.1), `Human:` and `Assistant:` after an empty line of hh-rlhf (arXiv 2204.05862), or any others.
A mark counts only before a blank, a line break or the end, so that `A:b` is a word.

**Exact.** `to_text(parse_text(text, marks), marks) == text` and `parse_text(to_text(dialogue, marks), marks) ==
dialogue`: blanks, line breaks (CRLF too) and empty turns stay. What cannot come back is refused, never changed: a turn
whose text holds a mark at the start of a line (marks are not escaped: no other reader would know), a thought where no
mark stands for one, words of the game after the first turn where it has no mark.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

from .dialogues import ASSISTANT, USER, TextDialogue, TextTurn, quoted

Part = int | Literal["thought"] | None
"""What a mark opens: a turn of player 0 or 1, player 1's thought before its turn, or words of the game (None)."""

PARTS: dict[str, Part] = {"user": USER, "assistant": ASSISTANT, "thought": "thought", "system": None}
"""The parts by the names that a command line gives them."""


@dataclass(frozen=True)
class Markers:
    r"""The marks of a kind of document.

    >>> parse_text("Q: 2 + 2?\nC: two pairs\nA: 4", QCA).turns[1]
    TextTurn(player=1, text='4', thought='two pairs')
    """

    marks: tuple[tuple[str, Part], ...]
    """Each mark and what it opens; of several marks for one part the first is written."""
    separator: str = "\n"
    """What stands before a mark: one line break or more."""
    leading: bool = False
    """Whether the separator stands before a mark that opens the document, too."""

    def __post_init__(self) -> None:
        """Check that marks are words, each once, and that both players have one."""
        marks = [mark for mark, _ in self.marks]
        if len(set(marks)) < len(marks) or any(not mark.strip() or "\n" in mark for mark in marks):
            raise ValueError(f"marks: expected different marks of one line each, got {marks}")
        if not {USER, ASSISTANT} <= {part for _, part in self.marks}:
            raise ValueError(f"marks: expected one for each player (0 and 1), got {dict(self.marks)}")
        if not self.separator or self.separator.strip("\r\n"):
            raise ValueError(f"separator: expected line breaks, got {self.separator!r}")

    @classmethod
    def parse(cls, text: str) -> Markers:
        """Return the marks that a command line gives, such as `Q:=user,C:=thought,A:=assistant`.

        Raises:
            ValueError: it is not a list of MARK=PART.
        """
        pairs = [item.rpartition("=") for item in text.split(",")]
        if any(not mark or part not in PARTS for mark, _, part in pairs):
            raise ValueError(f"marks: expected MARK=PART,... with a part among {', '.join(PARTS)}, got {text!r}")
        return cls(tuple((mark, PARTS[part]) for mark, _, part in pairs))

    def mark_of(self, part: Part) -> str | None:
        """Return the mark that is written for a part; None where it has none."""
        return next((mark for mark, opened in self.marks if opened == part), None)

    def for_text(self, text: str) -> Markers:
        """Return the same marks, separated by CRLF where the text's first line ends so."""
        crlf = text.find("\n") > 0 and text[text.find("\n") - 1] == "\r"
        return replace(self, separator="\r\n" * self.separator.count("\n")) if crlf else self

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """What opens a turn, the mark as its group; a longer mark is preferred."""
        marks = "|".join(re.escape(mark) for mark, _ in sorted(self.marks, key=lambda item: -len(item[0])))
        start = re.escape(self.separator) if self.leading else rf"(?:\A|{re.escape(self.separator)})"
        return re.compile(rf"{start}({marks})(?=[ \r\n]|\Z)")


QA = Markers((("Q:", USER), ("A:", ASSISTANT)))
"""Question and answer."""
QCA = Markers((("Q:", USER), ("C:", "thought"), ("A:", ASSISTANT)))
"""Question, reasoning, answer."""
HH = Markers((("Human:", USER), ("Assistant:", ASSISTANT)), separator="\n\n", leading=True)
"""The transcripts of hh-rlhf."""

MARKERS = {"qa": QA, "qca": QCA, "hh": HH}
"""Marks that have a name on the command line."""


def parse_text(text: str, markers: Markers, *, exact: bool = True) -> TextDialogue:
    """Return the turns of a document, their texts word for word.

    Args:
        text: the document.
        markers: what opens a turn.
        exact: refuse what `to_text` would write otherwise (a second mark of one part, a mark without a blank after
            it, an empty thought); False takes it.

    Raises:
        ValueError: no turn, a thought that no turn of player 1 follows, or a text that would not come back.
    """
    pieces = markers.pattern.split(text)
    if len(pieces) == 1:
        marks = ", ".join(repr(mark) for mark, _ in markers.marks)
        raise ValueError(f"document: expected a line that opens with one of {marks}, got {quoted(text)}")
    turns = [TextTurn(None, pieces[0])] if pieces[0] else []
    dialogue = TextDialogue((*turns, *_turns(pieces[1:], markers)))
    if exact and (written := _written(dialogue, markers)) != text:
        at = next((k for k, (a, b) in enumerate(zip(text, written, strict=False)) if a != b), len(written))
        raise ValueError(
            f"document: expected {quoted(written[at:])} at character {at}, as it would be written back, "
            f"got {quoted(text[at:])}"
        )
    return dialogue


def to_text(dialogue: TextDialogue, markers: Markers) -> str:
    """Return the dialogue as a document that `parse_text` reads back.

    Raises:
        ValueError: it would read otherwise; see the module's page.
    """
    text = _written(dialogue, markers)
    read = parse_text(text, markers, exact=False)
    if read != dialogue:
        pairs = zip(dialogue.turns, read.turns, strict=False)
        number = next((k for k, (turn, read_turn) in enumerate(pairs) if turn != read_turn), 0)
        got = quoted(dialogue.turns[number].text)
        raise ValueError(
            f"turn {number}: expected a text without a mark ({', '.join(repr(mark) for mark, _ in markers.marks)}) "
            f"at the start of a line, and no empty words of the game, got {got}"
        )
    return text


def to_document(dialogue: TextDialogue, markers: Markers, document_end: str) -> str:
    """Return the dialogue as one of a file's documents, closed by the line `document_end`.

    Raises:
        ValueError: it would read otherwise, or it holds such a line.
    """
    text = to_text(dialogue, markers)
    if document_end in (line.removesuffix("\r") for line in text.split("\n")):
        raise ValueError(f"document: expected no line {document_end!r}, which ends documents, got {quoted(text)}")
    if markers.for_text(text) != markers:
        raise ValueError(f"document: expected lines to end as its marks do, got {quoted(text.split(chr(10))[0])}")
    return f"{text}\n{document_end}\n"


def to_hh(dialogue: TextDialogue) -> str:
    """Return a transcript as in hh-rlhf; `parse_hh` reads it back."""
    return to_text(dialogue, HH)


def parse_hh(text: str, *, exact: bool = True) -> TextDialogue:
    r"""Return the turns of a transcript of hh-rlhf, their texts word for word; `tidy` strips them.

    >>> [turn.text for turn in parse_hh("\n\nHuman: Hi\n\nAssistant: Hello.").turns]
    ['Hi', 'Hello.']
    """
    return parse_text(text, HH, exact=exact)


def _turns(pieces: list[str], markers: Markers) -> list[TextTurn]:
    """Return the turns of marks and texts in alternation."""
    parts, turns, thought = dict(markers.marks), [], None
    for mark, piece in zip(pieces[::2], pieces[1::2], strict=True):
        part, text = parts[mark], piece.removeprefix(" ")
        if thought is not None and part != ASSISTANT:
            raise ValueError(f"document: expected a turn of player 1 after the thought {quoted(thought)}, got {mark!r}")
        if part == "thought":
            thought = text
            continue
        turns.append(TextTurn(part, text, thought or ""))
        thought = None
    if thought is not None:
        raise ValueError(f"document: expected a turn of player 1 after the thought {quoted(thought)}, got the end")
    return turns


def _written(dialogue: TextDialogue, markers: Markers) -> str:
    """Return the document, not checked to read back."""
    turns, text = dialogue.turns, ""
    preamble = bool(turns) and turns[0].player is None and markers.mark_of(None) is None
    if preamble:
        text = turns[0].text
    for number, turn in enumerate(turns[preamble:], start=int(preamble)):
        thought = _marked(number, turn, "thought", turn.thought, markers) if turn.thought else []
        for words in (*thought, *_marked(number, turn, turn.player, turn.text, markers)):
            text += (markers.separator if text or markers.leading else "") + words
    return text


def _marked(number: int, turn: TextTurn, part: Part, words: str, markers: Markers) -> list[str]:
    """Return words behind their mark: after a blank, unless they begin with a line break."""
    mark = markers.mark_of(part)
    if mark is None or (part == "thought" and turn.player != ASSISTANT):
        what = f"a thought of player {turn.player}" if part == "thought" else "the game's words after the first turn"
        raise ValueError(f"turn {number}: expected a mark for {what}, got only {dict(markers.marks)}")
    return [mark + words if words[:1] in ("\r", "\n") and words else f"{mark} {words}"]
