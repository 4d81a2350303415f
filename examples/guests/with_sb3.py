"""Stable-Baselines3: PPO, which knows no masks, learns to answer truthfully and to lose nothing by illegal tokens.

    python examples/guests/with_sb3.py

A registered game is a Gymnasium environment of one seat against a given opponent, here one that asks what it was dealt.
`TokenFeatures` reads token ids as words; without it, Stable-Baselines3 would take them for amounts.
"""

from __future__ import annotations

import argparse

import gymnasium
import numpy as np
from stable_baselines3 import PPO

from duologue.agents import EchoAgent
from duologue.agents.sb3 import TokenFeatures
from duologue.baselines.evaluation.rise import Rise, mean_return
from duologue.baselines.training.loop import use_threads
from duologue.envs import Observation, make_game

NAME, PLAYER = "statements-v0", 1


def main(num_tokens: int) -> None:
    """Train, and print the return before and after."""
    use_threads(1)
    game, opponent = make_game(NAME), EchoAgent()
    env = gymnasium.make(f"duologue/{NAME}", player=PLAYER, opponent=opponent)
    model = PPO(
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
        return int(model.predict({name: np.asarray(value) for name, value in observation.items()})[0])

    before = mean_return(choose, game, player=PLAYER, opponent=opponent)
    model.learn(num_tokens)
    Rise(before, mean_return(choose, game, player=PLAYER, opponent=opponent)).check()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smoke", action="store_true", help="train less, for seconds")
    main(3_000 if parser.parse_args().smoke else 20_000)
