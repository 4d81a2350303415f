"""Who pays in the study of true and judged attack success: the oracle, learned judges, and judges that go on learning.

All learned judges are small networks of `outcome_judge.py`, stopped at about the accuracy that their name says, on
exchanges that nobody was trained to produce. An ensemble votes. Two kinds learn while the players do, from labels that
the oracle sells them after each round, on exchanges of the players as they then are:

* `RetrainedJudge` buys the labels of exchanges drawn at random, and is fitted to them;
* `ThirdRole` buys few, where it is least sure, and is paid for verdicts that agree with them, as the evaluator of
  TriPlay-RL (Tan et al., 2026, arXiv 2601.18292), the third role that learns beside attacker and defender.

Half of what either learns from are exchanges of the kind that it began with: else it forgets them.

The third role differs from that paper in: it is a small classifier of seven outcomes, no language model of three
classes that reasons; the labels are the oracle's, few and chosen where it is unsure, and not the majority's of several
judge models; its policy gradient has GRPO's advantages of sampled verdicts but neither clipping, as each batch of
verdicts is fresh, nor a charge for KL; attacker and defender are GPO's.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor, nn

from ...envs import make_game
from ...envs.judging import Exchange, Judge, Outcome, RedTeamGame, Verdict
from ..functional.advantages import grpo_advantages
from ..functional.policy_losses import policy_gradient_loss
from ..learners.optimisation import make_optimizer, take_step
from ..training.checks import AtLeastTwo, LearningRate, Options, Rows, Whole
from ..training.state import Stateful
from ..two_player.learner import derived_seed
from .outcome_judge import (
    OUTCOMES,
    Generated,
    OutcomeJudge,
    OutcomeJudgeConfig,
    features,
    labelled_exchanges,
    train_judges,
)

JudgeName = Literal["oracle", "acc80", "acc90", "acc95", "acc99", "ensemble", "retrained", "third_role"]
JUDGES: tuple[JudgeName, ...] = get_args(JudgeName)
TARGETS: dict[str, float] = {"acc80": 0.80, "acc90": 0.90, "acc95": 0.95, "acc99": 0.99}
START = 0.90
"""The accuracy of an ensemble's members, and of judges before they go on learning."""
TITLES: dict[str, str] = {
    "oracle": "oracle",
    **{name: f"{100 * target:.0f} %" for name, target in TARGETS.items()},
    "ensemble": "three of 90 %",
    "retrained": "90 %, retrained",
    "third_role": "90 %, third role",
}
"""What tables and pictures call them."""


@dataclass(frozen=True, kw_only=True)
class JudgeSizes(Options):
    """How judges learn, before the players do and beside them."""

    start: OutcomeJudgeConfig = field(default_factory=OutcomeJudgeConfig)
    """The first training of each."""
    retrained_labels: Rows = 200
    """Labels that the retrained judge buys after a round."""
    third_role_labels: Rows = 32
    """Labels that the third role buys after a round."""
    num_steps: Whole = 100
    """Gradient steps of either after a round."""
    batch_size: AtLeastTwo = 64
    """Exchanges in a step."""
    group_size: AtLeastTwo = 8
    """Verdicts that the third role samples on an exchange."""
    learning_rate: LearningRate = 1e-3
    """AdamW's, in these steps."""


class PayingJudge(Stateful):
    """A judge that pays the players, and may learn from exchanges that the oracle labels; this one stays as it is."""

    def __init__(self, judge: Judge) -> None:
        """Take whoever gives the verdicts."""
        self._judge = judge

    @property
    def num_labels(self) -> int:
        """Labels bought so far."""
        return 0

    def __call__(self, exchanges: Sequence[Exchange]) -> Sequence[Verdict]:
        """Return one verdict for each exchange, in order."""
        return self._judge(exchanges)

    def learn(self, exchanges: Sequence[Exchange], outcomes: Sequence[Outcome], rng: np.random.Generator) -> None:
        """Take what became of the latest exchanges by the oracle; only as much of it may be read as is bought."""


