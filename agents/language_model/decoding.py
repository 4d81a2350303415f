"""Decoding a batch of turns: the model's cache, and the turns while they are sampled.

What a token costs beside the model's own arithmetic is kept small: rows are kept in arrays, so that Python looks at a
single one only where the rules narrow its turn.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import PreTrainedModel

from ...envs import Ending, Tokens, Utterance, View
from .sampling import WHOLE, Truncation

Ids = NDArray[np.int64]
WORTH_SHARING = 2**35
"""Equal views are looked for where reading all of them takes so many multiplications, a second of one core or so."""


class OpenTurns:
    """The turns of a batch while they are sampled; those that have not ended are live, in the order of their views."""

    def __init__(self, views: Sequence[View], truncation: Truncation = WHOLE) -> None:
        """Open a turn for each view; all views are of one vocabulary.

        Args:
            views: whose turns these are.
            truncation: whose stop strings end a turn that is not narrowed.
        """
        self._views, self._eos, self._truncation = views, views[0].vocabulary.eos_id, truncation
        self._stopped = np.zeros(len(views), dtype=bool)
        self._live = np.arange(len(views))
        self._said = list[tuple[Ids, Ids, NDArray[Any]]]()
        self._narrowed = np.array([not view.unrestricted for view in views])
        self._some_narrowed = bool(self._narrowed.any())
        self._limits = np.array([view.max_turn_tokens for view in views])
        self._shortest = int(self._limits.min())
        self._prefixes: list[Tokens] = [()] * len(views)
        self._legal = [None if view.unrestricted else view.legal_tokens(()) for view in views]

    @property
    def legal(self) -> list[Ids | None] | None:
        """The ids that may come next in each live turn, None: every sayable token and `<eos>`; None: so in all."""
        legal = [self._legal[row] for row in self._live.tolist()] if self._some_narrowed else []
        return None if all(ids is None for ids in legal) else legal

    def say(self, tokens: Ids, logprobs: NDArray[Any]) -> Ids:
        """Say one more token in each live turn; return which of these, counted from 0, go on.

        Args:
            tokens: (B,), B the number of live turns.
            logprobs: of the tokens, in nats; (B,).
        """
        live = self._live
        self._said.append((live, tokens, logprobs))
        ended: NDArray[np.bool_] = tokens == self._eos
        if self._some_narrowed:
            for k in np.flatnonzero(self._narrowed[live] & ~ended).tolist():
                ended[k] = self._narrow(int(live[k]), int(tokens[k]))
        if len(self._said) >= self._shortest:
            ended |= ~self._narrowed[live] & (self._limits[live] == len(self._said))
        if self._truncation.stop:
            for k in np.flatnonzero(~self._narrowed[live] & ~ended).tolist():
                ended[k] = self._stopped[live[k]] = self._truncation.stops(self._text(int(live[k])))
        going = np.flatnonzero(~ended)
        if len(going) < len(live):
            self._live = live[going]
        return going

    def utterances(self) -> list[Utterance]:
        """Return the whole turns, once none is live; one that was stopped by its text is closed, as by a rule."""
        lengths = np.zeros(len(self._views), dtype=np.int64)
        tokens = np.zeros((len(lengths), len(self._said) + 1), dtype=np.int64)
        logprobs = np.zeros(tokens.shape)
        for column, (live, said, chances) in enumerate(self._said):
            tokens[live, column], logprobs[live, column], lengths[live] = said, chances, column + 1
        tokens[self._stopped, lengths[self._stopped]] = self._eos
        lengths += self._stopped
        closed = tokens[np.arange(len(lengths)), lengths - 1] == self._eos
        return [
            Utterance(tuple(said[:length]), tuple(chances[:length]), Ending.END_OF_TURN if by_eos else Ending.TOO_LONG)
            for said, chances, length, by_eos in zip(
                tokens.tolist(), logprobs.tolist(), lengths.tolist(), closed.tolist(), strict=True
            )
        ]

    def _text(self, row: int) -> str:
        said = [tokens[np.searchsorted(live, row)] for live, tokens, _ in self._said]  # it is live in all of them
        return self._views[row].vocabulary.decode(said)

    def _narrow(self, row: int, token: int) -> bool:
        """Ask what may follow in one turn; return whether that is nothing."""
        self._prefixes[row] = prefix = (*self._prefixes[row], token)
        self._legal[row] = legal = self._views[row].legal_tokens(prefix)
        return legal is not None and not len(legal)


class Decoder:
    """The key-value cache of a left-padded batch; rows that have ended are dropped.

    Without padding the model is called without mask and positions, which it would else read anew at every token.
    """

    def __init__(self, model: PreTrainedModel, views: Sequence[View], *, shared_from: float = np.inf) -> None:
        """Read the views, one row each; what several of them show is read once, where all have so many tokens."""
        distinct, number = _told_once(views, shared_from)
        lengths = [len(view.tokens) for view in distinct]
        longest = max(lengths)
        inputs = torch.zeros(len(distinct), longest, dtype=torch.int64)
        for row, view in enumerate(distinct):
            inputs[row, longest - lengths[row] :] = torch.from_numpy(view.tokens)
        self._model, self._device, self._num_rows = model, model.device, len(distinct)
        self._mask: Tensor | None = None
        self._next_position: Tensor | None = None
        positions = None
        if min(lengths) < longest:
            told = torch.arange(longest) >= longest - torch.tensor(lengths)[:, None]
            self._mask = told.long().to(self._device)
            positions = (self._mask.cumsum(1) - 1).clamp(min=0)
            self._next_position = positions[:, -1:] + 1
        output = model(
            input_ids=inputs.to(self._device),
            attention_mask=self._mask,
            position_ids=positions,
            use_cache=True,
            logits_to_keep=1,
        )
        self._cache = output.past_key_values
        self._logits: Tensor = output.logits[:, -1]
        if number is not None:
            self._logits = self._keep(self._logits, number)

    @property
    def logits(self) -> Tensor:
        """The next token's logits, one row for each live row; (B, V)."""
        return self._logits

    def advance(self, tokens: Tensor, going: Ids) -> None:
        """Feed the tokens just drawn for the live rows and keep only `going` of them."""
        if len(going) < self._num_rows:
            tokens = self._keep(tokens, going)
        if self._mask is not None:
            self._mask = nn.functional.pad(self._mask, (0, 1), value=1)
        output = self._model(
            input_ids=tokens[:, None],
            attention_mask=self._mask,
            position_ids=self._next_position,
            past_key_values=self._cache,
            use_cache=True,
        )
        if self._next_position is not None:
            self._next_position = self._next_position + 1
        self._logits = output.logits[:, -1]

    def _keep(self, tokens: Tensor, going: Ids) -> Tensor:
        """Keep these rows, as often as they are named, of all that is kept and of `tokens`, which are returned."""
        index = torch.from_numpy(going).to(self._device)
        self._num_rows = len(going)
        self._cache.reorder_cache(index)  # picks whole rows, as `batch_select_indices` does, in a third of the time
        if self._mask is not None and self._next_position is not None:
            self._mask, self._next_position = self._mask[index], self._next_position[index]
        return tokens[index]


