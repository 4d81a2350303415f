"""What options are when nobody says them: by whether a run starts from a micro model or from a real one.

A rate that makes a model of ten thousand weights learn ruins a chat model within an update. So the numbers that must
differ are marked as `usual` where they are declared: those are a micro model's, and a run that starts from another
folder takes the numbers of its preset in their place before it begins, so that its config.json has them. What was said
stays, even if it is the same number.

| preset | who | learning rate | batch | KL |
| --- | --- | ---: | ---: | --- |
| micro | a model with random weights, or one of a few million weights that this package wrote | 1e-3 to 1e-2 | 128 to 192 | 0.01 to 0.05 a nat |
| pretrained_lora | any other model folder, and every adapter's | 1e-4, rank 8 | 32 | 0.05 a nat, an update ends at 0.03 nats a token |
| pretrained_full | the same with `--lora-rank 0` | 3e-6 | 32 | the same |
"""  # noqa: E501  a row of a table is a line

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, Protocol, Self, TypeAlias, TypeVar, runtime_checkable

from ...agents.folders import SAMPLING_FILE, WORDS_FILE
from ...agents.language_model.adapters import is_adapter

Preset: TypeAlias = Literal["micro", "pretrained_lora", "pretrained_full"]
OptionsT = TypeVar("OptionsT")
NumberT = TypeVar("NumberT", int, float)

STARTS = ("defender", "adversary", "player_0", "player_1", "model")
"""Options that name the folder of a model that is trained."""
MICRO_BYTES = 2**26
"""A folder that this package wrote holds a micro model if its weights are no more: 64 MiB, 16 M weights in float32."""

_KL: Mapping[str, Any] = {"batch_size": 32, "kl_coef": 0.05, "target_kl": 0.03, "adam_epsilon": 1e-8}
PRESETS: Mapping[Preset, Mapping[str, Any]] = {
    "micro": {},
    "pretrained_lora": {**_KL, "learning_rate": 1e-4, "lora_rank": 8, "tokens_at_once": 4096},
    "pretrained_full": {**_KL, "learning_rate": 3e-6, "lora_rank": 0, "tokens_at_once": 4096},
}
"""The options that a preset sets, by name, wherever they stand; each where it is marked, or is None."""


class Usual:
    """Marks a number as one that nobody said."""


class _UsualInt(Usual, int):
    def __reduce__(self) -> tuple[Any, ...]:
        return usual, (int(self),)


class _UsualFloat(Usual, float):
    def __reduce__(self) -> tuple[Any, ...]:
        return usual, (float(self),)


for _kind, _plain in (
    (_UsualInt, int),
    (_UsualFloat, float),
):  # tyro takes equal numbers for one
    _kind.__module__, _kind.__name__, _kind.__qualname__ = _plain.__module__, _plain.__name__, _plain.__qualname__


@runtime_checkable
class TakesNumbers(Protocol):
    """Options that hold others as text, which take a preset's numbers by themselves."""

    def with_numbers(self, numbers: Mapping[str, Any]) -> Self:
        """Return the options with these numbers where none was said."""
        ...


def usual(number: NumberT) -> NumberT:
    """Return a number, marked as a micro model's, in whose place a preset puts its own.

    >>> usual(0.5), isinstance(usual(0.5), Usual), usual(3) + 1
    (0.5, True, 4)
    >>> import copy
    >>> isinstance(copy.deepcopy(usual(3)), Usual)
    True
    """
    return _UsualInt(number) if isinstance(number, int) else _UsualFloat(number)


def preset_of(config: Any) -> Preset:
    """Return the preset by what a run starts from, and whether it asks for adapters."""
    folders = [folder for folder in _starts(config) if folder.is_dir()]
    if not any(is_pretrained(folder) for folder in folders):
        return "micro"
    says_none = not isinstance(config.lora_rank, Usual) and not config.lora_rank
    return "pretrained_full" if says_none and not any(map(is_adapter, folders)) else "pretrained_lora"


def require_fitting(config: Any) -> None:
    """Raise ValueError where all weights would be trained by the numbers for adapters, or adapters by those for all.

    The one ruins a model and the other hardly moves it, and neither says so.
    """
    folders = [folder for folder in _starts(config) if folder.is_dir()]
    adapters = [folder for folder in folders if is_adapter(folder)]
    whole = [folder for folder in folders if not is_adapter(folder) and is_pretrained(folder)]
    if config.preset == "pretrained_full" and (config.lora_rank or adapters):
        got = f"the adapter {adapters[0]}" if adapters else f"lora_rank {config.lora_rank}"
        raise ValueError(f"preset: expected pretrained_lora where adapters are trained, got pretrained_full with {got}")
    if config.preset == "pretrained_lora" and not config.lora_rank and whole:
        raise ValueError(
            f"lora_rank: expected one above 0 with the numbers for adapters (preset pretrained_lora), got 0, by which "
            f"all weights of {whole[0]} would be trained"
        )


def is_pretrained(folder: Path) -> bool:
    """Return whether a folder holds no micro model: an adapter, a model of others, or a large one of ours."""
    if is_adapter(folder):
        return True
    ours = any((folder / name).is_file() for name in (SAMPLING_FILE, WORDS_FILE))
    return not ours or sum(path.stat().st_size for path in folder.glob("*.safetensors")) > MICRO_BYTES


def with_preset(options: OptionsT, numbers: Mapping[str, Any]) -> OptionsT:
    """Return options, those within them too, with a preset's numbers where none was said."""
    changes = unsaid_numbers(options, numbers)
    for field in dataclasses.fields(options):  # type: ignore[arg-type]  # a dataclass
        value = getattr(options, field.name)
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            inner = with_preset(value, numbers)
            changes |= {} if inner == value else {field.name: inner}
    changed = dataclasses.replace(options, **changes) if changes else options  # type: ignore[type-var]
    return changed.with_numbers(numbers) if isinstance(changed, TakesNumbers) else changed


def unsaid_numbers(options: Any, numbers: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of the numbers that options have a place for, and in whose place nothing was said."""
    given = {field.name: getattr(options, field.name) for field in dataclasses.fields(options) if field.name in numbers}
    return {name: numbers[name] for name, value in given.items() if value is None or isinstance(value, Usual)}


def _starts(config: Any) -> Iterator[Path]:
    """Yield the folders of models that options name."""
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if field.name in STARTS and isinstance(value, Path):
            yield value
        elif dataclasses.is_dataclass(value) and not isinstance(value, type):
            yield from _starts(value)
