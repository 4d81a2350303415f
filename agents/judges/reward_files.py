"""The folder of a reward model: what training writes, and what a game or RLHF takes as its reward."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ...envs import Vocabulary
from ...envs.tokenizer_vocabulary import TokenizerVocabulary
from ..folders import read_json
from ..language_model.encoders import SentenceTransformerEncoder
from ..language_model.tokenizers import load_tokenizer
from .reward_model import REWARD_FILE, WEIGHTS_FILE, LinearRewardModel, RewardModelJudge, SequenceRewardModel


def save_reward_model(
    reward_model: SequenceRewardModel | LinearRewardModel,
    folder: Path,
    *,
    encoder: str | None = None,
    reference: float = 0.0,
) -> None:
    """Write a folder for `load_reward_model`.

    Args:
        reward_model: a tokenizer of real text is written beside it.
        folder: new or empty.
        encoder: the name or folder of a linear head's encoder, which is not copied.
        reference: the reward that `load_reward_judge` compares with, such as the mean of known replies.
    """
    reward_model.save_pretrained(folder)
    if isinstance(reward_model, SequenceRewardModel) and isinstance(reward_model.vocabulary, TokenizerVocabulary):
        reward_model.vocabulary.tokenizer.save_pretrained(folder)
    known = _read(folder) | {"encoder": encoder, "reference_reward": reference}
    (folder / REWARD_FILE).write_text(json.dumps(known), encoding="utf-8")


def load_reward_model(
    folder: str | Path, vocabulary: Vocabulary | None = None, *, device: str = "cpu"
) -> SequenceRewardModel | LinearRewardModel:
    """Load what `save_reward_model` wrote.

    Args:
        folder: of the reward model.
        vocabulary: the game's, for a micro model; None: that of the folder's tokenizer.
        device: where the model is put.

    Raises:
        ValueError: the folder holds something else.
    """
    folder = Path(folder)
    if (folder / WEIGHTS_FILE).is_file():
        encoder = _read(folder).get("encoder")
        if not isinstance(encoder, str):
            raise ValueError(f"reward model {folder}: expected the name of its encoder in {REWARD_FILE}, got {encoder}")
        return LinearRewardModel.from_pretrained(folder, SentenceTransformerEncoder(encoder, device=device))
    _require_head(folder)
    if vocabulary is None or (folder / "tokenizer.json").is_file():
        vocabulary = TokenizerVocabulary(load_tokenizer(folder))
    return SequenceRewardModel.from_pretrained(folder, vocabulary, device=device)


def load_reward_judge(
    folder: str | Path,
    vocabulary: Vocabulary | None = None,
    *,
    device: str = "cpu",
    reference: float | None = None,
    threshold: float = 0.5,
    batch_size: int = 256,
) -> RewardModelJudge:
    """Load a reward model as a game's judge.

    A model with a tokenizer of its own reads a game's texts, so it may judge players of another vocabulary.

    Args:
        folder: of the reward model.
        vocabulary: as in `load_reward_model`.
        device: where the model is put.
        reference: the reward that it compares with; None: the one that was saved.
        threshold: the least p_unsafe that makes an exchange unsafe.
        batch_size: how many exchanges are scored at once.
    """
    if reference is None:
        reference = _read(Path(folder)).get("reference_reward", 0.0)
    if isinstance(reference, bool) or not isinstance(reference, int | float):
        raise ValueError(f"{Path(folder) / REWARD_FILE}: expected a number as reference_reward, got {reference!r:.80}")
    model = load_reward_model(folder, vocabulary, device=device)
    return RewardModelJudge(model, reference_reward=reference, threshold=threshold, batch_size=batch_size)


def _require_head(folder: Path) -> None:
    """Refuse a model that rewards nothing yet: it would be given a head of random numbers."""
    config = folder / "config.json"
    if (folder / REWARD_FILE).is_file() or not config.is_file():
        return
    known = read_json(config).get("architectures")
    if "SequenceClassification" not in str(known):
        raise ValueError(f"reward model {folder}: expected a trained one, with its head, got {known!r:.80}")


def _read(folder: Path) -> dict[str, Any]:
    path = folder / REWARD_FILE
    return read_json(path) if path.is_file() else {}
