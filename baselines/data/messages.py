"""Records (one JSON object for each dialogue or pair) as dialogues and preference pairs, and back.

The formats: conversational `messages` (OpenAI, TRL, Hugging Face chat data), Alpaca (instruction, input, output),
hh-rlhf pairs of transcripts (arXiv 2204.05862) and pairs with a prompt of their own (TRL's `prompt`, `chosen`,
`rejected`, as text or as messages). Keys that a format does not know are left alone.

A thought is a message's `reasoning_content`, or what stands between `<think>` and `</think>` at the beginning of what
the assistant says, blanks around both stripped. `to_messages` writes the former.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal

from ..training.files import Json
from .dialogues import ASSISTANT, USER, PreferencePair, TextDialogue, TextTurn, merge_turns, quoted
from .documents import parse_hh, to_hh

Record = Mapping[str, object]
Which = Literal["chosen", "rejected"]

PLAYER_OF_ROLE = {"system": None, "developer": None, "user": USER, "human": USER, "assistant": ASSISTANT}
"""Who speaks in a message of each role."""
ROLE_OF_PLAYER = {None: "system", USER: "user", ASSISTANT: "assistant"}

_THINK = re.compile(r"\s*<think>(.*?)</think>\s*", re.DOTALL)


def parse_messages(messages: object) -> TextDialogue:
    """Return a list of messages as a dialogue.

    >>> parse_messages([{"role": "assistant", "content": "<think>2 + 2</think> 4"}]).turns
    (TextTurn(player=1, text='4', thought='2 + 2'),)

    Raises:
        ValueError: no list, an unknown role (a tool's, say), or content that is no text.
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


def parse_hh_record(record: Record, which: Which = "chosen") -> TextDialogue:
    """Return the preferred or the other dialogue of a pair of transcripts, word for word."""
    return parse_hh(_text(record, which), exact=False)


def parse_hh_pair(record: Record) -> PreferencePair:
    """Return a pair of transcripts as the turns that they share and the two replies that follow.

    Where one side goes on for several turns of one speaker, `merge_turns` makes them one reply (5 of the 2312 pairs
    of the harmless test set).

    Raises:
        ValueError: the transcripts do not part at one reply of the same player.
    """
    return _parted(parse_hh_record(record, "chosen"), parse_hh_record(record, "rejected"))


def parse_pair(record: Record) -> PreferencePair:
    """Return a record with `chosen` and `rejected`, with or without a `prompt`, as a preference pair.

    Each may be text or messages. Prompt texts and replies without marks are a turn of the user's and of the
    assistant's; a text that opens with "Human:" after an empty line is a transcript. Replies that repeat the prompt, or
    have no prompt beside them, are parted where they differ.
    """
    prompt = record.get("prompt")
    if prompt is None and _is_hh(record.get("chosen")):
        return parse_hh_pair(record)
    before = _turns_of(record, "prompt", USER) if prompt else TextDialogue(())
    chosen, rejected = (_turns_of(record, which, ASSISTANT) for which in ("chosen", "rejected"))
    shared = len(before.turns)
    longer = min(len(chosen.turns), len(rejected.turns)) > shared
    if longer and chosen.turns[:shared] == rejected.turns[:shared] == before.turns:
        before = TextDialogue(())
    return _parted(*(TextDialogue((*before.turns, *side.turns)) for side in (chosen, rejected)))


def to_pair(pair: PreferencePair) -> dict[str, Json]:
    """Return a preference pair as TRL's conversational `prompt`, `chosen` and `rejected`; `parse_pair` reads it."""
    chosen, rejected = (to_messages(TextDialogue((reply,))) for reply in (pair.chosen, pair.rejected))
    return {"prompt": to_messages(pair.prompt), "chosen": chosen, "rejected": rejected}


def to_hh_pair(pair: PreferencePair) -> dict[str, Json]:
    """Return a preference pair as two transcripts; `parse_hh_pair` reads it."""
    chosen, rejected = (to_hh(dialogue) for dialogue in pair.dialogues)
    return {"chosen": chosen, "rejected": rejected}


def format_of(record: Record) -> str:
    """Return the format that a record's keys tell: "messages", "alpaca", "hh" or "pairs".

    Raises:
        ValueError: none of them.
    """
    if "messages" in record:
        return "messages"
    if {"instruction", "output"} <= record.keys():
        return "alpaca"
    if {"chosen", "rejected"} <= record.keys():
        return "hh" if "prompt" not in record and _is_hh(record["chosen"]) else "pairs"
    raise ValueError(
        "record: expected the keys messages; instruction and output; or chosen and rejected; "
        f"got {', '.join(map(str, record)) or 'none'}"
    )


def _turn(number: int, message: object) -> TextTurn:
    if not isinstance(message, Mapping):
        raise ValueError(f"message {number}: expected an object with role and content, got {quoted(repr(message))}")
    role, content, thought = message.get("role"), message.get("content"), message.get("reasoning_content")
    if not isinstance(role, str) or role not in PLAYER_OF_ROLE:
        raise ValueError(f"message {number}: expected a role among {', '.join(PLAYER_OF_ROLE)}, got {role!r}")
    if not isinstance(content, str) or not isinstance(thought, str | None):
        got = content if not isinstance(content, str) else thought
        raise ValueError(f"message {number}: expected content and reasoning that are text, got {quoted(repr(got))}")
    player = PLAYER_OF_ROLE[role]
    inline = _THINK.match(content) if thought is None and player == ASSISTANT else None
    if inline:
        return TextTurn(player, content[inline.end() :], inline.group(1).strip())
    return TextTurn(player, content, thought or "")


def _text(record: Record, key: str, default: str | None = None) -> str:
    value = record.get(key)
    if value is None and default is not None:
        return default
    if not isinstance(value, str):
        raise ValueError(f"{key}: expected text, got {quoted(repr(value))}")
    return value


def _is_hh(value: object) -> bool:
    return isinstance(value, str) and value.startswith("\n\nHuman:")


def _turns_of(record: Record, key: str, speaker: int) -> TextDialogue:
    value = record.get(key)
    if isinstance(value, str):
        return parse_hh(value, exact=False) if _is_hh(value) else TextDialogue((TextTurn(speaker, value),))
    try:
        return parse_messages(value)
    except ValueError as error:
        raise ValueError(f"{key}: {error}") from None


def _parted(chosen: TextDialogue, rejected: TextDialogue) -> PreferencePair:
    """Return the longest prompt that two dialogues share and leaves each a reply, with the replies."""
    most = min(len(chosen.turns), len(rejected.turns)) - 1
    shared = next((k for k in range(most) if chosen.turns[k] != rejected.turns[k]), most)
    ends = [merge_turns(TextDialogue(side.turns[shared:])).turns for side in (chosen, rejected)]
    if [len(end) for end in ends] != [1, 1] or ends[0][0].player != ends[1][0].player:
        raise ValueError(
            f"pair: expected both sides to go on with one reply of the same player after {shared} turns in common, "
            f"got replies by {' and '.join(str([turn.player for turn in end]) for end in ends)}"
        )
    return PreferencePair(TextDialogue(chosen.turns[:shared]), ends[0][0], ends[1][0])
