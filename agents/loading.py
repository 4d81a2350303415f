"""Agents by name or folder, as a command line gives them."""

from __future__ import annotations

from pathlib import Path

from ..envs import Vocabulary
from .agent import RandomAgent, Speaker
from .scripted import EchoAgent

AGENT_SPECS = ("random", "echo")
"""The agents that have a name; everything else is a folder."""
SB3_CONFIG_FILE = "sb3_policy.json"
"""In whose folder a policy of Stable-Baselines3 lies."""


def load_agent(spec: str, vocabulary: Vocabulary) -> Speaker:
    """Return the agent that `spec` names: one of `AGENT_SPECS` or the folder of a language model or of an SB3 policy.

    Raises:
        ValueError: neither; the message lists what is known.
    """
    if spec == "random":
        return RandomAgent()
    if spec == "echo":
        return EchoAgent()
    if not Path(spec).is_dir():
        raise ValueError(f"agent: expected {', '.join(AGENT_SPECS)} or the folder of a checkpoint, got {spec!r}")
    if (Path(spec) / SB3_CONFIG_FILE).is_file():
        from .sb3_policy import SB3Agent  # brings torch and Stable-Baselines3

        return SB3Agent.from_pretrained(spec, vocabulary)
    from .language_model import CausalLMAgent  # brings torch, which the other agents do without

    return CausalLMAgent.from_pretrained(spec, vocabulary)
