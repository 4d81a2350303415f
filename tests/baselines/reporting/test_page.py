"""Pages whose text is data."""

import re
import xml.etree.ElementTree as ET
from pathlib import Path

from duologue.baselines.reporting.page import (
    Block,
    Caption,
    Code,
    Heading,
    Paragraph,
    Picture,
    Table,
    as_html,
    as_markdown,
)

BAD = "x\n# y <script> ``` `z` | \x1b\x00"


def test_no_text_is_markup_in_markdown() -> None:
    """A line break opens no heading; a command ends its own block only."""
    blocks: list[Block] = [Heading(BAD), Paragraph(f"# {BAD}"), Code(BAD), Table([BAD], [[BAD]])]
    page = as_markdown(blocks)
    assert [line for line in page.split("\n") if line.startswith("#")] == [f"## {_inline()}"]
    assert "\n\\# x" in page
    assert "<script>" not in page.replace("\\<script>", "").replace("y <script> ``` `z`", "")
    assert re.findall(r"^`+", page, re.MULTILINE) == ["````", "````"]
    assert page.isprintable() or set(re.findall(r"[^ -~]", page)) == {"\n"}


def _inline() -> str:
    return "x\\n# y \\<script> \\`\\`\\` \\`z\\` \\| \\x1b\\x00"


def test_html_is_well_formed_whatever_it_says(tmp_path: Path) -> None:
    """No XML takes a NUL or an escape character; a caption's code spans are code."""
    picture = tmp_path / "p.png"
    picture.write_bytes(b"")
    blocks: list[Block] = [Heading(BAD, 1), Paragraph(BAD), Caption("by `<b>` & `c`"), Code(BAD), Table([BAD], [[BAD]])]
    tree = ET.fromstring(as_html([*blocks, Picture(picture, BAD)]))
    shown = "x\\n# y <script> ``` `z` | \\x1b\\x00"
    assert [tree.findtext(f".//{tag}") for tag in ("title", "h1", "p", "th", "td")] == [shown] * 5
    assert not list(tree.iter("script"))
    assert [code.text for code in tree.iter("code")] == ["<b>", "c", shown]


def test_a_caption_keeps_its_code_spans_in_markdown() -> None:
    """Its words are ours."""
    assert as_markdown([Caption("by `PPO`, 2 * 3")]) == "by `PPO`, 2 * 3\n"
