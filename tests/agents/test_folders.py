"""What the folders of models say when they do not fit: words of another game, damaged files, folders of other kinds."""

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from duologue.agents import CausalLMAgent, load_agent
from duologue.agents.folders import models_in, parse_json
from duologue.agents.language_model.micro import micro_model
from duologue.envs import WordVocabulary

WORDS = WordVocabulary("red green blue")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return the folder of a small model, with a value head, over three words."""
    model, head = micro_model(WORDS, hidden_size=8, num_layers=1, num_heads=2), nn.Linear(8, 1)
    CausalLMAgent(model, WORDS, value_head=head).save_pretrained(tmp_path / "run/model")
    return tmp_path / "run/model"


def load(folder: Path, words: str = "red green blue") -> CausalLMAgent:
    """Return the agent of a game with these words."""
    return CausalLMAgent.from_pretrained(folder, WordVocabulary(words))


def test_a_model_is_refused_by_a_game_with_other_words(folder: Path) -> None:
    """A vocabulary of the same size would give numbers that mean nothing; the first word that differs is named."""
    message = r"model .*model: expected a game with its words, got .* word 1 is 'green' there, 'pink' in this game"
    with pytest.raises(ValueError, match=message):
        load(folder, "red pink green")
    with pytest.raises(ValueError, match="word 0 is 'red' there, 'green' in this game"):
        load_agent(str(folder), WordVocabulary("green red blue"))


def test_words_that_are_missing_are_named(folder: Path) -> None:
    """In a folder that says nothing of the vocabulary's size."""
    (folder / "sampling.json").unlink()
    with pytest.raises(ValueError, match="word 2 is 'blue' there, missing in this game"):
        load(folder, "red green")


def test_a_folder_without_words_is_loaded_as_before(folder: Path) -> None:
    """Those of earlier versions, and of other libraries."""
    (folder / "words.json").unlink()
    assert torch.equal(next(load(folder, "one two three").model.parameters()), next(load(folder).model.parameters()))


@pytest.mark.parametrize("name", ["model.safetensors", "value_head.safetensors"])
@pytest.mark.parametrize("kept", [0, 20, -5])
def test_damaged_weights_are_named(folder: Path, name: str, kept: int) -> None:
    """A download or a copy that was cut off: at once, in the header, near the end."""
    (folder / name).write_bytes((folder / name).read_bytes()[:kept])
    message = rf"model/{name}: expected a safetensors file, got one that is damaged or another kind \(.*header"
    with pytest.raises(ValueError, match=message):
        load(folder)


@pytest.mark.parametrize("name", ["config.json", "sampling.json", "words.json"])
def test_damaged_json_is_named(folder: Path, name: str) -> None:
    """The file and the line, which `json` alone does not say."""
    (folder / name).write_text('{\n"vocabulary_size": \n')
    with pytest.raises(ValueError, match=rf"model/{name}, line 3: expected JSON, got something else \(Expecting value"):
        load(folder)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"[1]", "here, line 7: expected a JSON object, got list"),
        (b'{"a": 1,\n"\xff"}', "here, line 8: expected JSON in UTF-8, got byte 0xff"),
    ],
)
def test_json_that_is_no_object_is_named(data: bytes, message: str) -> None:
    """Line numbers count from where the bytes begin."""
    with pytest.raises(ValueError, match=message):
        parse_json(data, "here", first_line=7)


def test_the_folder_of_a_run_names_the_models_in_it(folder: Path) -> None:
    """Of language models and of SB3 policies, those nearest; nothing that is still being written."""
    run = folder.parent
    (run / "config.json").write_text(json.dumps({"name": "psro", "config": {}}))
    for name in ("player_0", ".writing.player_1", "checkpoints/000001"):
        (run / name).mkdir(parents=True)
        (run / name / "sb3_policy.json").touch()
    with pytest.raises(ValueError, match=rf"got {run}, another kind; it holds {run}/model, {run}/player_0$"):
        load_agent(str(run), WORDS)
    with pytest.raises(ValueError, match=rf"config.json, got {run.parent}; it holds {run}/model, {run}/player_0$"):
        load_agent(str(run.parent), WORDS)


def test_of_many_models_the_first_are_named(tmp_path: Path) -> None:
    """A pool may hold hundreds."""
    for number in range(9):
        (tmp_path / str(number)).mkdir()
        (tmp_path / str(number) / "sampling.json").touch()
    assert models_in(tmp_path).endswith(f"{tmp_path}/5 and 3 more")
