"""Learners held to the exact tree: NashConv of what they play, over training, in a game small enough to enumerate.

Language models learn from sampled episodes, as they would in any game; then every information state is asked and the
gap is computed, not estimated. Each learner yields a `SolveStep` whose `iteration` counts the updates of *each*
player, with NashConv of the newest iterate and of the average of all iterates, by own reach (arXiv 2406.10977, section
3, proves its bound for averages). All start from the same random models, nearly uniform.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

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
from ..training.checks import Count, Options, Rows, Seed, Width
from ..training.options import ModelOptions
from ..two_player import factories
from ..two_player.diversity_reward import DiversityWeights
from ..two_player.learner import Task, TwoPlayerLearner
from ..two_player.measured import ExactDistance, last_fifth


@dataclass(frozen=True, kw_only=True)
class ExactGapConfig(Options):
    """How long, and how, each learner learns; made for payoffs of range 1."""

    num_updates: Count = 120
    """Updates of each player, a multiple of `updates_per_round`."""
    updates_per_round: Count = 6
    """Updates of one player against the same opponent, in fictitious play, PSRO and a stage of GPO."""
    batch_size: Rows = 128
    """Episodes for one update."""
    hidden_size: Width = 32
    """Of the models, which have one layer."""
    ppo: PPOConfig = SELF_PLAY_PPO
    """How a player learns in self-play and GPO; the KL to its random start keeps it trying all words."""
    seed: Seed = 0
    """Decides the models' start, deals, tokens and minibatches."""

    def __post_init__(self) -> None:
        """Check the lengths.

        Raises:
            ValueError: the updates do not make whole rounds.
        """
        super().__post_init__()
        if self.num_updates % self.updates_per_round:
            raise ValueError(
                "num_updates: expected a positive multiple of updates_per_round, got "
                f"{self.num_updates} and {self.updates_per_round}"
            )

    def task(self, tree: GameTree, ppo: PPOConfig) -> Task:
        """Return the budget, and micro models with random weights, which differ by player and seed, as players."""

        def make_player(player: int, seed: int) -> PPOLearner:
            return PPOLearner(ModelOptions(hidden_size=self.hidden_size).make(tree.game, player, seed), ppo)

        return Task(
            game=tree.game,
            seed=self.seed,
            num_updates=self.num_updates,
            batch_size=self.batch_size,
            make_player=make_player,
        )


def ppo_self_play(tree: GameTree, config: ExactGapConfig) -> Iterator[SolveStep]:
    """Let both players take a PPO step at once, on the same episodes, again and again."""
    return measured(tree, factories.self_play(config.task(tree, config.ppo)))


def ppo_fictitious_play(tree: GameTree, config: ExactGapConfig) -> Iterator[SolveStep]:
    """Let PPO respond to the mixture of all earlier opponents (Heinrich, Lanctot & Silver, 2015), round by round."""
    length = config.updates_per_round
    learner = factories.fictitious_play(config.task(tree, RESPONSE_PPO), updates_per_round=length)
    return measured(tree, learner, every=length)


def ppo_psro(tree: GameTree, config: ExactGapConfig) -> Iterator[SolveStep]:
    """Let PPO respond to the equilibrium of the game among earlier members (Lanctot et al., 2017), round by round.

    The average is the meta-strategy. A response is twice as long as one of fictitious play, and there are half as many:
    every pair of members is played, in episodes that the other learners do not play.
    """
    length = config.updates_per_round
    learner = factories.psro(config.task(tree, RESPONSE_PPO), updates_per_response=2 * length)
    return measured(tree, learner, every=length)


def averaged_gpo(tree: GameTree, config: ExactGapConfig) -> Iterator[SolveStep]:
    """Run GPO as it is, without diversity rewards, and average what both players play after every update."""
    length, nothing = config.updates_per_round, DiversityWeights(history_window=1)
    learner = factories.gpo(config.task(tree, config.ppo), nothing, updates_per_stage=length)
    for step in measured(tree, learner, every=2 * length):
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
EXCURSION = 0.05
"""NashConv of the newest players above this share of the payoff range counts as away from equilibrium."""
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


@dataclass(frozen=True, slots=True)
class LastIterate:
    """Where the newest players are by the end of training: one snapshot, and what the last fifth says of it."""

    end: float
    """NashConv after the last update."""
    late: float
    """Its mean over the reports of the last fifth of training, by which the last iterate is told."""
    num_excursions: int
    """In how many of those reports it was above `EXCURSION` of the payoff range: players were thrown out, or never
    arrived."""
    num_reports: int
    """How many there are."""


def last_iterate(steps: Sequence[SolveStep], *, payoff_range: float) -> LastIterate:
    """Return where the newest players of one training are.

    Raises:
        ValueError: there are no reports, or one has no NashConv of the newest players.

    >>> told = last_iterate([SolveStep(t, 0.3 if t == 9 else 0.1, 0.0, None) for t in range(1, 11)], payoff_range=4.0)
    >>> told.end, told.late, told.num_excursions, told.num_reports
    (0.1, 0.2, 1, 2)
    """
    found = [step.nash_conv_last for step in last_fifth(steps)]
    late = [distance for distance in found if distance is not None]
    if len(late) < len(found):
        raise ValueError(f"steps: expected NashConv of the newest players in each, got {found}")
    beyond = sum(distance > EXCURSION * payoff_range for distance in late)
    return LastIterate(late[-1], float(np.mean(late)), beyond, len(late))


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
