"""Which tokens were legal, told by lists: as a mask over the vocabulary, at the price of what the rules narrowed.

A mask for each token of each episode would be (B, T, V) truth values, 10 GB for 64 episodes of 1000 tokens out of
152,000. Rules narrow by naming a few tokens, mostly the same few again, so each different set is kept once, as ids.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...envs import Vocabulary

Ids = NDArray[np.int64]
USUAL = -1
"""The number of the set that is not listed: every sayable token and `<eos>`."""


@dataclass(frozen=True, slots=True)
class LegalMask:
    """The legal tokens of many positions; each position refers to one set of them.

    A set lists its tokens. One of more than half of the vocabulary, as inside a thought, lists instead where it differs
    from the usual one.
    """

    sets: Tensor
    """Any shape, int64: the number of each position's set; -1: every sayable token and `<eos>`."""
    listed: Tensor
    """(N,), int64: the ids that the sets list, one set after another."""
    legal: Tensor
    """(N,), bool: whether a listed token is legal."""
    ends: Tensor
    """(M + 1,), int64: the ids of set m stand from ends[m] to ends[m + 1]."""
    complete: Tensor
    """(M,), bool: whether a set lists all that is legal; if not, the usual tokens are, but for those it lists."""

    @classmethod
    def of(cls, legal_tokens: Iterable[Ids | None], vocabulary: Vocabulary) -> LegalMask:
        """Take the legal ids of each position, as `View.legal_tokens` has them; `sets` is then (positions,)."""
        numbers: dict[bytes, int] = {}
        known: dict[int, tuple[Ids, int]] = {}  # the same array comes again and again, and need not be read again
        sets, unlike = [], list[Ids]()
        for ids in legal_tokens:
            if ids is None:
                sets.append(USUAL)
                continue
            if id(ids) not in known:
                number = numbers.setdefault(ids.tobytes(), len(unlike))
                unlike += [ids] if number == len(unlike) else []
                known[id(ids)] = ids, number
            sets.append(known[id(ids)][1])
        return _packed(torch.tensor(sets, dtype=torch.int64), unlike, vocabulary)

    @classmethod
    def usual(cls, shape: Sequence[int]) -> LegalMask:
        """Return positions of which the rules narrow none."""
        nothing = torch.zeros(0, dtype=torch.int64)
        return cls(
            torch.full(tuple(shape), USUAL), nothing, nothing.bool(), torch.zeros(1, dtype=torch.int64), nothing.bool()
        )

    @classmethod
    def joined(cls, parts: Sequence[LegalMask]) -> LegalMask:
        """Return the positions of several, one after another; their `sets` are alike but for the first dimension."""
        sets, ends, num_sets, num_listed = [], [parts[0].ends[:1]], 0, 0
        for part in parts:
            sets.append(torch.where(part.sets == USUAL, USUAL, part.sets + num_sets))
            ends.append(part.ends[1:] + num_listed)
            num_sets, num_listed = num_sets + len(part.complete), num_listed + len(part.listed)
        listed, legal, complete = (
            torch.cat([getattr(part, name) for part in parts]) for name in ("listed", "legal", "complete")
        )
        return cls(torch.cat(sets), listed, legal, torch.cat(ends), complete)

    def widened(self, width: int) -> LegalMask:
        """Return the same for sequences (B, T) with columns added on the right, up to `width`."""
        return replace(self, sets=torch.nn.functional.pad(self.sets, (0, width - self.sets.shape[1]), value=USUAL))

    def to(self, device: torch.device) -> LegalMask:
        """Return the same on a device."""
        parts = (self.sets, self.listed, self.legal, self.ends, self.complete)
        return LegalMask(*(part.to(device) for part in parts))

    def at(self, positions: Tensor | slice | tuple[Tensor | slice | int, ...]) -> LegalMask:
        """Return some of the positions, chosen as one indexes a tensor."""
        return replace(self, sets=self.sets[positions])

    def remove_illegal_(self, logits: Tensor, unsayable: Tensor) -> None:
        """Set the logits (P, V) of illegal tokens to -inf in place, one position for each row; `sets` is (P,).

        Args:
            logits: not watched for gradients here: an impossible token has probability 0 and so no gradient.
            unsayable: (U,), ids that are neither sayable nor `<eos>`.
        """
        narrowed = (self.sets != USUAL).nonzero().squeeze(-1)
        number = self.sets[narrowed]
        start, count = self.ends[number], self.ends[number + 1] - self.ends[number]
        row = narrowed.repeat_interleave(count)
        place = torch.arange(len(row), device=row.device) + (start - (count.cumsum(0) - count)).repeat_interleave(count)
        token = self.listed[place]
        kept = logits[row, token].masked_fill(~self.legal[place], -torch.inf)
        logits.index_fill_(-1, unsayable, -torch.inf)
        logits.index_fill_(0, narrowed[self.complete[number]], -torch.inf)
        logits[row, token] = kept


def _packed(sets: Tensor, unlike: list[Ids], vocabulary: Vocabulary) -> LegalMask:
    parts = [_listed(ids, vocabulary) for ids in unlike]
    ends = np.cumsum([0, *(len(listed) for listed, _, _ in parts)])
    return LegalMask(
        sets=sets,
        listed=torch.from_numpy(np.concatenate([np.zeros(0, np.int64), *(listed for listed, _, _ in parts)])),
        legal=torch.from_numpy(np.concatenate([np.zeros(0, bool), *(legal for _, legal, _ in parts)])),
        ends=torch.from_numpy(ends.astype(np.int64)),
        complete=torch.tensor([complete for _, _, complete in parts], dtype=torch.bool),
    )


def _listed(ids: Ids, vocabulary: Vocabulary) -> tuple[Ids, NDArray[np.bool_], bool]:
    """Return which ids a set lists, whether each is legal, and whether that is all that is legal."""
    if 2 * len(ids) <= vocabulary.size:
        return ids, np.ones(len(ids), dtype=bool), True
    legal = np.zeros(vocabulary.size, dtype=bool)
    legal[ids] = True
    usual = vocabulary.sayable_mask.astype(bool)
    usual[vocabulary.eos_id] = True
    differing = np.flatnonzero(legal != usual)
    return differing, legal[differing], False