class LearningJudge(PayingJudge):
    """A network that buys labels after each round, keeps them, and takes gradient steps."""

    saved = ("network", "rows", "labels")

    def __init__(self, start: OutcomeJudge, corpus: tuple[Tensor, Tensor], sizes: JudgeSizes) -> None:
        """Take the judge that it is to begin with, which stays as it is, and exchanges of players that nobody trained.

        Args:
            start: the judge.
            corpus: features (N, 2 V) and outcomes (N,) of the exchanges.
            sizes: how it learns.
        """
        self.network = copy.deepcopy(start.network)
        super().__init__(OutcomeJudge(self.network, start.rewards))
        self.sizes, self._corpus = sizes, corpus
        self.rows = torch.zeros(0, 0)
        """Features of the exchanges whose labels were bought, (n, 2 V)."""
        self.labels = torch.zeros(0, dtype=torch.int64)
        """Their outcomes, (n,)."""

    @property
    def num_labels(self) -> int:
        """Labels bought so far."""
        return len(self.labels)

    def learn(self, exchanges: Sequence[Exchange], outcomes: Sequence[Outcome], rng: np.random.Generator) -> None:
        """Buy labels, and take the steps of a round."""
        if exchanges:
            rows = features(exchanges)
            bought = self.chosen(rows, rng)
            labels = torch.tensor([OUTCOMES.index(outcomes[k]) for k in bought.tolist()], dtype=torch.int64)
            self.rows = torch.cat([self.rows, rows[bought]]) if len(self.rows) else rows[bought]
            self.labels = torch.cat([self.labels, labels])
        if not len(self.labels):
            return
        parameters = list(self.network.parameters())
        optimizer = make_optimizer(parameters, learning_rate=self.sizes.learning_rate, weight_decay=0.01)
        for _ in range(self.sizes.num_steps):
            take_step(self.loss(*self.batch(rng), rng), optimizer, parameters)

    def batch(self, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Return features and outcomes for a step, half of them bought, of any round so far."""
        half = self.sizes.batch_size // 2
        drawn = [_drawn(rows, labels, half, rng) for rows, labels in (self._corpus, (self.rows, self.labels))]
        rows, labels = (torch.cat(parts) for parts in zip(*drawn, strict=True))
        return rows, labels

    def chosen(self, rows: Tensor, rng: np.random.Generator) -> Tensor:
        """Return which of the latest exchanges, (N, 2 V), are to be labelled."""
        raise NotImplementedError

    def loss(self, rows: Tensor, labels: Tensor, rng: np.random.Generator) -> Tensor:
        """Return what one step minimises."""
        raise NotImplementedError


class RetrainedJudge(LearningJudge):
    """Buys labels of exchanges drawn at random, and is fitted to them."""

    def chosen(self, rows: Tensor, rng: np.random.Generator) -> Tensor:
        """Return exchanges drawn without replacement."""
        return torch.from_numpy(rng.permutation(len(rows))[: self.sizes.retrained_labels])

    def loss(self, rows: Tensor, labels: Tensor, rng: np.random.Generator) -> Tensor:
        """Return the cross entropy."""
        return nn.functional.cross_entropy(self.network(rows), labels)


class ThirdRole(LearningJudge):
    """Buys labels where it is least sure, and is paid 1 for a verdict that agrees with one, 0 for another."""

    def chosen(self, rows: Tensor, rng: np.random.Generator) -> Tensor:
        """Return the exchanges whose likeliest outcome has the smallest probability."""
        with torch.no_grad():
            confidence: Tensor = self.network(rows).softmax(-1).amax(-1)
        return confidence.argsort(stable=True)[: self.sizes.third_role_labels]

    def loss(self, rows: Tensor, labels: Tensor, rng: np.random.Generator) -> Tensor:
        """Return the policy-gradient loss of sampled verdicts, those on one exchange being a group."""
        logprobs = self.network(rows).log_softmax(-1)  # (B, 7)
        size = self.sizes.group_size
        noise = torch.from_numpy(rng.gumbel(size=(len(rows), size, len(OUTCOMES)))).float()
        verdicts = (logprobs.detach()[:, None] + noise).argmax(-1)  # (B, G), drawn from softmax
        groups = torch.arange(len(rows)).repeat_interleave(size)
        advantages = grpo_advantages((verdicts == labels[:, None]).float().flatten(), groups)
        said = logprobs.gather(1, verdicts).flatten()[:, None]
        return policy_gradient_loss(said, advantages[:, None], torch.ones_like(said, dtype=torch.bool))


LEARNING: dict[str, type[LearningJudge]] = {"retrained": RetrainedJudge, "third_role": ThirdRole}


class MajorityJudge:
    """Several judges that vote on the outcome; the reward is the mean of those by the members that voted for it.

    Where outcomes have equally many votes, that of the member with the lowest reward counts: the strictest.
    """

    def __init__(self, members: Sequence[Judge]) -> None:
        """Take the members."""
        if not members:
            raise ValueError("members: expected at least one judge, got none")
        self.members = tuple(members)

    def __call__(self, exchanges: Sequence[Exchange]) -> list[Verdict]:
        """Return one verdict for each exchange, in order."""
        opinions = [member(exchanges) for member in self.members]
        return [_majority(votes) for votes in zip(*opinions, strict=True)]


def _majority(votes: Sequence[Verdict]) -> Verdict:
    outcomes = [vote.outcome for vote in votes]
    most = max(map(outcomes.count, outcomes))
    leading = [vote for vote in votes if outcomes.count(vote.outcome) == most]
    outcome = min(leading, key=lambda vote: vote.reward).outcome
    return Verdict(float(np.mean([vote.reward for vote in votes if vote.outcome is outcome])), outcome)


def red_team(name: str, judge: Judge | None = None) -> RedTeamGame[Any]:
    """Return a registered red-team game whose language is known, paid by a judge; None: by its own oracle.

    Raises:
        ValueError: it is another kind of game.
    """
    game = make_game(name) if judge is None else make_game(name, judge=judge)
    if not (isinstance(game, RedTeamGame) and isinstance(game, Generated)):
        raise ValueError(f"game: expected a red-team game in generated language, got {name!r}")
    return game


def generated(game: RedTeamGame[Any]) -> Generated:
    """Return a game of `red_team` as one whose exchanges can be generated and shown to a judge."""
    assert isinstance(game, Generated)
    return game


def paying_judge(name: JudgeName, sizes: JudgeSizes, *, game: str, seed: int) -> PayingJudge | None:
    """Return the judge of that name, ready to pay; None for the oracle."""
    if name == "oracle":
        return None
    if name in LEARNING:
        return LEARNING[name](_learned(START, sizes, game, seed, 0), _corpus(sizes.start, game, seed), sizes)
    return PayingJudge(_as_first_trained(name, sizes, game, seed, 0))


def second_judge(name: JudgeName, sizes: JudgeSizes, *, game: str, seed: int) -> Judge | None:
    """Return a judge like the one of that name, of other exchanges and weights, that pays nobody; None for the oracle.

    Where that one goes on learning, this one is like what it began with.
    """
    return None if name == "oracle" else _as_first_trained(name, sizes, game, seed, 1)


def held_out_exchanges(num: int, *, game: str, seed: int) -> tuple[list[Exchange], list[Outcome]]:
    """Return exchanges that no judge learned from, of players that nobody trained, and the oracle's outcomes."""
    exchanges, labels = labelled_exchanges(
        num, np.random.default_rng(derived_seed(seed, 41)), generated(red_team(game))
    )
    return exchanges, [OUTCOMES[k] for k in labels.tolist()]


def _as_first_trained(name: str, sizes: JudgeSizes, game: str, seed: int, which: int) -> Judge:
    if name == "ensemble":
        return MajorityJudge([_learned(START, sizes, game, seed, which + 2 * k) for k in range(3)])
    return _learned(TARGETS.get(name, START), sizes, game, seed, which)


def _learned(target: float, sizes: JudgeSizes, game: str, seed: int, number: int) -> OutcomeJudge:
    """Return a judge of training `number` of a seed: 0 pays, 1 does not, others are further members."""
    targets = tuple(TARGETS.values()) if number < 2 else (START,)
    return _trained(targets, sizes.start, game, derived_seed(seed, 31 + number))[target]


@lru_cache(maxsize=8)
def _trained(targets: tuple[float, ...], config: OutcomeJudgeConfig, game: str, seed: int) -> dict[float, OutcomeJudge]:
    """Return the judges of one training by their targets; the study's cells of one seed share them."""
    return {one.target: one.judge for one in train_judges(targets, config, seed=seed, game=generated(red_team(game)))}


@lru_cache(maxsize=2)
def _corpus(config: OutcomeJudgeConfig, game: str, seed: int) -> tuple[Tensor, Tensor]:
    rng = np.random.default_rng(derived_seed(seed, 42))
    exchanges, labels = labelled_exchanges(config.num_exchanges, rng, generated(red_team(game)))
    return features(exchanges), labels


def _drawn(rows: Tensor, labels: Tensor, num: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    chosen = torch.from_numpy(rng.integers(len(rows), size=num))
    return rows[chosen], labels[chosen]
