"""Text from outside is shown, never obeyed."""

import re
import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from duologue.envs.printable import JOINERS, UNSEEN, file_name, printable, printable_lines


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
        ("می‌خواهم ١٢\u06dd \u0601٤ ❤️ é", "می‌خواهم ١٢\u06dd \u0601٤ ❤️ é"),
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


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("kuhn_poker-v0", "kuhn_poker-v0"), ("GPO+Div", "GPO+Div"), ("a.b", "a.b"), ("", "="), (".", "=2E"),
        ("..", "=2E=2E"), ("../x", "=2E.=2Fx"), ("/etc/x", "=2Fetc=2Fx"), ("C:\\x", "C=3A=5Cx"), ("-rf", "=2Drf"),
        ("~root", "=7Eroot"), ("x.", "x=2E"), ("a\0b", "a=00b"), ("a\nb", "a=0Ab"), ("é", "=C3=A9"), ("=2F", "=3D2F"),
        ("con", "=63on"), ("NUL.txt", "=4EUL.txt"), ("console", "console"), ("\ud800", "=ED=A0=80"),
    ],
)  # fmt: skip
def test_a_name_becomes_that_of_one_file(name: str, file: str) -> None:
    """No path, no option, no device of Windows, no address of a page, no pattern of a shell."""
    assert file_name(name) == file


@given(st.text(), st.text())
def test_unlike_names_are_unlike_files(first: str, second: str) -> None:
    """Also where they are as long as can be."""
    for name in (first, first + "x" * 300):
        assert re.fullmatch(r"(?![-.])[A-Za-z0-9_.+~=-]{1,80}(?<![.])", file_name(name))
    assert (file_name(first) == file_name(second)) == (first == second)
    assert (file_name(first + "x" * 300) == file_name(second + "x" * 300)) == (first == second)
