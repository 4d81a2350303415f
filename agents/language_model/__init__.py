"""Causal language models as agents: decoding, sampling, legal tokens, micro models, tokenizers, encoders.

Imports `envs` and what an agent is.
"""
