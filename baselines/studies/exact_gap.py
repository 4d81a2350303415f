"""Learners held to the exact tree: NashConv of what they play, over training, in a game small enough to enumerate.

Language models learn from sampled episodes, as they would in any game; then every information state is asked and the
gap is computed, not estimated. Each learner yields a `SolveStep` whose `iteration` counts the updates of *each*
player, with NashConv of the newest iterate and of the average of all iterates, by own reach (arXiv 2406.10977, section
3, proves its bound for averages). All start from the same random models, nearly uniform.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from ...agents.language_model.encoders import StaticWordEncoder, words_of
from ...envs import LanguageGame
from ...envs.tree.analysis import (
    PLAYERS,
    GameTree,
    Policy,
    Profile,
    counterfactual_values,
    expected_returns,
    nash_conv,
    uniform_profile,
)
from ..learners.options import RESPONSE_PPO, SELF_PLAY_PPO
from ..learners.ppo import PPOConfig, PPOLearner
from ..solvers.gpo_ftrl import GPOFTRL
from ..solvers.solver import AverageProfile, SolveStep
from ..training.options import ModelOptions
from ..two_player.diversity_reward import DiversityReward, DiversityWeights
from ..two_player.fictitious_play import FictitiousPlay, FictitiousPlayOptions
from ..two_player.gpo import GPO
from ..two_player.learner import TwoPlayerLearner
from ..two_player.measured import ExactDistance
from ..two_player.psro import PSRO, PSROOptions
from ..two_player.self_play import SelfPlay, SelfPlayOptions
from ..two_player.stage_clock import GPOSchedule


@dataclass(frozen=True, kw_only=True)
class ExactGapConfig:
    """How long, and how, each learner learns; made for payoffs of range 1."""

    num_updates: int = 120
    """Updates of each player, a multiple of `updates_per_round`."""
    updates_per_round: int = 6
    """Updates of one player against the same opponent, in fictitious play, PSRO and a stage of GPO."""
    batch_size: int = 128
    """Episodes for one update."""
    hidden_size: int = 32
    """Of the models, which have one layer."""
    ppo: PPOConfig = SELF_PLAY_PPO
    """How a player learns in self-play and GPO; the KL to its random start keeps it trying all words."""
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

    def make_player(self, game: LanguageGame[Any], player: int, seed: int) -> PPOLearner:
        """Return a micro model with random weights, which differ by player and seed, and its learner."""
        return PPOLearner(ModelOptions(hidden_size=self.hidden_size).make(game, player, seed), self.ppo)


def ppo_self_play(tree: GameTree, config: ExactGapConfig) -> Iterator[SolveStep]:
    """Let both players take a PPO step at once, on the same episodes, again and again."""
    options = SelfPlayOptions(num_updates=config.num_updates, batch_size=config.batch_size)
    learners = [config.make_player(tree.game, player, config.seed) for player in PLAYERS]
    return measured(tree, SelfPlay(tree.game, learners, options, seed=config.seed))


def ppo_fictitious_play(tree: GameTree, config: ExactGapConfig) -> Iterator[SolveStep]:
    """Let PPO respond to the mixture of all earlier opponents (Heinrich, Lanctot & Silver, 2015), round by round."""
    responding = replace(config, ppo=RESPONSE_PPO)
    options = FictitiousPlayOptions(
        num_rounds=config.num_updates // config.updates_per_round,
        updates_per_round=config.updates_per_round,
        batch_size=config.batch_size,
    )
    learner = FictitiousPlay(tree.game, partial(responding.make_player, tree.game), options, seed=config.seed)
    return measured(tree, learner, every=config.updates_per_round)


def ppo_psro(tree: GameTree, config: ExactGapConfig) -> Iterator[SolveStep]:
    """Let PPO respond to the equilibrium of the game among earlier members (Lanctot et al., 2017), round by round.

    The average is the meta-strategy. A response is twice as long as one of fictitious play, and there are half as many:
    every pair of members is played, in episodes that the other learners do not play.
    """
    responding = replace(config, ppo=RESPONSE_PPO)
    options = PSROOptions(
        num_updates=config.num_updates, updates_per_response=2 * config.updates_per_round, batch_size=config.batch_size
    )
    learner = PSRO(tree.game, partial(responding.make_player, tree.game), options, seed=config.seed)
    return measured(tree, learner, every=config.updates_per_round)


def averaged_gpo(tree: GameTree, config: ExactGapConfig) -> Iterator[SolveStep]:
    """Run GPO as it is, without diversity rewards, and average what both players play after every update."""
    adversary, defender = (config.make_player(tree.game, player, config.seed) for player in PLAYERS)
    steps, batch_size = config.updates_per_round, config.batch_size
    schedule = GPOSchedule(
        num_rounds=config.num_updates // steps,
        defend_steps=steps,
        attack_steps=steps,
        batch_size=batch_size,
        static_share=0.0,
    )
    encoder = StaticWordEncoder(words_of(tree.game))
    no_reward = DiversityReward(encoder, DiversityWeights(history_window=1))
    learner = GPO(tree.game, adversary, defender, no_reward, schedule, encoder=encoder, seed=config.seed)
    for step in measured(tree, learner, every=2 * steps):
        yield replace(step, iteration=step.iteration // 2)


def exact_policy_gradient(tree: GameTree, config: ExactGapConfig) -> Iterator[SolveStep]:
    """Let both players' logits ascend the exact gradient of eq. 9 at once, from uniform play; nothing is sampled."""
    logits = np.zeros(tree.tables[0].num_actions), np.zeros(tree.tables[1].num_actions)
    profile, average = uniform_profile(tree), AverageProfile(tree)
    for iteration in range(1, config.num_updates + 1):
        average.add(profile)
        for player, gradient in enumerate([policy_gradient(tree, player, profile) for player in PLAYERS]):
            logits[player][:] += gradient  # a step of 1 logit per unit of payoff
        profile = tree.tables[0].softmax(logits[0]), tree.tables[1].softmax(logits[1])
        mixed = average.profile
        assert mixed is not None
        value = float(expected_returns(tree, mixed)[0])
        yield SolveStep(iteration, nash_conv(tree, profile), nash_conv(tree, mixed), value)


