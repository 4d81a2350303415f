"""Word lists: what they hold, what they refuse, how views are laid out."""

import copy
import pickle
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from duologue.envs import WordVocabulary
from duologue.envs.vocabulary import EOS, GAME, PLAYER_1, SPECIAL_TOKENS

WORDS = st.lists(
    st.text(st.characters(exclude_categories=["Z", "C"]), min_size=1).filter(lambda word: word.split() == [word]),
    min_size=1,
    unique=True,
).filter(lambda words: not set(words) & set(SPECIAL_TOKENS))


@given(words=WORDS, data=st.data())
def test_decoding_inverts_encoding(words: list[str], data: st.DataObject) -> None:
    """For any word list and any text of its words."""
    vocabulary = WordVocabulary(words)
    text = " ".join(data.draw(st.lists(st.sampled_from(words))))
    assert vocabulary.decode(vocabulary.encode(text)) == text
    assert all(vocabulary.sayable_mask[token] for token in vocabulary.encode(text))


def test_special_tokens_come_first_and_cannot_be_said() -> None:
    """Padding is 0, so that an all-zero mask never samples a meaningful token."""
    vocabulary = WordVocabulary("a b")
    assert vocabulary.size == len(SPECIAL_TOKENS) + 2
    assert vocabulary.decode(range(vocabulary.size)) == " ".join((*SPECIAL_TOKENS[1:], "a", "b"))
    assert np.flatnonzero(vocabulary.sayable_mask).tolist() == list(vocabulary.encode("a b"))


def test_layout_of_a_view() -> None:
    """`<game> ... <eos>` for the game's words, `<player_i> ... <eos>` for a turn."""
    vocabulary = WordVocabulary("a b")
    assert vocabulary.tell((8, 9), 0) == (GAME, 8, 9, EOS)
    assert vocabulary.open_turn(1, 0) == (PLAYER_1,)
    assert vocabulary.close_turn(1, 0) == (EOS,)


@pytest.mark.parametrize(
    ("words", "what"),
    [
        ("", "got 0 words"),
        ([], "got 0 words"),
        ("a b a", r"repeated \['a'\]"),
        (["a b"], r"unusable \['a b'\]"),
        (["a", ""], r"unusable \[''\]"),
        ("a <eos>", r"unusable \['<eos>'\]"),
        ("<pad> a", r"unusable \['<pad>'\]"),
    ],
)
def test_word_list_that_cannot_be_one_is_refused(words: str | list[str], what: str) -> None:
    """Empty, repeated, with blanks, or with the name of a special token."""
    with pytest.raises(ValueError, match=f"words: expected at least one word, .*{what}"):
        WordVocabulary(words)


def test_word_file_is_read(tmp_path: Path) -> None:
    """Words separated by any white space, in UTF-8."""
    path = tmp_path / "words.txt"
    path.write_text("Grüße\nfold  bet\n", encoding="utf-8")
    assert WordVocabulary.from_file(path).words == ("Grüße", "fold", "bet")


def test_a_byte_order_mark_is_no_part_of_the_first_word(tmp_path: Path) -> None:
    """Windows Notepad and Excel begin UTF-8 files with one."""
    path = tmp_path / "words.txt"
    path.write_text("yes no", encoding="utf-8-sig")
    assert WordVocabulary.from_file(path).words == ("yes", "no")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "expected a readable UTF-8 text file, got"),
        (b"\xff\xfe", "expected a readable UTF-8 text file, got"),
        (b" \n", "words: expected at least one word"),
        (b"a a", "words: expected at least one word, each once"),
        (b"a <bos>", "unusable"),
    ],
)
def test_unusable_word_file_is_named(tmp_path: Path, content: bytes | None, message: str) -> None:
    """Missing, not text, empty, or no word list."""
    path = tmp_path / "words.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"word list .*words\.txt: .*{message}"):
        WordVocabulary.from_file(path)


def test_folder_is_no_word_file(tmp_path: Path) -> None:
    """As unreadable as a missing file."""
    with pytest.raises(ValueError, match="expected a readable UTF-8 text file"):
        WordVocabulary.from_file(tmp_path)


def test_unknown_word_is_named() -> None:
    """The text may be long; the word is what one looks for."""
    with pytest.raises(ValueError, match="text: expected words of the vocabulary, got 'raise'"):
        WordVocabulary("fold bet").encode("fold raise bet")


def test_nobody_can_change_what_may_be_said() -> None:
    """An agent that wrote into the mask would change the rules of all later episodes, in this process or another."""
    vocabulary = WordVocabulary("fold bet")
    assert vocabulary.sayable_mask is vocabulary.sayable_mask
    for one in (vocabulary, copy.copy(vocabulary), copy.deepcopy(vocabulary), pickle.loads(pickle.dumps(vocabulary))):
        with pytest.raises(ValueError, match="read-only"):
            one.sayable_mask[0] = 1
        assert np.flatnonzero(one.sayable_mask).tolist() == [8, 9]


@pytest.mark.parametrize("token", [-1, -100, 10])
def test_an_id_that_is_no_tokens_is_not_decoded(token: int) -> None:
    """Python would take -1 for the last word."""
    with pytest.raises(ValueError, match=f"tokens: expected ids from 0 to 9, got {token}"):
        WordVocabulary("fold bet").decode((8, token))


def test_a_long_list_with_a_repeated_word_is_refused_at_once() -> None:
    """Counting each word by itself would take 10^10 steps here."""
    started = time.process_time()
    with pytest.raises(ValueError, match=r"got 100001 words, repeated \['w5'\]"):
        WordVocabulary([*(f"w{number}" for number in range(100_000)), "w5"])
    assert time.process_time() - started < 5
