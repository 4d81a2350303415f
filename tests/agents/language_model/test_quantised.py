"""Bases of 4 and 8 bits: what they say, what is trained beside them, and what an adapter's folder remembers."""

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM

from duologue.__main__ import main
from duologue.agents import CausalLMAgent
from duologue.agents.language_model.adapters import (
    BASE_FILE,
    AdaptedModel,
    NewAdapter,
    adapted_model,
    reference_of,
    shared_base,
)
from duologue.agents.language_model.quantised import Bits, check_bits
from duologue.agents.loading import load_agent
from duologue.envs import make_game
from duologue.tests.agents.language_model.helpers import WORDS, require_evaluated_as_sampled

MISSING = [name for name in ("accelerate", "bitsandbytes", "peft") if find_spec(name) is None]
needs_bits = pytest.mark.skipif(bool(MISSING), reason=f"{', '.join(MISSING)}: an optional extra, for bases of few bits")
CPU = torch.device("cpu")
TOKENS = torch.arange(8, 16)[None]
NF4_HALF_GAP = 0.1520
"""Half of the widest gap of NormalFloat4's 16 numbers from -1 to 1, -1 to -0.6962 (QLoRA's appendix E)."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return the folder of a tiny model."""
    written(tmp_path / "base", hidden_size=64, intermediate_size=128)
    return tmp_path / "base"


def written(folder: Path, **sizes: Any) -> None:
    """Write a tiny model of random weights, of so many tokens as there are words."""
    depth: dict[str, Any] = {"num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = LlamaForCausalLM(LlamaConfig(vocab_size=WORDS.size, **sizes, **depth, tie_word_embeddings=True))
    model.save_pretrained(folder)


def agent_of(folder: Path, bits: Bits | None) -> CausalLMAgent:
    """Return an agent with a new adapter on a base of so many bits."""
    return CausalLMAgent.from_pretrained(folder, WORDS, adapter=NewAdapter(rank=2), base_bits=bits)


def logits_of(model: nn.Module) -> torch.Tensor:
    """Return what a model says of a few tokens."""
    with torch.no_grad():
        said: torch.Tensor = model(input_ids=TOKENS).logits
    return said


@needs_bits
def test_four_bits_move_a_weight_by_half_a_gap_of_normalfloat4_at_most(folder: Path) -> None:
    """In blocks of 64 weights, each scaled by its largest; the scales are rounded too, so by a percent more."""
    from bitsandbytes.functional import dequantize_4bit
    from bitsandbytes.nn.modules import Linear4bit

    whole, rounded = (shared_base(folder, device=CPU, bits=bits).model for bits in (None, 4))
    weights, found = dict(whole.named_parameters()), list[float]()
    for name, module in rounded.named_modules():
        if isinstance(module, Linear4bit):
            rounded_weight: Any = module.weight
            made_whole = dequantize_4bit(rounded_weight.data, rounded_weight.quant_state)
            pair = (weights[f"{name}.weight"], made_whole)
            before, after = (nn.functional.pad(w.flatten(), (0, -w.numel() % 64)).reshape(-1, 64) for w in pair)
            moved = (after - before).abs() / before.abs().amax(1, keepdim=True)
            found.append(float(moved.max()))
    assert len(found) == 2 * 7
    assert 0.05 < max(found) < 1.02 * NF4_HALF_GAP + 0.01


@needs_bits
@pytest.mark.parametrize(("bits", "tolerance"), [(4, 1e-4), (8, 0.05)])
def test_tokens_are_evaluated_as_they_were_sampled(bits: Bits, tolerance: float, folder: Path) -> None:
    """In 4 bits as with whole weights; in 8 what comes in is rounded too. Only the adapter learns, in float32."""
    agent = agent_of(folder, bits)
    require_evaluated_as_sampled(agent, tolerance=tolerance)
    assert isinstance(agent.model, AdaptedModel)
    whole = logits_of(shared_base(folder, device=CPU).bare())
    apart = (logits_of(agent.model) - whole).abs().max() / whole.std()
    assert 1e-4 < apart < 0.5
    agent.model(input_ids=TOKENS).logits.square().mean().backward()
    for name, weight in agent.model.named_parameters():
        assert weight.dtype == torch.float32
        assert weight.grad is not None
        assert bool(weight.grad.any()) == ("lora_B" in name)
    assert all(weight.grad is None for name, weight in agent.model.unadapted.named_parameters() if "lora" not in name)


@needs_bits
def test_an_adapters_folder_remembers_the_bits_of_its_base(folder: Path, tmp_path: Path) -> None:
    """It is loaded on the same rounded base, which is not the whole one; without the note it would be on the latter."""
    agent = agent_of(folder, 4)
    assert isinstance(agent.model, AdaptedModel)
    with torch.no_grad():
        for weight in agent.model.parameters():
            weight.add_(0.1)
    agent.save_pretrained(tmp_path / "adapter")
    assert json.loads((tmp_path / "adapter" / BASE_FILE).read_text(encoding="utf-8")) == {"bits": 4}
    again = adapted_model(tmp_path / "adapter", device=CPU)
    assert again.base is agent.model.base
    assert torch.equal(logits_of(again), logits_of(agent.model))
    assert reference_of(adapted_model(folder, NewAdapter(rank=1), device=CPU, base_bits=4)).unadapted is again.unadapted
    other = adapted_model(tmp_path / "adapter", device=CPU, base_bits=8)
    assert other.base is not again.base
    (tmp_path / "adapter" / BASE_FILE).write_text('{"bits": 3}', encoding="utf-8")
    with pytest.raises(ValueError, match="expected 4 or 8, got 3"):
        adapted_model(tmp_path / "adapter", device=CPU)
    agent_of(folder, None).save_pretrained(tmp_path / "adapter")
    assert not (tmp_path / "adapter" / BASE_FILE).exists()


@needs_bits
@pytest.mark.parametrize("bits", [4, 8])
def test_weights_that_are_no_numbers_are_named(bits: Bits, folder: Path) -> None:
    """Before they are rounded, which would hide them."""
    weights = load_file(folder / "model.safetensors")
    weights["model.layers.0.mlp.up_proj.weight"][0, 0] = torch.nan
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"NaN or infinity in model\.layers\.0\.mlp\.up_proj\.weight"):
        agent_of(folder, bits)


