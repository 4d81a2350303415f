"""How the messages of a conversation are laid out in tokens, so that it is what a tokenizer's chat template gives."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, product

from .chat_templates import (
    THINK_TOKENS,
    Delimiters,
    Messages,
    Tokenizer,
    conversation,
    end_of_turn,
    num_shared,
    render,
    rendered_ids,
    roles_of,
    short,
)
from .vocabulary import Tokens

WORDS = ("Hello", "Please", "Water", "Zqx")
"""The first that no template writes itself is the message by which the tokens of its marks are found. The first stands
before the mark behind which messages are cut into tokens, too."""
PROBES = (
    "How do I open the door?",
    "Sure: first take 3 keys (or 4).",
    '"Yes," she said',
    "the sea\n\nand the  people",
    "12",
    "[x] <b> & </b>!",
    "\u00c9 un \u00e9t\u00e9, \u4f60\u597d \U0001f642",
    "So I can't.",
    "a",
)
"""Messages in which a view is compared with its template: letters, digits, marks, blanks, other scripts."""
LONG = " ".join(["How do I open the door?"] * 150)
ALWAYS, WHERE_WRITTEN = ("u", "uau", "uauau", "u" + 64 * "au"), ("au", "auau", "uu")
"""The conversations that are compared, by their roles; the second are skipped where a template refuses them."""
TOLD_ALWAYS, TOLD_WHERE_WRITTEN = ("su", "suauau"), ("s", "sau")
"""Those with the game's words at their head."""
MAX_SHIFT = 3
"""By how many tokens the first mark of a text may differ from later ones."""


@dataclass(frozen=True, slots=True)
class Codec:
    """How the text of a message is cut into tokens where it stands, behind a mark.

    A tokenizer of SentencePiece's kind puts a blank before a text that it is given alone, and none within one.
    """

    tokenizer: Tokenizer
    before: str
    """What stands before a message."""
    lead: str
    """The blanks between the two, which are the message's."""
    anchor: Tokens = ()
    """The tokens of what stands before."""
    decoded_behind: Tokens = ()
    """Behind which tokens are decoded: some decoders drop a blank at the very beginning."""

    def ids(self, text: str) -> Tokens:
        """Return the tokens of a message; the special tokens that it spells are among them."""
        if not text:
            return ()
        ids = _ids(self.tokenizer, self.before + self.lead + text)
        if ids[: len(self.anchor)] == self.anchor:
            return ids[len(self.anchor) :]
        return _ids(self.tokenizer, self.lead + text)  # a token runs across the beginning of the message

    def text(self, tokens: Iterable[int]) -> str:
        """Return the text of a message, special tokens left out."""
        before = self._decoded(self.decoded_behind)
        return self._decoded((*self.decoded_behind, *tokens)).removeprefix(before).removeprefix(self.lead)

    def _decoded(self, tokens: Sequence[int]) -> str:
        ids = [int(token) for token in tokens]
        if not ids:
            return ""
        return str(self.tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False))


@dataclass(frozen=True, slots=True)
class Layout:
    """The tokens around the messages of a view, and how messages become tokens."""

    codec: Codec
    begin: Tokens
    told: tuple[Tokens, Tokens]
    user: tuple[Tokens, Tokens]
    assistant: tuple[Tokens, Tokens]
    prompts: tuple[str, str] = ("", "")
    """A generation prompt that opens a thought, and what stands before earlier replies; "": they are the same."""
    open_thought: Tokens | None = None
    """The generation prompt, where it opens a thought; None: it opens none."""

    def written(self, messages: Messages) -> Tokens:
        """Return what the chat template writes of a conversation, before a reply that begins with no thought."""
        return _written(self.codec.tokenizer, messages, self.prompts)

    @property
    def in_marks(self) -> set[int]:
        """The tokens around messages."""
        pairs = (self.told, self.user, self.assistant)
        return {*self.begin, *(token for pair in pairs for ids in pair for token in ids)}

    def view(self, messages: Messages) -> Tokens:
        """Return a conversation that the assistant is to continue."""
        marks = {"system": self.told, "user": self.user, "assistant": self.assistant}
        tokens = list(self.begin)
        for message in messages:
            opening, closing = marks[message["role"]]
            tokens += (*opening, *self.codec.ids(message["content"]), *closing)
        return (*tokens, *self.assistant[0])


def template_layout(tokenizer: Tokenizer, candidates: Sequence[Delimiters]) -> Layout:
    """Return the first layout with one of these delimiters whose views are what the chat template gives.

    Raises:
        ValueError: there is none; the message says where the first one differs.
    """
    problems = []
    for texts, shift in product(candidates, range(MAX_SHIFT + 1)):
        try:
            written = partial(_written, tokenizer, prompts=(texts.prompt, texts.assistant[0]))
            layout = _read_layout(_codec(tokenizer, texts), texts, shift, written)
            _compare(layout, ALWAYS, WHERE_WRITTEN)
            return _with_thought(_with_told(layout, texts), texts)
        except ValueError as error:
            problems.append(error)
    raise problems[0]


