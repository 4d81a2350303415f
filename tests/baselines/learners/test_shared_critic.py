"""One critic for two policies: what it reads, whose returns it is fitted to, and what it leaves alone."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from duologue.agents import CausalLMAgent
from duologue.baselines.learners.ppo import PPOConfig, PPOLearner
from duologue.baselines.learners.shared_critic import SharedCritic
from duologue.baselines.rollouts.episodes import rollout
from duologue.baselines.rollouts.trajectories import Trajectories, joined, trajectories
from duologue.envs import LanguageGame
from duologue.tests.baselines.helpers import Wages, bluff, same, tiny_agent, weights

CONFIG = PPOConfig(learning_rate=2e-2, warmup_updates=1, kl_coef=0.0, gae_lambda=1.0)


def batches(game: LanguageGame[Any], agent: CausalLMAgent, *, size: int = 16) -> tuple[Trajectories, Trajectories]:
    """Return both players' parts of the same episodes."""
    played = rollout(game, (agent, agent), size, np.random.default_rng(0))
    return trajectories(played, 0), trajectories(played, 1)


def roused(critic: SharedCritic) -> SharedCritic:
    """Return the critic with a head and roles that are not 0, so that values differ."""
    generator = torch.Generator().manual_seed(0)
    for part in (critic.head.weight, critic.roles.weight):
        part.data.normal_(generator=generator)
    return critic


def test_values_are_0_at_the_start_and_off_the_own_tokens_for_ever() -> None:
    """The head starts at 0; afterwards own tokens alone have values."""
    agent = tiny_agent(Wages())
    batch, critic = batches(Wages(), agent)[0], SharedCritic(agent.model)
    assert not critic.values(batch).any()
    values = roused(critic).values(batch)
    assert torch.equal(values != 0, batch.policy_token_mask)


def test_without_roles_it_says_what_a_value_head_on_the_same_backbone_says() -> None:
    """The value before a token is read from the last hidden state there, as the policy's own head reads it."""
    game, agent = Wages(), tiny_agent(Wages(), values=True)
    assert agent.value_head is not None
    critic = SharedCritic(agent.model)
    critic.head.load_state_dict(agent.value_head.state_dict())
    for batch in batches(game, agent):
        said = agent.evaluate(batch.tokens, batch.attention_mask, batch.policy_token_mask, batch.legal_mask)
        torch.testing.assert_close(critic.values(batch), said.values, atol=1e-5, rtol=1e-5)


def test_a_view_is_worth_what_its_player_can_expect_even_if_it_names_nobody() -> None:
    """The same rows as player 0's and as player 1's have different values; rows of a joined batch have their own."""
    agent = tiny_agent(Wages())
    critic, (first, second) = roused(SharedCritic(agent.model)), batches(Wages(), agent)
    exchanged = replace(first, players=1 - first.players)
    assert not torch.allclose(critic.values(first), critic.values(exchanged), atol=1e-2)
    together = critic.values(joined(first, second))
    torch.testing.assert_close(together[: len(first), : first.tokens.shape[1]], critic.values(first))
    torch.testing.assert_close(together[len(first) :, : second.tokens.shape[1]], critic.values(second))


@pytest.mark.parametrize("views", ["as they are", "alike"])
def test_each_player_s_update_fits_it_to_that_player_s_own_returns(views: str) -> None:
    """Paid 1 and -1 whatever they say, policies nearly at rest: both values come near, also where views are alike."""
    agents = [tiny_agent(bluff(), seed=player) for player in (0, 1)]
    critic, rng = SharedCritic(agents[0].model), np.random.default_rng(0)
    learners = [PPOLearner(agent, CONFIG, critic=critic) for agent in agents]
    first, second = batches(bluff(), agents[0])
    if views == "alike":
        second = replace(first, players=1 - first.players)
    paid = [batch.with_bonus(wage - batch.returns.double().numpy()) for batch, wage in ((first, 1), (second, -1))]
    for _ in range(12):
        for learner, batch in zip(learners, paid, strict=True):
            learner.update(batch, rng)
    for batch, wage in zip(paid, (1.0, -1.0), strict=True):
        values = critic.values(batch)[batch.policy_token_mask]
        torch.testing.assert_close(values, torch.full_like(values, wage), atol=0.2, rtol=0)


def test_policies_have_no_value_head_and_no_weight_in_common_with_it() -> None:
    """An update of player 0 moves its policy and the critic, and neither player 1 nor the model that it was made of."""
    agents = [tiny_agent(bluff(), seed=player, values=True) for player in (0, 1)]
    critic = SharedCritic(agents[0].model)
    learners = [PPOLearner(agent, CONFIG, critic=critic) for agent in agents]
    assert [agent.value_head for agent in agents] == [None, None]
    before = [weights(part) for part in (critic.backbone, agents[0].model, agents[1].model, learners[0].ref_model)]
    batch = batches(bluff(), agents[0])[0]
    for _ in range(2):  # the head, which starts at 0, hands the backbone no gradient before the first step
        update = learners[0].update(batch, np.random.default_rng(0))
    after = [weights(part) for part in (critic.backbone, agents[0].model, agents[1].model, learners[0].ref_model)]
    assert [same(*pair) for pair in zip(before, after, strict=True)] == [False, False, True, True]
    assert update.value_loss > 0


def test_other_architectures_have_a_backbone_too() -> None:
    """GPT-2 calls it by another name and has learned positions."""
    config = GPT2Config(vocab_size=bluff().vocabulary.size, n_positions=16, n_embd=16, n_layer=1, n_head=2)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        agent = CausalLMAgent(GPT2LMHeadModel(config).eval(), bluff().vocabulary)
    batch = batches(bluff(), agent)[0]
    learner = PPOLearner(agent, CONFIG, critic=SharedCritic(agent.model))
    assert np.isfinite(learner.update(batch, np.random.default_rng(0)).value_loss)
