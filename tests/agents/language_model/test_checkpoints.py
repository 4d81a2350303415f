"""Folders that are not what they say: parts missing or left over, other sizes, pickles, adapters, no numbers."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    BloomConfig,
    BloomForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    LlamaForSequenceClassification,
    MptConfig,
    MptForCausalLM,
    PreTrainedModel,
    RobertaConfig,
    RobertaForCausalLM,
)

from duologue.agents import CausalLMAgent, load_agent
from duologue.agents.judges.learned import ClassifierJudge, SafetyTokenJudge
from duologue.agents.judges.reward_model import SequenceRewardModel
from duologue.agents.language_model.checkpoints import positions_of
from duologue.agents.language_model.micro import micro_model
from duologue.baselines.text.causal_models import load_causal_model
from duologue.baselines.training.options import load_model
from duologue.envs import WordVocabulary, make_game
from duologue.envs.tokenizer_vocabulary import TokenizerVocabulary
from duologue.tests.helpers import CHATML, tiny_tokenizer

TOKENIZER = tiny_tokenizer(CHATML)
VOCABULARY = TokenizerVocabulary(TOKENIZER)
SIZE: dict[str, Any] = {
    "vocab_size": len(TOKENIZER),
    "hidden_size": 16,
    "intermediate_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
}
LONG_ROPE: dict[str, Any] = {
    "rope_type": "longrope",
    "rope_theta": 10000.0,
    "short_factor": [1.0] * 4,
    "long_factor": [4.0] * 4,
    "original_max_position_embeddings": 16,
}
"""How Phi-3 counts: beyond 16 tokens, all of them are turned otherwise."""
LAST = "model.layers.1.mlp.up_proj.weight"
Weights = dict[str, torch.Tensor]

LOADERS: dict[str, Callable[[Path], object]] = {
    "agent": lambda folder: CausalLMAgent.from_pretrained(folder, VOCABULARY),
    "model to train": lambda folder: load_causal_model(folder, TOKENIZER, max_positions=8),
    "reward model": lambda folder: SequenceRewardModel.from_pretrained(folder, VOCABULARY),
    "guard": lambda folder: SafetyTokenJudge.from_folder(folder, template="{prompt} {reply} ", safe="s", unsafe="u"),
    "classifier": ClassifierJudge.from_folder,
}


class Bomb:
    """A pickle of it leaves a file where it is read."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


@pytest.fixture(params=list(LOADERS))
def loader(request: pytest.FixtureRequest) -> Callable[[Path], object]:
    """Return each way to load a model of a folder."""
    return LOADERS[request.param]


@pytest.fixture
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Return the folder of a whole model, of the kind that the loader takes."""
    classifies = "classifier" in request.node.name
    config = LlamaConfig(**SIZE, id2label={0: "safe", 1: "unsafe"}) if classifies else LlamaConfig(**SIZE)
    kind: Any = LlamaForSequenceClassification if classifies else LlamaForCausalLM
    kind(config).save_pretrained(tmp_path)
    TOKENIZER.save_pretrained(tmp_path)
    return tmp_path


def edited(folder: Path, edit: Callable[[Weights], Weights]) -> None:
    """Write other weights into a folder."""
    path = folder / "model.safetensors"
    save_file(edit(load_file(path)), path, metadata={"format": "pt"})


def configured(folder: Path, **changes: Any) -> None:
    """Write other values into a folder's config.json."""
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def indexed(folder: Path, name: str) -> None:
    """Let an index name `name` as the file of all weights."""
    keys = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": dict.fromkeys(keys, name)}))


def test_a_whole_folder_is_loaded(folder: Path, loader: Callable[[Path], object]) -> None:
    """The other side of all refusals below."""
    assert loader(folder)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda weights: {k: v for k, v in weights.items() if k != LAST}, f"got none for .*{LAST}"),
        (lambda weights: weights | {"model.layers.2.up": torch.ones(2)}, r"got others as well: model\.layers\.2\.up"),
        (lambda weights: weights | {LAST: torch.ones(3, 16)}, rf"the sizes .* got {LAST} of \(3, 16\) for \(16, 16\)"),
        (lambda weights: weights | {LAST: weights[LAST] * torch.nan}, f"expected finite weights, got NaN .* in {LAST}"),
        (lambda weights: weights | {LAST: weights[LAST] + torch.inf}, f"expected finite weights, got NaN .* in {LAST}"),
    ],
    ids=["missing", "left over", "of another size", "NaN", "infinite"],
)
def test_weights_that_are_not_those_of_the_model_are_refused(
    folder: Path, loader: Callable[[Path], object], edit: Callable[[Weights], Weights], message: str
) -> None:
    """Transformers draws what is missing at random and drops the rest; both would only be seen in the numbers."""
    edited(folder, edit)
    with pytest.raises(ValueError, match=message):
        loader(folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"vocab_size": len(TOKENIZER) + 1}, "expected weights of the sizes that its config.json gives"),
        ({"hidden_size": 32}, "expected weights of the sizes that its config.json gives"),
        ({"num_hidden_layers": 1}, "got others as well"),
        ({"num_hidden_layers": 3}, "got none for"),
        ({"num_hidden_layers": 10**9}, "expected no more layers than weights, got num_hidden_layers 1000000000"),
        ({"num_hidden_layers": "2"}, "num_hidden_layers"),
        ({"vocab_size": 10**12}, "expected weights of the sizes|embeddings"),
        ({"hidden_act": "nothing"}, "expected a model that transformers can load, got KeyError: 'nothing'"),
        ({"model_type": "nothing"}, "nothing"),
        ({"model_type": 7}, "expected the folder of a model"),
        ({"attn_implementation": "somebody/kernel"}, "expected attention of transformers' own, got 'somebody/k"),
    ],
)
def test_a_configuration_of_another_model_is_refused(
    folder: Path, loader: Callable[[Path], object], changes: dict[str, Any], message: str
) -> None:
    """Other sizes, more or fewer layers, nonsense: before anything large is built."""
    configured(folder, **changes)
    with pytest.raises(ValueError, match=message):
        loader(folder)


