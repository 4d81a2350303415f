"""A new loss, chosen by name in any command.

    python examples/add_your_learner.py
    duologue train rlhf --learner cispo --learner-file examples/add_your_learner.py
    duologue train gpo --defender-learner.learner cispo --defender-learner.learner-file examples/add_your_learner.py
    duologue bench --algorithms self_play:cispo --learner-file examples/add_your_learner.py

CISPO (MiniMax-M1, 2025, arXiv 2506.13585, eq. 4) clips the weight of a token's gradient instead of the surrogate, so
that no token's gradient is lost; its advantages are GRPO's.
"""

import sys
from pathlib import Path

from torch import Tensor

from duologue.baselines.functional import policy_gradient_loss
from duologue.baselines.learners import GRPOConfig, GRPOLearner, register_learner


@register_learner("cispo", config=GRPOConfig, replies_per_prompt=4)
class CISPO(GRPOLearner):
    """One player that learns by CISPO."""

    def loss(self, logprobs: Tensor, ratio: Tensor, advantages: Tensor, ref: Tensor, own: Tensor) -> Tensor:
        """Return -mean(min(r, 1 + eps) A log pi), the weight held constant."""
        weight = ratio.detach().clamp(max=1 + self.config.clip_epsilon)
        return policy_gradient_loss(logprobs, weight * advantages, own, **self.aggregated)


if __name__ == "__main__":
    from duologue.__main__ import main

    smoke = ["--num-updates", "6", "--batch-size", "8"] if "--smoke" in sys.argv else []
    argv = ["bench", "--suite", "smoke", "--algorithms", "self_play,self_play:cispo", "--games", "rps", "--seeds", "2"]
    out = Path("runs/add_your_learner")
    main([*argv, *smoke, "--learner-file", __file__, "--out", str(out)])
    print((out / "leaderboard.md").read_text(encoding="utf-8"))
