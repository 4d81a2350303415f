"""Preference pairs: each turn once, in whatever form a public set says it; or refused."""

import contextlib
import gzip
import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from duologue.baselines.data import parse_hh_pair, parse_pair, read_pairs, to_hh, to_hh_pair, to_messages, to_pair
from duologue.baselines.data.pairs import PROMPTS
from duologue.tests.helpers import shared_data

Record = dict[str, Any]
ASKED = "Is it far?"
HH = f"\n\nHuman: {ASKED}\n\nAssistant:"
SYSTEM = {"role": "system", "content": "Be brief."}
Turns = list[tuple[int | None, str]]
PLAIN: Turns = [(0, ASKED)]
TOLD: Turns = [(None, "Be brief."), (0, ASKED)]
LATER: Turns = [(0, "Hi"), (1, "Hello"), (0, ASKED)]


def user(text: str) -> Record:
    """Return a message of the user's."""
    return {"role": "user", "content": text}


def assistant(text: str) -> Record:
    """Return a message of the assistant's."""
    return {"role": "assistant", "content": text}


def answers(prompt: object, before: str | list[Record] = "") -> Record:
    """Return a record whose replies are Yes. and No., after what they repeat."""
    yes, no = (
        before + text if isinstance(before, str) else [*before, assistant(text.strip())] for text in (" Yes.", " No.")
    )
    return {"prompt": prompt, "chosen": yes, "rejected": no}


def marked(prompt: str) -> Record:
    """Return a record of texts without blanks before the replies."""
    return {"prompt": prompt, "chosen": "Yes.", "rejected": "No."}


def read(record: Record) -> Turns:
    """Return the turns of a record's prompt, stripped, having checked the replies."""
    (pair,) = read_pairs([record])
    assert (pair.chosen.player, pair.chosen.text, pair.rejected.text) == (1, "Yes.", "No.")
    assert parse_pair(to_pair(pair)) == pair
    return [(turn.player, turn.text.strip()) for turn in pair.prompt.turns]


MARKS = {
    "transcript": HH,
    "a blank after": f"{HH} ",
    "a line break after": f"{HH}\n",
    "no line breaks before": HH.strip(),
    "one line break": f"Human: {ASKED}\nAssistant:",
    "carriage returns": HH.replace("\n", "\r\n"),
    "user": f"User: {ASKED}\n\nAssistant:",
    "one line": f"USER: {ASKED} ASSISTANT:",
    "no mark of the user's": f"{ASKED}\n\nAssistant:",
    "on the same line": f"{ASKED} Assistant: ",
    "small letters": f"user: {ASKED}\nassistant:",
    "alpaca": f"### Instruction:\n{ASKED}\n\n### Response:",
    "alpaca, a line break after": f"### Instruction:\n{ASKED}\n\n### Response:\n",
    "hashes": f"### Human: {ASKED}### Assistant:",
    "question": f"Question: {ASKED}\nAnswer:",
}


@pytest.mark.parametrize("name", MARKS)
def test_the_mark_of_the_reply_is_no_turn(name: str) -> None:
    """At the prompt's end, whatever it is and whatever is around it; and with the prompt said again in the replies."""
    assert read(marked(MARKS[name])) == PLAIN
    assert read(answers(MARKS[name].rstrip())) == PLAIN
    assert read(answers(MARKS[name].rstrip(), MARKS[name].rstrip())) == PLAIN


REPEATED: dict[str, tuple[Record, Turns]] = {
    "text": (answers(ASKED, ASKED), PLAIN),
    "text and a line": (answers(f"{ASKED}\r\n", f"{ASKED}\n"), PLAIN),
    "text and a mark": (answers(ASKED, f"{ASKED}\n\nAssistant:"), PLAIN),
    "a transcript": (answers(ASKED, HH), PLAIN),
    "a mark": (answers(ASKED, "\n\nAssistant:"), PLAIN),
    "messages": (answers(ASKED, [user(ASKED)]), PLAIN),
    "messages, blanks": (answers(f"{ASKED} \r\n", [user(ASKED)]), PLAIN),
    "messages twice": (answers([user(ASKED)], [user(f"{ASKED}\n")]), PLAIN),
    "a system message in the replies": (answers(ASKED, [SYSTEM, user(ASKED)]), TOLD),
    "a system message in the prompt": (answers([SYSTEM, user(ASKED)], [user(ASKED)]), TOLD),
    "a system message alone": (answers([SYSTEM], [user(ASKED)]), TOLD),
    "a system message in both": (answers([SYSTEM, user(ASKED)], [SYSTEM, user(ASKED)]), TOLD),
    "the last of several": (answers(ASKED, [user("Hi"), assistant("Hello"), user(ASKED)]), LATER),
    "the first of several": (answers("Hi", [user("Hi"), assistant("Hello"), user(ASKED)]), LATER),
    "what goes on": (answers("Hi", [assistant("Hello"), user(ASKED)]), LATER),
    "all in messages": (answers([], [user(ASKED)]), PLAIN),
}


