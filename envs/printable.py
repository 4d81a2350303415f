r"""Text from outside, shown: what models, words, names and files say reaches a terminal or a page through here.

Characters that move the cursor, change colours, turn the direction of reading or cannot be seen are written as escapes,
so that a terminal shows them and does not obey them.

>>> printable("red\x1b[31m, \u202eback, a\nline")
'red\\x1b[31m, \\u202eback, a\\nline'
>>> print(printable_lines("one\ntwo\r"))
one
    two\r
"""

from __future__ import annotations

import re
import unicodedata

UNSEEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Unicode's categories of controls, format characters, lone surrogates, line and paragraph separators."""
JOINERS = "\u200c\u200d"
"""Format characters that words of some scripts are spelled with."""
INDENTED = "\n    "


def printable(text: str) -> str:
    r"""Return a text in one line, with an escape such as `\x1b` for each character that is not to be seen."""
    return text if text.isascii() and text.isprintable() else "".join(map(_shown, text))


def printable_lines(text: str) -> str:
    """Return a text whose line breaks stand, lines after the first indented: none of them passes for another's."""
    return INDENTED.join(printable(line) for line in re.split(r"\r?\n", text))


def _shown(character: str) -> str:
    if character in JOINERS or unicodedata.category(character) not in UNSEEN:
        return character
    return character.encode("unicode_escape").decode("ascii")
