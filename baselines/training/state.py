"""The state that a stopped run goes on from: tensors and arrays as safetensors, all else as JSON."""

from __future__ import annotations

import hashlib
import json
import math
from collections import deque
from collections.abc import Mapping, Sequence
from operator import attrgetter
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeAlias

import numpy as np
import safetensors.numpy
import safetensors.torch
from numpy.typing import NDArray
from torch import Tensor

from ...agents.folders import read_json, reading_tensors
from .files import Json, remove, replacing

STRUCTURE_FILE, TENSORS_FILE, ARRAYS_FILE = "state.json", "tensors.safetensors", "arrays.safetensors"
CHECKSUMS_FILE = "sha256.json"
"""The checksum of each of the others."""
TAG = "$"
"""The key that marks a JSON object which stands for something else."""

StateValue: TypeAlias = (
    "Tensor | NDArray[Any] | np.generic | int | float | str | bool | "
    "Sequence[StateValue] | Mapping[str, StateValue] | Mapping[int, StateValue] | None"
)
"""What a state may hold; it comes back bit for bit; lists, tuples and integer keys stay such."""


class Checkpointable(Protocol):
    """Whatever can be put down and taken up again: modules, optimizers, learners, histories."""

    def state_dict(self) -> Mapping[str, StateValue]:
        """Return all that is needed to go on as if nothing had happened."""
        ...

    def load_state_dict(self, state: dict[str, Any], /) -> object:
        """Take up a state that `state_dict` returned; its tensors are on the CPU."""
        ...


