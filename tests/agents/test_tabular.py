"""A tree's policy as an agent: it plays what the table says, in every form of the game."""

import numpy as np
import pytest

from duologue.agents import TabularAgent, policy_of, profile_of
from duologue.baselines.rollouts.episodes import rollout
from duologue.envs import Episode, SinglePlayerEnv, deal_episodes
from duologue.envs.games.bluff import Bluff
from duologue.envs.interfaces.aec import LanguageGameEnv
from duologue.envs.tree.analysis import GameTree, expected_returns, nash_conv, uniform_profile
from duologue.tests.envs.tree.helpers import Aside

BLUFF, ASIDE = GameTree(Bluff()), GameTree(Aside())


def random_agents(tree: GameTree, *, seed: int = 0) -> tuple[TabularAgent, TabularAgent]:
    """Return random policies as agents, some of whose tokens are never said."""
    rng, agents = np.random.default_rng(seed), []
    for player, table in enumerate(tree.tables):
        weights = rng.random(table.num_actions) * (rng.random(table.num_actions) < 0.8)
        agents.append(TabularAgent(tree, player, table.normalise(weights)))
    return agents[0], agents[1]


@pytest.mark.parametrize("tree", [BLUFF, ASIDE], ids=["bluff", "aside"])
def test_asking_a_tabular_agent_returns_its_table(tree: GameTree) -> None:
    """From policy to agent and back nothing changes."""
    agents = random_agents(tree)
    for agent, policy in zip(agents, profile_of(tree, agents), strict=True):
        assert policy.tolist() == agent.policy.tolist()


@pytest.mark.parametrize("tree", [BLUFF, ASIDE], ids=["bluff", "aside"])
def test_sampled_returns_are_the_expected_ones(tree: GameTree) -> None:
    """Within 4 standard errors, by algorithms.md 1.2 (3)."""
    agents = random_agents(tree)
    expected = expected_returns(tree, (agents[0].policy, agents[1].policy))
    played = rollout(tree.game, agents, 2_000, np.random.default_rng(1))
    returns = np.array([play.episode.returns for play in played])
    errors = returns.std(0) / np.sqrt(len(returns))
    assert (np.abs(returns.mean(0) - expected) <= 4 * errors + 1e-12).all()
    assert not any(play.episode.forfeited_by is not None for play in played)


def test_logprobs_are_those_of_the_table() -> None:
    """Their sum is the log of the own reach of what was said."""
    agent, rng = random_agents(ASIDE)[0], np.random.default_rng(2)
    plan, seen = ASIDE.tables[0].reach(agent.policy), 0
    for episode in deal_episodes(ASIDE.game, rng, 50):
        view = episode.view()
        said = agent.speak([view], rng)[0]
        tokens = np.concatenate([view.tokens, np.array(said.tokens[:-1], dtype=np.int64)])
        actions = np.flatnonzero(ASIDE.tables[0].infostate_of == agent.infostate_of(tokens))
        action = int(actions[ASIDE.tables[0].tokens[actions] == said.tokens[-1]][0])
        assert said.logprobs is not None
        assert np.exp(sum(said.logprobs)) == pytest.approx(plan[action + 1], abs=1e-12)
        seen += len(said.tokens)
    assert seen > 60


def test_acting_token_by_token_follows_the_table() -> None:
    """The best pair of Bluff (bluff.py): aces are always bet, bets called in two of three plays."""
    pair = TabularAgent(BLUFF, 0, equilibrium()[0]), TabularAgent(BLUFF, 1, equilibrium()[1])
    assert nash_conv(BLUFF, profile_of(BLUFF, pair)) == pytest.approx(0, abs=1e-12)
    env, rng = LanguageGameEnv(Bluff()), np.random.default_rng(3)
    replies: list[int] = []
    for seed in range(300):
        env.reset(seed=seed)
        for agent_id in env.agent_iter():
            observation, _, terminated, _, _ = env.last()
            if terminated:
                env.step(None)
                continue
            assert observation is not None
            token = pair[env.possible_agents.index(agent_id)].act(observation, rng)
            replies += [token] if agent_id == "player_1" else []
            env.step(token)
    called = np.mean(np.array(replies) == BLUFF.tables[1].tokens[1])
    assert called == pytest.approx(2 / 3, abs=4 * np.sqrt(2 / 9 / len(replies)))


def equilibrium() -> tuple[np.ndarray, np.ndarray]:
    """Return the equilibrium of Bluff, laid out by the tree: fold or bet each card, fold or call."""
    aces = [BLUFF.infostate_text(0, infostate).split().count("ace") for infostate in range(2)]
    rows = [[0, 1] if ace else [2 / 3, 1 / 3] for ace in aces]
    return np.array([p for row in rows for p in row], dtype=np.float64), np.array([1 / 3, 2 / 3])


def test_an_unknown_view_is_an_error() -> None:
    """Player 0's view is none of player 1's information states, and no distribution is made up for it."""
    agent, rng = TabularAgent(BLUFF, 1, uniform_profile(BLUFF)[1]), np.random.default_rng(0)
    with pytest.raises(
        ValueError, match=r"view: expected one of the 1 information states of player 1.*'<bos> <game> ace"
    ):
        agent.speak([Episode(Bluff(), "ace").view()], rng)


def test_a_table_that_is_no_policy_is_refused() -> None:
    """Before a word is said."""
    with pytest.raises(ValueError, match="policy of player 0: expected probabilities that sum to 1"):
        TabularAgent(BLUFF, 0, np.zeros(4))


def test_it_can_be_the_opponent_of_a_single_player() -> None:
    """One who always folds gives the deuce that bets 1 chip."""
    fold = TabularAgent(BLUFF, 1, np.array([1.0, 0.0]))
    assert policy_of(BLUFF, 1, fold).tolist() == [1.0, 0.0]
    env = SinglePlayerEnv(Bluff(), player=0, opponent=fold)
    env.reset(seed=0)
    bet = int(BLUFF.tables[0].tokens[1])
    assert env.step(bet)[1] == 1.0
