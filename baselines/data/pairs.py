"""Records of preferences as preference pairs, and back: each turn once, in whatever form a record says it.

The forms: hh-rlhf pairs of transcripts (arXiv 2204.05862), and a prompt beside `chosen` and `rejected` (TRL), each of
them text, a transcript, or messages. Public sets write the prompt's last words as the mark of the reply that follows
("Assistant:", "### Response:"), or say the prompt again in the replies, whole or in part, with a system message or
without: what is said twice is read once, and what cannot be told apart is refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise

from ...envs.text_files import listed
from ..training.files import Json
from .dialogues import ASSISTANT, USER, PreferencePair, TextDialogue, TextTurn, merge_turns, quoted
from .documents import Markers, parse_text, to_hh
from .messages import CONVERSATIONS, Record, is_hh, parse_hh_record, parse_messages, to_messages, with_system

PROMPTS = ("prompt", "question", "instruction", "query", "input")
"""The keys under which records hold a prompt; an input follows an instruction, as in Alpaca's."""
ECHOED_WORDS = 3
"""From how many words on a text with which both replies begin is the prompt, and no greeting that both return."""

_REPLY_MARK = re.compile(
    r"(?:(?:\A|\s|(?=#))(?:### ?)?assistant|(?:\A|[\r\n])[ \t]*(?:### ?response|response|answer|a))[ \t]*:\s*\Z",
    re.IGNORECASE,
)
_ASKED_MARK = re.compile(r"\A\s*(?:### ?)?(?:human|user|instruction|question|q)[ \t]*:\s*", re.IGNORECASE)
_OPENING_REPLY_MARK = re.compile(r"\A\s*(?:(?:### ?)?assistant|### ?response)[ \t]*:\s*", re.IGNORECASE)
_REPLY_WITHIN = re.compile(r"(?:\A|\s|(?=#))(?:### ?)?(?:Assistant|ASSISTANT)[ \t]*:\s")
_TEMPLATE_END = re.compile(
    r"(?:<\|im_start\|>\s*assistant|<\|assistant\|>|<start_of_turn>\s*model|\[/INST\]|<[|\uff5c]Assistant[|\uff5c]>"
    r"|<\|start_header_id\|>\s*assistant\s*<\|end_header_id\|>)\s*(?:<think>\s*)?\Z"
)
_OPENING = re.compile(r"\s*(?:Human|User|USER|Assistant|ASSISTANT):(?=\s)")
_ASKER = re.compile(r"(?:\A\s*|[\r\n][ \t]*)(Human|User|USER):(?=\s)")
_SYSTEM_MARK = re.compile(r"\A(?:### ?)?system[ \t]*:\s*", re.IGNORECASE)
_LINE_BREAKS = re.compile(r"\r\n?")

Turns = tuple[TextTurn, ...]


def parse_pair(record: Record) -> PreferencePair:
    """Return a record with `chosen` and `rejected`, with or without a `prompt`, as a preference pair.

    Each may be text or messages. Prompt texts and replies without marks are a turn of the user's and of the
    assistant's; a text that opens with "Human:" is a transcript. Replies that repeat the prompt, or have no prompt
    beside them, are parted where they differ. A `system` text opens the dialogue.

    Raises:
        ValueError: a part is neither text nor messages, there is no prompt, the prompt is empty, ends within a reply or
            in a chat template's tokens, or the replies belong to different prompts.
    """
    if not {"chosen", "rejected"} <= record.keys():
        raise ValueError(f"record: expected the keys chosen and rejected, got {listed(record)}")
    prompt = _prompt_of(record)
    if prompt is None and is_hh(record.get("chosen")):
        return parse_hh_pair(record)
    replies = [record.get(which) for which in ("chosen", "rejected")]
    texts = [reply for reply in replies if isinstance(reply, str) and not _is_transcript(reply)]
    if isinstance(prompt, str) and len(texts) == len(replies):
        replies = list(_after_prompt(prompt, texts))
    chosen, rejected = _reply_turns("chosen", replies[0]), _reply_turns("rejected", replies[1])
    pair = parted(TextDialogue(chosen), TextDialogue(rejected))
    shared = pair.prompt.turns
    if prompt is None and not shared:
        prompt = next((record[key] for key in CONVERSATIONS if record.get(key)), None)
        if prompt is None:
            raise ValueError(f"prompt: expected one, or replies that repeat it, got the keys {listed(record)}")
    joined = with_system(record, TextDialogue(_joined(_prompt_turns(prompt), shared)))
    return PreferencePair(joined, pair.chosen, pair.rejected)


