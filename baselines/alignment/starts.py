"""The models that training starts from, made where none is given: base and SFT, each a run of its own."""

from __future__ import annotations

from pathlib import Path

from ..training.options import GameOptions
from .pretrain import base_model
from .sft import SFTConfig, sft


def adversary_model(folder: Path | None, defender: Path, out: Path) -> Path:
    """Return the adversary's folder; without one, the base model that the defender in `out` was trained from.

    Raises:
        ValueError: the defender was given, and so there is no such base model.
    """
    if folder is not None:
        return folder
    if defender != out / "sft" / "model":
        raise ValueError(f"adversary: expected a model folder beside the defender {defender}, got none")
    return out / "base" / "model"


def sft_model(folder: Path | None, options: GameOptions, out: Path, seed: int) -> Path:
    """Return the defender's folder; without one, train base and defender in `out/base` and `out/sft`."""
    if folder is not None:
        return folder
    base = base_model(None, options, out, seed)
    return sft(SFTConfig(options=options, model=base, out=out / "sft", seed=seed))
