"""GPO's diversity reward and its successors': a prompt earns more the less it resembles the adversary's past ones.

| term | what is paid for a prompt x | source |
| --- | --- | --- |
| `bleu` | -SelfBLEU(x) against the past | GPO (arXiv 2406.10977), section 3.3 |
| `embedding` | minus the mean cosine to the past | GPO, eq. 3.5 as a mean |
| `nearest` | minus the mean cosine to the nearest past prompts | DiveR-CT (arXiv 2405.19026) |
| `vendi` | what x adds to the log Vendi score of the past, times n + 1 | Friedman & Dieng, 2023 |
| `success_cell` | 1 / sqrt(1 + n), if it succeeds where n did before | `success_cells.py` |
| `entropy` | -log pi of every token of x, paid at that token | CRT (arXiv 2402.19464) |
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from ...agents.language_model.encoders import SentenceEncoder
from ...envs import Tokens
from ..functional.advantages import shaped_token_rewards
from ..functional.diversity import BleuHistory, marginal_vendi, mean_cosine_to_history, nearest_neighbour_novelty
from ..rollouts.trajectories import Trajectories
from ..training.checks import NotNegative, Options, Rows, RowsOrNone
from ..training.state import Stateful


@dataclass(frozen=True, kw_only=True)
class DiversityWeights(Options):
    """What novelty is worth to the adversary; a term that is not asked for weighs 0."""

    bleu_weight: NotNegative = 0.0
    """Weight of SelfBLEU against past prompts; GPO's release: 5."""
    embedding_weight: NotNegative = 0.0
    """Weight of the mean cosine to past prompts; GPO's release: 1."""
    nearest_weight: NotNegative = 0.0
    """Weight of the mean cosine to the nearest past prompts (DiveR-CT)."""
    num_neighbors: Rows = 16
    """How many past prompts are the nearest ones."""
    vendi_weight: NotNegative = 0.0
    """Weight of what a prompt adds to the Vendi score of the past ones."""
    entropy_weight: NotNegative = 0.0
    """Weight of -log pi of each token of a prompt (CRT: 0.01)."""
    success_cell_weight: NotNegative = 0.0
    """What a success in a cell of topic and styles is worth to it, over the root of 1 + the earlier ones there."""
    intensity: NotNegative = 1.0
    """Multiplies every weight: GPO's k, if the weights of SelfBLEU and of the cosine are 1/2 each."""
    history_window: RowsOrNone = 1024
    """Past prompts that a new one is compared with; 0: all."""


MICRO_DIVERSITY = DiversityWeights(bleu_weight=2.0, embedding_weight=1.0)
"""Of GPO+Div on the red teams; GPO's release has 5 and 1."""


class DiversityReward(Stateful):
    """Scores prompts against a window of earlier ones, and pays them.

    The terms of GPO are means, as in its released code, where the paper has sums. Prompts are scored first and appended
    afterwards; an empty history scores 0, and prompts of one batch are not compared with each other.
    """

    saved = ("_bleu", "_embeddings")

    def __init__(self, encoder: SentenceEncoder, weights: DiversityWeights) -> None:
        """Take who embeds prompts, and what each term is worth."""
        self.weights, self._encoder = weights, encoder
        self.window = weights.history_window or None
        self._bleu = BleuHistory(self.window)
        self._embeddings: NDArray[np.float32] | None = None

    def scores(self, prompts: Sequence[Tokens], texts: Sequence[str]) -> NDArray[np.float64]:
        """Return the weighted novelty of each prompt, (B,); GPO's two terms are in [-(w_bleu + w_embed), w_embed]."""
        scores, weights = np.zeros(len(prompts)), self.weights
        if self._embeddings is None:
            return scores
        if weights.bleu_weight:
            scores -= weights.bleu_weight * self._bleu.scores(prompts)
        if weights.embedding_weight or weights.nearest_weight or weights.vendi_weight:
            scores += self._novelty_of_meaning(self._encoder.encode(texts), self._embeddings)
        return weights.intensity * scores

    def _novelty_of_meaning(self, new: NDArray[np.float32], past: NDArray[np.float32]) -> NDArray[np.float64]:
        novelty, weights = np.zeros(len(new)), self.weights
        if weights.embedding_weight:
            novelty -= weights.embedding_weight * mean_cosine_to_history(new, past)
        if weights.nearest_weight:
            nearest = nearest_neighbour_novelty(new, past, num_neighbors=weights.num_neighbors)
            novelty += weights.nearest_weight * nearest
        if weights.vendi_weight:
            novelty += weights.vendi_weight * marginal_vendi(new, past)
        return novelty

    def paid(self, batch: Trajectories, scores: NDArray[np.float64]) -> Trajectories:
        """Return the adversary's episodes with their scores at the end and the entropy bonus at each own token.

        -log pi is what a charge for KL to the uniform policy would be, but for a constant per token.
        """
        paid = batch.with_bonus(scores)
        coef = self.weights.intensity * self.weights.entropy_weight
        if not coef:
            return paid
        own, uniform = batch.policy_token_mask, torch.zeros_like(batch.logprobs)
        return replace(paid, rewards=shaped_token_rewards(paid.rewards, batch.logprobs, uniform, own, kl_coef=coef))

    def append(self, prompts: Sequence[Tokens], texts: Sequence[str]) -> None:
        """Add prompts to the history and forget those that leave the window; empty prompts are left out."""
        kept = [(prompt, text) for prompt, text in zip(prompts, texts, strict=True) if prompt and text.strip()]
        if not kept:
            return
        self._bleu.append([prompt for prompt, _ in kept])
        new = self._encoder.encode([text for _, text in kept])
        past = new if self._embeddings is None else np.concatenate([self._embeddings, new])
        self._embeddings = past if self.window is None else past[-self.window :]
