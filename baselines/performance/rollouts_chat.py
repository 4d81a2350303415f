"""The benchmark of rollouts on a chat model: decoding beside transformers' `generate`, LoRA beside TRL's RLOOTrainer.

Decoding is `CausalLMAgent.speak` and `model.generate` on the same prompts of several lengths, at temperature 1 and
nothing cut off; `<eos>` is out of the model's reach, so that both say as many tokens. Ours reports log-probabilities.

Learning is a rollout and one gradient step with low-rank adapters on the same linear maps: PPO with its value head, KL
to the bare base in the rewards, here; RLOO, with the same KL in the rewards, there (TRL 1.16 has no PPO any more).
Replies end where the model ends them. Each side runs in processes of its own, which take turns, so that each has its
own peak of memory; what a process holds once all is imported, and before the model is read, is shown beside it.

Run it by `OMP_NUM_THREADS=1 python -m duologue.baselines.performance.rollouts_chat --model FOLDER`.
"""

from __future__ import annotations

import importlib
import multiprocessing
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
import tyro
from torch import Tensor

from ...agents.language_model.adapters import NewAdapter
from ...agents.language_model.causal_lm import CausalLMAgent
from ...agents.language_model.tokenizers import load_tokenizer
from ...envs import Episode, View
from ..learners.ppo import PPOLearner
from ..training.checks import Count, Options, Rows
from ..training.failures import run_command
from .page import Figure, figure_table, machine, put_section, table, write_figures
from .rival_trl import Step, import_trl, trl_steps
from .rollouts import LEARN_GOAL, Replies, even_share, halves, never_ending, ppo_config, timed_step, tokens_per_second
from .solvers import peak_memory

CLOCK = time.process_time
"""CPU time, of all threads: steps last for seconds, and somebody else may want the core meanwhile."""
GENERATE_GOAL, MEMORY_GOAL = 1.0, 1.0
DECODED_BATCHES = (4, 16)
PROMPTS = tuple(
    f"{asked} {subject}."
    for asked, subject in product(
        ("Explain to me", "Write a long letter about", "Tell me everything that you know of", "Teach a child"),
        ("the tides", "how bread is baked in a village", "gold", "why some birds fly south for the winter"),
    )
)


@dataclass(frozen=True, kw_only=True)
class ChatBenchmarkConfig(Options):
    """What is measured, and on which model."""

    model: Path
    """Folder of a chat model."""
    lora_rank: Count = 8
    """Of the adapters that are trained."""
    batch_size: Rows = 8
    """Replies in a batch that is learned from."""
    reply_tokens: Rows = 24
    """Tokens of each reply, at most."""
    num_repetitions: Count = 4
    """Measured batches of each kind; one more warms up."""
    json: Path | None = None
    """File to write the figures to."""
    markdown: Path | None = None
    """Page whose section of this is to be replaced."""

    def __post_init__(self) -> None:
        """Check that TRL's groups of two fill the batch."""
        super().__post_init__()
        if self.batch_size % 2:
            raise ValueError(f"batch_size: expected an even number, got {self.batch_size}")


@dataclass(frozen=True, slots=True)
class Learned:
    """What a process measured."""

    steps: list[Step]
    peak_bytes: int
    """The most memory that it held."""
    before_bytes: int
    """The same when all was imported, before the model was read."""


def chat_replies(config: ChatBenchmarkConfig) -> Replies:
    """Return the game of a reply to one of the prompts, in the model's tokens."""
    return Replies(load_tokenizer(config.model), PROMPTS, reply_tokens=config.reply_tokens)


def messages_of(game: Replies) -> list[dict[str, str]]:
    """Return the prompts as messages that the chat template writes token for token as players see them.

    Raises:
        ValueError: it writes them otherwise.
    """
    for role in ("user", "system"):
        messages = [{"role": role, "content": prompt} for prompt in game.prompts]
        if all(
            _templated(game.tokenizer, message) == Episode(game, prompt).view().tokens.tolist()
            for message, prompt in zip(messages, game.prompts, strict=True)
        ):
            return messages
    raise ValueError("model: expected a chat template by which both sides see the same tokens, got another")


def _templated(tokenizer: Any, message: dict[str, str]) -> list[int]:
    ids: list[int] = tokenizer.apply_chat_template([message], add_generation_prompt=True)["input_ids"]
    return ids


