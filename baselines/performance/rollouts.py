"""The benchmark of rollouts: decoding and whole rollouts beside a bare model loop, and PPO beside TRL's RLOOTrainer.

Decoding is compared with the shortest loop that reuses the key-value cache, one `model(...)` and one `argmax` for a
token, though ours samples and reports log-probabilities; the same loop with softmax and `multinomial` is shown, too.
A rollout is that decoding with all that the engine does: deals, views, turns checked token by token, rewards.

Learning is compared in completions per second of wall clock, a rollout and one update epoch: PPO with its value head
and its frozen reference here, RLOO with its frozen reference there. Model, prompts (token for token), batch, lengths,
precision and gradient steps are the same; replies run to the limit, as an untrained model ends one in thousands early.
Ours and theirs alternate in one process, and each counts with its median.

One file: what is measured, the bare loops that it is held against and the page that it writes are read together.

Run it by `OMP_NUM_THREADS=2 python -m duologue.baselines.performance.rollouts`.
"""

from __future__ import annotations

import copy
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import tyro
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from ...agents.agent import RandomAgent
from ...agents.language_model.causal_lm import CausalLMAgent
from ...agents.language_model.micro import micro_model
from ...envs import Dialogue, Episode, FiniteDeals, LanguageGame, Payoff, Tokens
from ...envs.tokenizer_vocabulary import TokenizerVocabulary
from ..learners.ppo import PPOConfig, PPOLearner
from ..rollouts.episodes import rollout
from ..rollouts.trajectories import trajectories
from ..training.checks import Count, Options, Rows, Width
from ..training.failures import run_command
from .page import Figure, figure_table, machine, put_section, table, write_figures
from .rival_trl import Step, import_trl, trl_steps

DECODE_GOAL, ROLLOUT_GOAL, LEARN_GOAL = 0.9, 0.9, 1.3

MARKS = ("<pad>", "<system>", "<user>", "<assistant>", "<end>")

