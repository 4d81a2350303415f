"""What the folders of models say when they do not fit: words of another game, damaged files, folders of other kinds."""

import json
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from duologue.agents import CausalLMAgent, load_agent
from duologue.agents.folders import models_in, parse_json, read_json, read_json_list
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


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "line 1: expected JSON, got something else"),
        (b"[" * 100_000, "expected JSON, got brackets nested too deeply"),
        (b'{"a": ' * 100_000, "expected JSON, got brackets nested too deeply"),
        (b'{"a": ' + b"9" * 5000 + b"}", r"expected JSON, got something else \(Exceeds the limit"),
        (b'{"a": 1, "b": {"c": 2, "c": 3}}', r"expected JSON, got something else \(the key c twice in one object\)"),
        ('{"a": 1}'.encode("utf-16"), "expected JSON in UTF-8, got byte 0xff"),
        (b"7", "expected a JSON object, got int"),
        (b"null", "expected a JSON object, got NoneType"),
    ],
    ids=["empty", "lists", "objects", "digits", "twice", "utf-16", "number", "null"],
)
def test_json_that_cannot_be_read_is_one_line(data: bytes, message: str, folder: Path) -> None:
    """Of whatever a file holds, Python's own errors are not what a user is to read; the file is named."""
    (folder / "sampling.json").write_bytes(data)
    with pytest.raises(ValueError, match=rf"^{folder}/sampling.json.*{message}"):
        load(folder)


def test_a_byte_order_mark_is_left_out(folder: Path) -> None:
    """As an editor of Windows puts it before a file that it saves."""
    path = folder / "sampling.json"
    plain = read_json(path)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert read_json(path) == plain


def test_a_folder_or_too_much_in_place_of_json_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither is read."""
    os.mkfifo(folder / "pipe.json")
    with pytest.raises(ValueError, match=r"pipe.json: expected a JSON file, got a pipe or a device"):
        read_json(folder / "pipe.json")
    (folder / "here.json").mkdir()
    with pytest.raises(ValueError, match=r"here\.json: expected a JSON file, got a folder"):
        read_json(folder / "here.json")
    monkeypatch.setattr("duologue.agents.folders.MAX_JSON_BYTES", 4)
    with pytest.raises(ValueError, match=r"config\.json: expected a JSON file of at most 4 bytes, got \d+"):
        read_json(folder / "config.json")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"temperature": 0}', "expected a temperature > 0, got 0"),
        ('{"temperature": -1}', "expected a temperature > 0, got -1"),
        ('{"temperature": NaN}', "expected a temperature > 0, got nan"),
        ('{"temperature": Infinity}', "expected a temperature > 0, got inf"),
        ('{"temperature": "1"}', "expected a temperature > 0, got '1'"),
        ('{"temperature": true}', "expected a temperature > 0, got True"),
        ('{"temperature": [1]}', r"expected a temperature > 0, got \[1\]"),
        ('{"top_k": 9}', "expected temperature, vocabulary_size, .*top_p.*, got 'top_k' too"),
        ('{"vocabulary_size": "11"}', "expected a game of its vocabulary, 11 tokens"),
    ],
)
def test_a_sampling_file_that_says_nonsense_is_refused(text: str, message: str, folder: Path) -> None:
    """What it says is checked when it is loaded, not when the first token is drawn."""
    (folder / "sampling.json").write_text(text)
    with pytest.raises(ValueError, match=message):
        load(folder)


@pytest.mark.parametrize("words", ['"red green blue"', "[1, 2, 3]", '{"red": 1}', "3", '["red", null]'])
def test_a_list_of_words_that_is_none_is_refused(words: str, folder: Path) -> None:
    """A text is no list of its letters."""
    (folder / "words.json").write_text('{"words": ' + words + "}")
    with pytest.raises(ValueError, match=r"words\.json: expected a list of words, got"):
        load(folder)


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"weight": torch.ones(1, 9), "bias": torch.ones(1)}, "expected the value head of a model of width 8"),
        ({"weight": torch.ones(1, 8)}, "expected the value head of a model of width 8"),
        ({"weight": torch.ones(1, 8), "bias": torch.ones(1), "more": torch.ones(1)}, "expected the value head"),
        ({"weight": torch.ones(1, 8), "bias": torch.full((1,), torch.nan)}, "expected finite weights, got NaN .* bias"),
    ],
)
def test_a_value_head_of_another_model_is_refused(tensors: dict[str, torch.Tensor], message: str, folder: Path) -> None:
    """Torch's own error would name no file."""
    save_file(tensors, folder / "value_head.safetensors")
    with pytest.raises(ValueError, match=rf"value_head\.safetensors: {message}"):
        load(folder)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"{}", "line 1: expected a JSON list, got dict"),
        (b"[1,\n" + b"9" * 5000 + b"]", "line 1: expected JSON, got something else"),
        (b"[" * 100_000, "line 1: expected JSON, got brackets nested too deeply"),
        (b"[1,\n2,\n", "line 3: expected JSON, got something else"),
    ],
    ids=["object", "digits", "nested", "cut"],
)
def test_a_list_that_cannot_be_read_is_one_line(data: bytes, message: str, tmp_path: Path) -> None:
    """As an object is."""
    path = tmp_path / "list.json"
    path.write_bytes(b"[0.5, 0.5]")
    assert read_json_list(path) == [0.5, 0.5]
    path.write_bytes(data)
    with pytest.raises(ValueError, match=rf"^{path}, {message}"):
        read_json_list(path)
