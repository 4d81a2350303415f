"""Meta-learning over a distribution of games: arXiv 2402.08078, section 4.5, equation (10).

A micro model is cloned on secret codes, each with the whole code in the prompt (k-shot) and without it (zero-shot):
together they are one `GameDistribution`. One code is held out. Another is common: most of the collected dialogues are
of it. Two learners of equal start, steps and batch size are compared:

* "by game" is equation (10): a game is drawn, then its data, and the loss is a mean of per-game means;
* "pooled" draws from the union of the data and averages over tokens, so that the common game counts most.

Both then take a few gradient steps on the held-out code (adaptation), beside a model that starts from scratch. Scores
are exact: the probability of the right answer, summed over the game's tree.

Known values: without a prompt, a policy that gives all w^k codes but the held-out one their due is right with
probability (w^(k-1) - 1) / (w^k - 1), as nothing tells which code it is; with the whole code shown the best is 1.

Differs from the paper in: equation (10) is written for any learner, here it is behaviour cloning.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from ...agents import policy_of
from ...agents.folders import read_json
from ...agents.language_model.causal_lm import CausalLMAgent
from ...agents.language_model.micro import micro_model
from ...envs import Demonstrated, Dialogue, GameDistribution, LanguageGame
from ...envs.games.secret_code import SecretCode, all_codes
from ...envs.tree.analysis import GameTree, expected_returns, uniform_profile
from ..evaluation.intervals import mean_interval
from ..functional.policy_losses import token_logprobs
from ..functional.supervised import behaviour_cloning_loss, meta_policy_loss
from ..learners.optimisation import learning_rate_share, make_optimizer, set_learning_rate, take_step
from ..reporting.plots import COLOURS, plot_curves
from ..reporting.tables import markdown_table
from ..rollouts.demonstrations import Demonstrations, encode_dialogues
from ..training.checks import (
    AtLeastTwo,
    Count,
    Few,
    LearningRate,
    Rows,
    Seed,
    Threads,
    Whole,
    Width,
    check_model_size,
    check_rows,
)
from ..training.loop import Training, train
from ..training.options import RunOptions
from ..training.run import Run
from ..training.state import Stateful

Weighting = Literal["by game", "pooled"]
WEIGHTINGS: tuple[Weighting, ...] = ("by game", "pooled")
STARTS = (*WEIGHTINGS, "from scratch")
SHOTS = ("zero-shot", "k-shot")
WEIGHT_DECAY, FINAL_SHARE = 0.01, 0.02
NUM_LAYERS, NUM_HEADS = 2, 2
START_SCALE = 5.0
"""The random weights are so many times wider than transformers' 0.02, which is for wide models: a narrow one stays on
a plateau."""

Curves = dict[str, dict[str, list[float]]]
"""The held-out score at each count of adaptation steps, by start and by shots."""


@dataclass(frozen=True, kw_only=True)
class MetaConfig(RunOptions):
    """A micro model cloned on many codes, and what it makes of one that it never saw."""

    algorithm: ClassVar[str] = "meta"
    shown: ClassVar[tuple[str, ...]] = ("table.md",)
    out: Path = Path("runs/meta")
    """The folder of the table, the plot and a run for each seed."""
    seeds: tuple[Seed, ...] = ()
    """Several seeds, a run each; none: `seed` alone. Each decides the held-out code, the common one and all else."""
    quick: bool = False
    """A smoke run: 20 steps and 2 steps of adaptation, whose scores mean nothing."""
    num_objects: Few = 2
    """k, the objects of a code, all of which a prompt shows."""
    num_words: AtLeastTwo = 4
    """w, the words of a code; there are w^k codes."""
    num_dialogues: AtLeastTwo = 6
    """Collected dialogues of each code, half of them with a prompt."""
    num_common_dialogues: AtLeastTwo = 2_000
    """The same of the common code."""
    num_steps: Count = 400
    """Gradient steps of both learners."""
    batch_size: Rows = 64
    """Dialogues in a step."""
    learning_rate: LearningRate = 5e-3
    """Peak learning rate; linear warm-up over 30 steps, then linear decay to 2 % of it."""
    adaptation_steps: tuple[Whole, ...] = (0, 1, 2, 4, 8, 16, 32)
    """After how many gradient steps on the held-out code it is scored, rising."""
    adaptation_learning_rate: LearningRate = 2e-3
    """Learning rate of these steps, constant; each sees every question of the code once."""
    hidden_size: Width = 32
    """Width of the model, which has two layers of two heads."""
    score_every: Count = 100
    """Steps between two scores of the held-out code during training."""
    save_every: Count = 100
    """Steps between two saved states."""
    num_threads: Threads = 1
    """Threads of torch; 0: its default."""

    def __post_init__(self) -> None:
        """Check the counts.

        Raises:
            ValueError: too few codes or dialogues, or adaptation steps that do not rise from at least 0.
        """
        super().__post_init__()
        check_model_size(hidden_size=self.hidden_size, num_layers=NUM_LAYERS, num_heads=NUM_HEADS)
        check_rows("num_words, num_objects, num_dialogues", self.num_dialogues * self.num_words**self.num_objects)
        check_rows("num_common_dialogues", self.num_common_dialogues)
        steps = self.adaptation_steps
        if not steps or steps[0] < 0 or any(later <= earlier for earlier, later in pairwise(steps)):
            raise ValueError(f"adaptation_steps: expected rising numbers of at least 0, got {steps}")


@dataclass(frozen=True, slots=True)
class MetaStep:
    """What one gradient step of both learners reports; scores are of the held-out code, None between scorings."""

    iteration: int
    """Gradient steps so far."""
    by_game_loss_nats: float
    """Equation (10): the mean over games of their tokens' mean negative log-likelihood."""
    pooled_loss_nats: float
    """The mean over all tokens of a batch of the union."""
    by_game_zero_shot: float | None
    """Probability of the right answer without a prompt."""
    by_game_k_shot: float | None
    """With the whole code in the prompt."""
    pooled_zero_shot: float | None
    """As `by_game_zero_shot`."""
    pooled_k_shot: float | None
    """As `by_game_k_shot`."""


