"""Documents and transcripts: what is read from marks, what comes back exactly, what is refused."""

import gzip
import json
from collections.abc import Callable
from typing import TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from duologue.baselines.data import (
    HH,
    QA,
    QCA,
    Markers,
    TextDialogue,
    TextTurn,
    parse_hh,
    parse_text,
    to_document,
    to_hh,
    to_text,
)
from duologue.tests.helpers import shared_data

T = TypeVar("T")

PLAY = Markers(
    (("<user>", 0), ("bot", 1), ("bot thinks", "thought"), ("<stage>", None), ("<also user>", 0)), separator="\r\n"
)
"""Marks of which one begins like another, one for the game, two for player 0."""
KINDS = {"qa": QA, "qca": QCA, "hh": HH, "play": PLAY}

WORDS = st.text(st.one_of(st.characters(codec="utf-8"), st.sampled_from(" \n\r:QACé\u2028")), max_size=12)
FRAGMENTS = st.one_of(
    st.sampled_from(
        [
            "Q:",
            "A:",
            "C:",
            "\n",
            "\r\n",
            "\n\n",
            " ",
            "\n\nHuman: ",
            "\n\nAssistant: ",
            "<user>",
            "bot x",
            "bot thinks y",
        ]
    ),
    WORDS,
)


def turns(markers: Markers) -> st.SearchStrategy[TextDialogue]:
    """Return dialogues of any text, with thoughts and words of the game where there are marks for them."""
    thoughts = WORDS if markers.mark_of("thought") else st.just("")
    kinds = [st.builds(TextTurn, st.just(0), WORDS), st.builds(TextTurn, st.just(1), WORDS, thoughts)]
    if markers.mark_of(None):
        kinds.append(st.builds(TextTurn, st.none(), WORDS))
    return st.lists(st.one_of(kinds), min_size=1, max_size=5).map(lambda drawn: TextDialogue(tuple(drawn)))


def outcome(function: Callable[[], T]) -> T | ValueError:
    """Return what a function returns, or the error by which it refuses."""
    try:
        return function()
    except ValueError as error:
        return error


@pytest.mark.parametrize("name", KINDS)
@given(data=st.data())
def test_dialogue_to_text_to_dialogue_is_exact_or_refused(name: str, data: st.DataObject) -> None:
    """Any unicode; a refusal names the turn or the document."""
    dialogue = data.draw(turns(KINDS[name]))
    text = outcome(lambda: to_text(dialogue, KINDS[name]))
    if isinstance(text, ValueError):
        words = [f"\n{turn.text} {turn.thought}" for turn in dialogue.turns]
        assert any(mark in one for one in words for mark, _ in KINDS[name].marks), "only a mark may be refused"
        return
    assert parse_text(text, KINDS[name]) == dialogue


@pytest.mark.parametrize("name", KINDS)
@given(fragments=st.lists(FRAGMENTS, max_size=12), opened=st.booleans())
def test_text_to_dialogue_to_text_is_exact_or_refused(name: str, fragments: list[str], opened: bool) -> None:
    """Marks, blanks, CRLF and words thrown together; nothing comes back changed."""
    opening = to_text(TextDialogue((TextTurn(0, "x"),)), KINDS[name]) if opened else ""
    text = opening + "".join(fragments)
    dialogue = outcome(lambda: parse_text(text, KINDS[name]))
    if isinstance(dialogue, ValueError):
        assert str(dialogue).startswith("document: expected")
        return
    assert to_text(dialogue, KINDS[name]) == text


def test_a_reasoning_is_the_private_thought_of_player_1() -> None:
    """Q-C-A data of arXiv 2402.08078, section 5.1."""
    text = "A passage.\nQ: 2 + 2?\nC: two\npairs\nA: 4\nQ: sure?\nA: Yes."
    dialogue = parse_text(text, QCA)
    assert dialogue.turns == (
        TextTurn(None, "A passage."),
        TextTurn(0, "2 + 2?"),
        TextTurn(1, "4", thought="two\npairs"),
        TextTurn(0, "sure?"),
        TextTurn(1, "Yes."),
    )
    assert to_text(dialogue, QCA) == text


def test_crlf_documents_are_read_without_their_line_ends() -> None:
    """The marks adapt to the first line; with LF marks the carriage return is a part of the text."""
    text = "Q: a\r\nA: b\r\nsecond line"
    markers = QA.for_text(text)
    assert [turn.text for turn in parse_text(text, markers).turns] == ["a", "b\r\nsecond line"]
    assert to_text(parse_text(text, markers), markers) == text
    assert parse_text(text, QA).turns[0].text == "a\r"
    assert to_text(parse_text(text, QA), QA) == text


