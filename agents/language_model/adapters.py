"""Low-rank adapters on one frozen base: both players, their references and their past, its weights in memory once.

LoRA (Hu et al., 2021, arXiv 2106.09685) by Hugging Face's peft: beside each linear map W of the base stands B A of a
small rank, and the player says what W + s B A says. An adapter starts with B = 0, so that a new one says what the base
says. The base of a folder is read once in a process, whoever asks for it, and never changes.

| in an adapter's folder | holds |
| --- | --- |
| `adapter_config.json` | peft's: rank, linear maps, and `base_model_name_or_path`, the folder of the base |
| `adapter_model.safetensors` | the matrices A and B, as peft names them |
| `base.json` | to how many bits the base was rounded, 4 or 8; there is none where it was not |
"""

from __future__ import annotations

import copy
import json
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import torch
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import AutoModelForCausalLM, PreTrainedModel
from transformers.pytorch_utils import Conv1D

from ...envs.extras import from_extra
from ..folders import read_json, reading_tensors
from ..weights import require_finite, require_finite_files
from .checkpoints import ADAPTER_CONFIG_FILE, load_checkpoint
from .quantised import Bits, check_bits, load_quantised

WEIGHTS_FILE = "adapter_model.safetensors"
BASE_FILE = "base.json"
PREFIX = "base_model.model."
"""What peft puts before the name of a weight."""
KINDS = (".lora_A.", ".lora_B.")
KEEPING = (True, False, "gaussian", "eva", "orthogonal")
"""How peft may have begun an adapter; by all other ways it takes something off the base's weights, for all on it."""
SEPARATOR = "/"
"""Stands for the dots in the names of weights, which no parameter of torch may have."""


@dataclass(frozen=True, kw_only=True)
class NewAdapter:
    """The adapter by which a model is to be trained."""

    rank: int
    """Of B A, at least 1; their scale is alpha / rank with alpha twice the rank."""
    name: str = "player"
    """Whose it is, as "defender"."""
    seed: int = 0
    """Decides the random A."""


