"""Token-level PPO with KL to a frozen reference, for one player of a language game.

PPO (Schulman et al., 2017, arXiv 1707.06347) as RLHF uses it: an action is a token, every own token is charged
kl_coef (log pi - log ref), the game's rewards arrive at the latest own token, and GAE runs over own tokens only.

Differs from the paper in: value and policy share the trunk, unless a critic is given, which the learners of both
players share; advantages are whitened over own tokens, by their standard deviation or `advantage_std_floor`,
whichever is more. Without a floor, the default, an update has one size, whether there is much to gain or only noise:
against a fixed opponent that keeps a player trying, at an equilibrium it throws players out; see `SELF_PLAY_PPO`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
from torch import Tensor, nn

from ...agents.language_model.causal_lm import CausalLMAgent, TokenEvaluation
from ...agents.language_model.checkpoints import text_config
from ..functional.advantages import gae, shaped_token_rewards
from ..functional.masking import masked_mean, masked_whiten
from ..functional.policy_losses import clip_fraction, clipped_surrogate, clipped_value_loss, probability_ratio
from ..rollouts.trajectories import Trajectories
from ..training.checks import Count, NotNegative, OpenShare, Share
from ..training.presets import usual
from .base import PolicyGradientUpdate, TooFar, TrainedModel, TrainingConfig
from .optimisation import require_finite
from .ptx import PretrainingData
from .registry import register_learner
from .shared_critic import SharedCritic


@dataclass(frozen=True, kw_only=True)
class PPOConfig(TrainingConfig):
    """How one player learns from its trajectories."""

    num_epochs: Count = 2
    """Passes over a batch of episodes."""
    num_minibatches: Count = 2
    """Gradient steps in a pass."""
    clip_epsilon: OpenShare = 0.2
    """The ratio is clipped to 1 -+ this."""
    target_kl: NotNegative | None = None
    """An update ends before a gradient step if its policy is already so many nats a token from where it began; 0: it
    takes all steps. None: 0, and a real model's 0.03."""
    value_clip_epsilon: OpenShare = 0.2
    """Values move at most this far from the old ones in the value loss."""
    value_coef: NotNegative = 0.1
    """Weight of the value loss; a shared critic, which has an optimiser of its own, does without."""
    entropy_coef: NotNegative = 0.0
    """Weight of the entropy bonus."""
    kl_coef: NotNegative = usual(0.01)
    """Charge per nat of log pi - log ref, token by token; GPO's 0.01."""
    gamma: Share = 1.0
    """Discount from one own token to the next."""
    gae_lambda: Share = 0.95
    """GAE's lambda."""
    advantage_std_floor: NotNegative = 0.0
    """Advantages are divided by their standard deviation in the batch, or by this where that is less; in payoffs. 0 for
    a fixed opponent; about a tenth of the payoffs where the opponent learns too, see `GAME_STD_FLOOR`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PPOUpdate(PolicyGradientUpdate):
    """The same, and the critic's loss."""

    value_loss: float
    """The clipped loss of the values, before each gradient step."""


@dataclass(frozen=True, slots=True)
class _Estimates:
    old_logprobs: Tensor
    old_values: Tensor
    advantages: Tensor
    returns: Tensor


