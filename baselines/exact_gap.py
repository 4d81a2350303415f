"""Learners held to the exact tree: NashConv of what they play, over training, in a game small enough to enumerate.

Language models learn from sampled episodes, as they would in any game; then every information state is asked and the
gap is computed, not estimated. Each learner yields a `SolveStep` whose `iteration` counts the updates of *each*
player, with NashConv of the newest iterate and of the average of all iterates, by own reach (arXiv 2406.10977, section
3, proves its bound for averages). All start from the same random models, nearly uniform.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ..agents import TabularAgent, profile_of
from ..agents.language_model import CausalLMAgent
from ..agents.micro import micro_model
from ..envs import LanguageGame
from ..envs.tree import (
    PLAYERS,
    GameTree,
    Policy,
    Profile,
    counterfactual_values,
    expected_returns,
    nash_conv,
    uniform_profile,
)
from .diversity_reward import DiversityReward
from .encoders import StaticWordEncoder, words_of
from .exact.gpo_ftrl import GPOFTRL
from .exact.solver import AverageProfile, SolveStep
from .gpo import GPO, GPOSchedule
from .ppo import PPOConfig, PPOLearner
from .rollout import rollout, trajectories


@dataclass(frozen=True, kw_only=True)
class ExactGapConfig:
    """How long, and how, each learner learns; made for payoffs of range 1."""

    num_updates: int = 120
    """Updates of each player, a multiple of `updates_per_round`."""
    updates_per_round: int = 6
    """Updates of one player against the same opponent, in fictitious play and in a stage of GPO."""
    batch_size: int = 128
    """Episodes for one update."""
    hidden_size: int = 32
    """Of the models, which have one layer."""
    policy_gradient_step: float = 1.0
    """Step size of the exact policy gradient, in logits per unit of payoff."""
    ppo: PPOConfig = field(
        default_factory=lambda: PPOConfig(learning_rate=2e-3, warmup_updates=1, kl_coef=0.05, gae_lambda=1.0)
    )
    """How a player learns in self-play and GPO; the KL to its random start keeps it trying all words."""
    response_ppo: PPOConfig = field(
        default_factory=lambda: PPOConfig(
            learning_rate=1e-2, warmup_updates=1, kl_coef=0.0, gae_lambda=1.0, num_epochs=4
        )
    )
    """How a best response of fictitious play learns, which starts anew in every round and has few updates."""
    seed: int = 0
    """Decides the models' start, deals, tokens and minibatches."""

    def __post_init__(self) -> None:
        """Check the lengths.

        Raises:
            ValueError: the updates do not make whole rounds.
        """
        if self.updates_per_round < 1 or self.num_updates < 1 or self.num_updates % self.updates_per_round:
            raise ValueError(
                "num_updates: expected a positive multiple of updates_per_round, got "
                f"{self.num_updates} and {self.updates_per_round}"
            )


def ppo_self_play(tree: GameTree, config: ExactGapConfig) -> Iterator[SolveStep]:
    """Let both players take a PPO step at once, on the same episodes, again and again."""
    learners, rng, average = make_learners(tree.game, config), np.random.default_rng(config.seed), AverageProfile(tree)
    agents = [learner.agent for learner in learners]
    for iteration in range(1, config.num_updates + 1):
        played = rollout(tree.game, agents, config.batch_size, rng)
        for player, learner in enumerate(learners):
            learner.update(trajectories(played, player), rng)
        last = profile_of(tree, agents)
        average.add(last)
        yield measured(tree, iteration, last, average)


def ppo_fictitious_play(tree: GameTree, config: ExactGapConfig) -> Iterator[SolveStep]:
    """Let PPO respond to the mixture of all earlier opponents (Heinrich, Lanctot & Silver, 2015).

    A round is `updates_per_round` PPO steps of each player from a random start, an approximate best response: a model
    that has become pure tries nothing else and would be stuck with the answer of the round before. Both opponents are
    the mixtures as they stood before the round; what is played is their behaviour policy, that of a `MixtureAgent`.
    """
    rng, average = np.random.default_rng(config.seed), AverageProfile(tree)
    average.add(profile_of(tree, [learner.agent for learner in make_learners(tree.game, config)]))
    for iteration in range(config.updates_per_round, config.num_updates + 1, config.updates_per_round):
        mixtures = [TabularAgent(tree, player, _known(average)[player]) for player in PLAYERS]
        learners = make_learners(tree.game, replace(config, ppo=config.response_ppo, seed=config.seed + iteration))
        for player, learner in enumerate(learners):
            seats = (learner.agent, mixtures[1]) if player == 0 else (mixtures[0], learner.agent)
            for _ in range(config.updates_per_round):
                learner.update(trajectories(rollout(tree.game, seats, config.batch_size, rng), player), rng)
        last = profile_of(tree, [learner.agent for learner in learners])
        average.add(last)
        yield measured(tree, iteration, last, average)


