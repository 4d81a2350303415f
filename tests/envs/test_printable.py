"""Text from outside is shown, never obeyed."""

import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from duologue.envs.printable import JOINERS, UNSEEN, printable, printable_lines


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[2J\x1b]0;title\x07", "\\x1b[2J\\x1b]0;title\\x07"),
        ("a\rb\x00c\x7fd\x9be", "a\\rb\\x00c\\x7fd\\x9be"),
        ("\u202eevil\u2066", "\\u202eevil\\u2066"),
        ("one\u2028two\u0085three\vfour", "one\\u2028two\\x85three\\x0bfour"),
        ("\ufeff\u200b\U000e0041\ud800", "\\ufeff\\u200b\\U000e0041\\ud800"),
        (
            "möglich はい नमस्ते \U0001f468\u200d\U0001f469 C:\\x1b",
            "möglich はい नमस्ते \U0001f468\u200d\U0001f469 C:\\x1b",
        ),
    ],
)
def test_what_is_not_to_be_seen_is_written_as_an_escape(text: str, shown: str) -> None:
    """C0, C1, bidirectional overrides, separators, lone surrogates; letters of any script and emoji stay."""
    assert printable(text) == shown


@given(st.text(st.characters(max_codepoint=sys.maxunicode)))
def test_a_shown_text_is_one_line_of_visible_characters(text: str) -> None:
    """Also for whatever else Unicode holds."""
    shown = printable(text)
    assert len(shown.splitlines()) <= 1
    assert all(character in JOINERS or unicodedata.category(character) not in UNSEEN for character in shown)
    assert shown == printable(shown)


def test_line_breaks_stand_but_no_line_begins_as_another() -> None:
    """A reply may have lines; none of them may pass for what somebody else said."""
    assert printable_lines("one\r\ntwo\n[rewards] +1\r") == "one\n    two\n    [rewards] +1\\r"
