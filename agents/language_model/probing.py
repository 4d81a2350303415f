"""How a model is decoded: by its cache if that gives what a whole pass gives, else by whole passes, else not at all.

Log-probabilities of a policy are worth something only if sampling and `evaluate` agree. Models differ in how they keep
what they have read (keys and values, recurrent states, nothing) and in who counts positions, they or the caller, so a
handful of tokens is read in each way, once for each kind of model.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from ...envs import View, WordVocabulary
from .checkpoints import num_embeddings, positions_of, text_config
from .decoding import Decoder, Rereader, last_logits
from .scoring import Head, heads_of
from .shared_prefixes import chosen, read_on

TOLERANCES = {torch.float32: 3e-3, torch.float64: 3e-3}
"""How far logits may be apart, as a share of their spread; rounding of half precision is far coarser."""
HALF_TOLERANCE = 0.25
HEAD_TOLERANCE = 1e-5
"""How far logits that are computed apart from the backbone may be from the model's own, as a share of the largest."""
LENGTHS = ((4, 2), (3, 3))
"""How many tokens the rows of two batches have before two more are said: one is padded, one is not."""
STEPS = 2
SHORT_WINDOW = 64
"""A window of attention of at most so many tokens is passed by the probe, as it will soon be in play."""


class Reading(NamedTuple):
    """How a model is decoded."""

    decoder: type[Decoder] | type[Rereader]
    num_logits: int
    """How many logits a token has."""
    extends: bool = False
    """Whether several tokens at once can be read behind a copy of one row of its cache, as in `shared_prefixes`."""
    head: Head | None = None
    """How the backbone's last hidden states become logits; None: only the model itself knows."""


_KNOWN: dict[tuple[Any, ...], Reading] = {}


def reading_of(model: PreTrainedModel) -> Reading:
    """Return how a model is decoded; a kind of model, that is a class with its configuration, is probed once.

    Raises:
        ValueError: what the model says of a token depends on those after it, or on the rows beside it.
    """
    key = (type(model), model.dtype, model.device.type, str(model.config.to_dict()))
    if key not in _KNOWN:
        reading, telling = _probe(model)
        if not telling:  # logits that are NaN or all alike agree with anything
            return reading
        _KNOWN[key] = reading
    return _KNOWN[key]


@torch.no_grad()
def _probe(model: PreTrainedModel) -> tuple[Reading, bool]:
    """Return how a model is decoded, and whether its logits could tell."""
    window, limit = _window(model), positions_of(model)
    batches = [_batch(model, [length + window if length > 2 else length for length in row]) for row in LENGTHS]
    if limit is not None and limit < max(len(row) for rows in batches for row in rows):
        return Reading(Decoder, _width(model)), False  # too short a model for any turn of two tokens
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        whole = [_whole(model, rows) for rows in batches]
        _require_order(model, batches, whole)
        decoder = Decoder if _agrees(Decoder, model, batches, whole) else Rereader
        extends = decoder is Decoder and _extends(model, batches[-1], whole[-1])
        head = next((head for head in heads_of(model) if _is_head(head, model, batches[0])), None)
        telling = all(bool(logits.std(-1).min() > 0) for logits in whole)
        return Reading(decoder, whole[0].shape[-1], extends, head), telling
    finally:
        for module in training:
            module.training = True


def _batch(model: PreTrainedModel, lengths: Sequence[int]) -> list[Tensor]:
    """Return rows of some of the model's ids, `STEPS` longer than `lengths`."""
    ids = np.random.default_rng(0).integers(1, max(2, num_embeddings(model)), (len(lengths), max(lengths) + STEPS))
    return [torch.from_numpy(row[: length + STEPS]) for row, length in zip(ids, lengths, strict=True)]


def _whole(model: PreTrainedModel, rows: Sequence[Tensor]) -> Tensor:
    """Return the logits at the last `STEPS` + 1 tokens of each row, from one pass as `evaluate` makes it; (B, S, V)."""
    try:
        inputs = nn.utils.rnn.pad_sequence(list(rows), batch_first=True).to(model.device)
        lengths = torch.tensor([len(row) for row in rows], device=model.device)
        mask = torch.arange(inputs.shape[1], device=model.device) < lengths[:, None]
        columns = torch.arange(inputs.shape[1], device=model.device)
        logits = model(input_ids=inputs, attention_mask=mask, use_cache=False, logits_to_keep=columns).logits
        return torch.stack([logits[row, end - STEPS - 1 : end] for row, end in enumerate(lengths.tolist())])
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # whatever a model of another kind trips over
        said = " ".join(str(error).split())
        raise ValueError(
            f"model: expected a causal language model, got {type(model).__name__}, which cannot be read in one pass "
            f"({type(error).__name__}: {said:.200})"
        ) from error


