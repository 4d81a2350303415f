"""Adapters on one frozen base: what they say, what they share, and what their folders hold."""

import copy
import gc
import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModelForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
)

from duologue.agents import CausalLMAgent
from duologue.agents.language_model.adapters import (
    WEIGHTS_FILE,
    AdaptedModel,
    NewAdapter,
    SharedBase,
    adapted_model,
    reference_of,
    shared_base,
)
from duologue.agents.language_model.micro import micro_model
from duologue.agents.language_model.tokenizers import load_vocabulary
from duologue.agents.loading import load_agent
from duologue.baselines.rollouts.episodes import rollout
from duologue.envs import View, Vocabulary, make_game

pytestmark = [
    pytest.mark.skipif(find_spec("peft") is None, reason="adapters need peft, an optional extra"),
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"),  # peft asks for it
]
GAME = make_game("red_team-v0")
VOCABULARY = GAME.vocabulary
CPU = torch.device("cpu")
TOKENS = torch.arange(5, 12)[None]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return the folder of a tiny model."""
    micro_model(VOCABULARY, hidden_size=16, num_layers=2, num_heads=2).save_pretrained(tmp_path / "base")
    return tmp_path / "base"


def moved(model: AdaptedModel, seed: int = 0) -> AdaptedModel:
    """Return an adapter whose matrices have been changed as training does."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn(weight.shape, generator=generator) / 4)
    return model


def logits_of(model: torch.nn.Module) -> torch.Tensor:
    """Return what a model says of a few tokens."""
    with torch.no_grad():
        said: torch.Tensor = model(input_ids=TOKENS).logits
    return said


def test_a_new_adapter_says_what_the_base_says_and_others_do_not_change_that(folder: Path) -> None:
    """B is 0 at first; each adapter is heard alone, in any order, and the base's weights are those of its folder."""
    base = shared_base(folder, device=CPU)
    plain = logits_of(base.bare())
    defender, adversary = (base.new(NewAdapter(rank=2, name=name)) for name in ("defender", "adversary"))
    assert torch.equal(logits_of(defender), plain)
    assert defender.untouched
    said = logits_of(moved(defender))
    assert not torch.allclose(said, plain)
    assert not defender.untouched
    assert torch.equal(logits_of(adversary), plain)
    assert torch.equal(logits_of(base.bare()), plain)
    assert torch.equal(logits_of(defender), said)
    assert torch.equal(logits_of(AutoModelForCausalLM.from_pretrained(folder)), plain)


def test_gradients_reach_the_adapter_that_spoke_and_no_other(folder: Path) -> None:
    """Although peft lets only one adapter at a time have gradients: here each keeps its own."""
    base = shared_base(folder, device=CPU)
    first, second = (moved(base.new(NewAdapter(rank=2, seed=seed))) for seed in (0, 1))
    base.bare()(input_ids=TOKENS)
    second(input_ids=TOKENS)
    first(input_ids=TOKENS).logits.square().sum().backward()
    assert all(bool(weight.grad.any()) for weight in first.parameters() if weight.grad is not None)
    assert all(weight.grad is not None for weight in first.parameters())
    assert all(weight.grad is None for weight in second.parameters())
    assert all(weight.requires_grad for model in (first, second) for weight in model.parameters())
    adapters = {id(weight) for model in (first, second) for weight in model.parameters()}
    assert not any(weight.requires_grad for weight in base.model.parameters() if id(weight) not in adapters)


def test_a_copy_is_an_adapter_on_the_same_base_and_goes_when_nobody_has_it(folder: Path) -> None:
    """A population keeps megabytes for each member; whoever is dropped leaves nothing behind."""
    base = shared_base(folder, device=CPU)
    adapter = moved(base.new(NewAdapter(rank=2)))
    size = len(list(base.model.parameters()))
    frozen = copy.deepcopy(adapter).requires_grad_(False)
    assert frozen.base is base
    assert torch.equal(logits_of(frozen), logits_of(adapter))
    said = logits_of(frozen)
    moved(adapter, seed=1)
    assert torch.equal(logits_of(frozen), said)
    frozen.load_state_dict(adapter.state_dict())
    assert torch.equal(logits_of(frozen), logits_of(adapter))
    del frozen
    gc.collect()
    assert (
        len(list(base.model.parameters())) > size
    )  # not in the middle of a pass, of which the collector knows nothing
    logits_of(adapter)
    assert len(list(base.model.parameters())) == size