@pytest.mark.parametrize("name", REPEATED)
def test_what_prompt_and_replies_both_say_is_read_once(name: str) -> None:
    """As text and as messages, with a system message on either side."""
    record, expected = REPEATED[name]
    assert read(record) == expected


@pytest.mark.parametrize("key", PROMPTS)
def test_the_keys_of_public_sets_are_prompts(key: str) -> None:
    """Such as Orca's pairs, with a system text beside the question; LLaMA-Factory's have an input as well."""
    assert read({**marked(""), key: ASKED, "system": "Be brief."}) == TOLD
    record = {key: ASKED, "chosen": [assistant("Yes.")], "rejected": assistant("No."), "system": ""}
    assert read(record) == PLAIN
    assert read({"instruction": "Add.", "input": "2 2", "chosen": "Yes.", "rejected": "No."}) == [(0, "Add.\n\n2 2")]


def test_other_layouts_of_public_sets() -> None:
    """ShareGPT's roles, content in parts, transcripts whole, with words before them, or begun by the assistant."""
    sides = {"chosen": {"from": "gpt", "value": "Yes."}, "rejected": {"from": "gpt", "value": "No."}}
    assert read({"conversations": [{"from": "human", "value": ASKED}], **sides}) == PLAIN
    assert read({"messages": [user(ASKED)], "chosen": assistant("Yes."), "rejected": assistant("No.")}) == PLAIN
    parts = [{"type": "text", "text": "Is it "}, {"type": "text", "text": "far?"}]
    assert read(answers([{"role": "user", "content": parts}]) | {"chosen": "Yes.", "rejected": "No."}) == PLAIN
    for whole in (HH, HH.strip(), HH.replace("\n", "\r\n")):
        assert read({"chosen": f"{whole} Yes.", "rejected": f"{whole} No."}) == PLAIN
    for told in ("Be brief.", "System: Be brief.", "### System:\nBe brief."):
        assert read(answers(told + HH)) == TOLD
    opened = f"\n\nAssistant: Hello{HH}"
    assert read({"chosen": f"{opened} Yes.", "rejected": f"{opened} No."}) == [(1, "Hello"), (0, ASKED)]
    assert read(answers(f"Human: Hi\nAssistant: Hello\n\nHuman: {ASKED}\n\nAssistant:")) == LATER


def test_replies_stay_as_they_are_where_nothing_is_said_twice() -> None:
    """A greeting that is returned, an answer that is named so, a dialogue that was asked for, an empty reply."""
    kept = [
        ("Hi", "Hi there!", "Hi. What?"),
        ("Go", "Going.", "Gone."),
        (ASKED, "Answer: yes", "Answer: no"),
        (ASKED, f"{ASKED} Yes.", "No."),
        ("Write a dialogue.", "User: Hi\nAssistant: Hello", "User: Hi\nAssistant: No"),
        (ASKED, " Yes.", "\n No."),
        (ASKED, "", "No."),
        (ASKED, "Yes.", "Yes."),
    ]
    for prompt, chosen, rejected in kept:
        pair = parse_pair({"prompt": prompt, "chosen": chosen, "rejected": rejected})
        assert ([turn.text for turn in pair.prompt.turns], pair.chosen.text) == ([prompt], chosen)
        assert pair.rejected.text == rejected


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (answers(5), "prompt: messages: expected a list"),
        (answers(0), "prompt: messages: expected a list"),
        (answers(False), "prompt: messages: expected a list"),
        (answers({"text": ASKED}), "prompt: message 0: expected a role"),
        ({"prompt": ASKED, "chosen": None, "rejected": "No."}, "chosen: messages: expected a list"),
        ({"prompt": ASKED, "chosen": "Yes.", "rejected": 2}, "rejected: messages: expected a list"),
        ({"prompt": ASKED, "chosen": ["Yes."], "rejected": ["No."]}, "chosen: message 0: expected an object"),
        ({"chosen": "Yes.", "rejected": "No."}, "prompt: expected one, or replies that repeat it, got the keys chosen"),
        ({"chosen": [assistant("a")], "rejected": [assistant("b")]}, "prompt: expected one"),
        ({"prompt": ASKED, "chosen": ASKED, "rejected": ASKED}, "expected replies, got the prompt alone"),
        (answers("Assistant:"), "prompt: expected one turn and the reply's mark, or a transcript, got no words"),
        (answers("USER: Hi ASSISTANT: Hello USER: Go ASSISTANT:"), "prompt: expected one turn .* got several turns"),
        (answers(f"{HH} Well,"), "prompt: expected a transcript that ends before the reply"),
        (answers("Else?", [user(ASKED)]), "prompt: expected replies that repeat it or go on after it"),
        (
            answers([SYSTEM, user(ASKED)], [{"role": "system", "content": "Be."}, user(ASKED)]),
            "prompt: expected replies",
        ),
        (answers("<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"), "got a chat template's tokens"),
        (answers("<s>[INST] Hi [/INST]"), "got a chat template's tokens"),
        (answers("<start_of_turn>user\nHi<end_of_turn>\n<start_of_turn>model\n"), "got a chat template's tokens"),
        (
            {"chosen": [user("a"), user("b")], "rejected": [user("a"), user("c")]},
            "pair: expected replies of the",
        ),
        ({"prompt": ASKED, "chosen": [user(ASKED)], "rejected": [user(ASKED)]}, "pair: expected replies of the"),
        (
            {"prompt": ASKED, "answers": ["Yes.", "No."]},
            "record: expected the keys chosen and rejected, got prompt",
        ),
        ({"prompt": ASKED, "response_1": "Yes.", "response_2": "No."}, "record: expected the keys chosen and rejected"),
        ({"history": ASKED, "human_ref_A": "a", "human_ref_B": "b"}, "record: expected the keys chosen and rejected"),
        ({"instruction": "Add.", "input": [2], "chosen": "a", "rejected": "b"}, "instruction, input: expected texts"),
        ({**marked(ASKED), "system": 5}, "system: expected text, got '5'"),
        ({k: "x" for k in map(str, range(99))}, "got 0, 1, 2, 3, 4, 5, 6, 7, and 91 more"),
    ],
)
def test_what_cannot_be_read_right_is_refused(record: Record, message: str) -> None:
    """The error says which record, what was expected, and what came."""
    with pytest.raises(ValueError, match=rf"^record 1: {message}|^record 1: .*{message}") as caught:
        next(read_pairs([record]))
    assert "\n" not in str(caught.value)


