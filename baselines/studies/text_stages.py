"""The training stages of one file of preference pairs, in one command: tokenizer, language model, reward models.

The stages are those of arXiv 2402.08078, section 4: pre-training on both replies of every pair (equation 7),
fine-tuning on the chosen one (equation 8), and the reward models that stage three learns against (equation 1 of
arXiv 2203.02155), made in up to three ways: a linear head on a frozen sentence encoder, a transformer from nothing,
and the pre-trained model with a new head. Each stage is a run of its own in a folder of this one (`text/training.py`,
`reward_model.py`), so that a stopped command goes on where it was, and finished stages are not repeated.

A reward model is measured by cross-validation: the prompts are split into fifths, each fifth is held out once, from a
model with a seed of its own, so that every pair is tested once and the interval is that of all pairs. The model with a
head on the pre-trained one has read the held-out replies in pre-training, both of each pair and without their order;
on the fine-tuned model, which has read the chosen one alone, it would know the answers.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal

from ...agents.language_model.causal_lm import Attention
from ...agents.language_model.encoders import SentenceTransformerEncoder
from ..alignment.reward_model import BradleyTerryConfig, RememberingEncoder, RewardModelConfig, train_reward_model
from ..data.readers import OnError
from ..text.causal_models import ModelSize
from ..text.cloning import StageConfig, TextTrainingConfig
from ..text.training import train_text
from ..training.checks import Count, Few, Rows, Width
from ..training.loop import Training, trainer
from ..training.options import TrainedDType, TrainingOptions
from ..training.state import Stateful
from .text_stages_report import REPORT_FILE, TEXT_FOLDER, reward_folder, write_stages_report

NUM_FOLDS = 5
"""Reward models of a kind; each is tested on another fifth of the prompts."""

Size = Literal["micro", "small"]


@dataclass(frozen=True, kw_only=True)
class Preset:
    """What goes with a size of the language model."""

    model: ModelSize
    vocab_size: int
    max_row_tokens: int
    batch_rows: int
    pretrain: StageConfig
    sft: StageConfig
    backbone: BradleyTerryConfig
    """How the pre-trained model learns from pairs."""


PRESETS: dict[Size, Preset] = {
    "micro": Preset(  # 2.6 M parameters; some twenty minutes of one core
        model=ModelSize(),
        vocab_size=4096,
        max_row_tokens=512,
        batch_rows=8,
        pretrain=StageConfig(tokens_of="all", replies="both", num_steps=600, learning_rate=3e-3),
        sft=StageConfig(tokens_of="player_1", replies="chosen", num_steps=100, learning_rate=5e-4),
        backbone=BradleyTerryConfig(num_steps=40, learning_rate=3e-4, warmup_steps=10, check_every=10),
    ),
    "small": Preset(  # 70 M parameters; for an accelerator
        model=ModelSize(hidden_size=640, num_layers=12, num_heads=10),
        vocab_size=16_384,
        max_row_tokens=1024,
        batch_rows=32,
        pretrain=StageConfig(tokens_of="all", replies="both", num_steps=300, learning_rate=6e-4),
        sft=StageConfig(tokens_of="player_1", replies="chosen", num_steps=30, learning_rate=1e-4),
        backbone=BradleyTerryConfig(num_steps=40, learning_rate=3e-5, warmup_steps=10, check_every=10, rows_at_once=64),
    ),
}
SCRATCH = BradleyTerryConfig(num_steps=60, check_every=10)
"""How a transformer from nothing does; on two thousand pairs its validation loss rises again after some 20 steps."""


@dataclass(frozen=True, kw_only=True)
class TextStagesConfig(TrainingOptions):
    """Tokenizer, language model and reward models from one file of preference pairs."""

    algorithm: ClassVar[str] = "text_stages"
    shown: ClassVar[tuple[str, ...]] = (REPORT_FILE,)
    pairs: Path
    """A file or folder of preference pairs, such as hh-rlhf's."""
    encoder: str | None = None
    """A sentence-transformers model, by folder or name, for reward models on a frozen encoder; None: none are made."""
    out: Path = Path("runs/text_stages")
    """The run's folder: `text/model` and `reward/...` are in it, and the report."""
    size: Size = "micro"
    """Of the language model: micro has 2.6 M parameters, small 70 M; rows, steps and learning rates go with it."""
    hidden_size: Width | None = None
    """Width; None: that of the size."""
    num_layers: Width | None = None
    """Depth; None: that of the size."""
    num_heads: Width | None = None
    """Attention heads; None: those of the size."""
    vocab_size: Rows | None = None
    """Tokens of the tokenizer; None: those of the size."""
    pretrain_steps: Count | None = None
    """Gradient steps of pre-training; None: those of the size."""
    sft_steps: Count | None = None
    """Gradient steps of fine-tuning; None: those of the size."""
    reward_steps: Count | None = None
    """Gradient steps of each reward model that is a transformer; None: 60 from nothing, 40 on the pre-trained one."""
    num_folds: Few = NUM_FOLDS
    """Reward models of each kind, 1 to 5."""
    dtype: TrainedDType = "float32"
    """What training computes in (autocast); weights and their updates are float32."""
    attn_implementation: Attention = "sdpa"
    """How the language model's attention is computed."""
    on_error: OnError = "raise"
    """Whether an unusable line of the pairs stops the run or is skipped and counted."""
    save_every: Count = 100
    """Steps between two saved states."""

    def __post_init__(self) -> None:
        """Check what no stage would check before the others have run."""
        super().__post_init__()
        if not 1 <= self.num_folds <= NUM_FOLDS:
            raise ValueError(f"num_folds: expected 1 to {NUM_FOLDS}, got {self.num_folds}")

    @property
    def text(self) -> TextTrainingConfig:
        """The options of the language model's run."""
        preset = PRESETS[self.size]
        return TextTrainingConfig(
            data=(self.pairs,),
            on_error=self.on_error,
            out=self.out / TEXT_FOLDER,
            size=_changed(
                preset.model, hidden_size=self.hidden_size, num_layers=self.num_layers, num_heads=self.num_heads
            ),
            vocab_size=preset.vocab_size if self.vocab_size is None else self.vocab_size,
            max_row_tokens=preset.max_row_tokens,
            batch_rows=preset.batch_rows,
            pretrain=_changed(preset.pretrain, num_steps=self.pretrain_steps),
            sft=_changed(preset.sft, num_steps=self.sft_steps),
            dtype=self.dtype,
            attn_implementation=self.attn_implementation,
            device=self.device,
            seed=self.seed,
            save_every=self.save_every,
            num_threads=self.num_threads,
        )

    @property
    def rewards(self) -> list[RewardModelConfig]:
        """The options of the reward models' runs, in order."""
        return [self._reward(kind, fold) for kind in self.kinds for fold in range(self.num_folds)]

    @property
    def kinds(self) -> list[str]:
        """The kinds of reward model that are made."""
        return [*(["encoder"] if self.encoder is not None else []), "scratch", "pretrained"]

    def _reward(self, kind: str, fold: int) -> RewardModelConfig:
        training = PRESETS[self.size].backbone if kind == "pretrained" else SCRATCH
        return RewardModelConfig(
            data=self.pairs,
            on_error=self.on_error,
            encoder=self.encoder if kind == "encoder" else None,
            model=self.out / TEXT_FOLDER / "pretrain" if kind == "pretrained" else None,
            out=self.out / reward_folder(kind, fold),
            seed=self.seed + fold,
            fold=fold,
            training=_changed(training, num_steps=self.reward_steps),
            dtype=self.dtype,
            save_every=self.save_every,
            num_threads=self.num_threads,
            device=self.device,
        )


