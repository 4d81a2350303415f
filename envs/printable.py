r"""Text from outside, shown and made names of files: what models, words, names and files say is data and no more.

Characters that move the cursor, change colours, turn the direction of reading or cannot be seen are written as escapes,
so that a terminal shows them and does not obey them. A name becomes the name of one file in one folder, whatever it is.

>>> printable("red\x1b[31m, \u202eback, a\nline")
'red\\x1b[31m, \\u202eback, a\\nline'
>>> print(printable_lines("one\ntwo\r"))
one
    two\r
>>> file_name("kuhn_poker-v0"), file_name("../x")
('kuhn_poker-v0', '=2E.=2Fx')
"""

from __future__ import annotations

import hashlib
import re
import unicodedata

UNSEEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Unicode's categories of controls, format characters, lone surrogates, line and paragraph separators."""
JOINERS = "\u200c\u200d\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u070f\u0890\u0891\u08e2"
"""Format characters that words of some scripts are spelled with, and signs of Arabic and Syriac that are to be seen."""
INDENTED = "\n    "
SHOWN = 500
"""Characters of a wrong value that a message shows."""
MAX_FILE_NAME = 80
"""Characters of a file's name; longer ones end in a digest."""
UNSAFE = re.compile(
    r"^[-.~]|[.]$|[^\w.+~-]|[^\x00-\x7f]|^(?=(?:con|prn|aux|nul|com\d|lpt\d)(?:\.|$))\w", re.IGNORECASE | re.ASCII
)
"""What does not stand in a file's name; Windows takes no dot at the end and no name of a device."""


def printable(text: str) -> str:
    r"""Return a text in one line, with an escape such as `\x1b` for each character that is not to be seen."""
    return text if text.isascii() and text.isprintable() else "".join(map(_shown, text))


def printable_lines(text: str) -> str:
    """Return a text whose line breaks stand, lines after the first indented: none of them passes for another's."""
    return INDENTED.join(printable(line) for line in re.split(r"\r?\n", text))


def shown(value: object) -> str:
    """Return a wrong value as a message shows it: its beginning, and an integer without end by its size."""
    try:
        text = repr(value)
    except ValueError:  # Python writes out no integer of more than 4,300 digits
        return f"an integer of {value.bit_length()} bits" if isinstance(value, int) else f"a {type(value).__name__}"
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."


def _shown(character: str) -> str:
    if character in JOINERS or unicodedata.category(character) not in UNSEEN:
        return character
    return character.encode("unicode_escape").decode("ascii")


def file_name(name: str) -> str:
    """Return a name as that of a file: no path, nothing that a shell or a page's address reads, unlike for unlike ones.

    Letters and digits of ASCII, `_`, `-`, `+`, `~` and `.` stand as they are, except where a dot, a dash or a device of
    Windows would be read otherwise; every other character is written as the bytes of its UTF-8, `=2F` for a slash.
    """
    encoded = UNSAFE.sub(_bytes, name) or "="
    if len(encoded) <= MAX_FILE_NAME:
        return encoded
    digest = hashlib.sha256(name.encode("utf-8", errors="surrogatepass")).hexdigest()[:16]
    return f"{encoded[: MAX_FILE_NAME - len(digest) - 2]}=={digest}"


def _bytes(found: re.Match[str]) -> str:
    return "".join(f"={byte:02X}" for byte in found[0].encode("utf-8", errors="surrogatepass"))
