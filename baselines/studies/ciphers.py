"""The runs that are compared on red_team-v1, of one seed: who is trained on which requests, all by the same settings.

From one base model (eq. 7 of arXiv 2402.08078) and one SFT defender (eq. 8) come defenders that differ in who writes
what they train on: nobody (RLHF on static requests), a frozen paraphraser, a paraphraser that searches and never
learns, GPO's adversary (arXiv 2406.10977) without and with its reward for diversity, and, as a ceiling, every style
alike. A remedy is GPO with one change. Every defender takes as many updates, of as many episodes, at the same rates;
the settings were chosen by floor and ceiling alone, without a look at what is between them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import MappingProxyType

from ..alignment.pretrain import PretrainConfig, pretrain
from ..alignment.rlhf import RLHFConfig, rlhf
from ..alignment.sft import SFTConfig, sft
from ..learners.behaviour_cloning import BehaviourCloningConfig
from ..learners.options import LearnerOptions
from ..learners.ppo import PPOConfig
from ..training.checks import Count, LearningRate, NotNegative, Options, Rows, ShareBelowOne, Width
from ..training.jobs import Bound, Job
from ..training.options import GameOptions
from ..two_player.diversity_reward import DiversityWeights
from ..two_player.gpo import GPOConfig, gpo
from ..two_player.stage_clock import GPOSchedule

GAME = "red_team-v1"


@dataclass(frozen=True, kw_only=True)
class CiphersSettings(Options):
    """How much is trained and how fast: equal for all that are compared."""

    num_demonstrations: Rows = 30_000
    """Dialogues that the base model is cloned from."""
    hidden_size: Width = 64
    """Width of every model."""
    num_layers: Width = 2
    """Depth of every model."""
    pretraining_steps: Count = 1_600
    """Gradient steps of the base model."""
    pretraining_rate: LearningRate = 6e-3
    """Its learning rate."""
    sft_steps: Count = 100
    """Gradient steps of the SFT defender."""
    sft_rate: LearningRate = 5e-4
    """Its learning rate."""
    defender_rate: LearningRate = 4e-3
    """PPO's learning rate for a defender."""
    adversary_rate: LearningRate = 4e-3
    """PPO's learning rate for an adversary."""
    ptx_coef: NotNegative = 0.05
    """PPO-ptx's gamma: the weight of the average players' dialogues in every gradient step of both players."""
    num_ptx_dialogues: Rows = 20_000
    """How many of these dialogues there are."""
    num_rounds: Count = 10
    """Rounds of GPO; a defender takes `num_rounds` x `defend_steps` updates, whoever writes its prompts."""
    defend_steps: Count = 12
    """Its updates in a round."""
    attack_steps: Count = 6
    """An adversary's updates in a round."""
    batch_size: Rows = 192
    """Episodes in a batch."""
    static_share: ShareBelowOne = 0.5
    """The share of a defender's batch that is static requests as they stand, where an adversary writes the rest."""
    bleu_weight: NotNegative = 2.0
    """GPO+Div's weight of SelfBLEU; GPO's release: 5."""
    embedding_weight: NotNegative = 1.0
    """GPO+Div's weight of the mean cosine; GPO's release: 1."""

    @property
    def num_updates(self) -> int:
        """Updates of every defender after SFT."""
        return self.num_rounds * self.defend_steps

    @property
    def schedule(self) -> GPOSchedule:
        """Who learns when."""
        return GPOSchedule(
            num_rounds=self.num_rounds,
            defend_steps=self.defend_steps,
            attack_steps=self.attack_steps,
            batch_size=self.batch_size,
            static_share=self.static_share,
        )

    @property
    def defender_ppo(self) -> PPOConfig:
        """How every defender learns."""
        return PPOConfig(learning_rate=self.defender_rate, ptx_coef=self.ptx_coef)

    @property
    def adversary_ppo(self) -> PPOConfig:
        """How every adversary learns."""
        return PPOConfig(learning_rate=self.adversary_rate, ptx_coef=self.ptx_coef)


SETTINGS = CiphersSettings()
"""What the demo and the study over seeds train with."""
QUICK = replace(
    SETTINGS,
    num_demonstrations=6_000,
    pretraining_steps=200,
    num_ptx_dialogues=1_000,
    num_rounds=2,
    defend_steps=3,
    attack_steps=2,
)
"""A small part of the training, to see it work."""


