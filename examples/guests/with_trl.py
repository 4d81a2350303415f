"""TRL: its GRPOTrainer trains a small language model from scratch, the opponent's turns played inside the rollout.

    python examples/guests/with_trl.py

`duologue.baselines.integrations.trl.rollout_func` plays whole episodes and marks the learner's own tokens by
`env_mask`. A prompt is the seed of a deal; the reward function hands on what the episode paid. The processing class is
asked for padding and decoding only: the game's vocabulary, as a tokenizer of transformers.
"""

from __future__ import annotations

import argparse
import os
import tempfile

os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")  # `rollout_func` is experimental

import torch
from datasets import Dataset
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast
from trl import GRPOConfig, GRPOTrainer

from duologue.agents import EchoAgent
from duologue.agents.language_model import CausalLMAgent, micro_model
from duologue.baselines.evaluation.rise import Rise, mean_return
from duologue.baselines.integrations.trl import paid, rollout_func
from duologue.baselines.training.loop import use_threads
from duologue.envs import LanguageGame, Observation, make_game

import numpy as np  # isort: skip

NAME, PLAYER = "statements-v0", 1


def tokenizer_of(game: LanguageGame) -> PreTrainedTokenizerFast:
    """Return the game's vocabulary as a tokenizer of transformers."""
    words = [game.vocabulary.decode((token,)) or "<pad>" for token in range(game.vocabulary.size)]
    inner = Tokenizer(models.WordLevel({word: token for token, word in enumerate(words)}, unk_token="<pad>"))
    inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=inner, pad_token="<pad>", eos_token="<eos>", padding_side="left")


def main(num_steps: int) -> None:
    """Train, and print the return before and after."""
    use_threads(1)
    game, opponent, rng = make_game(NAME), EchoAgent(), np.random.default_rng(0)
    model = micro_model(game.vocabulary, hidden_size=64, num_layers=2)
    agent = CausalLMAgent(model, game.vocabulary)

    def choose(observation: Observation) -> int:
        with torch.no_grad():
            return agent.act(observation, rng)

    before = mean_return(choose, game, player=PLAYER, opponent=opponent)
    with tempfile.TemporaryDirectory() as folder:
        config = GRPOConfig(
            output_dir=folder,
            per_device_train_batch_size=64,
            num_generations=16,
            max_steps=num_steps,
            learning_rate=3e-3,
            lr_scheduler_type="constant",
            max_completion_length=8,
            beta=0.0,
            logging_steps=10,
            report_to="none",
            save_strategy="no",
            use_cpu=True,
            bf16=False,
            disable_tqdm=True,
            seed=0,
        )
        trainer = GRPOTrainer(
            model=model,
            reward_funcs=paid,
            args=config,
            train_dataset=Dataset.from_dict({"prompt": [str(seed) for seed in range(64)]}),
            processing_class=tokenizer_of(game),
            rollout_func=rollout_func(game, player=PLAYER, opponent=opponent),
        )
        trainer.train()
    Rise(before, mean_return(choose, game, player=PLAYER, opponent=opponent)).check()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smoke", action="store_true", help="train less, for seconds")
    main(15 if parser.parse_args().smoke else 60)