class Stateful:
    """Whatever names what is saved of it, so that its state is written and read in one place.

    `saved` lists attributes, dotted where they belong to a part: numbers, texts, arrays, sets, deques; generators;
    parts with a state of their own, such as modules and learners; and lists or tuples of those.

    >>> class Walk(Stateful):
    ...     saved = ("steps", "rng")
    ...     def __init__(self): self.steps, self.rng = 0, np.random.default_rng(0)
    >>> first, second = Walk(), Walk()
    >>> first.steps, drawn = 3, first.rng.random()
    >>> second.load_state_dict(first.state_dict())
    >>> second.steps, second.rng.random() == first.rng.random()
    (3, True)
    """

    saved: ClassVar[tuple[str, ...]] = ()
    """The attributes that the next step depends on; a subclass lists its own behind those of its base."""

    def state_dict(self) -> dict[str, StateValue]:
        """Return all that the next step depends on."""
        return {name: _put_down(attrgetter(name)(self)) for name in self.saved}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a saved state.

        Raises:
            ValueError: the state names other attributes, as one of another version or with other options does.
        """
        if state.keys() != set(self.saved):
            kind, expected = type(self).__name__, sorted(self.saved)
            raise ValueError(f"{kind}: expected the state of {expected}, got {sorted(state)}; begin in another folder")
        for name in self.saved:
            owner, _, attribute = name.rpartition(".")
            holder = attrgetter(owner)(self) if owner else self
            now = getattr(holder, attribute)
            taken_up = _taken_up(now, state[name], name)
            if taken_up is not now:
                setattr(holder, attribute, taken_up)


def _put_down(value: Any) -> StateValue:
    """Return what stands for a value in a state."""
    if isinstance(value, np.random.Generator):
        return rng_state(value)
    if hasattr(value, "state_dict"):
        state: StateValue = value.state_dict()
        return state
    if isinstance(value, set | frozenset):
        return sorted(value)
    if isinstance(value, deque):
        return [_put_down(item) for item in value]
    if isinstance(value, list | tuple):
        kind = list if isinstance(value, list) else tuple  # a named tuple is saved as a plain one
        return kind(_put_down(item) for item in value)
    if isinstance(value, dict) and any(_is_part(item) for item in value.values()):
        raise TypeError(f"expected parts by attributes of their own or in a list or tuple, got a dict of {list(value)}")
    plain: StateValue = dict(value) if isinstance(value, dict) else value
    return plain


def _taken_up(now: Any, state: Any, name: str) -> Any:
    """Return what an attribute holds from here on: what it held, put where the state was, or a new value."""
    if (state is None and _is_part(now)) or (now is None and isinstance(state, dict)):
        there, here = ("none", "one") if state is None else ("one", "none")
        raise ValueError(f"{name}: expected the state of as many parts as there are, got {there} where there is {here}")
    if isinstance(now, np.random.Generator):
        set_rng_state(now, state)
        return now
    if hasattr(now, "load_state_dict"):
        now.load_state_dict(state)
        return now
    if isinstance(now, set | frozenset):
        return type(now)(state)
    if isinstance(now, deque):
        return deque(state, maxlen=now.maxlen)
    if isinstance(now, list | tuple) and (any(map(_is_part, now)) or any(isinstance(item, dict) for item in state)):
        if len(now) != len(state):
            raise ValueError(f"{name}: expected the state of {len(now)} parts, got {len(state)}")
        return type(now)(_taken_up(item, saved, name) for item, saved in zip(now, state, strict=True))
    return dict(state) if isinstance(now, dict) else state


def _is_part(value: Any) -> bool:
    """Whether a value has a state of its own, or holds one that has."""
    if isinstance(value, list | tuple):
        return any(_is_part(item) for item in value)
    return isinstance(value, np.random.Generator) or hasattr(value, "load_state_dict")


def rng_state(rng: np.random.Generator) -> dict[str, StateValue]:
    """Return where a generator stands, for a state; `spawn` does not go on from it, draws do."""
    return dict(rng.bit_generator.state)


def set_rng_state(rng: np.random.Generator, state: Mapping[str, StateValue]) -> None:
    """Put a generator where `rng_state` found one.

    Raises:
        ValueError: the state is that of another kind of generator.
    """
    kind = type(rng.bit_generator).__name__
    if state.get("bit_generator") != kind:
        raise ValueError(f"rng: expected a state of {kind}, got one of {state.get('bit_generator')!r}")
    rng.bit_generator.state = dict(state)


def write_state(folder: Path, state: Mapping[str, StateValue]) -> None:
    """Write a state into a folder of its own inside `folder`, then remove older ones.

    A kill at any moment leaves the old state or the new one, whole: a state's folder appears by one rename.
    """
    older = _states(folder)
    number = int(older[-1].name) + 1 if older else 1
    encoder = _Encoder()
    structure = encoder.encode(state, "state")
    with replacing(folder / f"{number:06d}", folder=True) as written:
        safetensors.torch.save_file(encoder.tensors, written / TENSORS_FILE)
        safetensors.numpy.save_file(encoder.arrays, written / ARRAYS_FILE)
        (written / STRUCTURE_FILE).write_text(json.dumps(structure, allow_nan=False), encoding="utf-8")
        (written / CHECKSUMS_FILE).write_text(json.dumps(_checksums(written)), encoding="utf-8")
    for path in older:
        remove(path)


def read_state(folder: Path) -> dict[str, Any] | None:
    """Return the newest state in `folder`, or None where there is none.

    Raises:
        ValueError: a file of it is damaged; the message names it.
    """
    states = _states(folder)
    if not states:
        return None
    newest = states[-1]
    for name in (STRUCTURE_FILE, TENSORS_FILE, ARRAYS_FILE):
        if not (newest / name).is_file():
            raise ValueError(f"{newest}: expected a state with its {name}, got one without")
    with reading_tensors(newest / TENSORS_FILE):
        tensors = safetensors.torch.load_file(newest / TENSORS_FILE)
    with reading_tensors(newest / ARRAYS_FILE):
        arrays = safetensors.numpy.load_file(newest / ARRAYS_FILE)
    structure = read_json(newest / STRUCTURE_FILE)
    _require_as_written(newest)
    state = _decode(structure, tensors, arrays)
    assert isinstance(state, dict)
    return state


def _checksums(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of each file of a state."""
    found = {}
    for name in (STRUCTURE_FILE, TENSORS_FILE, ARRAYS_FILE):
        with (folder / name).open("rb") as file:
            found[name] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


