"""TextArena: its Kuhn poker learnt here by tabular Q-learning, and a game of ours played through its interface.

    python examples/guests/with_textarena.py

`from_textarena` makes a language game of TextArena's: `listen` keeps of its messages the card and the moves, and
`legal` reads off its state which moves are legal. `to_textarena` goes the other way: actions are texts.
"""

from __future__ import annotations

import argparse
import re
from collections import defaultdict
from typing import Any, Final

import numpy as np
import textarena
from numpy.typing import NDArray

from duologue.agents import RandomAgent
from duologue.baselines.evaluation.rise import Rise, mean_return
from duologue.envs import Observation, SinglePlayerEnv, WordVocabulary, make_game
from duologue.envs.bridges import TextArenaGame, from_textarena, to_textarena

PLAYER: Final = 0
STEP_SIZE, EXPLORATION = 0.05, 0.2


def kuhn_poker() -> TextArenaGame:
    """Return TextArena's Kuhn poker of one round, won or lost rather than paid in chips."""

    def listen(text: str) -> str:
        found = re.findall(r"Your card is: '([JQK])'|submitted move: '\[(\w+)\]'", text)
        return " ".join(card or move for card, move in found)

    return from_textarena(
        lambda: textarena.make("KuhnPoker-v0-raw", max_rounds=1),
        WordVocabulary("J Q K check bet call fold"),
        listen=listen,
        legal=lambda env: list(env.state.game_state["current_legal_action_tree"]),
        max_turns=3,
        max_told_tokens=4,
    )


def main(num_episodes: int) -> None:
    """Train, print the return before and after, and play a game of ours."""
    game, opponent, rng = kuhn_poker(), RandomAgent(), np.random.default_rng(0)
    values: defaultdict[bytes, NDArray[np.float64]] = defaultdict(lambda: np.zeros(game.vocabulary.size))

    def choose(observation: Observation) -> int:
        legal = np.flatnonzero(observation["action_mask"])
        known = values[observation["observation"].tobytes()][legal]
        return int(rng.choice(legal[known == known.max()]))

    before = mean_return(choose, game, player=PLAYER, opponent=opponent, num_episodes=1_000)
    env: SinglePlayerEnv[Any] = SinglePlayerEnv(game, player=PLAYER, opponent=opponent)
    for episode in range(num_episodes):
        observation, over = env.reset(seed=1 if episode == 0 else None)[0], False
        while not over:
            legal = np.flatnonzero(observation["action_mask"])
            token = int(rng.choice(legal)) if rng.random() < EXPLORATION else choose(observation)
            after, reward, over, _, _ = env.step(token)
            following = after["action_mask"].astype(bool)
            target = reward + (values[after["observation"].tobytes()][following].max() if following.any() else 0.0)
            entry = values[observation["observation"].tobytes()]
            entry[token] += STEP_SIZE * (target - entry[token])
            observation = after
    Rise(before, mean_return(choose, game, player=PLAYER, opponent=opponent, num_episodes=1_000)).check()
    play_bluff()


def play_bluff() -> None:
    """Play a game of ours as TextArena's loop does: an observation in, a text out."""
    env = to_textarena(make_game("bluff-v0"))
    env.reset(num_players=2, seed=0)
    done = False
    while not done:
        player, messages = env.get_observation()
        print(f"player {player} reads: {' '.join(text for _, text, _ in messages)}")
        done, _ = env.step("bet" if player == 0 else "call")
    rewards, _ = env.close()
    print(f"rewards {rewards}")
    assert abs(rewards[0]) == 2.0, rewards
    assert rewards[0] == -rewards[1], rewards


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smoke", action="store_true", help="train less, for seconds")
    main(1_500 if parser.parse_args().smoke else 6_000)
