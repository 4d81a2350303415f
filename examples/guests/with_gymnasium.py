"""Gymnasium: tabular Q-learning (Watkins, 1989) through `gymnasium.make` and Gymnasium's own wrappers.

    python examples/guests/with_gymnasium.py

A registered game is an environment of one seat against a given opponent, here one that asks what it was dealt. What is
observed is an array of token ids, so its bytes are the key of a table; the mask says which entries may be chosen.
"""

from __future__ import annotations

import argparse
from collections import defaultdict

import gymnasium
import numpy as np
from gymnasium.wrappers import RecordEpisodeStatistics
from numpy.typing import NDArray

from duologue.agents import EchoAgent
from duologue.baselines.evaluation.rise import Rise, mean_return
from duologue.envs import Observation, make_game

NAME, PLAYER = "statements-v0", 1
STEP_SIZE, EXPLORATION = 0.2, 0.2


def main(num_episodes: int) -> None:
    """Train, and print the return before and after."""
    game, opponent, rng = make_game(NAME), EchoAgent(), np.random.default_rng(0)
    values: defaultdict[bytes, NDArray[np.float64]] = defaultdict(lambda: np.zeros(game.vocabulary.size))

    def choose(observation: Observation) -> int:
        legal = np.flatnonzero(observation["action_mask"])
        known = values[observation["observation"].tobytes()][legal]
        return int(rng.choice(legal[known == known.max()]))

    before = mean_return(choose, game, player=PLAYER, opponent=opponent)
    env = RecordEpisodeStatistics(gymnasium.make(f"duologue/{NAME}", player=PLAYER, opponent=opponent))
    observation, _ = env.reset(seed=0)
    while env.episode_count < num_episodes:
        explores = rng.random() < EXPLORATION
        token = int(rng.choice(np.flatnonzero(observation["action_mask"]))) if explores else choose(observation)
        after, reward, over, _, _ = env.step(np.int64(token))
        legal = after["action_mask"].astype(bool)
        target = float(reward) + (values[after["observation"].tobytes()][legal].max() if legal.any() else 0.0)
        entry = values[observation["observation"].tobytes()]
        entry[token] += STEP_SIZE * (target - entry[token])
        observation = env.reset()[0] if over else after
    print(f"mean return of the last {len(env.return_queue)} episodes, exploring: {np.mean(env.return_queue):.2f}")
    Rise(before, mean_return(choose, game, player=PLAYER, opponent=opponent)).check()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smoke", action="store_true", help="train less, for seconds")
    main(1_000 if parser.parse_args().smoke else 3_000)
