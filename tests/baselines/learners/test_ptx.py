"""PPO-ptx: the start's own data in every gradient step, for each learner and in each command that trains by one."""

from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from duologue.agents import CausalLMAgent, EchoAgent
from duologue.baselines.alignment.rlhf import RLHFConfig, rlhf
from duologue.baselines.api.commands import TRAINERS
from duologue.baselines.learners.base import TrainedModel
from duologue.baselines.learners.behaviour_cloning import BehaviourCloning, BehaviourCloningConfig
from duologue.baselines.learners.best_response import BestResponse
from duologue.baselines.learners.grpo import GRPOConfig, GRPOLearner
from duologue.baselines.learners.options import LearnerOptions
from duologue.baselines.learners.ppo import PPOConfig, PPOLearner
from duologue.baselines.learners.preference import PreferenceConfig, PreferenceLearner
from duologue.baselines.learners.ptx import PretrainingData, PretrainingDataOptions, cloning_loss
from duologue.baselines.learners.reinforce import ReinforceConfig, ReinforceLearner
from duologue.baselines.learners.reinforce_pp import ReinforcePPConfig, ReinforcePPLearner
from duologue.baselines.learners.rloo import RLOOConfig, RLOOLearner
from duologue.baselines.rollouts.demonstrations import demonstrations_of, encode_dialogues
from duologue.baselines.training.run import read_metrics
from duologue.envs import Dialogue, LanguageGame, Turn, make_game
from duologue.tests.baselines.helpers import (
    RED,
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

STEP: Any = {"warmup_updates": 1, "num_minibatches": 1, "max_grad_norm": 1e9}
Make = Callable[..., TrainedModel[Any]]
LEARNERS: dict[str, Make] = {
    "ppo": lambda agent, coef, ptx: PPOLearner(agent, PPOConfig(ptx_coef=coef, num_epochs=1, **STEP), ptx=ptx),
    "reinforce": lambda agent, coef, ptx: ReinforceLearner(agent, ReinforceConfig(ptx_coef=coef, **STEP), ptx=ptx),
    "rloo": lambda agent, coef, ptx: RLOOLearner(agent, RLOOConfig(ptx_coef=coef, **STEP), ptx=ptx),
    "grpo": lambda agent, coef, ptx: GRPOLearner(agent, GRPOConfig(ptx_coef=coef, num_epochs=1, **STEP), ptx=ptx),
    "reinforce_pp": lambda agent, coef, ptx: ReinforcePPLearner(
        agent, ReinforcePPConfig(ptx_coef=coef, num_epochs=1, **STEP), ptx=ptx
    ),
    "preference": lambda agent, coef, ptx: PreferenceLearner(agent, PreferenceConfig(ptx_coef=coef, **STEP), ptx=ptx),
}
EACH = pytest.mark.parametrize("name", LEARNERS)


def told_red() -> PretrainingData:
    """Return one dialogue, over and over: player 0 is told red and says red."""
    dialogue = Dialogue("red", (Turn((RED,)),))
    return PretrainingData(encode_dialogues(Menu(), [dialogue], viewers=(0,)))


def gradient(name: str, coef: float, ptx: PretrainingData | None) -> list[torch.Tensor]:
    """Return the gradient of one update of a fresh learner, as what plain gradient descent at rate 1 subtracts."""
    game = Menu()
    agent, _ = start(game)
    batch = draw(game, agent, every_reply(game), 8, np.random.default_rng(0))
    learner = LEARNERS[name](agent, coef, ptx)
    before = weights(agent.model)
    learner._optimizer = torch.optim.SGD(learner._parameters)  # type: ignore[assignment]
    learner.learning_rate = lambda: 1.0  # type: ignore[method-assign]
    learner.update(batch, np.random.default_rng(0))  # type: ignore[attr-defined]
    return [old - new for old, new in zip(before, weights(agent.model), strict=True)]


@EACH
def test_the_gradient_is_the_learners_plus_that_of_the_likelihood(name: str) -> None:
    """Equation 2 of InstructGPT, by hand: the likelihood's is asked of autograd, by log-softmax over all words."""
    agent, _ = start(Menu())
    tokens = told_red().demonstrations.tokens
    logprobs = agent.model(input_ids=tokens[:, :-1]).logits.log_softmax(-1)
    logprobs.gather(2, tokens[:, 1:, None]).mean().neg().backward()
    alone, both = gradient(name, 0.0, None), gradient(name, 3.0, told_red())
    for parameter, own, whole in zip(agent.model.parameters(), alone, both, strict=True):
        assert parameter.grad is not None
        torch.testing.assert_close(whole, own + 3.0 * parameter.grad, atol=2e-5, rtol=1e-3)
    assert not same(alone, both)


@EACH
def test_without_weight_nothing_is_drawn_and_nothing_changes(name: str) -> None:
    """Data that has no weight, or no data: bit for bit the same update, and the generator stands where it stood."""
    found = []
    for ptx in (None, told_red()):
        game, rng = Menu(), np.random.default_rng(0)
        agent, _ = start(game)
        update = LEARNERS[name](agent, 0.0, ptx).update(  # type: ignore[attr-defined]
            draw(game, agent, every_reply(game), 8, np.random.default_rng(0)), rng
        )
        found.append((update, rng.random(), weights(agent.model)))
    assert found[0][:2] == found[1][:2]
    assert found[0][0].ptx_loss_nats is None
    assert same(found[0][2], found[1][2])


@EACH
def test_it_resumes_bit_for_bit(name: str, tmp_path: Path) -> None:
    """Which dialogues are drawn follows from the run's generator, and the dialogues from its seed."""

    def responder(seed: int) -> BestResponse:
        game: LanguageGame[Any] = make_game("statements-v0")
        data = PretrainingDataOptions(num_ptx_dialogues=20).pretraining_data(game, 1, ptx_coef=1.0, seed=0)
        learner: Any = LEARNERS[name](tiny_agent(game, seed=seed), 1.0, data)
        return BestResponse(game, learner, EchoAgent(), player=1, batch_size=8, num_steps=3, seed=0, group_size=4)

    whole, first, second = responder(0), responder(0), responder(3)
    steps: list[Any] = list(whole)
    resumed = list(islice(first, 2))
    second.load_state_dict(through_a_file(tmp_path, first))
    assert [*resumed, *second] == steps
    assert all(step.update.ptx_loss_nats > 0 for step in steps)
    assert same(weights(second.learner.agent.model), weights(whole.learner.agent.model))


def test_a_weight_without_data_is_refused() -> None:
    """Of a learner that was given none, and of a game that generates none; the message says which."""
    asked = LearnerOptions(ppo=PPOConfig(ptx_coef=0.5))
    with pytest.raises(ValueError, match=r"ptx_coef: expected 0 for a learner that is given no data, got 0\.5"):
        asked.make(tiny_agent(bluff()))
    with pytest.raises(ValueError, match=r"ptx_coef: expected 0 in Bluff, which generates no demonstrations, got 0\.5"):
        asked.ptx(bluff(), 0, seed=0)
    assert LearnerOptions().ptx(bluff(), 0, seed=0) is None


def test_whose_tokens_are_learnt() -> None:
    """All of player 0's view, player 1's own words, or all of both views for one model in both seats."""
    game: LanguageGame[Any] = make_game("red_team-v0")
    options = PretrainingDataOptions(num_ptx_dialogues=30, ptx_source="both")
    found = {player: options.pretraining_data(game, player, ptx_coef=1.0, seed=0) for player in (0, 1, None)}
    rng = np.random.default_rng([0, 4])
    dialogues = [one for source in ("average", "ideal") for one in demonstrations_of(game, source, rng, 15)]
    masks = {}
    for player, data in found.items():
        assert data is not None
        expected = encode_dialogues(game, dialogues, (0, 1) if player is None else (player,))
        assert torch.equal(data.demonstrations.tokens, expected.tokens)
        masks[player] = (data._mask, expected)
    assert torch.equal(masks[1][0], masks[1][1].speaker == 1)
    for player in (0, None):
        assert torch.equal(masks[player][0][:, 1:], masks[player][1].attention_mask[:, 1:])


def test_half_a_game_without_the_other_source_is_one_source() -> None:
    """Average and ideal alone are other dialogues; what is drawn is counted by its tokens."""
    game: LanguageGame[Any] = make_game("red_team-v0")
    options = PretrainingDataOptions(num_ptx_dialogues=10)
    average, ideal = (
        replace(options, ptx_source=source).pretraining_data(game, 1, ptx_coef=1.0, seed=0)
        for source in ("average", "ideal")
    )
    assert average is not None
    assert ideal is not None
    assert not torch.equal(average.demonstrations.tokens, ideal.demonstrations.tokens)
    rng = np.random.default_rng(7)
    rows = torch.from_numpy(np.random.default_rng(7).integers(10, size=4))
    average.backward(tiny_agent(game).model, 4, rng, coef=1.0, tokens_at_once=0)
    assert average.num_tokens == int((average.demonstrations.speaker[rows] == 1).sum())


def held_out_nats(agent: CausalLMAgent) -> float:
    """Return the mean negative log-likelihood of a defender's token in dialogues that nobody learned from."""
    game: LanguageGame[Any] = make_game("red_team-v0")
    dialogues = demonstrations_of(game, "average", np.random.default_rng(99), 300)
    data = encode_dialogues(game, dialogues, viewers=(1,))
    with torch.no_grad():
        loss, _ = cloning_loss(agent.model, data, data.loss_mask("player_1"), torch.arange(300))
    return float(loss)


@pytest.fixture(scope="module")
def cloned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model that has learnt how the average player two answers."""
    game: LanguageGame[Any] = make_game("red_team-v0")
    agent, folder = tiny_agent(game), tmp_path_factory.mktemp("cloned")
    dialogues = demonstrations_of(game, "average", np.random.default_rng(0), 600)
    cloning = BehaviourCloningConfig(num_steps=150, batch_size=32, learning_rate=1e-2)
    list(BehaviourCloning(agent, encode_dialogues(game, dialogues), cloning, seed=0))
    agent.save_pretrained(folder)
    return folder


def test_rlhf_unlearns_less_of_its_start(cloned: Path, tmp_path: Path) -> None:
    """Six large steps from a cloned start; with ptx its data stay as likely as they were."""
    game: LanguageGame[Any] = make_game("red_team-v0")
    config = RLHFConfig(defender=cloned, num_steps=6, batch_size=64, num_ptx_dialogues=600)
    found = {}
    for coef in (0.0, 1.0):
        ppo = PPOConfig(learning_rate=5e-3, warmup_updates=1, kl_coef=0.0, ptx_coef=coef)
        folder = rlhf(replace(config, out=tmp_path / str(coef), ppo=ppo))
        found[coef] = held_out_nats(CausalLMAgent.from_pretrained(folder / "model", game.vocabulary))
    before = held_out_nats(CausalLMAgent.from_pretrained(cloned, game.vocabulary))
    assert found[0.0] > before + 0.1
    assert found[1.0] < before + 0.02


STATEMENTS = ["--game", "statements-v0", "--num-ptx-dialogues", "20", "--hidden-size", "16", "--batch-size", "4"]
PPO = ["--ppo.ptx-coef", "1", "--ppo.ptx-batch-size", "4"]
RED_TEAM = ["--defender", "{start}", "--adversary", "{start}"]
SCHEDULE = ["--schedule.num-rounds", "1", "--schedule.defend-steps", "1", "--schedule.attack-steps", "1"]
BOTH = [f"--{who}-learner.{flag}" for who in ("defender", "adversary") for flag in ("ppo.ptx-coef=1",)]
COMMANDS: dict[str, tuple[str, list[str]]] = {
    "rlhf": ("rlhf", ["--defender", "{start}", "--num-steps", "1", "--batch-size", "4", *PPO]),
    "attack": ("attack", [*RED_TEAM, "--num-steps", "1", "--batch-size", "4", *PPO]),
    "dpo": ("dpo", ["--defender", "{start}", "--num-steps", "1", "--num-pairs", "64", "--preference.ptx-coef", "1"]),
    "gpo": ("gpo", [*RED_TEAM, *SCHEDULE, "--schedule.batch-size", "4", *BOTH]),
    "one policy": ("gpo", ["--defender", "{start}", "--one-policy", *SCHEDULE, "--schedule.batch-size", "4", *BOTH]),
    "self_play": ("self_play", [*STATEMENTS, "--num-updates", "1", *PPO]),
    "fictitious_play": ("fictitious_play", [*STATEMENTS, "--num-rounds", "1", "--updates-per-round", "1", *PPO]),
    "psro": ("psro", [*STATEMENTS, "--num-updates", "1", "--updates-per-response", "1", "--meta-solver", "prd", *PPO]),
    "league": ("league", [*STATEMENTS, "--num-updates", "1", *PPO]),
}


@pytest.mark.parametrize("case", COMMANDS)
def test_every_command_that_learns_from_rewards_has_it(case: str, cloned: Path, tmp_path: Path) -> None:
    """One update each, from what its own game generates; the record of the update says how likely the data were."""
    command, options = COMMANDS[case]
    few = [] if "--num-ptx-dialogues" in options else _few(command)
    argv = [*(option.format(start=cloned) for option in options), *few, "--out", str(tmp_path / "run")]
    TRAINERS[command].run(argv)
    losses = [loss for row in read_metrics(tmp_path / "run") for loss in _found(row)]
    assert losses
    assert all(0 < loss < 10 for loss in losses)


def test_advgame_has_it_too(cloned: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Seen where the learners are handed over, as groups of so small models tie: each player has views of its own."""
    given: list[PreferenceLearner] = []

    def caught(game: Any, learners: Any, *rest: Any, **options: Any) -> None:
        given.extend(learners)
        raise InterruptedError

    monkeypatch.setattr("duologue.baselines.two_player.advgame.AdvGame", caught)
    argv = [option.format(start=cloned) for option in RED_TEAM]
    with pytest.raises(InterruptedError):
        TRAINERS["advgame"].run([*argv, *_few("advgame"), "--learner.ptx-coef", "1", "--out", str(tmp_path / "run")])
    options = PretrainingDataOptions(num_ptx_dialogues=20)
    for player, learner in enumerate(given):
        data = options.pretraining_data(learner_game(), player, ptx_coef=1.0, seed=0)
        assert data is not None
        assert learner._ptx is not None
        assert torch.equal(learner._ptx.demonstrations.tokens, data.demonstrations.tokens)
    assert len(given) == 2


def learner_game() -> LanguageGame[Any]:
    """Return the game that AdvGame's command plays."""
    return make_game("red_team-v0", table="advgame")


def _few(command: str) -> list[str]:
    both = [f"--{who}-learner.num-ptx-dialogues=20" for who in ("defender", "adversary")]
    return both if command == "gpo" else ["--num-ptx-dialogues=20"]


def _found(row: Any) -> list[float]:
    """Return every `ptx_loss_nats` of a record."""
    if isinstance(row, list):
        return [loss for part in row for loss in _found(part)]
    if not isinstance(row, dict):
        return []
    own = [row["ptx_loss_nats"]] if "ptx_loss_nats" in row else []
    return own + [loss for part in row.values() for loss in _found(part)]