def parse_hh_pair(record: Record) -> PreferencePair:
    """Return a pair of transcripts as the turns that they share and the two replies that follow.

    Where one side goes on for several turns of one speaker, `merge_turns` makes them one reply (5 of the 2312 pairs
    of the harmless test set).

    Raises:
        ValueError: the transcripts do not part at one reply of the same player.
    """
    return parted(parse_hh_record(record, "chosen"), parse_hh_record(record, "rejected"))


def to_pair(pair: PreferencePair) -> dict[str, Json]:
    """Return a preference pair as TRL's conversational `prompt`, `chosen` and `rejected`; `parse_pair` reads it."""
    chosen, rejected = (to_messages(TextDialogue((reply,))) for reply in (pair.chosen, pair.rejected))
    return {"prompt": to_messages(pair.prompt), "chosen": chosen, "rejected": rejected}


def to_hh_pair(pair: PreferencePair) -> dict[str, Json]:
    """Return a preference pair as two transcripts; `parse_hh_pair` reads it."""
    chosen, rejected = (to_hh(dialogue) for dialogue in pair.dialogues)
    return {"chosen": chosen, "rejected": rejected}


def parted(chosen: TextDialogue, rejected: TextDialogue) -> PreferencePair:
    """Return the longest prompt that two dialogues share and leaves each a reply, with the replies."""
    most = min(len(chosen.turns), len(rejected.turns)) - 1
    pairs = zip(_keys(chosen.turns[:most]), _keys(rejected.turns[:most]), strict=True)
    shared = next((k for k, (one, other) in enumerate(pairs) if one != other), most)
    ends = [merge_turns(TextDialogue(side.turns[shared:])).turns for side in (chosen, rejected)]
    if [len(end) for end in ends] != [1, 1] or ends[0][0].player != ends[1][0].player:
        raise ValueError(
            f"pair: expected both sides to go on with one reply of the same player after {shared} turns in common, "
            f"got replies by {' and '.join(str([turn.player for turn in end]) for end in ends)}"
        )
    return PreferencePair(TextDialogue(chosen.turns[:shared]), ends[0][0], ends[1][0])


def _prompt_of(record: Record) -> object:
    """Return what a record asks; None if it has no key for it, and something empty where that is empty."""
    given = [key for key in PROMPTS if record.get(key) is not None]
    found = [key for key in given if record[key] not in ("", [], ())] or given
    if found[:1] == ["instruction"] and "input" in found and record["input"]:
        asked, more = record["instruction"], record["input"]
        if not (isinstance(asked, str) and isinstance(more, str)):
            raise ValueError(f"instruction, input: expected texts, got {quoted(repr((asked, more)))}")
        return f"{asked}\n\n{more}"
    return record[found[0]] if found else None


def _prompt_turns(prompt: object) -> Turns:
    """Return the turns of a prompt, without the mark of the reply that follows; none of an empty one."""
    if prompt is None or prompt in ([], ()) or (isinstance(prompt, str) and not prompt.strip()):
        return ()
    if not isinstance(prompt, str):
        return _messages("prompt", prompt)
    if _TEMPLATE_END.search(prompt):
        raise ValueError(f"prompt: expected text or messages, got a chat template's tokens: {quoted(prompt[-40:])}")
    asker = _ASKER.search(prompt) if _REPLY_MARK.search(prompt) and not _OPENING.match(prompt) else None
    told = _SYSTEM_MARK.sub("", prompt[: asker.start()].strip()) if asker else ""
    turns = _transcript(prompt[asker.start() :] if asker else prompt)
    if turns is None:
        return (TextTurn(USER, _asked(prompt)),)
    turns = (TextTurn(None, told), *turns) if told else turns
    if turns[-1].player == ASSISTANT and not turns[-1].text.strip():
        turns = turns[:-1]
    if not turns or turns[-1].player != USER:
        raise ValueError(
            f"prompt: expected a transcript that ends before the reply, got the end {quoted(prompt[-40:])}"
        )
    return turns


def _asked(prompt: str) -> str:
    """Return a prompt without the marks around it, if it ends in that of a reply."""
    mark = _REPLY_MARK.search(prompt)
    if mark is None:
        return prompt
    asked = _ASKED_MARK.sub("", prompt[: mark.start()]).rstrip()
    if not asked.strip() or _REPLY_WITHIN.search(asked):
        what = "several turns" if asked.strip() else "no words"
        raise ValueError(f"prompt: expected one turn and the reply's mark, or a transcript, got {what}")
    return asked


