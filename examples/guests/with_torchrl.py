"""TorchRL: its PPO loss on rollouts of the two-player AEC environment through `PettingZooWrapper`.

    python examples/guests/with_torchrl.py

Each player is a group of one. `use_mask=True` says whose step it was, which is how the learner's own tokens are told
from the other player's: advantages run over all steps, the loss over its own only. The opponent, a module beside the
learner's policy, says its one legal token.
"""

from __future__ import annotations

import argparse

import torch
from tensordict import TensorDict
from tensordict.nn import TensorDictModule, TensorDictSequential
from torch import Tensor, nn
from torchrl.collectors import Collector
from torchrl.envs.libs.pettingzoo import PettingZooWrapper
from torchrl.modules import MaskedCategorical, ProbabilisticActor, ValueOperator
from torchrl.objectives import ClipPPOLoss
from torchrl.objectives.value import GAE

from duologue.agents import EchoAgent
from duologue.baselines.evaluation.rise import Rise, mean_return
from duologue.baselines.training.loop import use_threads
from duologue.envs import Observation, make, make_game

NAME, PLAYER = "statements-v0", 1
FRAMES, NUM_EPOCHS, MINIBATCH_SIZE = 512, 4, 64
OBSERVATION = ("player_1", "observation", "observation")
MASK, ACTION, REWARD = ("player_1", "action_mask"), ("player_1", "action"), ("player_1", "reward")


def network(length: int, size: int, num_outputs: int) -> nn.Module:
    """Return a net on embedded tokens laid side by side, (..., L) to (..., num_outputs)."""
    return nn.Sequential(
        nn.Embedding(size, 32), nn.Flatten(-2), nn.Linear(32 * length, 64), nn.Tanh(), nn.Linear(64, num_outputs)
    )


def main(num_batches: int) -> None:
    """Train, and print the return before and after."""
    use_threads(1)
    torch.manual_seed(0)
    game, opponent = make_game(NAME), EchoAgent()
    length, size = game.max_view_tokens, game.vocabulary.size
    env = PettingZooWrapper(make(NAME), use_mask=True, categorical_actions=True, seed=0)
    logits = TensorDictModule(network(length, size, size), in_keys=[OBSERVATION], out_keys=[("player_1", "logits")])
    actor = ProbabilisticActor(
        logits,
        in_keys={"logits": ("player_1", "logits"), "mask": MASK},
        out_keys=[ACTION],
        distribution_class=MaskedCategorical,
        return_log_prob=True,
        log_prob_key=("player_1", "action_log_prob"),
    )
    critic = ValueOperator(network(length, size, 1), in_keys=[OBSERVATION], out_keys=[("player_1", "state_value")])
    scripted = TensorDictModule(
        lambda mask: mask.int().argmax(-1), in_keys=[("player_0", "action_mask")], out_keys=[("player_0", "action")]
    )
    loss = ClipPPOLoss(actor, critic, entropy_coeff=0.01, normalize_advantage=True)
    loss.set_keys(
        action=ACTION,
        sample_log_prob=("player_1", "action_log_prob"),
        value=("player_1", "state_value"),
        advantage=("player_1", "advantage"),
        value_target=("player_1", "value_target"),
    )
    gae = GAE(gamma=1.0, lmbda=0.95, value_network=critic)
    gae.set_keys(
        reward=REWARD,
        done=("player_1", "done"),
        terminated=("player_1", "terminated"),
        value=("player_1", "state_value"),
        advantage=("player_1", "advantage"),
        value_target=("player_1", "value_target"),
    )
    optimizer = torch.optim.Adam(loss.parameters(), lr=2e-3)

    @torch.no_grad()
    def choose(observation: Observation) -> int:
        tokens: Tensor = torch.as_tensor(observation["observation"])
        distribution = MaskedCategorical(
            logits=logits.module(tokens), mask=torch.as_tensor(observation["action_mask"]).bool()
        )
        return int(distribution.sample())

    before = mean_return(choose, game, player=PLAYER, opponent=opponent)
    policy = TensorDictSequential(scripted, actor)
    for batch in Collector(
        env, policy, frames_per_batch=FRAMES, total_frames=num_batches * FRAMES, auto_register_policy_transforms=True
    ):
        update(batch, gae, loss, optimizer)
    Rise(before, mean_return(choose, game, player=PLAYER, opponent=opponent)).check()


def update(batch: TensorDict, gae: GAE, loss: ClipPPOLoss, optimizer: torch.optim.Optimizer) -> None:
    """Estimate advantages over all steps, and learn from the steps in which the learner spoke."""
    with torch.no_grad():
        gae(batch)
    own = batch[batch["player_1", "mask"].squeeze(-1)]
    for _ in range(NUM_EPOCHS):
        for rows in torch.randperm(len(own)).split(MINIBATCH_SIZE):
            losses = loss(own[rows])
            optimizer.zero_grad()
            (losses["loss_objective"] + losses["loss_critic"] + losses["loss_entropy"]).backward()
            nn.utils.clip_grad_norm_(loss.parameters(), 0.5)
            optimizer.step()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smoke", action="store_true", help="train less, for seconds")
    main(7 if parser.parse_args().smoke else 30)
