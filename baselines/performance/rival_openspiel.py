"""Turns a second on tic-tac-toe: the batched form beside OpenSpiel's C++ game, stepped from Python."""

from __future__ import annotations

import importlib
import time
from collections.abc import Sequence
from typing import Any

from ...envs.games.tic_tac_toe import SQUARES, TicTacToe
from ...envs.vocabulary import Tokens
from .rivals import TurnRates, compare_turns

NUM_ROUNDS = 20
"""How often OpenSpiel plays the recorded games in one measurement."""


def compare_on_tic_tac_toe(num_episodes: int) -> TurnRates:
    """Play the same recorded games here and there.

    Looked at, OpenSpiel is asked what the batched form always keeps: observations and rewards of both players, the
    mover and its mask at every turn. Otherwise it makes a state for each game and applies each turn, no more.

    Raises:
        ImportError: OpenSpiel is missing.
    """
    spiel_game = _pyspiel().load_game("tic_tac_toe")
    return compare_turns(TicTacToe(), num_episodes, lambda games, look: _spiel_rate(spiel_game, games, look=look))


def _spiel_rate(spiel_game: Any, games: Sequence[Tokens], *, look: bool) -> float:
    """Return the turns per second of OpenSpiel; its squares are numbered as ours are."""
    numbers = [[SQUARES.index(token) for token in tokens] for tokens in games]
    start = time.process_time()
    for _ in range(NUM_ROUNDS):
        for squares in numbers:
            state = spiel_game.new_initial_state()
            for square in squares:
                if look:
                    state.legal_actions_mask(state.current_player())
                    state.observation_tensor(0)
                    state.observation_tensor(1)
                    state.rewards()
                state.apply_action(square)
            assert state.is_terminal()
    return NUM_ROUNDS * sum(map(len, games)) / (time.process_time() - start)


def _pyspiel() -> Any:
    try:
        return importlib.import_module("pyspiel")
    except ImportError as error:
        raise ImportError(f"OpenSpiel: expected pyspiel, got {error}; pip install open_spiel") from error
