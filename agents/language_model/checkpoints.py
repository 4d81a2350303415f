"""Folders of transformers models: read whole, as numbers, from this machine; anything else is refused by name.

Transformers fills in at random what a folder lacks, leaves out what the model has no place for, reads pickles that an
index names, and asks the hub for the base model that an adapter names. A folder that is not what it says would so play,
judge or be trained on as noise.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from transformers import AutoConfig, PreTrainedConfig, PreTrainedModel
from transformers.utils import logging as transformers_logging

from ..folders import models_in, read_json, reading_tensors
from ..weights import require_finite

INDEX_FILE = "model.safetensors.index.json"
ADAPTER_CONFIG_FILE = "adapter_config.json"
PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl", "*.h5", "*.msgpack")
"""What weights are called that are no safetensors; the first ones are pickles, which run what they hold."""
ATTENTION = ("attn_implementation", "_attn_implementation", "_attn_implementation_internal")
"""What a configuration calls the code that computes attention, which transformers would get from the hub."""
LAYER_COUNTS = ("num_hidden_layers", "num_layers", "n_layer", "n_layers", "decoder_layers", "encoder_layers")
NAMED_KEYS = 3
"""How many weights an error names."""


def load_checkpoint(
    auto: Any,
    folder: str | Path,
    *,
    what: str = "model",
    new_head: bool = False,
    trust_remote_code: bool = False,
    **options: Any,
) -> PreTrainedModel:
    """Return the model of a folder in evaluation mode, once it is seen to be all there, and finite.

    Nothing is downloaded, no pickle is read, and no code of the folder is run unless that is asked for.

    Args:
        auto: a model class of transformers, or one of its `AutoModel` classes.
        folder: holds config.json and weights as safetensors.
        what: the thing that is loaded, for the message.
        new_head: whether the folder may have another head than the model, or none; the model's is then drawn anew.
        trust_remote_code: whether Python code in the folder may be run; without it such a folder is refused.
        options: for `from_pretrained`, as the dtype.

    Raises:
        ValueError: there is no model, or the folder is not what it says; the message names it and what is amiss.
    """
    folder = Path(folder)
    require_plain_weights(folder, what)
    options |= {"local_files_only": True, "trust_remote_code": trust_remote_code}
    with without_bars(), without_load_report(), reading_tensors(folder):
        try:
            model, report = auto.from_pretrained(str(folder), use_safetensors=True, output_loading_info=True, **options)
        except (SafetensorError, torch.OutOfMemoryError):
            raise
        except Exception as error:  # a hostile config.json ends in any error of Python's
            raise ValueError(f"{what} {folder}: {_reason(error, auto, folder)}") from error
    _require_all(model, report, folder, what, new_head=new_head)
    require_finite(model.state_dict(), f"{what} {folder}")
    checked: PreTrainedModel = model.eval()
    return checked


def load_config(folder: Path, *, what: str = "model", trust_remote_code: bool = False) -> PreTrainedConfig:
    """Return the configuration of a folder.

    Raises:
        ValueError: transformers cannot read it, or it asks for code of its own.
    """
    try:
        config = AutoConfig.from_pretrained(str(folder), local_files_only=True, trust_remote_code=trust_remote_code)
    except Exception as error:  # a hostile config.json ends in any error of Python's
        raise ValueError(
            f"{what} {folder}: expected a configuration that transformers can read, got {_first_words(error)}"
        ) from error
    assert isinstance(config, PreTrainedConfig)
    return config


def require_plain_weights(folder: Path, what: str = "model") -> None:
    """Refuse a folder that is no model's, or whose weights are anything but safetensors beside its config.json.

    Raises:
        ValueError: so; the message says what lies there.
    """
    if not (folder / "config.json").is_file():
        place = "model folder" if what == "model" else what
        raise ValueError(f"{place}: expected a folder with a config.json, got {folder}{models_in(folder)}")
    config = read_json(folder / "config.json")
    if not isinstance(config.get("model_type"), str):
        raise ValueError(
            f"{what} folder: expected the folder of a model, got {folder}, another kind{models_in(folder)}"
        )
    if (folder / ADAPTER_CONFIG_FILE).is_file():
        raise ValueError(
            f"{what} {folder}: expected a whole model, got an adapter, {ADAPTER_CONFIG_FILE}; merge it into its base "
            "model with peft and call save_pretrained"
        )
    for part in (config, *(value for value in config.values() if isinstance(value, dict))):
        kernel = next((part[name] for name in ATTENTION if "/" in str(part.get(name))), None)
        if kernel is not None:
            raise ValueError(
                f"{what} {folder}: expected attention of transformers' own, got {kernel!r:.80} of the hub's"
            )
    names = _weight_files(folder)
    others = sorted({path.name for pattern in PICKLES for path in folder.glob(pattern)})
    foreign = [name for name in names if not name.endswith(".safetensors") or name != Path(name).name]
    if foreign or (others and not names):
        raise ValueError(
            f"{what} {folder}: expected weights as safetensors, which hold numbers only, got "
            f"{', '.join((foreign or others)[:NAMED_KEYS])}, a pickle, which can run anything when it is read, or "
            "another kind; if you trust it, load it with transformers and call save_pretrained"
        )
    if not names:
        raise ValueError(f"{what} {folder}: expected weights as safetensors beside its config.json, got none")
    _require_no_more_layers(config, folder, names, what)


def num_embeddings(model: PreTrainedModel) -> int:
    """Return how many token ids a model can read.

    Raises:
        ValueError: it has no table of embeddings.
    """
    weight = getattr(model.get_input_embeddings(), "weight", None)
    if weight is None:
        raise ValueError(f"model: expected one with a table of input embeddings, got {type(model).__name__}")
    return len(weight)


def require_embeddings(model: PreTrainedModel, needed: int, whose: str, what: str = "model") -> None:
    """Refuse a model that cannot read all token ids below `needed`.

    Raises:
        ValueError: it has fewer embeddings.
    """
    rows = num_embeddings(model)
    if rows < needed:
        raise ValueError(f"{what}: expected at least {needed} embeddings ({whose}), got {rows}")


def text_config(config: PreTrainedConfig) -> PreTrainedConfig:
    """Return what a configuration says of the language model: itself, or its part where others see and hear."""
    inner: PreTrainedConfig = config.get_text_config(decoder=True)
    return inner


def positions_of(model: PreTrainedModel) -> int | None:
    """Return how many tokens a model has positions for; None where nothing bounds them, as with ALiBi or a recurrence.

    Rotary positions have a bound too, that of the texts the model was trained on: transformers goes beyond it silently.
    """
    config = text_config(model.config)
    attention = getattr(config, "attn_config", None)
    if getattr(config, "alibi", False) or getattr(attention, "alibi", False):
        return None
    names = ("max_position_embeddings", "n_positions", "max_seq_len", "max_target_positions", "max_sequence_length")
    for name in names:
        limit = getattr(config, name, None)
        if isinstance(limit, int) and limit > 0:
            return max(1, min(limit, _same_rotation(config) or limit) - first_position(model))
    return None


def _same_rotation(config: PreTrainedConfig) -> int | None:
    """Return up to how many tokens rotary positions stay what they were; None where they always do.

    LongRoPE (Phi-3) has other frequencies beyond so many: for all tokens of a batch, whatever was cached.
    """
    rotary = getattr(config, "rope_parameters", None) or {}
    if rotary.get("rope_type") != "longrope":
        return None
    name = "original_max_position_embeddings"
    return rotary.get(name) or getattr(config, name, None)


def first_position(model: PreTrainedModel) -> int:
    """Return the position of the first token: 0, but RoBERTa and its kin count from behind that of their padding."""
    whole = getattr(model, "unadapted", model)
    tables = (module for name, module in whole.named_modules() if name.endswith("position_embeddings"))
    padded = (getattr(table, "padding_idx", None) for table in tables)
    return max((number + 1 for number in padded if number is not None), default=0)


def require_positions(model: PreTrainedModel, needed: int, what: str, whose: str) -> None:
    """Refuse a model that has no position for every token it is to read.

    Raises:
        ValueError: naming both numbers.
    """
    limit = positions_of(model)
    if limit is not None and limit < needed:
        raise ValueError(f"{what}: expected a model with at least {needed} positions ({whose}), got {limit}")


@contextmanager
def without_bars() -> Iterator[None]:
    """Keep transformers from drawing progress bars for files that take milliseconds."""
    shown = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            transformers_logging.enable_progress_bar()


@contextmanager
def without_load_report() -> Iterator[None]:
    """Keep transformers from reporting what is missing in a folder: here that is an error, or meant to be."""
    verbosity = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(verbosity)


def _weight_files(folder: Path) -> list[str]:
    """Return the files that transformers would read weights from."""
    if (folder / "model.safetensors").is_file():
        return ["model.safetensors"]
    if not (folder / INDEX_FILE).is_file():
        return []
    named = read_json(folder / INDEX_FILE).get("weight_map")
    if not isinstance(named, dict) or not all(isinstance(name, str) for name in named.values()):
        raise ValueError(f"{folder / INDEX_FILE}: expected a weight_map from weights to files, got {named!r:.80}")
    return sorted(set(named.values()))


def _require_no_more_layers(config: Mapping[str, Any], folder: Path, names: Iterable[str], what: str) -> None:
    """Refuse to build layers that the folder has no weights for: a config.json may ask for 10^9 of them."""
    num_tensors = 0
    with reading_tensors(folder):
        for name in names:
            if not (folder / name).is_file():
                raise ValueError(f"{what} {folder}: expected the file {name}, which its index names, got none")
            with safe_open(folder / name, "numpy") as file:
                num_tensors += len(file.keys())
    for part in (config, *(value for value in config.values() if isinstance(value, dict))):
        for key in LAYER_COUNTS:
            if isinstance(part.get(key), int) and part[key] > num_tensors:
                raise ValueError(
                    f"{what} {folder}: expected no more layers than weights, got {key} {part[key]} and {num_tensors} "
                    "weights"
                )


def _require_all(model: Any, report: Mapping[str, Any], folder: Path, what: str, *, new_head: bool) -> None:
    """Check transformers' own report of what it read: nothing missing, nothing left over."""
    missing, unexpected = (sorted(map(str, report[kind])) for kind in ("missing_keys", "unexpected_keys"))
    if new_head:
        missing, unexpected = ([key for key in keys if _in_backbone(key, model)] for keys in (missing, unexpected))
        if missing:
            raise ValueError(
                f"{what} {folder}: expected all weights of a backbone, got none for {missing[:NAMED_KEYS]}"
            )
    problems = [str(key) for kind in ("mismatched_keys", "error_msgs") for key in report.get(kind) or ()]
    for found, said in ((missing, "none for"), (unexpected, "others as well:"), (problems, "unusable ones:")):
        if found:
            more = f" and {len(found) - NAMED_KEYS} more" if len(found) > NAMED_KEYS else ""
            raise ValueError(
                f"{what} {folder}: expected the weights of a {type(model).__name__}, got {said} "
                f"{', '.join(found[:NAMED_KEYS])}{more}"
            )


