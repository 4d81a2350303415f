"""RLOO goes where reward minus KL is greatest, and a group is the replies to one prompt."""

import numpy as np
import pytest
import torch

from duologue.agents import EchoAgent, RandomAgent, ScriptedAgent
from duologue.baselines.functional.advantages import prompt_groups
from duologue.baselines.learners.rloo import RLOOConfig, RLOOLearner
from duologue.baselines.rollouts.episodes import PlayedEpisode, rollout
from duologue.baselines.rollouts.groups import rollout_in_groups
from duologue.baselines.rollouts.trajectories import trajectories
from duologue.envs import make_game
from duologue.tests.baselines.helpers import (
    Menu,
    Wages,
    bluff,
    by_prompt,
    distance,
    draw,
    every_reply,
    gibbs,
    learnt,
    shifted,
    start,
    weights,
)
from duologue.tests.envs.helpers import Coordination

CONFIG = RLOOConfig(learning_rate=4e-2, warmup_updates=1, final_learning_rate_share=0.0, kl_coef=0.5)


@pytest.mark.parametrize("seed", range(5))
def test_it_reaches_the_closed_form_optimum(seed: int) -> None:
    """Reward minus beta KL is greatest at ref exp(r / beta), prompt by prompt; the start is .5 away."""
    game = Menu()
    agent, ref = start(game, seed=seed)
    optimum = gibbs(game, ref, every_reply(game).returns, kl_coef=0.5)
    assert distance(by_prompt(game, ref), optimum) > 0.5
    policy = learnt(game, RLOOLearner(agent, CONFIG, num_planned=30), num_updates=30, size=64, seed=seed)
    assert distance(policy, optimum) < 0.08


def test_replies_of_several_tokens_reach_it_too() -> None:
    """Thirteen replies of up to two words: the charge is for the whole reply, not for each token alone."""
    game = Menu(2, prompts=1)
    agent, ref = start(game)
    optimum = gibbs(game, ref, every_reply(game).returns, kl_coef=0.5)
    learner = RLOOLearner(agent, RLOOConfig(learning_rate=2e-2, kl_coef=0.5), num_planned=60)
    assert distance(by_prompt(game, ref), optimum) > 0.3
    assert distance(learnt(game, learner, num_updates=60, size=256, seed=0), optimum) < 0.08


def test_what_a_prompt_pays_whatever_is_said_changes_no_update() -> None:
    """Each prompt has a baseline of its own: 64 more for every reply to one of two prompts cancels."""
    game, after = Menu(), []
    for shift in (0.0, 64.0):
        agent, _ = start(game)
        batch = draw(game, agent, every_reply(game), 16, np.random.default_rng(0))
        RLOOLearner(agent, CONFIG).update(shifted(game, batch, shift), np.random.default_rng(0))
        after.append(torch.cat([part.flatten() for part in weights(agent.model)]))
    torch.testing.assert_close(after[0], after[1], atol=1e-3, rtol=0)


def test_one_reply_to_a_prompt_is_refused() -> None:
    """Nothing is left when it is left out."""
    game = Menu()
    agent, _ = start(game)
    with pytest.raises(ValueError, match="2 replies or more"):
        RLOOLearner(agent, CONFIG).update(every_reply(game).select(torch.tensor([0, 3])), np.random.default_rng(0))


def prompts_of(played: list[PlayedEpisode], player: int) -> list[tuple[int, ...]]:
    """Return what the player had been told when it first spoke, episode by episode."""
    first = [next(turn for turn in one.turns if turn.player == player) for one in played]
    return [tuple(turn.view.tokens.tolist()) for turn in first]


