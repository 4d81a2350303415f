"""What a chat template writes around messages, read off conversations that the tokenizer renders with it.

Chat templates are programs (Jinja, in transformers' sandbox): what one does cannot be told from its text, only seen.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import takewhile
from typing import Any, Protocol

from .vocabulary import PAD, Tokens

THINK_TOKENS = ("<think>", "</think>")
"""What stands around a thought."""

CLOCK = "strftime_now"
"""The function by which a chat template asks for today's date."""
FIXED_DAY = date(2026, 1, 1)
"""The day that is proposed in its place."""
DEFAULT = "default"
"""The name of the template that is taken where a tokenizer has several."""

Messages = list[dict[str, str]]

_ASKED, _REPLIED, _TOLD, *_REST = (f"Zqx {name}:  \"a\" <b> &\n\n'C'." for name in "013456")
"""Messages that show most changes that a template could make: of case, of quotes and marks, of blanks."""
_QUOTED = r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\""
_BLOCK = re.compile(rf"\{{#.*?#\}}|\{{[{{%](?:{_QUOTED}|(?![%}}]\}})[^'\"])*[%}}]\}}", re.DOTALL)
"""A comment, or a piece of a template that is code, with the quoted texts in it."""
_ASKS_FOR_CLOCK = re.compile(rf"\b{CLOCK}\b(?!\s+is\s+(?:not\s+)?defined\b)")
_CLOCK_CALL = re.compile(rf"{CLOCK}\(\s*(?P<quote>['\"])(?P<format>[^'\"\\]*)(?P=quote)\s*\)")
_DRAWS = re.compile(r"\|\s*random\b|\blipsum\b")


class Tokenizer(Protocol):
    """What is used of a Hugging Face tokenizer."""

    def __len__(self) -> int:
        """Return the number of tokens, added ones included."""
        ...

    def __getattr__(self, name: str, /) -> Any:
        """Return `chat_template`, `added_tokens_decoder`, `all_special_ids`, or a special token or its id."""
        ...

    def get_vocab(self) -> Mapping[str, int]:
        """Return every token with its id."""
        ...

    def encode(self, text: str, *, add_special_tokens: bool) -> Sequence[int]:
        """Return the ids of a text."""
        ...

    def decode(
        self, token_ids: list[int], *, skip_special_tokens: bool = False, clean_up_tokenization_spaces: bool = False
    ) -> Any:
        """Return the text of ids."""
        ...

    def apply_chat_template(
        self, conversation: list[dict[str, str]], *, tokenize: bool, add_generation_prompt: bool
    ) -> Any:
        """Return a conversation as text, or as its ids (in a mapping, under `input_ids`, since transformers 5)."""
        ...


@dataclass(frozen=True, slots=True)
class Delimiters:
    """The text around the messages of a conversation."""

    begin: str
    told: tuple[str, str] | None
    """What opens and what closes the game's own words; None: a message of the user's."""
    user: tuple[str, str]
    assistant: tuple[str, str]
    prompt: str = ""
    """The generation prompt, where it opens a thought that does not stand before earlier replies."""
    lead: str = ""
    """The blank before every message, where tokens take it into the message's first one."""


def template_text(tokenizer: Tokenizer) -> str | None:
    """Return the chat template that a tokenizer uses, the default one where it has several; None: it has none.

    Raises:
        ValueError: it is no text, none of several is the default, it asks the clock, or it draws at random.
    """
    template: Any = tokenizer.chat_template
    if isinstance(template, Mapping):
        if template and DEFAULT not in template:
            raise ValueError(f"chat_template: expected one named {DEFAULT!r}, got {', '.join(map(repr, template))}")
        template = template.get(DEFAULT)
    if not (template is None or isinstance(template, str)):
        raise ValueError(f"chat_template: expected text, got {type(template).__name__}")
    if not template:
        return None
    blocks = (block for block in _BLOCK.findall(template) if not block.startswith("{#"))
    code = " ".join(re.sub(_QUOTED, " ", block, flags=re.DOTALL) for block in blocks)
    if _ASKS_FOR_CLOCK.search(code):
        asked, day = next(_dated(template), (f'{CLOCK}("%d %b %Y")', '"1 Jan 2026"'))
        raise ValueError(
            f"chat_template: expected the same text on every day, got a template that calls {CLOCK}; give the "
            f"tokenizer one with a fixed date, as chat_template.replace({asked!r}, {day!r})"
        )
    if _DRAWS.search(code):
        raise ValueError("chat_template: expected the same text every time, got a template that draws at random")
    return template


