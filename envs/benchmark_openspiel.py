"""Turns a second on tic-tac-toe: the batched form beside OpenSpiel's C++ game, stepped from Python."""

from __future__ import annotations

import importlib
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .batched import BatchedGame
from .batched_tables import Numbers
from .games.tic_tac_toe import SQUARES, TicTacToe
from .plays import random_play

NUM_GAMES = 64
REPETITIONS = 7


@dataclass(frozen=True, slots=True)
class SpielComparison:
    """Turns per second of one core."""

    ours: float
    """Views and rewards of both players and who speaks, which are always kept, and the mask at every turn."""
    theirs: float
    """The same of OpenSpiel: observations and rewards of both players, the mover and its mask at every turn."""
    theirs_unseen: float
    """A new state for each game and `apply_action` for each turn, with nothing looked at."""


def compare_on_tic_tac_toe(num_episodes: int) -> SpielComparison:
    """Play the same recorded games in all three ways; medians of alternating repetitions.

    Raises:
        ImportError: OpenSpiel is missing.
    """
    games = recorded_games(NUM_GAMES)
    plays, turns = BatchedGame(TicTacToe(), num_episodes, seed=0, autoreset=False), _by_turn(games, num_episodes)
    spiel_game = _pyspiel().load_game("tic_tac_toe")
    rates: tuple[list[float], list[float], list[float]] = ([], [], [])
    for _ in range(REPETITIONS + 1):
        rates[0].append(_our_rate(plays, turns))
        rates[1].append(_spiel_rate(spiel_game, games, look=True))
        rates[2].append(_spiel_rate(spiel_game, games, look=False))
    return SpielComparison(*(statistics.median(each[1:]) for each in rates))  # the first ones warm up


def recorded_games(num_games: int) -> list[list[int]]:
    """Return games of random legal turns, as numbers of squares."""
    game, rng = TicTacToe(), np.random.default_rng(0)
    plays = [random_play(game, None, rng, eos_share=0.0) for _ in range(num_games)]
    return [[SQUARES.index(token) for token in play.tokens] for play in plays]


def _by_turn(games: Sequence[Sequence[int]], num_episodes: int) -> list[tuple[Numbers, Numbers, Numbers]]:
    """Return which episodes speak at each turn, what, and how long that is; the games are dealt out in order."""
    mine, turns = [games[k % len(games)] for k in range(num_episodes)], []
    for turn in range(max(map(len, mine))):
        rows = np.array([k for k, squares in enumerate(mine) if len(squares) > turn])
        tokens = np.array([[SQUARES[mine[k][turn]]] for k in rows.tolist()])
        turns.append((rows, tokens, np.ones(len(rows), dtype=np.int64)))
    return turns


def _our_rate(plays: BatchedGame[Any], turns: Sequence[tuple[Numbers, Numbers, Numbers]]) -> float:
    start = time.process_time()
    plays.reset()
    for rows, tokens, lengths in turns:
        plays.legal_masks()
        plays.speak(tokens, lengths, rows)
    rate = sum(len(rows) for rows, *_ in turns) / (time.process_time() - start)
    assert plays.over.all()
    return rate


def _spiel_rate(spiel_game: Any, games: Sequence[Sequence[int]], *, look: bool) -> float:
    """Return the turns per second of OpenSpiel; its squares are numbered as ours are."""
    start = time.process_time()
    for _ in range(20):
        for squares in games:
            state = spiel_game.new_initial_state()
            for square in squares:
                if look:
                    state.legal_actions_mask(state.current_player())
                    state.observation_tensor(0)
                    state.observation_tensor(1)
                    state.rewards()
                state.apply_action(square)
            assert state.is_terminal()
    return 20 * sum(map(len, games)) / (time.process_time() - start)


def _pyspiel() -> Any:
    try:
        return importlib.import_module("pyspiel")
    except ImportError as error:
        raise ImportError(f"OpenSpiel: expected pyspiel, got {error}; pip install open_spiel") from error