def test_the_reference_of_a_new_adapter_is_the_base_and_of_another_a_copy(folder: Path) -> None:
    """With weights of its own where it is to be moved."""
    base = shared_base(folder, device=CPU)
    adapter = base.new(NewAdapter(rank=2))
    assert not list(reference_of(adapter).parameters())
    assert len(list(reference_of(adapter, own=True).parameters())) == len(list(adapter.parameters()))
    said = logits_of(moved(adapter))
    reference = reference_of(adapter)
    moved(adapter, seed=1)
    assert torch.equal(logits_of(reference), said)


def test_a_folder_plays_wherever_a_model_does_on_one_base(folder: Path, tmp_path: Path) -> None:
    """Written by an agent, with its value head; the two agents that load it share the base with who wrote it."""
    agent = CausalLMAgent.from_pretrained(folder, VOCABULARY, adapter=NewAdapter(rank=2))
    assert isinstance(agent.model, AdaptedModel)
    moved(agent.model)
    agent.value_head, agent.temperature = torch.nn.Linear(16, 1), 0.5
    agent.save_pretrained(tmp_path / "adapter")
    assert not (tmp_path / "adapter" / "model.safetensors").exists()
    left = tmp_path / "adapter"
    players = [CausalLMAgent.from_pretrained(left, VOCABULARY), load_agent(str(left), VOCABULARY)]
    expected = [one.dialogue for one in rollout(GAME, (agent, agent), 4, np.random.default_rng(0))]
    for player in players:
        assert isinstance(player, CausalLMAgent)
        assert isinstance(player.model, AdaptedModel)
        assert player.model.base is agent.model.base
        assert [one.dialogue for one in rollout(GAME, (player, player), 4, np.random.default_rng(0))] == expected
        assert player.value_head is not None
        assert torch.equal(player.value_head.weight, agent.value_head.weight)


def test_peft_alone_loads_the_folder(folder: Path, tmp_path: Path) -> None:
    """The names of the weights and the configuration are its own."""
    from peft import PeftModel

    adapter = moved(shared_base(folder, device=CPU).new(NewAdapter(rank=3)))
    adapter.save_pretrained(tmp_path / "adapter")
    theirs = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(folder), str(tmp_path / "adapter"))
    assert torch.equal(logits_of(theirs), logits_of(adapter))


def test_gpt2s_maps_are_adapted_as_well(tmp_path: Path) -> None:
    """They are transposed, and peft would warn."""
    GPT2LMHeadModel(GPT2Config(vocab_size=VOCABULARY.size, n_embd=16, n_layer=1, n_head=2)).save_pretrained(tmp_path)
    adapter = moved(shared_base(tmp_path, device=CPU).new(NewAdapter(rank=2)))
    assert len(list(adapter.parameters())) == 8
    assert not torch.allclose(logits_of(adapter), logits_of(adapter.base.bare()))


def test_an_adapter_of_half_precision_is_single(folder: Path) -> None:
    """Small steps would be rounded away."""
    adapter = shared_base(folder, device=CPU, dtype=torch.bfloat16).new(NewAdapter(rank=2))
    assert {weight.dtype for weight in adapter.parameters()} == {torch.float32}
    assert adapter.dtype == torch.bfloat16
    assert logits_of(adapter).dtype == torch.bfloat16


def test_an_adapter_that_was_trained_with_dropout_plays_without(folder: Path, tmp_path: Path) -> None:
    """As peft itself evaluates it: with dropout what it says would be another thing each time."""
    adapter = moved(shared_base(folder, device=CPU).new(NewAdapter(rank=2)))
    adapter.save_pretrained(tmp_path / "adapter")
    path = tmp_path / "adapter" / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"lora_dropout": 0.5}))
    read = adapted_model(path.parent, device=CPU)
    assert torch.equal(logits_of(read), logits_of(adapter))
    assert torch.equal(logits_of(copy.deepcopy(read)), logits_of(adapter))


def broken(folder: Path, tmp_path: Path) -> Path:
    """Return the folder of an adapter, to be damaged."""
    shared_base(folder, device=CPU).new(NewAdapter(rank=2)).save_pretrained(tmp_path / "adapter")
    return tmp_path / "adapter"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"base_model_name_or_path": "somebody/model"}, "to name the folder of its base, got 'somebody/model'"),
        ({"base_model_name_or_path": None}, "to name the folder of its base, got None"),
        ({"peft_type": "IA3"}, "expected a peft_type 'LORA', got 'IA3'"),
        ({"r": 4}, "expected the adapter of"),
        ({"bias": "all"}, "expected low-rank matrices alone, got biases too"),
        ({"alora_invocation_tokens": [5]}, "expected low-rank matrices alone, got alora_invocation_tokens too"),
        ({"init_lora_weights": "pissa"}, "expected one on the base as it is, got init_lora_weights 'pissa'"),
        ({"init_lora_weights": "olora"}, "expected one on the base as it is, got init_lora_weights 'olora'"),
    ],
)
def test_a_folder_that_is_not_what_it_says_is_refused(
    folder: Path, tmp_path: Path, change: dict[str, object], said: str
) -> None:
    """Without its base, of another kind or rank, with more than matrices, on a base whose weights it would change."""
    path = broken(folder, tmp_path) / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(ValueError, match=said):
        CausalLMAgent.from_pretrained(path.parent, VOCABULARY)