def opening_with(layout: Layout, system: str) -> Tokens | None:
    """Return what a chat template writes before a conversation that has a system prompt at its head.

    None: it refuses or loses the prompt, or what follows is not laid out as it is without; all conversations that a
    layout is compared in are.
    """
    told = [{"role": "system", "content": system}]
    word = PROBES[-1]
    try:
        alone, written = (layout.written([*head, *conversation("u", [word])]) for head in ([], told))
        tail = layout.view(conversation("u", [word]))[len(layout.begin) :]
        if written == alone or written[len(written) - len(tail) :] != tail:
            return None
        opening = written[: len(written) - len(tail)]
        _compare(replace(layout, begin=opening), ALWAYS, WHERE_WRITTEN, head=told)
    except ValueError:
        return None
    return opening


def plain_layout(tokenizer: Tokenizer, texts: Delimiters) -> Layout:
    """Return the layout of one message after the other where there is no chat template to compare it with.

    Raises:
        ValueError: a message cannot be told from the marks around it.
    """

    def written(messages: Messages) -> Tokens:
        marks = {"user": texts.user, "assistant": texts.assistant}
        text = texts.begin
        for message in messages:
            opening, closing = marks[message["role"]]
            text += opening + message["content"] + closing
        return _ids(tokenizer, text + texts.assistant[0])

    return _read_layout(_codec(tokenizer, texts), texts, 0, written)


def readable(codec: Codec) -> tuple[Codec, str | None]:
    """Return the codec that decodes what it encodes, and a text that it changes all the same, if there is one."""
    behind_a_letter = replace(codec, decoded_behind=_ids(codec.tokenizer, "a"))
    for texts in ((*PROBES, *(f" {text}  " for text in PROBES)), PROBES):  # some tokens take the blanks behind them
        for one in (codec, behind_a_letter):
            if all(one.text(one.ids(text)) == text for text in texts):
                return one, None
    return codec, next(text for text in PROBES if codec.text(codec.ids(text)) != text)


def _codec(tokenizer: Tokenizer, texts: Delimiters) -> Codec:
    """Return how messages are cut into tokens behind the assistant's header, or behind the user's closing mark."""
    before = WORDS[0] + texts.user[1] + texts.assistant[0]
    anchor = _ids(tokenizer, before)
    for text in PROBES:
        anchor = anchor[: num_shared(anchor, _ids(tokenizer, before + texts.lead + text))]
    return Codec(tokenizer, before, texts.lead, anchor)


def _read_layout(codec: Codec, texts: Delimiters, shift: int, written: Callable[[Messages], Tokens]) -> Layout:
    """Return the tokens of the marks as they are in a conversation as a whole.

    Tokens may run across the end of a mark, and the first mark of a text begin otherwise than later ones ("_<" and
    "<"). So openings may leave their first `shift` tokens, if they share them, to what stands before them.
    """
    word = _word(codec, texts)
    (open_user, close_user), (header, close_assistant) = texts.user, texts.assistant
    asked = texts.begin + open_user + codec.lead + word + close_user
    replied = asked + header + codec.lead + word + close_assistant
    first, between, last, _ = _pieces(codec, word, written(conversation("uau", [word] * 3)), 3)
    cut = max(num_shared(between, one) for one in _endings(codec, word, asked, 1, header))
    end = max(num_shared(last, one) for one in _endings(codec, word, replied, 2, open_user))
    ending = end_of_turn(codec.tokenizer, close_assistant)
    if last[:1] != (ending,):
        raise _different(codec.tokenizer, last, (ending,), "behind a reply, which nothing but a special token ends,")
    shared = between[cut : cut + shift]
    opening = last[end + shift :]
    num_begun = len(first) - len(opening)
    if len(shared) < shift or last[end : end + shift] != shared or num_begun < 0 or first[num_begun:] != opening:
        raise _different(codec.tokenizer, first, last[end:], "before the first message of a conversation")
    user, assistant = (opening, between[: cut + shift]), (between[cut + shift :], last[: end + shift])
    return Layout(codec, first[:num_begun], user, user, assistant, (texts.prompt, header))


def _with_told(layout: Layout, texts: Delimiters) -> Layout:
    """Return the layout with the game's words as a system message, where the template writes such views exactly."""
    if texts.told is None:
        return layout
    word = _word(layout.codec, texts)
    try:
        first, between, _ = _pieces(layout.codec, word, layout.written(conversation("su", [word] * 2)), 2)
        told = first[len(layout.begin) :], between[: max(0, len(between) - len(layout.user[0]))]
        found = replace(layout, told=told)
        _compare(found, TOLD_ALWAYS, TOLD_WHERE_WRITTEN)
    except ValueError:
        return layout
    return found


