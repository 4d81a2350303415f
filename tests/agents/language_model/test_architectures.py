"""Tiny models of many architectures, built from their configurations: each plays as it is evaluated.

Of the kinds that transformers has for `AutoModelForCausalLM` these are the quick ones that a handful of sizes makes
small; `test_probing` has kinds of which more must be said.
"""

from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from duologue.agents.language_model.causal_lm import CausalLMAgent
from duologue.tests.agents.language_model.helpers import WORDS, require_evaluated_as_sampled

ARCHITECTURES = """
arcee bart beam bert bert-generation big_bird bigbird_pegasus biogpt bitnet blenderbot blenderbot-small bloom
camembert cohere cohere2 cohere2_moe ctrl cwm data2vec-text diffllama doge electra ernie ernie4_5 ernie4_5_moe
exaone4 exaone_moe falcon_mamba flex_olmo flint gemma gemma2 gemma3_text glm glm4 glm4_moe gpt-sw3 gpt2
gpt_bigcode gpt_neox gpt_neox_japanese gpt_oss granite granite_swa granitemoe granitemoe_swa granitemoeshared
helium hunyuan_v1_dense hunyuan_v1_moe hy_v3 hyperclovax internlm3 iquestcoder jais2 jetmoe kolibri1 laguna
lfm2 lfm3 llama llama4_text mamba marian mbart ministral ministral3 mistral mixtral modernbert-decoder moshi
mpt mvp nanochat nemotron olmo openai-gpt opt pegasus qwen3
""".split()
SIZES: dict[str, Any] = {
    **dict.fromkeys(("hidden_size", "d_model", "n_embd", "dim", "lru_width"), 32),
    **dict.fromkeys(("num_hidden_layers", "n_layer", "n_layers", "num_layers", "decoder_layers", "encoder_layers"), 2),
    **dict.fromkeys(("num_attention_heads", "n_head", "n_heads", "num_heads", "decoder_attention_heads"), 4),
    **dict.fromkeys(("encoder_attention_heads", "num_experts", "num_local_experts", "n_routed_experts"), 4),
    **dict.fromkeys(("moe_num_experts", "time_step_rank", "mamba_n_heads"), 4),
    **dict.fromkeys(("intermediate_size", "n_inner", "ffn_dim", "ffn_hidden_size", "d_ff", "decoder_ffn_dim"), 64),
    **dict.fromkeys(("encoder_ffn_dim",), 64),
    **dict.fromkeys(("moe_intermediate_size", "shared_expert_intermediate_size"), 32),
    **dict.fromkeys(("head_dim", "state_size", "d_state", "mamba_d_state"), 8),
    **dict.fromkeys(("q_lora_rank", "kv_lora_rank", "mamba_d_head"), 16),
    **dict.fromkeys(("qk_nope_head_dim", "qk_rope_head_dim", "v_head_dim"), 8),
    **dict.fromkeys(("num_key_value_heads", "num_experts_per_tok", "moe_topk", "expand", "mamba_expand"), 2),
    **dict.fromkeys(("n_group", "topk_group", "first_k_dense_replace", "num_shared_experts"), 1),
    **dict.fromkeys(("max_position_embeddings", "n_positions", "n_ctx"), 128),
    "vocab_size": WORDS.size,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "initializer_range": 0.3,
    "is_decoder": True,
}
"""What makes a model small, by all names that configurations have for it."""


def model_of(architecture: str) -> PreTrainedModel:
    """Return a model of a kind with random weights, large enough that contexts matter."""
    usual = AutoConfig.for_model(architecture)
    config = type(usual)(**{name: size for name, size in SIZES.items() if hasattr(usual, name)})
    torch.manual_seed(0)
    model: PreTrainedModel = AutoModelForCausalLM.from_config(config).float().eval()
    return model


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_what_is_sampled_is_what_is_evaluated(architecture: str) -> None:
    """Invariant, to 1e-4 nats: rows of one length and of several, which leave the batch as their turns end."""
    require_evaluated_as_sampled(CausalLMAgent(model_of(architecture), WORDS), tolerance=1e-4)