def _dated(template: str) -> Iterator[tuple[str, str]]:
    """Yield where a template asks for the day, and a day as it writes it there."""
    for call in _CLOCK_CALL.finditer(template):
        yield call[0], f'"{FIXED_DAY.strftime(call["format"])}"'


def mark_ids(tokenizer: Tokenizer) -> dict[int, str]:
    """Return the tokens that are marks, with their text: the special ones, and added ones that begin with no letter.

    What a template writes is not always called special by its tokenizer; a line break may be an added token, too.
    """
    added = tokenizer.added_tokens_decoder
    texts = {token: str(text) for token, text in added.items()}
    marks = {
        token: text for token, text in texts.items() if added[token].special or (text.strip() and not text[0].isalnum())
    }
    others = {token for token in tokenizer.all_special_ids if token is not None} - marks.keys()
    names = {token: text for text, token in tokenizer.get_vocab().items() if token in others} if others else {}
    return marks | names


def end_of_turn(tokenizer: Tokenizer, closing: str) -> int:
    """Return the token that ends a turn: the first of what closes the assistant's messages.

    Raises:
        ValueError: it is no mark, or it is padding.
    """
    closing = closing.lstrip(" ")
    ids = tuple(tokenizer.encode(closing, add_special_tokens=False))
    text = mark_ids(tokenizer).get(ids[0]) if ids and ids[0] != PAD else None
    if text is None or not closing.startswith(text):
        raise ValueError(
            "tokenizer: a vocabulary without its special tokens: expected a turn to be ended by a single "
            f"special token other than id {PAD}, which is padding; got {closing!r}, that is {list(ids)}"
        )
    return ids[0]


def conversation(roles: str, texts: Sequence[str]) -> Messages:
    """Return messages of roles that are given by their first letters, as "suau".

    >>> conversation("ua", ["Hi", "Hello"])
    [{'role': 'user', 'content': 'Hi'}, {'role': 'assistant', 'content': 'Hello'}]
    """
    names = {"s": "system", "u": "user", "a": "assistant"}
    return [{"role": names[role], "content": text} for role, text in zip(roles, texts, strict=True)]


def roles_of(messages: Messages) -> str:
    """Return who speaks in a conversation, the first five, for an error."""
    return ", ".join([message["role"] for message in messages[:5]] + (["..."] if len(messages) > 5 else []))


def short(text: str) -> str:
    """Return what an error shows of a text: one line of at most 300 characters."""
    line = " ".join(text.split())
    return line if len(line) <= 300 else f"{line[:200]} ... {line[-95:]}"


def render(tokenizer: Tokenizer, messages: Messages, *, add_generation_prompt: bool = False) -> str:
    """Return a conversation as text.

    Raises:
        ValueError: the template takes no such conversation; the message is its own, in one line.
    """
    return str(_apply(tokenizer, messages, tokenize=False, add_generation_prompt=add_generation_prompt))


def rendered_ids(tokenizer: Tokenizer, messages: Messages, *, add_generation_prompt: bool = True) -> Tokens:
    """Return the ids of a conversation that the assistant is to continue, or of a whole one.

    Raises:
        ValueError: as `render`.
    """
    ids = _apply(tokenizer, messages, tokenize=True, add_generation_prompt=add_generation_prompt)
    return tuple(map(int, ids["input_ids"] if isinstance(ids, Mapping) else ids))


def _apply(tokenizer: Tokenizer, messages: Messages, *, tokenize: bool, add_generation_prompt: bool) -> Any:
    try:
        return tokenizer.apply_chat_template(messages, tokenize=tokenize, add_generation_prompt=add_generation_prompt)
    except Exception as error:  # whatever a program in Jinja may raise: jinja2's errors, Python's, transformers'
        said = short(f"{type(error).__name__}: {error}")
        raise ValueError(
            f"chat_template: expected one that writes messages of {roles_of(messages)}, got {said}"
        ) from error


