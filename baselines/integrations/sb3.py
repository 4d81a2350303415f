"""Stable-Baselines3: PPO, A2C and MaskablePPO against a given opponent, the MDP of arXiv 2402.08078, eq. 5.

The algorithms are the library's own (Raffin et al., JMLR 22, 2021; masks: Huang & Ontanon, 2022, arXiv 2006.14171).
MaskablePPO samples legal tokens only; PPO and A2C know no masks, lose episodes by illegal tokens, and learn not to.

Differs from the library in: each rollout starts with fresh episodes, the last ones being cut off and bootstrapped, so
that opponents may change between updates and a stopped run goes on bit for bit; global generators, which the library
draws from, are seeded for the learner alone and put back afterwards. Nets are small, so all runs on the CPU.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import torch
import tyro

from ...agents.loading import load_agent
from ...agents.population import Seat
from ...agents.sb3 import SB3Agent, TokenFeatures
from ...envs import LanguageGame
from ...envs.extras import from_extra
from ..learners.optimisation import numbered, require_sound_weights
from ..training.checks import Count, LearningRate, NotNegative, Options, Rows, Share, Threads, Width, check_choice
from ..training.loop import Training, trainer
from ..training.options import GameOptions, RunOptions
from ..training.state import Stateful
from .sb3_env import DialogueVecEnv, Ended

with from_extra("sb3", need="SB3Learner: expected stable-baselines3 and sb3-contrib"):
    from sb3_contrib import MaskablePPO
    from stable_baselines3 import A2C, PPO
    from stable_baselines3.common.logger import Logger
    from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm


@dataclass(frozen=True, kw_only=True)
class SB3Config(Options):
    """How a policy of Stable-Baselines3 learns; what is not here is as the library has it."""

    algorithm: Literal["ppo", "a2c", "maskable_ppo"] = "maskable_ppo"
    """Which of the library's algorithms."""
    num_envs: Rows = 32
    """Episodes played side by side."""
    tokens_per_env: Rows = 32
    """The learner's own tokens in each of them for one update."""
    learning_rate: LearningRate = 1e-3
    """The optimiser's; it stays."""
    entropy_coef: NotNegative = 0.01
    """Weight of the entropy bonus; too little of it, and the first good answer is kept for ever."""
    gae_lambda: Share = 0.95
    """GAE's lambda; rewards are not discounted."""
    minibatch_size: Rows = 256
    """Tokens in a gradient step of PPO; A2C takes one step on all."""
    num_epochs: Count = 4
    """Passes of PPO over a rollout; A2C makes one."""
    embedding_size: Width = 32
    """Of a token, in `TokenFeatures`."""
    hidden_size: Width = 64
    """Width of the one hidden layer of policy and of value, tanh."""

    def __post_init__(self) -> None:
        """Check the ranges.

        Raises:
            ValueError: a field is out of its range; the message names it.
        """
        super().__post_init__()
        check_choice("algorithm", self.algorithm, ("ppo", "a2c", "maskable_ppo"))
        tokens = self.num_envs * self.tokens_per_env
        if self.minibatch_size < 2 or tokens % self.minibatch_size:  # one advantage cannot be normalised
            raise ValueError(
                f"minibatch_size: expected a divisor >= 2 of num_envs * tokens_per_env = {tokens}, got "
                f"{self.minibatch_size}"
            )


@dataclass(frozen=True, slots=True)
class SB3Update:
    """What one rollout and update report."""

    mean_return: float | None
    """Of the episodes that ended in the rollout, to the learner; None: no episode did."""
    num_episodes: int
    """How many ended."""
    num_tokens: int
    """Own tokens, all of them."""
    forfeit_rate: float | None
    """Share of those episodes, 0 to 1, that the learner lost by an illegal token; 0 with masks."""
    entropy_nats: float
    """Mean entropy of an own token; without masks, that over all tokens."""
    policy_loss: float
    value_loss: float


@dataclass(frozen=True, slots=True)
class SB3Step:
    """What one iteration reports."""

    iteration: int
    update: SB3Update

    @property
    def mean_return(self) -> float | None:
        """The learner's, which the progress bar shows."""
        return self.update.mean_return


class SB3Learner(Stateful):
    """A policy of Stable-Baselines3 that learns in one seat or in both, against opponents that may change."""

    saved = (
        "num_updates",
        "model.num_timesteps",
        "model.policy",
        "model.policy.optimizer",
        "env.rng",
        "_generators",
    )

    def __init__(
        self,
        game: LanguageGame[Any],
        config: SB3Config,
        *,
        players: Sequence[int],
        seats: Sequence[Seat],
        seed: int,
        name: str | None = None,
    ) -> None:
        """Make a fresh policy.

        Args:
            game: the rules.
            config: how it learns.
            players: the seats that it learns; with both, half of the episodes are played in each.
            seats: who plays 0 and 1 opposite; the one of a seat that nobody is opposite to is not asked.
            seed: decides first weights, deals, tokens and minibatches.
            name: the game's, which is saved with the policy.
        """
        rows = [players[row % len(players)] for row in range(config.num_envs)]
        self.env = DialogueVecEnv(game, rows, seats, np.random.default_rng(seed))
        self._generators = _GlobalGenerators(seed)
        with self._generators.in_use():
            self.model = _make_model(self.env, config)
        self.agent = SB3Agent(self.model.policy, game.vocabulary, game=name, players=players)
        self.num_updates = 0

    def update(self) -> SB3Update:
        """Play `num_envs * tokens_per_env` own tokens, and learn from them."""
        model = self.model
        model._last_obs = None  # so that the library begins with fresh episodes
        with self._generators.in_use(), numbered("update", self.num_updates + 1):
            try:
                model.learn(model.n_steps * model.n_envs, log_interval=None, reset_num_timesteps=False)  # type: ignore[arg-type]
            finally:  # of broken weights the library says that some distribution has no parameters
                require_sound_weights(model.policy.parameters())
        self.num_updates += 1
        return self._report(self.env.take_ended())

    def _report(self, ended: Sequence[Ended]) -> SB3Update:
        logged = self.model.logger.name_to_value
        name = "train/policy_loss" if isinstance(self.model, A2C) else "train/policy_gradient_loss"
        return SB3Update(
            mean_return=float(np.mean([episode.earned for episode in ended])) if ended else None,
            num_episodes=len(ended),
            num_tokens=self.model.n_steps * self.model.n_envs,
            forfeit_rate=float(np.mean([episode.forfeited for episode in ended])) if ended else None,
            entropy_nats=-float(logged["train/entropy_loss"]),
            policy_loss=float(logged[name]),
            value_loss=float(logged["train/value_loss"]),
        )


