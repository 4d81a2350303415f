"""How different sentences are from the past and from each other: SelfBLEU, embeddings, distinct n-grams.

A sentence is a sequence of token ids or of words. Embeddings are rows of unit length. Against a history the
order is *score first, append afterwards*, so that nothing is compared with itself; an empty history scores 0.
"""

import math
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

Sentence: TypeAlias = Sequence[int] | Sequence[str]
"""Token ids or words; never a bare string, which would be read letter by letter."""

Floats: TypeAlias = NDArray[np.float64]

Embeddings: TypeAlias = NDArray[np.floating]
"""Rows of unit length, (n, d), in any precision."""

SMOOTHING = 0.1
"""What a count of 0 matching n-grams becomes (smoothing method 1 of Chen & Cherry, 2014)."""

SEAL_SHARE = 1 / 32
"""The share of a history that may be new before the matrices of all of it are made again."""

BLOCK_ENTRIES = 1 << 18
"""Sentence pairs scored at once: bounds memory, and keeps the arrays in the processor's cache."""


def bleu(hypothesis: Sentence, reference: Sentence, *, max_n: int) -> float:
    """Return BLEU_n(h, g) = BP exp((1/n) sum_{k=1..n} log p_k), in [0, 1], against one reference.

    BLEU (Papineni et al., 2002, section 2.3) of a sentence: p_k is the clipped k-gram precision, a numerator
    of 0 becomes 0.1, BP = 1 if |h| > |g| else exp(1 - |g|/|h|), and the result is 0 if no unigram matches. A
    sentence shorter than `max_n` does not reach 1 against itself: its missing orders count as unmatched.

    >>> round(bleu("a b c d".split(), "a b c e".split(), max_n=2), 4)
    0.7071
    """
    log_precisions = []
    for k in range(1, max_n + 1):
        grams, reference_grams = Counter(_ngrams(hypothesis, k)), Counter(_ngrams(reference, k))
        matches = (grams & reference_grams).total()
        if k == 1 and matches == 0:
            return 0.0
        log_precisions.append(math.log(max(matches, SMOOTHING) / max(grams.total(), 1)))
    brevity = min(0.0, 1 - len(reference) / len(hypothesis))
    return math.exp(brevity + sum(log_precisions) / max_n)