@register_learner("ppo", config=PPOConfig)
class PPOLearner(TrainedModel[PPOConfig]):
    """One player that learns: its agent, the frozen start that it is held to, its critic, and its optimiser."""

    saved = (*TrainedModel.saved, "value_network")

    def __init__(
        self,
        agent: CausalLMAgent,
        config: PPOConfig,
        *,
        num_planned: int | None = None,
        critic: SharedCritic | None = None,
        ptx: PretrainingData | None = None,
    ) -> None:
        """Take the agent to train in place; it is given a value head if it has none.

        Args:
            agent: whoever learns.
            config: how.
            num_planned: the updates over which the learning rate falls; None: it stays.
            critic: estimates values in place of the value head, which the agent then loses.
            ptx: the start's own data, for a `ptx_coef` above 0.
        """
        self.critic = critic
        if critic is not None:
            agent.value_head = None
        elif agent.value_head is None:
            agent.value_head = nn.Linear(text_config(agent.model.config).hidden_size, 1, device=agent.model.device)
            nn.init.zeros_(agent.value_head.weight)
            nn.init.zeros_(agent.value_head.bias)
        heads = [] if agent.value_head is None else [agent.value_head]
        super().__init__(agent, config, num_planned=num_planned, heads=heads, ptx=ptx)

    def update(self, batch: Trajectories, rng: np.random.Generator) -> PPOUpdate:
        """Take `num_epochs` passes over one batch of fresh trajectories.

        Args:
            batch: what this player saw, said and earned.
            rng: orders the minibatches, and draws the start's own data.
        """
        steps, batch = list[Sequence[float]](), batch.to(self.agent.model.device)
        with self.updating():
            estimates, kl_nats = self._estimate(batch)
            with suppress(TooFar):
                for rows, said in self.gradient_steps(batch, self.config.num_epochs, rng):
                    steps.append(self._step(batch, estimates, rows, rng, said))
        policy_loss, value_loss, entropy, clipped = np.mean(steps, axis=0).tolist()
        watched = self.watched(batch, kl_nats, len(steps))
        return PPOUpdate(
            policy_loss=policy_loss, value_loss=value_loss, entropy_nats=entropy, clip_fraction=clipped, **watched
        )

    def _estimate(self, batch: Trajectories) -> tuple[_Estimates, tuple[float, float]]:
        own, config, critic = batch.policy_token_mask, self.config, self.critic
        ref = self.said(batch, reference=True)
        now = self.said_before(batch, entropy_grad=config.entropy_coef > 0)
        values = now.values if critic is None else critic.estimates(batch, tokens_at_once=config.tokens_at_once)
        rewards = shaped_token_rewards(batch.rewards, now.logprobs, ref.logprobs, own, kl_coef=config.kl_coef)
        moved = now.logprobs - ref.logprobs
        for name, numbers in (("rewards", batch.rewards), ("logprobs", moved), ("values", values)):
            require_finite(name, numbers)
        advantages, returns = gae(rewards, values, own, gamma=config.gamma, gae_lambda=config.gae_lambda)
        whitened = masked_whiten(advantages, own, std_floor=config.advantage_std_floor)
        return _Estimates(now.logprobs, values, whitened, returns), self.watched_kl(now.logprobs, ref.logprobs, own)

    def _step(
        self,
        batch: Trajectories,
        estimates: _Estimates,
        rows: Tensor,
        rng: np.random.Generator,
        said: TokenEvaluation | None,
    ) -> Sequence[float]:
        """Take one gradient step; return its policy loss, value loss, entropy and clip fraction."""
        config, part = self.config, batch.select(rows)
        own, width = part.policy_token_mask, part.tokens.shape[1]
        old, old_values, advantages, returns = (
            getattr(estimates, name)[rows, :width] for name in ("old_logprobs", "old_values", "advantages", "returns")
        )

        def value_loss(values: Tensor) -> Tensor:
            return clipped_value_loss(values, old_values, returns, own, clip_epsilon=config.value_clip_epsilon)

        def loss_of(now: TokenEvaluation) -> tuple[Tensor, Sequence[float]]:
            self.stop_at(config.target_kl, now.logprobs, old, own)
            ratio = probability_ratio(now.logprobs, old, own)
            policy = clipped_surrogate(ratio, advantages, own, clip_epsilon=config.clip_epsilon)
            value = value_loss(now.values) if self.critic is None else self._fit_critic(part, value_loss)
            bonus = masked_mean(now.entropies, own)
            clipped = clip_fraction(ratio.detach(), own, clip_epsilon=config.clip_epsilon)
            loss = policy + config.value_coef * value - config.entropy_coef * bonus
            return loss, [float(number.detach()) for number in (policy, value, bonus, clipped)]

        return self.step(part, loss_of, rng, entropy_grad=config.entropy_coef > 0, said=said)

    def _fit_critic(self, part: Trajectories, value_loss: Callable[[Tensor], Tensor]) -> Tensor:
        """Let the shared critic descend on its loss of a minibatch; return the loss as it was before."""
        assert self.critic is not None
        return self.critic.fit(
            part,
            value_loss,
            learning_rate=self.last_learning_rate,
            max_grad_norm=self.config.max_grad_norm,
            tokens_at_once=self.config.tokens_at_once,
        )

    @property
    def value_network(self) -> SharedCritic | nn.Linear:
        """What estimates values: the shared critic, or the head on the agent's model."""
        if self.critic is not None:
            return self.critic
        assert self.agent.value_head is not None
        return self.agent.value_head
