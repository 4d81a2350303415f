"""The vector form: the same episodes as a stack of single-player environments."""

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import data_equivalence
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from duologue.agents import EchoAgent, ScriptedAgent
from duologue.envs import LanguageGame, SinglePlayerEnv, Speaker, Utterance, View, make_game
from duologue.envs.games.bluff import BET, CALL, FOLD, Bluff
from duologue.envs.interfaces.vector import LanguageGameVectorEnv
from duologue.tests.envs.helpers import BLUE, RED, Coordination, Flaky, Whisper

GAMES: list[LanguageGame[Any]] = [
    Bluff(), Whisper(), Coordination(), make_game("tic_tac_toe-v0"), make_game("leduc_poker-v0"),
    make_game("red_team-v0"), make_game("running_sum-v0", max_thought_tokens=2),
]  # fmt: skip
NUM_ENVS = 5


def pair_of(game: LanguageGame[Any], *, player: Any, opponent: Any, mode: AutoresetMode) -> tuple[Any, Any]:
    """Return the vector form, and a stack of the single-player form."""
    vector = LanguageGameVectorEnv(game, NUM_ENVS, player=player, opponent=opponent, autoreset_mode=mode)
    makers = [lambda: SinglePlayerEnv(game, player=player, opponent=opponent)] * NUM_ENVS
    return vector, SyncVectorEnv(makers, autoreset_mode=mode)


def random_actions(observation: Any, rng: np.random.Generator) -> np.ndarray:
    """Return a legal token for each row, sometimes another."""
    masks = observation["action_mask"]
    tokens = [int(rng.choice(np.flatnonzero(mask))) if mask.any() else 1 for mask in masks]
    return np.where(rng.random(len(masks)) < 0.03, rng.integers(masks.shape[1], size=len(masks)), tokens)


@pytest.mark.parametrize("mode", AutoresetMode)
@pytest.mark.parametrize("player", [0, 1])
@pytest.mark.parametrize("game", GAMES, ids=lambda game: type(game).__name__)
def test_equal_seeds_and_actions_give_the_episodes_of_a_stack(
    game: LanguageGame[Any], player: int, mode: AutoresetMode
) -> None:
    """Observations, rewards, ends and infos, to the last bit, as Gymnasium's own stack has them in each mode."""
    envs = pair_of(game, player=player, opponent="random", mode=mode)
    assert envs[0].single_observation_space == envs[1].single_observation_space
    assert (envs[0].observation_space, envs[0].action_space) == (envs[1].observation_space, envs[1].action_space)
    assert envs[0].metadata["autoreset_mode"] is envs[1].metadata["autoreset_mode"] is mode
    first, second = (env.reset(seed=7) for env in envs)
    rng = np.random.default_rng(1)
    for _ in range(20):
        assert data_equivalence(first, second, exact=True)
        assert envs[0].observation_space.contains(first[0])
        actions = random_actions(first[0], rng)
        first, second = (env.step(actions) for env in envs)
        if mode is AutoresetMode.DISABLED and first[2].any():
            assert data_equivalence(first, second, exact=True)
            ended = first[2]
            first, second = (env.reset(options={"reset_mask": ended.copy()}) for env in envs)


class Coin:
    """An opponent that draws, for all views at once: not the stack's draws."""

    def speak(self, views: Sequence[View], rng: np.random.Generator) -> list[Utterance]:
        words = rng.choice([*FOLD, *CALL], size=len(views))
        return [Utterance((int(word),)) for word in words]


def test_opponent_that_draws_gives_a_stack_in_distribution() -> None:
    """Betting into a caller that calls half of the time pays -2, 1 and 2 as often as in a stack.

    The difference of two shares of 2,000 episodes has a standard error below 0.016.
    """
    shares = []
    for make in (
        lambda: LanguageGameVectorEnv(Bluff(), 200, opponent=Coin()),
        lambda: SyncVectorEnv([lambda: SinglePlayerEnv(Bluff(), opponent=Coin())] * 200),
    ):
        env: Any = make()
        env.reset(seed=0)
        rewards = np.concatenate([env.step(np.full(200, BET[0]))[1] for _ in range(20)][::2])
        shares.append([np.mean(rewards == reward) for reward in (-2.0, 1.0, 2.0)])
    assert shares[0] == pytest.approx(shares[1], abs=0.064)
    assert shares[0] == pytest.approx([0.25, 0.5, 0.25], abs=0.045)