def test_another_architecture_is_refused(folder: Path, loader: Callable[[Path], object]) -> None:
    """The weights of a Llama as a GPT-2."""
    configured(folder, model_type="gpt2")
    with pytest.raises(ValueError, match="got none for"):
        loader(folder)


@pytest.mark.parametrize("name", ["weights.bin", "../weights.safetensors", "gone.safetensors", 7])
def test_an_index_that_names_anything_but_safetensors_beside_it_is_refused(
    folder: Path, loader: Callable[[Path], object], name: Any, tmp_path: Path
) -> None:
    """A pickle that would leave a file, a file elsewhere, none, and no name; nothing is read."""
    indexed(folder, name)
    torch.save({"weights": Bomb(tmp_path / "ran")}, folder / "weights.bin")
    with pytest.raises(ValueError, match=r"expected weights as safetensors|which its index names|a weight_map"):
        loader(folder)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "tf_model.h5", "flax_model.msgpack", "last.ckpt"])
def test_weights_in_other_files_are_not_read(
    folder: Path, loader: Callable[[Path], object], name: str, tmp_path: Path
) -> None:
    """Whether pickle or not: a folder that holds nothing else is refused, and what lies there is named."""
    (folder / "model.safetensors").unlink()
    torch.save({"weights": Bomb(tmp_path / "ran")}, folder / name)
    with pytest.raises(ValueError, match=f"expected weights as safetensors.*got {name}"):
        loader(folder)
    assert not (tmp_path / "ran").exists()


def test_an_adapter_is_refused(folder: Path, loader: Callable[[Path], object]) -> None:
    """Transformers would load the base model that it names, from wherever."""
    config = {"base_model_name_or_path": "somebody/model", "peft_type": "LORA", "r": 1}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match=r"got an adapter, adapter_config|name the folder of its base"):
        loader(folder)


def test_a_classifier_or_a_bare_backbone_is_no_language_model(tmp_path: Path) -> None:
    """Their last layer would be drawn at random."""
    for kind in (LlamaForSequenceClassification, LlamaForCausalLM):
        model: Any = kind(LlamaConfig(**SIZE))
        part = model if kind is LlamaForSequenceClassification else model.model
        part.save_pretrained(tmp_path / kind.__name__)
        with pytest.raises(ValueError, match=r"a LlamaForCausalLM, got none for lm_head\.weight"):
            CausalLMAgent.from_pretrained(tmp_path / kind.__name__, VOCABULARY)


def test_tied_weights_are_not_missing(tmp_path: Path) -> None:
    """They stand in the file once."""
    LlamaForCausalLM(LlamaConfig(**SIZE, tie_word_embeddings=True)).save_pretrained(tmp_path)
    assert "lm_head.weight" not in load_file(tmp_path / "model.safetensors")
    CausalLMAgent.from_pretrained(tmp_path, VOCABULARY)


def test_a_saved_reward_model_without_its_head_is_refused(tmp_path: Path) -> None:
    """A backbone gets a new head; what was saved as a reward model or a classifier must have its own."""
    SequenceRewardModel.from_config(LlamaConfig(**SIZE), VOCABULARY).save_pretrained(tmp_path)
    edited(tmp_path, lambda weights: {k: v for k, v in weights.items() if k != "score.weight"})
    with pytest.raises(ValueError, match=r"got none for score\.weight"):
        SequenceRewardModel.from_pretrained(tmp_path, VOCABULARY)
    (tmp_path / "reward_model.json").unlink()
    with pytest.raises(ValueError, match=r"got none for score\.weight"):
        SequenceRewardModel.from_pretrained(tmp_path, VOCABULARY)


