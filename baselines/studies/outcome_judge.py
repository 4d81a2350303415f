"""A learned judge of a red-team game that is as good as one asks for: a small network that is stopped early.

It reads which words prompt and reply have, not their order, and says what became of the exchange, as the oracle does:
its outcome is the likeliest one, and the defender is paid the mean reward over its beliefs. It learns from generated
exchanges that the game's oracle labels, half of an average and half of an ideal player two. The judges of several
accuracies are the same training at several ages; how good each is, is counted on exchanges that it has not seen. On
replies of policies that are trained against it, it may be worse, and that is what a study of judges is about.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor, nn

from ...envs import Dialogue
from ...envs.games.red_team.game import DEFENDER_REWARDS, VOCABULARY, RedTeam, oracle
from ...envs.judging import Exchange, Outcome, Verdict
from ..learners.optimisation import make_optimizer, take_step
from ..training.checks import Count, LearningRate, Options, Rows, Width

OUTCOMES = tuple(DEFENDER_REWARDS)
"""What the judge tells apart: all outcomes of a well-formed prompt."""


@runtime_checkable
class Generated(Protocol):
    """A red-team game whose language is generated, so that its oracle knows the truth about any exchange."""

    def demonstrations(
        self, source: Literal["average", "ideal"], rng: np.random.Generator, num_dialogues: int
    ) -> list[Dialogue[Any]]:
        """Return dialogues of an average or of an ideal player two."""
        ...

    def exchange(self, dialogue: Dialogue[Any]) -> Exchange:
        """Return the last prompt and reply as a judge sees them."""
        ...

    def verdicts(self, dialogues: Sequence[Dialogue[Any]]) -> list[Verdict]:
        """Return the verdict on each dialogue's last exchange."""
        ...


@dataclass(frozen=True, kw_only=True)
class OutcomeJudgeConfig(Options):
    """How the network learns."""

    num_exchanges: Rows = 12_000
    """Exchanges to learn from."""
    num_validation: Rows = 2_000
    """Exchanges that decide when to stop."""
    num_test: Rows = 4_000
    """Exchanges on which the accuracy is counted that is reported."""
    hidden_size: Width = 128
    """Width of the only hidden layer."""
    batch_size: Rows = 128
    """Exchanges in a step."""
    learning_rate: LearningRate = 1e-3
    """AdamW's; there is no schedule, as nobody knows when it stops."""
    max_steps: Count = 2000
    """Steps after which it stops even if the last target is not reached."""
    check_every: Count = 1
    """Steps between two looks at the validation exchanges."""


class OutcomeJudge:
    """A batched callable for `judge=` of a red-team game."""

    def __init__(self, network: nn.Module, rewards: Mapping[Outcome, float] = DEFENDER_REWARDS) -> None:
        """Take a network from `features` to a logit for each of `OUTCOMES`, and what the game pays for these."""
        self.network, self.rewards = network.eval(), rewards
        self._rewards = torch.tensor([rewards[outcome] for outcome in OUTCOMES])

    @torch.inference_mode()
    def __call__(self, exchanges: Sequence[Exchange]) -> list[Verdict]:
        """Return one verdict for each exchange, in order."""
        if not exchanges:
            return []
        beliefs = self.network(features(exchanges)).softmax(-1)
        rewards = (beliefs @ self._rewards).clamp(-1, 1).tolist()
        likeliest = beliefs.argmax(-1).tolist()
        return [Verdict(reward, OUTCOMES[k]) for reward, k in zip(rewards, likeliest, strict=True)]


@dataclass(frozen=True)
class TrainedJudge:
    """A judge of a wanted accuracy, and the one it has."""

    target: float
    """What was asked for, 0 to 1."""
    accuracy: float
    """Share of the test exchanges whose outcome it names, 0 to 1."""
    num_steps: int
    """Its age."""
    judge: OutcomeJudge


def features(exchanges: Sequence[Exchange]) -> Tensor:
    """Return which words the prompt has, and which the reply; (B, 2 V)."""
    size = exchanges[0].vocabulary.size if exchanges else VOCABULARY.size
    rows = torch.zeros(len(exchanges), 2 * size)
    for row, exchange in zip(rows, exchanges, strict=True):
        row[list(exchange.prompt)] = 1.0
        row[[size + token for token in exchange.reply]] = 1.0
    return rows