def _in_backbone(key: str, model: Any) -> bool:
    """Return whether a weight is the backbone's, to which the pooler of an encoder does not belong."""
    part = key.removeprefix(f"{model.base_model_prefix}.").split(".")[0]
    return part in dict(model.base_model.named_children()) and "pooler" not in key


def _reason(error: Exception, auto: Any, folder: Path) -> str:
    """Return what transformers could not make of a folder."""
    if isinstance(error, RuntimeError) and "ignore_mismatched_sizes" in str(error):
        sizes = ", ".join(_other_sizes(auto, folder)[:NAMED_KEYS]) or "others"
        return f"expected weights of the sizes that its config.json gives, got {sizes}"
    return f"expected a model that transformers can load, got {_first_words(error)}"


def _first_words(error: Exception) -> str:
    """Return an error of transformers in a line."""
    if "trust_remote_code" in str(error):
        return "Python code of its own, which is run only with trust_remote_code=True"
    said = " ".join(str(error).split())
    return f"{type(error).__name__}: {said:.400}"


def _other_sizes(auto: Any, folder: Path) -> list[str]:
    """Return the weights whose sizes are not those of config.json."""
    build: Callable[..., Any] = getattr(auto, "from_config", None) or auto._from_config
    with torch.device("meta"):
        model = build(load_config(folder))
    expected, found = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}, list[str]()
    for name in _weight_files(folder):
        with safe_open(folder / name, "numpy") as file:
            for key in file.keys():  # noqa: SIM118  not a mapping
                shape = tuple(file.get_slice(key).get_shape())
                if key in expected and expected[key] != shape:
                    found.append(f"{key} of {shape} for {expected[key]}")
    return found