class Codes:
    """The games of one seed: those to clone from, of which one is common, and the one that is held out."""

    def __init__(self, config: MetaConfig, rng: np.random.Generator) -> None:
        """Choose the held-out and the common code."""
        codes = all_codes(config.num_objects, config.num_words)
        held_out = codes.pop(int(rng.integers(len(codes))))
        common = codes[int(rng.integers(len(codes)))]
        self.held_out = _both_shots(held_out)
        self.distribution = GameDistribution([game for code in codes for game in _both_shots(code)])
        sizes = [config.num_common_dialogues if code is common else config.num_dialogues for code in codes]
        self.sizes = [half for size in sizes for half in (size - size // 2, size // 2)]
        self.trees = [GameTree(game) for game in self.held_out]

    def scores(self, agent: CausalLMAgent) -> tuple[float, float]:
        """Return the probability of the right answer in the held-out code, zero-shot and k-shot."""
        zero, many = (
            expected_returns(tree, (uniform_profile(tree)[0], policy_of(tree, 1, agent)))[1] for tree in self.trees
        )
        return float(zero), float(many)


class MetaCloning(Stateful):
    """Both learners, step by step on batches of the same size; iterate to train."""

    saved = ("iteration", "_models", "_states")

    def __init__(self, codes: Codes, config: MetaConfig, *, seed: int) -> None:
        """Collect the data and make two equal models."""
        self.codes, self.config, self.seed, self.iteration = codes, config, seed, 0
        self.data, self.game_index = collected(codes.distribution, codes.sizes, np.random.default_rng([seed, 1]))
        self.agents = {weighting: new_agent(codes.distribution, config, seed=seed) for weighting in WEIGHTINGS}
        self._optimizers = {weighting: _optimizer(agent) for weighting, agent in self.agents.items()}
        self._models = tuple(agent.model for agent in self.agents.values())
        self._states = tuple(self._optimizers.values())

    def __iter__(self) -> Iterator[MetaStep]:
        """Yield after each step of both."""
        config = self.config
        while self.iteration < config.num_steps:
            share = learning_rate_share(self.iteration, config.num_steps, warmup_updates=30, final_share=FINAL_SHARE)
            losses = []
            for weighting, agent in self.agents.items():
                rows = self.draw(weighting, np.random.default_rng([self.seed, 2, self.iteration]))
                loss = self.loss(weighting, agent, rows)
                _descend(agent, self._optimizers[weighting], loss, config.learning_rate * share)
                losses.append(float(loss.detach()))
            self.iteration += 1
            scored = self.iteration % config.score_every == 0
            scores = [s for a in self.agents.values() for s in (self.codes.scores(a) if scored else (None, None))]
            yield MetaStep(self.iteration, *losses, *scores)

    def draw(self, weighting: Weighting, rng: np.random.Generator) -> Tensor:
        """Return rows of the data: of games drawn by their weights (eq. 10), or of the union; shape (B,)."""
        if weighting == "pooled":
            return torch.from_numpy(rng.choice(len(self.data), self.config.batch_size))
        weights = self.codes.distribution.weights
        games = rng.choice(len(weights), self.config.batch_size, p=weights)
        starts, sizes = np.cumsum([0, *self.codes.sizes[:-1]]), np.asarray(self.codes.sizes)
        return torch.from_numpy(starts[games] + rng.integers(sizes[games]))

    def loss(self, weighting: Weighting, agent: CausalLMAgent, rows: Tensor) -> Tensor:
        """Return the objective on player 1's tokens of these rows: equation (10) or the pooled mean."""
        logprobs, mask = answer_logprobs(agent, self.data.select(rows))
        if weighting == "pooled":
            return behaviour_cloning_loss(logprobs, mask)
        return meta_policy_loss(logprobs, mask, self.game_index[rows], weights=self.codes.distribution.weights)


def meta(config: MetaConfig) -> Path:
    """Run or resume every seed; write table and plot, and return the folder."""
    if config.quick:
        config = replace(config, num_steps=20, num_common_dialogues=60, adaptation_steps=(0, 1, 2), score_every=10)
    seeds = config.seeds or (config.seed,)
    with Run.open(config.out, config, name=config.algorithm) as run:
        results = [one_seed(replace(config, out=config.out / f"seed{seed}", seed=seed, seeds=())) for seed in seeds]
        run.write_text("table.md", f"{table(results, config.adaptation_steps)}\n")
        plot(results, config.adaptation_steps, config.out / "adaptation.png")
        run.finish()
    return config.out


def one_seed(config: MetaConfig) -> Curves:
    """Train both learners on one seed, adapt them to the held-out code, and return the curves."""
    train(config, _training)
    curves: Curves = read_json(config.out / "adaptation.json")
    return curves


def _training(config: MetaConfig) -> Training:
    codes = Codes(config, np.random.default_rng(config.seed))
    learner = MetaCloning(codes, config, seed=config.seed)

    def write(run: Run) -> None:
        scratch = new_agent(codes.distribution, config, seed=config.seed)
        starts = dict(zip(STARTS, (*learner.agents.values(), scratch), strict=True))
        run.write_json("adaptation.json", {name: adapted(agent, codes, config) for name, agent in starts.items()})

    return Training(learner=learner, num_steps=config.num_steps, write=write)


def adapted(start: CausalLMAgent, codes: Codes, config: MetaConfig) -> dict[str, list[float]]:
    """Return the score of the held-out code after few steps on its solved episodes, zero-shot and k-shot.

    A copy is tuned for each: zero-shot is tuned and scored without a prompt, k-shot with the code in the prompt.
    """
    curves: dict[str, list[float]] = {}
    for shots, game in enumerate(codes.held_out):
        agent = CausalLMAgent(copy.deepcopy(start.model), start.vocabulary)
        solved = encode_dialogues(game, [game.solution(deal) for deal in game.deals.outcomes() or ()], viewers=(1,))
        optimizer, curve = _optimizer(agent), []
        for step in range(config.adaptation_steps[-1] + 1):
            if step in config.adaptation_steps:
                curve.append(codes.scores(agent)[shots])
            loss = behaviour_cloning_loss(*answer_logprobs(agent, solved))
            _descend(agent, optimizer, loss, config.adaptation_learning_rate)
        curves[SHOTS[shots]] = curve
    return curves


def answer_logprobs(agent: CausalLMAgent, batch: Demonstrations) -> tuple[Tensor, Tensor]:
    """Return log-probabilities of the tokens after the first, and which of them player 1 said; both (B, T - 1)."""
    agent.model.train()
    output = agent.model(input_ids=batch.tokens[:, :-1], attention_mask=batch.attention_mask[:, :-1], use_cache=False)
    return token_logprobs(output.logits, batch.tokens[:, 1:]), batch.loss_mask("player_1")[:, 1:]


def collected(
    distribution: GameDistribution, sizes: Sequence[int], rng: np.random.Generator
) -> tuple[Demonstrations, Tensor]:
    """Return the union of the games' data, so many dialogues of each in order, and whose each is; (N,)."""
    dialogues: list[Dialogue[Any]] = []
    for index, (game, size) in enumerate(zip(distribution.games, sizes, strict=True)):
        assert isinstance(game, Demonstrated)
        dialogues += [distribution.outer(index, dialogue) for dialogue in game.demonstrations("ideal", rng, size)]
    return encode_dialogues(distribution, dialogues, viewers=(1,)), torch.arange(len(sizes)).repeat_interleave(
        torch.tensor(sizes)
    )


def new_agent(game: LanguageGame[Any], config: MetaConfig, *, seed: int) -> CausalLMAgent:
    """Return a micro model with random weights."""
    model = micro_model(
        game.vocabulary,
        hidden_size=config.hidden_size,
        num_layers=NUM_LAYERS,
        num_heads=NUM_HEADS,
        max_positions=game.max_view_tokens,
        seed=seed,
    )
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(START_SCALE)
    return CausalLMAgent(model, game.vocabulary)


def table(results: Sequence[Curves], steps: Sequence[int]) -> str:
    """Return the mean scores over the seeds as Markdown, with half a 95 % interval if there are several."""
    rows = []
    for shots in SHOTS:
        for start in STARTS:
            columns = np.array([result[start][shots] for result in results]).T
            rows.append([start, shots, *(_cell(column.tolist()) for column in columns)])
    return markdown_table(["start", "prompt", *(f"{step} steps" for step in steps)], rows)


def plot(results: Sequence[Curves], steps: Sequence[int], path: Path) -> None:
    """Draw the mean scores over the adaptation steps: k-shot solid, zero-shot dashed."""
    series = {
        f"{start}, {shots}": (steps, np.mean([result[start][shots] for result in results], axis=0))
        for shots in SHOTS
        for start in STARTS
    }
    dashes = dict(zip(SHOTS, ("--", "-"), strict=True))
    plot_curves(
        series,
        path,
        title="Held-out code",
        x_label="gradient steps on it",
        y_label="right answers",
        percent=True,
        styles={
            f"{start}, {s}": (colour, dashes[s]) for start, colour in zip(STARTS, COLOURS, strict=False) for s in SHOTS
        },
    )


def _both_shots(code: SecretCode) -> tuple[Demonstrated[int], Demonstrated[int]]:
    return Demonstrated(code, num_shots=0), Demonstrated(code, num_shots=len(code.code))


def _cell(values: Sequence[float]) -> str:
    estimate = mean_interval(values)
    return f"{estimate.value:.2f}" if len(values) == 1 else f"{estimate.value:.2f} ± {estimate.half_width:.2f}"


def _optimizer(agent: CausalLMAgent) -> torch.optim.Optimizer:
    return make_optimizer(agent.model.parameters(), learning_rate=1.0, weight_decay=WEIGHT_DECAY)


def _descend(agent: CausalLMAgent, optimizer: torch.optim.Optimizer, loss: Tensor, learning_rate: float) -> None:
    set_learning_rate(optimizer, learning_rate)
    take_step(loss, optimizer, list(agent.model.parameters()))
