"""Tokenizers from folders: damaged ones are named, nothing else is loaded, a byte-order mark is no text."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from duologue.agents.language_model.tokenizers import load_tokenizer
from duologue.tests.helpers import CHATML, tiny_tokenizer

TOKENIZER, CONFIG, TEMPLATE = "tokenizer.json", "tokenizer_config.json", "chat_template.jinja"
Edit = Callable[[Path], Any]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with a saved tokenizer."""
    tiny_tokenizer(CHATML).save_pretrained(tmp_path)
    return tmp_path


def written(name: str, data: bytes | str) -> Edit:
    """Return what puts something else into a file."""
    return lambda folder: (folder / name).write_bytes(data.encode() if isinstance(data, str) else data)


def changed(name: str, **entries: Any) -> Edit:
    """Return what changes entries of a JSON file; those of `model` stand inside of it."""

    def change(folder: Path) -> None:
        known = json.loads((folder / name).read_text(encoding="utf-8"))
        inside = known["model"] if "vocab" in entries or "merges" in entries else known
        inside.update(entries)
        (folder / name).write_text(json.dumps(known), encoding="utf-8")

    return change


def without(*names: str) -> Edit:
    """Return what removes files."""

    def remove(folder: Path) -> None:
        for name in names:
            (folder / name).unlink()

    return remove


def untemplated(template: Any) -> Edit:
    """Return what writes a chat template into the configuration, instead of its own file."""
    return both(without(TEMPLATE), changed(CONFIG, chat_template=template))


def both(first: Edit, second: Edit) -> Edit:
    """Return what does one thing and then the other."""
    return lambda folder: (first(folder), second(folder))


DEEP = "[" * 100_000
DAMAGED: dict[str, tuple[Edit, str]] = {
    "no JSON": (written(TOKENIZER, "{oops"), rf"{TOKENIZER}, line 1: expected JSON, got something else"),
    "empty": (written(TOKENIZER, ""), rf"{TOKENIZER}, line 1: expected JSON, got something else"),
    "cut off": (
        lambda folder: (folder / TOKENIZER).write_bytes((folder / TOKENIZER).read_bytes()[:900]),
        rf"{TOKENIZER}, line \d+: expected JSON, got something else",
    ),
    "nested deeply": (written(TOKENIZER, DEEP), rf"{TOKENIZER}, line 1: expected JSON, got .*nested too deeply"),
    "a list": (written(TOKENIZER, "[1]"), rf"{TOKENIZER}, line 1: expected a JSON object, got list"),
    "null": (written(TOKENIZER, "null"), rf"{TOKENIZER}, line 1: expected a JSON object, got NoneType"),
    "another encoding": (written(TOKENIZER, "{}".encode("utf-16")), rf"{TOKENIZER}, line 1: expected JSON in UTF-8"),
    "a huge number": (
        written(TOKENIZER, f'{{"a": {"9" * 6000}}}'),
        rf"{TOKENIZER}, line 1: expected JSON, got .*4300 digits",
    ),
    "words in a list": (changed(TOKENIZER, vocab=[1]), rf"damaged .*{TOKENIZER}: invalid type"),
    "an id below 0": (changed(TOKENIZER, vocab={"a": -1}), rf"damaged .*{TOKENIZER}: invalid value: integer `-1`"),
    "merges of no words": (changed(TOKENIZER, merges=[["q", "zz"]]), rf"damaged .*{TOKENIZER}: Token"),
    "no model": (written(TOKENIZER, "{}"), "expected a folder with a saved tokenizer"),
    "config: no JSON": (written(CONFIG, "{oops"), rf"{CONFIG}, line 1: expected JSON"),
    "config: nested deeply": (written(CONFIG, DEEP), rf"{CONFIG}, line 1: expected JSON, got .*nested too deeply"),
    "config: a list": (written(CONFIG, "[1]"), rf"{CONFIG}, line 1: expected a JSON object, got list"),
    "config: a number for an end": (changed(CONFIG, eos_token=5), "got Special token eos_token has to be"),
    "config: a text for a length": (changed(CONFIG, model_max_length="a"), "expected a folder with a saved tokenizer"),
    "config: an unknown class": (changed(CONFIG, tokenizer_class=5), rf"{CONFIG}: expected a tokenizer_class"),
    "config: a model's class": (
        changed(CONFIG, tokenizer_class="LlamaForCausalLM"),
        rf"{CONFIG}: expected a tokenizer_class such as 'PreTrainedTokenizerFast', got 'LlamaForCausalLM'",
    ),
    "template: a number": (untemplated(5), rf"{CONFIG}: expected a chat_template of text, or named ones, got .*5"),
    "template: a list of numbers": (untemplated([1]), rf"{CONFIG}: expected a chat_template of text, or named ones"),
    "template: a nameless one": (untemplated([{"template": "x"}]), rf"{CONFIG}: expected a chat_template of text"),
    "template: no text": (
        written(TEMPLATE, b"\xe9\xff"),
        "expected a folder with a saved tokenizer, got 'utf-8' codec",
    ),
    "other marks: no JSON": (written("added_tokens.json", "[["), r"added_tokens.json, line 1: expected JSON"),
    "no words": (
        both(without(TOKENIZER), changed(CONFIG, tokenizer_class="GPT2Tokenizer")),
        "expected a file with its tokens, got none of ",
    ),
    "nothing": (without(TOKENIZER, CONFIG, TEMPLATE), "expected a folder with a saved tokenizer"),
}


