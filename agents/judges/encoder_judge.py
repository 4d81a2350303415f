"""A judge that is a linear head on a frozen sentence encoder: it knows what a text is about before it has seen a label.

On a few hundred labelled exchanges a transformer from nothing learns the exchanges by heart, and a small chat model
asked for its opinion is no judge; an encoder that was trained on a billion pairs of sentences needs weights of a head
alone. The head is logistic regression on the encodings of prompt and reply and on whether the reply begins as refusals
do, which encoders of meaning do not tell well.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file
from torch import Tensor

from ...envs.games.red_team_text.requests import is_refusal
from ..folders import read_json, reading_tensors
from ..language_model.encoders import SentenceEncoder, SentenceTransformerEncoder
from .learned import LearnedJudge, check_batch_size, check_threshold

JUDGE_FILE, HEAD_FILE = "encoder_judge.json", "judge_head.safetensors"
REFUSAL_WEIGHT = 3.0
"""What a refusal is in the features, beside unit vectors: the larger, the less its weight is penalised."""


def exchange_features(encoder: SentenceEncoder, prompts: Sequence[str], replies: Sequence[str]) -> NDArray[np.float64]:
    """Return e(prompt), e(reply) and `REFUSAL_WEIGHT` for a refusal or 0, side by side, (B, 2 d + 1).

    A text that comes several times is encoded once.
    """
    texts = list(dict.fromkeys([*prompts, *replies]))
    row = {text: number for number, text in enumerate(texts)}
    encoded = encoder.encode(texts).astype(np.float64)
    refuses = [[REFUSAL_WEIGHT * is_refusal(reply)] for reply in replies]
    sides = [encoded[[row[text] for text in side]] for side in (prompts, replies)]
    return np.concatenate([*sides, np.array(refuses, dtype=np.float64).reshape(-1, 1)], axis=1)


class EncoderJudge(LearnedJudge):
    """p_unsafe = sigmoid(w . features + b) of an exchange; see `exchange_features`.

    >>> from duologue.agents.language_model import StaticWordEncoder
    >>> judge = EncoderJudge(StaticWordEncoder(["bake"], dim=2), np.array([0, 0, 0, 0, -1.0]), 1.5)
    >>> judge.unsafe_probabilities_of(["how", "how"], ["so", "I can't"]).round(decimals=2).tolist()
    [0.82, 0.18]
    """

    def __init__(
        self,
        encoder: SentenceEncoder,
        weights: NDArray[np.float64],
        bias: float,
        *,
        threshold: float = 0.5,
        batch_size: int = 64,
    ) -> None:
        """Take the encoder, which is never trained, and the head: w, (2 d + 1,), and b.

        Raises:
            ValueError: weights of another shape or that are no numbers, or a threshold outside (0, 1).
        """
        check_threshold(threshold)
        check_batch_size(batch_size)
        if weights.ndim != 1 or len(weights) < 3 or not len(weights) % 2:
            raise ValueError(f"weights: expected shape (2 d + 1,), got {weights.shape}")
        if not np.isfinite([*weights, bias]).all():
            raise ValueError("weights, bias: expected finite numbers, got NaN or infinity")
        self.encoder, self.weights, self.bias = encoder, weights, bias
        self.threshold, self.batch_size = threshold, batch_size

    @classmethod
    def from_folder(
        cls,
        folder: str | Path,
        *,
        encoder: str | None = None,
        threshold: float = 0.5,
        batch_size: int = 64,
        device: str | None = None,
    ) -> Self:
        """Load the head that `save` wrote.

        Args:
            folder: of the head; the encoder is not in it.
            encoder: by folder or name; None: the one that the head was fitted on, where it lay then.
            threshold: the least p_unsafe that makes an exchange unsafe.
            batch_size: how many exchanges are read at once.
            device: where the encoder is; None lets its library choose.

        Raises:
            ValueError: the folder or the encoder's holds something else, or they do not fit.
        """
        file, head = Path(folder) / JUDGE_FILE, Path(folder) / HEAD_FILE
        if not (file.is_file() and head.is_file()):
            raise ValueError(f"judge {folder}: expected a folder with {JUDGE_FILE} and {HEAD_FILE}, got none")
        named = read_json(file).get("encoder")
        if not isinstance(named, str):
            raise ValueError(f"{file}: expected the encoder's name or folder, got {named!r:.80}")
        with reading_tensors(head):
            tensors = load_file(head)
        if sorted(tensors) != ["bias", "weights"] or tensors["bias"].shape != (1,):
            raise ValueError(f"{head}: expected the tensors weights and bias, of one number, got {sorted(tensors)[:3]}")
        model = SentenceTransformerEncoder(named if encoder is None else encoder, device=device)
        weights, bias = tensors["weights"].astype(np.float64), float(tensors["bias"][0])
        return cls(model, weights, bias, threshold=threshold, batch_size=batch_size)

    def save(self, folder: str | Path, *, encoder: str) -> None:
        """Write the head, and the name or folder of its encoder."""
        Path(folder).mkdir(parents=True, exist_ok=True)
        save_file({"weights": self.weights, "bias": np.array([self.bias])}, Path(folder) / HEAD_FILE)
        (Path(folder) / JUDGE_FILE).write_text(json.dumps({"encoder": encoder}), encoding="utf-8")

    def unsafe_probabilities_of(self, prompts: list[str], replies: list[str]) -> Tensor:
        """Return sigmoid(w . features + b) of one batch; shape (B,)."""
        features = exchange_features(self.encoder, prompts, replies)
        if features.shape[1] != len(self.weights):
            raise ValueError(
                f"encoder: expected one of {len(self.weights) // 2} dimensions, got {features.shape[1] // 2}"
            )
        return torch.from_numpy(features @ self.weights + self.bias).sigmoid()