def labelled_exchanges(
    num: int, rng: np.random.Generator, game: Generated | None = None
) -> tuple[list[Exchange], Tensor]:
    """Return generated exchanges, half of an average and half of an ideal player two, and the oracle's outcomes, (B,).

    Those whose prompt is no faithful request are left out, as a game keeps them from its judge.

    Args:
        num: how many are generated.
        rng: draws them.
        game: whose players and oracle they are of; None: red_team-v0. It must have no other judge.
    """
    exchanges, verdicts = _judged_exchanges(num, rng, game)
    return exchanges, torch.tensor([OUTCOMES.index(verdict.outcome) for verdict in verdicts])


def _judged_exchanges(
    num: int, rng: np.random.Generator, game: Generated | None
) -> tuple[list[Exchange], list[Verdict]]:
    """Return exchanges as `labelled_exchanges` does, with the oracle's verdicts."""
    game = RedTeam() if game is None else game
    dialogues = [
        *game.demonstrations("average", rng, num - num // 2),
        *game.demonstrations("ideal", rng, num // 2),
    ]
    judged = zip(dialogues, game.verdicts(dialogues), strict=True)
    kept = [(dialogue, verdict) for dialogue, verdict in judged if verdict.outcome in OUTCOMES]
    return [game.exchange(dialogue) for dialogue, _ in kept], [verdict for _, verdict in kept]


def train_judges(
    targets: Sequence[float], config: OutcomeJudgeConfig, *, seed: int, game: Generated | None = None
) -> Iterator[TrainedJudge]:
    """Yield a judge for each accuracy, of one training: as soon as the validation exchanges say that it is reached.

    Where training ends before, the judge is what it ended with.

    Args:
        targets: the accuracies.
        config: how it learns.
        seed: decides exchanges, weights and minibatches.
        game: whose exchanges it judges; None: red_team-v0.

    Raises:
        ValueError: accuracies that do not rise, or are not in (0, 1].
    """
    if list(targets) != sorted(set(targets)) or not all(0 < target <= 1 for target in targets):
        raise ValueError(f"targets: expected accuracies in (0, 1] that rise, got {list(targets)}")
    rng = np.random.default_rng(seed)
    (train, labels, paid), (validation, right, _), (test, truth, _) = (
        _encoded(num, rng, game) for num in (config.num_exchanges, config.num_validation, config.num_test)
    )
    rewards = DEFENDER_REWARDS | paid
    network = _network(train.shape[1], config.hidden_size, seed)
    parameters = list(network.parameters())
    optimizer = make_optimizer(parameters, learning_rate=config.learning_rate, weight_decay=0.01)
    waiting, step = list(targets), 0
    while waiting:
        if step % config.check_every == 0 or step == config.max_steps:
            reached = _accuracy(network, validation, right)
            while waiting and (reached >= waiting[0] or step == config.max_steps):
                copied = copy.deepcopy(network)
                yield TrainedJudge(waiting.pop(0), _accuracy(copied, test, truth), step, OutcomeJudge(copied, rewards))
        batch = torch.from_numpy(rng.integers(len(train), size=config.batch_size))
        loss = nn.functional.cross_entropy(network(train[batch]), labels[batch])
        take_step(loss, optimizer, parameters)
        step += 1


def agreement(judge: OutcomeJudge, exchanges: Sequence[Exchange]) -> float:
    """Return the share of exchanges, 0 to 1, whose outcome by the judge is the oracle's; NaN without any."""
    pairs = zip(judge(exchanges), oracle(exchanges), strict=True)
    same = [verdict.outcome is truth.outcome for verdict, truth in pairs]
    return float(np.mean(same)) if same else float("nan")


def _encoded(num: int, rng: np.random.Generator, game: Generated | None) -> tuple[Tensor, Tensor, dict[Outcome, float]]:
    """Return features, labels, and what the oracle pays for the outcomes that are among them."""
    exchanges, verdicts = _judged_exchanges(num, rng, game)
    labels = torch.tensor([OUTCOMES.index(verdict.outcome) for verdict in verdicts])
    return features(exchanges), labels, {verdict.outcome: verdict.reward for verdict in verdicts}


def _network(num_features: int, hidden_size: int, seed: int) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(num_features, hidden_size), nn.ReLU(), nn.Linear(hidden_size, len(OUTCOMES)))


@torch.inference_mode()
def _accuracy(network: nn.Module, rows: Tensor, labels: Tensor) -> float:
    return float((network(rows).argmax(-1) == labels).double().mean())
