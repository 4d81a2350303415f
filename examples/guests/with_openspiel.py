"""OpenSpiel: its tabular Q-learner in the single-player form, and its CFR on a game of ours written as .efg.

    python examples/guests/with_openspiel.py

OpenSpiel's agents read a `TimeStep`, which takes a few lines to make. Its solvers walk the whole tree instead, and read
it from a file: `write_efg`. The other way round, `duologue.envs.bridges.openspiel.from_openspiel` plays OpenSpiel's
games here.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Final

import numpy as np
import pyspiel
from open_spiel.python.algorithms.cfr import CFRSolver
from open_spiel.python.algorithms.exploitability import nash_conv
from open_spiel.python.algorithms.tabular_qlearner import QLearner
from open_spiel.python.policy import UniformRandomPolicy
from open_spiel.python.rl_environment import StepType, TimeStep

from duologue.agents import EchoAgent
from duologue.baselines.evaluation.rise import Rise, mean_return
from duologue.envs import Observation, SinglePlayerEnv, make_game
from duologue.envs.bridges import write_efg
from duologue.envs.tree import GameTree

NAME = "statements-v0"
PLAYER: Final = 1


def time_step(observation: Observation, reward: float, kind: StepType) -> TimeStep:
    """Return what an agent of OpenSpiel reads, both players' entries being this player's."""
    legal = np.flatnonzero(observation["action_mask"]).tolist()
    tokens = tuple(observation["observation"].tolist())
    seen = {"info_state": [tokens] * 2, "legal_actions": [legal] * 2, "current_player": PLAYER}
    return TimeStep(observations=seen, rewards=[reward] * 2, discounts=[1.0] * 2, step_type=kind)


def main(num_episodes: int) -> None:
    """Train, print the return before and after, and solve a game."""
    np.random.seed(0)  # noqa: NPY002 - what OpenSpiel draws from
    game, opponent = make_game(NAME), EchoAgent()
    learner = QLearner(player_id=PLAYER, num_actions=game.vocabulary.size, step_size=0.2)

    def choose(observation: Observation) -> int:
        return int(learner.step(time_step(observation, 0.0, StepType.MID), is_evaluation=True).action)

    before = mean_return(choose, game, player=PLAYER, opponent=opponent)
    env = SinglePlayerEnv(game, player=PLAYER, opponent=opponent)
    for episode in range(num_episodes):
        observation, over = env.reset(seed=1 if episode == 0 else None)[0], False
        step = time_step(observation, 0.0, StepType.FIRST)
        while not over:
            observation, reward, over, _, _ = env.step(learner.step(step).action)
            step = time_step(observation, reward, StepType.LAST if over else StepType.MID)
        learner.step(step)
    Rise(before, mean_return(choose, game, player=PLAYER, opponent=opponent)).check()
    solve_bluff()


def solve_bluff() -> None:
    """Let OpenSpiel solve a game of ours, by 200 iterations of CFR (Zinkevich et al., 2007)."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bluff.efg"
        write_efg(GameTree(make_game("bluff-v0")), path)
        bluff = pyspiel.load_game(f"efg_game(filename={path})")
    solver = CFRSolver(bluff)
    for _ in range(200):
        solver.evaluate_and_update_policy()
    start, end = nash_conv(bluff, UniformRandomPolicy(bluff)), nash_conv(bluff, solver.average_policy())
    print(f"bluff-v0 in OpenSpiel: NashConv {start:.4f} of uniform play, {end:.4f} after CFR")
    assert end < 0.1 * start, (start, end)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smoke", action="store_true", help="train less, for seconds")
    main(1_000 if parser.parse_args().smoke else 3_000)
