"""What the batched form costs: tokens a second beside the AEC form, memory an episode, and how time grows."""

from __future__ import annotations

import gc
import statistics
import time
import tracemalloc
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...envs.batched.game import BatchedGame
from ...envs.game import LanguageGame
from ...envs.interfaces.aec import LanguageGameEnv
from .envs_games import Chat, scripted_turns

NUM_EPISODES = 4_096
NUM_SCRIPTS = 2
REPETITIONS = 5
SCALES: dict[str, tuple[int, ...]] = {
    "episodes": (512, 1_024, 2_048, 4_096, 8_192, 16_384),
    "turn length": (32, 64, 128, 256, 512, 1_024),
    "context length": (128, 256, 512, 1_024, 2_048, 4_096),
    "turns": (2, 4, 8, 16, 32, 64),
    "vocabulary": (1_000, 4_000, 16_000, 32_000, 64_000, 152_000),
}
"""By which size the time is measured, and its values."""


@dataclass(frozen=True, slots=True)
class Throughput:
    """Tokens a second of one game, one core."""

    name: str
    turn_tokens: int
    batched: float
    """Turns said in one call, by players with a few scripts."""
    by_token: float
    """The same, token by token."""
    all_new: float
    """Turns that nobody has said before, so that the rules are asked about each."""
    aec: float
    """`last` and `step` of the AEC form."""

    @property
    def ratio(self) -> float:
        """How many times the AEC form the batched one is."""
        return self.batched / self.aec


