"""Every registered game keeps the contracts of PettingZoo, Gymnasium, Stable-Baselines3 and this package."""

import warnings
from functools import partial
from typing import Any

import gymnasium
import pettingzoo
import pytest
import stable_baselines3.common.env_checker
from gymnasium.utils.env_checker import check_env
from pettingzoo import AECEnv, ParallelEnv
from pettingzoo.utils.conversions import turn_based_aec_to_parallel

import duologue.envs
from duologue.envs import LanguageGame, LanguageGameEnv
from duologue.envs.testing.conformance import CHECKS, Check, ConformanceError, check_batches, check_game, check_no_leak
from duologue.tests.envs.helpers import (
    Coordination,
    LeakyMask,
    LeakyMemory,
    LeakyThought,
    LeakyThoughtMask,
    LeakyUnheardTurn,
    TooManyTurns,
    Whisper,
    WrongBatch,
    WrongPayoff,
)

with warnings.catch_warnings():
    # PettingZoo's tests import a game of its own by a name that it has itself declared deprecated.
    warnings.simplefilter("ignore", DeprecationWarning)
    from pettingzoo.test import api_test, parallel_api_test, parallel_seed_test, render_test, seed_test

GAMES = duologue.envs.registered_games()
TOYS: list[type[LanguageGame[Any]]] = [Whisper, Coordination]

# PettingZoo lists by name the environments whose observation may be a Dict space; ours is none of them.
NO_BOX = "ignore:Observation space for each agent probably should be gymnasium.spaces.box"
NO_ARRAY = "ignore:Observation is not a NumPy array"
# A silent player's mask is all zero by PettingZoo's own convention; its test warns all the same.
ALL_ZERO = "ignore:Action mask numpy array is all zeros"


def make(name: str, **options: Any) -> LanguageGameEnv[Any]:
    """Make a registered game with options that suit a test."""
    return duologue.envs.make(name, **options)


def parallel(name: str) -> ParallelEnv[str, Any, Any]:
    """Make a registered game in PettingZoo's parallel form."""
    env: AECEnv[str, Any, Any] = make(name)
    return turn_based_aec_to_parallel(env)


@pytest.fixture(params=GAMES)
def name(request: pytest.FixtureRequest) -> str:
    """Every registered game in turn."""
    return str(request.param)


@pytest.mark.filterwarnings(NO_BOX, NO_ARRAY, ALL_ZERO)
def test_pettingzoo_api(name: str) -> None:
    """`api_test` plays random legal episodes and checks the bookkeeping of the AEC form."""
    api_test(make(name), num_cycles=200)


def test_pettingzoo_seeds(name: str) -> None:
    """`seed_test`: the same seed and actions give the same observations and rewards."""
    seed_test(lambda: make(name), num_cycles=200)


def test_pettingzoo_render(name: str) -> None:
    """`render_test`: "ansi" returns text, "human" prints it."""
    render_test(partial(make, name))  # type: ignore[arg-type]


def test_pettingzoo_parallel_through_the_turn_based_wrapper(name: str) -> None:
    """One player at a time acts; the wrapper gives the parallel form of a strictly turn-based game."""
    parallel_api_test(parallel(name), num_cycles=200)
    parallel_seed_test(lambda: parallel(name), num_cycles=200)


def test_both_registries_know_the_game(name: str) -> None:
    """`pettingzoo.make` and `gymnasium.make` reach what `duologue.envs.make` makes."""
    aec = pettingzoo.make("aec", f"duologue/{name}")
    assert isinstance(aec.unwrapped, LanguageGameEnv)
    single = gymnasium.make(f"duologue/{name}", player=1, opponent="random")
    assert isinstance(single.unwrapped, duologue.envs.SinglePlayerEnv)
    assert single.unwrapped.player == 1


@pytest.mark.parametrize("player", [0, 1])
def test_gymnasium_check_env(name: str, player: int) -> None:
    """Gymnasium's checker on the single-player form, for each seat."""
    env = gymnasium.make(f"duologue/{name}", player=player)
    check_env(env.unwrapped)


@pytest.mark.parametrize("player", [0, 1])
def test_stable_baselines3_check_env(name: str, player: int) -> None:
    """Stable-Baselines3's checker on the single-player form, for each seat."""
    env = gymnasium.make(f"duologue/{name}", player=player)
    stable_baselines3.common.env_checker.check_env(env.unwrapped)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_registered_game_passes(name: str, check: Check) -> None:
    """The package's own suite, over the registry."""
    check(duologue.envs.make_game(name))


@pytest.mark.parametrize("toy", TOYS)
def test_toy_game_passes(toy: type[LanguageGame[Any]]) -> None:
    """Thoughts, unheard turns, announcements, rewards at any turn, deals that cannot be listed."""
    check_game(toy())


@pytest.mark.parametrize("leaky", [LeakyMask, LeakyThought, LeakyThoughtMask, LeakyUnheardTurn, LeakyMemory])
def test_planted_leak_is_found(leaky: type[LanguageGame[Any]]) -> None:
    """The leak check is worth something only if it fails where there is a leak."""
    with pytest.raises(ConformanceError, match=f"{leaky.__name__}: expected"):
        check_no_leak(leaky())


def test_leak_of_the_environment_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A leak need not be in the rules: here the environment writes the deal into padding."""
    observe = LanguageGameEnv.observe

    def leaky_observe(env: LanguageGameEnv[Any], agent: str) -> Any:
        observation = observe(env, agent)
        observation["observation"][-1] = env.dialogue.deal == "red"
        return observation

    monkeypatch.setattr(LanguageGameEnv, "observe", leaky_observe)
    with pytest.raises(ConformanceError, match="equal observations"):
        check_no_leak(Whisper())


def test_wrong_payoff_type_is_found() -> None:
    """The engine checks the payoff type at every reward, so that any check finds it."""
    with pytest.raises(ValueError, match=r"WrongPayoff.rewards: expected a zero_sum pair, got"):
        check_game(WrongPayoff())


def test_wrong_batch_is_found() -> None:
    """A judge that returns verdicts in another order pays the wrong episodes."""
    with pytest.raises(ConformanceError, match="WrongBatch: expected rewards_batch to give"):
        check_batches(WrongBatch())


def test_game_that_goes_on_too_long_is_found() -> None:
    """Observation length follows from `max_turns`, so one more turn must not be possible."""
    with pytest.raises(ValueError, match="TooManyTurns: expected the end after max_turns=2"):
        check_game(TooManyTurns())
