"""What the folders of models hold beside their weights, and how their files are read: errors name folder and file."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import zip_longest
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from ..envs import Vocabulary, WordVocabulary
from ..envs.text_files import unambiguous

SAMPLING_FILE = "sampling.json"
"""In whose folder a language model of ours lies."""
SB3_CONFIG_FILE = "sb3_policy.json"
"""In whose folder a policy of Stable-Baselines3 lies."""
WORDS_FILE = "words.json"
"""Beside a model over a list of words: the list."""
MAX_JSON_BYTES = 256 * 2**20
"""No file of ours has as many: read, it takes ten times as much memory."""
NAMED_MODELS = 6
"""How many model folders an error lists."""


def package_folder(name: str) -> Path | None:
    """Return the folder of an installed package, which is not imported; None: there is none of that name."""
    found = importlib.util.find_spec(name) if name.isidentifier() else None
    return Path(found.submodule_search_locations[0]) if found and found.submodule_search_locations else None


def read_json(path: Path) -> dict[str, Any]:
    """Return the JSON object in a file.

    Raises:
        ValueError: it holds something else, or more than `MAX_JSON_BYTES`; the message names the file and the line.
        FileNotFoundError: there is no such file.
    """
    return parse_json(_json_bytes(path), str(path))


def read_json_list(path: Path) -> list[Any]:
    """Return the JSON list in a file; raises as `read_json` does."""
    value = _json_value(_json_bytes(path), str(path), 1)
    if not isinstance(value, list):
        raise ValueError(f"{path}, line 1: expected a JSON list, got {type(value).__name__}")
    return value


def _json_bytes(path: Path) -> bytes:
    if path.is_dir():
        raise ValueError(f"{path}: expected a JSON file, got a folder")
    if path.exists() and not path.is_file():
        raise ValueError(f"{path}: expected a JSON file, got a pipe or a device, which might never end")
    if path.stat().st_size > MAX_JSON_BYTES:
        raise ValueError(f"{path}: expected a JSON file of at most {MAX_JSON_BYTES} bytes, got {path.stat().st_size}")
    return path.read_bytes()


def parse_json(data: bytes, where: str, *, first_line: int = 1) -> dict[str, Any]:
    """Return the JSON object in UTF-8 bytes that begin at line `first_line` of `where`, a byte-order mark left out.

    Raises:
        ValueError: they hold something else; the message names place and line.
    """
    value = _json_value(data, where, first_line)
    if not isinstance(value, dict):
        raise ValueError(f"{where}, line {first_line}: expected a JSON object, got {type(value).__name__}")
    return value


def _json_value(data: bytes, where: str, first_line: int) -> object:
    try:
        value: object = json.loads(data.decode("utf-8-sig"), object_pairs_hook=unambiguous)
    except RecursionError as error:
        raise ValueError(f"{where}, line {first_line}: expected JSON, got brackets nested too deeply") from error
    except json.JSONDecodeError as error:
        line = first_line + error.lineno - 1
        raise ValueError(f"{where}, line {line}: expected JSON, got something else ({error.msg})") from error
    except UnicodeDecodeError as error:
        line = first_line + data.count(b"\n", 0, error.start)
        raise ValueError(f"{where}, line {line}: expected JSON in UTF-8, got byte {data[error.start]:#04x}") from error
    except ValueError as error:  # a key that comes twice, or a number of thousands of digits
        raise ValueError(f"{where}, line {first_line}: expected JSON, got something else ({error})") from error
    return value


@contextmanager
def reading_tensors(path: Path) -> Iterator[None]:
    """Turn what safetensors says of a damaged file into an error that names it.

    Args:
        path: what is read inside: a file, or a folder whose safetensors files are.

    Raises:
        ValueError: a file is cut off or no safetensors file.
    """
    try:
        yield
    except SafetensorError as error:
        raise ValueError(
            f"{_damaged(path)}: expected a safetensors file, got one that is damaged or another kind ({error})"
        ) from error


def words_of(vocabulary: Vocabulary) -> list[str] | None:
    """Return the words that a model's folder keeps; None where the vocabulary is no list of words."""
    return list(vocabulary.words) if isinstance(vocabulary, WordVocabulary) else None


def write_words(folder: Path, vocabulary: Vocabulary) -> None:
    """Write the words that a model in a folder was made for; where there are none, remove those that lie there."""
    words = words_of(vocabulary)
    (folder / WORDS_FILE).unlink(missing_ok=True)
    if words is not None:
        (folder / WORDS_FILE).write_text(json.dumps({"words": words}), encoding="utf-8")


def checked_words(words: object, path: Path) -> list[str] | None:
    """Return the words that a file of ours lists; None where it lists none.

    Raises:
        ValueError: it has something else there.
    """
    if words is not None and not (isinstance(words, list) and all(isinstance(word, str) for word in words)):
        raise ValueError(f"{path}: expected a list of words, got {words!r:.80}")
    return words


def require_words(what: str, saved: Sequence[str] | None, vocabulary: Vocabulary) -> None:
    """Refuse a model over other words: its token ids would mean something else in this game.

    Args:
        what: the model and its folder, for the message.
        saved: the words it was saved with; None (an older folder, another kind of vocabulary) passes.
        vocabulary: the game's.

    Raises:
        ValueError: the words differ; the message names the first difference.
    """
    words = words_of(vocabulary)
    if saved is None or words is None:
        return
    for number, (word, asked) in enumerate(zip_longest(saved, words)):
        if word != asked:
            raise ValueError(
                f"{what}: expected a game with its words, got one with others: word {number} is {_quoted(word)} there, "
                f"{_quoted(asked)} in this game"
            )


def models_in(folder: Path) -> str:
    """Return the end of an error: which folders of models lie in a folder that is none, or nothing."""
    for depth in ("[!.]*", "[!.]*/[!.]*"):  # names with a dot are folders that are still being written
        files = (path for name in (SAMPLING_FILE, SB3_CONFIG_FILE) for path in folder.glob(f"{depth}/{name}"))
        models = sorted({str(path.parent) for path in files})
        if models:
            more = f" and {len(models) - NAMED_MODELS} more" if len(models) > NAMED_MODELS else ""
            return f"; it holds {', '.join(models[:NAMED_MODELS])}{more}"
    return ""


def _damaged(path: Path) -> Path:
    """Return the first file that cannot be opened; the folder itself if all can."""
    for file in sorted(path.glob("*.safetensors")) if path.is_dir() else ():
        try:
            with safe_open(file, "numpy"):
                pass
        except SafetensorError:
            return file
    return path


def _quoted(word: str | None) -> str:
    return "missing" if word is None else repr(word)
