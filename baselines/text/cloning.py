"""The loop of `training.py`: a causal language model is cloned from packed text dialogues, stage after stage.

The loss is equation 7 or 8 of arXiv 2402.08078, section 4, a mean over the cloned tokens of the whole batch: how many
processes share the rows, and how many rows one forward pass takes, change it by nothing but rounding.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor, nn
from transformers import SchedulerType, get_scheduler

from ...agents.language_model.causal_lm import Attention
from ..data.readers import Format, OnError
from ..functional.masking import masked_sum
from ..functional.policy_losses import token_logprobs
from ..learners.optimisation import descend, make_optimizer
from ..training.checks import Count, LearningRate, NotNegative, OpenShare, Options, Positive, Rows, Whole
from ..training.distributed import Processes, peak_memory_gib
from ..training.options import TrainedDType, TrainingOptions
from ..training.state import StateValue
from .causal_models import FLASH, ModelSize
from .corpora import Replies
from .packing import PackedBatch, TokenCorpus, epoch_rows, next_token_logits
from .packing import pack as pack_rows


@dataclass(frozen=True, kw_only=True)
class StageConfig(Options):
    """One stage: whose tokens are cloned, and how."""

    tokens_of: Literal["all", "player_0", "player_1"]
    """Whose tokens are in the loss: all (eq. 7), or one player's (eq. 8: player_1, the assistant)."""
    replies: Replies
    """Which dialogues of preference pairs are read; data without pairs is read whole in any case."""
    num_steps: Whole
    """Gradient steps; 0 leaves the stage out."""
    learning_rate: LearningRate
    """Peak learning rate."""
    warmup_steps: Whole = 20
    """Steps until the peak."""
    schedule: Literal["linear", "cosine", "constant_with_warmup"] = "cosine"
    """How the learning rate falls after it (`transformers.get_scheduler`)."""


PRETRAIN = StageConfig(tokens_of="all", replies="both", num_steps=600, learning_rate=3e-3)
SFT = StageConfig(tokens_of="player_1", replies="chosen", num_steps=100, learning_rate=5e-4)


@dataclass(frozen=True, kw_only=True)
class TextTrainingConfig(TrainingOptions):
    """Pre-training and fine-tuning on text dialogues."""

    algorithm: ClassVar[str] = "text"
    shown: ClassVar[tuple[str, ...]] = ("results.json",)
    data: tuple[Path, ...]
    """Files or folders of dialogues; see `read_dialogues` for what is taken."""
    data_format: Format = "auto"
    """How a row is read; "auto" tells it from the row."""
    on_error: OnError = "raise"
    """Whether an unusable row stops the run or is skipped and counted."""
    out: Path = Path("runs/text")
    """The run's folder; the model is in its folder `model`, the pre-trained one in `pretrain`."""
    tokenizer: Path | None = None
    """The folder of a tokenizer; None: the model's, or without one a byte-level BPE trained on the data."""
    vocab_size: Rows = 4096
    """Tokens of a new tokenizer."""
    model: Path | None = None
    """The folder of any causal model; None: a new one."""
    size: ModelSize = field(default_factory=ModelSize)
    """The size of a new model."""
    lora_rank: Whole = 0
    """Train low-rank adapters of this rank and freeze all else; 0: train every weight."""
    pretrain: StageConfig = PRETRAIN
    """The first stage, equation 7."""
    sft: StageConfig = SFT
    """The second stage, equation 8."""
    max_row_tokens: Rows = 512
    """Tokens in a row; dialogues are cut there, and several shorter ones share it."""
    pack: bool = True
    """Whether dialogues share rows; a model that cannot keep them apart needs one to a row."""
    batch_rows: Rows = 8
    """Rows in a gradient step, those of all processes together."""
    rows_at_once: Rows = 8
    """Rows in one forward pass; fewer need less memory, and gradients add up to the same."""
    gradient_checkpointing: bool = False
    """Compute activations again in the backward pass: less memory, a third more time."""
    weight_decay: NotNegative = 0.1
    """AdamW's decay."""
    max_grad_norm: Positive = 1.0
    """The gradient is scaled down to this norm."""
    dtype: TrainedDType = "float32"
    """What forward passes compute in (autocast); weights and their updates are float32."""
    attn_implementation: Attention = "sdpa"
    """How attention is computed; flash_attention_2 needs the package flash-attn, a GPU and bfloat16."""
    trust_remote_code: bool = False
    """Whether Python code in the folders of `model` and `tokenizer` may be run."""
    device: str = "cpu"
    """Where the model is; under `accelerate launch`, "cuda" gives each process its own."""
    heldout_share: OpenShare = 0.1
    """Share of the dialogues that are measured and never trained on."""
    save_every: Count = 100
    """Steps between two saved states."""

    @property
    def stages(self) -> dict[str, StageConfig]:
        """The stages that are run, in order."""
        stages = {"pretrain": self.pretrain, "sft": self.sft}
        return {name: stage for name, stage in stages.items() if stage.num_steps > 0}

    def __post_init__(self) -> None:
        """Check that there is something to do."""
        super().__post_init__()
        if not self.stages:
            raise ValueError("pretrain.num_steps, sft.num_steps: expected one above 0, got neither")
        if self.attn_implementation == FLASH and (self.dtype == "float32" or self.device == "cpu"):
            found = f"{self.dtype} on {self.device}"
            raise ValueError(f"attn_implementation: expected bfloat16 on a GPU for {FLASH}, got {found}")