@dataclass(frozen=True)
class Start:
    """Where the runs of one seed are, and how they train."""

    out: Path
    """The folder of all runs of the seed, resolved: the same options by whatever path it is named."""
    seed: int
    settings: CiphersSettings = SETTINGS

    @property
    def base(self) -> Path:
        """The base model, every adversary's start."""
        return self.out / "base/model"

    @property
    def sft(self) -> Path:
        """The SFT defender, every other defender's start."""
        return self.out / "sft/model"


@dataclass(frozen=True)
class Method:
    """One defender that is compared, and the adversary that it was trained with."""

    title: str
    """How tables call it."""
    job: Callable[[Start, str], Job]
    """Returns its run, given the name of its folder."""
    model: str = "defender"
    """The defender's folder in the run's."""
    has_rounds: bool = False
    """Whether there are checkpoints of an adversary that learns."""


def base_job(start: Start) -> Job:
    """Return the pre-training of the base model."""
    settings = start.settings
    cloning = BehaviourCloningConfig(num_steps=settings.pretraining_steps, learning_rate=settings.pretraining_rate)
    config = PretrainConfig(
        options=GameOptions(game=GAME),
        out=start.out / "base",
        seed=start.seed,
        num_demonstrations=settings.num_demonstrations,
        hidden_size=settings.hidden_size,
        num_layers=settings.num_layers,
        cloning=cloning,
        num_threads=1,
    )
    return Job("base", Bound(pretrain, config), cloning.num_steps)


def sft_job(start: Start, name: str) -> Job:
    """Return the supervised fine-tuning of the defender that all others start from."""
    settings = start.settings
    cloning = BehaviourCloningConfig(
        tokens_of="player_1", num_steps=settings.sft_steps, learning_rate=settings.sft_rate
    )
    config = SFTConfig(
        options=GameOptions(game=GAME),
        model=start.base,
        out=start.out / name,
        seed=start.seed,
        cloning=cloning,
        stop_at_unsafe_share=None,
        num_threads=1,
    )
    return Job(name, Bound(sft, config), cloning.num_steps, ("base",))


def rlhf_job(start: Start, name: str, *, requests: str) -> Job:
    """Return PPO of the defender on requests as the game deals them: "static" ones, or "every" one."""
    settings = start.settings
    config = RLHFConfig(
        options=GameOptions(game=GAME, game_option=(f"requests={requests}",)),
        defender=start.sft,
        out=start.out / name,
        seed=start.seed,
        num_steps=settings.num_updates,
        batch_size=settings.batch_size,
        ppo=settings.defender_ppo,
        num_ptx_dialogues=settings.num_ptx_dialogues,
        num_threads=1,
    )
    return Job(name, Bound(rlhf, config), config.num_steps, ("sft",))


def gpo_job(start: Start, name: str, *, change: Callable[[GPOConfig], GPOConfig] = lambda config: config) -> Job:
    """Return GPO, or what `change` makes of it."""
    settings = start.settings
    plain = GPOConfig(
        options=GameOptions(game=GAME),
        defender=start.sft,
        adversary=start.base,
        out=start.out / name,
        seed=start.seed,
        schedule=settings.schedule,
        defender_learner=LearnerOptions(ppo=settings.defender_ppo, num_ptx_dialogues=settings.num_ptx_dialogues),
        adversary_learner=LearnerOptions(ppo=settings.adversary_ppo, num_ptx_dialogues=settings.num_ptx_dialogues),
        save_every=settings.defend_steps + settings.attack_steps,
        num_threads=1,
    )
    config = change(plain)
    return Job(name, Bound(gpo, config), config.schedule.num_steps, ("sft",))


def diverse_job(start: Start, name: str) -> Job:
    """Return GPO with the paper's reward for diversity."""
    settings = start.settings
    weights = DiversityWeights(bleu_weight=settings.bleu_weight, embedding_weight=settings.embedding_weight)
    return gpo_job(start, name, change=lambda config: replace(config, diversity=weights))


def _frozen(config: GPOConfig) -> GPOConfig:
    """Let the adversary write, and never learn."""
    return replace(config, schedule=replace(config.schedule, attack_steps=0))


def _searching(config: GPOConfig) -> GPOConfig:
    """Let the adversary look for the worst of several prompts each time, and never learn."""
    return replace(config, schedule=replace(config.schedule, attack_steps=0, best_of=NUM_SEARCHED))


