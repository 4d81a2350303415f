"""The runs that are compared on red_team-v1, of one seed: who is trained on which requests, all by the same settings.

From one base model (eq. 7 of arXiv 2402.08078) and one SFT defender (eq. 8) come defenders that differ in who writes
what they train on: nobody (RLHF on static requests), a frozen paraphraser, a paraphraser that searches and never
learns, GPO's adversary (arXiv 2406.10977) without and with its reward for diversity, and, as a ceiling, every style
alike. A remedy is GPO with one change. After SFT every defender takes as many updates, of as many episodes, at the same
rates, but for the ceiling, which takes `CEILING_TIMES` as many; who searches, or learns to attack, plays more episodes
for them. The settings are those of the benchmark (`alignment.ciphers`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import MappingProxyType

from ..alignment.ciphers import CEILING_TIMES, SETTINGS, MethodSettings
from ..alignment.pretrain import PretrainConfig, pretrain
from ..alignment.rlhf import RLHFConfig, rlhf
from ..alignment.sft import SFTConfig, sft
from ..learners.options import LearnerOptions
from ..training.jobs import Bound, Job
from ..training.options import GameOptions
from ..two_player.diversity_reward import MICRO_DIVERSITY, DiversityWeights
from ..two_player.gpo import GPOConfig, gpo
from ..two_player.stage_clock import GPOSchedule

GAME = "red_team-v1"


QUICK = replace(
    SETTINGS,
    start=replace(SETTINGS.start, num_base_dialogues=6_000, base=replace(SETTINGS.start.base, num_steps=200)),
    num_ptx_dialogues=1_000,
    num_updates=6,
    updates_per_round=3,
    attack_updates_per_round=2,
)
"""A small part of the training, to see it work."""


@dataclass(frozen=True)
class Start:
    """Where the runs of one seed are, and how they train."""

    out: Path
    """The folder of all runs of the seed, resolved: the same options by whatever path it is named."""
    seed: int
    settings: MethodSettings = SETTINGS

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
    settings = start.settings.start
    config = PretrainConfig(
        options=GameOptions(game=GAME),
        out=start.out / "base",
        seed=start.seed,
        num_demonstrations=settings.num_base_dialogues,
        hidden_size=settings.hidden_size,
        num_layers=settings.num_layers,
        cloning=settings.base,
        num_threads=1,
    )
    return Job("base", Bound(pretrain, config), settings.base.num_steps)


def sft_job(start: Start, name: str) -> Job:
    """Return the supervised fine-tuning of the defender that all others start from."""
    settings = start.settings.start
    config = SFTConfig(
        options=GameOptions(game=GAME),
        model=start.base,
        out=start.out / name,
        seed=start.seed,
        num_demonstrations=settings.num_sft_dialogues,
        cloning=settings.sft,
        stop_at_unsafe_share=settings.stop_at_unsafe_share,
        num_threads=1,
    )
    return Job(name, Bound(sft, config), settings.sft.num_steps, ("base",))


def rlhf_job(start: Start, name: str, *, requests: str, times_updates: int = 1) -> Job:
    """Return PPO of the defender on requests as the game deals them: "static" ones, or "every" one.

    The ceiling says what the model can be, not what the budget buys, so that it may take several times the updates.
    """
    settings = start.settings
    config = RLHFConfig(
        options=GameOptions(game=GAME, game_option=(f"requests={requests}",)),
        defender=start.sft,
        out=start.out / name,
        seed=start.seed,
        num_steps=times_updates * settings.num_updates,
        batch_size=settings.batch_size,
        ppo=settings.learner().ppo,
        num_ptx_dialogues=settings.num_ptx_dialogues,
        num_threads=1,
    )
    return Job(name, Bound(rlhf, config), config.num_steps, ("sft",))


def gpo_job(start: Start, name: str, *, change: Callable[[GPOConfig], GPOConfig] = lambda config: config) -> Job:
    """Return GPO, or what `change` makes of it."""
    settings = start.settings
    defender, adversary = (
        LearnerOptions(ppo=settings.learner(player=player).ppo, num_ptx_dialogues=settings.num_ptx_dialogues)
        for player in (1, 0)
    )
    plain = GPOConfig(
        options=GameOptions(game=GAME),
        defender=start.sft,
        adversary=start.base,
        out=start.out / name,
        seed=start.seed,
        schedule=GPOSchedule(
            num_rounds=settings.num_rounds,
            defend_steps=settings.updates_per_round,
            attack_steps=settings.attack_updates_per_round,
            batch_size=settings.batch_size,
            static_share=settings.static_share,
        ),
        defender_learner=defender,
        adversary_learner=adversary,
        save_every=settings.updates_per_round + settings.attack_updates_per_round,
        num_threads=1,
    )
    config = change(plain)
    return Job(name, Bound(gpo, config), config.schedule.num_steps, ("sft",))


def diverse_job(start: Start, name: str) -> Job:
    """Return GPO with the paper's reward for diversity."""
    return gpo_job(start, name, change=_diverse)


def _diverse(config: GPOConfig) -> GPOConfig:
    """Pay the adversary for diversity, as the paper does."""
    return replace(config, diversity=MICRO_DIVERSITY)


def _attacking(config: GPOConfig) -> GPOConfig:
    """Let the adversary learn as much as GPO's, against a defender that does not: RLHF of the attacker."""
    return replace(config, schedule=replace(config.schedule, defend_steps=0))


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


NUM_SEARCHED = 4
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
        "ceiling": Method("ceiling", partial(rlhf_job, requests="every", times_updates=CEILING_TIMES), "model"),
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

ATTACKERS: Mapping[str, Method] = MappingProxyType(
    {
        "attack": Method("RLHF against SFT", partial(gpo_job, change=_attacking), "adversary"),
        "attack_div": Method(
            "RLHF+Div against SFT", partial(gpo_job, change=lambda config: _diverse(_attacking(config))), "adversary"
        ),
    }
)
"""The controls of GPO's adversary in its paper (arXiv 2406.10977): attackers that train against one defender alone."""


def training_jobs(start: Start, methods: Mapping[str, Method]) -> list[Job]:
    """Return the runs of one seed in an order in which they can be done, those that take longest first.

    Base model and SFT defender are among them whatever is compared: all others start from these.
    """
    first = [base_job(start), METHODS["sft"].job(start, "sft")]
    others = [method.job(start, name) for name, method in methods.items() if name != "sft"]
    return [*first, *sorted(others, key=lambda job: -job.num_steps)]


def model_folders(start: Start, methods: Mapping[str, Method]) -> dict[str, Path]:
    """Return the folder of each defender by its method's name."""
    return {name: start.out / name / method.model for name, method in methods.items()}


def learning(methods: Mapping[str, Method]) -> list[str]:
    """Return the names of those with an adversary that learns."""
    return [name for name, method in methods.items() if method.has_rounds]
