"""The AEC form: order, bounds, forfeits, seeds, what is observed and what is paid when."""

import copy
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from duologue.envs import AGENT_IDS, LanguageGameEnv, make
from duologue.envs.games.bluff import BET, CALL, FOLD, Bluff
from duologue.envs.vocabulary import BOS, EOS, GAME, PLAYER_0, PLAYER_1, THINK
from duologue.tests.envs.helpers import BLUE, NO, RED, YES, Coordination, Flaky, Whisper

ACE = 8


def dealt(deal: str = "ace") -> LanguageGameEnv[str]:
    """Return Bluff with a given card."""
    env = LanguageGameEnv(Bluff())
    env.reset(options={"deal": deal})
    return env


def said(env: LanguageGameEnv[Any], *tokens: int) -> LanguageGameEnv[Any]:
    """Say tokens, then return the environment."""
    for token in tokens:
        env.step(token)
    return env


def random_episode(env: LanguageGameEnv[Any], seed: int) -> list[Any]:
    """Play on at random to the end; return all that came out."""
    rng, record = np.random.default_rng(seed), list[Any]()
    for agent_id in env.agent_iter():
        observation, reward, terminated, truncated, info = env.last()
        assert observation is not None
        mask = observation["action_mask"]
        token = None if terminated or truncated else int(rng.choice(np.flatnonzero(mask)))
        record.append((agent_id, observation["observation"].tolist(), mask.tolist(), reward, terminated, info, token))
        env.step(token)
    return [*record, env.transcript()]


@pytest.mark.parametrize("action", [1.0, "bet", np.array([1.5]), (10,), None])
def test_action_that_is_no_integer_is_refused(action: Any) -> None:
    """A float that happens to be whole is a bug of the caller as well."""
    with pytest.raises(TypeError, match=r"action: expected a token id, an integer in \[0, 13\), got"):
        dealt().step(action)


@pytest.mark.parametrize("action", [-1, 13, 10**20, np.int64(13)])
def test_action_out_of_range_is_refused(action: Any) -> None:
    """A negative index would silently count from the end."""
    with pytest.raises(ValueError, match=rf"action: expected a token id in \[0, 13\), got {action}"):
        dealt().step(action)


@pytest.mark.parametrize("integer", [int, np.int64, np.uint8, np.array])
def test_every_kind_of_integer_is_a_token(integer: Any) -> None:
    """Python's, NumPy's scalars, arrays without dimensions: what samplers and policies return."""
    env = dealt()
    env.step(integer(BET[0]))
    assert env.agent_selection == "player_1"


def test_refused_action_leaves_the_episode_as_it_was() -> None:
    """Nothing is half-done: the same episode goes on."""
    env = dealt()
    for action in (99, "bet"):
        with pytest.raises((TypeError, ValueError)):
            env.step(action)  # type: ignore[arg-type]
    assert env.transcript() == dealt().transcript()
    assert said(env, *BET, *CALL).dialogue.turns == said(dealt(), *BET, *CALL).dialogue.turns


@pytest.mark.parametrize("use", ["step", "say", "observe", "last", "state", "transcript", "render", "dialogue", "view"])
def test_use_before_reset_is_refused(use: str) -> None:
    """Each with a message that names the call."""
    env = LanguageGameEnv(Bluff())
    env.agent_selection = "player_0"
    calls: dict[str, Callable[[], object]] = {
        "step": lambda: env.step(FOLD[0]),
        "say": lambda: env.say(FOLD),
        "observe": lambda: env.observe("player_0"),
        "last": lambda: env.last(),
        "dialogue": lambda: env.dialogue,
        "view": lambda: env.view("player_0"),
    }
    message = "before reset|after reset|the agent to speak"
    with pytest.raises(RuntimeError, match=message):
        calls[use]() if use in calls else getattr(env, use)()


def test_step_after_the_end_is_refused() -> None:
    """Ended agents are removed by None; then nobody is left."""
    env = said(dealt(), *FOLD)
    with pytest.raises(ValueError, match="only valid action is None"):
        env.step(FOLD[0])
    env.step(None)
    env.step(None)
    assert env.agents == []
    with pytest.raises(RuntimeError, match=r"step: expected a call between reset.* after the end of the episode"):
        env.step(None)


@pytest.mark.parametrize("masked", [0, BOS, EOS, ACE, *CALL])
def test_masked_token_forfeits_and_is_on_record(masked: int) -> None:
    """Player 0 loses its chip to player 1, both end, and the transcript says why."""
    env = said(dealt(), masked)
    assert env.rewards == {"player_0": -1.0, "player_1": 1.0}
    assert all(env.terminations.values())
    assert "bettor:  [forfeit: illegal]" in env.transcript()
    assert env.dialogue.turns[-1].ending.forfeits


