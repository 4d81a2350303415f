import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu

from duologue.baselines.functional.diversity import (
    BleuHistory,
    bleu,
    distinct_n,
    embedding_diversity,
    mean_cosine_to_history,
    nearest_neighbour_novelty,
    self_bleu,
    self_bleu_to_history,
    vendi_score,
)

ORDERS = (2, 3, 4, 5)
SENTENCES = st.lists(st.lists(st.integers(1, 4), max_size=9), max_size=5)
"""Few tokens, so that n-grams repeat; empty sentences too."""


def random_sentences(count: int, *, seed: int, vocabulary: int = 200) -> list[list[int]]:
    """Return sentences of 13 to 17 tokens of which some are far more frequent than others."""
    rng = np.random.default_rng(seed)
    odds = 1 / np.arange(1, vocabulary + 1)
    return [rng.choice(vocabulary, size=rng.integers(13, 18), p=odds / odds.sum()).tolist() for _ in range(count)]


def test_bleu_of_four_words_by_hand() -> None:
    """Origin: "a b c d" against "a b c e" has p_1..p_5 = 3/4, 2/3, 1/2, .1/1, .1/1."""
    hypothesis, reference = list("abcd"), list("abce")
    values = [bleu(hypothesis, reference, max_n=n) for n in ORDERS]
    assert values == pytest.approx([0.7071, 0.6300, 0.3976, 0.3017], abs=5e-5)
    assert self_bleu_to_history([hypothesis], [reference])[0] == pytest.approx(0.5091, abs=5e-5)


def test_a_repeat_of_four_words_scores_1_only_if_orders_are_capped() -> None:
    """BLEU_5 of a 4-word text against itself is .1 ** .2 = .631, as in NLTK."""
    text = ["a", "b", "c", "d"]
    assert bleu(text, text, max_n=5) == pytest.approx(0.631, abs=5e-4)
    assert self_bleu_to_history([text], [text])[0] == pytest.approx((3 + 0.1**0.2) / 4)
    assert self_bleu_to_history([text], [text], cap_order=True)[0] == pytest.approx(1)


def test_brevity_and_no_match_by_hand() -> None:
    """BP is exp(1 - 4/2) for 2 words against 4; no common unigram scores 0 in spite of the smoothing."""
    assert bleu([1, 2], [1, 2, 3, 4], max_n=2) == pytest.approx(math.exp(-1))
    assert bleu([1, 2, 3, 4], [1, 2], max_n=1) == pytest.approx(1 / 2)
    assert bleu([5, 6], [1, 2], max_n=2) == 0
    assert bleu([], [1, 2], max_n=2) == 0


@given(hypothesis=st.lists(st.integers(1, 5), min_size=1, max_size=12), seed=st.integers(0, 1000))
def test_bleu_equals_nltk(hypothesis: list[int], seed: int) -> None:
    """An independent implementation: sentence_bleu with smoothing method 1 and equal weights."""
    rng = np.random.default_rng(seed)
    reference = rng.integers(1, 6, size=rng.integers(1, 13)).tolist()
    for n in ORDERS:
        expected = sentence_bleu([reference], hypothesis, (1 / n,) * n, SmoothingFunction().method1)
        assert bleu(hypothesis, reference, max_n=n) == pytest.approx(expected, abs=1e-9)


@given(sentences=SENTENCES, history=SENTENCES, window=st.integers(1, 6))
def test_incremental_self_bleu_equals_the_direct_mean(
    sentences: list[list[int]], history: list[list[int]], window: int
) -> None:
    """The definition: a mean over references in the window and over n; and 0 without a history."""
    incremental = BleuHistory(window)
    for sentence in history:
        incremental.append([sentence])
    kept = history[-window:]
    direct = [np.mean([bleu(h, g, max_n=n) for g in kept for n in ORDERS]) if kept else 0 for h in sentences]
    assert incremental.scores(sentences) == pytest.approx(np.array(direct), abs=1e-12)
    assert self_bleu_to_history(sentences, kept) == pytest.approx(np.array(direct), abs=1e-12)


