"""Agents by name or folder, as a command line gives them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..envs import Vocabulary
from .agent import RandomAgent, Speaker
from .folders import SB3_CONFIG_FILE
from .scripted import EchoAgent

AGENT_SPECS = ("random", "echo")
"""The agents that have a name; everything else is a folder."""
SPOKEN_HELP = "the folder of a chat model or of its tokenizer, in whose text a game of words is played, in English"
"""What the option says by which a game is spoken."""


def spoken_options(folder: str | Path | None) -> dict[str, Any]:
    """Return the options of `make_game` by which a game is spoken through the tokenizer in a folder; None: none."""
    if folder is None:
        return {}
    from .language_model.tokenizers import load_vocabulary  # brings transformers

    return {"spoken": load_vocabulary(folder)}


def load_agent(
    spec: str, vocabulary: Vocabulary, *, game: str | None = None, max_view_tokens: int = 0, device: str = "cpu"
) -> Speaker:
    """Return the agent that `spec` names: one of `AGENT_SPECS` or the folder of a language model or of an SB3 policy.

    Args:
        spec: a name or a folder.
        vocabulary: the tokens of the game.
        game: its name, if a policy that is known to be of another game is to be refused: two games may share words.
        max_view_tokens: the longest view that it shows, if a model with fewer positions is to be refused.
        device: where a language model is put.

    Raises:
        ValueError: neither, and the message lists what is known; it was trained in another game, or it has not
            enough positions.
    """
    if spec == "random":
        return RandomAgent()
    if spec == "echo":
        return EchoAgent()
    if not Path(spec).is_dir():
        raise ValueError(
            f"agent: expected {', '.join(AGENT_SPECS)} or the folder of a checkpoint, got {spec!r}: there is no such "
            "folder"
        )
    if (Path(spec) / SB3_CONFIG_FILE).is_file():
        from .sb3 import SB3Agent  # brings torch and Stable-Baselines3

        agent = SB3Agent.from_pretrained(spec, vocabulary)
        if game is not None and agent.game not in (None, game):
            raise ValueError(f"policy {spec}: expected one of {game}, got {agent!r}")
        if agent.max_view_tokens < max_view_tokens:
            asked = f"{max_view_tokens} tokens, the game's longest"
            raise ValueError(f"policy {spec}: expected one for views of {asked}, got one for {agent.max_view_tokens}")
        return agent
    from .language_model.causal_lm import CausalLMAgent  # brings torch, which the other agents do without

    return CausalLMAgent.from_pretrained(spec, vocabulary, device=device, max_view_tokens=max_view_tokens)