CHAT_TEMPLATE = (
    "{% for message in messages %}<{{ message['role'] }}>{{ message['content'] }}<end>{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)


@dataclass(frozen=True, kw_only=True)
class BenchmarkConfig(Options):
    """What is measured, and on which model."""

    json: Path | None = None
    """File to write the figures to."""
    markdown: Path | None = None
    """Page whose section of this is to be replaced."""
    only: Literal["all", "decode", "learn"] = "all"
    """Which comparison to make; "learn" needs trl (pip install trl)."""
    vocabulary_size: Rows = 4096
    """Tokens of the vocabulary."""
    hidden_size: Width = 192
    """Width of the model."""
    num_layers: Width = 4
    """Depth of the model."""
    batch_size: Rows = 16
    """Replies in a batch."""
    prompt_tokens: Rows = 24
    """Tokens of each prompt, apart from the marks of the chat template."""
    reply_tokens: Rows = 48
    """Tokens of each reply."""
    num_repetitions: Count = 7
    """Measured batches of each kind; one more warms up."""

    def __post_init__(self) -> None:
        """Check that TRL's groups of two fill the batch."""
        super().__post_init__()
        if self.batch_size < 2 or self.batch_size % 2:
            raise ValueError(f"batch_size: expected an even number >= 2, got {self.batch_size}")


@dataclass(frozen=True, slots=True)
class DecodeSpeeds:
    """Tokens per second of wall clock."""

    ours: float
    rollout: float
    """Ours, with the engine around it."""
    greedy: float
    """The bare loop with argmax."""
    sampled: float
    """The bare loop with softmax and multinomial."""


@dataclass(frozen=True, slots=True)
class LearnSpeeds:
    """Completions per second of wall clock, a rollout and one update epoch included."""

    ours: float
    trl: float
    trl_version: str


class Replies(LanguageGame[str]):
    """Player 1 is told a prompt and replies once; it earns the share of even tokens in its reply."""

    payoff = Payoff.GENERAL
    max_turns = 1

    def __init__(self, tokenizer: PreTrainedTokenizerBase, prompts: Sequence[str], *, reply_tokens: int) -> None:
        """Take prompts, one of which is dealt, and how long a reply may be."""
        self.tokenizer, self.prompts = tokenizer, prompts
        self.vocabulary = TokenizerVocabulary(tokenizer)
        self.max_turn_tokens = reply_tokens
        self._told = {prompt: self.vocabulary.encode(prompt) for prompt in prompts}
        self.max_briefing_tokens = max(map(len, self._told.values()))
        self.deals = FiniteDeals(dict.fromkeys(prompts, 1 / len(prompts)))

    def next_player(self, dialogue: Dialogue[str]) -> int | None:
        """Let player 1 reply."""
        return None if dialogue.turns else 1

    def rewards(self, dialogue: Dialogue[str]) -> tuple[float, float]:
        """Pay the share of even tokens."""
        return 0.0, even_share(dialogue.turns[0].tokens)

    def briefing(self, deal: str, player: int) -> Tokens:
        """Tell player 1 the prompt."""
        return self._told[deal] if player == 1 else ()


def word_replies(config: BenchmarkConfig) -> Replies:
    """Return the game with prompts of random words, one for each row of a batch."""
    rng = np.random.default_rng(0)
    words = rng.integers(len(MARKS), config.vocabulary_size, size=(config.batch_size, config.prompt_tokens))
    prompts = [" ".join(f"w{word}" for word in row) for row in words]
    return Replies(word_tokenizer(config.vocabulary_size), prompts, reply_tokens=config.reply_tokens)


def even_share(tokens: Sequence[int]) -> float:
    """Return the share of even token ids, 0 of none."""
    return sum(token % 2 == 0 for token in tokens) / max(1, len(tokens))


def word_tokenizer(size: int) -> PreTrainedTokenizerFast:
    """Return a tokenizer of `size` tokens, its words named by their numbers, with a chat template."""
    vocabulary = {mark: k for k, mark in enumerate(MARKS)} | {f"w{k}": k for k in range(len(MARKS), size)}
    words = Tokenizer(models.WordLevel(vocabulary, unk_token="<pad>"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=words,
        pad_token="<pad>",
        eos_token="<end>",
        extra_special_tokens=list(MARKS[1:4]),
        padding_side="left",
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


def make_model(game: Replies, config: BenchmarkConfig) -> PreTrainedModel:
    """Return the untrained model that everybody is measured on."""
    return micro_model(
        game.vocabulary,
        hidden_size=config.hidden_size,
        num_layers=config.num_layers,
        max_positions=config.prompt_tokens + config.reply_tokens + 8,
    )


def measure_decoding(game: Replies, config: BenchmarkConfig) -> DecodeSpeeds:
    """Return the speeds of `CausalLMAgent.speak`, of rollouts, and of bare loops on prompts of one length."""
    agent = CausalLMAgent(never_ending(make_model(game, config).eval(), game.vocabulary.eos_id), game.vocabulary)
    views = [Episode(game, prompt).view() for prompt in game.prompts]
    prompts = torch.from_numpy(np.stack([view.tokens for view in views]))

    def ours() -> int:
        return sum(len(said.tokens) for said in agent.speak(views, np.random.default_rng(0)))

    def played() -> int:
        episodes = rollout(game, (RandomAgent(), agent), config.batch_size, np.random.default_rng(0))
        return sum(len(turn.utterance.tokens) for episode in episodes for turn in episode.turns)

    def greedy() -> int:
        return bare_loop(agent.model, prompts, config.reply_tokens, pick_likeliest).numel()

    def sampled() -> int:
        return bare_loop(agent.model, prompts, config.reply_tokens, pick_sampled).numel()

    return DecodeSpeeds(*tokens_per_second((ours, played, greedy, sampled), config.num_repetitions))


def tokens_per_second(
    loops: Sequence[Callable[[], int]], num_repetitions: Count, clock: Callable[[], float] = time.perf_counter
) -> list[float]:
    """Return the median speed of each loop, which returns its tokens; they alternate, and the first round warms up."""
    seconds: list[list[float]] = [[] for _ in loops]
    for _ in range(num_repetitions + 1):
        for loop, times in zip(loops, seconds, strict=True):
            start = clock()
            num_tokens = loop()
            times.append((clock() - start) / num_tokens)
    return [1 / statistics.median(times[1:]) for times in seconds]


def measure_learning(game: Replies, config: BenchmarkConfig) -> LearnSpeeds:
    """Return the speeds of PPO here and of TRL's RLOOTrainer.

    Raises:
        ImportError: trl is missing; the message says how to install it.
    """
    version = str(import_trl().__version__)
    model = make_model(game, config)
    learner = PPOLearner(CausalLMAgent(copy.deepcopy(model), game.vocabulary), ppo_config())
    rng = np.random.default_rng(0)
    ours: list[float] = []
    theirs: list[float] = []
    for part in halves(config.num_repetitions):
        ours += [timed_step(game, learner, config.batch_size, rng).seconds for _ in range(part + 1)][1:]
        theirs += _trl_seconds(game, model, config, num_steps=part)
    ours_speed, trl_speed = (config.batch_size / statistics.median(seconds) for seconds in (ours, theirs))
    return LearnSpeeds(ours_speed, trl_speed, version)


def _trl_seconds(game: Replies, model: PreTrainedModel, config: BenchmarkConfig, *, num_steps: int) -> list[float]:
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        steps = trl_steps(
            Path(folder),
            game.tokenizer,
            [{"role": "system", "content": prompt} for prompt in game.prompts],
            even_share,
            batch_size=config.batch_size,
            reply_tokens=config.reply_tokens,
            num_steps=num_steps,
        )
    return [step.seconds for step in steps]


def ppo_config() -> PPOConfig:
    """Return PPO with the gradient steps of RLOO there: one for a batch."""
    return PPOConfig(learning_rate=1e-6, num_epochs=1, num_minibatches=1, kl_coef=0.05)


def halves(number: int) -> tuple[int, int]:
    """Return two parts of a number of repetitions, each at least 1."""
    return max(1, number // 2), max(1, number - number // 2)


def timed_step(
    game: Replies,
    learner: PPOLearner,
    batch_size: int,
    rng: np.random.Generator,
    clock: Callable[[], float] = time.perf_counter,
) -> Step:
    """Return what a rollout and one update took."""
    start = clock()
    played = rollout(game, (RandomAgent(), learner.agent), batch_size, rng)
    learner.update(trajectories(played, player=1), rng)
    seconds = clock() - start
    return Step(seconds, sum(len(turn.utterance.tokens) for episode in played for turn in episode.turns))


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print tables, write the figures and the section; return 1 if a figure misses its goal."""
    config = tyro.cli(BenchmarkConfig, args=argv, prog="python -m duologue.baselines.performance.rollouts")
    game = word_replies(config)
    print(described(game, config))
    figures: list[Figure] = []
    tables: list[str] = []
    for measured in _measured(game, config):
        figures += measured[0]
        tables.append(measured[1])
        print(f"\n{tables[-1]}", flush=True)
    print(f"\n{figure_table(figures)}")
    if config.json is not None:
        write_figures(config.json, figures)
    if config.markdown is not None:
        put_section(config.markdown, HEADING, section(described(game, config), figures, tables))
    return int(any(figure.value < figure.goal for figure in figures))


def described(game: Replies, config: BenchmarkConfig) -> str:
    """Return what is measured, and with what."""
    size = sum(parameter.numel() for parameter in make_model(game, config).parameters())
    return (
        f"{size / 1e6:.2f} M parameters, {config.vocabulary_size:,} tokens; batch {config.batch_size}, prompts of "
        f"{config.prompt_tokens}, replies of {config.reply_tokens};\n{torch.get_num_threads()} threads, "
        f"torch {torch.__version__}, {machine()}"
    )


def _measured(game: Replies, config: BenchmarkConfig) -> Iterator[tuple[list[Figure], str]]:
    """Yield the figures and the table of each comparison that was asked for."""
    if config.only != "learn":
        yield _report_decoding(measure_decoding(game, config), "decoding")
        micro = replace(config, vocabulary_size=200, hidden_size=96, num_layers=3, batch_size=64)  # the default one
        yield _report_decoding(measure_decoding(word_replies(micro), micro), "micro_decoding")
    if config.only != "decode":
        yield _report_learning(measure_learning(game, config))


def _report_decoding(speeds: DecodeSpeeds, name: str) -> tuple[list[Figure], str]:
    rows = {
        "ours": speeds.ours,
        "ours, a rollout": speeds.rollout,
        "bare, argmax": speeds.greedy,
        "bare, multinomial": speeds.sampled,
    }
    figures = [
        Figure(f"{name}_vs_bare_loop", round(speeds.ours / speeds.greedy, 3), DECODE_GOAL, "times"),
        Figure(f"{name}_rollout_vs_bare_loop", round(speeds.rollout / speeds.greedy, 3), ROLLOUT_GOAL, "times"),
        Figure(f"{name}_rollout_vs_sampling_loop", round(speeds.rollout / speeds.sampled, 3), ROLLOUT_GOAL, "times"),
    ]
    return figures, table([name, "tokens per second"], [[loop, f"{value:,.0f}"] for loop, value in rows.items()])


def _report_learning(speeds: LearnSpeeds) -> tuple[list[Figure], str]:
    rows = {"ours, PPO": speeds.ours, f"TRL {speeds.trl_version}, RLOOTrainer": speeds.trl}
    figure = Figure("ppo_completions_vs_trl_rloo", round(speeds.ours / speeds.trl, 3), LEARN_GOAL, "times")
    cells = [[name, f"{value:,.2f}"] for name, value in rows.items()]
    return [figure], table(["learning", "completions per second"], cells)


def never_ending(model: PreTrainedModel, eos_id: int) -> PreTrainedModel:
    """Return the model with `<eos>` out of reach, so that everybody says as many tokens; it is changed in place."""
    weight = model.lm_head.weight
    num_tokens, width = weight.shape
    head = nn.Linear(width, num_tokens, device=weight.device, dtype=weight.dtype)
    with torch.no_grad():
        head.weight.copy_(model.lm_head.weight)
        head.bias.zero_()[eos_id] = -1e4
    model.set_output_embeddings(head)
    return model


@torch.no_grad()
def bare_loop(model: PreTrainedModel, prompts: Tensor, num_tokens: int, choose: Callable[[Tensor], Tensor]) -> Tensor:
    """Return `num_tokens` tokens after each prompt (B, T) of one length, by nothing but model calls with a cache."""
    output = model(input_ids=prompts, use_cache=True, logits_to_keep=1)
    said = [choose(output.logits[:, -1])]
    while len(said) < num_tokens:
        output = model(input_ids=said[-1], past_key_values=output.past_key_values, use_cache=True)
        said.append(choose(output.logits[:, -1]))
    return torch.cat(said, dim=1)


def pick_likeliest(logits: Tensor) -> Tensor:
    """Return the likeliest token of each row; (B, 1)."""
    return logits.argmax(-1, keepdim=True)


def pick_sampled(logits: Tensor) -> Tensor:
    """Return a token drawn for each row; (B, 1)."""
    return torch.multinomial(logits.softmax(-1), 1)


HEADING = "# Performance of rollouts"

SECTION = """\
{heading}

Measured by `python -m duologue.baselines.performance.rollouts --markdown docs/performance.md`,
which writes this section;
`--only decode` leaves out what needs TRL. Speeds are per second of wall clock, medians of repetitions that take turns.
{described}.

{figures}

`micro_decoding` is the package's micro model: 0.35 M parameters, 200 tokens, batch 64. The bare loop is a `model(...)`
with its key-value cache and one `argmax` a token; the sampling loop draws by softmax and `multinomial`. In all of them
`<eos>` is out of the model's reach, so that everybody says as many tokens. Ours samples, reports log-probabilities and,
in a rollout, deals, builds views, checks every token and pays rewards. Learning is a rollout and one update epoch: PPO
with value head and frozen reference here, TRL's RLOO with frozen reference.

{tables}
"""


def section(described: str, figures: Sequence[Figure], tables: Sequence[str]) -> str:
    """Return the page's section."""
    return SECTION.format(
        heading=HEADING, described=described, figures=figure_table(figures), tables="\n\n".join(tables)
    )


if __name__ == "__main__":
    sys.exit(run_command(main))