class SharedBase:
    """A frozen model and the adapters on it, of which one is on at a time, or none."""

    def __init__(self, model: PreTrainedModel, folder: Path | None = None, bits: Bits | None = None) -> None:
        """Take the model, which is frozen, the folder that it was read from, and the bits that it was rounded to."""
        self.model: PreTrainedModel = model.eval().requires_grad_(False)
        self.folder, self.bits = folder, bits
        self._on: str | None = None
        self._numbers = count()
        self._gone = list[str]()
        """Adapters that nobody has any more; they are deleted before a pass, and not in the middle of one."""
        self._tuner: Any = None

    def new(self, adapter: NewAdapter) -> AdaptedModel:
        """Return the base with a new adapter on all its linear maps but the output's, ready to be trained."""
        lora = _peft()
        linear = {name: module for name, module in self.model.named_modules() if isinstance(module, nn.Linear | Conv1D)}
        plain = [name for name, module in linear.items() if module is not self.model.get_output_embeddings()]
        targets = sorted({_target(name) for name in plain if not any(kind in f"{name}." for kind in KINDS)})
        config = lora.LoraConfig(
            task_type="CAUSAL_LM",
            r=adapter.rank,
            lora_alpha=2 * adapter.rank,
            target_modules=targets,
            fan_in_fan_out=any(isinstance(linear[name], Conv1D) for name in plain),
            base_model_name_or_path=None if self.folder is None else str(self.folder),
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(adapter.seed)
            return self._put_on(config, adapter.name)

    def load(self, folder: Path, *, name: str = "player") -> AdaptedModel:
        """Return the base with the adapter of a folder.

        Raises:
            ValueError: the folder holds another kind of adapter, or weights that are damaged, missing, too many, of
                another size or not finite.
        """
        config = _lora_config(folder)
        path = folder / WEIGHTS_FILE
        if not path.is_file():
            raise ValueError(f"adapter {folder}: expected its weights in {WEIGHTS_FILE}, got no such file")
        with reading_tensors(path):
            weights = load_file(path)
        require_finite(weights, str(path))
        model = self._put_on(config, name)
        found = {name.removeprefix(PREFIX).replace(".", SEPARATOR): weight for name, weight in weights.items()}
        own = model.weights.state_dict()
        for key in sorted(own.keys() | found.keys()):
            asked, got = (tuple(part[key].shape) if key in part else None for part in (own, found))
            if asked != got:
                place = key.replace(SEPARATOR, ".")
                raise ValueError(f"{path}: expected the adapter of {self.folder}, {place} of shape {asked}, got {got}")
        model.weights.load_state_dict(found)
        return model

    def bare(self) -> AdaptedModel:
        """Return the base as it is, no adapter on."""
        return AdaptedModel(self, None, None)

    def copied(self, model: AdaptedModel) -> AdaptedModel:
        """Return a new adapter with the weights of another."""
        if model.key is None:
            return self.bare()
        copy = self._put_on(model.lora, model.key.rpartition("_")[0])
        copy.weights.load_state_dict(model.weights.state_dict())
        for ours, theirs in zip(copy.parameters(), model.parameters(), strict=True):
            ours.requires_grad_(theirs.requires_grad)
        return copy

    def switch(self, key: str | None) -> None:
        """Put one adapter on, or None; what is trained, and what is not, stays so, unlike by peft's own switches."""
        if self._gone:
            self._turn(None)  # peft may have left any on
        while self._gone:
            self._remove(self._gone.pop())
        if self._on != key:
            self._turn(key)

    def forget(self, key: str) -> None:
        """Delete an adapter, once nothing is computed."""
        self._gone.append(key)

    def _put_on(self, config: Any, name: str) -> AdaptedModel:
        """Return a new adapter that peft has put beside the base's linear maps; the others are left as they were."""
        lora, key = _peft(), f"{name}_{next(self._numbers)}"
        trained = {id(weight): weight.requires_grad for weight in self.model.parameters()}
        if self._tuner is None:
            self._tuner = lora.LoraModel(self.model, {key: config}, key)
        else:
            self._tuner.peft_config[key] = config
            self._tuner.active_adapter = key  # the one that it knows of may be gone
            self._tuner.inject_adapter(self.model, key)
        mine = {}
        for path, weight in self.model.named_parameters():
            if path.endswith(f".{key}.weight"):
                weight.data = weight.data.float()  # steps are too small for half precision
                mine[path.removesuffix(f".{key}.weight") + ".weight"] = weight
            weight.requires_grad_(trained.get(id(weight), path.endswith(f".{key}.weight")))
        self.model.eval()  # peft's dropout is new, and in training mode
        self._on = key
        self.switch(None)
        return AdaptedModel(self, key, config, mine)

    def _turn(self, key: str | None) -> None:
        for layer in self._layers():
            layer._disable_adapters, layer._active_adapter = key is None, [] if key is None else [key]
        self._on = key

    def _remove(self, key: str) -> None:
        for layer in self._layers():
            layer.delete_adapter(key)
        del self._tuner.peft_config[key]

    def _layers(self) -> Iterator[Any]:
        from peft.tuners.tuners_utils import BaseTunerLayer

        return (module for module in self.model.modules() if isinstance(module, BaseTunerLayer))


class AdaptedModel(PreTrainedModel):
    """A shared base with one adapter on, or none: to whoever asks a model, whose only weights are the adapter's.

    Its parameters, its state and its copies are the adapter's alone, megabytes where the base has gigabytes.
    """

    def __init__(self, base: SharedBase, key: str | None, lora: Any, weights: dict[str, nn.Parameter] | None = None):
        """Take the base, the adapter's key there, its configuration of peft's, and its weights by their names."""
        nn.Module.__init__(self)  # and not that of PreTrainedModel, which sets up a model that is new
        self.config = base.model.config
        self.base, self.key, self.lora = base, key, lora
        named = {name.replace(".", SEPARATOR): weight for name, weight in (weights or {}).items()}
        self.weights = nn.ParameterDict(named)
        """A and B of each linear map; they stand in the base too."""
        if key is not None:
            weakref.finalize(self, base.forget, key)

    @property
    def unadapted(self) -> PreTrainedModel:
        """The base, whatever is on."""
        return self.base.model

    @property
    def untouched(self) -> bool:
        """Whether it says what the base says, because every B is 0."""
        return not any(bool(weight.any()) for name, weight in self.weights.items() if "lora_B" in name)

    @property
    def base_model(self) -> nn.Module:
        """The backbone, the adapter on."""
        self.base.switch(self.key)
        return self.base.model.base_model

    @property
    def device(self) -> torch.device:
        """Where the base is."""
        return self.base.model.device

    @property
    def dtype(self) -> torch.dtype:
        """The precision of the base."""
        return self.base.model.dtype

    def get_input_embeddings(self) -> nn.Module:
        """Return the base's."""
        return self.base.model.get_input_embeddings()

    def get_output_embeddings(self) -> nn.Module:
        """Return the base's."""
        output: nn.Module = self.base.model.get_output_embeddings()
        return output

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Return what the base says with the adapter on."""
        self.base.switch(self.key)
        return self.base.model(*args, **kwargs)

    def save_pretrained(self, folder: str | Path, **options: Any) -> None:  # type: ignore[override]  # fewer options
        """Write the adapter's folder, which peft reads as well; not the base."""
        if self.lora is None:
            raise ValueError(f"adapter: expected one to write into {folder}, got the base alone")
        Path(folder).mkdir(parents=True, exist_ok=True)
        self.lora.save_pretrained(str(folder))
        tensors = {PREFIX + name.replace(SEPARATOR, "."): weight.detach() for name, weight in self.weights.items()}
        save_file({name: tensor.contiguous().cpu() for name, tensor in tensors.items()}, Path(folder) / WEIGHTS_FILE)
        (Path(folder) / BASE_FILE).unlink(missing_ok=True)
        if self.base.bits is not None:
            (Path(folder) / BASE_FILE).write_text(json.dumps({"bits": self.base.bits}), encoding="utf-8")

    def __deepcopy__(self, memo: dict[int, Any]) -> AdaptedModel:
        """Return a copy of the adapter on the same base."""
        return self.base.copied(self)


def put_on(model: PreTrainedModel) -> None:
    """Put an adapter on its base, if the model is one: where layers are computed again, it is with what is on then."""
    if isinstance(model, AdaptedModel):
        model.base.switch(model.key)


def reference_of(model: PreTrainedModel, *, own: bool = False) -> PreTrainedModel:
    """Return a frozen model that says what this one says now: the base alone, where no adapter has changed it.

    Args:
        model: is trained elsewhere.
        own: whether the reference is to have weights of its own, a copy of the model's, that can be moved.
    """
    if isinstance(model, AdaptedModel) and model.untouched and not own:
        return model.base.bare()
    frozen: PreTrainedModel = copy.deepcopy(model).eval().requires_grad_(False)
    return frozen


def is_adapter(folder: Path) -> bool:
    """Return whether a folder is an adapter's and not a whole model's."""
    return (folder / ADAPTER_CONFIG_FILE).is_file()


def base_of(folder: Path) -> Path:
    """Return the folder of the base that an adapter's folder names.

    Raises:
        ValueError: there is none.
    """
    named = read_json(folder / ADAPTER_CONFIG_FILE).get("base_model_name_or_path")
    base = Path(named) if isinstance(named, str) and named else None
    if base is None or not (base / "config.json").is_file():
        raise ValueError(
            f"adapter {folder}: expected base_model_name_or_path to name the folder of its base, got {named!r:.200}; "
            f"put the folder into its {ADAPTER_CONFIG_FILE}"
        )
    return base


def bits_of(folder: Path) -> Bits | None:
    """Return to how many bits the base of an adapter's folder was rounded while it learned; None: it was not.

    Raises:
        ValueError: its base.json says something else.
    """
    path = folder / BASE_FILE
    return check_bits(f"{path}: bits", read_json(path).get("bits")) if path.is_file() else None


def adapted_model(
    folder: Path,
    new: NewAdapter | None = None,
    *,
    device: torch.device,
    base_bits: Bits | None = None,
    **options: Any,
) -> AdaptedModel:
    """Return the adapter of a folder, or a new one on the model in a folder, on a base that is shared.

    Args:
        folder: an adapter's, which is read, or a whole model's, which is the base of a new one.
        new: the adapter that is made on a whole model.
        device: where the base is, or is to be.
        base_bits: what the base's weights are rounded to; None: as an adapter's folder says, which else they are not.
        options: how it is loaded, as its dtype; an adapter is float32 all the same.

    Raises:
        ValueError: a folder is not what it should be.
        ImportError: peft is not installed, or what rounds.
    """
    if not is_adapter(folder):
        if new is None:
            raise ValueError(f"adapter {folder}: expected one, or how a new one is made, got neither")
        return shared_base(folder, device=device, bits=base_bits, **options).new(new)
    _lora_config(folder)  # before the base is read
    name = "player" if new is None else new.name
    bits = bits_of(folder) if base_bits is None else base_bits
    return shared_base(base_of(folder), device=device, bits=bits, **options).load(folder, name=name)


_BASES: WeakValueDictionary[tuple[object, ...], SharedBase] = WeakValueDictionary()


def shared_base(folder: Path, *, device: torch.device, bits: Bits | None = None, **options: Any) -> SharedBase:
    """Return the base in a folder: the one that somebody in this process has there already, or else read now."""
    where = torch.empty(0, device=device).device  # "cuda" is "cuda:0"
    key = (str(folder.resolve()), where, options.get("dtype", torch.float32), bits)
    base = _BASES.get(key)
    if base is None:
        load = partial(load_checkpoint, AutoModelForCausalLM, folder, **options)
        if bits is None:
            model = load()
            nn.Module.to(model, where)  # transformers' own `to` is not typed
        else:
            require_finite_files(folder)  # rounded weights hide it
            model = load_quantised(load, bits, device=where, dtype=options.get("dtype", torch.float32))
        base = _BASES[key] = SharedBase(model, folder.resolve(), bits)
    return base


def _target(name: str) -> str:
    """Return by which name peft finds a linear map, once it has been put inside of an adapter, too."""
    return name.removesuffix(".base_layer").rpartition(".")[2]


def _lora_config(folder: Path) -> Any:
    """Return the configuration of an adapter's folder; raise ValueError for adapters of another kind."""
    kind = read_json(folder / ADAPTER_CONFIG_FILE).get("peft_type")
    if kind != "LORA":
        raise ValueError(f"adapter {folder}: expected a peft_type 'LORA', got {kind!r:.80}")
    try:
        config = _peft().LoraConfig.from_pretrained(str(folder))
    except (TypeError, ValueError) as error:
        raise ValueError(f"adapter {folder}: expected a configuration that peft can read, got {error}") from error
    others = ("modules_to_save", "use_dora", "trainable_token_indices", "alora_invocation_tokens")
    more = [name for name in others if getattr(config, name, None)]
    if more or config.bias != "none":
        raise ValueError(f"adapter {folder}: expected low-rank matrices alone, got {', '.join(more) or 'biases'} too")
    if config.init_lora_weights not in KEEPING:
        raise ValueError(
            f"adapter {folder}: expected one on the base as it is, got init_lora_weights "
            f"{config.init_lora_weights!r:.80}, which changes the base's weights; save it with peft's "
            "path_initial_model_for_weight_conversion"
        )
    config.inference_mode = False
    return config


def _peft() -> Any:
    with from_extra("peft", need="lora_rank: expected peft for adapters"):
        import peft
    return peft