class BleuHistory:
    """SelfBLEU against a growing history, one reference at a time: many pairs at once, exactly.

    SelfBLEU_X(x) = mean over g in X and n in `orders` of BLEU_n(x, g), as the released code of GPO
    (arXiv 2406.10977, section 3.3) takes it, with means where the paper has sums. The j-th occurrence of an
    n-gram in a sentence is a key of its own, so that the clipped overlap of two sentences is the size of an
    intersection of sets, and that of all pairs is one sparse matrix product per n.

    >>> history = BleuHistory(window=2)
    >>> history.append([["a", "b", "c", "e"]])
    >>> history.scores([["a", "b", "c", "d"], ["x", "y"]]).round(4).tolist()
    [0.5091, 0.0]

    Args:
        window: How many of the latest sentences are kept; None keeps all.
        orders: The n that are averaged.
        cap_order: Replace n by min(n, |h|), so that every repeat scores 1. Without it, as in the paper and in
            NLTK, a 4-word sentence has BLEU_5 = .631 against itself.
    """

    def __init__(
        self, window: int | None = None, *, orders: Sequence[int] = (2, 3, 4, 5), cap_order: bool = False
    ) -> None:
        if window is not None and window < 1:
            raise ValueError(f"window: expected None or a positive number of sentences, got {window}")
        if not orders or min(orders) < 1:
            raise ValueError(f"orders: expected positive n-gram lengths, got {tuple(orders)}")
        self.window = window
        self.orders = tuple(orders)
        self.cap_order = cap_order
        self._max_n = max(orders)
        self._sealed: list[csr_array] = []
        self._latest: list[csr_array] | None = None
        self._num_sealed = self._num_gone = 0
        self._clear()

    def __len__(self) -> int:
        """Return the number of sentences that are kept."""
        return len(self._sentences)

    def append(self, sentences: Sequence[Sentence]) -> None:
        """Add sentences, the last one being the latest, and forget those that leave the window."""
        require_sentences(sentences)
        for sentence in sentences:
            self._num_gone += len(self) == self.window
            self._sentences.append(tuple(sentence))  # type: ignore[arg-type]
            for ids, columns, n in zip(self._key_ids, self._columns, self._range(), strict=True):
                columns.append([ids.setdefault(key, len(ids)) for key in occurrence_keys(sentence, n)])
        self._latest = None
        self._forget_stale_keys()

    def scores(self, sentences: Sequence[Sentence]) -> Floats:
        """Return SelfBLEU against the history for each sentence, (B,), in [0, 1]; 0 without a history."""
        if not self._sentences:
            return np.zeros(len(sentences))
        means = [block.mean(axis=1) for block in self.pairwise_blocks(sentences)]
        return np.concatenate(means) if means else np.zeros(0)

    def pairwise_blocks(self, sentences: Sequence[Sentence]) -> Iterator[Floats]:
        """Yield mean_n BLEU_n(sentence, g), rows for successive sentences, a column for each g kept."""
        require_sentences(sentences)
        rows = max(1, BLOCK_ENTRIES // max(len(self), 1))
        for start in range(0, len(sentences), rows):
            yield self._block(sentences[start : start + rows])

    def state_dict(self) -> list[list[int]] | list[list[str]]:
        """Return the sentences that are kept, as plain lists, oldest first: all that a resumed run needs."""
        return [list(sentence) for sentence in self._sentences]  # type: ignore[return-value]

    def load_state_dict(self, state: Sequence[Sentence]) -> None:
        """Replace the history by one that `state_dict` returned."""
        self._clear()
        self.append(state)

    def _block(self, sentences: Sequence[Sentence]) -> Floats:
        """Return mean_n BLEU_n for all pairs of these sentences and the history, (b, N)."""
        lengths = np.array([len(sentence) for sentence in sentences])
        log_counts = np.log(np.maximum(np.arange(lengths.max() + 1), SMOOTHING))
        log_brevity = _log_brevity(lengths, np.array([len(sentence) for sentence in self._sentences]))
        log_product = np.zeros(log_brevity.shape)
        total = np.zeros(log_brevity.shape)
        matched = np.ones(log_brevity.shape, dtype=bool)
        for k, overlap in zip(self._range(), self._overlaps(sentences), strict=True):
            if k == 1:
                matched = overlap > 0
            log_precision = log_counts[overlap] - np.log(np.maximum(lengths - k + 1, 1))[:, None]
            if self.cap_order:  # orders beyond the sentence's length change nothing
                log_precision[lengths < k] = 0.0
            log_product += log_precision
            if times := self.orders.count(k):
                used = np.minimum(k, np.maximum(lengths, 1)) if self.cap_order else np.full(len(lengths), k)
                total += times * np.exp(log_product / used[:, None] + log_brevity)
        return np.where(matched, total / len(self.orders), 0.0)

    def _overlaps(self, sentences: Sequence[Sentence]) -> Iterator[NDArray[np.int32]]:
        """Yield, for n = 1, 2, ..., the clipped number of shared n-grams of all pairs, (b, N)."""
        latest = self._postings_of_latest()
        for ids, sealed, tail, n in zip(self._key_ids, self._sealed, latest, self._range(), strict=True):
            sealed.resize((len(ids), self._num_sealed))  # keys that are new have no sealed sentence
            rows = [[ids[key] for key in occurrence_keys(sentence, n) if key in ids] for sentence in sentences]
            found = _incidence(rows, len(ids))
            yield np.hstack([(found @ sealed).toarray()[:, self._num_gone :], (found @ tail).toarray()])

    def _postings_of_latest(self) -> list[csr_array]:
        """Return per n the matrix (keys, sentences) that is 1 where one of the sentences since the seal has the key.

        The others are sealed: their matrices are made again only once more than `SEAL_SHARE` of the history is new, so
        that a small batch does not pay for all of it.
        """
        if self._latest is None:
            num_latest = len(self) - self._num_sealed + self._num_gone
            if num_latest > SEAL_SHARE * len(self):
                self._sealed, self._num_sealed, self._num_gone = self._postings(0), len(self), 0
            self._latest = self._postings(self._num_sealed - self._num_gone)
        return self._latest

    def _postings(self, start: int) -> list[csr_array]:
        """Return per n the matrix (keys, sentences) of the sentences from number `start` on."""
        return [
            _incidence(list(islice(columns, start, None)), len(ids)).T.tocsr()
            for ids, columns in zip(self._key_ids, self._columns, strict=True)
        ]

    def _forget_stale_keys(self) -> None:
        """Number the keys anew once most of them belong to sentences that have left the window."""
        if sum(map(len, self._key_ids)) > 1000 + 4 * self._max_n * sum(map(len, self._sentences)):
            self.load_state_dict(list(self._sentences))

    def _clear(self) -> None:
        self._sentences: deque[Sentence] = deque(maxlen=self.window)
        self._key_ids: list[dict[tuple[object, ...], int]] = [{} for _ in self._range()]
        self._columns: list[deque[list[int]]] = [deque(maxlen=self.window) for _ in self._range()]
        self._sealed, self._latest = self._postings(0), None
        self._num_sealed = self._num_gone = 0

    def _range(self) -> range:
        return range(1, self._max_n + 1)


def self_bleu_to_history(
    sentences: Sequence[Sentence],
    history: Sequence[Sentence],
    *,
    orders: Sequence[int] = (2, 3, 4, 5),
    cap_order: bool = False,
) -> Floats:
    """Return for each sentence the mean of BLEU_n over the history and over n, (B,); see `BleuHistory`."""
    past = BleuHistory(orders=orders, cap_order=cap_order)
    past.append(history)
    return past.scores(sentences)


def self_bleu(sentences: Sequence[Sentence], *, orders: Sequence[int] = (2, 3, 4, 5), cap_order: bool = False) -> float:
    """Return the mean over ordered pairs i != j and over n of BLEU_n(x_i, x_j), in [0, 1].

    References are taken one by one, self-matches are left out; the diversity of the set is 1 - SelfBLEU. The variant
    of Texygen, which combines all references, is `joint_self_bleu`.
    """
    num_sentences = _require_pairs(len(sentences))
    others = BleuHistory(orders=orders, cap_order=cap_order)
    others.append(sentences)
    total, start = 0.0, 0
    for block in others.pairwise_blocks(sentences):
        total += float(block.sum() - np.trace(block, offset=start))
        start += len(block)
    return total / (num_sentences * (num_sentences - 1))


def distinct_n(sentences: Sequence[Sentence], *, n: int) -> float:
    """Return the share of distinct n-grams among all n-grams of the sentences, in [0, 1] (Li et al., 2016).

    Comparable only between sets of one size. A set without n-grams has 0.
    """
    require_sentences(sentences)
    grams = Counter(gram for sentence in sentences for gram in _ngrams(sentence, n))
    return len(grams) / max(grams.total(), 1)


def mean_cosine_to_history(embeddings: Embeddings, history: Embeddings) -> Floats:
    """Return mean_{g in history} <embedding, g> for each row, (B,), in [-1, 1]; 0 if the history is empty.

    GPO (arXiv 2406.10977), equation 3.5, as a mean instead of a sum.
    """
    rows, past = require_unit_rows(embeddings, "embeddings"), require_unit_rows(history, "history")
    return rows @ past.mean(axis=0) if len(past) else np.zeros(len(rows))


def nearest_neighbour_novelty(embeddings: Embeddings, history: Embeddings, *, num_neighbors: int = 16) -> Floats:
    """Return minus the mean cosine to the nearest past embeddings, (B,), in [-1, 1]; 0 without a history.

    DiveR-CT (arXiv 2405.19026). A history of fewer than `num_neighbors` rows is used whole. Unlike a mean
    over all the past it does not fade as the history grows.
    """
    if num_neighbors < 1:
        raise ValueError(f"num_neighbors: expected a positive number, got {num_neighbors}")
    rows, past = require_unit_rows(embeddings, "embeddings"), require_unit_rows(history, "history")
    if not len(past):
        return np.zeros(len(rows))
    cosines = rows @ past.T  # (B, N)
    if num_neighbors < len(past):
        cosines = np.partition(cosines, -num_neighbors, axis=1)[:, -num_neighbors:]
    novelty: Floats = -cosines.mean(axis=1)
    return novelty


def embedding_diversity(embeddings: Embeddings) -> float:
    """Return 1 - the mean cosine over pairs of distinct rows: 0 for copies, 1 for orthogonal rows."""
    rows = require_unit_rows(embeddings, "embeddings")
    num_rows = _require_pairs(len(rows))
    cosines = np.square(rows.sum(axis=0)).sum() - np.square(rows).sum()  # over ordered pairs i != j
    return float(1 - cosines / (num_rows * (num_rows - 1)))


def vendi_score(embeddings: Embeddings) -> float:
    """Return exp of the entropy of the eigenvalues of K / n, K the cosines: an effective number, 1 to n.

    Vendi score (Friedman & Dieng, 2023, definition 3.1): n for orthogonal rows, 1 for copies.
    """
    rows = require_unit_rows(embeddings, "embeddings")
    if not len(rows):
        raise ValueError("embeddings: expected at least 1 row, got 0")
    eigenvalues = np.square(np.linalg.svd(rows, compute_uv=False)) / len(rows)
    positive = eigenvalues[eigenvalues > 1e-15]
    return float(np.exp(-(positive * np.log(positive)).sum()))


def _ngrams(sentence: Sentence, n: int) -> Iterator[tuple[object, ...]]:
    """Yield the n-grams of a sentence, in order."""
    return zip(*(sentence[start:] for start in range(n)), strict=False)


def occurrence_keys(sentence: Sentence, n: int) -> Iterator[tuple[object, ...]]:
    """Yield a key per n-gram, distinct for its first, second, ... occurrence in the sentence."""
    seen: dict[tuple[object, ...], int] = {}
    for gram in _ngrams(sentence, n):
        count = seen.get(gram, 0)
        seen[gram] = count + 1
        yield (gram, count) if count else gram  # a gram holds no tuples, so the two forms never meet


def _incidence(rows: Sequence[list[int]], num_keys: int) -> csr_array:
    """Return the matrix (rows, num_keys) that is 1 where a row lists a key."""
    indptr = np.cumsum([0, *map(len, rows)])
    indices = np.fromiter((key for row in rows for key in row), dtype=np.int32, count=int(indptr[-1]))
    ones = np.ones(len(indices), dtype=np.int32)
    return csr_array((ones, indices, indptr), shape=(len(rows), num_keys))


def _log_brevity(lengths: NDArray[np.int64], reference_lengths: NDArray[np.int64]) -> Floats:
    """Return log BP = min(0, 1 - |g|/|h|) for all pairs, (b, N)."""
    return np.minimum(0.0, 1 - reference_lengths[None, :] / np.maximum(lengths, 1)[:, None])


def require_sentences(sentences: Sequence[Sentence]) -> None:
    """Raise if words were not separated: a string is a sequence too, of letters."""
    for sentence in [sentences, *sentences[:1]]:
        if isinstance(sentence, str):
            raise TypeError(f"sentences: expected sequences of words or token ids, got {sentence!r}")


def _require_pairs(size: int) -> int:
    if size < 2:
        raise ValueError(f"expected a set of at least 2, which has pairs to compare, got {size}")
    return size


def require_unit_rows(embeddings: Embeddings, name: str) -> Floats:
    """Return the embeddings as float64 (n, d); raise unless each row has length 1."""
    rows = np.asarray(embeddings, dtype=np.float64)
    if rows.ndim != 2:
        raise ValueError(f"{name}: expected an array of rows (n, d), got shape {rows.shape}")
    lengths = np.linalg.norm(rows, axis=1)
    if not np.allclose(lengths, 1, atol=1e-3):
        raise ValueError(f"{name}: expected rows of length 1, got {lengths.min():g} to {lengths.max():g}")
    return rows


def marginal_vendi(embeddings: Embeddings, history: Embeddings) -> Floats:
    """Return (n + 1) (log VS(history with x) - log VS(history)) for each row x, (B,); 0 without a history.

    VS is the Vendi score (Friedman & Dieng, 2023, definition 3.1) and n the size of the history. Its logarithm is the
    entropy of the eigenvalues of the mean of phi phi^T, which one row of n + 1 moves by O(1/n): the factor keeps the
    number from fading as the history grows. A row orthogonal to n copies adds (n + 1) h(1 / (n + 1)), h the entropy of
    a coin; what the history is full of costs.

    >>> marginal_vendi(np.eye(2), np.eye(2)[:1]).round(4).tolist()
    [0.0, 1.3863]
    """
    rows, past = require_unit_rows(embeddings, "embeddings"), require_unit_rows(history, "history")
    if not len(past) or not len(rows):
        return np.zeros(len(rows))
    size, second_moment = len(past), past.T @ past
    with_row = (second_moment + rows[:, :, None] * rows[:, None, :]) / (size + 1)  # (B, d, d)
    return (size + 1) * (_entropies(with_row) - _entropies(second_moment[None] / size))


def _entropies(matrices: NDArray[np.float64]) -> Floats:
    """Return the entropy of the eigenvalues of symmetric matrices (N, d, d) of trace 1, (N,)."""
    eigenvalues = np.maximum(np.linalg.eigvalsh(matrices), 1e-15)
    entropies: Floats = -(eigenvalues * np.log(eigenvalues)).sum(axis=-1)
    return entropies
