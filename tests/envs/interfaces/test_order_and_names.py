"""Agents by name, players by number, and calls out of order: refused in each form, with nothing private said."""

from typing import Any

import gymnasium
import numpy as np
import pytest

from duologue.agents import RandomAgent
from duologue.baselines.rollouts import rollout, rollout_in_groups
from duologue.baselines.rollouts.demonstrations import encode_dialogues
from duologue.baselines.rollouts.trajectories import trajectories
from duologue.envs import (
    Episode,
    LanguageGameEnv,
    SinglePlayerEnv,
    TurnLevelEnv,
    Utterance,
    make_game,
    registered_games,
)
from duologue.envs.batched.game import BatchedGame
from duologue.envs.games.bluff import BET, CALL, Bluff
from duologue.envs.interfaces.mask_to_info import MaskToInfo
from duologue.envs.interfaces.vector import LanguageGameVectorEnv
from duologue.envs.tree.analysis import best_response, check_policy, counterfactual_values, induced_mdp, uniform_profile
from duologue.envs.tree.game_tree import GameTree
from duologue.tests.envs.helpers import RED, Whisper

EOS = Whisper.vocabulary.eos_id
NO_AGENTS: list[Any] = [
    "player_2",
    "player_1 ",
    "Player_0",
    "player",
    "",
    "0",
    None,
    0,
    1,
    -1,
    True,
    b"player_0",
    ("player_0",),
]
NO_AGENTS += [["player_0"], {"player_0": 0}, np.array(["player_0"])]
NO_PLAYERS = [2, -1, True, False, 1.0, "0", "player_0", None, np.float64(1), np.bool_(True)]


def masked(game: Any) -> MaskToInfo:
    """Return the AEC form with its masks in the infos."""
    return MaskToInfo(LanguageGameEnv(game))


FORMS = [LanguageGameEnv, TurnLevelEnv, masked]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("agent", NO_AGENTS, ids=repr)
def test_what_is_no_agent_observes_nothing(form: Any, agent: Any) -> None:
    """PettingZoo's KeyError, from every method that takes a name."""
    env = form(Bluff())
    env.reset(seed=0)
    for method in (env.observe, env.observation_space, env.action_space, env.unwrapped.view):
        with pytest.raises(KeyError, match="agent: expected one of player_0, player_1, got"):
            method(agent)


@pytest.mark.parametrize("name", registered_games())
def test_each_agent_sees_its_own_view(name: str) -> None:
    """The views are those of the engine, by the number in the name; a name of numpy's is one too."""
    env = LanguageGameEnv(make_game(name))
    env.reset(seed=0)
    assert env.episode is not None
    for player, agent in enumerate(("player_0", np.str_("player_1"))):
        assert (env.observe(agent)["observation"] == env.episode.views[player]).all()


@pytest.mark.parametrize("player", NO_PLAYERS, ids=repr)
def test_what_is_no_player_is_refused(player: Any) -> None:
    """A seat, whose trajectories, whose information states, whose policy."""
    game, tree = Bluff(), GameTree(Bluff())
    profile, rng, random = uniform_profile(tree), np.random.default_rng(0), RandomAgent()
    played = rollout(game, [random, random], 2, rng)
    uses: list[Any] = [
        lambda: SinglePlayerEnv(game, player=player),
        lambda: LanguageGameVectorEnv(game, 2, player=player),
        lambda: gymnasium.make("duologue/bluff-v0", player=player),
        lambda: tree.view(player, 0),
        lambda: tree.observations(player),
        lambda: tree.infostate_text(player, 0),
        lambda: check_policy(tree, player, profile[0]),
        lambda: best_response(tree, player, profile[1]),
        lambda: counterfactual_values(tree, player, profile),
        lambda: induced_mdp(tree, player, profile[1]),
        lambda: trajectories(played, player),
        lambda: rollout_in_groups(game, [random, random], 4, rng, player=player, group_size=2),
        lambda: encode_dialogues(game, [one.dialogue for one in played], [player]),
    ]
    for use in uses:
        with pytest.raises(ValueError, match="player: expected 0 or 1, got"):
            use()


def test_players_of_numpy_are_players() -> None:
    """As a loop over an array has them."""
    tree = GameTree(Bluff())
    players: Any = np.arange(2)
    for player in players:
        assert len(tree.observations(player)) == tree.tables[player].num_infostates
        assert SinglePlayerEnv(Bluff(), player=player).player == player


