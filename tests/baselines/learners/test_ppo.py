"""PPO learns what pays, keeps to its reference, ignores padding, and resumes bit for bit."""

from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from duologue.agents import CausalLMAgent, ScriptedAgent
from duologue.baselines.learners.best_response import BestResponse
from duologue.baselines.learners.ppo import PPOConfig, PPOLearner, PPOUpdate
from duologue.baselines.rollouts.episodes import rollout
from duologue.baselines.rollouts.trajectories import Trajectories, trajectories
from duologue.envs import Episode, LanguageGame, Speaker, make_game
from duologue.envs.games.bluff import BET, CALL, FOLD
from duologue.tests.baselines.helpers import RED, OneWord, bluff, same, through_a_file, tiny_agent, weights

CONFIG = PPOConfig(learning_rate=1e-2, warmup_updates=1, kl_coef=0.0)


def share(agent: CausalLMAgent, episode: Episode[Any], token: int) -> float:
    """Return how often an agent says a token first, of 500 times."""
    said = agent.speak([episode.view()] * 500, np.random.default_rng(0))
    return float(np.mean([one.tokens[0] == token for one in said]))


def batch_of(game: LanguageGame[Any], agent: CausalLMAgent, player: int = 0, *, seed: int = 0) -> Trajectories:
    """Return sixteen episodes of the agent against itself."""
    return trajectories(rollout(game, (agent, agent), 16, np.random.default_rng(seed)), player)


def responder(game: LanguageGame[Any], opponent: Speaker, *, player: int, seed: int, num_steps: int) -> BestResponse:
    """Return a learner against a fixed opponent."""
    learner = PPOLearner(tiny_agent(game, seed=seed), replace(CONFIG, learning_rate=2e-2))
    return BestResponse(game, learner, opponent, player=player, batch_size=32, num_steps=num_steps, seed=seed)


def test_one_update_makes_the_paid_word_more_probable() -> None:
    """Red pays 1 and blue costs 1; measured on the same uniform numbers before and after."""
    game = OneWord()
    learner = PPOLearner(tiny_agent(game), CONFIG)
    before = share(learner.agent, Episode(game, ""), RED)
    learner.update(batch_of(game, learner.agent), np.random.default_rng(0))
    assert share(learner.agent, Episode(game, ""), RED) > before


@pytest.mark.parametrize("seed", range(5))
def test_it_finds_the_best_response_to_who_always_bets(seed: int) -> None:
    """Bluff: calling earns 0 on average against all bets, folding -1."""
    game = bluff()
    response = responder(game, ScriptedAgent(["bet"]), player=1, seed=seed, num_steps=30)
    returns = [step.mean_return for step in response]
    episode = Episode(game, "deuce")
    episode.speak(ScriptedAgent(["bet"]).speak([episode.view()], np.random.default_rng(0))[0])
    episode.settle((0.0, 0.0))
    assert share(response.learner.agent, episode, CALL[0]) > 0.95
    assert len(returns) == 30


@pytest.mark.parametrize("seed", range(5))
def test_it_finds_the_best_response_to_who_always_calls(seed: int) -> None:
    """Bluff: player 0 bets the ace (2 against -1) and folds the deuce (-1 against -2)."""
    game = bluff()
    response = responder(game, ScriptedAgent(["call"]), player=0, seed=seed, num_steps=40)
    list(response)
    assert share(response.learner.agent, Episode(game, "ace"), BET[0]) > 0.9
    assert share(response.learner.agent, Episode(game, "deuce"), FOLD[0]) > 0.9


@pytest.mark.parametrize(
    ("options", "moves_head", "more_entropy"),
    [({"value_coef": 0.0}, False, False), ({"value_coef": 1.0}, True, False), ({"entropy_coef": 10.0}, True, True)],
)
def test_each_term_of_the_loss_has_its_weight(options: dict[str, Any], moves_head: bool, more_entropy: bool) -> None:
    """Without the value loss the head stays 0; a large bonus keeps the entropy that one good word takes away."""
    game = OneWord()
    learner = PPOLearner(tiny_agent(game), replace(CONFIG, learning_rate=5e-2, **options))
    entropies = []
    for seed in range(6):
        entropies.append(
            learner.update(batch_of(game, learner.agent, seed=seed), np.random.default_rng(0)).entropy_nats
        )
    head = learner.agent.value_head
    assert head is not None
    assert bool(head.weight.abs().max() > 0) == moves_head
    assert (entropies[-1] > 0.9 * entropies[0]) == more_entropy


def test_the_gradient_is_scaled_down_to_its_largest_norm() -> None:
    """AdamW's first step does not depend on the scale, its second moments do: 1/1e4 of the norm, 1/1e8 of them."""
    game, moments = OneWord(), []
    for norm in (1e-2, 1e-6):
        learner = PPOLearner(tiny_agent(game), replace(CONFIG, num_epochs=1, num_minibatches=1, max_grad_norm=norm))
        learner.update(batch_of(game, learner.agent), np.random.default_rng(0))
        state: Any = learner._optimizer.state_dict()["state"]
        moments.append(sum(part["exp_avg_sq"].sum().item() for part in state.values()))
    assert moments[0] / moments[1] == pytest.approx(1e8, rel=1e-2)


def padded(batch: Trajectories, width: int) -> Trajectories:
    """Return a batch with empty columns on the right."""
    add = torch.nn.functional.pad
    names = ("tokens", "attention_mask", "policy_token_mask", "logprobs", "rewards")
    assert batch.legal_mask is None
    wider: dict[str, Any] = {name: add(getattr(batch, name), (0, width)) for name in names}
    return replace(batch, **wider)


