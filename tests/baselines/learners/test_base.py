"""What holds for every learner that has the silhouette of PPO's: it can be seated, saved, and held to its start."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from duologue.agents import CausalLMAgent, EchoAgent, ScriptedAgent
from duologue.agents.judges.reward_model import Conversation, RewardModelJudge
from duologue.baselines.alignment.rlhf import RLHFConfig
from duologue.baselines.api.commands import TRAINERS
from duologue.baselines.learners.base import PlayerLearner, TrainedModel, TrainingConfig
from duologue.baselines.learners.best_response import BestResponse
from duologue.baselines.learners.grpo import GRPOConfig, GRPOLearner
from duologue.baselines.learners.ppo import PPOConfig, PPOLearner
from duologue.baselines.learners.preference import PreferenceConfig, PreferenceLearner
from duologue.baselines.learners.reinforce import ReinforceConfig, ReinforceLearner
from duologue.baselines.learners.reinforce_pp import ReinforcePPConfig, ReinforcePPLearner
from duologue.baselines.learners.rloo import RLOOConfig, RLOOLearner
from duologue.baselines.rollouts.trajectories import Trajectories
from duologue.envs import Episode, LanguageGame, make_game
from duologue.envs.games.bluff import BET, FOLD
from duologue.tests.baselines.helpers import (
    Menu,
    bluff,
    draw,
    every_reply,
    same,
    start,
    through_a_file,
    tiny_agent,
    weights,
)

Make = Callable[[CausalLMAgent, float], PlayerLearner]
"""From an agent and a learning rate."""

LEARNERS: dict[str, Make] = {
    "ppo": lambda agent, rate: PPOLearner(agent, PPOConfig(learning_rate=rate, warmup_updates=1)),
    "reinforce": lambda agent, rate: ReinforceLearner(agent, ReinforceConfig(learning_rate=rate, warmup_updates=1)),
    "rloo": lambda agent, rate: RLOOLearner(agent, RLOOConfig(learning_rate=rate, warmup_updates=1)),
    "grpo": lambda agent, rate: GRPOLearner(agent, GRPOConfig(learning_rate=rate, warmup_updates=1)),
    "reinforce_pp": lambda agent, rate: ReinforcePPLearner(
        agent, ReinforcePPConfig(learning_rate=rate, warmup_updates=1, num_minibatches=2)
    ),
    "dpo": lambda agent, rate: PreferenceLearner(
        agent, PreferenceConfig(learning_rate=rate, warmup_updates=1, pairing="best_worst")
    ),
    "ipo": lambda agent, rate: PreferenceLearner(
        agent, PreferenceConfig(learning_rate=rate, warmup_updates=1, loss="ipo", labels="ordinal")
    ),
}
EACH = pytest.mark.parametrize("name", LEARNERS)


def responder(name: str, *, seed: int = 0, num_steps: int) -> BestResponse:
    """Return a learner at player 0 of bluff, against who always calls."""
    game = bluff()
    learner = LEARNERS[name](tiny_agent(game, seed=seed), 1e-2)
    return BestResponse(
        game, learner, ScriptedAgent(["call"]), player=0, batch_size=32, num_steps=num_steps, seed=seed, group_size=8
    )


@EACH
def test_it_finds_the_best_response_to_who_always_calls(name: str) -> None:
    """Bluff, through the same rollouts as PPO: bet the ace (2 against -1) and fold the deuce (-1 against -2)."""
    response = responder(name, num_steps=25)
    assert len(list(response)) == 25
    for deal, best in (("ace", BET), ("deuce", FOLD)):
        said = response.learner.agent.speak([Episode(bluff(), deal).view()] * 300, np.random.default_rng(0))
        assert np.mean([one.tokens[0] == best[0] for one in said]) > 0.85


@EACH
def test_it_resumes_bit_for_bit(name: str, tmp_path: Path) -> None:
    """Put down after two of four steps, taken up by a learner that starts from other weights."""
    whole = responder(name, num_steps=4)
    steps = list(whole)
    first = responder(name, num_steps=4)
    resumed = list(islice(first, 2))
    second = responder(name, seed=3, num_steps=4)
    second.load_state_dict(through_a_file(tmp_path, first))
    assert [*resumed, *second] == steps
    assert same(weights(second.learner.agent.model), weights(whole.learner.agent.model))


def padded(batch: Trajectories, width: int) -> Trajectories:
    """Return a batch with empty columns on the right."""
    add = torch.nn.functional.pad
    names = ("tokens", "attention_mask", "policy_token_mask", "logprobs", "rewards")
    assert batch.legal_mask is not None
    legal = batch.legal_mask.widened(batch.tokens.shape[1] + width)
    return replace(batch, legal_mask=legal, **{name: add(getattr(batch, name), (0, width)) for name in names})


@EACH
def test_padding_changes_no_update(name: str) -> None:
    """Replies of one and two tokens in a batch with and without empty columns, up to rounding."""
    game, after = Menu(2), []
    for width in (0, 5):
        agent, _ = start(game)
        batch = draw(game, agent, every_reply(game), 8, np.random.default_rng(0))
        LEARNERS[name](agent, 1e-2).update(padded(batch, width), np.random.default_rng(0))
        after.append(torch.cat([part.flatten() for part in weights(agent.model)]))
    torch.testing.assert_close(after[0], after[1], atol=1e-3, rtol=0)


@EACH
def test_the_reference_stays_and_the_mode_comes_back(name: str) -> None:
    """The frozen start is what KL is measured to; dropout is off in updates and back on afterwards."""
    game = Menu()
    agent, _ = start(game)
    agent.model.train()
    learner = LEARNERS[name](agent, 1e-2)
    before = weights(agent.model)
    learner.update(draw(game, agent, every_reply(game), 8, np.random.default_rng(0)), np.random.default_rng(0))
    assert same(before, weights(learner.ref_model))  # type: ignore[attr-defined]
    assert not same(before, weights(agent.model))
    assert agent.model.training


@EACH
@pytest.mark.parametrize("reward", [float("nan"), float("inf"), -float("inf")])
def test_a_reward_that_is_no_number_is_refused_by_name(name: str, reward: float) -> None:
    """A judge or a reward model can give one; no weight moves."""
    game = Menu()
    agent, _ = start(game)
    learner = LEARNERS[name](agent, 1e-2)
    batch = draw(game, agent, every_reply(game), 8, np.random.default_rng(0))
    rewards = batch.rewards.clone()
    rewards[0, -1] = reward
    before = weights(agent.model)
    with pytest.raises(FloatingPointError, match=f"update 1: rewards: expected finite numbers, got {reward}"):
        learner.update(replace(batch, rewards=rewards), np.random.default_rng(0))
    assert same(before, weights(agent.model))


@EACH
def test_an_only_update_that_breaks_the_weights_is_refused(name: str) -> None:
    """Nothing comes after it that would notice that the weights are no model any more."""
    game = Menu()
    agent, _ = start(game)
    batch = draw(game, agent, every_reply(game), 8, np.random.default_rng(0))
    learner = LEARNERS[name](agent, 1e-2)
    learner.learning_rate = lambda: 1e30  # type: ignore[attr-defined]
    with pytest.raises(FloatingPointError, match=r"update 1: (weights after the step|loss|gradient norm): expected"):
        learner.update(batch, np.random.default_rng(0))


def test_the_learning_rate_warms_up_and_falls_over_the_planned_updates() -> None:
    """The schedule of PPO; without a plan it stays at its peak."""
    config = TrainingConfig(learning_rate=1.0, warmup_updates=2, final_learning_rate_share=0.1)
    trained = [TrainedModel(tiny_agent(bluff()), config, num_planned=planned) for planned in (10, None)]
    rates = []
    for k in (0, 5, 10):
        for one in trained:
            one.num_updates = k
        rates.append(tuple(one.learning_rate() for one in trained))
    assert rates == [(0.5, 0.5), pytest.approx((0.55, 1.0)), pytest.approx((0.1, 1.0))]


class EarlyLetters:
    """A reward model for tests: 3 for a reply all of whose words begin with a letter up to m, -3 for none."""

    def score(self, conversations: Sequence[Conversation]) -> NDArray[np.float64]:
        words = [said[-1].text.split() for said in conversations]
        return np.array([6 * np.mean([word < "n" for word in said]) - 3 if said else -3.0 for said in words])


@pytest.mark.parametrize("name", ["ppo", "rloo"])
def test_a_reward_model_is_a_judge(name: str) -> None:
    """Policy learning against a reward model: it is given to the game as its judge, and its rewards rise."""
    game: LanguageGame[Any] = make_game("red_team-v0", judge=RewardModelJudge(EarlyLetters()))
    learner = LEARNERS[name](tiny_agent(game), 2e-2)
    response = BestResponse(game, learner, EchoAgent(), player=1, batch_size=64, num_steps=10, seed=0, group_size=4)
    returns = [step.mean_return for step in response]
    assert abs(returns[0]) < 0.1
    assert returns[-1] > 0.25


def test_rlhf_seats_the_learner_that_is_asked_for() -> None:
    """Replies are grouped for those that compare them, and only for those."""
    found = {}
    for learner in ("ppo", "reinforce", "rloo", "grpo", "reinforce_pp", "preference"):
        config = RLHFConfig(learner=learner)
        found[type(config.make(tiny_agent(bluff()))).__name__] = config.replies_per_prompt
    assert found == {
        "PPOLearner": 1,
        "ReinforceLearner": 1,
        "RLOOLearner": 4,
        "GRPOLearner": 4,
        "ReinforcePPLearner": 1,
        "PreferenceLearner": 4,
    }
    assert (
        RLHFConfig(learner="reinforce_pp", reinforce_pp=ReinforcePPConfig(subtract_group_mean=True)).replies_per_prompt
        == 4
    )
    assert RLHFConfig(learner="rloo", group_size=2).replies_per_prompt == 2


def test_the_command_trains_with_each_learner(tmp_path: Path) -> None:
    """Two steps each through `duologue train rlhf`, from the folder of a model, by its options on the command line."""
    tiny_agent(make_game("red_team-v0")).save_pretrained(tmp_path / "start")
    for learner in ("reinforce", "rloo", "grpo", "reinforce_pp", "preference"):
        out = tmp_path / learner
        options = {"learner": learner, "defender": tmp_path / "start", "out": out, "num-steps": 2, "batch-size": 8}
        TRAINERS["rlhf"].run([part for name, value in options.items() for part in (f"--{name}", str(value))])
        assert (out / "model/model.safetensors").is_file()
        updates = [json.loads(line)["update"] for line in (out / "metrics.jsonl").read_text().splitlines()]
        assert len(updates) == 2
        assert ("num_pairs" in updates[0]) == (learner == "preference")


def test_a_batch_of_broken_groups_is_refused() -> None:
    """192 episodes are no groups of five."""
    with pytest.raises(ValueError, match="batch_size: expected whole groups of 5, at least one, got 192"):
        BestResponse(
            bluff(),
            LEARNERS["rloo"](tiny_agent(bluff()), 1e-2),
            EchoAgent(),
            player=1,
            batch_size=192,
            num_steps=1,
            seed=0,
            group_size=5,
        )