def worth_sharing(model: PreTrainedModel) -> float:
    """Return from how many tokens of a batch on equal views are looked for."""
    whole: PreTrainedModel = getattr(model, "unadapted", model)
    return WORTH_SHARING / whole.num_parameters()


def _told_once(views: Sequence[View], shared_from: float) -> tuple[Sequence[View], Ids | None]:
    """Return the views that differ, and each view's number among these; all, and None, where nothing is shared."""
    if sum(len(view.tokens) for view in views) < shared_from:
        return views, None
    first = dict[bytes, int]()
    number = np.array([first.setdefault(np.asarray(view.tokens).tobytes(), len(first)) for view in views])
    if len(first) == len(views):
        return views, None
    return [views[row] for row in np.unique(number, return_index=True)[1]], number


class Rereader:
    """Decodes a batch without a cache: everything is read again for each token, as `evaluate` reads it.

    For models whose cache is none, or gives other log-probabilities than a whole pass; see `probing.decoder_of`.
    """

    def __init__(self, model: PreTrainedModel, views: Sequence[View]) -> None:
        """Read the views, one row each."""
        self._model = model
        self._rows = [torch.from_numpy(view.tokens).to(torch.int64) for view in views]
        self._logits = last_logits(model, self._rows)

    @property
    def logits(self) -> Tensor:
        """The next token's logits, one row for each live row; (B, V)."""
        return self._logits

    def advance(self, tokens: Tensor, going: Ids) -> None:
        """Add the tokens just drawn for the live rows, keep only `going` of them and read them all."""
        said = tokens.cpu()
        self._rows = [torch.cat([self._rows[row], said[row : row + 1]]) for row in going.tolist()]
        self._logits = last_logits(self._model, self._rows)


def last_logits(model: PreTrainedModel, rows: Sequence[Tensor]) -> Tensor:
    """Return the logits after the last token of each row (T,), (B, V), by one pass that is padded on the right.

    So every model counts its positions as it does in a row alone.
    """
    device = model.device
    inputs = nn.utils.rnn.pad_sequence(list(rows), batch_first=True).to(device)
    lengths = torch.tensor([len(row) for row in rows], device=device)
    columns, column = torch.unique(lengths - 1, return_inverse=True)
    output = model(
        input_ids=inputs,
        attention_mask=torch.arange(inputs.shape[1], device=device) < lengths[:, None],
        use_cache=False,
        logits_to_keep=columns,
    )
    logits: Tensor = output.logits
    return logits[torch.arange(len(rows), device=device), column]
