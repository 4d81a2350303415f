"""Players of any game: models from folders or from nothing, and the learner that trains each."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ..agents.language_model import CausalLMAgent
from ..agents.micro import micro_model
from ..envs import LanguageGame
from .grpo import GRPOConfig, GRPOLearner
from .policy_gradient_learner import PlayerLearner
from .ppo import PPOConfig, PPOLearner
from .preference_optimisation import PreferenceConfig, PreferenceLearner
from .reinforce import ReinforceConfig, ReinforceLearner
from .reinforce_pp import ReinforcePPConfig, ReinforcePPLearner
from .rloo import RLOOConfig, RLOOLearner
from .setup import load_model
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


def check_groups(batch_size: int, group_size: int) -> None:
    """Raise ValueError unless a batch makes whole groups, at least one."""
    if group_size < 1 or batch_size < 1 or batch_size % group_size:
        raise ValueError(f"batch_size: expected whole groups of {group_size}, at least one, got {batch_size}")


@dataclass(frozen=True, kw_only=True)
class ModelOptions:
    """The models that players start from."""

    player_0: Path | None = None
    """The folder of player 0's model; None: a micro model with random weights."""
    player_1: Path | None = None
    """The folder of player 1's model; None: a micro model with random weights."""
    hidden_size: int = 32
    """Width of a micro model."""
    num_layers: int = 1
    """Depth of a micro model."""
    num_heads: int = 2
    """Attention heads of a micro model; they divide its width."""
    device: str = "cpu"
    """Where the models are."""

    def make(self, game: LanguageGame[Any], player: int, seed: int) -> CausalLMAgent:
        """Return the model that a player starts from; `seed` decides the weights of a micro model."""
        folder = (self.player_0, self.player_1)[player]
        if folder is not None:
            return load_model(folder, game, device=self.device)
        model = micro_model(
            game.vocabulary,
            hidden_size=self.hidden_size,
            num_layers=self.num_layers,
            num_heads=self.num_heads,
            max_positions=max(8, game.max_view_tokens),
            seed=2 * seed + player,
        )
        model.to(self.device)  # type: ignore[arg-type]
        return CausalLMAgent(model, game.vocabulary)