@pytest.mark.parametrize("player", [0, 1])
@pytest.mark.parametrize("name", ["wages", "red_team"])
def test_a_group_shares_deal_and_prompt(name: str, player: int) -> None:
    """Random opponents: four replies in a row answer the same words, and groups differ."""
    game = Wages() if name == "wages" else make_game("red_team-v0", num_rounds=2)
    rng = np.random.default_rng(1)
    played = rollout_in_groups(game, (RandomAgent(), RandomAgent()), 24, rng, player=player, group_size=4)
    played = [one for one in played if any(turn.player == player for turn in one.turns)]
    prompts, deals = prompts_of(played, player), [one.dialogue.deal for one in played]
    assert len(played) % 4 == 0
    for k in range(0, len(played), 4):
        assert len(set(prompts[k : k + 4])) == len(set(deals[k : k + 4])) == 1
    assert len(set(prompts)) > 1
    assert any(len({one.dialogue for one in played[k : k + 4]}) > 1 for k in range(0, len(played), 4))


def test_a_copied_opening_keeps_turns_and_rewards() -> None:
    """Wages pays both players in every turn, the opening's too: trajectories read them as if it had been played."""
    rng = np.random.default_rng(1)
    game = Wages()
    played = rollout_in_groups(game, (RandomAgent(), RandomAgent()), 12, rng, player=1, group_size=3)
    for one in played:
        assert len(one.turns) == len(one.episode.reward_history) == 3
        paid = [game.rewards(one.dialogue.upto(k)) for k in (1, 2, 3)]
        assert one.episode.reward_history == paid
        assert one.episode.returns == pytest.approx(np.sum(paid, axis=0).tolist())


def test_groups_of_one_are_plain_rollouts() -> None:
    """Token for token, from the same random numbers."""
    game, agents = make_game("red_team-v0", num_rounds=2), (RandomAgent(), RandomAgent())
    grouped = rollout_in_groups(game, agents, 8, np.random.default_rng(2), player=1, group_size=1)
    plain = rollout(game, agents, 8, np.random.default_rng(2))
    assert [one.dialogue for one in grouped] == [one.dialogue for one in plain]


def test_an_opponent_that_loses_in_its_opening_leaves_no_reply() -> None:
    """Bluff: who says what is no bet forfeits before player 1 speaks, in every copy."""
    game = bluff()
    agents = (ScriptedAgent(["call"]), EchoAgent())
    played = rollout_in_groups(game, agents, 4, np.random.default_rng(0), player=1, group_size=2)
    assert all(one.forfeited_by(0) and len(one.turns) == 1 for one in played)


def test_groups_never_mix_prompts_or_roles() -> None:
    """In Coordination either player may begin; rows of one group have the same player and the same words before."""
    played = rollout(Coordination(), (RandomAgent(), RandomAgent()), 40, np.random.default_rng(0))
    batches, keys = [trajectories(played, player) for player in (0, 1)], list[tuple[int, tuple[int, ...]]]()
    width = max(batch.tokens.shape[1] for batch in batches)
    tokens, own = (
        torch.cat([torch.nn.functional.pad(getattr(b, name), (0, width - b.tokens.shape[1])) for b in batches])
        for name in ("tokens", "policy_token_mask")
    )
    for player in (0, 1):
        keys += [(player, prompt) for prompt in prompts_of(played, player)]
    groups = prompt_groups(tokens, own, torch.cat([batch.players for batch in batches])).tolist()
    assert len(set(groups)) == len(set(keys)) == len(set(zip(groups, keys, strict=True)))
    assert 2 < len(set(keys)) < len(keys)


@pytest.mark.parametrize(("num_episodes", "group_size"), [(5, 2), (0, 1), (4, 0)])
def test_broken_groups_are_refused(num_episodes: int, group_size: int) -> None:
    """The message says what would do."""
    with pytest.raises(ValueError, match=f"multiple of group_size={group_size}, got {num_episodes}"):
        rollout_in_groups(
            bluff(),
            (EchoAgent(), EchoAgent()),
            num_episodes,
            np.random.default_rng(0),
            player=1,
            group_size=group_size,
        )
