"""GPO's diversity reward: a prompt is worth more the less it resembles the adversary's past prompts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..envs import Tokens
from .encoders import SentenceEncoder
from .functional.diversity import BleuHistory, mean_cosine_to_history


class DiversityReward:
    """Scores prompts against a window of earlier ones: -(w_bleu SelfBLEU + w_embed mean cosine).

    GPO (arXiv 2406.10977), section 3.3, with the means of its released code. Prompts are scored first and appended
    afterwards; an empty history scores 0, and prompts of one batch are not compared with each other.
    """

    def __init__(
        self, encoder: SentenceEncoder, *, bleu_weight: float, embedding_weight: float, window: int | None
    ) -> None:
        """Take the weights (GPO's release: 5 and 1) and how many past prompts to keep (None: all)."""
        self.bleu_weight, self.embedding_weight, self.window = bleu_weight, embedding_weight, window
        self._encoder = encoder
        self._bleu = BleuHistory(window)
        self._embeddings: NDArray[np.float32] | None = None

    def scores(self, prompts: Sequence[Tokens], texts: Sequence[str]) -> NDArray[np.float64]:
        """Return one number in [-(w_bleu + w_embed), w_embed] for each prompt; (B,)."""
        scores = np.zeros(len(prompts))
        if self._embeddings is None:
            return scores
        if self.bleu_weight:
            scores -= self.bleu_weight * self._bleu.scores(prompts)
        if self.embedding_weight:
            scores -= self.embedding_weight * mean_cosine_to_history(self._encoder.encode(texts), self._embeddings)
        return scores

    def append(self, prompts: Sequence[Tokens], texts: Sequence[str]) -> None:
        """Add prompts to the history and forget those that leave the window; empty prompts are left out."""
        kept = [(prompt, text) for prompt, text in zip(prompts, texts, strict=True) if prompt and text.strip()]
        if not kept:
            return
        self._bleu.append([prompt for prompt, _ in kept])
        new = self._encoder.encode([text for _, text in kept])
        past = new if self._embeddings is None else np.concatenate([self._embeddings, new])
        self._embeddings = past if self.window is None else past[-self.window :]

    def state_dict(self) -> dict[str, Any]:
        """Return the history."""
        return {"sentences": self._bleu.state(), "embeddings": self._embeddings}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue with a saved history."""
        self._bleu.load_state(state["sentences"])
        self._embeddings = state["embeddings"]
