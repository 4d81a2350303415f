"""Which learner trains a player, with its options: what every training command shares."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Self

import tyro

from ...agents.language_model.causal_lm import CausalLMAgent
from ...envs import LanguageGame
from ..training.checks import Rows
from ..training.presets import unsaid_numbers, usual
from .base import PlayerLearner, TrainingConfig
from .grpo import GRPOConfig
from .optimisation import GAME_ADAM_EPSILON
from .ppo import PPOConfig
from .preference import PreferenceConfig
from .ptx import PretrainingData, PretrainingDataOptions
from .registry import RegisteredLearner, load_learners, registered_learner
from .reinforce import ReinforceConfig
from .reinforce_pp import ReinforcePPConfig
from .rloo import RLOOConfig
from .shared_critic import SharedCritic

GAME_STD_FLOOR = 0.1
"""Under the standard deviation that advantages are divided by, where both players learn, for payoffs of range about 1.

Near an equilibrium no reply is better than another by more than chance: the standard deviation vanishes, and what is
divided by it is noise of the size that an advantage had at the start. Divided by a tenth of the payoffs it stays small.
"""

SELF_PLAY_PPO = PPOConfig(
    learning_rate=usual(2e-3),
    warmup_updates=1,
    final_learning_rate_share=1.0,
    kl_coef=0.05,
    gae_lambda=1.0,
    advantage_std_floor=GAME_STD_FLOOR,
    adam_epsilon=usual(GAME_ADAM_EPSILON),
)
"""How a micro player learns against a player that learns too; the KL to its start keeps it trying all words.

Steps are small where there is little to gain, by `GAME_STD_FLOOR` and `GAME_ADAM_EPSILON`, so that players who have
found an equilibrium stay there.
"""

RESPONSE_PPO = PPOConfig(
    learning_rate=usual(1e-2),
    warmup_updates=1,
    final_learning_rate_share=1.0,
    kl_coef=usual(0.0),
    gae_lambda=1.0,
    num_epochs=4,
)
"""How a best response learns, which starts anew in every round and has few updates.

