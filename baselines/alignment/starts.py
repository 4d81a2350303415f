"""The models that training starts from, made where none is given: a step of its own, and it says so.

A micro defender is pre-trained (`base`) and fine-tuned (`sft`), each a run in the folder of whoever asks; a micro
adversary starts from the base model of that defender.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Self

import tyro

from ...agents.language_model.adapters import is_adapter
from ..training.options import GameOptions, TrainingOptions
from ..training.run import FINISHED_FILE
from .pretrain import base_model
from .sft import SFTConfig, sft


@dataclass(frozen=True, kw_only=True)
class DefenderOptions(TrainingOptions):
    """What those ask for that start from a defender."""

    options: Annotated[GameOptions, tyro.conf.arg(name="")] = field(default_factory=GameOptions)
    defender: Path | None = None
    """The defender to start from; None: the micro defender, trained first in `out`."""

    def prepared(self) -> Self:
        """Return the options with the defender's folder; without one, base and defender are trained first."""
        if self.defender is not None:
            return self
        base, out = base_model(self.options, self), self.out / "sft"
        if not (out / FINISHED_FILE).is_file():
            print(f"defender: none was given, fine-tuning a micro model in {out}", flush=True)
        tuning = SFTConfig(options=self.options, model=base, out=out, seed=self.seed, device=self.device)
        return replace(self, defender=sft(tuning) / "model")

    @property
    def start(self) -> Path:
        """The defender's folder.

        Raises:
            ValueError: the options are not prepared.
        """
        if self.defender is None:
            raise ValueError("defender: expected the folder of a model, got none; see `prepared`")
        return self.defender


@dataclass(frozen=True, kw_only=True)
class BothPlayersOptions(DefenderOptions):
    """What those ask for that start from a defender and an adversary."""

    adversary: Path | None = None
    """The adversary to start from; None: the base model of that defender."""

    def prepared(self) -> Self:
        """Return the options with both folders.

        Raises:
            ValueError: the defender was given and the adversary was not: there is no base model to start it from; or
                the adversary is no model's folder.
        """
        if self.adversary is not None:
            if not ((self.adversary / "config.json").is_file() or is_adapter(self.adversary)):  # before one is trained
                raise ValueError(f"adversary: expected the folder of a model, got {self.adversary}")
            return super().prepared()
        if self.defender not in (None, self.out / "sft" / "model"):
            raise ValueError(f"adversary: expected a model folder beside the defender {self.defender}, got none")
        return replace(super().prepared(), adversary=self.out / "base" / "model")

    @property
    def starts(self) -> tuple[Path, Path]:
        """The folders of both, the adversary's first.

        Raises:
            ValueError: the options are not prepared.
        """
        if self.adversary is None:
            raise ValueError("adversary: expected the folder of a model, got none; see `prepared`")
        return self.adversary, self.start
