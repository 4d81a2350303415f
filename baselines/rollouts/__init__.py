"""Two agents play a batch of episodes; what one player learns from it as tensors.

Imports `agents` and `envs`.
"""