def test_a_mark_counts_only_at_the_start_of_a_line_and_before_a_blank() -> None:
    """Otherwise ratios, times and quotations would be turns."""
    assert parse_text("Q: is A: B?\nA:B it is\nA: no", QA).turns == (
        TextTurn(0, "is A: B?\nA:B it is"),
        TextTurn(1, "no"),
    )


@pytest.mark.parametrize(
    ("dialogue", "markers", "message"),
    [
        (TextDialogue((TextTurn(0, "x\nA: y"),)), QA, r"turn 0: expected a text without a mark .*got 'x\\nA: y'"),
        (TextDialogue((TextTurn(0, "x"), TextTurn(1, "y", "why"))), QA, "turn 1: expected a mark for a thought"),
        (TextDialogue((TextTurn(0, "x", "why"),)), QCA, "turn 0: expected a mark for a thought of player 0"),
        (TextDialogue((TextTurn(0, "x"), TextTurn(None, "rain"))), QA, "turn 1: expected a mark for the game's words"),
        (TextDialogue((TextTurn(0, "a\n\nHuman: b"),)), HH, "turn 0: expected a text without a mark"),
    ],
)
def test_what_would_not_come_back_is_not_written(dialogue: TextDialogue, markers: Markers, message: str) -> None:
    """Marks are refused, not escaped."""
    with pytest.raises(ValueError, match=message):
        to_text(dialogue, markers)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("no marks", "expected a line that opens with one of 'Q:', 'C:', 'A:'"),
        ("Q: x\nC: why", "expected a turn of player 1 after the thought 'why', got the end"),
        ("Q: x\nC: why\nQ: y", "expected a turn of player 1 after the thought 'why', got 'Q:'"),
        ("Q:\nA: x", "as it would be written back"),
    ],
)
def test_a_document_that_has_no_such_turns_is_refused(text: str, message: str) -> None:
    """A thought belongs to the answer that follows; a mark without its blank is read only if exactness is waived."""
    with pytest.raises(ValueError, match=message):
        parse_text(text, QCA)


def test_layouts_that_are_not_written_are_read_if_exactness_is_waived() -> None:
    """An editor that strips blanks at line ends leaves `Q:` alone."""
    assert parse_text("Q:\nA: x", QA, exact=False).turns == (TextTurn(0, ""), TextTurn(1, "x"))


def test_marks_come_from_a_command_line() -> None:
    """A mark may hold an equals sign, as the last one parts."""
    markers = Markers.parse("a==user,B:=assistant,(thinks)=thought,S:=system")
    assert markers.marks == (("a=", 0), ("B:", 1), ("(thinks)", "thought"), ("S:", None))
    assert to_text(TextDialogue((TextTurn(0, "x"), TextTurn(None, "y"))), markers) == "a= x\nS: y"


@pytest.mark.parametrize("text", ["Q:", "Q:=user", "Q:=user,Q:=assistant", "Q:=user,A:=robot", "=user,A:=assistant"])
def test_unusable_marks_are_refused(text: str) -> None:
    """Both players need one, each once."""
    with pytest.raises(ValueError, match="marks: expected"):
        Markers.parse(text)


def test_a_document_that_holds_the_closing_line_is_not_written() -> None:
    """It would be read as two."""
    dialogue = TextDialogue((TextTurn(0, "a\n---\nb"), TextTurn(1, "c")))
    with pytest.raises(ValueError, match="expected no line '---', which ends documents"):
        to_document(dialogue, QA, "---")
    with pytest.raises(ValueError, match="expected lines to end as its marks do"):
        to_document(TextDialogue((TextTurn(0, "a\r"), TextTurn(1, "c"))), QA, "---")
    assert to_document(dialogue, QA, "===") == "Q: a\n---\nb\nA: c\n===\n"


def test_every_transcript_of_the_real_file_comes_back_exactly() -> None:
    """anthropics/hh-rlhf, harmless-base test set: 2312 pairs, 4 empty replies among them."""
    with gzip.open(shared_data("hh_rlhf_harmless_base_test.jsonl.gz"), "rt", encoding="utf-8") as file:
        texts = [text for line in file for text in json.loads(line).values()]
    assert len(texts) == 4624
    assert all(to_hh(parse_hh(text)) == text for text in texts)