def template_delimiters(tokenizer: Tokenizer) -> list[Delimiters]:
    """Return what a tokenizer's chat template may be said to write around messages, the likeliest first.

    A blank before each message is either the mark's or the message's, as the tokens of it are.

    Raises:
        ValueError: the template loses, changes or reorders messages, or its generation prompt is not what it writes
            before a reply.
    """
    texts = [_ASKED, _REPLIED, *_REST]
    asked = render(tokenizer, conversation("u", texts[:1]))
    prompted = render(tokenizer, conversation("u", texts[:1]), add_generation_prompt=True)
    replied = _split(render(tokenizer, conversation("ua", texts[:2])), texts[:2])[-1]
    ending = str(tokenizer.eos_token or "")
    if not prompted.startswith(asked) and asked.endswith(ending) and replied.endswith(ending):
        # Phi-3: what ends a conversation that is not to be continued
        asked, replied = asked.removesuffix(ending), replied.removesuffix(ending)
    preamble, close_user = _split(asked, texts[:1])
    if not prompted.startswith(asked):
        raise _unlike(prompted, asked, "a generation prompt that only adds to a conversation")
    header = prompted.removeprefix(asked)
    end_of_turn(tokenizer, replied)
    pieces = _split(render(tokenizer, conversation("uauau", texts), add_generation_prompt=True), texts)
    before, after = pieces[1], pieces[2]
    if pieces[::2] != [preamble, after, after] or pieces[1::2] != [before, before, close_user + header]:
        raise _unlike(pieces, [preamble, before, after], "the same marks around every message of a role")
    prompt, header = _thought_opened(header, before, close_user)
    lead = before.removeprefix(close_user + header)
    if not before.startswith(close_user + header) or lead.strip():
        what = "a generation prompt that is what stands before every reply, a thought that it opens apart"
        raise _unlike(header, before.removeprefix(close_user), what)
    opening = after[num_shared(replied, after) :]
    open_user = opening[len(opening) - num_shared(opening[::-1], preamble[::-1]) :]
    begin = preamble.removesuffix(open_user)
    assistant = (header, after.removesuffix(open_user))
    told = _system_delimiters(tokenizer, begin, open_user)
    return [
        Delimiters(begin, _led(told, blank), (open_user.removesuffix(blank), close_user), assistant, prompt, blank)
        for blank in dict.fromkeys((lead, " " if open_user.endswith(" ") else lead))
    ]


def _thought_opened(header: str, before: str, close_user: str) -> tuple[str, str]:
    """Return a generation prompt that opens a thought, and what stands before earlier replies, whose thoughts are gone.

    Of these some templates write an empty one. Other generation prompts are what stands there: "" and the same.
    """
    opening, closing = THINK_TOKENS
    written = before.removeprefix(close_user)
    start, found, rest = header.partition(opening)
    kept, _, left = written.partition(opening)
    fits = found and not rest.strip() and kept.rstrip() == start.rstrip() and not left.replace(closing, "", 1).strip()
    return (header, written) if fits and written != header and before.startswith(close_user) else ("", header)


def num_shared(first: Sequence[object], second: Sequence[object]) -> int:
    """Return how many entries two sequences share at their beginning."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(first, second, strict=False)))


def strips_messages(tokenizer: Tokenizer, roles: str) -> bool:
    """Return whether the template changes the blanks around the first message of such a conversation."""
    others = [_REPLIED, *_REST][: len(roles) - 1]
    text = render(tokenizer, conversation(roles, [_ASKED, *others]))
    padded = (f" {_ASKED} ", f"\n{_ASKED}\n")
    return any(render(tokenizer, conversation(roles, [one, *others])) != text.replace(_ASKED, one) for one in padded)


def _led(told: tuple[str, str] | None, blank: str) -> tuple[str, str] | None:
    return told and (told[0].removesuffix(blank), told[1])


def _system_delimiters(tokenizer: Tokenizer, begin: str, open_user: str) -> tuple[str, str] | None:
    """Return what stands around a system message; None if that is no message like the others."""
    try:
        text = render(tokenizer, conversation("su", [_TOLD, _ASKED]))
        preamble, between, _ = _split(text, [_TOLD, _ASKED])
    except ValueError:
        return None
    if not (preamble.startswith(begin) and preamble != begin and between.endswith(open_user)):
        return None
    return preamble.removeprefix(begin), between.removesuffix(open_user)


def _split(text: str, messages: Sequence[str]) -> list[str]:
    """Return what stands before, between and after messages."""
    pieces, rest = [], text
    for message in messages:
        before, found, rest = rest.partition(message)
        if not found:
            raise ValueError(
                f"chat_template: expected each message word for word, got {short(repr(text))} without {message!r}"
            )
        pieces.append(before)
    return [*pieces, rest]


def _unlike(got: object, other: object, expected: str) -> ValueError:
    return ValueError(f"chat_template: expected {expected}, got {short(repr(got))} and {short(repr(other))}")
