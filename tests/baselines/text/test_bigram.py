import numpy as np
import pytest

from duologue.baselines.text.bigram import Bigram
from duologue.baselines.text.packing import LeftOut, TokenCorpus

A, B, C = 0, 1, 2


def corpus_of(*dialogues: list[int], speaker: int = 1) -> TokenCorpus:
    """Return dialogues of these tokens, all said by one player."""
    starts = np.cumsum([0, *map(len, dialogues)], dtype=np.int64)
    tokens = np.array([token for dialogue in dialogues for token in dialogue], dtype=np.int32)
    return TokenCorpus(tokens, np.full(len(tokens), speaker, dtype=np.int8), starts, LeftOut(0, 0, 0))


def test_probabilities_are_those_of_witten_and_bell() -> None:
    """By hand: a b a c a b counts c(ab) = 2, c(ac) = 1, T(a) = 2; the five cloned tokens are b, a, c, a, b."""
    bigram = Bigram(corpus_of([A, B, A, C, A, B]), tokens_of="all", vocabulary_size=3)
    unigram_b, unigram_a = (2 + 1) / (5 + 3), (2 + 1) / (5 + 3)
    before, after = np.array([A, A, B]), np.array([B, A, A])
    expected = [(2 + 2 * unigram_b) / 5, 2 * unigram_a / 5, (1 + 1 * unigram_a) / 2]
    assert bigram.probabilities(before, after) == pytest.approx(expected)


def test_the_probabilities_of_all_followers_sum_to_one() -> None:
    """A distribution after any token, one that was never followed included."""
    bigram = Bigram(corpus_of([A, B, A, C, A, B], [C, C]), tokens_of="all", vocabulary_size=5)
    for before in range(5):
        assert bigram.probabilities(np.full(5, before), np.arange(5)).sum() == pytest.approx(1)


def test_no_pair_crosses_two_dialogues() -> None:
    """As for the language model, a dialogue's first token is given."""
    bigram = Bigram(corpus_of([A, B], [C, A]), tokens_of="all", vocabulary_size=3)
    assert bigram.nats(corpus_of([B], [A, B])) == pytest.approx(-np.log((1 + 2 / 5) / 2))


def test_only_the_cloned_tokens_are_counted() -> None:
    """Equation 8's mask: without tokens of player two there is nothing to count."""
    with pytest.raises(ValueError, match="expected tokens of player_1, got none"):
        Bigram(corpus_of([A, B], speaker=0), tokens_of="player_1", vocabulary_size=3)