@dataclass(frozen=True, slots=True)
class TextTrainingStep:
    """What one gradient step reports."""

    iteration: int
    """Gradient steps so far, those of the stages before included."""
    stage: str
    """"pretrain" or "sft"."""
    loss_nats: float
    """Mean negative log-likelihood of a cloned token."""
    num_tokens: int
    """Tokens in the loss."""
    filled_share: float
    """Share of the batch's positions that hold a token, 0 to 1; the rest is padding."""
    learning_rate: float
    """Of this step."""
    grad_norm: float
    """Before it is clipped."""
    tokens_per_second: float
    """Tokens of the batch, padding apart, by the time of the step."""
    peak_memory_gib: float
    """The most that was allocated so far: on the GPU, or by the main process."""


@dataclass(frozen=True, slots=True)
class StageData:
    """What a stage is trained and measured on."""

    train: TokenCorpus
    heldout: TokenCorpus


class TextTraining:
    """The learner: iterate over it to train through all stages; it can be saved between two steps."""

    def __init__(
        self, model: nn.Module, data: Mapping[str, StageData], config: TextTrainingConfig, processes: Processes
    ) -> None:
        """Take the model to train in place, and the data of each stage.

        Raises:
            ValueError: rows that cannot be shared among the processes, too few for a batch, or nothing to clone.
        """
        if config.batch_rows % processes.count:
            raise ValueError(f"batch_rows: expected a multiple of {processes.count} processes, got {config.batch_rows}")
        self.model, self.data, self.config, self.processes = model.to(processes.device), data, config, processes
        self.iteration = 0
        self.heldout_nats: list[float] = []  # before and after each stage
        self._wrapped = processes.wrap(self.model)
        self._parameters = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        self._ends = dict(zip(config.stages, np.cumsum([s.num_steps for s in config.stages.values()]), strict=True))
        for name in self._ends:
            self._check_size(name)
        self._begin_stage()

    @property
    def stage(self) -> str:
        """The stage of the next step; the last one at the end."""
        return next((name for name, end in self._ends.items() if self.iteration < end), list(self._ends)[-1])

    def __iter__(self) -> Iterator[TextTrainingStep]:
        """Yield after each gradient step; a stage begins and ends with a measurement of what is held out."""
        while self.iteration < self._ends[self.stage]:
            if len(self.heldout_nats) == 2 * list(self._ends).index(self.stage):
                if self.iteration:  # the stage before has ended
                    self._begin_stage()
                self.heldout_nats.append(self._measure(self.stage))
            stage = self.stage
            step = self._step(stage)
            if self.iteration == self._ends[stage]:
                self.heldout_nats.append(self._measure(stage))
            yield step

    def ends_stage(self, step: TextTrainingStep) -> bool:
        """Return whether a step was the last of its stage."""
        return step.iteration == int(self._ends[step.stage])

    def _check_size(self, name: str) -> None:
        data, config = self.data[name], self.config
        num_rows = len(epoch_rows(data.train, config.max_row_tokens, np.random.default_rng(0), pack=config.pack))
        if num_rows < config.batch_rows:
            raise ValueError(
                f"{name}: expected dialogues for at least batch_rows={config.batch_rows} rows, "
                f"got {len(data.train)} for {num_rows}"
            )
        tokens_of = config.stages[name].tokens_of
        for part, corpus in (("training", data.train), ("held-out", data.heldout)):
            if not corpus.loss_mask(tokens_of).any():
                raise ValueError(f"{name}: expected tokens of {tokens_of} in the {part} dialogues, got none")

    def _begin_stage(self) -> None:
        """Start with a fresh optimiser and the stage's own dialogues."""
        stage = self.config.stages[self.stage]
        self._optimizer = make_optimizer(
            self._parameters, learning_rate=stage.learning_rate, weight_decay=self.config.weight_decay
        )
        kind, numbers = SchedulerType(stage.schedule), (stage.warmup_steps, stage.num_steps)
        self._scheduler = get_scheduler(kind, self._optimizer, *numbers)
        corpus = self.data[self.stage].train
        cloned = corpus.loss_mask(stage.tokens_of)
        self._num_cloned = np.add.reduceat(cloned, corpus.starts[:-1], dtype=np.int64)
        self._set_epoch(0)

    def _set_epoch(self, epoch: int) -> None:
        rng = np.random.default_rng([self.config.seed, epoch])
        self._epoch, self._cursor = epoch, 0
        self._rows = epoch_rows(self.data[self.stage].train, self.config.max_row_tokens, rng, pack=self.config.pack)

    def _next_rows(self) -> list[list[int]]:
        """Return the rows of the next step, those of all processes."""
        if self._cursor + self.config.batch_rows > len(self._rows):
            self._set_epoch(self._epoch + 1)
        rows = self._rows[self._cursor : self._cursor + self.config.batch_rows]
        self._cursor += len(rows)
        return rows

    def _step(self, stage: str) -> TextTrainingStep:
        begun, corpus, rows = time.perf_counter(), self.data[stage].train, self._next_rows()
        num_cloned = int(sum(self._num_cloned[index] for row in rows for index in row))
        num_tokens = int(sum(corpus.lengths[index] for row in rows for index in row))
        learning_rate = float(self._scheduler.get_last_lr()[0])
        loss, num_positions = self._accumulate(stage, corpus, rows, num_cloned)
        norm = self._descend(loss)
        self.iteration += 1
        return TextTrainingStep(
            iteration=self.iteration,
            stage=stage,
            loss_nats=loss,
            num_tokens=num_cloned,
            filled_share=num_tokens / num_positions,
            learning_rate=learning_rate,
            grad_norm=norm,
            tokens_per_second=num_tokens / (time.perf_counter() - begun),
            peak_memory_gib=peak_memory_gib(self.processes.device),
        )

    def _accumulate(
        self, stage: str, corpus: TokenCorpus, rows: Sequence[list[int]], num_cloned: int
    ) -> tuple[float, int]:
        """Add up the gradients of this process's share; return the loss and the positions of all processes."""
        self._wrapped.train()
        self._optimizer.zero_grad(set_to_none=True)
        processes, total = self.processes, torch.zeros(2, device=self.processes.device, dtype=torch.float64)
        own, tokens_of = rows[processes.rank :: processes.count], self.config.stages[stage].tokens_of
        starts = range(0, len(own), self.config.rows_at_once)
        with self._dropout_seeded():
            for start in starts:
                batch = pack_rows(corpus, own[start : start + self.config.rows_at_once]).to(processes.device)
                with processes.accumulate(self._wrapped, last=start == starts[-1]):
                    loss = self._summed_nats(self._wrapped, batch, tokens_of) / max(1, num_cloned)
                    (loss * processes.count).backward()  # several processes take the mean of their gradients
                total += torch.stack([loss.detach().double(), loss.new_tensor(batch.tokens.numel()).double()])
        loss_nats, num_positions = processes.total(total).tolist()
        return loss_nats, int(num_positions)

    def _descend(self, loss: float) -> float:
        if not math.isfinite(loss):
            raise FloatingPointError(f"loss: expected a finite number, got {loss}")
        norm = descend(self._optimizer, self._parameters, max_grad_norm=self.config.max_grad_norm)
        self._scheduler.step()
        return norm

    def _summed_nats(self, model: nn.Module, batch: PackedBatch, tokens_of: str) -> Tensor:
        """Return -sum(log pi(a_t|s_t)) over the cloned tokens of a batch: equations 7 and 8 before the mean."""
        with torch.autocast(self.processes.device.type, torch.bfloat16, enabled=self.config.dtype == "bfloat16"):
            in_one_row = self.config.pack and self.config.attn_implementation == FLASH
            logits = one_row_logits(model, batch) if in_one_row else next_token_logits(model, batch)
        return -masked_sum(token_logprobs(logits.float(), batch.tokens[:, 1:]), batch.loss_mask(tokens_of)[:, 1:])

    @torch.no_grad()
    def _measure(self, stage: str) -> float:
        """Return the mean negative log-likelihood of the cloned tokens that are held out."""
        corpus, tokens_of = self.data[stage].heldout, self.config.stages[stage].tokens_of
        rows = epoch_rows(corpus, self.config.max_row_tokens, np.random.default_rng(0), pack=self.config.pack)
        own = rows[self.processes.rank :: self.processes.count]
        total = torch.zeros((), device=self.processes.device, dtype=torch.float64)
        self.model.eval()
        for start in range(0, len(own), self.config.rows_at_once):
            batch = pack_rows(corpus, own[start : start + self.config.rows_at_once]).to(self.processes.device)
            total += self._summed_nats(self.model, batch, tokens_of).double()
        return float(self.processes.total(total)) / int(corpus.loss_mask(tokens_of).sum())

    @contextmanager
    def _dropout_seeded(self) -> Iterator[None]:
        """Draw what dropout leaves out from the seed and the step, so that nothing of it needs to be saved."""
        device = self.processes.device
        entropy = [self.config.seed, self.iteration, self.processes.rank]
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            torch.manual_seed(int(np.random.SeedSequence(entropy).generate_state(1)[0]))
            yield

    def state_dict(self) -> dict[str, StateValue]:
        """Return all that the next step depends on."""
        return {
            "iteration": self.iteration,
            "epoch": self._epoch,
            "cursor": self._cursor,
            "heldout_nats": self.heldout_nats,
            "model": self.model.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "scheduler": self._scheduler.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a saved state."""
        self.iteration, self.heldout_nats = state["iteration"], list(state["heldout_nats"])
        self.model.load_state_dict(state["model"])
        if len(self.heldout_nats) == 2 * list(self._ends).index(self.stage):
            return  # saved between two stages; the next one begins afresh
        self._begin_stage()
        self._set_epoch(state["epoch"])
        self._cursor = state["cursor"]
        self._optimizer.load_state_dict(state["optimizer"])
        self._scheduler.load_state_dict(state["scheduler"])


def one_row_logits(model: nn.Module, batch: PackedBatch) -> Tensor:
    """Return what `next_token_logits` does, from one long row: all rows behind each other.

    Flash attention keeps dialogues apart by their positions in a batch of one row only; in a batch of several,
    transformers lets each row attend over all its dialogues (`_is_packed_sequence` of its flash-attention utilities).
    """
    tokens, positions = batch.tokens[:, :-1], batch.position_ids[:, :-1]  # (B, T - 1)
    logits: Tensor = model(
        input_ids=tokens.reshape(1, -1), position_ids=positions.reshape(1, -1), use_cache=False
    ).logits
    return logits.view(*tokens.shape, -1)