def measure_decoding(game: Replies, config: ChatBenchmarkConfig) -> dict[int, tuple[float, float]]:
    """Return tokens per second of ours and of `generate`, by the size of the batch."""
    plain = CausalLMAgent.from_pretrained(config.model, game.vocabulary)
    agent = CausalLMAgent(never_ending(plain.model, game.vocabulary.eos_id), game.vocabulary)
    speeds = {}
    for size in DECODED_BATCHES:
        views = [Episode(game, prompt).view() for prompt in game.prompts[:size]]
        ours, theirs = tokens_per_second(_loops(agent, views, config.reply_tokens), config.num_repetitions, CLOCK)
        speeds[size] = ours, theirs
    return speeds


def _loops(agent: CausalLMAgent, views: Sequence[View], num_tokens: int) -> tuple[Callable[[], int], Callable[[], int]]:
    tokens, mask = left_padded(views)

    def ours() -> int:
        return sum(len(said.tokens) for said in agent.speak(views, np.random.default_rng(0)))

    def theirs() -> int:
        return int(generated(agent, tokens, mask, num_tokens)[:, tokens.shape[1] :].numel())

    return ours, theirs


def left_padded(views: Sequence[View]) -> tuple[Tensor, Tensor]:
    """Return views as `generate` takes them: tokens and where there are some, (B, T) each."""
    rows = [torch.from_numpy(view.tokens).long() for view in views]
    tokens = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_side="left")
    return tokens, (tokens != 0).long()


def generated(agent: CausalLMAgent, tokens: Tensor, mask: Tensor, num_tokens: int) -> Tensor:
    """Return what `generate` samples from the model's own distribution, behind its prompts; (B, T + num_tokens)."""
    model: Any = agent.model  # `generate` is a mixin's
    said: Tensor = model.generate(
        input_ids=tokens,
        attention_mask=mask,
        do_sample=True,
        temperature=1.0,
        top_k=0,
        top_p=1.0,
        max_new_tokens=num_tokens,
        eos_token_id=agent.vocabulary.eos_id,
        pad_token_id=0,
    )
    return said


def learn_ours(config: ChatBenchmarkConfig, num_steps: int) -> Learned:
    """Measure PPO here; meant for a process that does nothing else."""
    game, rng = chat_replies(config), np.random.default_rng(0)
    importlib.import_module("peft")
    before = peak_memory()
    adapter = NewAdapter(rank=config.lora_rank)
    agent = CausalLMAgent.from_pretrained(config.model, game.vocabulary, adapter=adapter)
    learner = PPOLearner(agent, ppo_config())
    steps = [timed_step(game, learner, config.batch_size, rng, CLOCK) for _ in range(num_steps + 1)]
    return Learned(steps[1:], peak_memory(), before)


def learn_trl(config: ChatBenchmarkConfig, num_steps: int) -> Learned:
    """Measure RLOO there; meant for a process that does nothing else."""
    game = chat_replies(config)
    for name in ("RLOOTrainer", "RLOOConfig"):
        getattr(import_trl(), name)  # is imported by being asked for
    importlib.import_module("peft")
    before = peak_memory()
    steps = trl_steps(
        config.model,
        game.tokenizer,
        messages_of(game),
        even_share,
        batch_size=config.batch_size,
        reply_tokens=config.reply_tokens,
        num_steps=num_steps,
        lora_rank=config.lora_rank,
        clock=CLOCK,
    )
    return Learned(steps, peak_memory(), before)


def measure_learning(config: ChatBenchmarkConfig) -> tuple[Learned, Learned]:
    """Return what was measured of ours and of TRL's, in two processes each, which take turns."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = list[Learned](), list[Learned]()
    with ProcessPoolExecutor(1, mp_context=context, max_tasks_per_child=1) as executor:
        for part in halves(config.num_repetitions):
            ours.append(executor.submit(learn_ours, config, part).result())
            theirs.append(executor.submit(learn_trl, config, part).result())
    return _together(ours), _together(theirs)


def _together(parts: Sequence[Learned]) -> Learned:
    return Learned(
        [step for part in parts for step in part.steps],
        max(part.peak_bytes for part in parts),
        max(part.before_bytes for part in parts),
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print tables, write the figures and the section; return 1 if a figure misses its goal."""
    config = tyro.cli(ChatBenchmarkConfig, args=argv, prog="python -m duologue.baselines.performance.rollouts_chat")
    trl_version, game = str(import_trl().__version__), chat_replies(config)
    messages_of(game)
    ours, theirs = measure_learning(config)
    print(learning_table(ours, theirs, trl_version), flush=True)
    decoded = measure_decoding(game, config)
    figures = figures_of(decoded, ours, theirs)
    text = SECTION.format(
        heading=HEADING,
        described=described(game, config, ours, theirs),
        figures=figure_table(figures),
        decoding=decoding_table(decoded),
        learning=learning_table(ours, theirs, trl_version),
    )
    print(f"\n{text}")
    if config.json is not None:
        write_figures(config.json, figures)
    if config.markdown is not None:
        put_section(config.markdown, HEADING, text)
    return int(any(figure.value < figure.goal for figure in figures))