def _require_as_written(folder: Path) -> None:
    """Raise ValueError where a file of a state is another than was saved; older versions saved no checksums."""
    if (folder / CHECKSUMS_FILE).is_file():
        saved, now = read_json(folder / CHECKSUMS_FILE), _checksums(folder)
        for name, checksum in now.items():
            if saved.get(name) != checksum:
                raise ValueError(
                    f"{folder / name}: expected the file that was saved (SHA-256 {str(saved.get(name))[:12]}), got "
                    f"another or a damaged one ({checksum[:12]})"
                )


def _states(folder: Path) -> list[Path]:
    """Return the folders of whole states, oldest first."""
    if not folder.is_dir():
        return []
    return sorted((path for path in folder.iterdir() if path.name.isdigit()), key=lambda path: int(path.name))


class _Encoder:
    """Turns a state into JSON, and puts its tensors and arrays aside under numbers."""

    def __init__(self) -> None:
        self.tensors: dict[str, Tensor] = {}
        self.arrays: dict[str, NDArray[Any]] = {}
        self._storages: set[int] = set()

    def encode(self, value: StateValue, where: str) -> Json:
        """Return the JSON that stands for a value; `where` names it in errors."""
        if isinstance(value, Tensor):
            return {TAG: "tensor", "name": self._put_tensor(value)}
        if isinstance(value, np.ndarray | np.generic):  # before float: numpy's float64 is one
            return {
                TAG: "scalar" if isinstance(value, np.generic) else "array",
                "name": self._put_array(value, where),
            }
        if isinstance(value, float) and not math.isfinite(value):
            return {TAG: "float", "value": repr(value)}
        if value is None or type(value) in (bool, int, float, str):
            return value  # type: ignore[return-value]
        if isinstance(value, Mapping):
            return self._encode_mapping(value, where)
        if type(value) in (list, tuple):
            items: list[Json] = [self.encode(item, f"{where}[{k}]") for k, item in enumerate(value)]  # type: ignore[arg-type]
            return items if type(value) is list else {TAG: "tuple", "items": items}
        raise TypeError(
            f"{where}: expected a tensor, array, int, float, str, bool, None, or lists, tuples and dicts of "
            f"them, got {type(value).__name__}"
        )

    def _encode_mapping(self, value: Mapping[Any, StateValue], where: str) -> Json:
        if any(type(key) not in (str, int) for key in value):
            raise TypeError(f"{where}: expected keys that are str or int, got {list(value)!r}")
        items = {key: self.encode(item, f"{where}.{key}") for key, item in value.items()}
        if TAG not in items and all(type(key) is str for key in items):
            return items
        return {TAG: "dict", "items": [[key, item] for key, item in items.items()]}

    def _put_tensor(self, tensor: Tensor) -> str:
        """Put a tensor aside; tied ones are stored twice, as safetensors wants it."""
        plain = tensor.detach().cpu().contiguous()
        storage = plain.untyped_storage().data_ptr()
        name = str(len(self.tensors))
        self.tensors[name] = plain.clone() if storage in self._storages else plain
        self._storages.add(storage)
        return name

    def _put_array(self, array: NDArray[Any] | np.generic, where: str) -> str:
        if array.dtype.kind not in "biuf":
            raise TypeError(f"{where}: expected an array of numbers or booleans, got dtype {array.dtype}")
        name = str(len(self.arrays))
        native = array.dtype.newbyteorder("=")
        self.arrays[name] = np.array(array, dtype=native, order="C")
        return name


def _decode(value: Any, tensors: Mapping[str, Tensor], arrays: Mapping[str, NDArray[Any]]) -> Any:
    if isinstance(value, list):
        return [_decode(item, tensors, arrays) for item in value]
    if not isinstance(value, dict):
        return value
    match value.get(TAG):
        case "tensor":
            return tensors[value["name"]]
        case "array":
            return arrays[value["name"]]
        case "scalar":
            return arrays[value["name"]][()]
        case "float":
            return float(value["value"])
        case "tuple":
            return tuple(_decode(item, tensors, arrays) for item in value["items"])
        case "dict":
            return {key: _decode(item, tensors, arrays) for key, item in value["items"]}
    return {key: _decode(item, tensors, arrays) for key, item in value.items()}
