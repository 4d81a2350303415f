"""CleanRL's style: PPO (Schulman et al., 2017) in one file, on `gymnasium.make_vec`, with a mask on the logits.

    python examples/guests/with_cleanrl.py

CleanRL is read and copied rather than installed. What changes against its `ppo.py` is that observations are a
dictionary of tokens and mask, and that the logits of illegal tokens are set to the least number there is (invalid
action masking: Huang & Ontanon, 2022, arXiv 2006.14171). `autoreset_mode="SameStep"` deals anew where an episode ends.
"""

from __future__ import annotations

import argparse

import gymnasium
import numpy as np
import torch
from torch import Tensor, nn
from torch.distributions import Categorical

from duologue.agents import EchoAgent
from duologue.baselines.evaluation.rise import Rise, mean_return
from duologue.baselines.training.loop import use_threads
from duologue.envs import Observation, make_game

NAME, PLAYER = "statements-v0", 1
NUM_ENVS, NUM_STEPS, NUM_EPOCHS, NUM_MINIBATCHES = 16, 32, 4, 4
LEARNING_RATE, LAMBDA, CLIP_EPSILON, ENTROPY_COEF, VALUE_COEF = 2e-3, 0.95, 0.2, 0.01, 0.5


class Agent(nn.Module):
    """Policy and value on embedded tokens laid side by side."""

    def __init__(self, length: int, size: int) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Embedding(size, 32), nn.Flatten(), nn.Linear(32 * length, 64), nn.Tanh())
        self.actor, self.critic = nn.Linear(64, size), nn.Linear(64, 1)

    def forward(self, tokens: Tensor, legal: Tensor) -> tuple[Categorical, Tensor]:
        """Return the distribution over legal tokens (B, V) and the values (B,)."""
        features = self.body(tokens)
        # Where an episode is over no token is legal; any distribution will do, as nothing is drawn from it.
        logits = self.actor(features).masked_fill(~legal, torch.finfo(torch.float32).min)
        return Categorical(logits=logits), self.critic(features).squeeze(-1)


def tensors(observation: Observation) -> tuple[Tensor, Tensor]:
    """Return tokens and legal mask; the leading shape is as given."""
    return torch.as_tensor(observation["observation"]), torch.as_tensor(observation["action_mask"]).bool()


def advantages_of(rewards: Tensor, values: Tensor, ended: Tensor, last_value: Tensor) -> Tensor:
    """Return generalised advantage estimates (T, B) without discount; `ended[t]`: step t was its episode's last."""
    advantages, following, running = torch.zeros_like(rewards), last_value, torch.zeros_like(last_value)
    for t in reversed(range(len(rewards))):
        delta = rewards[t] + following * ~ended[t] - values[t]
        running = delta + LAMBDA * running * ~ended[t]
        advantages[t], following = running, values[t]
    return advantages


def update(agent: Agent, optimizer: torch.optim.Optimizer, batch: dict[str, Tensor]) -> None:
    """Take the gradient steps of one iteration; every entry of `batch` has shape (T * B, ...)."""
    for _ in range(NUM_EPOCHS):
        for rows in torch.randperm(len(batch["actions"])).chunk(NUM_MINIBATCHES):
            mini = {name: tensor[rows] for name, tensor in batch.items()}
            policy, values = agent(mini["tokens"], mini["legal"])
            ratio = (policy.log_prob(mini["actions"]) - mini["logprobs"]).exp()
            advantages = (mini["advantages"] - mini["advantages"].mean()) / (mini["advantages"].std() + 1e-8)
            clipped = ratio.clamp(1 - CLIP_EPSILON, 1 + CLIP_EPSILON)
            policy_loss = -torch.minimum(ratio * advantages, clipped * advantages).mean()
            value_loss = 0.5 * (values - mini["returns"]).square().mean()
            entropy = -(policy.probs * policy.logits.clamp(min=-100)).sum(-1).mean()
            optimizer.zero_grad()
            (policy_loss + VALUE_COEF * value_loss - ENTROPY_COEF * entropy).backward()
            nn.utils.clip_grad_norm_(agent.parameters(), 0.5)
            optimizer.step()


def main(num_iterations: int) -> None:
    """Train, and print the return before and after."""
    use_threads(1)
    torch.manual_seed(0)
    game, opponent = make_game(NAME), EchoAgent()
    envs = gymnasium.make_vec(
        f"duologue/{NAME}", num_envs=NUM_ENVS, player=PLAYER, opponent=opponent, autoreset_mode="SameStep"
    )
    agent = Agent(game.max_view_tokens, game.vocabulary.size)
    optimizer = torch.optim.Adam(agent.parameters(), lr=LEARNING_RATE)

    @torch.no_grad()
    def choose(observation: Observation) -> int:
        tokens, legal = tensors(observation)
        return int(agent(tokens[None], legal[None])[0].sample())

    before = mean_return(choose, game, player=PLAYER, opponent=opponent)
    observation, _ = envs.reset(seed=0)
    for _ in range(num_iterations):
        steps = []
        for _ in range(NUM_STEPS):
            tokens, legal = tensors(observation)
            with torch.no_grad():
                policy, values = agent(tokens, legal)
                actions = policy.sample()
            observation, rewards, ended, _, _ = envs.step(actions.numpy())
            paid, over = torch.as_tensor(rewards, dtype=torch.float32), torch.as_tensor(np.asarray(ended))
            steps.append((tokens, legal, actions, policy.log_prob(actions), values, paid, over))
        names = ("tokens", "legal", "actions", "logprobs", "values", "rewards", "ended")
        batch = {name: torch.stack(column) for name, column in zip(names, zip(*steps, strict=True), strict=True)}
        with torch.no_grad():
            last_value = agent(*tensors(observation))[1]
        batch["advantages"] = advantages_of(batch.pop("rewards"), batch["values"], batch.pop("ended"), last_value)
        batch["returns"] = batch["advantages"] + batch.pop("values")
        update(agent, optimizer, {name: tensor.flatten(0, 1) for name, tensor in batch.items()})
    Rise(before, mean_return(choose, game, player=PLAYER, opponent=opponent)).check()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smoke", action="store_true", help="train less, for seconds")
    main(10 if parser.parse_args().smoke else 30)
