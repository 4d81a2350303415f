"""PPO from `make_game` to `optimizer.step` in one file, for those who write their own loop.

    python examples/ppo_loop.py

Player 1 of tiny_red_team-v0, a micro model from nothing, learns to answer a player 0 that plays at random: to comply
where the request is benign, to refuse where it is not. Uniform play earns it -.229, the best response -.042.

Nothing is hidden: no run folder, no learner class, no options. The pieces that are imported are the engine, the agent,
and pure functions; each can be replaced by one of your own.
"""

import sys

import numpy as np
import torch

from duologue.agents import RandomAgent
from duologue.agents.language_model import CausalLMAgent, micro_model
from duologue.baselines import rollout, trajectories
from duologue.baselines.functional import (
    clipped_surrogate,
    clipped_value_loss,
    gae,
    masked_whiten,
    probability_ratio,
    shaped_token_rewards,
)
from duologue.envs import Vocabulary, make_game

SMOKE = "--smoke" in sys.argv
NUM_UPDATES, BATCH_SIZE, NUM_EPOCHS = (3, 16, 2) if SMOKE else (60, 256, 2)
LEARNING_RATE, CLIP_EPSILON, VALUE_COEF, KL_COEF, GAE_LAMBDA = 1e-2, 0.2, 0.1, 0.01, 0.95


def make_agent(vocabulary: Vocabulary, max_positions: int) -> CausalLMAgent:
    """Return a micro model with a value head; the same weights at each call."""
    model = micro_model(vocabulary, hidden_size=32, num_layers=1, num_heads=2, max_positions=max_positions, seed=0)
    head = torch.nn.Linear(32, 1)
    torch.nn.init.zeros_(head.weight), torch.nn.init.zeros_(head.bias)
    return CausalLMAgent(model, vocabulary, value_head=head)


def main() -> float:
    """Train, print the mean return of each tenth batch, and return that of the last."""
    torch.set_num_threads(1)
    game, rng = make_game("tiny_red_team-v0"), np.random.default_rng(0)
    agent, reference = (make_agent(game.vocabulary, max(8, game.max_view_tokens)) for _ in range(2))
    assert agent.value_head is not None
    parameters = [*agent.model.parameters(), *agent.value_head.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=LEARNING_RATE)
    for update in range(1, NUM_UPDATES + 1):
        played = rollout(game, (RandomAgent(), agent), BATCH_SIZE, rng)
        batch = trajectories(played, 1)  # tokens, masks, rewards: (B, T)
        own = batch.policy_token_mask
        view = (batch.tokens, batch.attention_mask, own, batch.legal_mask)
        with torch.no_grad():
            old, ref = agent.evaluate(*view), reference.evaluate(*view)
            rewards = shaped_token_rewards(batch.rewards, old.logprobs, ref.logprobs, own, kl_coef=KL_COEF)
            advantages, returns = gae(rewards, old.values, own, gamma=1.0, gae_lambda=GAE_LAMBDA)
            advantages = masked_whiten(advantages, own)
        for _ in range(NUM_EPOCHS):
            now = agent.evaluate(*view)
            ratio = probability_ratio(now.logprobs, old.logprobs, own)
            policy_loss = clipped_surrogate(ratio, advantages, own, clip_epsilon=CLIP_EPSILON)
            value_loss = clipped_value_loss(now.values, old.values, returns, own, clip_epsilon=CLIP_EPSILON)
            optimizer.zero_grad()
            (policy_loss + VALUE_COEF * value_loss).backward()
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
        if update == 1 or update % 10 == 0 or update == NUM_UPDATES:
            print(f"update {update}: mean return of player 1 {batch.returns.mean():+.3f}")
    return float(batch.returns.mean())


if __name__ == "__main__":
    main()
