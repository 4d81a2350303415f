"""OpenEnv: a game as one of its environments, in process, and REINFORCE on what its steps return.

    python examples/guests/with_openenv.py

OpenEnv (huggingface/OpenEnv) serves environments over HTTP; the class behind the server is stepped here directly, the
opponent inside. Actions and observations are its pydantic models, so that its clients would be served the very same
class by `create_fastapi_app(GameEnvironment, Say, Heard)`. The learner is REINFORCE with a mean baseline (Williams,
1992).
"""

from __future__ import annotations

import argparse
from typing import Any, Final
from uuid import uuid4

import numpy as np
import torch
from openenv.core.env_server.interfaces import Environment
from openenv.core.env_server.types import Action, Observation, State
from torch import Tensor, nn
from torch.distributions import Categorical

from duologue.agents import EchoAgent
from duologue.baselines.evaluation.rise import Rise, mean_return
from duologue.baselines.training.loop import use_threads
from duologue.envs import Observation as TokenObservation
from duologue.envs import SinglePlayerEnv, make_game

NAME = "statements-v0"
PLAYER: Final = 1
BATCH_SIZE, LEARNING_RATE = 64, 1e-2


class Say(Action):  # type: ignore[misc]
    """One token of the player's turn."""

    token: int


class Heard(Observation):  # type: ignore[misc]
    """What the player has been told, and which tokens it may say; `reward` and `done` are the base class's."""

    tokens: list[int]
    legal: list[int]


class GameEnvironment(Environment[Say, Heard, State]):  # type: ignore[misc]
    """One seat of a game, the other played inside."""

    def __init__(self) -> None:
        super().__init__()
        self._env = SinglePlayerEnv(make_game(NAME), player=PLAYER, opponent=EchoAgent())
        self._state = State()

    def reset(self, seed: int | None = None, episode_id: str | None = None, **kwargs: Any) -> Heard:
        """Deal, and let the opponent speak first."""
        self._state = State(episode_id=episode_id or str(uuid4()), step_count=0)
        return heard(self._env.reset(seed=seed)[0], reward=None, done=False)

    def step(self, action: Say, timeout_s: float | None = None, **kwargs: Any) -> Heard:
        """Say a token; where it ends the turn the opponent answers."""
        self._state.step_count += 1
        observation, reward, over, _, _ = self._env.step(action.token)
        return heard(observation, reward=reward, done=over)

    @property
    def state(self) -> State:
        """Return which episode this is, and how many tokens have been said in it."""
        return self._state


def heard(observation: TokenObservation, *, reward: float | None, done: bool) -> Heard:
    """Return an observation in OpenEnv's form, which goes through JSON."""
    legal = np.flatnonzero(observation["action_mask"]).tolist()
    return Heard(tokens=observation["observation"].tolist(), legal=legal, reward=reward, done=done)


class Policy(nn.Module):
    """Logits of the legal tokens, from the tokens heard laid side by side."""

    def __init__(self, length: int, size: int) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Embedding(size, 32), nn.Flatten(0), nn.Linear(32 * length, size))

    def forward(self, tokens: Tensor, legal: Tensor) -> Categorical:
        """Return a distribution over the numbers of the legal tokens."""
        return Categorical(logits=self.body(tokens)[legal])


def play(env: GameEnvironment, policy: Policy) -> tuple[Tensor, float]:
    """Play an episode; return the log-probability of all that was said, and the return."""
    seen, logprob, total = env.reset(), torch.zeros(()), 0.0
    while not seen.done:
        legal = torch.tensor(seen.legal)
        said = policy(torch.tensor(seen.tokens), legal)
        choice = said.sample()
        logprob = logprob + said.log_prob(choice)
        seen = env.step(Say(token=int(legal[choice])))
        total += float(seen.reward)
    return logprob, total


def main(num_iterations: int) -> None:
    """Train, and print the return before and after."""
    use_threads(1)
    torch.manual_seed(0)
    game, env = make_game(NAME), GameEnvironment()
    policy = Policy(game.max_view_tokens, game.vocabulary.size)
    optimizer = torch.optim.Adam(policy.parameters(), lr=LEARNING_RATE)

    @torch.no_grad()
    def choose(observation: TokenObservation) -> int:
        legal = torch.from_numpy(np.flatnonzero(observation["action_mask"]))
        return int(legal[policy(torch.from_numpy(observation["observation"]), legal).sample()])

    before = mean_return(choose, game, player=PLAYER, opponent=EchoAgent())
    env.reset(seed=0)
    for _ in range(num_iterations):
        logprobs, returns = zip(*(play(env, policy) for _ in range(BATCH_SIZE)), strict=True)
        paid = torch.tensor(returns)
        loss = -((paid - paid.mean()) * torch.stack(logprobs)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    print(f"mean return of the last batch: {paid.mean():.2f}; its last episode took {env.state.step_count} tokens")
    Rise(before, mean_return(choose, game, player=PLAYER, opponent=EchoAgent())).check()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smoke", action="store_true", help="train less, for seconds")
    main(25 if parser.parse_args().smoke else 60)
