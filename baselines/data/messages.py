"""Records (one JSON object for each dialogue) as dialogues, and back; `pairs.py` has those of preferences.

The formats: conversational `messages` (OpenAI, TRL, Hugging Face chat data; also ShareGPT's `conversations` of `from`
and `value`), with or without a `system` beside them, Alpaca (instruction, input, output), and transcripts of hh-rlhf
(arXiv 2204.05862). Keys that a format does not know are left alone.

A thought is a message's `reasoning_content`, or what stands between `<think>` and `</think>` at the beginning of what
the assistant says, blanks around both stripped. `to_messages` writes the former.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal

from ...envs.text_files import listed
from ..training.files import Json
from .dialogues import ASSISTANT, USER, TextDialogue, TextTurn, quoted
from .documents import parse_hh

Record = Mapping[str, object]
Which = Literal["chosen", "rejected"]

PLAYER_OF_ROLE = {
    "system": None, "developer": None, "user": USER, "human": USER, "assistant": ASSISTANT, "gpt": ASSISTANT,
}  # fmt: skip
"""Who speaks in a message of each role."""
CONVERSATIONS = ("messages", "conversations", "conversation")
"""The keys under which records hold a list of messages."""
ROLE_OF_PLAYER = {None: "system", USER: "user", ASSISTANT: "assistant"}

_THINK = re.compile(r"\s*<think>(.*?)</think>\s*", re.DOTALL)


def parse_messages(messages: object) -> TextDialogue:
    """Return a list of messages as a dialogue.

    >>> parse_messages([{"role": "assistant", "content": "<think>2 + 2</think> 4"}]).turns
    (TextTurn(player=1, text='4', thought='2 + 2'),)

    A message may be ShareGPT's, with `from` and `value`. Content may be a list of parts that are text (OpenAI's): they
    are joined as they stand.

    Raises:
        ValueError: no list, an unknown role (a tool's, say), a call of a tool, or content that is no text.
    """
    if not isinstance(messages, list | tuple) or not messages:
        raise ValueError(f"messages: expected a list of at least one message, got {quoted(repr(messages))}")
    return TextDialogue(tuple(_turn(number, message) for number, message in enumerate(messages)))


def to_messages(dialogue: TextDialogue) -> list[Json]:
    """Return the dialogue as messages; `parse_messages` reads it back exactly."""
    messages: list[Json] = []
    for turn in dialogue.turns:
        message: dict[str, Json] = {"role": ROLE_OF_PLAYER[turn.player], "content": turn.text}
        if turn.thought or (turn.player == ASSISTANT and _THINK.match(turn.text)):
            message["reasoning_content"] = turn.thought  # an empty one says that the text thinks nothing
        messages.append(message)
    return messages


def parse_alpaca(record: Record) -> TextDialogue:
    """Return an instruction and its output as one exchange; the input follows the instruction after an empty line.

    `system` becomes words of the game, and `history`, a list of pairs, the exchanges before.
    """
    instruction, output = _text(record, "instruction"), _text(record, "output")
    asked = "\n\n".join(text for text in (instruction, _text(record, "input", default="")) if text)
    system, history = _text(record, "system", default=""), record.get("history") or []
    turns = [TextTurn(None, system)] if system else []
    if not isinstance(history, list | tuple):
        raise ValueError(f"history: expected a list of pairs, got {quoted(repr(history))}")
    for pair in history:
        if not (isinstance(pair, list | tuple) and len(pair) == 2 and all(isinstance(text, str) for text in pair)):
            raise ValueError(f"history: expected pairs of texts, got {quoted(repr(pair))}")
        turns += [TextTurn(USER, pair[0]), TextTurn(ASSISTANT, pair[1])]
    return TextDialogue((*turns, TextTurn(USER, asked), TextTurn(ASSISTANT, output)))


def parse_rewrite(record: Record) -> TextDialogue:
    """Return a seed request and how an adversary is to say it, as what it is asked and what it replies."""
    return TextDialogue((TextTurn(USER, _text(record, "seed")), TextTurn(ASSISTANT, _text(record, "rewrite"))))


def parse_hh_record(record: Record, which: Which = "chosen") -> TextDialogue:
    """Return the preferred or the other dialogue of a pair of transcripts, word for word."""
    return parse_hh(_text(record, which), exact=False)


def parse_conversation(record: Record) -> TextDialogue:
    """Return a record with a list of messages as a dialogue; a `system` text beside it opens one that has none."""
    key = next((key for key in CONVERSATIONS if key in record), CONVERSATIONS[0])
    return with_system(record, parse_messages(record.get(key)))


def with_system(record: Record, dialogue: TextDialogue) -> TextDialogue:
    """Return the dialogue behind the record's `system` text, unless it begins with words of the game's."""
    system = _text(record, "system", default="")
    if not system or (dialogue.turns and dialogue.turns[0].player is None):
        return dialogue
    return TextDialogue((TextTurn(None, system), *dialogue.turns))


def format_of(record: Record) -> str:
    """Return the format that a record's keys tell: "messages", "alpaca", "rewrites", "hh" or "pairs".

    Raises:
        ValueError: none of them.
    """
    if "messages" in record:
        return "messages"
    if {"instruction", "output"} <= record.keys():
        return "alpaca"
    if {"seed", "rewrite"} <= record.keys():
        return "rewrites"
    if {"chosen", "rejected"} <= record.keys():
        return "hh" if "prompt" not in record and is_hh(record["chosen"]) else "pairs"
    if any(key in record for key in CONVERSATIONS):
        return "messages"
    raise ValueError(
        "record: expected the keys messages (or conversations); instruction and output; seed and rewrite; or chosen "
        "and rejected; "
        f"got {listed(record)}"
    )


def _turn(number: int, message: object) -> TextTurn:
    if not isinstance(message, Mapping):
        raise ValueError(f"message {number}: expected an object with role and content, got {quoted(repr(message))}")
    role, thought = message.get("role", message.get("from")), message.get("reasoning_content")
    if not isinstance(role, str) or role.strip().lower() not in PLAYER_OF_ROLE:
        got = quoted(role) if isinstance(role, str) else quoted(repr(role))
        raise ValueError(f"message {number}: expected a role among {', '.join(PLAYER_OF_ROLE)}, got {got}")
    value = message["content"] if "content" in message else message.get("value")
    content = _content(value)
    if content is None or not isinstance(thought, str | None):
        wrong = value if content is None else thought
        raise ValueError(f"message {number}: expected content and reasoning that are text, got {quoted(repr(wrong))}")
    if message.get("tool_calls") or message.get("function_call"):
        raise ValueError(f"message {number}: expected text, got a call of a tool")
    player = PLAYER_OF_ROLE[role.strip().lower()]
    inline = _THINK.match(content) if thought is None and player == ASSISTANT else None
    if inline:
        return TextTurn(player, content[inline.end() :], inline.group(1).strip())
    return TextTurn(player, content, thought or "")


def _content(value: object) -> str | None:
    """Return the text of a message's content, also of a list of parts; None if that is not all that it is."""
    if isinstance(value, str):
        return value
    if not isinstance(value, list | tuple) or not value:
        return None
    texts = [part.get("text") if isinstance(part, Mapping) and part.get("type") == "text" else None for part in value]
    return "".join(map(str, texts)) if all(isinstance(text, str) for text in texts) else None


def _text(record: Record, key: str, default: str | None = None) -> str:
    value = record.get(key)
    if value is None and default is not None:
        return default
    if not isinstance(value, str):
        raise ValueError(f"{key}: expected text, got {quoted(repr(value))}")
    return value


def is_hh(value: object) -> bool:
    """Say whether a value is a transcript of hh-rlhf."""
    return isinstance(value, str) and value.startswith("\n\nHuman:")
