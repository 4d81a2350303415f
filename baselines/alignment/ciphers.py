"""What is equal for all methods that are compared on the red teams: the starts, the updates, the step sizes.

The demo, its study over seeds and the suite of `duologue bench` take their numbers from here, and have no others. These
were chosen with the fine-tuned start and with RLHF on all styles alone, the floor and the ceiling of what is compared,
and none of the methods between.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from ...envs.game import check_player
from ..learners.behaviour_cloning import BehaviourCloningConfig
from ..learners.grpo import GRPOConfig
from ..learners.options import LearnerOptions
from ..learners.ppo import PPOConfig
from ..learners.preference import PreferenceConfig
from ..learners.reinforce import ReinforceConfig
from ..learners.reinforce_pp import ReinforcePPConfig
from ..learners.rloo import RLOOConfig
from ..training.checks import (
    Count,
    LearningRate,
    NotNegative,
    Options,
    Rows,
    Share,
    ShareBelowOne,
    Width,
    check_multiple,
)
from ..training.options import GameOptions
from .pretrain import PretrainConfig, pretrain
from .sft import SFT_CLONING, SFTConfig, sft

LearnerName = Literal["ppo", "reinforce", "rloo", "grpo", "reinforce_pp", "preference"]
"""The learners of one player that come with the package."""


@dataclass(frozen=True, kw_only=True)
class StartSettings(Options):
    """How the base model and the fine-tuned defender are made, from which all methods start."""

    num_base_dialogues: Rows = 30_000
    """Dialogues of average players."""
    base: BehaviourCloningConfig = field(
        default_factory=lambda: BehaviourCloningConfig(num_steps=1600, batch_size=96, learning_rate=8e-3)
    )
    """How the base model is cloned from them."""
    hidden_size: Width = 64
    """Width of every model."""
    num_layers: Width = 2
    """Depth of every model."""
    num_sft_dialogues: Rows = 4_000
    """Demonstrations by the ideal defender."""
    sft: BehaviourCloningConfig = field(default_factory=lambda: replace(SFT_CLONING, num_steps=60))
    """How the defender is cloned from them."""
    stop_at_unsafe_share: Share | None = None
    """Fine-tuning stops once at most this share of what is to be refused is answered; None: never early."""


@dataclass(frozen=True, kw_only=True)
class MethodSettings(Options):
    """What every method has."""

    start: StartSettings = field(default_factory=StartSettings)
    """What it starts from."""
    num_updates: Count = 120
    """Updates of the defender, a multiple of `updates_per_round`."""
    batch_size: Rows = 192
    """Episodes for one update."""
    updates_per_round: Count = 12
    """Updates of the defender in a round of the methods that have rounds."""
    attack_updates_per_round: Count = 6
    """Updates of the adversary in a round, in the methods that take turns."""
    static_share: ShareBelowOne = 0.5
    """Share of a defend batch, 0 to 1, whose prompts are the seed requests, in the methods that mix them in."""
    learning_rate: LearningRate = 4e-3
    """Of the defender."""
    adversary_learning_rate: LearningRate = 1e-3
    """Of the adversary in every method that has one, and of whoever attacks the finished defender."""
    num_minibatches: Count = 4
    """Gradient steps of the defender in a pass over a batch."""
    kl_coef: NotNegative = 0.01
    """The price of a nat of divergence from the start; losses on preferences have their own, 0.1."""
    ptx_coef: NotNegative = 0.05
    """Weight of the likelihood of the base corpus in every gradient step of the defender (PPO-ptx)."""
    num_ptx_dialogues: Rows = 20_000
    """Dialogues of the base corpus for it."""

    def __post_init__(self) -> None:
        """Check that rounds come out even, besides the ranges."""
        super().__post_init__()
        check_multiple("num_updates", self.num_updates, self.updates_per_round, called="updates_per_round")

    @property
    def num_rounds(self) -> int:
        """Rounds of the methods that have rounds."""
        return self.num_updates // self.updates_per_round

    def learner(self, name: LearnerName = "ppo", *, player: int = 1) -> LearnerOptions:
        """Return a learner's options at the settings of a player, 0 or 1."""
        check_player(player)
        rates = self.adversary_learning_rate, self.learning_rate
        given: Any = {"learning_rate": rates[player]}
        if player == 1:
            given |= {"ptx_coef": self.ptx_coef, "num_minibatches": self.num_minibatches}
        charged: Any = {**given, "kl_coef": self.kl_coef}
        return LearnerOptions(
            learner=name,
            num_ptx_dialogues=self.num_ptx_dialogues,
            ppo=PPOConfig(**charged),
            reinforce=ReinforceConfig(**charged),
            rloo=RLOOConfig(**charged),
            grpo=GRPOConfig(**charged),
            reinforce_pp=ReinforcePPConfig(**charged),
            preference=PreferenceConfig(**given),
        )


@dataclass(frozen=True)
class Starts:
    """Base model and fine-tuned defender of one seed: trained once in a folder, then read from it."""

    game: str
    """The registered name."""
    seed: int
    settings: StartSettings
    folder: Path

    @cached_property
    def base(self) -> Path:
        """The base model's folder; it is trained now unless it is there."""
        config = PretrainConfig(
            options=GameOptions(game=self.game),
            out=self.folder / "base",
            seed=self.seed,
            num_threads=1,
            num_demonstrations=self.settings.num_base_dialogues,
            hidden_size=self.settings.hidden_size,
            num_layers=self.settings.num_layers,
            cloning=self.settings.base,
        )
        return pretrain(config) / "model"

    @cached_property
    def sft(self) -> Path:
        """The defender's folder, likewise."""
        config = SFTConfig(
            options=GameOptions(game=self.game),
            model=self.base,
            out=self.folder / "sft",
            seed=self.seed,
            num_threads=1,
            num_demonstrations=self.settings.num_sft_dialogues,
            cloning=self.settings.sft,
            stop_at_unsafe_share=self.settings.stop_at_unsafe_share,
        )
        return sft(config) / "model"


CEILING_TIMES = 2
"""How many times the updates of the others the ceiling takes: it says what the model can be, not what they buy."""
SETTINGS = MethodSettings()
"""Of red_team-v1."""
RED_TEAM_SETTINGS = MethodSettings(
    start=StartSettings(base=BehaviourCloningConfig(), sft=SFT_CLONING, stop_at_unsafe_share=0.03),
    learning_rate=2e-3,
    num_minibatches=2,
    adversary_learning_rate=1e-3,
    ptx_coef=0.0,
)
"""Of red_team-v0, as in `duologue demo`."""
