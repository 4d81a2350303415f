"""One token for each row of logits, by inverting the cumulative distribution, and what is cut off before."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

LARGE_VOCABULARY = 16_384
"""From this many tokens on, a running sum over all of them is the slower way to draw one."""
TOKENS_IN_BLOCK = 512
"""How many tokens share one partial sum when a token of a large vocabulary is drawn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Truncation:
    """What a model never says when it plays: unlikely tokens, and what follows a stop string.

    Log-probabilities are those of the distribution that is left. No learner takes an agent that cuts: as its model
    changes, a token that was sampled may be cut off, and its ratio is 0.
    """

    top_p: float | None = None
    """In (0, 1): only the likeliest tokens are said, as few as have this probability together (nucleus sampling,
    arXiv 1904.09751). None: all."""
    min_p: float | None = None
    """In (0, 1): only tokens are said that have at least this share of the likeliest one's probability (arXiv
    2407.01082). None: all."""
    stop: tuple[str, ...] = ()
    """A turn that the rules leave free ends where its text has one of these; that ending has log-probability 0."""

    def __post_init__(self) -> None:
        """Raise ValueError where a share is none, or a stop string is empty."""
        for name in ("top_p", "min_p"):
            share = getattr(self, name)
            if share is not None and (isinstance(share, bool) or not isinstance(share, float) or not 0 < share < 1):
                raise ValueError(f"{name}: expected a number in (0, 1) or None, got {share!r:.80}")
        if not isinstance(self.stop, tuple) or not all(isinstance(text, str) and text for text in self.stop):
            raise ValueError(f"stop: expected texts of at least a character, got {self.stop!r:.80}")

    def cut(self, logits: Tensor) -> Tensor:
        """Return logits (..., V) with -inf at the tokens that are cut off."""
        if self.top_p is not None:
            ordered, order = logits.detach().sort(dim=-1, descending=True)
            chances = ordered.softmax(-1, dtype=torch.float64)
            cut = chances.cumsum(-1) - chances >= self.top_p  # what the likelier ones have is enough
            outside = torch.zeros_like(cut).scatter_(-1, order, cut)
            logits = logits.masked_fill(outside, -torch.inf)
        if self.min_p is not None:
            least = logits.detach().amax(-1, keepdim=True) + math.log(self.min_p)
            logits = logits.masked_fill(logits < least, -torch.inf)
        return logits

    def stops(self, text: str) -> bool:
        """Whether a turn's text ends it."""
        return any(stop in text for stop in self.stop)


WHOLE = Truncation()
"""Nothing is cut off."""


def draw(logits: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Sample by inverting the cumulative distribution; one uniform number of `rng` for each row.

    Args:
        logits: (B, V); those of a large vocabulary are overwritten, which spares copies as large.
        rng: the only source of randomness.

    Returns:
        The tokens and their log-probabilities, (B,) each.

    Raises:
        ValueError: a row has NaN or +inf, or nothing but -inf.
    """
    uniform = torch.from_numpy(rng.random(len(logits))).to(logits.device)[:, None]
    if logits.shape[1] < LARGE_VOCABULARY:
        logprobs = torch.log_softmax(logits, dim=-1)
        tokens = _invert(logprobs.exp(), uniform)
        chosen = logprobs.gather(1, tokens).squeeze(1)
    else:
        weights = logits.sub_(logits.amax(1, keepdim=True)).exp_()
        tokens, total = _invert_by_blocks(weights, uniform)
        chosen = (weights.gather(1, tokens) / total).log().to(logits.dtype).squeeze(1)
    require_numbers(chosen, "logits")
    return tokens.squeeze(1), chosen


def require_numbers(logprobs: Tensor, what: str) -> None:
    """Refuse log-probabilities (B, ...) of which one is NaN, as all of a row are whose logits have NaN or +inf.

    Raises:
        ValueError: naming the row. A row without any possible token is NaN as well.
    """
    wrong = logprobs.isnan()
    if wrong.any():
        row = int(wrong.nonzero()[0, 0])
        raise ValueError(
            f"{what}: expected finite numbers for the legal tokens, got NaN, +inf or nothing but -inf in row {row}; "
            "are the model's weights finite, and its precision wide enough?"
        )


def _invert(weights: Tensor, uniform: Tensor) -> Tensor:
    """Return the column (B, 1) where the running sum of weights (B, V) passes `uniform` (B, 1) times the total."""
    ends = weights.cumsum(1, dtype=torch.float64)
    columns = torch.searchsorted(ends, uniform * ends[:, -1:], right=True)
    return columns.clamp_(max=weights.shape[1] - 1)


def _invert_by_blocks(weights: Tensor, uniform: Tensor) -> tuple[Tensor, Tensor]:
    """Return the same column as `_invert`, by way of its block of columns, and the weights' total; (B, 1) each."""
    size = weights.shape[1]
    whole = size - size % TOKENS_IN_BLOCK
    blocks = weights[:, :whole].unflatten(1, (-1, TOKENS_IN_BLOCK)).sum(2, dtype=torch.float64)
    blocks = torch.cat([blocks, weights[:, whole:].sum(1, keepdim=True, dtype=torch.float64)], dim=1)
    ends = blocks.cumsum(1)
    target = uniform * ends[:, -1:]
    block = torch.searchsorted(ends, target, right=True).clamp(max=blocks.shape[1] - 1)
    columns = torch.arange(TOKENS_IN_BLOCK, device=weights.device) + TOKENS_IN_BLOCK * block
    within = weights.gather(1, columns.clamp(max=size - 1)).masked_fill(columns >= size, 0)
    before = (ends - blocks).gather(1, block)
    share = ((target - before) / blocks.gather(1, block)).clamp(0, 1 - 2**-52)  # never past the last possible token
    return columns.gather(1, _invert(within, share)).clamp(max=size - 1), ends[:, -1:]