def test_an_encoder_with_more_layers_than_it_says_is_no_backbone(tmp_path: Path) -> None:
    """Without a prefix its names are those of no head either."""
    BertForSequenceClassification(BertConfig(**SIZE)).bert.save_pretrained(tmp_path)
    SequenceRewardModel.from_pretrained(tmp_path, VOCABULARY)
    configured(tmp_path, num_hidden_layers=1)
    with pytest.raises(ValueError, match=r"got others as well: encoder\.layer\.1"):
        SequenceRewardModel.from_pretrained(tmp_path, VOCABULARY)


@pytest.mark.parametrize(
    ("model", "positions"),
    [
        (GPT2LMHeadModel(GPT2Config(vocab_size=8, n_embd=8, n_layer=1, n_head=1, n_positions=24)), 24),
        (LlamaForCausalLM(LlamaConfig(**SIZE)), 64),
        (RobertaForCausalLM(RobertaConfig(**SIZE | {"pad_token_id": 1}, is_decoder=True)), 62),
        (BloomForCausalLM(BloomConfig(vocab_size=8, hidden_size=8, n_layer=1, n_head=1)), None),
        (MptForCausalLM(MptConfig(vocab_size=8, d_model=8, n_layers=1, n_heads=1, max_seq_len=8)), None),
        (LlamaForCausalLM(LlamaConfig(**SIZE, rope_parameters=LONG_ROPE)), 16),
    ],
    ids=["learned", "rotary", "counted from padding", "ALiBi", "ALiBi with a length", "other rotations beyond"],
)
def test_the_positions_of_a_model_are_known(model: PreTrainedModel, positions: int | None) -> None:
    """From its configuration; RoBERTa and its kin lose those up to that of padding."""
    assert positions_of(model) == positions


@pytest.mark.parametrize("kind", ["learned", "rotary"])
def test_a_model_with_fewer_positions_than_the_longest_view_is_refused_when_loaded(kind: str, tmp_path: Path) -> None:
    """With learned positions a rollout would die in the middle, with rotary ones go on silently."""
    game = make_game("red_team-v0")
    if kind == "learned":
        config = GPT2Config(vocab_size=game.vocabulary.size, n_embd=8, n_layer=1, n_head=1, n_positions=24)
        GPT2LMHeadModel(config).save_pretrained(tmp_path)
    else:
        micro_model(game.vocabulary, hidden_size=8, num_layers=1, num_heads=2, max_positions=24).save_pretrained(
            tmp_path
        )
    message = rf"at least {game.max_view_tokens} positions \(the game's longest view\), got 24"
    with pytest.raises(ValueError, match=message):
        load_model(tmp_path, game)
    with pytest.raises(ValueError, match=message):
        load_agent(str(tmp_path), game.vocabulary, max_view_tokens=game.max_view_tokens)


def test_a_model_of_words_is_not_mistaken_for_one_that_reads_text(tmp_path: Path) -> None:
    """A chat model's ids 8 to 14 would stand for a game's cards and words, and its tokenizer for nothing."""
    LlamaForCausalLM(LlamaConfig(**SIZE)).save_pretrained(tmp_path)
    TOKENIZER.save_pretrained(tmp_path)
    words = make_game("kuhn_poker-v0").vocabulary
    with pytest.raises(ValueError, match=r"expected a model of the game's 15 words, got one .* tokenizer_?\w*\.json"):
        load_agent(str(tmp_path), words)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / name).unlink()
    load_agent(str(tmp_path), words)
    (tmp_path / "words.json").write_text(json.dumps({"words": ["yes", "no"]}))
    with pytest.raises(ValueError, match="expected one that reads text, got one of 2 words"):
        CausalLMAgent.from_pretrained(tmp_path, VOCABULARY)


def test_a_model_with_another_tokenizer_than_the_games_is_refused(tmp_path: Path) -> None:
    """As many tokens, other ones: the first that differs is named."""
    LlamaForCausalLM(LlamaConfig(**SIZE)).save_pretrained(tmp_path)
    other = tiny_tokenizer(CHATML, sentences=("zebra quartz vex " * 9, "jumbled wizards"), vocab_size=len(TOKENIZER))
    other.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"expected the game's tokenizer, of \d+ tokens, got another.* token \d+ is '"):
        CausalLMAgent.from_pretrained(tmp_path, VOCABULARY)
    TOKENIZER.save_pretrained(tmp_path)
    assert CausalLMAgent.from_pretrained(tmp_path, VOCABULARY).vocabulary is VOCABULARY


def test_a_word_vocabulary_alone_says_nothing_of_a_tokenizer(tmp_path: Path) -> None:
    """Our own folders have words beside the model."""
    words = WordVocabulary("yes no")
    CausalLMAgent(micro_model(words, hidden_size=8, num_layers=1, num_heads=2), words).save_pretrained(tmp_path)
    load_agent(str(tmp_path), words)
