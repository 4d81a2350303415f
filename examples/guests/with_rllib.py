"""RLlib: its PPO, with a module that reads tokens and masks logits, on the single-player form.

    python examples/guests/with_rllib.py

RLlib hands the dictionary of tokens and mask to the module as it is. All runs in this process; `env_runners` with
`num_env_runners` above 0 is how RLlib takes more.
"""

from __future__ import annotations

import argparse
import logging
from typing import Any

import gymnasium
import ray
import torch
from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.core.columns import Columns
from ray.rllib.core.rl_module.apis.value_function_api import ValueFunctionAPI
from ray.rllib.core.rl_module.rl_module import RLModuleSpec
from ray.rllib.core.rl_module.torch.torch_rl_module import TorchRLModule
from ray.rllib.env.wrappers.pettingzoo_env import PettingZooEnv
from ray.tune.registry import register_env
from torch import Tensor, nn

from duologue.agents import EchoAgent
from duologue.baselines.evaluation.rise import Rise, mean_return
from duologue.baselines.training.loop import use_threads
from duologue.envs import Observation, make, make_game

NAME, PLAYER = "statements-v0", 1


class MaskedTokens(TorchRLModule, ValueFunctionAPI):  # type: ignore[misc]
    """Policy and value on embedded tokens laid side by side; logits of illegal tokens are the least there are."""

    def setup(self) -> None:
        """Make the layers, from the spaces that RLlib hands over."""
        (length,), size = self.observation_space["observation"].shape, int(self.action_space.n)
        self.body = nn.Sequential(nn.Embedding(size, 32), nn.Flatten(), nn.Linear(32 * length, 64), nn.Tanh())
        self.actor, self.critic = nn.Linear(64, size), nn.Linear(64, 1)

    def _forward(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Tensor]:
        seen = batch[Columns.OBS]
        logits = self.actor(self.body(seen["observation"].long()))
        return {Columns.ACTION_DIST_INPUTS: logits.masked_fill(seen["action_mask"] == 0, -1e9)}

    def compute_values(self, batch: dict[str, Any], embeddings: Any = None) -> Tensor:
        """Return the values (B,)."""
        values: Tensor = self.critic(self.body(batch[Columns.OBS]["observation"].long()))
        return values.squeeze(-1)


def main(num_iterations: int) -> None:
    """Train, and print the return before and after."""
    use_threads(1)
    game, opponent = make_game(NAME), EchoAgent()
    register_env("statements", lambda _: gymnasium.make(f"duologue/{NAME}", player=PLAYER, opponent=EchoAgent()))
    config = (
        PPOConfig()
        .environment("statements")
        .env_runners(num_env_runners=0, num_envs_per_env_runner=8)
        .learners(num_learners=0)
        .training(
            lr=2e-3,
            gamma=1.0,
            lambda_=0.95,
            train_batch_size=512,
            minibatch_size=128,
            num_epochs=4,
            entropy_coeff=0.01,
            grad_clip=0.5,
        )
        .rl_module(rl_module_spec=RLModuleSpec(module_class=MaskedTokens))
        .debugging(seed=0)
    )
    algorithm = config.build_algo()

    @torch.no_grad()
    def choose(observation: Observation) -> int:
        batch = {name: torch.as_tensor(array)[None] for name, array in observation.items()}
        out = algorithm.get_module().forward_inference({Columns.OBS: batch})
        return int(torch.distributions.Categorical(logits=out[Columns.ACTION_DIST_INPUTS]).sample())

    before = mean_return(choose, game, player=PLAYER, opponent=opponent)
    for _ in range(num_iterations):
        algorithm.train()
    after = mean_return(choose, game, player=PLAYER, opponent=opponent)
    algorithm.stop()
    play_both_seats()
    Rise(before, after).check()


def play_both_seats() -> None:
    """Show that RLlib's wrapper takes the two-player form: an observation for whoever is to speak."""
    env = PettingZooEnv(make(NAME))
    seen, _ = env.reset(seed=0)
    over = False
    while not over:
        ((agent_id, observation),) = seen.items()
        seen, _, ended, _, _ = env.step({agent_id: int(observation["action_mask"].argmax())})
        over = ended["__all__"]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smoke", action="store_true", help="train less, for seconds")
    arguments = parser.parse_args()
    ray.init(num_cpus=1, include_dashboard=False, logging_level=logging.ERROR, log_to_driver=False)
    main(8 if arguments.smoke else 30)