@dataclass(frozen=True, slots=True)
class StageDone:
    """What a finished stage took, of the process that finished it."""

    iteration: int
    """Stages so far."""
    stage: str
    """Its folder in the run's."""
    seconds: float
    """By the clock."""
    core_seconds: float
    """Of all threads; on a machine with other work this is what the stage costs."""


class TextStages(Stateful):
    """The stages as a learner: iterate over it to run them; what has been done is known from its state."""

    saved = ("iteration",)

    def __init__(self, config: TextStagesConfig) -> None:
        """Take the options."""
        self.config, self.iteration = config, 0
        self._encoder: RememberingEncoder | None = None

    @property
    def stages(self) -> list[tuple[Path, Callable[[], Path]]]:
        """The folder of each stage and what runs it, in order."""
        text = self.config.text
        rewards = [(reward.out, partial(self._train_reward, reward)) for reward in self.config.rewards]
        return [(text.out, partial(train_text, text)), *rewards]

    def __iter__(self) -> Iterator[StageDone]:
        """Yield after each stage."""
        for folder, train_stage in self.stages[self.iteration :]:
            begun, core_begun = time.perf_counter(), time.process_time()
            train_stage()
            self.iteration += 1
            seconds, core_seconds = time.perf_counter() - begun, time.process_time() - core_begun
            yield StageDone(self.iteration, folder.relative_to(self.config.out).as_posix(), seconds, core_seconds)

    def _train_reward(self, reward: RewardModelConfig) -> Path:
        """Train a reward model; those on a sentence encoder share what it has encoded."""
        if reward.encoder is not None and self._encoder is None:
            self._encoder = RememberingEncoder(SentenceTransformerEncoder(reward.encoder, device=reward.device))
        return train_reward_model(reward, encoder=self._encoder)


@trainer
def train_text_stages(config: TextStagesConfig) -> Training:
    """Return what a run of all stages is."""
    learner = TextStages(config)
    return Training(
        learner=learner,
        num_steps=len(learner.stages),
        save_every=1,
        write=partial(write_stages_report, kinds=config.kinds, num_folds=config.num_folds),
    )


def _changed(options: Any, **changes: int | None) -> Any:
    """Return the options with those changes that are not None."""
    return replace(options, **{name: value for name, value in changes.items() if value is not None})