def test_a_resumed_history_scores_the_same() -> None:
    """The state survives JSON, and numbering keys anew after the window has moved on changes nothing."""
    history, resumed = BleuHistory(20), BleuHistory(20)
    for seed in range(30):
        history.append(random_sentences(10, seed=seed))
    resumed.load_state_dict(json.loads(json.dumps(history.state_dict())))
    new = random_sentences(8, seed=99)
    assert len(history) == len(resumed) == 20
    assert np.array_equal(history.scores(new), resumed.scores(new))


@pytest.mark.parametrize("window", [None, 120])
def test_a_history_that_grows_by_single_sentences_is_that_of_all_of_them(window: int | None) -> None:
    """Matrices of old sentences are kept while new ones come and the oldest leave: equal to a history made at once."""
    growing, sentences, new = BleuHistory(window), random_sentences(220, seed=5), random_sentences(3, seed=6)
    growing.append(sentences[:200])
    for number in range(200, 220):
        growing.append([sentences[number]])
        at_once = BleuHistory(window)
        at_once.append(sentences[: number + 1])
        assert np.array_equal(growing.scores(new), at_once.scores(new))
    assert len(growing) == (window or 220)


def test_scores_do_not_change_the_history() -> None:
    """Score first, append afterwards: the sentences of one batch are not compared with each other."""
    history = BleuHistory()
    assert history.scores([[1, 2, 3], [1, 2, 3]]).tolist() == [0, 0]
    assert len(history) == 0


@given(sentences=st.lists(st.lists(st.integers(1, 4), max_size=7), min_size=2, max_size=5))
def test_self_bleu_of_a_set_leaves_self_matches_out(sentences: list[list[int]]) -> None:
    """The mean over ordered pairs i != j; equal sentences at different places are pairs."""
    pairs = [(h, g) for i, h in enumerate(sentences) for j, g in enumerate(sentences) if i != j]
    expected = np.mean([bleu(h, g, max_n=n) for h, g in pairs for n in ORDERS])
    assert self_bleu(sentences) == pytest.approx(float(expected), abs=1e-12)


def test_a_string_is_not_taken_for_a_list_of_words() -> None:
    """It would be scored letter by letter."""
    with pytest.raises(TypeError, match=r"sentences|Sentence|str"):
        BleuHistory().append(["tell me"])


def test_distinct_n_by_hand() -> None:
    """By hand: a b a b has the bigrams ab, ba, ab: 2 of 3 are distinct."""
    assert distinct_n([["a", "b", "a", "b"]], n=2) == pytest.approx(2 / 3)
    assert distinct_n([["a"]], n=2) == 0


def test_cosines_to_the_history_by_hand() -> None:
    """Against (1, 0), (0, 1), (-1, 0) the vector (1, 0) has cosines 1, 0, -1."""
    embeddings, history = np.array([[1.0, 0.0]]), np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
    assert mean_cosine_to_history(embeddings, history) == pytest.approx(0)
    assert nearest_neighbour_novelty(embeddings, history, num_neighbors=2) == pytest.approx(-0.5)
    assert nearest_neighbour_novelty(embeddings, history) == pytest.approx(0)
    assert mean_cosine_to_history(embeddings, np.empty((0, 2))).tolist() == [0]
    assert nearest_neighbour_novelty(embeddings, np.empty((0, 2))).tolist() == [0]


def test_orthogonal_rows_are_all_diverse_and_copies_not_at_all() -> None:
    """Vendi (2210.02410): n orthogonal items count n, n copies 1; mean cosines are 0 and 1."""
    orthogonal, copies = np.eye(5), np.ones((5, 4)) / 2
    assert vendi_score(orthogonal) == pytest.approx(5)
    assert vendi_score(copies) == pytest.approx(1)
    assert embedding_diversity(orthogonal) == pytest.approx(1)
    assert embedding_diversity(copies) == pytest.approx(0, abs=1e-12)


def test_rows_that_are_not_unit_are_refused() -> None:
    """Inner products would not be cosines."""
    with pytest.raises(ValueError, match="length 1"):
        embedding_diversity(np.array([[2.0, 0.0], [0.0, 1.0]]))