LEARNERS = {
    "PPO self-play": ppo_self_play,
    "PPO fictitious play": ppo_fictitious_play,
    "PPO PSRO": ppo_psro,
    "averaged GPO": averaged_gpo,
    "exact policy gradient": exact_policy_gradient,
}
"""What is compared, by the name that tables and pictures show."""
ROUNDING_ERROR = 1e-12
"""NashConv up to it is none."""


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


def measured(tree: GameTree, learner: TwoPlayerLearner, *, every: int = 1) -> Iterator[SolveStep]:
    """Train to the end; yield the exact distances of the newest players and of the average after `every` steps."""
    distance = ExactDistance(learner, tree, every=every)
    for step in learner:
        exact = distance.after(step)
        if exact is not None:
            yield exact


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


def log_slope(steps: Sequence[SolveStep], *, since: int) -> float:
    """Return b of NashConv(average) ~ t^b, by least squares of logarithms over the reports from iteration `since` on.

    NaN if there are fewer than three, or where NashConv is no more than rounding error, which has no slope.

    >>> round(log_slope([SolveStep(t, None, 3 / t, None) for t in (1, 2, 4, 8)], since=2), 6)
    -1.0
    """
    points = [(step.iteration, step.nash_conv_average) for step in steps if step.iteration >= since]
    values = [np.nan if value is None else value for _, value in points]
    if len(points) < 3 or not np.min(values) > ROUNDING_ERROR:
        return float("nan")
    return float(np.polyfit(np.log([t for t, _ in points]), np.log(values), 1)[0])
