"""Folders of sentence encoders, checked before the library reads them: whose classes, which weights, all of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel
from transformers.utils.hub import cached_file

from ..folders import package_folder, read_json
from ..weights import require_finite
from .checkpoints import (
    ADAPTER_CONFIG_FILE,
    PICKLES,
    load_checkpoint,
    positions_of,
    require_plain_weights,
    without_bars,
    without_load_report,
)

MODULES_FILE = "modules.json"
MODULES = {
    "CNN", "Dense", "Dropout", "LSTM", "LayerNorm", "Normalize", "Pooling", "StaticEmbedding", "Transformer",
    "WeightedLayerPooling",
}  # fmt: skip
"""The classes of sentence-transformers that read nothing but JSON and safetensors; others import what JSON names."""

HARMLESS = {"add_pooling_layer", "attn_implementation", "dtype", "torch_dtype"}
"""The options of transformers that an encoder's JSON may give; a name with a slash would be the hub's."""


def load_sentence_transformer(make: Callable[..., Any], name_or_path: str, device: str | None) -> Any:
    """Return the model in a folder, that of a name in the hub's local cache, or what an installed package brings.

    Raises:
        ValueError: there is none, or its folder is not what it says.
    """
    folder = _folder_of(name_or_path)
    _require_known_modules(folder)
    options: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    with without_bars(), without_load_report():
        try:
            model = make(str(folder), device=device, model_kwargs={"use_safetensors": True}, **options)
        except Exception as error:  # a hostile folder ends in any error of Python's
            said = " ".join(str(error).split())
            raise ValueError(
                f"encoder {folder}: expected a sentence encoder, got {type(error).__name__}: {said:.300}"
            ) from error
    for part in model.modules():
        if isinstance(part, PreTrainedModel):  # the library does not look whether its weights were all there
            load_checkpoint(type(part), Path(part.name_or_path or folder), what="encoder", new_head=True)
            limit = positions_of(part)
            if limit is not None and (model.max_seq_length or limit + 1) > limit:  # RoBERTa's are fewer than it says
                model.max_seq_length = limit
            break
    require_finite(model.state_dict(), f"encoder {folder}")
    return model.eval()


def _folder_of(name_or_path: str) -> Path:
    if Path(name_or_path).is_dir():
        return Path(name_or_path)
    package = package_folder(name_or_path)
    inside = [] if package is None else sorted(package.glob(f"**/{MODULES_FILE}"))
    if len(inside) == 1:
        return inside[0].parent
    try:  # the cache keeps a model's files in one folder
        return Path(str(cached_file(name_or_path, MODULES_FILE, local_files_only=True))).parent
    except (OSError, ValueError) as error:
        raise ValueError(
            f"encoder: expected a folder, or the name of a model that was downloaded before, got {name_or_path!r}; "
            f"`hf download {name_or_path}` downloads one"
        ) from error


def _require_known_modules(folder: Path) -> None:
    """Refuse parts that are no classes of the library's, and weights that are no safetensors."""
    for path in _parts_of(folder):
        pickled = sorted(file.name for pattern in PICKLES for file in path.glob(pattern))
        if pickled and not any(path.glob("*.safetensors")):
            raise ValueError(
                f"encoder {path}: expected weights as safetensors, which hold numbers only, got {pickled[0]}, a "
                "pickle, which can run anything when it is read, or another kind"
            )
        if (path / ADAPTER_CONFIG_FILE).is_file():
            raise ValueError(f"encoder {path}: expected a whole model, got an adapter, {ADAPTER_CONFIG_FILE}")
        config = read_json(path / "config.json") if (path / "config.json").is_file() else {}
        if "model_type" in config:
            require_plain_weights(path, "encoder")
        if not str(config.get("activation_function", "torch.")).startswith("torch."):  # the library would take another
            found = config["activation_function"]
            raise ValueError(f"{path / 'config.json'}: expected an activation_function of torch's, got {found!r:.80}")
        for file in sorted(path.glob("sentence_*_config.json")):
            _require_harmless(file)


def _parts_of(folder: Path) -> list[Path]:
    """Return the folders that the parts of an encoder are read from, each of a class that is known."""
    path = folder / MODULES_FILE
    if not path.is_file():
        return [folder]
    try:
        modules = json.loads(path.read_text(encoding="utf-8"))
        parts = [(module["type"], Path(module["path"])) for module in modules]
        kinds = [str(kind).split(".") for kind, _ in parts]
        if not parts:
            raise ValueError(parts)
    except (KeyError, RecursionError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: expected a list of modules with type and path, got something else") from error
    for (kind, part), names in zip(parts, kinds, strict=True):
        if names[0] != "sentence_transformers" or names[-1] not in MODULES:
            raise ValueError(f"{path}: expected modules of sentence-transformers, {sorted(MODULES)}, got {kind!r:.80}")
        if part.is_absolute() or ".." in part.parts:
            raise ValueError(f"{path}: expected folders inside {folder}, got {str(part)!r:.80}")
    return [folder, *(folder / part for _, part in parts)]


def _require_harmless(path: Path) -> None:
    """Refuse options that the library would hand on to transformers: among them are those that let code run."""
    known = read_json(path)
    for name in ("model_args", "model_kwargs", "config_args", "config_kwargs"):
        options = known.get(name) or {}
        if not isinstance(options, dict) or not options.keys() <= HARMLESS or "/" in json.dumps(options):
            raise ValueError(f"{path}: expected no {name} but {sorted(HARMLESS)}, got {options!r:.200}")
