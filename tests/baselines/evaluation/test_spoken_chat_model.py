"""A real chat model held to the exact tree: what SmolLM2-135M-Instruct plays in English, to three digits."""

from pathlib import Path

import pytest

from duologue.agents import CausalLMAgent, profile_of
from duologue.agents.language_model.tokenizers import load_vocabulary
from duologue.envs import make_game
from duologue.envs.tree import GameTree, nash_conv

MEASURED = {
    ("matching_pennies-v0", 1.0): 0.0835,
    ("rock_paper_scissors-v0", 1.0): 1.4103,
    ("rock_paper_scissors-v0", 0.01): 2.0,
    ("kuhn_poker-v0", 1.0): 0.8174,
}
"""NashConv by game and temperature, as measured first, by a whole pass over each information state."""


def test_a_chat_model_is_so_far_from_equilibrium(smollm2: Path) -> None:
    """Nearly greedy it always says the same."""
    vocabulary = load_vocabulary(smollm2)
    agent = CausalLMAgent.from_pretrained(smollm2, vocabulary)
    found = {}
    for name, agent.temperature in MEASURED:
        tree = GameTree(make_game(name, spoken=vocabulary))
        found[name, agent.temperature] = nash_conv(tree, profile_of(tree, [agent, agent]))
    assert found == pytest.approx(MEASURED, abs=1e-3)
