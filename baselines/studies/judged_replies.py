"""How far a learned judge and the oracle agree on a defender's replies to held-out requests of red_team-v0."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from ...agents import EchoAgent
from ...envs import Episode, Speaker
from ...envs.games.red_team.game import RedTeam, Seed, oracle
from ...envs.games.red_team.language import FORMS, SEEN_TOPICS, Kind, Prompt
from ...envs.games.red_team.prompt_sets import STATIC_STYLES, prompt_set
from ...envs.judging import Exchange, Judge, Outcome
from ..evaluation.calibration import Share, judge_report, reliability
from ..rollouts.episodes import play_out

ALMOST_ONE = 1 - 1e-12
"""Rewards are cut to this before their Bradley-Terry margin is taken, which is infinite at 1."""


@dataclass(frozen=True, slots=True)
class HeldOutScores:
    """What the judge that pays and the oracle say of one reply to each held-out request."""

    judge_score: float
    """Mean reward by the judge, -1 to 1."""
    oracle_score: float
    """Mean reward by the oracle on the same replies, -1 to 1."""
    outcomes: dict[str, int]
    """How many replies were what, by the oracle; a forfeit is none of them."""


@dataclass(frozen=True, slots=True)
class JudgeError:
    """A judge held against the oracle on one policy's replies; shares are 0 to 1, NaN without anything to count."""

    judge_score: float
    """Mean reward by the judge, -1 to 1."""
    oracle_score: float
    """Mean reward by the oracle, -1 to 1."""
    own_accuracy: float
    """Share of pairs of two of the policy's replies to one request that the judge orders as the oracle does."""
    num_own_pairs: int
    """Those pairs; such as the oracle values alike are left out."""
    start_accuracy: float
    """The same of pairs of one reply by the policy and one by the policy that training began with."""
    num_start_pairs: int
    """Those pairs."""
    calibration_error: float
    """Expected calibration error of the own pairs' Bradley-Terry probabilities, 0 to 1."""
    verdict_accuracy: float
    """Share of replies whose reward has the oracle's sign, an oracle's 0 counting as good."""
    bad_called_good: float
    """Share of the replies with a negative reward by the oracle that get a positive one."""
    good_called_bad: float
    """Share of the others that get a negative reward, or 0."""


@dataclass(frozen=True, slots=True)
class Replies:
    """One policy's replies, and what they truly earned."""

    exchanges: tuple[Exchange | None, ...]
    """In the order of the requests; None where the policy said no legal turn."""
    oracle_rewards: NDArray[np.float64]
    """(n,), what the game pays by the oracle; -1 for a forfeit."""

    def rewards(self, judge: Judge | None) -> NDArray[np.float64]:
        """Return what the game pays by another judge, (n,); None: the oracle."""
        if judge is None:
            return self.oracle_rewards
        judged = [exchange for exchange in self.exchanges if exchange is not None]
        verdicts = iter(judge(judged) if judged else ())
        paid = zip(self.exchanges, self.oracle_rewards.tolist(), strict=True)
        return np.array([forfeit if exchange is None else next(verdicts).reward for exchange, forfeit in paid])


@cache
def held_out_prompts() -> tuple[Prompt, ...]:
    """Return the requests of the training set's kind that are not in it: seen topics, plain or in a static style.

    >>> len(held_out_prompts()), sum(prompt.topic.kind is Kind.HARMFUL for prompt in held_out_prompts())
    (270, 135)
    """
    trained, kinds = frozenset(prompt_set("static")), (Kind.HARMFUL, Kind.BENIGN)
    topics = [topic for topic in SEEN_TOPICS if topic.kind in kinds]
    chains: Sequence[tuple[str, ...]] = ((), *((style,) for style in STATIC_STYLES))
    prompts = (Prompt(topic, form, chain) for topic in topics for form in FORMS for chain in chains)
    return tuple(prompt for prompt in prompts if prompt not in trained)


def reply_to(prompts: Sequence[Prompt], defender: Speaker, rng: np.random.Generator) -> Replies:
    """Return the defender's replies to requests that player 0 says as they stand."""
    game = RedTeam()
    played = play_out([Episode(game, Seed(prompt)) for prompt in prompts], (EchoAgent(), defender), rng)
    exchanges = [None if episode.forfeited_by(1) else game.exchange(episode.dialogue) for episode in played]
    return Replies(tuple(exchanges), np.array([episode.episode.returns[1] for episode in played]))


def held_out_scores(replies: Replies, judge: Judge | None) -> HeldOutScores:
    """Return the scores of replies by the judge that pays (None: the oracle) and by the oracle."""
    outcomes = [
        verdict.outcome for verdict in oracle([exchange for exchange in replies.exchanges if exchange is not None])
    ]
    counts = {outcome.value: outcomes.count(outcome) for outcome in Outcome if outcome in outcomes}
    return HeldOutScores(float(replies.rewards(judge).mean()), float(replies.oracle_rewards.mean()), counts)


def judge_error(judge: Judge, first: Replies, second: Replies, start: Replies) -> JudgeError:
    """Return how far a judge can be believed on a policy's replies.

    Args:
        judge: whose rewards are p_good - p_bad, such as a reward model's.
        first: the policy's replies to some requests.
        second: other replies of it to the same requests.
        start: replies to them by the policy that training began with.
    """
    rewards = [replies.rewards(judge) for replies in (first, second, start)]
    truth = [replies.oracle_rewards for replies in (first, second, start)]
    own, probabilities = _ordered(rewards[:2], truth[:2])
    against, _ = _ordered(rewards[::2], truth[::2])
    right = probabilities > 0.5
    curve = reliability(np.maximum(probabilities, 1 - probabilities), right, low=0.5) if own.count else None
    replies = [
        (exchange, reward < 0)
        for side in (first, second)
        for exchange, reward in zip(side.exchanges, side.oracle_rewards.tolist(), strict=True)
        if exchange is not None
    ]
    matrix = judge_report(judge, [exchange for exchange, _ in replies], [bad for _, bad in replies]).confusion
    return JudgeError(
        judge_score=float(np.mean(rewards[:2])),
        oracle_score=float(np.mean(truth[:2])),
        own_accuracy=own.value,
        num_own_pairs=own.count,
        start_accuracy=against.value,
        num_start_pairs=against.count,
        calibration_error=float("nan") if curve is None else curve.expected_calibration_error,
        verdict_accuracy=matrix.accuracy,
        bad_called_good=1 - matrix.sensitivity,
        good_called_bad=1 - matrix.specificity,
    )


def _ordered(
    rewards: Sequence[NDArray[np.float64]], truth: Sequence[NDArray[np.float64]]
) -> tuple[Share, NDArray[np.float64]]:
    """Return the share of pairs in the oracle's order, and the probability that the judge gives to that order."""
    first, second = (2 * np.arctanh(side.clip(-ALMOST_ONE, ALMOST_ONE)) for side in rewards)  # r - r_0 of Bradley-Terry
    gain = truth[0] - truth[1]
    differ = gain != 0
    margins = ((first - second) * np.sign(gain))[differ]
    probabilities: NDArray[np.float64] = expit(margins)
    return Share(int((margins > 0).sum()), int(differ.sum())), probabilities
