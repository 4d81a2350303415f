"""The mask in the info: everything else as in the forms inside."""

import warnings
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from sb3_contrib.common.maskable.utils import get_action_masks

from duologue.envs import (  # fmt: skip
    AGENT_IDS,
    GymnasiumMaskToInfo,
    LanguageGame,
    LanguageGameEnv,
    MaskToInfo,
    SinglePlayerEnv,
    make_game,
)
from duologue.envs.games.bluff import Bluff
from duologue.tests.envs.helpers import Coordination, Whisper

with warnings.catch_warnings():
    # PettingZoo's tests import a game of its own by a name that it has itself declared deprecated.
    warnings.simplefilter("ignore", DeprecationWarning)
    from pettingzoo.test import api_test, seed_test

GAMES: list[LanguageGame[Any]] = [Bluff(), Whisper(), Coordination(), make_game("tic_tac_toe-v0")]
game_ids: Any = {"ids": lambda game: type(game).__name__}


@pytest.mark.parametrize("game", GAMES, **game_ids)
def test_aec_form_keeps_all_but_the_place_of_the_mask(game: LanguageGame[Any]) -> None:
    """Observation, mask, rewards, ends and order, for both agents after each token."""
    plain, moved, rng = LanguageGameEnv(game), MaskToInfo(LanguageGameEnv(game)), np.random.default_rng(0)
    for seed in range(5):
        plain.reset(seed=seed)
        moved.reset(seed=seed)
        for agent_id in plain.agent_iter():
            assert moved.agent_selection == agent_id
            for agent in plain.agents:
                inside = plain.observe(agent)
                assert np.array_equal(moved.observe(agent), inside["observation"])
                assert np.array_equal(moved.infos[agent]["action_mask"], inside["action_mask"])
            assert moved.last()[1:4] == plain.last()[1:4]
            mask = moved.last()[4]["action_mask"]
            token = int(rng.choice(np.flatnonzero(mask))) if mask.any() else None
            plain.step(token)
            moved.step(token)
        assert moved.agents == []


@pytest.mark.filterwarnings("ignore:Action mask numpy array is all zeros")
@pytest.mark.parametrize("game", GAMES, **game_ids)
def test_pettingzoo_finds_the_mask_and_nothing_wrong(game: LanguageGame[Any]) -> None:
    """Its suite plays by `infos[agent]["action_mask"]`, and so never forfeits."""
    env = MaskToInfo(LanguageGameEnv(game))
    api_test(env, num_cycles=30)
    seed_test(lambda: MaskToInfo(LanguageGameEnv(game)), num_cycles=10)
    for agent_id in AGENT_IDS:
        env.reset(seed=0)
        assert env.observation_space(agent_id).contains(env.observe(agent_id))


@pytest.mark.parametrize("game", GAMES, **game_ids)
def test_single_player_form_keeps_all_but_the_place_of_the_mask(game: LanguageGame[Any]) -> None:
    """Observation, mask, reward and end after each token."""
    plain, moved, rng = SinglePlayerEnv(game), GymnasiumMaskToInfo(SinglePlayerEnv(game)), np.random.default_rng(0)
    for seed in range(5):
        inside, _ = plain.reset(seed=seed)
        view, info = moved.reset(seed=seed)
        ended = False
        while not ended:
            assert np.array_equal(view, inside["observation"])
            assert np.array_equal(info["action_mask"], inside["action_mask"])
            token = rng.choice(np.flatnonzero(info["action_mask"]))
            inside, *rest, _ = plain.step(token)
            view, *same, info = moved.step(token)
            assert rest == same
            ended = bool(rest[1])


@pytest.mark.filterwarnings("ignore:.*is different from the unwrapped version")
def test_gymnasium_finds_nothing_wrong_and_maskable_ppo_still_finds_the_mask() -> None:
    """Its checker, and the function by which sb3-contrib asks for masks."""
    env = GymnasiumMaskToInfo(gymnasium.make("duologue/bluff-v0"))
    check_env(env, skip_render_check=True)
    _, info = env.reset(seed=0)
    assert np.array_equal(get_action_masks(env), info["action_mask"].astype(bool))


def test_environment_without_a_mask_is_refused() -> None:
    """The error shows what its observations are."""
    with pytest.raises(ValueError, match=r"env: expected observations with the keys .* got Box\("):
        MaskToInfo(MaskToInfo(LanguageGameEnv(Bluff())))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"got Discrete\(48\)"):
        GymnasiumMaskToInfo(gymnasium.make("CliffWalking-v1"))