def test_equal_seeds_give_equal_draws_of_the_opponent() -> None:
    """Other seeds give others; None goes on."""
    envs = LanguageGameVectorEnv(Bluff(), 50, opponent=Coin(), autoreset_mode=AutoresetMode.DISABLED)
    rewards = []
    for seed in (3, 3, 4, None):
        envs.reset(seed=seed, options={"deal": "ace"})
        rewards.append(envs.step(np.full(50, BET[0]))[1].tolist())
    assert rewards[0] == rewards[1]
    assert len({tuple(some) for some in rewards}) == 3


@pytest.mark.parametrize("opponent", [ScriptedAgent(["call"]), EchoAgent()], ids=["scripted", "echo"])
def test_scripted_opponents_give_the_episodes_of_a_stack(opponent: Speaker) -> None:
    """They draw nothing, so that only the deals are random; the echo says what is no legal turn."""
    vector, stack = pair_of(Bluff(), player=0, opponent=opponent, mode=AutoresetMode.NEXT_STEP)
    assert data_equivalence(vector.reset(seed=3), stack.reset(seed=3), exact=True)
    for _ in range(6):
        actions = np.full(NUM_ENVS, BET[0])
        assert data_equivalence(vector.step(actions), stack.step(actions), exact=True)
    seeds = [5, None, None, 6, None]  # None goes on with that episode's stream
    assert data_equivalence(vector.reset(seed=seeds), stack.reset(seed=seeds), exact=True)


def test_gymnasium_makes_it_by_name() -> None:
    """With options of the game, the seat, the opponent and the mode."""
    envs: Any = gymnasium.make_vec(
        "duologue/running_sum-v0", num_envs=4, player=1, opponent="random", autoreset_mode="SameStep", modulus=4
    )
    assert isinstance(envs, LanguageGameVectorEnv)
    assert (envs.num_envs, envs.player) == (4, 1)
    assert vars(envs.game)["modulus"] == 4
    assert envs.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP
    stack: Any = gymnasium.make_vec("duologue/running_sum-v0", num_envs=2, vectorization_mode="sync", player=1)
    assert isinstance(stack, SyncVectorEnv)


def test_deal_can_be_set_for_all() -> None:
    """As in the single-player form."""
    envs = LanguageGameVectorEnv(Bluff(), 3, opponent=ScriptedAgent(["call"]), render_mode="ansi")
    envs.reset(options={"deal": "ace"})
    assert envs.step(np.full(3, BET[0]))[1].tolist() == [2.0, 2.0, 2.0]
    assert all("caller: call" in text for text in envs.render() or ())


def test_observations_are_fresh_arrays() -> None:
    """What a learner keeps is not written over by the next step."""
    envs = LanguageGameVectorEnv(Bluff(), 3)
    observation, _ = envs.reset(seed=0)
    kept = observation["observation"].copy()
    envs.step(np.full(3, BET[0]))
    assert np.array_equal(observation["observation"], kept)


class Failing(ScriptedAgent):
    """Fails."""

    def speak(self, views: Any, rng: Any) -> Any:
        raise ConnectionError


def test_failing_opponent_leaves_no_half_played_episodes() -> None:
    """Only a reset goes on."""
    envs = LanguageGameVectorEnv(Bluff(), 3, opponent=Failing(["call"]))
    envs.reset(seed=0)
    with pytest.raises(ConnectionError):
        envs.step(np.full(3, BET[0]))
    with pytest.raises(RuntimeError, match=r"step: expected a call after reset\(\)"):
        envs.step(np.full(3, BET[0]))
    envs.reset()
    assert envs.step(np.full(3, FOLD[0]))[2].all()


