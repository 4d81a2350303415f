"""TRL's RLOOTrainer, beside which learning is measured: TRL 1.16 has no PPOTrainer any more, and RLOO is nearest to it.

RLOO charges KL to a frozen reference in its rewards, as PPO does here, and has neither values nor their head.
"""

from __future__ import annotations

import importlib
import io
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True, slots=True)
class Step:
    """A rollout and one update epoch."""

    seconds: float
    num_tokens: int
    """Of all its replies together."""

    @property
    def speed(self) -> float:
        """Tokens per second."""
        return self.num_tokens / self.seconds


def import_trl() -> Any:
    """Return trl, which only this comparison needs.

    Raises:
        ImportError: it is missing; the message says how to install it.
    """
    try:
        return importlib.import_module("trl")
    except ImportError as error:
        raise ImportError(f"trl: expected it for the comparison, got {error}; pip install trl datasets") from error


def trl_steps(
    model: Path,
    tokenizer: PreTrainedTokenizerBase,
    messages: Sequence[dict[str, str]],
    reward: Callable[[Sequence[int]], float],
    *,
    batch_size: int,
    reply_tokens: int,
    num_steps: int,
    lora_rank: int = 0,
    clock: Callable[[], float] = time.perf_counter,
) -> list[Step]:
    """Return so many steps of RLOOTrainer, each from the end of the one before; a first one is left out.

    Args:
        model: folder of the model, which is the frozen reference, too.
        tokenizer: its.
        messages: what it is asked, each a conversation of its own.
        reward: what a reply's tokens earn.
        batch_size: replies in a step, two to each prompt.
        reply_tokens: at most, of each.
        num_steps: how many are measured.
        lora_rank: of an adapter on all linear maps but the output's, alpha twice the rank; 0: all weights are trained.
        clock: tells the seconds.
    """
    trl, datasets = import_trl(), importlib.import_module("datasets")
    callbacks: Any = importlib.import_module("transformers.trainer_callback")
    ends, counts = list[float](), list[int]()

    class Clock(callbacks.TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, *_: object, **__: object) -> None:
            ends.append(clock())

    def rewards(completion_ids: list[list[int]], **_: object) -> list[float]:
        counts.append(sum(map(len, completion_ids)))
        return [reward(tokens) for tokens in completion_ids]

    rows = [{"prompt": [message]} for message in messages]
    with tempfile.TemporaryDirectory() as folder, _silence():
        trainer = trl.RLOOTrainer(
            model=str(model),
            reward_funcs=rewards,
            args=_config(trl, folder, batch_size=batch_size, reply_tokens=reply_tokens, num_steps=num_steps + 1),
            train_dataset=datasets.Dataset.from_list(rows * (num_steps + 1)),
            processing_class=tokenizer,
            callbacks=[Clock()],
            peft_config=_adapter(lora_rank) if lora_rank else None,
        )
        trainer.train()
    return [Step(end - start, count) for start, end, count in zip(ends[:-1], ends[1:], counts[1:], strict=True)]


def _adapter(rank: int) -> Any:
    peft = importlib.import_module("peft")
    return peft.LoraConfig(task_type="CAUSAL_LM", r=rank, lora_alpha=2 * rank, target_modules="all-linear")


@contextmanager
def _silence() -> Iterator[None]:
    """Keep a trainer's bars, tables and warnings out of ours."""
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        yield


def _config(trl: Any, folder: str, *, batch_size: int, reply_tokens: int, num_steps: int) -> Any:
    return trl.RLOOConfig(
        output_dir=folder,
        model_init_kwargs={"dtype": "float32"},
        learning_rate=1e-6,
        per_device_train_batch_size=batch_size,
        gradient_accumulation_steps=1,
        num_generations=2,
        num_iterations=1,
        max_steps=num_steps,
        max_completion_length=reply_tokens,
        temperature=1.0,
        beta=0.05,
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        logging_strategy="no",
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
    )