def test_padding_changes_no_update() -> None:
    """Up to rounding: sums over more zeros."""
    game = make_game("red_team-v0")
    batch = batch_of(game, tiny_agent(game))
    updates, models = list[PPOUpdate](), list[CausalLMAgent]()
    for given in (batch, padded(batch, 7)):
        learner = PPOLearner(tiny_agent(game), CONFIG)
        updates.append(learner.update(given, np.random.default_rng(0)))
        models.append(learner.agent)
    for name in ("policy_loss", "value_loss", "entropy_nats", "kl_nats", "clip_fraction"):
        assert getattr(updates[0], name) == pytest.approx(getattr(updates[1], name), abs=1e-4)
    after = [m.evaluate(batch.tokens, batch.attention_mask, batch.policy_token_mask).logprobs.detach() for m in models]
    assert torch.allclose(after[0], after[1], atol=1e-3)


def test_the_reference_never_moves_and_the_charge_grows_from_zero() -> None:
    """KL to the frozen start: 0 nats before the first update, then more."""
    game = OneWord()
    learner = PPOLearner(tiny_agent(game), CONFIG)
    start = weights(learner.ref_model)
    assert same(start, weights(learner.agent.model))
    updates = [learner.update(batch_of(game, learner.agent, seed=k), np.random.default_rng(k)) for k in range(5)]
    assert updates[0].kl_nats == 0
    assert updates[-1].kl_nats > 0.01
    assert same(start, weights(learner.ref_model))
    assert not same(start, weights(learner.agent.model))


def test_a_large_kl_charge_keeps_the_policy_at_its_start() -> None:
    """The optimum of reward minus beta KL is ref exp(reward / beta): at beta 100 next to ref."""
    game, drift = OneWord(), list[float]()
    for kl_coef in (0.0, 100.0):
        learner = PPOLearner(tiny_agent(game), replace(CONFIG, kl_coef=kl_coef))
        start = share(learner.agent, Episode(game, ""), RED)
        for k in range(12):
            learner.update(batch_of(game, learner.agent, seed=k), np.random.default_rng(k))
        drift.append(abs(share(learner.agent, Episode(game, ""), RED) - start))
    assert drift[0] > 0.3
    assert drift[1] < drift[0] / 2


def test_the_learning_rate_warms_up_and_falls_over_the_planned_updates() -> None:
    """Without a plan it stays at its peak."""
    game = OneWord()
    config = PPOConfig(learning_rate=1.0, warmup_updates=2, final_learning_rate_share=0.1)
    planned, unplanned = (PPOLearner(tiny_agent(game), config, num_planned=num) for num in (10, None))
    rates = list[tuple[float, float]]()
    for k in range(11):
        planned.num_updates = unplanned.num_updates = k
        rates.append((planned.learning_rate(), unplanned.learning_rate()))
    assert rates[0] == (0.5, 0.5)
    assert rates[5] == pytest.approx((0.55, 1.0))
    assert rates[10] == pytest.approx((0.1, 1.0))


def test_a_saved_learner_goes_on_bit_for_bit(tmp_path: Path) -> None:
    """Weights, critic, reference, optimiser and the count of updates, in a learner that starts from others."""
    game = make_game("red_team-v0")
    whole = PPOLearner(tiny_agent(game), CONFIG)
    whole.update(batch_of(game, whole.agent), np.random.default_rng(0))
    copy = PPOLearner(tiny_agent(game, seed=5), CONFIG)
    copy.load_state_dict(through_a_file(tmp_path, whole))
    batch = batch_of(game, whole.agent, seed=1)
    first, second = (one.update(batch, np.random.default_rng(1)) for one in (whole, copy))
    assert first == second
    assert same(weights(whole.agent.model), weights(copy.agent.model))
    assert same(weights(whole.ref_model), weights(copy.ref_model))


def test_best_response_resumes_bit_for_bit(tmp_path: Path) -> None:
    """RLHF's loop, put down after two of four steps."""
    game = bluff()
    whole = responder(game, ScriptedAgent(["bet"]), player=1, seed=0, num_steps=4)
    steps = list(whole)
    first = responder(game, ScriptedAgent(["bet"]), player=1, seed=0, num_steps=4)
    resumed = list(islice(first, 2))
    second = responder(game, ScriptedAgent(["bet"]), player=1, seed=3, num_steps=4)
    second.load_state_dict(through_a_file(tmp_path, first))
    assert [*resumed, *second] == steps
    assert same(weights(second.learner.agent.model), weights(whole.learner.agent.model))


def test_the_model_is_left_in_the_mode_that_it_was_in() -> None:
    """Dropout is off in every pass, so that the ratio starts at 1, and back on for whoever wants it."""
    game = OneWord()
    agent = tiny_agent(game)
    agent.model.train()
    update = PPOLearner(agent, replace(CONFIG, num_epochs=1, num_minibatches=1)).update(
        batch_of(game, agent), np.random.default_rng(0)
    )
    assert update.clip_fraction == 0
    assert agent.model.training


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"clip_epsilon": 2}, r"clip_epsilon: expected a number in \(0, 1\), got 2"),
        ({"value_clip_epsilon": 0}, r"value_clip_epsilon: expected a number in \(0, 1\), got 0"),
        ({"num_epochs": 0}, "num_epochs: expected an integer of at least 1, got 0"),
        ({"num_minibatches": 0}, "num_minibatches: expected an integer of at least 1, got 0"),
        ({"learning_rate": 0}, "learning_rate: expected a finite number above 0, got 0"),
        ({"kl_coef": -1}, "kl_coef: expected a finite number of at least 0, got -1"),
    ],
)
def test_contradictions_are_refused(options: dict[str, Any], message: str) -> None:
    """The message names the field, what was expected and what came."""
    with pytest.raises(ValueError, match=message):
        PPOConfig(**options)
