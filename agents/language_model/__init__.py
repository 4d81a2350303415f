"""Causal language models as agents: decoding, sampling, legal tokens, micro models, tokenizers, encoders.

Imports `envs` and what an agent is.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .causal_lm import CausalLMAgent, TokenEvaluation
    from .encoders import SentenceEncoder, SentenceTransformerEncoder, StaticWordEncoder, make_encoder, words_of
    from .legal_mask import LegalMask
    from .micro import micro_model
    from .tokenizers import load_tokenizer, train_tokenizer

_HOMES = {
    "CausalLMAgent": "causal_lm",
    "TokenEvaluation": "causal_lm",
    "SentenceEncoder": "encoders",
    "SentenceTransformerEncoder": "encoders",
    "StaticWordEncoder": "encoders",
    "make_encoder": "encoders",
    "words_of": "encoders",
    "LegalMask": "legal_mask",
    "micro_model": "micro",
    "load_tokenizer": "tokenizers",
    "train_tokenizer": "tokenizers",
}

__all__ = [
    "CausalLMAgent",
    "LegalMask",
    "SentenceEncoder",
    "SentenceTransformerEncoder",
    "StaticWordEncoder",
    "TokenEvaluation",
    "load_tokenizer",
    "make_encoder",
    "micro_model",
    "train_tokenizer",
    "words_of",
]


def __getattr__(name: str) -> object:
    """Import a name's module, and with it torch, when it is first asked for."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)
