"""A guest that draws from the global generators is decided by its deal, and leaves the caller's draws alone."""

import copy
import pickle
import random
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from duologue.envs import Episode, LanguageGameEnv, Payoff, RandomAgent, WordVocabulary, speak_all
from duologue.envs.batched.game import BatchedGame
from duologue.envs.bridges.generators import generator_states, lent_generators
from duologue.envs.bridges.textarena import TextArenaGame
from duologue.envs.testing.conformance import check_game

WORDS = WordVocabulary("up down 0 1 2 3 4 5 6 7")


class Dice:
    """An environment as TextArena has them, whose every call draws from all three global generators."""

    def __init__(self) -> None:
        """Draw already when it is made."""
        self.offset = _drawn()
        self.state: Any = None

    def reset(self, num_players: int, seed: int) -> None:
        """Take no notice of the seed, as some games do."""
        assert num_players == 2
        self.state = SimpleNamespace(
            observations={0: [], 1: []}, done=False, rewards=None, current_player_id=0, turns=0
        )
        self._tell()

    def step(self, action: str) -> tuple[bool, dict[str, Any]]:
        """Count the turn; after four the dice say who wins."""
        state = self.state
        state.turns, state.current_player_id = state.turns + 1, 1 - state.current_player_id
        self._tell()
        if state.turns == 4:
            reward = 1 if (_drawn() + self.offset + (action == "[up]")) % 2 else -1
            state.done, state.rewards = True, {0: reward, 1: -reward}
        return state.done, {}

    def _tell(self) -> None:
        for player in (0, 1):
            self.state.observations[player].append((-1, str(_drawn())))


def _drawn() -> int:
    numbers = random.randrange(8), np.random.randint(8), int(torch.randint(8, ()))  # noqa: NPY002
    return sum(numbers) % 8


def standing() -> tuple[Any, bytes, bytes]:
    """Return where the caller's generators stand, in a form that compares."""
    states = generator_states()
    return states.python, pickle.dumps(states.numpy), states.torch.numpy().tobytes()


def fail_inside() -> None:
    """Draw as a guest, and be interrupted."""
    with lent_generators(3):
        _drawn()
        raise KeyboardInterrupt


def legal(env: Any) -> list[str]:
    """Let both words be said, and draw for nothing."""
    _drawn()
    return ["up", "down"]


def dice() -> TextArenaGame:
    """Return the game of the guest; its own cache is empty."""
    return TextArenaGame(
        Dice,
        WORDS,
        listen=str,
        say="[{}]".format,
        legal=legal,
        payoff=Payoff.ZERO_SUM,
        max_turns=4,
        max_turn_tokens=1,
        max_told_tokens=1,
    )


def transcript(game: TextArenaGame, deal: int, num_up: int = 4) -> str:
    """Return an episode in which "up" is said so many times, then "down"."""
    env = LanguageGameEnv(game)
    env.reset(options={"deal": deal})
    for turn in range(4):
        env.step(WORDS.encode("up" if turn < num_up else "down")[0])
    return env.transcript()


def test_the_deal_decides_what_a_guest_draws() -> None:
    """Whatever the caller's generators, whatever was played before: another game object tells the same."""
    episodes = {transcript(dice(), deal) for deal in range(8)}
    assert len(episodes) > 4
    shared = dice()
    for deal in (3, 1, 3):
        random.seed(99), np.random.seed(99), torch.manual_seed(99)  # noqa: NPY002
        alone = transcript(dice(), deal)
        _drawn()
        transcript(shared, deal, num_up=2)
        assert transcript(shared, deal) == alone


def test_the_callers_generators_are_left_alone() -> None:
    """By resets, steps, masks and failures, in every form."""
    random.seed(5), np.random.seed(5), torch.manual_seed(5)  # noqa: NPY002
    before = standing()
    transcript(dice(), 1)
    plays = BatchedGame(dice(), 4, seed=0)
    for _ in range(6):
        plays.step(plays.legal_masks().argmax(1))
    episode = Episode(dice(), 2)
    speak_all([episode], RandomAgent().speak([episode.view()], np.random.default_rng(0)))
    unseeded: Any = "x"
    with pytest.raises(TypeError, match="deal: expected an integer, got 'x'"):
        Episode(dice(), unseeded)
    assert standing() == before


def test_a_guest_that_draws_conforms() -> None:
    """The suite asks all rules twice, and copies and pickles what it plays."""
    check_game(dice(), episodes=4)


def test_generators_are_put_back_when_the_guest_fails() -> None:
    """Also by an interrupt."""
    before = standing()
    with pytest.raises(KeyboardInterrupt):
        fail_inside()
    assert standing() == before


def test_states_go_on_where_they_stood() -> None:
    """What a position keeps: later draws from it are the same each time."""
    with lent_generators(3):
        _drawn()
        states = copy.deepcopy(generator_states())
        later = [_drawn() for _ in range(3)]
    for _ in range(2):
        with lent_generators(states):
            assert [_drawn() for _ in range(3)] == later
