"""What the comparisons with other libraries share: games of turns of one token, and the batched form's speed."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...envs.batched.game import BatchedGame
from ...envs.batched.tables import Numbers
from ...envs.engine.plays import random_play
from ...envs.game import LanguageGame
from ...envs.vocabulary import Tokens

NUM_GAMES = 64
REPETITIONS = 7


@dataclass(frozen=True, slots=True)
class TurnRates:
    """Turns per second of one core, ours and another library's, on the same recorded games."""

    ours: float
    """Views and rewards of both players and who speaks, which are always kept, and the mask at every turn."""
    theirs: float
    """With what a player needs looked at, as the comparison says."""
    theirs_unseen: float
    """With nothing looked at: every turn is said, and that is all."""

    @property
    def ratio(self) -> float:
        """How many times as fast ours is where both are looked at."""
        return self.ours / self.theirs

    @property
    def ratio_unseen(self) -> float:
        """How many times as fast ours is, looked at, as theirs with nothing looked at."""
        return self.ours / self.theirs_unseen


def compare_turns(
    game: LanguageGame[Any], num_episodes: int, rival: Callable[[Sequence[Tokens], bool], float]
) -> TurnRates:
    """Play recorded games in the batched form and elsewhere; medians of repetitions that take turns.

    Args:
        game: the rules, whose turns are one token; which are legal does not depend on the deal.
        num_episodes: how many the batched form plays at once.
        rival: returns the other library's turns per second on the games, looked at or not.
    """
    games = recorded_games(game, NUM_GAMES)
    plays, turns = BatchedGame(game, num_episodes, seed=0, autoreset=False), _by_turn(games, num_episodes)
    rates: tuple[list[float], list[float], list[float]] = ([], [], [])
    for _ in range(REPETITIONS + 1):
        rates[0].append(_our_rate(plays, turns))
        rates[1].append(rival(games, True))
        rates[2].append(rival(games, False))
    return TurnRates(*(statistics.median(measured[1:]) for measured in rates))  # the first ones warm up


def recorded_games(game: LanguageGame[Any], num_games: int) -> list[Tokens]:
    """Return games of random legal turns, each as its tokens."""
    rng = np.random.default_rng(0)
    return [random_play(game, game.deals.sample(rng), rng, eos_share=0.0).tokens for _ in range(num_games)]


def _by_turn(games: Sequence[Tokens], num_episodes: int) -> list[tuple[Numbers, Numbers, Numbers]]:
    """Return which episodes speak at each turn, what, and how long that is; the games are dealt out in order."""
    mine, turns = [games[k % len(games)] for k in range(num_episodes)], []
    for turn in range(max(map(len, mine))):
        rows = np.array([k for k, tokens in enumerate(mine) if len(tokens) > turn])
        said = np.array([[mine[k][turn]] for k in rows.tolist()])
        turns.append((rows, said, np.ones(len(rows), dtype=np.int64)))
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