@pytest.mark.parametrize("index", [-1, 3, 10**9])
def test_places_that_a_tree_has_not_are_refused(index: int) -> None:
    """Not counted from the end: Bluff has two information states of player 0, and eleven nodes."""
    tree = GameTree(Bluff())
    with pytest.raises(IndexError, match=r"infostate: expected a number in \[0, 2\), got"):
        tree.view(0, index)
    for node in (0, -1, 11, 10**9):
        with pytest.raises(IndexError, match=r"node: expected a number in \[1, 11\), got"):
            tree.episode(node)


@pytest.mark.parametrize("episode", [-1, 3, 10**9, 1.5, True, "0", None])
def test_episodes_that_a_batch_has_not_are_refused(episode: Any) -> None:
    """By number and type."""
    plays = BatchedGame(Bluff(), 3, seed=0)
    for use in (plays.view, plays.episode, plays.dialogue):
        with pytest.raises((IndexError, TypeError), match="episode: expected"):
            use(episode)


@pytest.mark.parametrize("form", FORMS)
def test_calls_before_reset_say_so(form: Any) -> None:
    """Methods raise RuntimeError; attributes AttributeError, as PettingZoo's own wrapper, so that `hasattr` works."""
    env = form(Bluff())
    for call in (env.last, env.state, env.render, env.unwrapped.transcript, lambda: env.observe("player_0")):
        with pytest.raises(RuntimeError, match=r"expected a call (after reset\(\)|between reset\(\) and the end)"):
            call()
    with pytest.raises(RuntimeError, match=r"step: expected a call between .*, got one before reset\(\)"):
        env.step(BET[0])
    with pytest.raises(RuntimeError, match="view: expected the agent to speak, got 'player_0'"):
        env.unwrapped.view("player_0")
    for name in ("agent_selection", "rewards", "terminations", "truncations", "infos"):
        with pytest.raises(AttributeError, match=f"{name}: expected an access after reset"):
            getattr(env, name)
        assert not hasattr(env, name)
    with pytest.raises(AttributeError, match="nonsense"):
        _ = env.nonsense
    assert list(env.agent_iter()) == env.agents == []


@pytest.mark.parametrize("form", FORMS)
def test_calls_after_the_end_say_so(form: Any) -> None:
    """Agents that have ended still read `last` and are removed by None; then there is nobody to ask about."""
    env = form(Bluff())
    env.reset(options={"deal": "ace"})
    for token in (BET[0], CALL[0]):
        env.step(env.pad([token]) if form is TurnLevelEnv else token)
    with pytest.raises(ValueError, match="the only valid action is None"):
        env.step(env.pad(BET) if form is TurnLevelEnv else BET[0])
    paid = {}
    for agent in env.agent_iter():
        observation, paid[agent], terminated, truncated, info = env.last()
        assert (terminated, truncated) == (True, False)
        assert env.last(observe=False)[0] is None
        assert observation is not None
        assert set(info) <= {"action_mask"}
        env.step(None)
    assert paid == {"player_0": 2.0, "player_1": -2.0}
    for call in (env.last, lambda: env.step(None)):
        with pytest.raises(RuntimeError, match=r"between reset\(\) and the end, got one after the end of the episode"):
            call()
    assert env.observe("player_0") is not None
    env.reset()
    env.reset()
    assert env.last()[1] == 0.0


def test_an_episode_says_what_may_not_be_done_now() -> None:
    """Nobody speaks after the end; a turn is said once and paid for once."""
    episode = Episode(Whisper(), "red")
    with pytest.raises(RuntimeError, match="settle: expected a turn that has been said and not been paid for"):
        episode.settle((0.0, 0.0))
    episode.speak(Utterance((RED, EOS)))
    with pytest.raises(RuntimeError, match=r"speak: expected settle\(\) first"):
        episode.speak(Utterance((RED, EOS)))
    episode.settle((0.0, 0.0))
    episode.push(0)
    for use in (episode.view, lambda: episode.push(RED), lambda: episode.speak(Utterance((RED,)))):
        with pytest.raises(RuntimeError, match="the episode is over, nobody is to speak"):
            use()
