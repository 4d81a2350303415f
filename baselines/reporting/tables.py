"""Tables with aligned columns, as plain text for terminals and as Markdown for pages.

What stands in them is data: names are shown as they are, whatever they mean to a terminal or to Markdown.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from ...envs.printable import printable

MARKUP = re.compile(r"[|`<*$~]|\\(?=[!-/:-@\[-`{-~])|&(?=#?\w+;)|(?<=[!\]])[\[(:]|(?<![^\W_])_|_(?![^\W_])")
"""What Markdown would read inside a line: code, HTML, emphasis, formulas, escapes, entities, links."""
BEGINS_BLOCK = re.compile(r"^(?:(?=[#>]|[-+](?:\s|$)|[-=]{2})|(\d+)(?=[.)](?:\s|$)))")
"""What it would read at the beginning of a line, up to the sign."""


def markdown_text(text: str) -> str:
    r"""Return a text so that a page in Markdown shows it, in one line: nothing in it is markup.

    >>> markdown_text("a|b <script> [x](javascript:y) `c` _d_ e_f")
    'a\\|b \\<script> [x]\\(javascript:y) \\`c\\` \\_d\\_ e_f'
    """
    return MARKUP.sub(r"\\\g<0>", printable(text))


def markdown_line(text: str) -> str:
    r"""Return the same for a text that begins a line, where a sign may open a heading or a list.

    >>> markdown_line("# x"), markdown_line("1. x"), markdown_line("-0.5")
    ('\\# x', '1\\. x', '-0.5')
    """
    return BEGINS_BLOCK.sub(r"\1\\", markdown_text(text).strip())


def text_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    r"""Return a table for a fixed-width font: the first column to the left, the others to the right.

    A line break in a cell of the header makes the header taller.

    >>> print(text_table(["defender", "ASR,\nplain"], [["SFT", "3.1"], ["RLHF", "0.0"]]))
               ASR,
    defender  plain
    ---------------
    SFT         3.1
    RLHF        0.0
    """
    titles = [[printable(line) for line in cell.split("\n")] for cell in header]
    height = max(map(len, titles))
    lines = [[""] * (height - len(title)) + title for title in titles]
    grid = [*zip(*lines, strict=True), *([printable(cell) for cell in row] for row in _checked(header, rows))]
    widths = [max(map(len, column)) for column in zip(*grid, strict=True)]
    printed = ["  ".join(_aligned(row, widths)).rstrip() for row in grid]
    return "\n".join([*printed[:height], "-" * (sum(widths) + 2 * len(widths) - 2), *printed[height:]])


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return the same table as Markdown, its columns aligned in the source as well.

    >>> print(markdown_table(["defender", "plain"], [["SFT", "3.1"]]))
    | defender | plain |
    | :------- | ----: |
    | SFT      |   3.1 |
    """
    titles = [markdown_text(cell.replace("\n", " ")) for cell in header]
    grid = [titles, *([markdown_text(cell) for cell in row] for row in _checked(header, rows))]
    widths = [max(3, *map(len, column)) for column in zip(*grid, strict=True)]
    rule = [":" + "-" * (widths[0] - 1), *("-" * (width - 1) + ":" for width in widths[1:])]
    printed = ["| " + " | ".join(_aligned(row, widths)) + " |" for row in grid]
    return "\n".join([printed[0], "| " + " | ".join(rule) + " |", *printed[1:]])


def transposed(header: Sequence[str], rows: Sequence[Sequence[str]]) -> tuple[list[str], list[list[str]]]:
    r"""Return the table with its rows as columns, which a narrow terminal may hold.

    >>> print(text_table(*transposed(["defender", "ASR,\nplain"], [["SFT", "3.1"], ["RLHF", "0.0"]])))
    defender    SFT  RLHF
    ---------------------
    ASR, plain  3.1   0.0
    """
    titles = [cell.replace("\n", " ") for cell in header]
    first, *others = zip(titles, *_checked(header, rows), strict=True)
    return list(first), [list(column) for column in others]


def _aligned(row: Sequence[str], widths: Sequence[int]) -> list[str]:
    return [row[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(row[1:], widths[1:], strict=True))]


def _checked(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[Sequence[str]]:
    for row in rows:
        if len(row) != len(header):
            raise ValueError(f"row: expected {len(header)} cells, one for each column, got {list(row)!r}")
    return list(rows)