def _require_order(model: PreTrainedModel, batches: Sequence[Sequence[Tensor]], whole: Sequence[Tensor]) -> None:
    """Refuse a model whose logits change with what comes later, or with its company."""
    for rows, logits in zip(batches, whole, strict=True):
        for row, expected in zip(rows, logits, strict=True):
            for step in range(STEPS + 1):
                alone = last_logits(model, [row[: len(row) - STEPS + step]])[0]
                if not _alike(alone, expected[step], model):
                    raise ValueError(
                        "model: expected one whose logits follow from the tokens before them, got "
                        f"{type(model).__name__}, whose change with later tokens or with other rows of a batch"
                    )


def _agrees(
    decoder: Callable[[PreTrainedModel, Sequence[View]], Decoder | Rereader],
    model: PreTrainedModel,
    batches: Sequence[Sequence[Tensor]],
    whole: Sequence[Tensor],
) -> bool:
    """Return whether decoding gives the logits of whole passes: rows that go on, and one that goes on alone."""
    try:
        for rows, logits in zip(batches, whole, strict=True):
            decoded = decoder(model, [_view(row[:-STEPS].numpy()) for row in rows])
            going = np.arange(len(rows))
            for step in range(STEPS + 1):
                if not _alike(decoded.logits, logits[going, step], model):
                    return False
                if step < STEPS:
                    said = torch.stack([rows[row][len(rows[row]) - STEPS + step] for row in going.tolist()])
                    kept = np.arange(len(rows))[-1:] if step == STEPS - 1 else np.arange(len(rows))
                    decoded.advance(said.to(model.device), kept)
                    going = going[kept]
    except torch.OutOfMemoryError:
        raise
    except Exception:  # a cache that is none, or of a kind of its own
        return False
    return True


def _extends(model: PreTrainedModel, rows: Sequence[Tensor], whole: Tensor) -> bool:
    """Return whether rows of one length that go on from copies of their caches have the logits of whole passes."""
    told = [tuple(row.tolist()) for row in rows]
    try:
        _, cache = read_on(model, None, [row[:-STEPS] for row in told])
        for number, row in enumerate(told):
            logits, _ = read_on(model, chosen(cache, [number] * 2), [row[-STEPS:]] * 2)
            if not all(_alike(logits[twin], whole[number, STEPS], model) for twin in range(2)):
                return False
    except torch.OutOfMemoryError:
        raise
    except Exception:  # a cache of a kind of its own
        return False
    return True


def _is_head(head: Head, model: PreTrainedModel, rows: Sequence[Tensor]) -> bool:
    """Return whether a head makes the backbone's hidden states into the model's own logits."""
    inputs = {"input_ids": rows[0][None].to(model.device), "use_cache": False}
    try:
        output = model(**inputs, output_hidden_states=True)
        hidden = model.base_model(**inputs).last_hidden_state
        apart = (head(model, hidden[0]) - output.logits[0]).abs().max()
        moved = (hidden - output.hidden_states[-1]).abs().max()
    except torch.OutOfMemoryError:
        raise
    except Exception:  # a backbone or an output layer of another kind
        return False
    exact = HALF_TOLERANCE / 10 if _tolerance(model) == HALF_TOLERANCE else HEAD_TOLERANCE
    return bool(apart <= exact * output.logits.abs().max() and moved <= exact * hidden.abs().max())


def _alike(logits: Tensor, expected: Tensor, model: PreTrainedModel) -> bool:
    """Return whether a model's logits (..., V) are the same but for rounding; NaN is like NaN."""
    logits, expected = (x.float().nan_to_num() for x in (logits, expected))
    finite = expected[expected.abs() < 1e30]
    spread = float(finite.std()) if finite.numel() > 1 else 0.0
    return bool((logits - expected).abs().max() <= _tolerance(model) * spread + 1e-5)


def _tolerance(model: PreTrainedModel) -> float:
    """Return how far a model's logits may be apart: it may round its activations to 8 bits, as to a half's 11."""
    whole = getattr(model, "unadapted", model)
    return HALF_TOLERANCE if getattr(whole, "is_loaded_in_8bit", False) else TOLERANCES.get(model.dtype, HALF_TOLERANCE)


def _window(model: PreTrainedModel) -> int:
    """Return how many tokens the probe must pass for a short window of attention to matter; 0 without one."""
    config = text_config(model.config)
    windows = (getattr(config, name, None) for name in ("sliding_window", "attention_window_size", "window_size"))
    short = [window for window in windows if isinstance(window, int) and 0 < window <= SHORT_WINDOW]
    return max(short, default=0)


def _width(model: PreTrainedModel) -> int:
    output = getattr(model.get_output_embeddings(), "weight", None)
    return num_embeddings(model) if output is None else len(output)


_WORDS = WordVocabulary("word")


def _view(tokens: Any) -> View:
    """Return a view of nothing but tokens."""
    return View(0, tokens, (), _WORDS, 1, lambda prefix: tokens, lambda prefix: None, unrestricted=True)
