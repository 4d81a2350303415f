"""The benchmark behind `make bench`: steps per second of `last` and `step`, beside PettingZoo's tictactoe.

Both environments play recorded episodes of legal actions, so that choosing them costs nothing; a reset an
episode is included. The two alternate several times in one process, and each counts with its median.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pettingzoo import AECEnv

from .registry import make

GOAL = 6.0
NUM_EPISODES = {"red_team-v0": 400, "tictactoe_v3": 250}
"""Recorded episodes of each, so that a repetition of either lasts about as long."""

Episodes = list[list[int]]


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of `bench.json`: a ratio of which more is better, with the value it should reach."""

    name: str
    value: float
    goal: float
    unit: str


def record_episodes(env: AECEnv[str, Any, Any], num_episodes: int) -> Episodes:
    """Return the actions of uniformly random legal play; a first `reset(seed=0)` fixes all deals."""
    rng = np.random.default_rng(0)
    return [_record_episode(env, rng, first=k == 0) for k in range(num_episodes)]


def actions_per_second(env: AECEnv[str, Any, Any], episodes: Episodes) -> float:
    """Play recorded episodes through `reset`, `last`, `step`; return actions per second of CPU time."""
    start = time.process_time()
    for k, actions in enumerate(episodes):
        env.reset(seed=None if k else 0)
        for action in actions:
            env.last()
            env.step(action)
    return sum(map(len, episodes)) / (time.process_time() - start)


def compare(env: AECEnv[str, Any, Any], *, num_repetitions: int = 7) -> tuple[float, float]:
    """Return the actions per second of `env` and of tictactoe: medians of alternating repetitions."""
    rival = tictactoe()
    ours = record_episodes(env, NUM_EPISODES["red_team-v0"])
    theirs = record_episodes(rival, NUM_EPISODES["tictactoe_v3"])
    pairs = [(actions_per_second(env, ours), actions_per_second(rival, theirs)) for _ in range(num_repetitions + 1)][
        1:
    ]  # the first warms up
    return statistics.median(pair[0] for pair in pairs), statistics.median(pair[1] for pair in pairs)


def tictactoe() -> AECEnv[str, Any, Any]:
    """Return PettingZoo's tictactoe in its usual wrappers.

    Raises:
        ImportError: pygame is missing, which tictactoe needs and this package does not.
    """
    os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
    try:
        module = importlib.import_module("pettingzoo.classic.tictactoe.tictactoe")
    except ImportError as error:
        raise ImportError(f"tictactoe: expected pygame, got {error}; pip install pygame") from error
    env: AECEnv[str, Any, Any] = module.env()
    return env


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, print a table and write `bench.json`."""
    parser = argparse.ArgumentParser(prog="python -m duologue.envs.benchmark", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("bench.json"), help="file to write (default: bench.json)")
    arguments = parser.parse_args(argv)
    env = make("red_team-v0")
    ours, theirs = compare(env)
    size, length = env.game.vocabulary.size, env.game.max_view_tokens
    print(f"{'environment':<16}{'vocabulary':>12}{'view tokens':>13}{'steps per second':>18}")
    print(f"{'red_team-v0':<16}{size:>12}{length:>13}{ours:>18,.0f}")
    print(f"{'tictactoe_v3':<16}{9:>12}{'':>13}{theirs:>18,.0f}")
    figure = Figure("aec_steps_vs_tictactoe", round(ours / theirs, 2), GOAL, "times")
    print(f"\n{figure.name}: {figure.value} {figure.unit}, goal {figure.goal}")
    write_figures(arguments.out, [figure])
    print(f"written to {arguments.out}")


def write_figures(path: Path, figures: Sequence[Figure]) -> None:
    """Write the figures as JSON, whole or not at all."""
    partial = path.with_name(f"{path.name}.partial")
    partial.write_text(json.dumps([asdict(figure) for figure in figures], indent=2) + "\n", encoding="utf-8")
    partial.replace(path)


def _record_episode(env: AECEnv[str, Any, Any], rng: np.random.Generator, *, first: bool) -> list[int]:
    env.reset(seed=0 if first else None)
    actions: list[int] = []
    while not env.terminations[env.agent_selection]:
        observation: Any = env.observe(env.agent_selection)
        actions.append(int(rng.choice(np.flatnonzero(observation["action_mask"]))))
        env.step(actions[-1])
    return actions


if __name__ == "__main__":
    main()
