"""Agents by name or folder, as a command line gives them."""

from __future__ import annotations

from pathlib import Path

from ..envs import Vocabulary
from .agent import RandomAgent, Speaker
from .scripted import EchoAgent

AGENT_SPECS = ("random", "echo")
"""The agents that have a name; everything else is a folder."""


def load_agent(spec: str, vocabulary: Vocabulary) -> Speaker:
    """Return the agent that `spec` names: one of `AGENT_SPECS` or the folder of a language model.

    Raises:
        ValueError: neither; the message lists what is known.
    """
    if spec == "random":
        return RandomAgent()
    if spec == "echo":
        return EchoAgent()
    if not Path(spec).is_dir():
        raise ValueError(f"agent: expected {', '.join(AGENT_SPECS)} or the folder of a checkpoint, got {spec!r}")
    from .language_model import CausalLMAgent  # brings torch, which the other agents do without

    return CausalLMAgent.from_pretrained(spec, vocabulary)
