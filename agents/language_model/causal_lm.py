"""Language models as agents: any transformers causal language model speaks for a batch of views."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, fields
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, PreTrainedModel

from ...envs import Observation, Utterance, View, Vocabulary
from ...envs.engine.views import Choice
from ..folders import SAMPLING_FILE, read_json, reading_tensors, write_words
from ..weights import require_finite
from .adapters import NewAdapter, adapted_model, base_of, is_adapter
from .checkpoints import (
    load_checkpoint,
    positions_of,
    require_embeddings,
    require_plain_weights,
    require_positions,
    text_config,
    without_bars,
)
from .decoding import Decoder, OpenTurns, worth_sharing
from .legal_mask import LegalMask
from .probing import reading_of
from .quantised import Bits
from .sampling import WHOLE, Truncation, draw, require_numbers
from .scoring import LOGITS_AT_ONCE, computed_twice, in_chunks, score
from .shared_prefixes import logits_after
from .tokenizers import require_tokens

DType = Literal["float32", "bfloat16", "float16"]
Attention = Literal["sdpa", "eager", "flash_attention_2"]
"""How attention is computed: by torch, by a plain softmax, or by the package flash-attn on a GPU."""
VALUE_HEAD_FILE = "value_head.safetensors"


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
    sampled: temperature applied, illegal tokens removed, and those that a `Truncation` cuts off.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        vocabulary: Vocabulary,
        *,
        temperature: float = 1.0,
        truncation: Truncation = WHOLE,
        value_head: nn.Linear | None = None,
        compute_dtype: torch.dtype | None = None,
        gradient_checkpointing: bool = False,
    ) -> None:
        """Take a model whose embedding has at least `vocabulary.size` rows.

        Args:
            model: the causal language model; it stays on its device.
            vocabulary: the tokens of the game.
            temperature: > 0; 1 samples the model's own distribution.
            truncation: what is cut off of it.
            value_head: maps last hidden states (..., hidden_size) to values (..., 1); a critic for learners.
            compute_dtype: what autocast computes in, as bfloat16 with weights in float32; None: in the weights'.
            gradient_checkpointing: whether layers keep their inputs alone and are computed again for their gradients.

        Raises:
            ValueError: a temperature that is none, or a model that cannot play: it has no embedding or no logit for
                some token, or what it says of a token depends on those that come later.
        """
        if not 0 < temperature < np.inf:
            raise ValueError(f"temperature: expected a number > 0, got {temperature}")
        require_embeddings(model, vocabulary.size, "the vocabulary")
        reading = reading_of(model)
        if reading.num_logits < vocabulary.size:
            raise ValueError(
                f"model: expected at least {vocabulary.size} logits (the vocabulary), got {reading.num_logits}"
            )
        self.model, self.vocabulary = model, vocabulary
        self.temperature, self.truncation = temperature, truncation
        self.value_head = value_head
        self.compute_dtype, self.gradient_checkpointing = compute_dtype, gradient_checkpointing
        self._decoder = partial(Decoder, shared_from=worth_sharing(model)) if reading.extends else reading.decoder
        self._head, self._extends = reading.head, reading.extends
        self._num_logits, self._max_positions = reading.num_logits, positions_of(model)
        sayable = torch.zeros(reading.num_logits, dtype=torch.bool)
        sayable[: vocabulary.size] = torch.from_numpy(vocabulary.sayable_mask.astype(bool))
        sayable[vocabulary.eos_id] = True
        self._unsayable = (~sayable).nonzero().squeeze(-1).to(model.device)

    @classmethod
    def from_pretrained(
        cls,
        folder: str | Path,
        vocabulary: Vocabulary,
        *,
        device: str = "cpu",
        dtype: DType = "float32",
        max_view_tokens: int = 0,
        adapter: NewAdapter | None = None,
        attn_implementation: Attention | None = None,
        base_bits: Bits | None = None,
    ) -> CausalLMAgent:
        """Load a folder written by `save_pretrained`, or any local Hugging Face causal-model or LoRA adapter folder.

        Nothing in the folder is run: neither its code (whoever trusts a model's own code loads the model with
        transformers and gives it to the constructor) nor a pickle.

        Args:
            folder: holds config.json and weights as safetensors, or peft's adapter_config.json, which names its base.
            vocabulary: the tokens of the game.
            device: where the model is to stand, as "cuda" or "cpu".
            dtype: the precision of the weights; the value head's and an adapter's stay float32.
            max_view_tokens: the longest view that the game shows.
            adapter: is made on a whole model, which stays as it is, shared with all that adapt it in this process; an
                adapter's folder goes on with its own. None: a whole model is read for this agent alone.
            attn_implementation: how attention is computed; None: as transformers has it for the model.
            base_bits: what a base under an adapter is rounded to; None: what an adapter's folder says, or nothing.

        Raises:
            ValueError: there is no such folder, its weights are pickled, damaged, not finite or not all there, the
                game has other words than those it was saved with or another tokenizer, a view is longer than the
                model has positions for, the dtype is unknown, or a whole model is to be rounded.
        """
        folder = Path(folder)
        whole = base_of(folder) if is_adapter(folder) else folder
        require_plain_weights(whole)
        if dtype not in get_args(DType):
            raise ValueError(f"dtype: expected one of {', '.join(get_args(DType))}, got {dtype!r}")
        temperature, truncation = _sampling_of(folder, vocabulary)
        for each in {folder, whole}:
            require_tokens(each, vocabulary)
        where, options = torch.device(device), {"dtype": getattr(torch, dtype)}
        if attn_implementation is not None:
            options["attn_implementation"] = attn_implementation
        if is_adapter(folder) or adapter is not None:
            model: PreTrainedModel = adapted_model(folder, adapter, device=where, base_bits=base_bits, **options)
        elif base_bits is not None:
            raise ValueError(f"base_bits: expected adapters, on a base that stays as it is, got the whole of {folder}")
        else:
            model = load_checkpoint(AutoModelForCausalLM, folder, **options)
            nn.Module.to(model, where)  # transformers' own `to` is not typed
        require_positions(model, max_view_tokens, f"model {folder}", "the game's longest view")
        head = _value_head_of(folder, text_config(model.config).hidden_size)
        head = None if head is None else head.to(where)
        return cls(model, vocabulary, value_head=head, temperature=temperature, truncation=truncation)

    def with_model(self, model: PreTrainedModel) -> CausalLMAgent:
        """Return an agent of another model, sampled and computed as this one is, without a value head."""
        return CausalLMAgent(
            model,
            self.vocabulary,
            temperature=self.temperature,
            truncation=self.truncation,
            compute_dtype=self.compute_dtype,
            gradient_checkpointing=self.gradient_checkpointing,
        )

    def save_pretrained(self, folder: str | Path) -> None:
        """Write model, value head, how it is sampled and the game's words; `transformers` alone can load the folder."""
        folder = Path(folder)
        with without_bars():
            self.model.save_pretrained(folder)
        if self.value_head is not None:
            save_file(self.value_head.state_dict(), folder / VALUE_HEAD_FILE)
        cut = {name: value for name, value in asdict(self.truncation).items() if value}
        sampling = {"temperature": self.temperature, **cut, "vocabulary_size": self.vocabulary.size}
        (folder / SAMPLING_FILE).write_text(json.dumps(sampling), encoding="utf-8")
        write_words(folder, self.vocabulary)

    @torch.inference_mode()
    def speak(self, views: Sequence[View], rng: np.random.Generator) -> list[Utterance]:
        """Sample one turn for each view, in one batch; a row leaves it once its turn has ended."""
        if not views:
            return []
        with evaluating(self.model), self.computing():
            return self._sample(views, rng)

    @torch.no_grad()
    def act(self, observation: Observation, rng: np.random.Generator) -> int:
        """Sample one legal token for an AEC observation, by a full forward pass."""
        tokens = observation["observation"]
        length = int(np.flatnonzero(tokens)[-1]) + 1
        with evaluating(self.model), self.computing():
            self._require_positions(length)
            inputs = torch.from_numpy(tokens[None, :length].astype(np.int64)).to(self.model.device)
            logits = self.model(input_ids=inputs, use_cache=False, logits_to_keep=1).logits[:, -1]
        token, _ = draw(self._legal_logits(logits, self._observed([observation])), rng)
        return int(token[0])

    def token_probabilities(self, observations: Sequence[Observation]) -> NDArray[np.float64]:
        """Return the distribution that its next token is sampled from at each observation; shape (N, V)."""
        choices = [
            Choice(tuple(np.trim_zeros(o["observation"], "b").tolist()), np.flatnonzero(o["action_mask"]))
            for o in observations
        ]
        probabilities = np.zeros((len(observations), self.vocabulary.size))
        stated = self.choice_probabilities(choices)
        for row, choice, of_legal in zip(probabilities, choices, stated, strict=True):
            row[choice.legal] = of_legal
        return probabilities

    @torch.no_grad()
    def choice_probabilities(self, choices: Sequence[Choice]) -> list[NDArray[np.float64]]:
        """Return the same for the legal tokens alone, in their order, (n,) each; what choices share is read once."""
        self._require_positions(max((len(choice.tokens) for choice in choices), default=0))
        found: list[NDArray[np.float64]] = [np.zeros(0)] * len(choices)
        with evaluating(self.model), self.computing():
            told = [choice.tokens for choice in choices]
            for numbers, logits in logits_after(self.model, told, extends=self._extends):
                for number, row in zip(numbers, logits.double() / self.temperature, strict=True):
                    legal = torch.tensor(choices[number].legal, device=row.device)
                    probabilities = self.truncation.cut(row[legal]).softmax(-1)
                    require_numbers(probabilities[None, :1], "logits")
                    found[number] = probabilities.cpu().numpy()
        return found

    def evaluate(
        self,
        tokens: Tensor,
        attention_mask: Tensor,
        policy_token_mask: Tensor,
        legal_mask: LegalMask | None = None,
        *,
        entropy_grad: bool = False,
    ) -> TokenEvaluation:
        """Return what the model says of the chosen tokens in right-padded sequences, by one full forward pass.

        Logits are computed only at positions where some row chose its token, and masked where they stand; those of a
        large vocabulary a few positions at a time, and once more for their gradients.

        Args:
            tokens: (B, T), int64.
            attention_mask: (B, T), True where there is a token.
            policy_token_mask: (B, T), True at the tokens to evaluate; never at the first position.
            legal_mask: the legal tokens of each position (B, T); None: the sayable ones and `<eos>`.
            entropy_grad: whether the entropies have gradients, which take as much memory as logits.
        """
        columns = policy_token_mask.any(0).nonzero().squeeze(-1)
        chosen = policy_token_mask[:, columns]  # (B, C), with N True entries
        legal = None if legal_mask is None else legal_mask.at((slice(None), columns)).at(chosen)
        said = tokens[:, columns][chosen]
        view = {"input_ids": tokens[:, :-1], "attention_mask": attention_mask[:, :-1], "use_cache": False}
        with self.computing(), computed_twice(self.model, self.gradient_checkpointing):
            if self._head is not None and chosen.numel() * self._num_logits > LOGITS_AT_ONCE:
                hidden = self.model.base_model(**view).last_hidden_state[:, columns - 1][chosen]
                own, entropies = self._scores_of_states(hidden, said, legal, entropy_grad=entropy_grad)
            else:
                with_states = self.value_head is not None
                output = self.model(**view, output_hidden_states=with_states, logits_to_keep=columns - 1)
                own, entropies = score(
                    self._legal_logits(output.logits[chosen], legal), said, entropy_grad=entropy_grad
                )
                hidden = output.hidden_states[-1][:, columns - 1][chosen] if with_states else own
        require_numbers(own.detach(), "logits")
        values = torch.zeros_like(own)
        if self.value_head is not None:
            values = self.value_head(hidden.to(self.value_head.weight.dtype)).squeeze(-1)
            require_numbers(values.detach(), "values")
        empty = own.new_zeros(tokens.shape)
        return TokenEvaluation(*(empty.masked_scatter(policy_token_mask, part) for part in (own, entropies, values)))

    @contextmanager
    def computing(self) -> Iterator[None]:
        """Compute inside in the precision that this agent computes in."""
        with torch.autocast(self.model.device.type, self.compute_dtype) if self.compute_dtype else nullcontext():
            yield

    def _scores_of_states(
        self, hidden: Tensor, said: Tensor, legal: LegalMask | None, *, entropy_grad: bool
    ) -> tuple[Tensor, Tensor]:
        """Return log-probabilities and entropies, (N,) each, by hidden states (N, H), without N V logits at once."""
        head = self._head
        assert head is not None

        def scores(part: slice) -> tuple[Tensor, Tensor]:
            logits = self._legal_logits(head(self.model, hidden[part]), None if legal is None else legal.at(part))
            return score(logits, said[part], entropy_grad=entropy_grad)

        return in_chunks(scores, len(said), max(1, LOGITS_AT_ONCE // self._num_logits))

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
                precise.index_fill_(-1, self._unsayable, -torch.inf)
            else:
                legal.remove_illegal_(precise, self._unsayable)
        return self.truncation.cut(precise)

    def _sample(self, views: Sequence[View], rng: np.random.Generator) -> list[Utterance]:
        lengths = np.array([len(view.tokens) for view in views])
        self._require_positions(int(lengths.max()))
        decoder, turns = self._decoder(self.model, views), OpenTurns(views, self.truncation)
        while True:
            drawn, logprobs = draw(self._legal_logits(decoder.logits, self._next_legal(turns)), rng)
            going = turns.say(drawn.cpu().numpy(), logprobs.cpu().numpy())
            if not going.size:
                return turns.utterances()
            lengths = lengths[going] + 1
            try:
                decoder.advance(drawn, going)
            except IndexError:  # a table of positions has an end; rotary ones go on
                self._require_positions(int(lengths.max()))
                raise

    def _next_legal(self, turns: OpenTurns) -> LegalMask | None:
        """Return what each live turn may say next; None where no turn is narrowed."""
        legal = turns.legal
        return None if legal is None else LegalMask.of(legal, self.vocabulary).to(self.model.device)

    def _require_positions(self, num_tokens: int) -> None:
        """Refuse a view that is longer than what the model has positions for."""
        if self._max_positions is not None and num_tokens > self._max_positions:
            raise ValueError(
                f"view: expected at most {self._max_positions} tokens, the model's positions, got {num_tokens}"
            )


def _sampling_of(folder: Path, vocabulary: Vocabulary) -> tuple[float, Truncation]:
    """Return how a saved model is sampled from, once the game is seen to have its vocabulary."""
    path = folder / SAMPLING_FILE
    sampling = read_json(path) if path.is_file() else {}
    size, temperature = sampling.pop("vocabulary_size", vocabulary.size), sampling.pop("temperature", 1.0)
    cut = {field.name: sampling.pop(field.name) for field in fields(Truncation) if field.name in sampling}
    if sampling:
        known = ", ".join(["temperature", "vocabulary_size", *(field.name for field in fields(Truncation))])
        raise ValueError(f"{path}: expected {known}, got {', '.join(map(repr, sampling))} too")
    if size != vocabulary.size:
        raise ValueError(f"model {folder}: expected a game of its vocabulary, {size} tokens, got {vocabulary.size}")
    if isinstance(temperature, bool) or not isinstance(temperature, int | float) or not 0 < temperature < np.inf:
        raise ValueError(f"{path}: expected a temperature > 0, got {temperature!r:.80}")
    stop = cut.pop("stop", ())
    try:
        return float(temperature), Truncation(**cut, stop=tuple(stop) if isinstance(stop, list) else stop)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _value_head_of(folder: Path, hidden_size: int) -> nn.Linear | None:
    """Return the value head that was saved beside a model; None where none was."""
    path = folder / VALUE_HEAD_FILE
    if not path.is_file():
        return None
    head = nn.Linear(hidden_size, 1)
    with reading_tensors(path):
        weights = load_file(path)
    expected, found = ({name: tuple(x.shape) for name, x in part.items()} for part in (head.state_dict(), weights))
    if found != expected:
        raise ValueError(f"{path}: expected the value head of a model of width {hidden_size}, {expected}, got {found}")
    require_finite(weights, str(path))
    head.load_state_dict(weights)
    return head


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
