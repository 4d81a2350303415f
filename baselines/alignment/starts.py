"""The models that training starts from, made where none is given: a step of its own, and it says so.

A micro defender is pre-trained (`base`) and fine-tuned (`sft`), each a run in the folder of whoever asks; a micro
adversary starts from the base model of that defender.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from .pretrain import Starting, base_model
from .sft import SFTConfig, sft


@dataclass(frozen=True, slots=True)
class Starts:
    """The folders of the models that two players start from."""

    adversary: Path
    defender: Path


def both_models(defender: Path | None, adversary: Path | None, asked: Starting) -> Starts:
    """Return the folders of both players' models, made where none is given.

    Raises:
        ValueError: the defender was given and the adversary was not, and so there is no base model to start it from.
    """
    if adversary is None and defender not in (None, asked.out / "sft" / "model"):
        raise ValueError(f"adversary: expected a model folder beside the defender {defender}, got none")
    defender = defender_model(defender, asked)
    return Starts(adversary if adversary is not None else asked.out / "base" / "model", defender)


def defender_model(folder: Path | None, asked: Starting) -> Path:
    """Return the defender's folder; without one, train base and defender in `out/base` and `out/sft`."""
    if folder is not None:
        return folder
    base = base_model(None, asked)
    print(f"defender: none was given, fine-tuning a micro model in {asked.out / 'sft'}", flush=True)
    return sft(SFTConfig(options=asked.options, model=base, out=asked.out / "sft", seed=asked.seed)) / "model"