def averaged_gpo(tree: GameTree, config: ExactGapConfig) -> Iterator[SolveStep]:
    """Run GPO as it is, without diversity rewards, and average what both players play after every update."""
    adversary, defender = make_learners(tree.game, config)
    steps, batch_size = config.updates_per_round, config.batch_size
    schedule = GPOSchedule(
        num_rounds=config.num_updates // steps,
        defend_steps=steps,
        attack_steps=steps,
        batch_size=batch_size,
        static_share=0.0,
    )
    encoder, average = StaticWordEncoder(words_of(tree.game)), AverageProfile(tree)
    no_reward = DiversityReward(encoder, bleu_weight=0.0, embedding_weight=0.0, window=1)
    learner = GPO(tree.game, adversary, defender, no_reward, schedule, encoder=encoder, seed=config.seed)
    for step in learner:
        last = profile_of(tree, (adversary.agent, defender.agent))
        average.add(last)
        if step.iteration % (2 * steps) == 0:
            yield measured(tree, step.iteration // 2, last, average)


def exact_policy_gradient(tree: GameTree, config: ExactGapConfig) -> Iterator[SolveStep]:
    """Let both players' logits ascend the exact gradient of eq. 9 at once, from uniform play; nothing is sampled."""
    logits = np.zeros(tree.tables[0].num_actions), np.zeros(tree.tables[1].num_actions)
    profile, average = uniform_profile(tree), AverageProfile(tree)
    for iteration in range(1, config.num_updates + 1):
        average.add(profile)
        for player, gradient in enumerate([policy_gradient(tree, player, profile) for player in PLAYERS]):
            logits[player][:] += config.policy_gradient_step * gradient
        profile = tree.tables[0].softmax(logits[0]), tree.tables[1].softmax(logits[1])
        yield measured(tree, iteration, profile, average)


LEARNERS = {
    "PPO self-play": ppo_self_play,
    "PPO fictitious play": ppo_fictitious_play,
    "averaged GPO": averaged_gpo,
    "exact policy gradient": exact_policy_gradient,
}
"""What is compared, by the name that tables and pictures show."""


def policy_gradient(tree: GameTree, player: int, profile: Profile) -> Policy:
    """Return the gradient of the player's return by the logits of its softmax policy (eq. 9 of arXiv 2402.08078).

    Summed over the nodes of an information state I, d_pi(s) pi(a|s) Q_pi(s, a) grad log pi is reach(I) pi(a|I)
    (q(I, a) - v(I)): own reach, policy, and the advantage in counterfactual values. That is the exact expectation of
    the sampled gradient; shape (A,).
    """
    table, policy = tree.tables[player], profile[player]
    values = counterfactual_values(tree, player, profile)
    advantages = values - table.spread(table.sums(policy * values))
    gradient: Policy = table.reach(policy)[1:] * advantages  # the plan at an action is reach(I) pi(a|I)
    return gradient


def make_learners(game: LanguageGame[Any], config: ExactGapConfig) -> tuple[PPOLearner, PPOLearner]:
    """Return a micro model for each player, with random weights that differ."""
    first, second = (
        PPOLearner(
            CausalLMAgent(
                micro_model(
                    game.vocabulary,
                    hidden_size=config.hidden_size,
                    num_layers=1,
                    num_heads=2,
                    max_positions=max(8, game.max_view_tokens),
                    seed=2 * config.seed + player,
                ),
                game.vocabulary,
            ),
            config.ppo,
        )
        for player in PLAYERS
    )
    return first, second


def measured(tree: GameTree, iteration: int, last: Profile, average: AverageProfile) -> SolveStep:
    """Return the exact distances from equilibrium of the newest profile and of the average."""
    mixed = _known(average)
    value = float(expected_returns(tree, mixed)[0])
    return SolveStep(iteration, nash_conv(tree, last), nash_conv(tree, mixed), value)


def theory_bound(tree: GameTree, iteration: int) -> float:
    """Return what `iteration` steps of GPO's theoretical algorithm guarantee for the average, exact steps assumed.

    For n prompts, m replies and payoffs of range D it is D (sqrt(ln n / 2T) + sqrt(n ln m / 2T)); no theorem covers
    sampled PPO, so that for the learners here it is a yardstick.

    Raises:
        ValueError: the game is not zero-sum, and nothing is guaranteed.
    """
    bound = GPOFTRL(tree, num_iterations=iteration).bound(iteration)
    if bound is None:
        raise ValueError(f"theory_bound: expected a zero-sum game, got {type(tree.game).__name__}")
    return bound


def _known(average: AverageProfile) -> Profile:
    profile = average.profile
    assert profile is not None
    return profile
