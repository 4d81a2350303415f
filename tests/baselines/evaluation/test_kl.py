import numpy as np
import pytest
import torch

from duologue.agents import RandomAgent, policy_of
from duologue.baselines.evaluation.kl import kl_to_start
from duologue.baselines.rollouts.episodes import rollout
from duologue.envs import make_game
from duologue.envs.tree.analysis import GameTree, uniform_profile
from duologue.envs.tree.infostates import sums_by
from duologue.tests.baselines.helpers import Wages, tiny_agent


def test_an_agent_has_not_moved_from_itself() -> None:
    """KL(pi, pi) = 0 token by token, so that the interval is 0 wide as well."""
    game = Wages()
    agent = tiny_agent(game)
    played = rollout(game, (agent, RandomAgent()), 20, np.random.default_rng(0))
    assert kl_to_start(agent, agent, played, 0) == (0.0, 0.0, 0.0)


def test_the_interval_covers_the_exact_divergence() -> None:
    """Kuhn poker against uniform play: the sum over own infostates of reach times KL there, from the tree."""
    game = make_game("kuhn_poker-v0")
    tree, player = GameTree(game), 0
    agent, start = tiny_agent(game, seed=1), tiny_agent(game, seed=2)
    with torch.no_grad():  # far apart, so that there is something to measure
        for parameter in agent.model.lm_head.parameters():
            parameter.mul_(20)
    now, then = policy_of(tree, player, agent), policy_of(tree, player, start)
    table, opponent = tree.tables[player], tree.tables[1 - player]
    nodes = np.flatnonzero(tree.player == player)
    others = (
        tree.chance_reach[nodes] * opponent.reach(uniform_profile(tree)[1 - player])[tree.sequences[1 - player, nodes]]
    )
    reach = sums_by(tree.infostate[nodes], others, table.num_infostates)
    exact = float((table.spread(reach) * table.reach(now)[1:] * np.log(now / then)).sum())
    played = rollout(game, (agent, RandomAgent()), 3000, np.random.default_rng(0))
    found = kl_to_start(agent, start, played, player, batch_size=1000)
    assert exact > 0.01
    assert found.low < exact < found.high
    assert found.half_width < 0.3 * exact


def test_episodes_without_a_word_count_zero() -> None:
    """In bluff player 1 is silent after a fold: the mean is over all episodes, not over those in which it spoke."""
    game = make_game("bluff-v0")
    agent, start = tiny_agent(game, seed=1), tiny_agent(game, seed=2)
    played = rollout(game, (RandomAgent(), agent), 40, np.random.default_rng(0))
    speaking = [one for one in played if len(one.turns) == 2]
    assert 0 < len(speaking) < 40
    whole, part = kl_to_start(agent, start, played, 1).value, kl_to_start(agent, start, speaking, 1).value
    assert whole == pytest.approx(part * len(speaking) / 40)
    silent = [one for one in played if len(one.turns) == 1]
    with pytest.raises(ValueError, match="player 1 speaks, got none"):
        kl_to_start(agent, start, silent, 1)