Its opponent is fixed and there is no KL that keeps it trying, so that its advantages have no floor: what is noise to a
player at rest finds the better word for one who has stopped saying it.
"""


@dataclass(frozen=True, kw_only=True)
class LearnerOptions(PretrainingDataOptions):
    """The algorithm by which a player learns from its trajectories."""

    learner: str = "ppo"
    """The algorithm: ppo, reinforce, rloo, grpo, reinforce_pp, preference (DPO or IPO on pairs of fresh replies), or
    one that a `learner_file` registers. Of the options below only its own are read."""
    learner_file: Path | None = None
    """A Python file that registers learners; see `duologue.baselines.learners.registry`."""
    learner_option: tuple[str, ...] = ()
    """Options of a learner that such a file registers, each as NAME=VALUE."""
    group_size: Rows | None = None
    """Replies to each prompt; None: 4 for the learners that compare replies, 1 for the others."""
    ppo: PPOConfig = SELF_PLAY_PPO
    """Options of PPO."""
    reinforce: ReinforceConfig = field(default_factory=ReinforceConfig)
    """Options of REINFORCE."""
    rloo: RLOOConfig = field(default_factory=RLOOConfig)
    """Options of RLOO."""
    grpo: GRPOConfig = field(default_factory=GRPOConfig)
    """Options of GRPO."""
    reinforce_pp: ReinforcePPConfig = field(default_factory=ReinforcePPConfig)
    """Options of REINFORCE++."""
    preference: PreferenceConfig = field(default_factory=PreferenceConfig)
    """Options of DPO and IPO."""

    learner_code: Annotated[str, tyro.conf.Suppress] = ""
    """What identifies a learner from a file, so that a stopped run does not go on with an edited one; not to be given:
    it is always that of the file as it stands."""

    def __post_init__(self) -> None:
        """Run the file, and check that there is such a learner.

        Raises:
            ValueError: there is none, or it has no such option.
        """
        super().__post_init__()
        if self.learner_file is not None:
            load_learners(self.learner_file)
        if self.learner_option and self._own is not None:
            raise ValueError(
                f"learner_option: expected a learner from a file, got {self.learner}, whose options are those of "
                f"--{self.learner.replace('_', '-')}"
            )
        self.config  # noqa: B018  (raises where an option is wrong)
        object.__setattr__(self, "learner_code", "" if self._own is not None else self.registered.code)

    @property
    def registered(self) -> RegisteredLearner:
        """The learner of that name."""
        return registered_learner(self.learner)

    @property
    def config(self) -> TrainingConfig:
        """The options of the chosen learner."""
        return self.registered.options(self.learner_option) if self._own is None else self._own

    def with_numbers(self, numbers: Mapping[str, Any]) -> Self:
        """Return the options of a learner from a file with a preset's numbers where none was said."""
        if self._own is not None:
            return self
        unsaid = unsaid_numbers(self.registered.options(self.learner_option), numbers)
        return replace(
            self, learner_option=(*self.learner_option, *(f"{name}={value}" for name, value in unsaid.items()))
        )

    @property
    def _own(self) -> TrainingConfig | None:
        """The options that the chosen learner has here; None for one that a file registers."""
        own = getattr(self, self.learner) if self.learner in self.__dataclass_fields__ else None
        return own if isinstance(own, TrainingConfig) else None

    @property
    def replies_per_prompt(self) -> int:
        """The group size, its default filled in."""
        if self.group_size is not None:
            return self.group_size
        compares = self.learner == "reinforce_pp" and self.reinforce_pp.subtract_group_mean
        return 4 if compares else self.registered.replies_per_prompt

    def ptx(self, game: LanguageGame[Any], player: int | None, seed: int) -> PretrainingData | None:
        """Return what a player, or None for one model in both seats, is not to unlearn; None if that has no weight."""
        return self.pretraining_data(game, player, ptx_coef=self.config.ptx_coef, seed=seed)

    def make(
        self,
        agent: CausalLMAgent,
        *,
        num_planned: int | None = None,
        critic: SharedCritic | None = None,
        ptx: PretrainingData | None = None,
    ) -> PlayerLearner:
        """Return the learner of an agent.

        Args:
            agent: trained in place.
            num_planned: the updates over which the learning rate falls; None: it stays.
            critic: the one that both players have, for PPO; None: a critic of its own.
            ptx: the start's own data, for a `ptx_coef` above 0.

        Raises:
            ValueError: a critic for a learner that asks none, or a `ptx_coef` without data.
        """
        if critic is not None and self.learner != "ppo":
            raise ValueError(f"shared_critic: expected the learner ppo, which asks a critic, got {self.learner}")
        given = {name: part for name, part in {"critic": critic, "ptx": ptx}.items() if part is not None}
        return self.registered.make(agent, self.config, num_planned=num_planned, **given)


STEADY: Any = {"final_learning_rate_share": 1.0}
"""The learning rate stays to the end."""
FLOORED: Any = {**STEADY, "advantage_std_floor": GAME_STD_FLOOR, "adam_epsilon": usual(GAME_ADAM_EPSILON)}
"""The same of learners that divide advantages by their standard deviation: no step is made of noise alone."""


@dataclass(frozen=True, kw_only=True)
class SteadyLearnerOptions(LearnerOptions):
    """The same with learning rates that stay: what both players learn from changes to the end."""

    reinforce: ReinforceConfig = field(default_factory=partial(ReinforceConfig, **STEADY))
    """Options of REINFORCE."""
    rloo: RLOOConfig = field(default_factory=partial(RLOOConfig, **STEADY))
    """Options of RLOO."""
    grpo: GRPOConfig = field(default_factory=partial(GRPOConfig, **FLOORED))
    """Options of GRPO."""
    reinforce_pp: ReinforcePPConfig = field(default_factory=partial(ReinforcePPConfig, **FLOORED))
    """Options of REINFORCE++."""
    preference: PreferenceConfig = field(default_factory=partial(PreferenceConfig, **STEADY))
    """Options of DPO and IPO."""

    @property
    def config(self) -> TrainingConfig:
        """The options of the chosen learner; those from a file keep their learning rate unless they are told."""
        config, name = super().config, "final_learning_rate_share"
        told = self._own is not None or any(text.startswith(f"{name}=") for text in self.learner_option)
        return config if told else replace(config, **STEADY)


def steady(ppo: PPOConfig = SELF_PLAY_PPO) -> SteadyLearnerOptions:
    """Return options with learning rates that stay."""
    return SteadyLearnerOptions(ppo=ppo)
