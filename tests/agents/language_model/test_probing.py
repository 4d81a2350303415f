"""Models of many kinds: what they sample is what `evaluate` says of it, or they are refused in one line."""

from typing import Any

import numpy as np
import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    BertConfig,
    BloomConfig,
    Gemma3Config,
    GPT2Config,
    GPTNeoXConfig,
    JambaConfig,
    LlamaConfig,
    MambaConfig,
    MarianConfig,
    MistralConfig,
    OpenAIGPTConfig,
    PreTrainedConfig,
    PreTrainedModel,
    Qwen3NextConfig,
    RecurrentGemmaConfig,
    RobertaConfig,
    RwkvConfig,
)

from duologue.agents import CausalLMAgent
from duologue.agents.language_model.decoding import Decoder, Rereader
from duologue.agents.language_model.micro import micro_model
from duologue.agents.language_model.probing import reading_of
from duologue.envs import Observation
from duologue.tests.agents.language_model.helpers import WORDS, require_evaluated_as_sampled, view_of

Kwargs = dict[str, Any]
SIZE: Kwargs = {
    "vocab_size": WORDS.size,
    "hidden_size": 16,
    "intermediate_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "pad_token_id": 0,
}
HEADS: Kwargs = SIZE | {"num_key_value_heads": 1, "head_dim": 8}
BOUND: Kwargs = {"max_position_embeddings": 64}
GPT: Kwargs = {"vocab_size": WORDS.size, "n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 64}
MIXED: Kwargs = {"layer_types": ["linear_attention", "full_attention"]}
EXPERTS: Kwargs = {
    "num_experts": 2,
    "num_experts_per_tok": 1,
    "moe_intermediate_size": 8,
    "shared_expert_intermediate_size": 8,
}
LINEAR: Kwargs = {f"linear_{name}": size for name, size in (("num_key_heads", 1), ("num_value_heads", 1))}
LINEAR |= {"linear_key_head_dim": 8, "linear_value_head_dim": 8}
EYE: Kwargs = {
    "hidden_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 1,
    "intermediate_size": 8,
    "image_size": 28,
}
MAMBA: Kwargs = {"mamba_d_state": 4, "mamba_dt_rank": 4, "use_mamba_kernels": False}
JAMBA: Kwargs = {"attn_layer_period": 2, "attn_layer_offset": 1, "num_experts": 2, **MAMBA}
MARIAN: Kwargs = {
    "d_model": 16,
    "decoder_layers": 1,
    "decoder_attention_heads": 2,
    "decoder_ffn_dim": 16,
    **BOUND,
}

KINDS: dict[str, tuple[PreTrainedConfig, type]] = {
    "learned positions": (GPT2Config(**GPT), Decoder),
    "rotary positions": (LlamaConfig(**HEADS, **BOUND), Decoder),
    "part rotary": (GPTNeoXConfig(**SIZE, **BOUND), Decoder),
    "ALiBi": (BloomConfig(vocab_size=WORDS.size, hidden_size=16, n_layer=2, n_head=2), Decoder),
    "a window of attention": (MistralConfig(**HEADS, **BOUND, sliding_window=4), Decoder),
    "linear and full attention": (Qwen3NextConfig(**HEADS, **BOUND, **MIXED, **LINEAR, **EXPERTS), Decoder),
    "recurrence and attention": (JambaConfig(**SIZE, num_key_value_heads=1, **JAMBA), Decoder),
    "a language model within": (
        Gemma3Config(
            text_config=HEADS | BOUND | {"sliding_window": 4}, vision_config=EYE | {"patch_size": 14, "image_size": 28}
        ),
        Decoder,
    ),
    "recurrence": (MambaConfig(vocab_size=WORDS.size, hidden_size=16, state_size=4, num_hidden_layers=2), Rereader),
    "recurrence of another kind": (
        RwkvConfig(vocab_size=WORDS.size, hidden_size=16, attention_hidden_size=16, num_hidden_layers=2),
        Rereader,
    ),
    "recurrence that counts": (
        RecurrentGemmaConfig(**HEADS, lru_width=16, block_types=["recurrent", "attention"], attention_window_size=8),
        Rereader,
    ),
    "no cache": (OpenAIGPTConfig(**GPT), Rereader),
    "positions that are counted from padding": (
        RobertaConfig(**SIZE | {"pad_token_id": 1}, **BOUND, is_decoder=True),
        Rereader,
    ),
    "positions that the model counts": (
        MarianConfig(vocab_size=WORDS.size, pad_token_id=0, is_decoder=True, **MARIAN),
        Rereader,
    ),
}


def model_of(config: PreTrainedConfig) -> PreTrainedModel:
    """Return a model with random weights, larger than usual so that contexts and positions matter."""
    torch.manual_seed(0)
    model: PreTrainedModel = AutoModelForCausalLM.from_config(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(4)
    return model


@pytest.mark.parametrize("kind", list(KINDS))
def test_what_is_sampled_is_what_is_evaluated(kind: str) -> None:
    """Invariant: padded or not, alone or not, and past a window; a cache that cannot do it is left aside."""
    config, decoder = KINDS[kind]
    model = model_of(config)
    assert reading_of(model).decoder is decoder
    require_evaluated_as_sampled(CausalLMAgent(model, WORDS), tolerance=2e-5)


@pytest.mark.parametrize("kind", ["rotary positions", "recurrence", "positions that the model counts"])
def test_the_first_token_has_the_stated_probability(kind: str) -> None:
    """`token_probabilities`, `speak` and `act` say the same in whichever way a model is read."""
    agent, view = CausalLMAgent(model_of(KINDS[kind][0]), WORDS), view_of(5)
    padded = np.zeros(12, dtype=np.int64)
    padded[:5] = view.tokens
    mask = WORDS.sayable_mask.copy()
    mask[WORDS.eos_id] = 1
    observation: Observation = {"observation": padded, "action_mask": mask}
    stated = agent.token_probabilities([observation])[0]
    said = agent.speak([view], np.random.default_rng(0))[0]
    assert np.exp((said.logprobs or ())[0]) == pytest.approx(stated[said.tokens[0]], abs=1e-6)
    assert agent.act(observation, np.random.default_rng(0)) == said.tokens[0]


@pytest.mark.parametrize("config", [BertConfig(**SIZE, **BOUND), RobertaConfig(**SIZE, **BOUND)])
def test_a_model_that_looks_ahead_is_refused(config: PreTrainedConfig) -> None:
    """An encoder with the head of a language model: `evaluate` would know the token that it is asked of."""
    expected = "expected one whose logits follow from the tokens before them, got .*LM"
    with pytest.raises(ValueError, match=expected):
        CausalLMAgent(model_of(config), WORDS)


def test_a_kind_of_model_is_probed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Copies of a model are made by the hundred, as members of a pool."""
    calls = list[object]()
    reading_of(micro_model(WORDS, hidden_size=16, num_layers=1, num_heads=2))
    again = micro_model(WORDS, hidden_size=16, num_layers=1, num_heads=2, seed=1)
    again.register_forward_pre_hook(lambda *call: calls.append(call))
    CausalLMAgent(again, WORDS)
    assert not calls


def test_probing_leaves_training_mode_and_generators_alone() -> None:
    """Dropout is off in the probe alone."""
    model = model_of(GPT2Config(**GPT | {"n_layer": 1})).train()
    state = torch.get_rng_state()
    CausalLMAgent(model, WORDS)
    assert all(module.training for module in model.modules())
    assert torch.equal(torch.get_rng_state(), state)


def test_a_view_longer_than_the_models_positions_is_named() -> None:
    """Where nobody told the longest view when the model was loaded."""
    agent = CausalLMAgent(micro_model(WORDS, hidden_size=16, num_layers=1, num_heads=2, max_positions=8), WORDS)
    agent.speak([view_of(8)], np.random.default_rng(0))
    with pytest.raises(ValueError, match="view: expected at most 8 tokens, the model's positions, got 9"):
        agent.speak([view_of(9)], np.random.default_rng(0))


def test_a_turn_that_goes_on_beyond_learned_positions_is_named() -> None:
    """Where nobody told the longest view: their table has an end, which Python would call an index out of range."""
    agent = CausalLMAgent(model_of(KINDS["learned positions"][0]), WORDS)
    with pytest.raises(ValueError, match="view: expected at most 64 tokens, the model's positions, got 65"):
        agent.speak([view_of(62)] * 16, np.random.default_rng(0))