@dataclass(frozen=True, slots=True)
class Scaling:
    """Time against one size."""

    name: str
    form: str
    """ "batched": of all episodes in lockstep, from the deal to the end; "aec": of one token."""
    sizes: tuple[int, ...]
    seconds: tuple[float, ...]

    @property
    def exponent(self) -> float:
        """The slope of the logarithms over the upper half: 1 for a straight line, 2 for a quadratic."""
        half = max(2, len(self.sizes) // 2)
        return float(np.polyfit(np.log(self.sizes[-half:]), np.log(self.seconds[-half:]), 1)[0])

    @property
    def straightness(self) -> float:
        """R^2 of a straight line through the points."""
        residual = np.polyfit(self.sizes, self.seconds, 1, full=True)[1]
        spread = float(np.sum((np.array(self.seconds) - np.mean(self.seconds)) ** 2))
        return 1 - float(residual.sum()) / spread


def measure_throughput(name: str, game: LanguageGame[Any], num_episodes: int) -> Throughput:
    """Play scripts in all forms, taking turns, medians; every episode is dealt anew when it ends."""
    scripts, rng = np.array(scripted_turns(game, NUM_SCRIPTS)), np.random.default_rng(0)
    words = np.flatnonzero(game.vocabulary.sayable_mask)
    turns = [scripts[rng.integers(NUM_SCRIPTS, size=num_episodes)] for _ in range(8)]
    plays, by_token, new = (BatchedGame(game, num_episodes, seed=0) for _ in range(3))
    env = LanguageGameEnv(game)
    lengths = np.full(num_episodes, game.max_turn_tokens)
    drawn = [rng.choice(words, turns[0].shape) for _ in range(REPETITIONS + 3)]

    def by_turns() -> None:
        for said in turns:
            plays.speak(said, lengths)

    def by_tokens() -> None:
        for column in turns[0].T:
            by_token.step(column)

    def one_new_turn() -> None:
        new.speak(drawn.pop(), lengths)

    calls: list[Callable[[], object]] = [by_turns, by_tokens, one_new_turn, lambda: _play_aec(env, turns[0][:64])]
    tokens = (8 * lengths.sum(), lengths.sum(), lengths.sum(), lengths[:64].sum())
    times: list[list[float]] = [[] for _ in calls]
    for _ in range(REPETITIONS + 3):  # the first three fill what is remembered
        for call, seconds in zip(calls, times, strict=True):
            seconds.append(_cpu_seconds(call))
    rates = [float(said) / statistics.median(seconds[3:]) for said, seconds in zip(tokens, times, strict=True)]
    return Throughput(name, game.max_turn_tokens, *rates)


def bytes_per_episode(game: LanguageGame[Any], num_episodes: int) -> tuple[float, float]:
    """Return what one more episode takes, and how much of that are its own tokens (both views), in bytes.

    Both are differences between `num_episodes` and half of them, after scripted play, all masks asked for once.
    """
    sizes = (num_episodes // 2, num_episodes)
    taken = [_bytes_taken(game, size) for size in sizes]
    more = sizes[1] - sizes[0]
    return (taken[1][0] - taken[0][0]) / more, (taken[1][1] - taken[0][1]) / more


def measure_scalings() -> list[Scaling]:
    """Measure how time grows with each size, the others fixed."""
    makers: dict[str, Callable[[int], tuple[Chat, int]]] = {
        "episodes": lambda size: (Chat(), size),
        "turn length": lambda size: (Chat(turn_tokens=size), 256),
        "context length": lambda size: (Chat(briefing_tokens=size), 256),
        "turns": lambda size: (Chat(num_turns=size), 256),
        "vocabulary": lambda size: (Chat(vocabulary_size=size), 1_024),
    }
    found = []
    for name, sizes in SCALES.items():
        times = [_batched_seconds(*makers[name](size)) for size in sizes]
        found.append(Scaling(name, "batched", sizes, tuple(times)))
    for name in ("context length", "vocabulary"):
        times = [_aec_seconds(makers[name](size)[0]) for size in SCALES[name]]
        found.append(Scaling(name, "aec", SCALES[name], tuple(times)))
    return found


def _batched_seconds(game: LanguageGame[Any], num_episodes: int) -> float:
    """Return the time of one lockstep episode of scripts, the dealing included."""
    plays, scripts = BatchedGame(game, num_episodes, seed=0), scripted_turns(game, 1)
    turn, lengths = np.tile(scripts[0], (num_episodes, 1)), np.full(num_episodes, game.max_turn_tokens)

    def episode() -> None:
        for _ in range(game.max_turns):
            plays.speak(turn, lengths)

    return _median_seconds(episode)


def _aec_seconds(game: LanguageGame[Any]) -> float:
    """Return the time of one token."""
    env, turns = LanguageGameEnv(game), np.array(scripted_turns(game, 16))
    return _median_seconds(lambda: _play_aec(env, turns)) / turns.size


def _play_aec(env: LanguageGameEnv[Any], turns: NDArray[np.int64]) -> None:
    """Say turns, starting anew when an episode ends."""
    env.reset(seed=0)
    for turn in turns.tolist():
        if env.terminations["player_0"]:
            env.reset()
        for token in turn:
            env.last()
            env.step(token)


def _bytes_taken(game: LanguageGame[Any], num_episodes: int) -> tuple[int, int]:
    """Return what a batch takes, and its views alone."""
    scripts = np.array(scripted_turns(game, NUM_SCRIPTS))
    gc.collect()
    tracemalloc.start()
    try:
        plays = BatchedGame(game, num_episodes, seed=0)
        for k in range(4 * game.max_turns):
            said = scripts[(np.arange(num_episodes) + k) % NUM_SCRIPTS]
            plays.speak(said, np.full(num_episodes, game.max_turn_tokens))
        plays.legal_masks()
        del said
        gc.collect()
        return tracemalloc.get_traced_memory()[0], plays.views.nbytes
    finally:
        tracemalloc.stop()


def _median_seconds(call: Callable[[], object]) -> float:
    call()
    once = _cpu_seconds(call)
    num_calls = max(1, int(0.02 / max(once, 1e-6)))
    return statistics.median(_cpu_seconds(call, num_calls) for _ in range(REPETITIONS))


def _cpu_seconds(call: Callable[[], object], num_calls: int = 1) -> float:
    start = time.process_time()
    for _ in range(num_calls):
        call()
    return (time.process_time() - start) / num_calls


def line_of(scaling: Scaling) -> Sequence[str]:
    """Return the cells of a table: form, size, from and to, times, exponent, straightness."""
    unit = "ms" if scaling.form == "batched" else "us"
    factor = 1e3 if scaling.form == "batched" else 1e6
    return (
        scaling.form,
        scaling.name,
        f"{scaling.sizes[0]:,} to {scaling.sizes[-1]:,}",
        f"{factor * scaling.seconds[0]:.3g} to {factor * scaling.seconds[-1]:.3g} {unit}",
        f"{scaling.exponent:.2f}",
        "flat" if max(scaling.seconds) < 1.5 * min(scaling.seconds) else f"{scaling.straightness:.4f}",
    )
