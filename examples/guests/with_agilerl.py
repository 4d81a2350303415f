"""AgileRL: its DQN and its training loop on eight copies of the single-player form.

    python examples/guests/with_agilerl.py

AgileRL reads the mask from the infos and plain arrays from the observations, which a wrapper gives it: one-hot words
and `info["action_mask"]`. AgileRL asks for PettingZoo below 1.27, which knows no registry of games; all else is there.
"""

from __future__ import annotations

import argparse
from typing import Any

import gymnasium
import numpy as np
import torch
from agilerl.algorithms import DQN
from agilerl.components import ReplayBuffer
from agilerl.training.train_off_policy import train_off_policy
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from numpy.typing import NDArray

from duologue.agents import EchoAgent
from duologue.baselines.evaluation.rise import Rise, mean_return
from duologue.baselines.training.loop import use_threads
from duologue.envs import Observation, make_game

NAME, PLAYER = "statements-v0", 1


def one_hot(observation: Observation) -> NDArray[np.float32]:
    """Return a 1 for the word at each place, flat; (L * V,)."""
    return np.eye(len(observation["action_mask"]), dtype=np.float32)[observation["observation"]].reshape(-1)


class MaskToInfo(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Moves the mask to the infos, and lays words out as one-hot vectors."""

    def __init__(self, env: gymnasium.Env[Any, Any]) -> None:
        super().__init__(env)
        length, size = (env.observation_space[name].shape[0] for name in ("observation", "action_mask"))  # type: ignore[index]
        self.observation_space = gymnasium.spaces.Box(0.0, 1.0, (length * size,), np.float32)

    def reset(self, **kwargs: Any) -> tuple[Any, dict[str, Any]]:
        """Deal."""
        observation, _ = self.env.reset(**kwargs)
        return one_hot(observation), {"action_mask": observation["action_mask"]}

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Say a token."""
        observation, reward, terminated, truncated, _ = self.env.step(action)
        return one_hot(observation), reward, terminated, truncated, {"action_mask": observation["action_mask"]}


def main(num_steps: int) -> None:
    """Train, and print the return before and after."""
    use_threads(1)
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002 - what AgileRL draws from
    game, opponent = make_game(NAME), EchoAgent()
    copies = [lambda: MaskToInfo(gymnasium.make(f"duologue/{NAME}", player=PLAYER, opponent=EchoAgent()))] * 8
    envs = SyncVectorEnv(copies, autoreset_mode=AutoresetMode.SAME_STEP)
    agent = DQN(
        envs.single_observation_space,
        envs.single_action_space,
        lr=1e-3,
        batch_size=64,
        learn_step=8,
        gamma=1.0,
        tau=0.05,
        net_config={"encoder_config": {"hidden_size": [64]}, "head_config": {"hidden_size": [64]}},
    )

    def choose(observation: Observation) -> int:
        return int(agent.get_action(one_hot(observation)[None], 0.0, action_mask=observation["action_mask"][None])[0])

    before = mean_return(choose, game, player=PLAYER, opponent=opponent)
    train_off_policy(
        envs,
        NAME,
        "DQN",
        [agent],
        ReplayBuffer(max_size=20_000),
        max_steps=num_steps,
        evo_steps=num_steps,
        eval_steps=3,
        eps_decay=0.995,
        eps_end=0.1,
        verbose=False,
    )
    Rise(before, mean_return(choose, game, player=PLAYER, opponent=opponent)).check()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smoke", action="store_true", help="train less, for seconds")
    main(6_000 if parser.parse_args().smoke else 20_000)
