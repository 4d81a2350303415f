"""sb3-contrib: MaskablePPO, which samples legal tokens only, learns to call and to fold at Kuhn poker.

    python examples/guests/with_sb3_contrib.py

The environment has the method `action_masks` that MaskablePPO asks for. The opponent says every legal word alike, and
against it the best response earns 1/2 a chip, uniform play 1/8.
"""

from __future__ import annotations

import argparse

import gymnasium
import numpy as np
from sb3_contrib import MaskablePPO

from duologue.agents import RandomAgent
from duologue.agents.sb3 import TokenFeatures
from duologue.baselines.evaluation.rise import Rise, mean_return
from duologue.baselines.training.loop import use_threads
from duologue.envs import Observation, make_game

NAME, PLAYER = "kuhn_poker-v0", 0


def main(num_tokens: int, num_episodes: int) -> None:
    """Train, and print the return before and after."""
    use_threads(1)
    game, opponent = make_game(NAME), RandomAgent()
    env = gymnasium.make(f"duologue/{NAME}", player=PLAYER, opponent=opponent)
    model = MaskablePPO(
        "MultiInputPolicy",
        env,
        n_steps=512,
        batch_size=128,
        n_epochs=4,
        learning_rate=2e-3,
        gamma=1.0,
        ent_coef=0.01,
        policy_kwargs={"features_extractor_class": TokenFeatures, "net_arch": [64]},
        seed=0,
        device="cpu",
    )

    def choose(observation: Observation) -> int:
        return int(
            model.predict(
                {name: np.asarray(value) for name, value in observation.items()},
                action_masks=observation["action_mask"],
            )[0]
        )

    before = mean_return(choose, game, player=PLAYER, opponent=opponent, num_episodes=num_episodes)
    model.learn(num_tokens)
    Rise(before, mean_return(choose, game, player=PLAYER, opponent=opponent, num_episodes=num_episodes)).check()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smoke", action="store_true", help="train less, for seconds")
    main(*((4_000, 1_500) if parser.parse_args().smoke else (20_000, 3_000)))