@pytest.mark.parametrize("bad", [[BET[0]], [-1, 1, 1], [99, 1, 1], [1.0, 1.0, 1.0]])
def test_bad_actions_lose_nothing(bad: Any) -> None:
    """They are named, and the episodes go on as if they had not come."""
    envs = LanguageGameVectorEnv(Bluff(), 3, opponent=ScriptedAgent(["call"]))
    observations, _ = envs.reset(seed=0, options={"deal": "ace"})
    with pytest.raises((ValueError, TypeError), match="tokens: expected"):
        envs.step(bad)
    with pytest.raises(TypeError, match="unhashable"):
        envs.reset(options={"deal": ["ace"]})
    assert data_equivalence(envs._observe(), observations, exact=True)
    assert envs.step(np.full(3, BET[0]))[1].tolist() == [2.0, 2.0, 2.0]


def test_seeds_may_come_from_numpy() -> None:
    """As those of a sweep do."""
    envs = LanguageGameVectorEnv(Bluff(), 3)
    seed: Any = np.int64(4)
    assert data_equivalence(envs.reset(seed=seed), envs.reset(seed=4), exact=True)


@pytest.mark.parametrize(("failing", "earned_again"), [("rewards", 6.0), ("legal_tokens", 3.0)])
def test_rules_that_fail_at_an_action_lose_nothing(failing: str, earned_again: float) -> None:
    """The same actions can be said again; only a failure while the opponent speaks needs a reset."""
    game, failures, earned = Flaky(), 0, np.zeros(2)
    eos = game.vocabulary.eos_id
    envs = LanguageGameVectorEnv(game, 2, opponent=ScriptedAgent(["blue"]))
    envs.reset(seed=0, options={"deal": "red"})
    for actions in ([RED, BLUE], [eos, eos], [RED, BLUE], [eos, eos]):
        seen, game.failing = envs._observe(), failing
        try:
            envs.step(actions)
        except ConnectionError:
            failures += 1
            assert data_equivalence(envs._observe(), seen, exact=True)
            game.failing = None
            earned += envs.step(actions)[1]
    assert (failures, envs._ended.tolist()) == (2, [True, True])
    assert earned.tolist() == [earned_again] * 2  # turns 1 and 2, and turn 3; or turn 3 alone


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"player": 2}, "player: expected 0 or 1, got 2"),
        ({"opponent": "echo"}, 'opponent: expected "random" or an agent'),
        ({"autoreset_mode": "never"}, "'never' is not a valid AutoresetMode"),
        ({"render_mode": "human"}, 'render_mode: expected None or "ansi"'),
    ],
)
def test_bad_options_are_named(options: Any, message: str) -> None:
    """When the environment is made."""
    with pytest.raises(ValueError, match=message):
        LanguageGameVectorEnv(Bluff(), 2, **options)


def test_misuse_is_named() -> None:
    """Seeds and masks of another length, a step where a reset is due, a player who never speaks."""
    envs = LanguageGameVectorEnv(Bluff(), 2, autoreset_mode=AutoresetMode.DISABLED)
    with pytest.raises(RuntimeError, match="expected a reset of all episodes before"):
        envs.reset(options={"reset_mask": np.array([True, False])})
    with pytest.raises(ValueError, match="seed: expected an int or 2 of them, got 3"):
        envs.reset(seed=[1, 2, 3])
    envs.reset(seed=[1, None])
    with pytest.raises(ValueError, match="reset_mask: expected 2 booleans"):
        envs.reset(options={"reset_mask": np.array([True])})
    envs.step(np.full(2, FOLD[0]))
    with pytest.raises(RuntimeError, match=r"step: expected a reset of the episodes that ended, \[0, 1\]"):
        envs.step(np.full(2, FOLD[0]))
    with pytest.raises(RuntimeError, match="reset: player 1 was never to speak in 1000 deals"):
        LanguageGameVectorEnv(Bluff(), 2, player=1, opponent=ScriptedAgent(["fold"])).reset(seed=0)