def _success_cells(config: GPOConfig) -> GPOConfig:
    """Pay the adversary for success where it has seldom had any."""
    return replace(config, diversity=DiversityWeights(success_cell_weight=SUCCESS_CELL_WEIGHT))


def _replay(config: GPOConfig) -> GPOConfig:
    """Let past adversaries write some of the prompts."""
    return replace(config, schedule=replace(config.schedule, replay_share=REPLAY_SHARE))


def _reset(config: GPOConfig) -> GPOConfig:
    """Let the adversary begin each attack stage as the base model."""
    return replace(config, schedule=replace(config.schedule, reset_adversary=True))


def _optimistic(config: GPOConfig) -> GPOConfig:
    """Pay the adversary for the worst of several replies."""
    return replace(config, schedule=replace(config.schedule, attack_replies=NUM_REPLIES))


def _more_attacks(config: GPOConfig) -> GPOConfig:
    """Let the adversary take as many updates as the defender."""
    return replace(config, schedule=replace(config.schedule, attack_steps=config.schedule.defend_steps))


def _entropy(config: GPOConfig) -> GPOConfig:
    """Pay the adversary for the entropy of its policy."""
    learner = config.adversary_learner
    return replace(config, adversary_learner=replace(learner, ppo=replace(learner.ppo, entropy_coef=ENTROPY_COEF)))


NUM_SEARCHED = 8
"""Prompts of which an adversary that searches keeps one."""
NUM_REPLIES = 4
"""Replies of which an optimistic adversary is paid for one."""
SUCCESS_CELL_WEIGHT = 1.0
"""What a first success in a cell of topic and styles pays."""
REPLAY_SHARE = 0.5
"""The share of an adversary's prompts that its past selves write, where they are replayed."""
ENTROPY_COEF = 0.02
"""Of the remedy that pays an adversary for entropy."""
METHODS: Mapping[str, Method] = MappingProxyType(
    {
        "sft": Method("SFT", sft_job, "model"),
        "rlhf": Method("RLHF", partial(rlhf_job, requests="static"), "model"),
        "paraphrase": Method("Paraphrase", partial(gpo_job, change=_frozen)),
        "best_of": Method(f"Best of {NUM_SEARCHED}", partial(gpo_job, change=_searching)),
        "gpo": Method("GPO", gpo_job, has_rounds=True),
        "gpo_div": Method("GPO+Div", diverse_job, has_rounds=True),
        "ceiling": Method("ceiling", partial(rlhf_job, requests="every"), "model"),
    }
)
"""What the demo compares, by the name of its folder, in the order of the tables."""
REMEDIES: Mapping[str, Method] = MappingProxyType(
    {
        "gpo_cells": Method("GPO+cells", partial(gpo_job, change=_success_cells), has_rounds=True),
        "gpo_replay": Method("GPO, replay", partial(gpo_job, change=_replay), has_rounds=True),
        "gpo_reset": Method("GPO, reset", partial(gpo_job, change=_reset), has_rounds=True),
        "gpo_optimistic": Method("GPO, optimistic", partial(gpo_job, change=_optimistic), has_rounds=True),
        "gpo_attack": Method("GPO, as many attacks", partial(gpo_job, change=_more_attacks), has_rounds=True),
        "gpo_entropy": Method("GPO, entropy bonus", partial(gpo_job, change=_entropy), has_rounds=True),
    }
)
"""GPO with one change each: what might keep its adversary from forgetting, or from settling on a few styles."""


def training_jobs(start: Start, methods: Mapping[str, Method]) -> list[Job]:
    """Return the runs of one seed in an order in which they can be done, those that take longest first."""
    first = [base_job(start), *(method.job(start, name) for name, method in methods.items() if name == "sft")]
    others = [method.job(start, name) for name, method in methods.items() if name != "sft"]
    return [*first, *sorted(others, key=lambda job: -job.num_steps)]


def model_folders(start: Start, methods: Mapping[str, Method]) -> dict[str, Path]:
    """Return the folder of each defender by its method's name."""
    return {name: start.out / name / method.model for name, method in methods.items()}


def learning(methods: Mapping[str, Method]) -> list[str]:
    """Return the names of those with an adversary that learns."""
    return [name for name, method in methods.items() if method.has_rounds]