WORDS = st.sampled_from(["Is it far?", "Tell me more.", "What is 2 + 2?", "Go on, please.", "Why so?"])


@given(turns=st.lists(WORDS, min_size=1, max_size=5), replies=st.lists(st.sampled_from(["Yes.", "No."]), min_size=2))
def test_every_form_of_a_pair_is_the_same_pair(turns: list[str], replies: list[str]) -> None:
    """Transcripts, messages with and without the prompt in them, and a prompt that ends in the mark."""
    turns = turns[: len(turns) - (len(turns) + 1) % 2]  # the user has the last of them
    said = [(user if k % 2 == 0 else assistant)(text) for k, text in enumerate(turns)]
    ends = [assistant(text) for text in replies[:2]]
    pair = parse_pair({"prompt": said, "chosen": [ends[0]], "rejected": [ends[1]]})
    whole = {"chosen": [*said, ends[0]], "rejected": [*said, ends[1]]}
    transcript = "".join(f"\n\n{('Human', 'Assistant')[k % 2]}: {text}" for k, text in enumerate(turns))
    texts = {"chosen": f" {replies[0]}", "rejected": f" {replies[1]}"}
    forms: list[Record] = [
        whole,
        {"prompt": said, **whole},
        {"prompt": turns[-1], **whole},
        {"prompt": said[-1:], **whole},
        to_hh_pair(pair),
        {"prompt": transcript, **to_hh_pair(pair)},
        {"prompt": f"{transcript}\n\nAssistant:", **texts},
        {"prompt": f"{transcript}\n\nAssistant:", **to_hh_pair(pair)},
    ]
    assert [parse_pair(form) for form in forms] == [pair] * len(forms)


def test_no_form_takes_long() -> None:
    """Of a hundred thousand line breaks, marks, or turns that are the same."""
    started = time.process_time()
    for prompt in ("\n" * 100_000, "Human:\n" * 20_000, "\n Assistant: " * 20_000, "a" + " \n" * 50_000 + "Assistant:"):
        for record in (answers(prompt, prompt), marked(prompt), marked(f"a{prompt}Assistant:")):
            with contextlib.suppress(ValueError):
                parse_pair(record)
    same = [user("a")] * 5_000
    with pytest.raises(ValueError, match="said by the same player"):
        parse_pair(answers([*same[:2_500], assistant("b"), user("a")], same))
    assert time.process_time() - started < 10


def test_every_form_of_the_real_pairs_is_the_same_pair() -> None:
    """2312 pairs of hh-rlhf: texts with blank lines, marks within them, and replies in several turns."""
    data = gzip.decompress(shared_data("hh_rlhf_harmless_base_test.jsonl.gz").read_bytes()).decode()
    for record in data.rstrip("\n").split("\n"):
        whole = json.loads(record)
        pair = parse_hh_pair(whole)
        asked, last = to_hh(pair.prompt), pair.prompt.turns[-1].text
        chosen, rejected = pair.chosen.text, pair.rejected.text
        forms: list[Record] = [
            {"prompt": f"{asked}\n\nAssistant:", "chosen": f" {chosen}", "rejected": f" {rejected}"},
            {"prompt": f"{asked}\n\nAssistant: ", "chosen": chosen, "rejected": rejected},
            {"prompt": asked, "chosen": chosen, "rejected": rejected},
            {"prompt": f"{asked}\n\nAssistant:", **whole},
            {"prompt": last, **whole},
            {"prompt": last, **dict(zip(whole, map(to_messages, pair.dialogues), strict=True))},
        ]
        assert [parse_pair(form) for form in forms] == [pair] * len(forms)
