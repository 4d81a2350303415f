"""Hugging Face tokenizers from local folders."""

from __future__ import annotations

from pathlib import Path

from transformers import AutoTokenizer, PreTrainedTokenizerBase


def load_tokenizer(folder: str | Path, *, trust_remote_code: bool = False) -> PreTrainedTokenizerBase:
    """Return the tokenizer saved in a folder; nothing is downloaded.

    Args:
        folder: what `save_pretrained` wrote.
        trust_remote_code: whether Python code in the folder may be run; without it such a folder is refused.

    Raises:
        ValueError: there is no such folder, or no tokenizer in it.
    """
    if not Path(folder).is_dir():
        raise ValueError(f"tokenizer: expected a folder with a saved tokenizer, got {str(folder)!r}")
    try:
        tokenizer = AutoTokenizer.from_pretrained(
            str(folder), local_files_only=True, trust_remote_code=trust_remote_code
        )
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(f"tokenizer {folder}: expected a folder with a saved tokenizer, got {error}") from error
    assert isinstance(tokenizer, PreTrainedTokenizerBase)
    return tokenizer