@pytest.mark.parametrize("name", list(DAMAGED))
def test_a_damaged_folder_is_refused_in_one_line(folder: Path, name: str) -> None:
    """Which names the file, where one is damaged; the libraries raise errors of eight kinds."""
    edit, message = DAMAGED[name]
    edit(folder)
    with pytest.raises(ValueError, match=message) as error:
        load_tokenizer(folder)
    assert str(folder) in str(error.value)
    assert "\n" not in str(error.value)


def test_named_templates_are_loaded(folder: Path) -> None:
    """As configurations of 2024 have them."""
    untemplated([{"name": "default", "template": CHATML}, {"name": "rag", "template": "x"}])(folder)
    assert load_tokenizer(folder).chat_template == {"default": CHATML, "rag": "x"}


def test_a_byte_order_mark_is_no_part_of_a_template(folder: Path) -> None:
    """It would stand at the head of every view."""
    (folder / TEMPLATE).write_text(CHATML, encoding="utf-8-sig")
    assert load_tokenizer(folder).chat_template == CHATML


def test_nothing_is_asked_of_the_hub(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor may a path be taken for a repository's name."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("socket.socket.connect", lambda *_: pytest.fail("asked the network"))
    assert len(load_tokenizer(folder)) == 340
    with pytest.raises(ValueError, match="tokenizer: expected a folder with a saved tokenizer, got 'gpt2/base'"):
        load_tokenizer("gpt2/base")
    shutil.rmtree(folder)


@pytest.mark.parametrize("name", ["PreTrainedTokenizerFast", "TokenizersBackend"])
@pytest.mark.parametrize("model_type", ["llama", "qwen2", "qwen3", "qwen3_5"])
def test_a_text_is_cut_as_the_file_says_whatever_model_lies_beside_it(model_type: str, name: str, folder: Path) -> None:
    """Transformers takes Qwen's class for models of its architectures, which keeps digits and line breaks apart."""
    changed(CONFIG, tokenizer_class=name)(folder)
    (folder / "config.json").write_text(json.dumps({"model_type": model_type}), encoding="utf-8")
    tokenizer, expected = load_tokenizer(folder), tiny_tokenizer(CHATML)
    for text in ("12345 of 67", "the sea\n\nand the  people", "I can't; 3,5", "e\u0301"):
        assert tokenizer.encode(text, add_special_tokens=False) == expected.encode(text, add_special_tokens=False)
    assert tokenizer.chat_template == CHATML
