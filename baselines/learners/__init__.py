"""One player learns from a batch: PPO, RLOO, GRPO, REINFORCE, preferences, cloning; best responses.

Imports `functional`, `rollouts` and `training`.
"""
