"""A new alignment algorithm in the leaderboard: `python examples/add_your_alignment.py`, in a few minutes."""

import sys
from pathlib import Path

import numpy as np

from duologue.agents import CausalLMAgent, EchoAgent
from duologue.baselines import AlignmentBudget, BenchConfig, Seat, bench, register_alignment, rollout, trajectories
from duologue.envs import LanguageGame


@register_alignment("half_rewritten", source="an example: the base model rewrites every other batch of requests")
def half_rewritten(
    game: LanguageGame, base: CausalLMAgent, sft: CausalLMAgent, budget: AlignmentBudget, seed: int
) -> Seat:
    """Return a defender that learns from requests as they stand and from rewrites of them, in turn."""
    rng, learner = np.random.default_rng(seed), budget.make_learner(sft)
    for update in range(budget.num_updates):
        author = EchoAgent() if update % 2 else base
        played = rollout(game, (author, sft), budget.batch_size, rng)
        learner.update(trajectories(played, 1), rng)
    return sft


if __name__ == "__main__":
    smoke = "--smoke" in sys.argv
    config = BenchConfig(
        suite="alignment_smoke" if smoke else "alignment",
        algorithms=("sft", "rlhf_ppo", "half_rewritten", "ceiling"),
        games=("red_team-v1",),
        seeds=1,
        out=Path("runs/add_your_alignment"),
    )
    bench(config)
    print((config.out / "leaderboard.md").read_text(encoding="utf-8"))
