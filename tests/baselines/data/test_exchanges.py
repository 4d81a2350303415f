"""Labelled exchanges: what is written is read, labels are said in several ways, and texts reach a judge as they are."""

from pathlib import Path

import pytest

from duologue.baselines.data.exchanges import (
    CHARACTERS,
    LabelledExchange,
    as_judged,
    parse_exchange,
    read_exchanges,
    write_exchanges,
)
from duologue.envs.vocabulary import Vocabulary

ROWS = [
    LabelledExchange("How do I bake?", "Heat the oven.", unsafe=False, harmful=False),
    LabelledExchange("Na\u00efve \u2603\n?", "", unsafe=True),
]


def test_what_is_written_is_read(tmp_path: Path) -> None:
    """A silent reply, a snowman and a missing label included."""
    assert write_exchanges(tmp_path / "a.jsonl.gz", ROWS) == 2
    assert list(read_exchanges(tmp_path / "a.jsonl.gz")) == ROWS


def test_labels_are_words_numbers_or_truth_values() -> None:
    """As in files of requests; other keys are left alone."""
    for label, unsafe in ((True, True), (0, False), ("Unsafe", True), ("harmless", False)):
        record = {"prompt": "a", "reply": "b", "unsafe": label, "outcome": "x", "harmful": None}
        assert parse_exchange(record) == LabelledExchange("a", "b", unsafe)


@pytest.mark.parametrize(
    ("record", "said"),
    [
        ({"prompt": "a", "reply": "b"}, "expected the keys prompt, reply and unsafe, got prompt, reply"),
        ([1], r"expected the keys prompt, reply and unsafe, got '\[1\]'"),
        ({"prompt": " ", "reply": "b", "unsafe": 1}, "expected texts as prompt and reply"),
        ({"prompt": "a", "reply": 3, "unsafe": 1}, "expected texts as prompt and reply"),
        ({"prompt": "a", "reply": "b", "unsafe": "maybe"}, "unsafe: expected a label among"),
        ({"prompt": "a", "reply": "b", "unsafe": None}, "unsafe: expected a label, got none"),
    ],
)
def test_what_is_no_labelled_exchange_is_refused(record: object, said: str) -> None:
    """With what is missing."""
    with pytest.raises(ValueError, match=said):
        parse_exchange(record)


def test_a_judge_is_handed_the_texts_as_they_are() -> None:
    """No tokenizer stands between; the prompt is its own seed."""
    vocabulary: Vocabulary = CHARACTERS
    for one, handed in zip(ROWS, as_judged(ROWS), strict=True):
        assert (handed.prompt_text, handed.reply_text, handed.harmful_seed) == (one.prompt, one.reply, one.harmful)
        assert handed.vocabulary is vocabulary
        assert handed.seed == handed.prompt
    assert vocabulary.sayable_mask.sum() == vocabulary.size - 1
    view = (
        *vocabulary.begin(0),
        *vocabulary.tell((65,), 0),
        *vocabulary.open_turn(0, 0),
        66,
        *vocabulary.close_turn(0, 0),
    )
    assert vocabulary.decode(view) == "AB\0"