def test_both_players_end_on_the_same_step_and_are_then_removed() -> None:
    """With the same flag; truncation does not occur, as the length limits are rules."""
    env = said(dealt(), *BET, *CALL)
    assert env.terminations == dict.fromkeys(AGENT_IDS, True)
    assert env.truncations == dict.fromkeys(AGENT_IDS, False)
    returns = dict[str, float]()
    for agent_id in env.agent_iter():
        returns[agent_id] = env.last()[1]
        env.step(None)
    assert returns == {"player_0": 2.0, "player_1": -2.0}


def test_rewards_are_zero_except_on_the_step_that_ends_a_turn() -> None:
    """Whisper pays at every turn; `last` gives what came since the player last acted."""
    env = LanguageGameEnv(Whisper())
    env.reset(options={"deal": "red"})
    rewards = []
    for token in (YES, EOS, RED, NO, EOS, BLUE, EOS):
        env.step(token)
        rewards.append((env.rewards["player_0"], env.rewards["player_1"]))
    nothing = (0.0, 0.0)
    assert rewards == [nothing, (1.0, 0.0), nothing, nothing, (2.0, 0.5), nothing, (3.0, 0.0)]
    assert env.last()[1] == 3.0  # what player 0 was paid before, it saw when it spoke again
    assert env._cumulative_rewards == {"player_0": 3.0, "player_1": 0.5}


def test_reward_of_the_others_turn_is_handed_out_when_the_player_speaks_again() -> None:
    """1 for its own turn and 2 for player 1's: 3 at its next `last`."""
    env = LanguageGameEnv(Whisper())
    env.reset(options={"deal": "red"})
    assert said(env, YES, EOS, RED, EOS).last()[1] == 3.0
    assert said(env, RED).last()[1] == 0.0


def test_same_agent_acts_several_steps_in_a_row() -> None:
    """Turns are many tokens, thoughts included."""
    env = LanguageGameEnv(Whisper())
    env.reset(options={"deal": "red"})
    for token in (THINK, YES, THINK + 1, RED):
        env.step(token)
        assert env.agent_selection == "player_0"
    env.step(EOS)
    assert env.agent_selection == "player_1"


def test_observation_is_the_view_padded_with_zeros() -> None:
    """Bluff's view after a bet: card and bet for player 0, the bet alone for player 1, who is to speak."""
    env = said(dealt(), *BET)
    views = {agent_id: env.observe(agent_id)["observation"] for agent_id in AGENT_IDS}
    first, second = [BOS, GAME, ACE, EOS, PLAYER_0, *BET, EOS], [BOS, PLAYER_0, *BET, EOS, PLAYER_1]
    length = env.game.max_view_tokens
    assert views["player_0"].tolist() == first + [0] * (length - len(first))
    assert views["player_1"].tolist() == second + [0] * (length - len(second))
    assert env.state().tolist() == [*views["player_0"], *views["player_1"]]
    assert env.state_space.contains(env.state())


def test_writing_into_an_observation_changes_nothing() -> None:
    """Fresh arrays at each call, so that learners may keep or change them."""
    env = dealt()
    observation = env.observe("player_0")
    observation["observation"][:] = observation["action_mask"][:] = 0
    env.state()[:] = 0
    assert env.observe("player_0")["action_mask"].sum() == 2
    assert env.observe("player_0")["observation"].any()


def test_view_is_for_the_agent_to_speak_only() -> None:
    """The silent one has nothing to decide."""
    env = dealt()
    assert env.view("player_0").player == 0
    with pytest.raises(RuntimeError, match="view: expected the agent to speak, got 'player_1'"):
        env.view("player_1")


@pytest.mark.parametrize("game", [Bluff(), Whisper(), Coordination()])
@given(seed=st.integers(0, 2**32 - 1))
def test_same_seed_same_episodes(game: Any, seed: int) -> None:
    """And None goes on with the stream, alike in both."""
    first, second = (LanguageGameEnv(game) for _ in range(2))
    for reset_seed in (seed, None, None):
        for env in (first, second):
            env.reset(seed=reset_seed)
        assert random_episode(first, seed) == random_episode(second, seed)


def test_two_environments_never_disturb_each_other() -> None:
    """Interleaved resets and steps leave each on its own stream, and NumPy's global one untouched."""
    np.random.seed(0)  # noqa: NPY002 - the global generator is what must stay untouched
    before = pickle.dumps(np.random.get_state())  # noqa: NPY002
    alone, first, second = (LanguageGameEnv(Coordination()) for _ in range(3))
    alone.reset(seed=1)
    expected = [random_episode(alone, k) for k in range(5) if alone.reset() is None]
    first.reset(seed=1)
    second.reset(seed=2)
    mixed = []
    for k in range(5):
        first.reset()
        second.reset()
        random_episode(second, 99)
        mixed.append(random_episode(first, k))
    assert mixed == expected
    assert pickle.dumps(np.random.get_state()) == before  # noqa: NPY002


