"""What a GPU makes of a chat model's size: a rollout and an update of PPO with adapters, on random weights.

    python -m duologue.baselines.performance.accelerator --device cuda --out accelerator.md

A prepared script for a machine that is at hand for minutes: nothing is read and nothing downloaded. The model has the
shape of a published one, in bfloat16, and one adapter on it, which is what a player is; an episode is a prompt and a
reply of a fixed length, drawn at temperature 1. Peaks are the device's own count, and on a CPU the process's.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import transformers
import tyro
from transformers import AutoModelForCausalLM, PreTrainedModel

from ...agents.agent import RandomAgent
from ...agents.language_model.adapters import NewAdapter, SharedBase
from ...agents.language_model.causal_lm import CausalLMAgent
from ..learners.ppo import PPOConfig, PPOLearner
from ..rollouts.episodes import rollout
from ..rollouts.trajectories import trajectories
from ..training.checks import Count, Options, Rows, Whole, Width
from ..training.failures import run_command
from ..training.files import write_text
from ..training.options import TrainedDType
from ..training.presets import PRESETS, with_preset
from .memory import FAMILIES, GIB, Family
from .page import machine, table
from .rollouts import Replies, never_ending, word_tokenizer
from .solvers import peak_memory

VOCABULARY = 4096
"""Words of the prompts and replies; the model has logits for all of its own tokens."""
TINY = Family(
    name="tiny", hidden_size=32, num_layers=2, num_heads=2, num_key_value_heads=1, intermediate_size=64,
    vocab_size=VOCABULARY, tied=True,
)  # fmt: skip
"""To see that the script works."""
SIZES = {family.name: family for family in (*FAMILIES, TINY)}


@dataclass(frozen=True, kw_only=True)
class AcceleratorConfig(Options):
    """What is measured, and where."""

    device: str = "cuda"
    """Where."""
    size: str = FAMILIES[0].name
    """The model's: "0.5 B", "1.5 B", "3 B", "8 B", or "tiny"."""
    dtype: TrainedDType = "bfloat16"
    """Of the base."""
    lora_rank: Count = 8
    """Of the adapter."""
    batch_size: Rows = 128
    """Episodes in a batch."""
    prompt_tokens: Width = 64
    """Tokens of a prompt."""
    reply_tokens: Width = 64
    """Tokens of a reply."""
    tokens_at_once: Whole = 16384
    """Tokens, padding included, that pass through the model at a time in an update."""
    gradient_checkpointing: bool = False
    """Whether layers keep their inputs alone and are computed again for their gradients."""
    num_repetitions: Count = 3
    """Measured batches; one more warms up."""
    out: Path | None = None
    """File to write the table to."""

    def __post_init__(self) -> None:
        """Check the size.

        Raises:
            ValueError: an unknown one.
        """
        super().__post_init__()
        if self.size not in SIZES:
            raise ValueError(f"size: expected one of {', '.join(map(repr, SIZES))}, got {self.size!r}")


@dataclass(frozen=True, slots=True)
class Measured:
    """One batch."""

    num_tokens: int
    """That were said."""
    rollout_seconds: float
    update_seconds: float


def random_model(config: AcceleratorConfig) -> PreTrainedModel:
    """Return a model of the size with random weights, where it is to be measured."""
    shape, dtype = SIZES[config.size].config(), getattr(torch, config.dtype)
    with torch.device(config.device):
        made: PreTrainedModel = AutoModelForCausalLM.from_config(shape, dtype=dtype)
    return made


def measure(config: AcceleratorConfig) -> list[Measured]:
    """Return what each measured batch took."""
    rng = np.random.default_rng(0)
    words = rng.integers(16, VOCABULARY, size=(config.batch_size, config.prompt_tokens))
    prompts = [" ".join(f"w{word}" for word in row) for row in words]
    game = Replies(word_tokenizer(VOCABULARY), prompts, reply_tokens=config.reply_tokens)
    model = never_ending(random_model(config).eval(), game.vocabulary.eos_id)
    adapted = SharedBase(model).new(NewAdapter(rank=config.lora_rank))
    agent = CausalLMAgent(adapted, game.vocabulary, gradient_checkpointing=config.gradient_checkpointing)
    options = PPOConfig(tokens_at_once=config.tokens_at_once, target_kl=0)
    learner = PPOLearner(agent, with_preset(options, PRESETS["pretrained_lora"]))
    found = [_one(game, learner, config, rng) for _ in range(config.num_repetitions + 1)]
    return found[1:]


def _one(game: Replies, learner: PPOLearner, config: AcceleratorConfig, rng: np.random.Generator) -> Measured:
    started = _now(config.device)
    played = rollout(game, (RandomAgent(), learner.agent), config.batch_size, rng)
    between = _now(config.device)
    learner.update(trajectories(played, player=1), rng)
    ended = _now(config.device)
    num_tokens = sum(len(turn.utterance.tokens) for episode in played for turn in episode.turns)
    return Measured(num_tokens, between - started, ended - between)


def _now(device: str) -> float:
    """Return the time once the device has done what it was told."""
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def peak_bytes(device: str) -> int:
    """Return the most memory that was held."""
    return int(torch.cuda.max_memory_allocated(device)) if torch.device(device).type == "cuda" else peak_memory()


def report(config: AcceleratorConfig, found: Sequence[Measured]) -> str:
    """Return the table, and below it what was measured on what."""
    rollouts, updates = (
        statistics.median(one.num_tokens / seconds for one, seconds in zip(found, times, strict=True))
        for times in ([one.rollout_seconds for one in found], [one.update_seconds for one in found])
    )
    name = torch.cuda.get_device_name(config.device) if torch.device(config.device).type == "cuda" else "CPU"
    row = [config.size, f"{rollouts:,.0f}", f"{updates:,.0f}", f"{peak_bytes(config.device) / GIB:,.1f}"]
    head = ["size", "rollout, tokens per second", "update, tokens per second", "peak, GiB"]
    options = PPOConfig()
    said = (
        f"{name}; {config.dtype}, adapter of rank {config.lora_rank}, batch {config.batch_size}, prompts of "
        f"{config.prompt_tokens} and replies of {config.reply_tokens} tokens; an update is {options.num_epochs} "
        f"passes in {options.num_minibatches} gradient steps\neach, with estimates by policy and reference, "
        f"{config.tokens_at_once} tokens at once (what does not fit is read once more), layers computed "
        f"{'twice' if config.gradient_checkpointing else 'once'};\ntokens are the reply's. torch "
        f"{torch.__version__}, transformers {transformers.__version__}, {machine()}."
    )
    return f"{table(head, [row])}\n\n{said}\n"


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print the table and write it."""
    config = tyro.cli(AcceleratorConfig, args=argv, prog="python -m duologue.baselines.performance.accelerator")
    text = report(config, measure(config))
    print(text)
    if config.out is not None:
        write_text(config.out, text)
    return 0


if __name__ == "__main__":
    sys.exit(run_command(main))