def figures_of(decoded: dict[int, tuple[float, float]], ours: Learned, theirs: Learned) -> list[Figure]:
    """Return the figures: ours over theirs in speed, theirs over ours in memory."""
    decoding = [
        Figure(f"chat_decoding_vs_generate_batch_{size}", round(mine / other, 3), GENERATE_GOAL, "times")
        for size, (mine, other) in decoded.items()
    ]
    return [
        *decoding,
        Figure("chat_lora_ppo_vs_trl_rloo", round(median_speed(ours) / median_speed(theirs), 3), LEARN_GOAL, "times"),
        Figure("chat_lora_trl_peak_over_ours", round(theirs.peak_bytes / ours.peak_bytes, 3), MEMORY_GOAL, "times"),
    ]


def median_speed(learned: Learned) -> float:
    """Return the median over steps of tokens per second."""
    return statistics.median(step.speed for step in learned.steps)


def described(game: Replies, config: ChatBenchmarkConfig, ours: Learned, theirs: Learned) -> str:
    """Return what is measured, and with what."""
    lengths = [len(Episode(game, prompt).view().tokens) for prompt in game.prompts]
    said = [np.mean([step.num_tokens for step in side.steps]) / config.batch_size for side in (ours, theirs)]
    return (
        f"{config.model.resolve().name}, float32, adapters of rank {config.lora_rank}; prompts of {min(lengths)} to "
        f"{max(lengths)} tokens,\nreplies of at most {config.reply_tokens}, {said[0]:.1f} on average here and "
        f"{said[1]:.1f} there; {config.batch_size} in a batch that is learned from; "
        f"{config.num_repetitions} repetitions.\n"
        f"{torch.get_num_threads()} threads, "
        f"torch {torch.__version__}, transformers {transformers.__version__}, {machine()}"
    )


def decoding_table(decoded: dict[int, tuple[float, float]]) -> str:
    """Return tokens per second by the size of the batch as a Markdown table."""
    rows = [[str(size), *(f"{speed:,.1f}" for speed in speeds)] for size, speeds in decoded.items()]
    return table(["batch", "ours, tokens per second", "`generate`, tokens per second"], rows)


def learning_table(ours: Learned, theirs: Learned, trl_version: str) -> str:
    """Return speed and memory of both as a Markdown table."""
    rows = [
        [
            name,
            f"{median_speed(learned):,.2f}",
            f"{statistics.median(step.seconds for step in learned.steps):,.1f}",
            f"{learned.peak_bytes / 2**20:,.0f}",
            f"{learned.before_bytes / 2**20:,.0f}",
        ]
        for name, learned in (("ours, PPO", ours), (f"TRL {trl_version}, RLOOTrainer", theirs))
    ]
    return table(["LoRA", "tokens per second", "seconds a step", "peak, MiB", "before the model, MiB"], rows)


HEADING = "# Performance on a chat model"

SECTION = """\
{heading}

Measured by
`python -m duologue.baselines.performance.rollouts_chat --model FOLDER --markdown docs/performance.md`,
which writes this section. Speeds are per second of CPU time of all threads, medians of repetitions that
take turns. {described}.

{figures}

Decoding is at temperature 1 with nothing cut off, on the same prompts, `<eos>` out of the model's reach; ours reports
log-probabilities. Learning is a rollout and one gradient step: PPO with value head here, RLOO there, as TRL has no
PPOTrainer any more from 1.16 on; KL to the bare base is in the rewards of both. Here prompts that are drawn twice are
read once, and one pass serves estimates and step. Each side is in processes of its own.

{decoding}

{learning}
"""


if __name__ == "__main__":
    sys.exit(run_command(main))