@pytest.mark.parametrize("cut", range(6))
def test_copies_in_mid_episode_go_on_alike(cut: int) -> None:
    """Deep copies and pickles, within a turn and a thought as well; the next deal is the same, too."""
    env = LanguageGameEnv(Whisper())
    env.reset(seed=3)
    said(env, *(THINK, YES, THINK + 1, RED, EOS)[:cut])
    twins = [copy.deepcopy(env), pickle.loads(pickle.dumps(env)), env]
    endings = [random_episode(twin, 0) for twin in twins]
    assert endings[0] == endings[1] == endings[2]
    for twin in twins:
        twin.reset()
    assert len({twin.dialogue.deal for twin in twins}) == 1


def test_copies_share_the_rules() -> None:
    """Rules never change, so that a copy of an environment is cheap even where a judge is a large model."""
    env = dealt()
    assert copy.deepcopy(env).game is env.game


@pytest.mark.parametrize("deal", [None, 0])
def test_deal_of_the_options_is_taken_even_if_it_is_none_or_zero(deal: Any) -> None:
    """`x or default` would deal anew where None or 0 is a deal."""
    env = LanguageGameEnv(Coordination())
    env.game.__dict__["next_player"] = lambda dialogue: None if dialogue.turns else 0
    for seed in range(5):
        env.reset(seed=seed, options={"deal": deal})
        assert env.dialogue.deal is deal


def test_a_seed_beside_a_deal_seeds_what_follows() -> None:
    """The deal is the caller's, the next ones are the seed's."""
    deals = []
    for _ in range(2):
        env = LanguageGameEnv(Coordination())
        env.reset(seed=3, options={"deal": 1})
        deals.append([env.dialogue.deal for _ in range(20) if env.reset() is None])
    assert deals[0] == deals[1]


def test_other_options_are_ignored() -> None:
    """PettingZoo's own test passes one."""
    env = LanguageGameEnv(Bluff())
    env.reset(seed=0, options={"board": 1})
    assert env.dialogue.deal in ("ace", "deuce")


def test_render_modes(capsys: pytest.CaptureFixture[str]) -> None:
    """Mode "ansi" returns the transcript, "human" prints it after every step."""
    ansi, human = (make("bluff-v0", render_mode=mode) for mode in ("ansi", "human"))
    for env in (ansi, human):
        env.reset(options={"deal": "ace"})
        said(env, *FOLD)
    assert ansi.render() == ansi.transcript() == human.transcript()
    assert capsys.readouterr().out == f"{human.transcript()}\n\n"
    with pytest.raises(ValueError, match='render_mode: expected None, "ansi" or "human", got \'rgb_array\''):
        make("bluff-v0", render_mode="rgb_array")


def test_episode_that_is_over_when_dealt_ends_at_once() -> None:
    """Rules may end an episode before anybody speaks."""

    class Stillborn(Coordination):
        def next_player(self, dialogue: Any) -> int | None:
            return None

    env = LanguageGameEnv(Stillborn())
    env.reset(seed=0)
    assert all(env.terminations.values())
    assert [env.last()[1] for _ in env.agent_iter() if env.step(None) is None and env.agents] == [0.0]


@pytest.mark.parametrize(("failing", "num_failures"), [("rewards", 3), ("legal_tokens", 1), ("all", 4)])
def test_failing_rules_leave_the_token_unsaid_and_no_reward_lost(failing: str, num_failures: int) -> None:
    """Tried at every token of three turns: it can be said again, and pays what it pays where nothing fails."""
    game, failures = Flaky(), 0
    env, undisturbed = LanguageGameEnv(game), LanguageGameEnv(Whisper())
    for either in (env, undisturbed):
        either.reset(options={"deal": "red"})
    for token in (RED, YES, EOS, EOS, RED, EOS):
        before, game.failing = str((env.last(), env.rewards, env._cumulative_rewards, env.state())), failing
        try:
            env.step(token)
        except ConnectionError:
            failures += 1
            assert str((env.last(), env.rewards, env._cumulative_rewards, env.state())) == before
            game.failing = None
            env.step(token)
        undisturbed.step(token)
        assert (env.rewards, env._cumulative_rewards) == (undisturbed.rewards, undisturbed._cumulative_rewards)
    assert (failures, env.transcript()) == (num_failures, undisturbed.transcript())
