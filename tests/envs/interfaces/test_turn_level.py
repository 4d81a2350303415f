"""The turn-level form: the same episodes as the token form, an utterance a step."""

import warnings
from typing import Any

import numpy as np
import pytest

from duologue.envs import (  # fmt: skip
    AGENT_IDS,
    Episode,
    LanguageGame,
    LanguageGameEnv,
    RandomAgent,
    TurnLevelEnv,
    make_game,
    make_turn_level,
    registered_games,
)
from duologue.envs.games.bluff import BET, CALL, FOLD, Bluff
from duologue.envs.games.running_sum import RunningSum
from duologue.envs.wrappers.thoughts import WithThoughts
from duologue.tests.envs.helpers import BLUE, RED, YES, Coordination, Flaky, Whisper

with warnings.catch_warnings():
    # PettingZoo's tests import a game of its own by a name that it has itself declared deprecated.
    warnings.simplefilter("ignore", DeprecationWarning)
    from pettingzoo.test import api_test, seed_test

game_ids: Any = {"ids": lambda game: type(game).__name__}
EOS = Whisper.vocabulary.eos_id
OWN_GAMES: list[LanguageGame[Any]] = [
    Whisper(), Coordination(), RunningSum(2, 3, max_thought_tokens=2), WithThoughts(Bluff(), 1),
]  # fmt: skip
GAMES = [make_game(name) for name in registered_games()] + OWN_GAMES


def books(env: Any) -> tuple[Any, ...]:
    """Return everything that PettingZoo keeps about the agents."""
    dicts = (env.rewards, env._cumulative_rewards, env.terminations, env.truncations, env.infos)
    return (env.agent_selection, list(env.agents), *(dict(book) for book in dicts))


def some_turn(env: LanguageGameEnv[Any], rng: np.random.Generator) -> list[int]:
    """Return a random turn, now and then with a token in it that may be illegal."""
    tokens = list(RandomAgent().speak([env.view(env.agent_selection)], rng)[0].tokens)
    if rng.random() < 0.15:
        tokens[int(rng.integers(len(tokens)))] = int(rng.integers(env.game.vocabulary.size))
    return tokens


def say(env: LanguageGameEnv[Any], tokens: list[int]) -> int:
    """Say tokens until the turn is over, then nothing; return how many were said."""
    num_turns = len(env.dialogue.turns)
    for k, token in enumerate(tokens):
        env.step(token)
        if len(env.dialogue.turns) > num_turns:
            return k + 1
    return len(tokens)


@pytest.mark.parametrize("game", GAMES, **game_ids)
def test_a_turn_is_its_tokens_said_one_by_one(game: LanguageGame[Any]) -> None:
    """Views, rewards, ends, forfeits and order of the token form after each turn; what follows a turn is ignored."""
    turns, words, rng = TurnLevelEnv(game), LanguageGameEnv(game), np.random.default_rng(0)
    for seed in range(12):
        turns.reset(seed=seed)
        words.reset(seed=seed)
        while not all(words.terminations.values()):
            action = turns.pad(some_turn(words, rng))
            num_said = say(words, action.tolist())
            action[num_said:] = rng.integers(game.vocabulary.size, size=len(action) - num_said)
            turns.step(action)
            assert books(turns) == books(words)
            for agent_id in AGENT_IDS:
                assert np.array_equal(turns.observe(agent_id), words.observe(agent_id)["observation"])
        assert turns.transcript() == words.transcript()
        for _ in AGENT_IDS:
            assert turns.last()[1:] == words.last()[1:]
            turns.step(None)
            words.step(None)
        assert turns.agents == []


@pytest.mark.filterwarnings("ignore:Action space for each agent probably should be gymnasium.spaces.box")
@pytest.mark.parametrize("game", [Bluff(), Whisper(), Coordination(), make_game("red_team-v0")], **game_ids)
def test_pettingzoo_finds_nothing_wrong(game: LanguageGame[Any]) -> None:
    """PettingZoo's own suite, whose random turns mostly forfeit."""
    api_test(TurnLevelEnv(game), num_cycles=30)
    seed_test(lambda: TurnLevelEnv(game), num_cycles=10)


def test_spaces_hold_a_view_and_the_longest_turn() -> None:
    """Whisper: a thought of two between its delimiters and three words."""
    env = TurnLevelEnv(Whisper())
    env.reset(seed=0)
    assert env.num_action_tokens == 7
    assert env.action_space("player_0").shape == (7,)
    assert env.observation_space("player_0").contains(env.observe("player_0"))
    assert env.observation_space("player_0") is env.observation_space("player_0")
    assert env.action_space("player_1").contains(env.pad([RED, EOS]))