def test_micro_models_have_no_base_to_be_rounded(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As with a rank: nothing is ignored in silence."""
    run = ["train", "self_play", "--game", "matching_pennies-v0", "--base-bits", "4", "--out", str(tmp_path)]
    assert main(run) == 2
    assert "base_bits: expected none for a micro model that no folder holds, got 4" in capsys.readouterr().err


def test_a_whole_model_is_not_rounded(folder: Path) -> None:
    """There would be nothing to train beside it."""
    with pytest.raises(ValueError, match="base_bits: expected adapters, on a base that stays as it is"):
        CausalLMAgent.from_pretrained(folder, WORDS, base_bits=4)


@pytest.mark.parametrize("bits", [2, 16, True, "4", None])
def test_other_bits_are_refused(bits: object) -> None:
    """By name."""
    with pytest.raises(ValueError, match="base_bits: expected 4 or 8, got"):
        check_bits("base_bits", bits)


@needs_bits
def test_widths_that_bitsandbytes_reads_wrongly_are_refused(tmp_path: Path) -> None:
    """On a CPU, where a block of 64 weights would go over the end of a row (seen with 0.50.2)."""
    written(tmp_path / "odd", hidden_size=64, intermediate_size=96)
    with pytest.raises(ValueError, match=r"multiple of 64 numbers for 4 bits on a CPU.*down_proj from 96"):
        agent_of(tmp_path / "odd", 4)
    agent_of(tmp_path / "odd", 8)


@needs_bits
def test_self_play_trains_both_players_on_one_rounded_base(folder: Path, tmp_path: Path) -> None:
    """And what it leaves is read by others as it was trained."""
    game = make_game("matching_pennies-v0")
    players = ["--player-0", str(folder), "--player-1", str(folder)]
    small = ["--num-updates", "2", "--batch-size", "4", "--lora-rank", "2", "--base-bits", "4"]
    run = ["train", "self_play", "--game", "matching_pennies-v0", *players, *small, "--out", str(tmp_path / "run")]
    assert main(run) == 0
    agents = [load_agent(str(tmp_path / "run" / f"player_{k}"), game.vocabulary) for k in range(2)]
    models = [agent.model for agent in agents if isinstance(agent, CausalLMAgent)]
    assert all(isinstance(model, AdaptedModel) and model.base.bits == 4 for model in models)
    assert len({id(model.unadapted) for model in models}) == 1
