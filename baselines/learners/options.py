"""Which learner trains a player, with its options: what every training command shares."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from ...agents.language_model.causal_lm import CausalLMAgent
from .base import PlayerLearner
from .grpo import GRPOConfig, GRPOLearner
from .ppo import PPOConfig, PPOLearner
from .preference import PreferenceConfig, PreferenceLearner
from .reinforce import ReinforceConfig, ReinforceLearner
from .reinforce_pp import ReinforcePPConfig, ReinforcePPLearner
from .rloo import RLOOConfig, RLOOLearner
from .shared_critic import SharedCritic

LearnerName = Literal["ppo", "reinforce", "rloo", "grpo", "reinforce_pp", "preference"]

SELF_PLAY_PPO = PPOConfig(
    learning_rate=2e-3, warmup_updates=1, final_learning_rate_share=1.0, kl_coef=0.05, gae_lambda=1.0
)
"""How a micro player learns against a player that learns too; the KL to its start keeps it trying all words."""

RESPONSE_PPO = PPOConfig(
    learning_rate=1e-2, warmup_updates=1, final_learning_rate_share=1.0, kl_coef=0.0, gae_lambda=1.0, num_epochs=4
)
"""How a best response learns, which starts anew in every round and has few updates."""


@dataclass(frozen=True, kw_only=True)
class LearnerOptions:
    """The algorithm by which a player learns from its trajectories."""

    learner: LearnerName = "ppo"
    """The algorithm; `preference` is DPO or IPO on pairs of fresh replies. Only its own options below are read."""
    group_size: int | None = None
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

    @property
    def replies_per_prompt(self) -> int:
        """The group size, its default filled in."""
        if self.group_size is not None:
            return self.group_size
        compares = self.learner in ("rloo", "grpo", "preference")
        return 4 if compares or (self.learner == "reinforce_pp" and self.reinforce_pp.subtract_group_mean) else 1

    def make(
        self, agent: CausalLMAgent, *, num_planned: int | None = None, critic: SharedCritic | None = None
    ) -> PlayerLearner:
        """Return the learner of an agent.

        Args:
            agent: trained in place.
            num_planned: the updates over which the learning rate falls; None: it stays.
            critic: the one that both players have, for PPO; None: a critic of its own.

        Raises:
            ValueError: a critic for a learner that asks none.
        """
        if critic is not None and self.learner != "ppo":
            raise ValueError(f"shared_critic: expected the learner ppo, which asks a critic, got {self.learner}")
        match self.learner:
            case "ppo":
                return PPOLearner(agent, self.ppo, num_planned=num_planned, critic=critic)
            case "reinforce":
                return ReinforceLearner(agent, self.reinforce, num_planned=num_planned)
            case "rloo":
                return RLOOLearner(agent, self.rloo, num_planned=num_planned)
            case "grpo":
                return GRPOLearner(agent, self.grpo, num_planned=num_planned)
            case "reinforce_pp":
                return ReinforcePPLearner(agent, self.reinforce_pp, num_planned=num_planned)
            case "preference":
                return PreferenceLearner(agent, self.preference, num_planned=num_planned)


def steady(ppo: PPOConfig = SELF_PLAY_PPO) -> LearnerOptions:
    """Return options with learning rates that stay: what both players learn from changes to the end."""
    return LearnerOptions(
        ppo=ppo,
        reinforce=ReinforceConfig(final_learning_rate_share=1.0),
        rloo=RLOOConfig(final_learning_rate_share=1.0),
        grpo=GRPOConfig(final_learning_rate_share=1.0),
        reinforce_pp=ReinforcePPConfig(final_learning_rate_share=1.0),
        preference=PreferenceConfig(final_learning_rate_share=1.0),
    )
