"""What a language model has to beat: a bigram model of the same tokens, smoothed after Witten and Bell (1991).

With counts c(ab) of token b after a, c(a) of all that follows a, T(a) of its different followers,

    P(b|a) = (c(ab) + T(a) P(b)) / (c(a) + T(a)),        P(b) = (c(b) + 1) / (N + V).

I. Witten and T. Bell, "The zero-frequency problem", IEEE Transactions on Information Theory 37(4), 1991, method C; in
this interpolated form in S. Chen and J. Goodman, "An empirical study of smoothing techniques for language modeling",
1998, section 2.5. It has no number to tune.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .packing import TokenCorpus


class Bigram:
    """A smoothed bigram model, fitted to the cloned tokens of dialogues."""

    def __init__(self, corpus: TokenCorpus, *, tokens_of: str, vocabulary_size: int) -> None:
        """Count each cloned token with the one before it.

        Raises:
            ValueError: no token is cloned.
        """
        before, after = _pairs(corpus, tokens_of)
        if not len(after):
            raise ValueError(f"corpus: expected tokens of {tokens_of}, got none")
        self.tokens_of, self.size = tokens_of, vocabulary_size
        self._pairs, self._pair_counts = np.unique(before * vocabulary_size + after, return_counts=True)
        self._followed = np.bincount(before, minlength=vocabulary_size)
        self._followers = np.bincount(self._pairs // vocabulary_size, minlength=vocabulary_size)
        counts = np.bincount(after, minlength=vocabulary_size)
        self._unigram = (counts + 1) / (counts.sum() + vocabulary_size)

    def probabilities(self, before: NDArray[np.int64], after: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return P(after | before), elementwise; (N,). What never preceded a token leaves the unigram's."""
        pair = before * self.size + after
        at = np.minimum(np.searchsorted(self._pairs, pair), len(self._pairs) - 1)
        count = np.where(self._pairs[at] == pair, self._pair_counts[at], 0)
        total, followers = self._followed[before], self._followers[before]
        known = np.maximum(total + followers, 1)
        mixed = (count + followers * self._unigram[after]) / known
        result: NDArray[np.float64] = np.where(total > 0, mixed, self._unigram[after])
        return result

    def nats(self, corpus: TokenCorpus) -> float:
        """Return the mean negative log-likelihood of the cloned tokens of other dialogues."""
        return float(-np.log(self.probabilities(*_pairs(corpus, self.tokens_of))).mean())


def _pairs(corpus: TokenCorpus, tokens_of: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return each cloned token's predecessor, and the cloned tokens; a dialogue's first is never cloned."""
    at = np.flatnonzero(corpus.loss_mask(tokens_of))
    return corpus.tokens[at - 1].astype(np.int64), corpus.tokens[at].astype(np.int64)
