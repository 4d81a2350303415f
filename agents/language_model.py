"""Language models as agents: any transformers causal language model speaks for a batch of views."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, NamedTuple, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, PreTrainedModel
from transformers.utils import logging as transformers_logging

from ..envs import Ending, Observation, Utterance, View, Vocabulary
from .legal_mask import LegalMask
from .sampling import draw

DType = Literal["float32", "bfloat16", "float16"]
VALUE_HEAD_FILE = "value_head.safetensors"
SAMPLING_FILE = "sampling.json"
IMPOSSIBLE = -1e4
"""A log-probability, in nats, whose probability is 0 in any precision."""
OBSERVATIONS_AT_ONCE = 256
"""How many observations `token_probabilities` gives to the model in one batch."""


class TokenEvaluation(NamedTuple):
    """What a model says of tokens that were chosen; each (B, T), 0 at the other tokens."""

    logprobs: Tensor
    """Of the tokens, given those before them, in nats."""
    entropies: Tensor
    """Of the distributions that they were chosen from, in nats."""
    values: Tensor
    """The value head's estimate before each of them; 0 without a value head."""


class CausalLMAgent:
    """Samples whole turns from a causal language model, with the key-value cache and legal-token masks.

    The model never sees anything but the view's tokens. Log-probabilities are those of the distribution that was
    sampled: temperature applied, illegal tokens removed.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        vocabulary: Vocabulary,
        *,
        temperature: float = 1.0,
        value_head: nn.Linear | None = None,
    ) -> None:
        """Take a model whose embedding has at least `vocabulary.size` rows.

        Args:
            model: the causal language model; it stays on its device.
            vocabulary: the tokens of the game.
            temperature: > 0; 1 samples the model's own distribution.
            value_head: maps last hidden states (..., hidden_size) to values (..., 1); a critic for learners.
        """
        if not temperature > 0:
            raise ValueError(f"temperature: expected a number > 0, got {temperature}")
        embedding = model.get_input_embeddings()
        assert isinstance(embedding, nn.Embedding)
        rows = embedding.num_embeddings
        if rows < vocabulary.size:
            raise ValueError(f"model: expected at least {vocabulary.size} embeddings (the vocabulary), got {rows}")
        self.model = model
        self.vocabulary = vocabulary
        self.temperature = temperature
        self.value_head = value_head
        sayable = torch.zeros(model.config.vocab_size, dtype=torch.bool)
        sayable[: vocabulary.size] = torch.from_numpy(vocabulary.sayable_mask.astype(bool))
        sayable[vocabulary.eos_id] = True
        self._unsayable = (~sayable).nonzero().squeeze(-1).to(model.device)

    @classmethod
    def from_pretrained(
        cls, folder: str | Path, vocabulary: Vocabulary, *, device: str = "cpu", dtype: DType = "float32"
    ) -> CausalLMAgent:
        """Load a folder written by `save_pretrained`, or any local Hugging Face causal-model folder.

        Nothing in the folder is run: neither its code (whoever trusts a model's own code loads the model with
        transformers and gives it to the constructor) nor a pickle.

        Args:
            folder: holds config.json and weights as safetensors.
            vocabulary: the tokens of the game.
            device: where the model is to stand, as "cuda" or "cpu".
            dtype: the precision of the weights; the value head's stays float32.

        Raises:
            ValueError: there is no such folder, its weights are pickled, or the dtype is unknown.
        """
        folder = Path(folder)
        _require_model_folder(folder)
        _require_safe_weights(folder)
        if dtype not in get_args(DType):
            raise ValueError(f"dtype: expected one of {', '.join(get_args(DType))}, got {dtype!r}")
        with without_bars():
            model = AutoModelForCausalLM.from_pretrained(
                folder,
                local_files_only=True,
                trust_remote_code=False,
                use_safetensors=True,
                dtype=getattr(torch, dtype),
            )
        head, sampling = None, {}
        if (folder / VALUE_HEAD_FILE).is_file():
            head = nn.Linear(model.config.hidden_size, 1)
            head.load_state_dict(load_file(folder / VALUE_HEAD_FILE))
            head.to(device)
        if (folder / SAMPLING_FILE).is_file():
            sampling = json.loads((folder / SAMPLING_FILE).read_text(encoding="utf-8"))
        nn.Module.to(model, torch.device(device))  # transformers' own `to` is not typed
        size = sampling.pop("vocabulary_size", vocabulary.size)
        if size != vocabulary.size:
            raise ValueError(f"model {folder}: expected a game of its vocabulary, {size} tokens, got {vocabulary.size}")
        return cls(model.eval(), vocabulary, value_head=head, **sampling)

    def save_pretrained(self, folder: str | Path) -> None:
        """Write the model, the value head and the temperature; `transformers` alone can load the folder."""
        folder = Path(folder)
        with without_bars():
            self.model.save_pretrained(folder)
        if self.value_head is not None:
            save_file(self.value_head.state_dict(), folder / VALUE_HEAD_FILE)
        (folder / SAMPLING_FILE).write_text(
            json.dumps({"temperature": self.temperature, "vocabulary_size": self.vocabulary.size}), encoding="utf-8"
        )

    @torch.inference_mode()
    def speak(self, views: Sequence[View], rng: np.random.Generator) -> list[Utterance]:
        """Sample one turn for each view, in one batch; a row leaves it once its turn has ended."""
        if not views:
            return []
        with evaluating(self.model):
            return self._sample(views, rng)

    @torch.no_grad()
    def act(self, observation: Observation, rng: np.random.Generator) -> int:
        """Sample one legal token for an AEC observation, by a full forward pass."""
        tokens = observation["observation"]
        length = int(np.flatnonzero(tokens)[-1]) + 1
        with evaluating(self.model):
            inputs = torch.from_numpy(tokens[None, :length].astype(np.int64)).to(self.model.device)
            logits = self.model(input_ids=inputs, use_cache=False, logits_to_keep=1).logits[:, -1]
        token, _ = draw(self._legal_logits(logits, self._observed([observation])), rng)
        return int(token[0])

    @torch.no_grad()
    def token_probabilities(self, observations: Sequence[Observation]) -> NDArray[np.float64]:
        """Return the distribution that its next token is sampled from at each observation; shape (N, V)."""
        probabilities = np.zeros((len(observations), self.vocabulary.size))
        with evaluating(self.model):
            for start in range(0, len(observations), OBSERVATIONS_AT_ONCE):
                part = observations[start : start + OBSERVATIONS_AT_ONCE]
                probabilities[start : start + len(part)] = self._next_probabilities(part).cpu().numpy()
        return probabilities

    def evaluate(
        self, tokens: Tensor, attention_mask: Tensor, policy_token_mask: Tensor, legal_mask: LegalMask | None = None
    ) -> TokenEvaluation:
        """Return what the model says of the chosen tokens in right-padded sequences, by one full forward pass.

        Logits are computed only at positions where some row chose its token, and masked where they stand.

        Args:
            tokens: (B, T), int64.
            attention_mask: (B, T), True where there is a token.
            policy_token_mask: (B, T), True at the tokens to evaluate; never at the first position.
            legal_mask: the legal tokens of each position (B, T); None: the sayable ones and `<eos>`.
        """
        columns = policy_token_mask.any(0).nonzero().squeeze(-1)
        chosen = policy_token_mask[:, columns]  # (B, C), with N True entries
        output = self.model(
            input_ids=tokens[:, :-1],
            attention_mask=attention_mask[:, :-1],
            use_cache=False,
            output_hidden_states=self.value_head is not None,
            logits_to_keep=columns - 1,
        )
        legal = None if legal_mask is None else legal_mask.at((slice(None), columns)).at(chosen)
        logprobs = torch.log_softmax(self._legal_logits(output.logits[chosen], legal), dim=-1)  # (N, V)
        own = logprobs.gather(-1, tokens[:, columns][chosen][:, None]).squeeze(-1)
        entropies = -(logprobs.exp() * logprobs.clamp(min=IMPOSSIBLE)).sum(-1)
        values = torch.zeros_like(own)
        if self.value_head is not None:
            hidden = output.hidden_states[-1][:, columns - 1][chosen]
            values = self.value_head(hidden.to(self.value_head.weight.dtype)).squeeze(-1)
        empty = own.new_zeros(tokens.shape)
        return TokenEvaluation(*(empty.masked_scatter(policy_token_mask, part) for part in (own, entropies, values)))

    def _next_probabilities(self, observations: Sequence[Observation]) -> Tensor:
        """Return the next token's distribution (N, V) by one forward pass over right-padded views."""
        device = self.model.device
        told = [torch.from_numpy(np.trim_zeros(o["observation"], "b").astype(np.int64)) for o in observations]
        inputs = nn.utils.rnn.pad_sequence(told, batch_first=True).to(device)
        lengths = torch.tensor([len(one) for one in told], device=device)
        columns, column = torch.unique(lengths - 1, return_inverse=True)
        output = self.model(
            input_ids=inputs,
            attention_mask=torch.arange(inputs.shape[1], device=device) < lengths[:, None],
            use_cache=False,
            logits_to_keep=columns,
        )
        logits = output.logits[torch.arange(len(told), device=device), column]
        return self._legal_logits(logits, self._observed(observations)).double().softmax(-1)[:, : self.vocabulary.size]

    def _observed(self, observations: Sequence[Observation]) -> LegalMask:
        """Return the legal tokens of each observation."""
        legal_tokens = [np.flatnonzero(observation["action_mask"]) for observation in observations]
        return LegalMask.of(legal_tokens, self.vocabulary).to(self.model.device)

    def _legal_logits(self, logits: Tensor, legal: LegalMask | None) -> Tensor:
        """Return what is sampled from, given fresh logits (N, V), which may be overwritten.

        Args:
            logits: the model's.
            legal: of each row; None: the sayable tokens and `<eos>`.
        """
        precise = logits.to(torch.promote_types(logits.dtype, torch.float32))
        precise = precise if self.temperature == 1 else precise / self.temperature
        with torch.no_grad():  # softmax hands an impossible token no gradient, so there is none to be stopped here
            if legal is None:
                return precise.index_fill_(-1, self._unsayable, -torch.inf)
            legal.remove_illegal_(precise, self._unsayable)
        return precise

    def _sample(self, views: Sequence[View], rng: np.random.Generator) -> list[Utterance]:
        decoder = _Decoder(self.model, views)
        turns = [_Turn(view) for view in views]
        live = turns
        while True:
            drawn, logprobs = draw(self._legal_logits(decoder.logits, self._next_legal(live)), rng)
            for turn, token, logprob in zip(live, drawn.tolist(), logprobs.tolist(), strict=True):
                turn.say(token, logprob)
            going = [i for i, turn in enumerate(live) if not turn.ended]
            if not going:
                return [turn.utterance() for turn in turns]
            live = [live[i] for i in going]
            decoder.advance(drawn, going)

    def _next_legal(self, live: Sequence[_Turn]) -> LegalMask | None:
        """Return what each turn may say next; None where no turn is narrowed."""
        if all(turn.legal is None for turn in live):
            return None
        return LegalMask.of([turn.legal for turn in live], self.vocabulary).to(self.model.device)


