"""A page of headings, paragraphs, tables and pictures, as Markdown and as one HTML file that needs nothing else.

All text is data, and shown as it is; only a `Caption` has markup, which we wrote.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TypeAlias

from ...envs.printable import printable
from .tables import markdown_line, markdown_table, markdown_text

STYLE = """\
body { font: 16px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem; color: #222; }
table { border-collapse: collapse; margin: 1rem 0; font-variant-numeric: tabular-nums; }
th, td { padding: 0.3rem 0.8rem; border-bottom: 1px solid #ddd; text-align: right; }
th { border-bottom: 2px solid #888; }
th:first-child, td:first-child { text-align: left; }
img { max-width: 100%; }
code { background: #f3f3f3; padding: 0.1rem 0.3rem; }"""


SPAN = re.compile("`([^`]*)`")


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading; level 1 is the page's."""

    text: str
    level: int = 2


@dataclass(frozen=True, slots=True)
class Paragraph:
    """Plain text."""

    text: str


@dataclass(frozen=True, slots=True)
class Caption:
    """A paragraph in words of ours, names of options between backticks."""

    text: str


@dataclass(frozen=True, slots=True)
class Code:
    """A command, as it is typed."""

    text: str


@dataclass(frozen=True, slots=True)
class Table:
    """A table; its first column names the rows."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True, slots=True)
class Picture:
    """A PNG file beside the page."""

    path: Path
    caption: str


Block: TypeAlias = Heading | Paragraph | Caption | Code | Table | Picture


def as_markdown(blocks: Sequence[Block]) -> str:
    """Return the page as Markdown; pictures are named by their files."""
    return "\n\n".join(map(_markdown, blocks)) + "\n"


def as_html(blocks: Sequence[Block]) -> str:
    """Return the page as one HTML file: no script, pictures inside, all text escaped."""
    title = next((block.text for block in blocks if isinstance(block, Heading)), "")
    body = "\n".join(map(_html, blocks))
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8"/>\n<title>{_escaped(title)}</title>\n'
        f"<style>\n{STYLE}\n</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    )


def _markdown(block: Block) -> str:
    match block:
        case Heading(text, level):
            return f"{'#' * level} {markdown_text(text)}"
        case Paragraph(text):
            return markdown_line(text)
        case Caption(text):
            return text
        case Code(text):
            fence = max(["```", *(f"{found}`" for found in re.findall("`{3,}", text))], key=len)
            return f"{fence}sh\n{printable(text)}\n{fence}"
        case Table(header, rows):
            return markdown_table(header, rows)
        case Picture(path, caption):
            return f"![{markdown_text(caption)}]({path.name})"


def _html(block: Block) -> str:
    match block:
        case Heading(text, level):
            return f"<h{level}>{_escaped(text)}</h{level}>"
        case Paragraph(text):
            return f"<p>{_escaped(text)}</p>"
        case Caption(text):
            spans = SPAN.sub(r"<code>\1</code>", _escaped(text))
            return f"<p>{spans}</p>"
        case Code(text):
            return f"<pre><code>{_escaped(text)}</code></pre>"
        case Table(header, rows):
            head = "".join(f"<th>{_escaped(cell)}</th>" for cell in header)
            lines = ("".join(f"<td>{_escaped(cell)}</td>" for cell in row) for row in rows)
            body = "\n".join(f"<tr>{line}</tr>" for line in lines)
            return f"<table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table>"
        case Picture(path, caption):
            data = base64.b64encode(path.read_bytes()).decode("ascii")
            return f'<p><img alt="{_escaped(caption)}" src="data:image/png;base64,{data}"/></p>'


def _escaped(text: str) -> str:
    return escape(printable(text))
