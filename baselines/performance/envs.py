"""The benchmark behind `make bench`: what one token costs in the AEC form, and in many episodes at once.

The AEC form is held against PettingZoo's tictactoe and against an environment that does next to nothing; the batched
form against the AEC form. All play recorded or scripted turns, so that choosing them costs nothing; a reset an
episode is included. Those compared alternate several times in one process, and each counts with its median.
"""

from __future__ import annotations

import argparse
import importlib
import os
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pettingzoo import AECEnv

from ...envs.interfaces.aec import LanguageGameEnv
from ...envs.registry import make, make_game
from ..training.failures import run_command
from .envs_batched import NUM_EPISODES as NUM_AT_ONCE
from .envs_batched import Scaling, Throughput, bytes_per_episode, measure_scalings, measure_throughput
from .envs_games import BareEnv, Chat, scripted_turns
from .page import (
    Figure,
    Results,
    VocabularyCost,
    figure_table,
    scaling_table,
    throughput_table,
    vocabulary_table,
    write_figures,
    write_section,
)
from .rival_openspiel import compare_on_tic_tac_toe
from .rival_textarena import compare_on_kuhn_poker, textarena_line
from .rivals import TurnRates

GOAL = 10.0

NUM_EPISODES = {"red_team-v0": 400, "tictactoe_v3": 250, "chat": 40}
"""Recorded episodes of each, so that a repetition of either lasts about as long."""

VOCABULARIES = (200, 1_000, 32_000, 152_000)

BATCHED_GAMES = ("red_team-v0", "red_team_text-v0")
"""Of words that nothing narrows; the figures are the first one's."""

TURN_TOKENS = (32, 128)
"""Of the game that costs nothing itself."""

Episodes = list[list[int]]


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
    return _in_turns((env, ours), (rival, theirs), num_repetitions)


def compare_with_bare(size: int, *, num_repetitions: int = 7) -> VocabularyCost:
    """Measure a token of a game of two turns of 32 tokens with a vocabulary of some size, and of the bare environment.

    Both say the same tokens, and their views are of the same length.
    """
    game = Chat(vocabulary_size=size)
    bare = BareEnv(size, game.max_view_tokens, game.max_turn_tokens)
    turns = np.array(scripted_turns(game, 2 * NUM_EPISODES["chat"]))
    episodes: Episodes = turns.reshape(NUM_EPISODES["chat"], -1).tolist()
    ours, theirs = _in_turns((LanguageGameEnv(game), episodes), (bare, episodes), num_repetitions)
    mask = game.vocabulary.sayable_mask
    start = time.process_time()
    for _ in range(2_000):
        mask.copy()
    return VocabularyCost(size, 1 / ours, 1 / theirs, (time.process_time() - start) / 2_000)


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
    """Measure, print tables and write `bench.json`; write a section of a page with a picture, if asked to."""
    parser = argparse.ArgumentParser(prog="python -m duologue.baselines.performance.envs", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("bench.json"), help="file to write (default: bench.json)")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="page whose section of this is to be replaced")
    arguments = parser.parse_args(argv)
    ours, theirs = compare(make("red_team-v0"))
    vocabularies = [compare_with_bare(size) for size in VOCABULARIES]
    print(vocabulary_table(vocabularies), end="\n\n")
    throughputs = [measure_throughput(name, make_game(name), NUM_AT_ONCE) for name in BATCHED_GAMES]
    throughputs += [measure_throughput("no rules", Chat(turn_tokens=length), NUM_AT_ONCE) for length in TURN_TOKENS]
    print(throughput_table(throughputs), end="\n\n")
    scalings = measure_scalings()
    print(scaling_table(scalings), end="\n\n")
    # Last: the garbage collector walks through all that other libraries keep once they are imported.
    spiel, arena = compare_on_tic_tac_toe(NUM_AT_ONCE), compare_on_kuhn_poker(NUM_AT_ONCE)
    figures = [Figure("aec_steps_vs_tictactoe", round(ours / theirs, 2), GOAL, "times")]
    figures += figures_of(vocabularies, throughputs, scalings)
    figures += rival_figures("openspiel", spiel) + rival_figures("textarena", arena)
    print(figure_table(figures), textarena_line(arena), sep="\n\n")
    write_figures(arguments.out, figures)
    print(f"\nwritten to {arguments.out}")
    if arguments.markdown is not None:
        results = Results(figures, vocabularies, throughputs, scalings, spiel, arena)
        write_section(arguments.markdown, results, num_episodes=NUM_AT_ONCE)


def figures_of(
    vocabularies: Sequence[VocabularyCost], throughputs: Sequence[Throughput], scalings: Sequence[Scaling]
) -> list[Figure]:
    """Return what is held against a goal; of a value that should be small, how many times it fits into its bound."""
    first, last = vocabularies[0], vocabularies[-1]
    growth = (last.aec_s - first.aec_s) / (last.bare_s - first.bare_s)
    whole, own = bytes_per_episode(make_game(BATCHED_GAMES[0]), NUM_AT_ONCE)
    text = throughputs[0]
    steepest = max(scaling.exponent for scaling in scalings)
    return [
        Figure("aec_share_of_bare", round(first.share, 2), 0.25, "times"),
        Figure("bare_growth_over_aec_growth_with_vocabulary", round(1 / growth, 2), 0.75, "times"),
        Figure("batched_tokens_per_second", round(text.batched), 5e6, "tokens/s"),
        Figure("batched_vs_aec", round(text.ratio, 1), 100.0, "times"),
        Figure("2_kB_over_bytes_per_episode", round(2_048 / (whole - own), 2), 1.0, "times"),
        Figure("quadratic_over_steepest_exponent", round(2 / steepest, 2), 1.6, "times"),
    ]


def rival_figures(name: str, rates: TurnRates | None) -> list[Figure]:
    """Return how many times as fast ours is with both looked at, and as theirs with nothing looked at."""
    if rates is None:
        return []
    return [
        Figure(f"batched_turns_vs_{name}_observed", round(rates.ratio, 2), 5.0, "times"),
        Figure(f"batched_turns_vs_{name}_unobserved", round(rates.ratio_unseen, 2), 5.0, "times"),
    ]


def _in_turns(
    first: tuple[AECEnv[str, Any, Any], Episodes], second: tuple[AECEnv[str, Any, Any], Episodes], repetitions: int
) -> tuple[float, float]:
    """Return the actions per second of two environments, which take turns: medians, a first one for warmth left out."""
    pairs = [(actions_per_second(*first), actions_per_second(*second)) for _ in range(repetitions + 1)][1:]
    return statistics.median(pair[0] for pair in pairs), statistics.median(pair[1] for pair in pairs)


def _record_episode(env: AECEnv[str, Any, Any], rng: np.random.Generator, *, first: bool) -> list[int]:
    env.reset(seed=0 if first else None)
    actions: list[int] = []
    while not env.terminations[env.agent_selection]:
        observation: Any = env.observe(env.agent_selection)
        actions.append(int(rng.choice(np.flatnonzero(observation["action_mask"]))))
        env.step(actions[-1])
    return actions


if __name__ == "__main__":
    sys.exit(run_command(main))