class SB3Training(Stateful):
    """A learner against one opponent for a number of updates: iterate over it to train."""

    saved = ("iteration", "learner")

    def __init__(self, learner: SB3Learner, num_updates: int) -> None:
        self.learner, self.num_updates, self.iteration = learner, num_updates, learner.num_updates

    def __iter__(self) -> Iterator[SB3Step]:
        """Yield after each update until the end."""
        while self.iteration < self.num_updates:
            update = self.learner.update()
            self.iteration += 1
            yield SB3Step(self.iteration, update)


class _GlobalGenerators(Stateful):
    """The global generators of torch, NumPy and Python that one learner draws from, seeded for it alone."""

    saved = ("_torch", "_numpy")

    def __init__(self, seed: int) -> None:
        torch_seed, numpy_seed = np.random.SeedSequence(seed).generate_state(2).tolist()
        self._torch = torch.Generator().manual_seed(torch_seed).get_state()
        self._numpy: dict[str, Any] = np.random.RandomState(numpy_seed).get_state(legacy=False)

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Let the global generators be the learner's inside, and what they were afterwards."""
        outside = torch.get_rng_state(), np.random.get_state(legacy=False), random.getstate()  # noqa: NPY002
        torch.set_rng_state(self._torch)
        np.random.set_state(self._numpy)  # noqa: NPY002
        try:
            yield
            self._torch, self._numpy = torch.get_rng_state(), np.random.get_state(legacy=False)  # noqa: NPY002
        finally:
            torch.set_rng_state(outside[0])
            np.random.set_state(outside[1])  # noqa: NPY002
            random.setstate(outside[2])


def _make_model(env: DialogueVecEnv, config: SB3Config) -> OnPolicyAlgorithm:
    shared: dict[str, Any] = {
        "learning_rate": config.learning_rate,
        "n_steps": config.tokens_per_env,
        "gamma": 1.0,
        "gae_lambda": config.gae_lambda,
        "ent_coef": config.entropy_coef,
        "policy_kwargs": {
            "features_extractor_class": TokenFeatures,
            "features_extractor_kwargs": {"embedding_size": config.embedding_size},
            "net_arch": [config.hidden_size],
        },
        "device": "cpu",
    }
    if config.algorithm == "a2c":
        model: OnPolicyAlgorithm = A2C("MultiInputPolicy", env, normalize_advantage=True, **shared)
    else:
        kind = MaskablePPO if config.algorithm == "maskable_ppo" else PPO
        model = kind("MultiInputPolicy", env, batch_size=config.minibatch_size, n_epochs=config.num_epochs, **shared)
    model.set_logger(Logger(folder=None, output_formats=[]))
    return model


@dataclass(frozen=True, kw_only=True)
class TrainSB3Config(RunOptions):
    """A policy of Stable-Baselines3 against an opponent that does not learn."""

    algorithm: ClassVar[str] = "sb3"
    options: Annotated[GameOptions, tyro.conf.arg(name="")] = field(
        default_factory=lambda: GameOptions(game="kuhn_poker-v0")
    )
    learning: Annotated[SB3Config, tyro.conf.arg(name="")] = field(default_factory=SB3Config)
    opponent: str = "random"
    """Who sits opposite: random, echo, or the folder of a language model or of an SB3 policy."""
    player: Literal[0, 1] = 0
    """The seat that learns."""
    out: Path = Path("runs/sb3")
    """The run's folder; the policy is in its folder `model`."""
    num_updates: Count = 100
    """Rollouts, each followed by one update."""
    num_threads: Threads = 1
    """Threads of torch, 0 being its default; more than one only slow down nets as small as these."""


@trainer
def train_sb3(config: TrainSB3Config) -> Training:
    """Return what a run of it trains."""
    game = config.options.build()
    opponent = load_agent(
        config.opponent, game.vocabulary, game=config.options.game, max_view_tokens=game.max_view_tokens
    )
    learner = SB3Learner(
        game,
        config.learning,
        players=[config.player],
        seats=[opponent, opponent],
        seed=config.seed,
        name=config.options.game,
    )
    return Training(
        learner=SB3Training(learner, config.num_updates),
        num_steps=config.num_updates,
        write=lambda run: run.write_folder("model", learner.agent.save_pretrained),
    )