def _after_prompt(prompt: str, replies: Sequence[str]) -> Sequence[str]:
    """Return replies without the prompt, where both repeat it, and without the marks at its end or their beginning."""
    mark = _REPLY_MARK.search(prompt)
    for begin in (prompt, prompt[: mark.start()] if mark else ""):
        rests = [rest for reply in replies if (rest := _rest(begin, reply)) is not None]
        if len(rests) == len(replies):
            if not any(rests):
                raise ValueError(f"chosen, rejected: expected replies, got the prompt alone: {quoted(prompt)}")
            return rests
    if all(_OPENING_REPLY_MARK.match(reply) for reply in replies):
        return [_OPENING_REPLY_MARK.sub("", reply) for reply in replies]
    return [reply.removeprefix(" ") for reply in replies] if mark and not prompt[-1:].isspace() else replies


def _rest(begin: str, reply: str) -> str | None:
    """Return what follows in a reply that begins as a prompt does; None if it is no repetition."""
    said, text = _LINE_BREAKS.sub("\n", begin).strip(), _LINE_BREAKS.sub("\n", reply).lstrip()
    rest = text.removeprefix(said)
    if not said or not text.startswith(said) or (said[-1:].isalnum() and rest[:1].isalnum()):
        return None
    sure = len(said.split()) >= ECHOED_WORDS or rest[:1] == "\n" or _REPLY_MARK.search(said)
    return _OPENING_REPLY_MARK.sub("", rest).lstrip() if sure else None


def _reply_turns(which: str, reply: object) -> Turns:
    """Return the turns of a side: of messages, of one message, of a transcript, or a text of the assistant's."""
    if isinstance(reply, str):
        turns = _transcript(reply) if _is_transcript(reply) else None
        return turns or (TextTurn(ASSISTANT, reply),)
    return _messages(which, reply)


def _is_transcript(reply: str) -> bool:
    """Say whether a reply is a transcript of hh-rlhf, line breaks at its beginning or not."""
    if is_hh(reply):
        return True
    turns = _transcript(reply) if reply.lstrip().startswith(("Human:", "Assistant:")) else None
    return turns is not None and {turn.player for turn in turns} == {USER, ASSISTANT}


def _messages(key: str, value: object) -> Turns:
    try:
        return parse_messages([value] if isinstance(value, Mapping) else value).turns
    except ValueError as error:
        raise ValueError(f"{key}: {error}") from None


def _transcript(text: str) -> Turns | None:
    """Return the turns of a text that opens with "Human:", "User:" or "Assistant:"; None if it is no transcript."""
    found = _ASKER.search(text)
    if found is None or not _OPENING.match(text):
        return None
    asker, line_break, best = found.group(1), "\r\n" if "\r\n" in text else "\n", None
    marks = ((f"{asker}:", USER), ("ASSISTANT:" if asker == "USER" else "Assistant:", ASSISTANT))
    for separator in (line_break * 2, line_break):
        markers = Markers(marks, separator, leading=True)
        turns = _stripped(parse_text(separator + text.lstrip(), markers, exact=False).turns, separator == line_break)
        if len({turn.player for turn in turns}) > 1:
            if all(a.player != b.player for a, b in pairwise(turns)):
                return turns
            best = best or turns
    return best or ((TextTurn(USER, text[found.end() :].removeprefix(" ")),) if asker == "Human" else None)


def _stripped(turns: Turns, line_breaks: bool) -> Turns:
    return tuple(TextTurn(turn.player, turn.text.rstrip("\r\n")) for turn in turns) if line_breaks else turns


def _joined(before: Turns, shared: Turns) -> Turns:
    """Return the prompt of a pair whose replies share some turns, each turn once."""
    ours, theirs = _keys(before), _keys(shared)
    if not shared or ours[-len(shared) :] == theirs:
        return before
    if any(theirs[k : k + len(ours)] == ours for k in range(len(theirs) - len(ours) + 1)):
        return shared
    last = next((turn.player for turn in reversed(before) if turn.player is not None), None)
    first = next((turn.player for turn in shared if turn.player is not None), None)
    if first is not None and first == last:
        raise ValueError(
            "prompt: expected replies that repeat it or go on after it, got it before "
            f"{quoted(next(turn.text for turn in shared if turn.player == first))}, said by the same player"
        )
    return (*before, *shared)


def _keys(turns: Turns) -> list[tuple[int | None, str, str]]:
    """Return what makes two turns the same: all but blanks and line breaks."""
    return [(turn.player, " ".join(turn.text.split()), turn.thought) for turn in turns]