def test_turn_without_an_end_says_its_padding_and_forfeits() -> None:
    """One word of three, no <eos>: Whisper's forfeit costs 2 and pays the other player nothing."""
    env = TurnLevelEnv(Whisper())
    env.reset(seed=0)
    env.step(env.pad([RED]))
    assert env.rewards == {"player_0": -2.0, "player_1": 0.0}
    assert all(env.terminations.values())
    assert "[forfeit: illegal]" in env.transcript()


@pytest.mark.parametrize(
    ("action", "error", "message"),
    [
        (None, TypeError, r"action: expected 1 token ids, integers in \[0, 13\), got None"),
        ([9.0], TypeError, r"expected 1 token ids, integers"),
        ([9, 9], ValueError, r"expected shape \(1,\), got \(2,\); `pad` makes one of it"),
        (9, ValueError, r"expected shape \(1,\), got \(\)"),
        ([13], ValueError, r"expected token ids in \[0, 13\), got 13 to 13"),
        ([-1], ValueError, r"expected token ids in \[0, 13\), got -1 to -1"),
    ],
)
def test_what_is_no_turn_is_refused_and_changes_nothing(action: Any, error: type[Exception], message: str) -> None:
    """Refused before the first token of it is said."""
    env = TurnLevelEnv(Bluff())
    env.reset(options={"deal": "ace"})
    before = env.transcript()
    with pytest.raises(error, match=message):
        env.step(action)
    assert env.transcript() == before
    env.step(env.pad(BET))
    assert env.agent_selection == "player_1"


def test_a_turn_too_long_cannot_be_padded() -> None:
    """The error says how much there is room for."""
    with pytest.raises(ValueError, match="tokens: expected at most 1, got 2"):
        TurnLevelEnv(Bluff()).pad([*BET, *CALL])


def test_use_out_of_order_is_refused() -> None:
    """As in the token form."""
    env = TurnLevelEnv(Bluff())
    with pytest.raises(RuntimeError, match="before reset"):
        env.step(env.pad(BET))
    with pytest.raises(RuntimeError, match="after reset"):
        env.observe("player_0")
    env.reset(options={"deal": "ace"})
    env.step(env.pad(FOLD))
    with pytest.raises(ValueError, match="only valid action is None"):
        env.step(env.pad(FOLD))


@pytest.mark.parametrize(("failing", "turn"), [("rewards", 0), ("rewards", 1), ("rewards", 2), ("legal_tokens", 2)])
def test_failing_rules_leave_the_turn_unsaid_and_no_reward_lost(failing: str, turn: int) -> None:
    """So that the same turn can be said again: what earlier turns paid is still there for `last` to read."""
    game, words = Flaky(), [[BLUE, YES, EOS], [RED, EOS], [RED, EOS]]
    env, undisturbed = TurnLevelEnv(game), TurnLevelEnv(Whisper())
    for either in (env, undisturbed):
        either.reset(options={"deal": "red"})
    for k, tokens in enumerate(words):
        game.failing = failing if k == turn else None
        if game.failing:
            before = books(env), env.transcript()
            with pytest.raises(ConnectionError, match=failing):
                env.step(env.pad(tokens))
            assert (books(env), env.transcript()) == before
            game.failing = None
        env.step(env.pad(tokens))
        undisturbed.step(env.pad(tokens))
        assert books(env) == books(undisturbed)
    assert env.transcript() == undisturbed.transcript()


def test_human_sees_each_turn_once(capsys: pytest.CaptureFixture[str]) -> None:
    """Not every token of it."""
    env = make_turn_level("red_team-v0", render_mode="human")
    env.reset(seed=0)
    said = RandomAgent().speak([env.view("player_0")], np.random.default_rng(1))[0]
    assert len(said.tokens) > 2
    env.step(env.pad(said.tokens))
    assert capsys.readouterr().out == env.env.transcript() + "\n\n"


def test_agents_that_speak_by_view_play_a_whole_episode() -> None:
    """`view` tells what is legal, `pad` makes an action of an utterance: no forfeits in narrowed games."""
    env, rng = make_turn_level("tic_tac_toe-v0"), np.random.default_rng(3)
    env.reset(seed=1)
    while not all(env.terminations.values()):
        env.step(env.pad(RandomAgent().speak([env.view(env.agent_selection)], rng)[0].tokens))
    assert "forfeit" not in env.transcript()
    assert isinstance(env.env.episode, Episode)
