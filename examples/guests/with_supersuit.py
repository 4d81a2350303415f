"""SuperSuit: its wrappers around the single-player form, and eight copies of it as a vector for Stable-Baselines3.

    python examples/guests/with_supersuit.py

`clip_reward_v0` takes the environment as it is, and `stable_baselines3_vec_env_v0` copies it; both leave the method
`action_masks` within reach of MaskablePPO. Around the two-player AEC form wrappers of rewards work as well.
Wrappers that change observations ask for a plain array, and vectors of agents for a game of simultaneous moves: a
language game has a dictionary with a mask, and turns.
"""

from __future__ import annotations

import argparse

import gymnasium
import numpy as np
import supersuit
from sb3_contrib import MaskablePPO

from duologue.agents import EchoAgent
from duologue.agents.sb3 import TokenFeatures
from duologue.baselines.evaluation.rise import Rise, mean_return
from duologue.baselines.training.loop import use_threads
from duologue.envs import Observation, make, make_game

NAME, PLAYER = "statements-v0", 1


def main(num_tokens: int) -> None:
    """Train, and print the return before and after."""
    use_threads(1)
    game, opponent = make_game(NAME), EchoAgent()
    halve_aec_rewards()
    env = supersuit.clip_reward_v0(gymnasium.make(f"duologue/{NAME}", player=PLAYER, opponent=opponent), -1.0, 1.0)
    envs = supersuit.stable_baselines3_vec_env_v0(env, 8)
    model = MaskablePPO(
        "MultiInputPolicy",
        envs,
        n_steps=64,
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

    before = mean_return(choose, game, player=PLAYER, opponent=opponent)
    model.learn(num_tokens)
    Rise(before, mean_return(choose, game, player=PLAYER, opponent=opponent)).check()


def halve_aec_rewards() -> None:
    """Show a wrapper of the AEC form: a true statement, worth 1 to both, is paid with 1/2."""
    env = supersuit.reward_lambda_v0(make(NAME), lambda reward: reward / 2)
    env.reset(options={"deal": "snow"})
    vocabulary = env.unwrapped.game.vocabulary
    for token in (*vocabulary.encode("snow"), vocabulary.eos_id, *vocabulary.encode("snow white")):
        env.step(token)
    assert env.rewards == {"player_0": 0.5, "player_1": 0.5}, env.rewards


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smoke", action="store_true", help="train less, for seconds")
    main(4_000 if parser.parse_args().smoke else 20_000)