@pytest.mark.parametrize("damage", ["none", "half", "nan", "missing"])
def test_damaged_weights_are_refused(folder: Path, tmp_path: Path, damage: str) -> None:
    """No file, half of one, a number that is none, a matrix less."""
    path = broken(folder, tmp_path) / WEIGHTS_FILE
    weights = load_file(path)
    first = min(weights)
    if damage == "none":
        path.unlink()
    elif damage == "half":
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    else:
        found = weights.pop(first)
        save_file(weights | ({first: torch.full_like(found, torch.nan)} if damage == "nan" else {}), path)
    with pytest.raises(ValueError, match=WEIGHTS_FILE):
        adapted_model(path.parent, device=CPU)


def test_a_base_without_a_folder_cannot_be_named(tmp_path: Path) -> None:
    """It plays; what it writes names no base, and is refused when it is read."""
    base = SharedBase(micro_model(VOCABULARY, hidden_size=16, num_layers=1, num_heads=2))
    base.new(NewAdapter(rank=2)).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="to name the folder of its base, got None"):
        adapted_model(tmp_path, device=CPU)
    with pytest.raises(ValueError, match="expected one to write into"):
        base.bare().save_pretrained(tmp_path)


def view_of(tokens: Any, vocabulary: Vocabulary) -> View:
    """Return a view of nothing but tokens, whose turn is of seven at most."""
    return View(0, tokens, (), vocabulary, 7, lambda prefix: tokens, lambda prefix: None, unrestricted=True)


@pytest.mark.slow
def test_a_chat_models_adapter_says_what_it_is_said_to(smollm2: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sampled log-probabilities are those of one pass, in chunks of logits and layers computed twice, to 1e-4.

    Of 49,152 tokens, so that 7 positions have more than are computed at a time here.
    """
    vocabulary = load_vocabulary(smollm2)
    adapter = shared_base(smollm2, device=CPU).new(NewAdapter(rank=4))
    with torch.no_grad():
        for name, weight in adapter.weights.items():
            if "lora_B" in name:
                weight.normal_(std=0.01, generator=torch.Generator().manual_seed(0))
    agent = CausalLMAgent(adapter, vocabulary, gradient_checkpointing=True)
    assert not adapter.untouched
    monkeypatch.setattr("duologue.agents.language_model.causal_lm.LOGITS_AT_ONCE", 3 * vocabulary.size)
    prompts = [vocabulary.encode(text) for text in ("What is rain?", "Name a colour, any colour.")]
    views = [view_of(np.asarray(prompt, dtype=np.int64), vocabulary) for prompt in prompts]
    said = agent.speak(views, np.random.default_rng(0))
    rows = [torch.tensor([*prompt, *one.tokens]) for prompt, one in zip(prompts, said, strict=True)]
    tokens = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
    places = torch.arange(tokens.shape[1])
    attention = places < torch.tensor([len(row) for row in rows])[:, None]
    own = attention & (places >= torch.tensor([len(prompt) for prompt in prompts])[:, None])
    evaluated = agent.evaluate(tokens, attention, own).logprobs
    sampled = torch.tensor([logprob for one in said for logprob in one.logprobs or ()])
    torch.testing.assert_close(evaluated[own].detach(), sampled, atol=1e-4, rtol=0)
    evaluated.sum().backward()
    assert all(weight.grad is not None and bool(weight.grad.isfinite().all()) for weight in adapter.parameters())


def test_new_adapters_come_after_the_first_has_gone(folder: Path) -> None:
    """Of the first of all peft keeps the name; what is made after its end says what the base says, and can learn."""
    base = shared_base(folder, device=CPU)
    plain = logits_of(base.bare())
    first = moved(base.new(NewAdapter(rank=2)))
    assert not torch.allclose(logits_of(first), plain)
    del first
    gc.collect()
    second = base.new(NewAdapter(rank=2))
    assert torch.equal(logits_of(second), plain)
    third = moved(base.new(NewAdapter(rank=2)))
    del second
    gc.collect()
    fourth = base.new(NewAdapter(rank=2))
    assert torch.equal(logits_of(fourth), plain)
    said = logits_of(third)
    assert not torch.allclose(said, plain)
    fourth(input_ids=TOKENS).logits.square().mean().backward()
    assert all(weight.grad is not None for weight in fourth.parameters())
    assert torch.equal(logits_of(third), said)
