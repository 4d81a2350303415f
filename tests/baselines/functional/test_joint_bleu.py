import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu

from duologue.baselines.functional.diversity import BleuHistory, self_bleu, self_bleu_to_history
from duologue.baselines.functional.joint_bleu import JointBleuHistory, joint_self_bleu

ORDERS = (2, 3, 4, 5)
SENTENCES = st.lists(st.lists(st.integers(1, 4), min_size=1, max_size=9), min_size=2, max_size=5)
"""Few tokens, so that n-grams repeat, and lengths that tie in their distance from another."""


def nltk_bleu(references: list[list[int]], sentence: list[int]) -> float:
    """Return the mean over n of NLTK's sentence_bleu, smoothing method 1, references taken jointly."""
    smoothing = SmoothingFunction().method1
    return float(np.mean([sentence_bleu(references, sentence, (1 / n,) * n, smoothing) for n in ORDERS]))


def test_references_help_each_other_by_hand() -> None:
    """By hand: "a b" has bigram precision 1 against {"a b c", "b a"} together; the closest length is 2, so BP = 1."""
    history = JointBleuHistory(orders=(2,))
    history.append(["a b c".split(), "b a".split()])
    assert history.scores(["a b".split()]) == pytest.approx([1.0])
    # "b a a": unigrams b, a match (a is in no reference twice), of the bigrams "b a" only: sqrt(2/3 * 1/2).
    assert history.scores(["b a a".split()]) == pytest.approx([np.sqrt(2 / 3 / 2)])


@given(sentences=SENTENCES, history=SENTENCES)
def test_joint_self_bleu_to_a_history_equals_nltk(sentences: list[list[int]], history: list[list[int]]) -> None:
    """An independent implementation, to 1e-9."""
    past = JointBleuHistory()
    past.append(history)
    expected = [nltk_bleu(history, sentence) for sentence in sentences]
    assert past.scores(sentences) == pytest.approx(np.array(expected), abs=1e-9)


@given(sentences=SENTENCES)
def test_self_bleu_of_a_set_equals_nltk_jointly_and_one_by_one(sentences: list[list[int]]) -> None:
    """Each sentence against all the others, to 1e-9: the two variants differ and each is NLTK's."""
    others = [sentences[:k] + sentences[k + 1 :] for k in range(len(sentences))]
    jointly = [nltk_bleu(rest, sentence) for sentence, rest in zip(sentences, others, strict=True)]
    singly = [nltk_bleu([other], sentence) for sentence, rest in zip(sentences, others, strict=True) for other in rest]
    assert joint_self_bleu(sentences) == pytest.approx(np.mean(jointly), abs=1e-9)
    assert self_bleu(sentences) == pytest.approx(np.mean(singly), abs=1e-9)


def test_both_variants_equal_nltk_on_long_texts() -> None:
    """40 texts of 60 tokens against 300: to 1e-9, and the joint score is the higher."""
    rng = np.random.default_rng(0)
    texts = [rng.choice(50, size=rng.integers(50, 71), p=np.arange(1, 51) / 1275).tolist() for _ in range(310)]
    history, new = texts[10:], texts[:10]
    past = JointBleuHistory()
    past.append(history)
    joint, pairwise = past.scores(new), self_bleu_to_history(new, history)
    assert joint == pytest.approx(np.array([nltk_bleu(history, text) for text in new]), abs=1e-9)
    one_by_one = [np.mean([nltk_bleu([reference], text) for reference in history[:20]]) for text in new[:3]]
    assert self_bleu_to_history(new[:3], history[:20]) == pytest.approx(np.array(one_by_one), abs=1e-9)
    assert (joint > pairwise).all()


@given(sentences=SENTENCES, window=st.integers(1, 4))
def test_what_leaves_the_window_is_forgotten(sentences: list[list[int]], window: int) -> None:
    """A history with a window is a history of its latest sentences."""
    moving, fresh = JointBleuHistory(window), JointBleuHistory()
    for sentence in sentences:
        moving.append([sentence])
    fresh.load_state_dict(json.loads(json.dumps(sentences[-window:])))
    assert moving.state_dict() == fresh.state_dict()
    assert moving.scores(sentences).tolist() == fresh.scores(sentences).tolist()


def test_nothing_is_similar_to_an_empty_history() -> None:
    """Score first, append afterwards: the first batch scores 0; strings and lone sentences are refused."""
    history = JointBleuHistory()
    assert history.scores([[1, 2]]).tolist() == [0.0]
    with pytest.raises(TypeError, match="sentences"):
        history.append(["tell me"])
    with pytest.raises(ValueError, match="at least 2 sentences"):
        joint_self_bleu([[1, 2]])
    with pytest.raises(ValueError, match="window"):
        JointBleuHistory(0)


def test_both_histories_have_one_interface() -> None:
    """A learner takes either: append, scores, state."""
    for history in (BleuHistory(2), JointBleuHistory(2)):
        history.append([[1, 2, 3], [3, 4, 5], [5, 6, 7]])
        assert len(history) == 2
        assert history.state_dict() == [[3, 4, 5], [5, 6, 7]]
