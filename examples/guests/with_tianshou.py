"""Tianshou: DQN in one seat of the two-player AEC environment, a player of random legal words in the other.

    python examples/guests/with_tianshou.py

Tianshou's `PettingZooEnv` takes the environment as it is and turns its mask into the `mask` of a batch. The asker of
this game has one legal word, so that a random legal one is what it has to say.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
import torch
from tianshou.algorithm import DQN
from tianshou.algorithm.modelfree.dqn import DiscreteQLearningPolicy
from tianshou.algorithm.multiagent.marl import MultiAgentOffPolicyAlgorithm
from tianshou.algorithm.optim import AdamOptimizerFactory
from tianshou.algorithm.random import MARLRandomDiscreteMaskedOffPolicyAlgorithm
from tianshou.data import Batch, Collector, VectorReplayBuffer
from tianshou.env import DummyVectorEnv
from tianshou.env.pettingzoo_env import PettingZooEnv
from tianshou.trainer import OffPolicyTrainerParams
from torch import Tensor, nn

from duologue.agents import EchoAgent
from duologue.baselines.evaluation.rise import Rise, mean_return
from duologue.baselines.training.loop import use_threads
from duologue.envs import Observation, make, make_game

NAME, PLAYER = "statements-v0", 1


class TokenNet(nn.Module):
    """Values of all tokens, from embedded tokens laid side by side, with the call that Tianshou makes."""

    def __init__(self, length: int, size: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Embedding(size, 32), nn.Flatten(), nn.Linear(32 * length, 64), nn.Tanh(), nn.Linear(64, size)
        )

    def forward(self, obs: Any, state: Any = None, info: Any = None) -> tuple[Tensor, Any]:
        """Return the values (B, V) of token ids (B, L), and the state as it came."""
        return self.layers(torch.as_tensor(np.asarray(obs), dtype=torch.int64)), state


def main(num_steps: int) -> None:
    """Train, and print the return before and after."""
    use_threads(1)
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002 - what Tianshou explores with
    game, opponent = make_game(NAME), EchoAgent()
    spaces = PettingZooEnv(make(NAME))
    policy = DiscreteQLearningPolicy(
        model=TokenNet(game.max_view_tokens, game.vocabulary.size),
        action_space=spaces.action_space,
        observation_space=spaces.observation_space,
        eps_training=0.3,
    )
    learner = DQN(policy=policy, optim=AdamOptimizerFactory(lr=2e-3), gamma=1.0, target_update_freq=100)
    asker = MARLRandomDiscreteMaskedOffPolicyAlgorithm(action_space=spaces.action_space)
    algorithm = MultiAgentOffPolicyAlgorithm(algorithms=[asker, learner], env=spaces)

    def choose(observation: Observation) -> int:
        seen = Batch(obs=observation["observation"][None], mask=observation["action_mask"][None].astype(bool))
        return int(policy(Batch(obs=seen, info=Batch())).act[0])

    before = mean_return(choose, game, player=PLAYER, opponent=opponent)
    envs = DummyVectorEnv([lambda: PettingZooEnv(make(NAME)) for _ in range(8)])
    envs.seed(0)
    collector = Collector[Any](algorithm, envs, VectorReplayBuffer(10_000, 8), exploration_noise=True)
    collector.reset()
    collector.collect(n_step=512)
    algorithm.run_training(
        OffPolicyTrainerParams(
            training_collector=collector,
            max_epochs=1,
            epoch_num_steps=num_steps,
            collection_step_num_env_steps=64,
            update_step_num_gradient_steps_per_sample=0.2,
            batch_size=64,
            verbose=False,
            show_progress=False,
            multi_agent_return_reduction=lambda returns: returns[:, PLAYER],
        )
    )
    Rise(before, mean_return(choose, game, player=PLAYER, opponent=opponent)).check()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smoke", action="store_true", help="train less, for seconds")
    main(3_000 if parser.parse_args().smoke else 15_000)
