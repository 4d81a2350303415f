"""SelfBLEU with all references taken jointly, as Texygen and NLTK's `sentence_bleu(references, sentence)` take them.

`diversity.BleuHistory` takes references one at a time instead, as GPO does. Joint SelfBLEU grows towards 1 with the
number of references, because some reference has each n-gram: only sets of one size compare.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Sequence

import numpy as np

from .diversity import SMOOTHING, Floats, Sentence, occurrence_keys, require_sentences


class JointBleuHistory:
    """SelfBLEU against a growing history, all references jointly; costs of a sentence do not grow with the history.

    BLEU_n as in `diversity.bleu`, but an n-gram may match as often as the one reference has it that has it most, and
    |g| is the length closest to |h|, of two the shorter. Matches are thus the occurrence keys of h (see `BleuHistory`)
    that some reference has, and one count of all keys is all that is kept.

    >>> history = JointBleuHistory()
    >>> history.append(["a b c e".split(), "c d".split()])
    >>> history.scores(["a b c d".split(), ["x"]]).round(4).tolist()
    [0.6533, 0.0]

    Args:
        window: How many of the latest sentences are kept; None keeps all.
        orders: The n that are averaged.
    """

    def __init__(self, window: int | None = None, *, orders: Sequence[int] = (2, 3, 4, 5)) -> None:
        if window is not None and window < 1:
            raise ValueError(f"window: expected None or a positive number of sentences, got {window}")
        if not orders or min(orders) < 1:
            raise ValueError(f"orders: expected positive n-gram lengths, got {tuple(orders)}")
        self.window = window
        self.orders = tuple(orders)
        self._clear()

    def __len__(self) -> int:
        """Return the number of sentences that are kept."""
        return len(self._sentences)

    def append(self, sentences: Sequence[Sentence]) -> None:
        """Add sentences, the last one being the latest, and forget those that leave the window."""
        require_sentences(sentences)
        for sentence in sentences:
            if self.window is not None and len(self) == self.window:
                self._count(self._sentences.popleft(), -1)
            self._sentences.append(tuple(sentence))  # type: ignore[arg-type]
            self._count(sentence, +1)

    def scores(self, sentences: Sequence[Sentence]) -> Floats:
        """Return SelfBLEU against the history for each sentence, (B,), in [0, 1]; 0 without a history."""
        require_sentences(sentences)
        return np.array([self._score(sentence, copies=0) if self._sentences else 0.0 for sentence in sentences])

    def scores_of_others(self) -> Floats:
        """Return for each sentence kept its SelfBLEU against all the others, oldest first, (N,)."""
        if len(self) < 2:
            raise ValueError(f"history: expected at least 2 sentences, of which each has others, got {len(self)}")
        return np.array([self._score(sentence, copies=1) for sentence in self._sentences])

    def state_dict(self) -> list[list[int]] | list[list[str]]:
        """Return the sentences that are kept, as plain lists, oldest first: all that a resumed run needs."""
        return [list(sentence) for sentence in self._sentences]  # type: ignore[return-value]

    def load_state_dict(self, state: Sequence[Sentence]) -> None:
        """Replace the history by one that `state_dict` returned."""
        self._clear()
        self.append(state)

    def _score(self, sentence: Sentence, *, copies: int) -> float:
        """Return the mean over n of BLEU_n against the sentences kept, leaving out `copies` of the sentence itself."""
        length, log_product, total = len(sentence), 0.0, 0.0
        sizes = [size for size, number in self._lengths.items() if number > copies * (size == length)]
        closest = min(sizes, key=lambda size: (abs(size - length), size))
        log_brevity = min(0.0, 1 - closest / max(length, 1))
        for n, holders in enumerate(self._holders, start=1):
            matches = sum(holders.get(key, 0) > copies for key in occurrence_keys(sentence, n))
            if n == 1 and matches == 0:
                return 0.0
            log_product += math.log(max(matches, SMOOTHING) / max(length - n + 1, 1))
            total += self.orders.count(n) * math.exp(log_brevity + log_product / n)
        return total / len(self.orders)

    def _count(self, sentence: Sentence, change: int) -> None:
        """Count a sentence's keys and its length in or out; what nobody has any more is forgotten."""
        for n, holders in enumerate(self._holders, start=1):
            for key in occurrence_keys(sentence, n):
                holders[key] = holders.get(key, 0) + change
                if not holders[key]:
                    del holders[key]
        self._lengths[len(sentence)] += change
        if not self._lengths[len(sentence)]:
            del self._lengths[len(sentence)]

    def _clear(self) -> None:
        self._sentences: deque[Sentence] = deque()
        self._holders: list[dict[tuple[object, ...], int]] = [{} for _ in range(max(self.orders))]
        self._lengths: Counter[int] = Counter()


def joint_self_bleu(sentences: Sequence[Sentence], *, orders: Sequence[int] = (2, 3, 4, 5)) -> float:
    """Return the mean over i and n of BLEU_n(x_i) against all the other sentences jointly, in [0, 1].

    SelfBLEU of Zhu et al. (2018, Texygen), who take one n, at most 5, and the first 500 sentences.
    """
    history = JointBleuHistory(orders=orders)
    history.append(sentences)
    return float(history.scores_of_others().mean())
