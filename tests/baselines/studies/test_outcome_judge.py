"""The learned judge: what it reads, what it says and pays, and that accuracies are those that were asked for."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from duologue.baselines.studies.outcome_judge import (
    OUTCOMES,
    OutcomeJudge,
    OutcomeJudgeConfig,
    TrainedJudge,
    agreement,
    features,
    labelled_exchanges,
    train_judges,
)
from duologue.envs import Dialogue
from duologue.envs.games.red_team.game import DEFENDER_REWARDS, VOCABULARY, RedTeam, Seed
from duologue.envs.judging import Exchange, Outcome, Verdict

SMALL = OutcomeJudgeConfig(num_exchanges=2000, num_validation=500, num_test=500, max_steps=150)
TARGETS = (0.7, 0.9, 0.95)


class Constant(nn.Module):
    """Believes the same of every exchange."""

    def __init__(self, beliefs: dict[Outcome, float]) -> None:
        super().__init__()
        self.logits = torch.tensor([beliefs.get(outcome, 0.0) for outcome in OUTCOMES]).log()

    def forward(self, rows: Tensor) -> Tensor:
        """Return the logits, (B, 7)."""
        return self.logits.expand(len(rows), -1)


@pytest.fixture(scope="module")
def judges() -> list[TrainedJudge]:
    """Return judges of one small training."""
    return list(train_judges(TARGETS, SMALL, seed=0))


def exchanges(num: int) -> list[Exchange]:
    """Return generated exchanges."""
    return labelled_exchanges(num, np.random.default_rng(9))[0]


def test_it_reads_which_words_stand_where() -> None:
    """A word of the prompt and that word in the reply are two features; how often and in which order is not read."""
    prompt, reply = VOCABULARY.encode("sekop sorry sekop"), VOCABULARY.encode("sorry")
    (row,) = features([Exchange(prompt, reply, VOCABULARY)])
    assert set(row.nonzero().flatten().tolist()) == {*prompt, VOCABULARY.size + reply[0]}
    assert row.max() == 1


def test_it_pays_the_mean_reward_over_its_beliefs() -> None:
    """.5 unsafe (-1), .3 refused (+1), .2 wrong (-.5): -.3; the outcome is the likeliest."""
    judge = OutcomeJudge(Constant({Outcome.UNSAFE: 0.5, Outcome.REFUSED: 0.3, Outcome.WRONG: 0.2}))
    verdicts = judge(exchanges(3))
    assert [verdict.outcome for verdict in verdicts] == [Outcome.UNSAFE] * len(verdicts)
    assert [verdict.reward for verdict in verdicts] == pytest.approx([-0.3] * len(verdicts), abs=1e-6)
    assert judge([]) == []


def test_agreement_is_the_share_of_the_oracles_outcomes() -> None:
    """A judge that always says helpful is right as often as the oracle says so; without exchanges there is no share."""
    shown, labels = labelled_exchanges(200, np.random.default_rng(9))
    share = float((labels == OUTCOMES.index(Outcome.HELPFUL)).double().mean())
    assert agreement(OutcomeJudge(Constant({Outcome.HELPFUL: 1.0})), shown) == pytest.approx(share)
    assert np.isnan(agreement(OutcomeJudge(Constant({Outcome.HELPFUL: 1.0})), []))


def test_labels_are_the_oracles_on_both_kinds_of_player_two() -> None:
    """What helps and what refuses is there, and harmful requests that were answered, which no ideal player does."""
    _, labels = labelled_exchanges(400, np.random.default_rng(0))
    shares = torch.bincount(labels, minlength=len(OUTCOMES)) / len(labels)
    assert shares[OUTCOMES.index(Outcome.HELPFUL)] == pytest.approx(0.5, abs=0.1)
    assert all(shares[OUTCOMES.index(outcome)] > 0.1 for outcome in (Outcome.UNSAFE, Outcome.REFUSED))


def test_judges_are_about_as_good_as_was_asked_for(judges: list[TrainedJudge]) -> None:
    """Stopped by 500 validation exchanges, counted on 500 others and on 500 more; standard deviations up to .02."""
    assert [judge.target for judge in judges] == list(TARGETS)
    assert all(judge.accuracy > judge.target - 0.06 for judge in judges)
    accuracies = [judge.accuracy for judge in judges]
    assert accuracies == sorted(accuracies)
    assert [agreement(judge.judge, exchanges(500)) for judge in judges] == pytest.approx(accuracies, abs=0.08)


def test_the_same_seed_gives_the_same_judges(judges: list[TrainedJudge]) -> None:
    """Nothing but the seed decides."""
    again = list(train_judges(TARGETS, SMALL, seed=0))
    assert [(one.accuracy, one.num_steps) for one in again] == [(one.accuracy, one.num_steps) for one in judges]


def test_where_a_target_is_not_reached_the_last_weights_are_the_judge() -> None:
    """Five steps are too few for 100 %; the accuracy that is reported is the one it has."""
    config = OutcomeJudgeConfig(num_exchanges=300, num_validation=100, num_test=100, max_steps=5)
    (judge,) = train_judges([1.0], config, seed=1)
    assert judge.num_steps == 5
    assert judge.accuracy < 1


@pytest.mark.parametrize("targets", [(0.9, 0.7), (0.7, 0.7), (0.0, 0.5), (0.5, 1.1)])
def test_targets_rise_within_reach(targets: tuple[float, ...]) -> None:
    """One training has each of them once, in order."""
    with pytest.raises(ValueError, match="targets: expected accuracies in"):
        next(train_judges(targets, SMALL, seed=0))


def test_a_game_takes_it_as_its_judge(judges: list[TrainedJudge]) -> None:
    """Rewards by the game are the judge's, the adversary's their negation."""
    judge = judges[-1].judge
    game, dialogues = RedTeam(judge=judge), RedTeam().demonstrations("ideal", np.random.default_rng(3), 20)
    verdicts = judge([game.exchange(one) for one in dialogues])
    paid = game.rewards_batch(dialogues)
    assert paid == [(-verdict.reward, verdict.reward) for verdict in verdicts]
    assert set(DEFENDER_REWARDS) == set(OUTCOMES)


class Dearer(RedTeam):
    """Pays a tenth of what red_team-v0 pays, by the oracle."""

    def verdicts(self, dialogues: Sequence[Dialogue[Seed]]) -> list[Verdict]:
        """Return the verdicts with other rewards."""
        return [Verdict(verdict.reward / 10, verdict.outcome) for verdict in super().verdicts(dialogues)]


def test_a_judge_pays_what_the_game_pays_that_it_was_taught() -> None:
    """The same training on the same exchanges, at a tenth of the rewards."""
    config = OutcomeJudgeConfig(num_exchanges=2000, num_validation=50, num_test=50, max_steps=5)
    judges = [next(train_judges([1.0], config, seed=2, game=game)).judge for game in (RedTeam(), Dearer())]
    dear, cheap = ([verdict.reward for verdict in judge(exchanges(40))] for judge in judges)
    assert cheap == pytest.approx([reward / 10 for reward in dear], abs=1e-6)
    assert len(judges[0].rewards) == len(OUTCOMES)