def _written(tokenizer: Tokenizer, messages: Messages, prompts: tuple[str, str]) -> Tokens:
    """Return a conversation by the chat template, with the second of the generation prompts in the first's place."""
    opened, before = prompts
    if not opened:
        return rendered_ids(tokenizer, messages)
    return _ids(tokenizer, render(tokenizer, messages, add_generation_prompt=True).removesuffix(opened) + before)


def _with_thought(layout: Layout, texts: Delimiters) -> Layout:
    """Return the layout with the generation prompt where that opens a thought.

    Raises:
        ValueError: the thought's marks are no tokens of their own, or a view that ends in it is not the template's.
    """
    if not texts.prompt:
        return layout
    tokenizer, asked = layout.codec.tokenizer, conversation("u", [PROBES[0]])
    view = layout.view(asked)
    before = view[: len(view) - len(layout.assistant[0])]
    asked_ids = rendered_ids(tokenizer, asked)
    opened = asked_ids[len(before) :]
    if asked_ids[: len(before)] != before or tokenizer.get_vocab().get(THINK_TOKENS[0]) not in opened:
        raise _different(tokenizer, asked_ids, before, f"before {THINK_TOKENS[0]}, which is to be one token,")
    return replace(layout, open_thought=opened)


def _word(codec: Codec, texts: Delimiters) -> str:
    """Return a word that no mark has and that the tokenizer knows: one of a few, or else of its own."""
    marks, unknown = repr(texts), set(codec.tokenizer.all_special_ids)

    def own() -> Iterator[str]:
        yield from sorted(text for text in codec.tokenizer.get_vocab() if text.isalnum())

    for word in chain(WORDS, own()):
        if word not in marks and not unknown.intersection(codec.ids(word)):
            return word
    return WORDS[0]


def _endings(codec: Codec, word: str, text: str, num_messages: int, following: str) -> Iterator[Tokens]:
    """Yield the tokens behind the last message of a text as they are at its end, and as they are before a letter.

    Some tokenizers cut two line breaks differently at the end of a text and before a word.
    """
    letter = next(other for other in "HPZ" if not following.startswith(other) and other != word[0])
    for more in ("", letter):
        yield _pieces(codec, word, _ids(codec.tokenizer, text + more), num_messages)[-1]


def _pieces(codec: Codec, word: str, ids: Tokens, num_messages: int) -> list[Tokens]:
    """Return the tokens before, between and behind the places where a message stands."""
    said, pieces, start = codec.ids(word), list[Tokens](), 0
    if not said:
        raise ValueError(f"tokenizer: expected tokens for {word!r}, got none")
    for k in range(len(ids)):
        if k >= start and ids[k : k + len(said)] == said:
            pieces.append(ids[start:k])
            start = k + len(said)
    if len(pieces) != num_messages:
        where = f"for {num_messages} messages {word!r}, which are to stand out,"
        raise _different(codec.tokenizer, ids, said, where, whole=True)
    return [*pieces, ids[start:]]


def _compare(
    layout: Layout, always: Sequence[str], where_written: Sequence[str], *, head: Messages | None = None
) -> None:
    """Raise ValueError unless views are what the chat template gives, token for token, behind a head."""
    for roles in (*always, *where_written):
        for messages in _probes(roles):
            try:
                asked = layout.written([*(head or ()), *messages])
            except ValueError:
                if roles in where_written:
                    break
                raise
            if layout.view(messages) != asked:
                where = f"for messages of {roles_of(messages)}"
                raise _different(layout.codec.tokenizer, asked, layout.view(messages), where)


def _probes(roles: str) -> Iterator[Messages]:
    """Yield conversations in which every probe is in every place, and a long text; many messages are short ones."""
    if len(roles) > len(PROBES):
        yield conversation(roles, [min(PROBES, key=len) for _ in roles])
        return
    for shift in range(len(PROBES)):
        yield conversation(roles, [PROBES[(shift + k) % len(PROBES)] for k in range(len(roles))])
    if roles == "uau":
        yield conversation(roles, [PROBES[0], PROBES[1], LONG])


def _different(tokenizer: Tokenizer, asked: Tokens, got: Tokens, where: str, *, whole: bool = False) -> ValueError:
    same = 0 if whole else num_shared(asked, got)
    names = {token: text for text, token in tokenizer.get_vocab().items()}
    begin, end = max(0, same - 3), same + (40 if whole else 5)
    theirs, ours = ([names.get(token, str(token)) for token in ids[begin:end]] for ids in (asked, got))
    return ValueError(
        "chat_template: expected views to be token for token what the template gives, one message after the other; "
        f"{where} it gives {theirs} from token {begin} on, and one message after the other is {ours}"
    )


def _ids(tokenizer: Tokenizer, text: str) -> Tokens:
    try:
        return tuple(map(int, tokenizer.encode(text, add_special_tokens=False)))
    except (TypeError, UnicodeEncodeError) as error:  # the library does not say what is wrong with a lone surrogate
        wrong = next((character for character in text if "\ud800" <= character <= "\udfff"), text)
        raise ValueError(f"text: expected text that UTF-8 can write, got {short(ascii(wrong))}") from error
