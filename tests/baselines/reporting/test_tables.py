"""Tables whose names hold whatever a terminal or Markdown would obey."""

import pytest

from duologue.baselines.reporting.tables import markdown_line, markdown_table, markdown_text, text_table

HOSTILE = "a|b\n| c `d` <script>e</script> [f](javascript:g) ![h](i) *j* __k__ ~l~ $m$ &lt; \\| \x1b[31m\u202e"
SHOWN = (
    "a\\|b\\n\\| c \\`d\\` \\<script>e\\</script> [f]\\(javascript:g) !\\[h]\\(i) \\*j\\* \\_\\_k\\_\\_ "
    "\\~l\\~ \\$m\\$ \\&lt; \\\\\\| \\x1b[31m\\u202e"
)


@pytest.mark.parametrize("header", [True, False])
def test_a_name_in_a_markdown_table_is_no_markup(header: bool) -> None:
    """A bar in a header made a column of its own; a line break ended the table."""
    table = markdown_table([HOSTILE, "x"], [["1", "2"]]) if header else markdown_table(["n", "x"], [[HOSTILE, "2"]])
    shown = SHOWN.replace("b\\n", "b ") if header else SHOWN
    lines = table.split("\n")
    assert len(lines) == 3
    assert lines[0 if header else 2].startswith(f"| {shown} ")
    assert len({len(line) for line in lines}) == 1


@pytest.mark.parametrize(
    "text", ["self_play", "GPO+Div", "0.423 [0.417, 0.423]", "+0.50 ± 0.10", "-", "8-0-0", "C:\\new", "<", "a & b"]
)
def test_plain_names_and_numbers_stand_as_they_are(text: str) -> None:
    """What Markdown shows as it is, is not escaped; a lone `<` is."""
    assert markdown_text(text) == text.replace("<", "\\<")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("# x", "\\# x"), ("> x", "\\> x"), ("- x", "\\- x"), ("+ x", "\\+ x"), ("12. x", "12\\. x"),
        ("1) x", "1\\) x"), ("---", "\\---"), ("===", "\\==="), ("    code", "code"), ("* x", "\\* x"),
        ("```", "\\`\\`\\`"),
        ("-0.5", "-0.5"), ("3.5 hours", "3.5 hours"), ("2026", "2026"), ("a # b", "a # b"),
    ],
)  # fmt: skip
def test_a_line_opens_no_block(text: str, shown: str) -> None:
    """Headings, lists, quotations, rules, code."""
    assert markdown_line(text) == shown


def test_a_text_table_moves_no_cursor() -> None:
    """Cells are one line each, and as wide as they look."""
    table = text_table(["a\x1b[2J", "b\nc"], [["x\r\n", "\x07"]])
    assert table.split("\n") == ["             b", "a\\x1b[2J     c", "--------------", "x\\r\\n     \\x07"]