class _Turn:
    """A turn while it is sampled."""

    __slots__ = ("_eos", "_limit", "_view", "ended", "legal", "logprobs", "tokens")

    def __init__(self, view: View) -> None:
        self._view, self._eos, self._limit = view, view.vocabulary.eos_id, view.max_turn_tokens
        self.tokens: list[int] = []
        self.logprobs: list[float] = []
        self.ended = False
        self.legal = None if view.unrestricted else view.legal_tokens(())
        """The ids that may come next; None: every sayable token and `<eos>`."""

    def say(self, token: int, logprob: float) -> None:
        """Say one more token, and find out what may follow."""
        self.tokens.append(token)
        self.logprobs.append(logprob)
        if token == self._eos:
            self.ended = True
        elif self._view.unrestricted:
            self.ended = len(self.tokens) == self._limit
        else:
            self.legal = self._view.legal_tokens(tuple(self.tokens))
            self.ended = self.legal is not None and not len(self.legal)

    def utterance(self) -> Utterance:
        """Return the whole turn."""
        ending = Ending.END_OF_TURN if self.tokens[-1] == self._eos else Ending.TOO_LONG
        return Utterance(tuple(self.tokens), tuple(self.logprobs), ending)


class _Decoder:
    """The key-value cache of a left-padded batch; rows that have ended are dropped.

    Without padding the model is called without mask and positions, which it would else read anew at every token.
    """

    def __init__(self, model: PreTrainedModel, views: Sequence[View]) -> None:
        lengths = [len(view.tokens) for view in views]
        longest = max(lengths)
        inputs = torch.zeros(len(views), longest, dtype=torch.int64)
        for row, view in enumerate(views):
            inputs[row, longest - lengths[row] :] = torch.from_numpy(view.tokens)
        self._model, self._device, self._num_rows = model, model.device, len(views)
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

    @property
    def logits(self) -> Tensor:
        """The next token's logits, one row for each live row; (B, V)."""
        return self._logits

    def advance(self, tokens: Tensor, going: list[int]) -> None:
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

    def _keep(self, tokens: Tensor, going: list[int]) -> Tensor:
        index = torch.tensor(going, device=self._device)
        self._num_rows = len(going)
        self._cache.batch_select_indices(index)
        if self._mask is not None and self._next_position is not None:
            self._mask, self._next_position = self._mask[index], self._next_position[index]
        return tokens[index]


def _require_model_folder(folder: Path) -> None:
    if not (folder / "config.json").is_file():
        raise ValueError(f"model folder: expected a folder with a config.json, got {folder}")
    if "model_type" not in json.loads((folder / "config.json").read_text(encoding="utf-8")):
        models = sorted(
            str(path.parent) for path in folder.glob("*/config.json") if (path.parent / SAMPLING_FILE).is_file()
        )
        hint = f"; it holds {', '.join(models)}" if models else ""
        raise ValueError(f"model folder: expected the folder of a model, got {folder}, another kind{hint}")


def _require_safe_weights(folder: Path) -> None:
    pickled = sorted(path.name for path in folder.glob("pytorch_model*.bin"))
    if pickled and not any(folder.glob("*.safetensors")):
        raise ValueError(
            f"model {folder}: expected weights as safetensors, which hold numbers only, got {', '.join(pickled)}, a "
            "pickle, which can run anything when it is read; if you trust it, load it with transformers and call "
            "save_pretrained"
        )


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
def evaluating(model: nn.Module) -> Iterator[None]:
    """Switch dropout off inside, and back to what it was afterwards, module by module."""
    training = [module for module in model.modules() if module.training]
    if training:
        model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True
