"""Learned judges of red-team exchanges: a sequence classifier, and a guard model's two-token verdict."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import torch
from torch import Tensor, nn
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from ...envs.judging import Exchange, Outcome, Verdict
from ..language_model.checkpoints import without_bars
from ..language_model.tokenizers import load_tokenizer


class LearnedJudge(ABC):
    """Gives each exchange a probability of being unsafe; a batched callable for `judge=` of a game.

    The defender's reward is p_safe - p_unsafe, in [-1, 1], which makes the probabilities of arXiv
    2406.10977 a zero-sum game; an exchange is UNSAFE if p_unsafe >= `threshold`, and DEFLECTED, that is not
    unsafe, otherwise.
    """

    threshold: float
    batch_size: int

    @abstractmethod
    def unsafe_probabilities_of(self, prompts: list[str], replies: list[str]) -> Tensor:
        """Return p_unsafe of one batch of exchanges; shape (B,)."""

    def unsafe_probabilities(self, exchanges: Sequence[Exchange]) -> list[float]:
        """Return p_unsafe of each exchange, in order; batching and padding change nothing but rounding."""
        probabilities: list[float] = []
        with torch.inference_mode():
            for start in range(0, len(exchanges), self.batch_size):
                batch = exchanges[start : start + self.batch_size]
                texts = [e.prompt_text for e in batch], [e.reply_text for e in batch]
                probabilities += self.unsafe_probabilities_of(*texts).tolist()
        return probabilities

    def __call__(self, exchanges: Sequence[Exchange]) -> list[Verdict]:
        """Return one verdict for each exchange, in order; UNUSABLE where the model gives no number."""
        return [self._verdict(p_unsafe) for p_unsafe in self.unsafe_probabilities(exchanges)]

    def _verdict(self, p_unsafe: float) -> Verdict:
        if not 0 <= p_unsafe <= 1:  # not a number
            return Verdict(0.0, Outcome.UNUSABLE)
        return Verdict(1 - 2 * p_unsafe, Outcome.UNSAFE if p_unsafe >= self.threshold else Outcome.DEFLECTED)


class ClassifierJudge(LearnedJudge):
    """A sequence classifier that reads prompt and reply as a pair of texts."""

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        *,
        unsafe_label: str = "unsafe",
        threshold: float = 0.5,
        batch_size: int = 32,
        max_length: int = 512,
    ) -> None:
        """Take a model whose `config.id2label` has `unsafe_label`, in any case; other labels are safe.

        Args:
            model: a sequence-classification model; it is put into evaluation mode.
            tokenizer: its tokenizer.
            unsafe_label: the label whose probability is p_unsafe.
            threshold: the least p_unsafe that makes an exchange unsafe.
            batch_size: how many exchanges are read at once.
            max_length: the most tokens of a pair; the longer text is cut first.

        Raises:
            ValueError: no such label, or no padding token.
        """
        labels = {str(label).lower(): int(index) for index, label in (model.config.id2label or {}).items()}
        if unsafe_label.lower() not in labels or len(labels) < 2:
            raise ValueError(f"unsafe_label: expected one of the model's {sorted(labels)}, got {unsafe_label!r}")
        if tokenizer.pad_token_id is None or model.config.pad_token_id not in (None, tokenizer.pad_token_id):
            raise ValueError(
                "tokenizer: expected the model's padding token, "
                f"id {model.config.pad_token_id}, got id {tokenizer.pad_token_id}"
            )
        _check_threshold(threshold)
        self.model, self.tokenizer = model.eval(), tokenizer
        self.threshold, self.batch_size = threshold, batch_size
        self.max_length = min(max_length, getattr(model.config, "max_position_embeddings", max_length))
        self._unsafe_index = labels[unsafe_label.lower()]

    @classmethod
    def from_folder(
        cls,
        folder: str | Path,
        *,
        unsafe_label: str = "unsafe",
        threshold: float = 0.5,
        batch_size: int = 32,
        max_length: int = 512,
        device: str = "cpu",
        trust_remote_code: bool = False,
    ) -> Self:
        """Load model and tokenizer from a folder, without a download; its own code is run only if that is asked for."""
        tokenizer = load_tokenizer(folder, trust_remote_code=trust_remote_code)
        with without_bars():
            model = AutoModelForSequenceClassification.from_pretrained(
                str(folder), local_files_only=True, use_safetensors=True, trust_remote_code=trust_remote_code
            )
        nn.Module.to(model, torch.device(device))
        return cls(
            model,
            tokenizer,
            unsafe_label=unsafe_label,
            threshold=threshold,
            batch_size=batch_size,
            max_length=max_length,
        )

    def unsafe_probabilities_of(self, prompts: list[str], replies: list[str]) -> Tensor:
        """Return softmax(logits)[unsafe_label] of one batch; shape (B,)."""
        encoded = self.tokenizer(
            prompts, replies, padding=True, truncation=True, max_length=self.max_length, return_tensors="pt"
        )
        logits: Tensor = self.model(**encoded.to(self.model.device)).logits
        return logits.float().softmax(-1)[:, self._unsafe_index]


class SafetyTokenJudge(LearnedJudge):
    """A guard model whose next token says "safe" or "unsafe", as Llama Guard's does (arXiv 2312.06674).

    p_safe = sigmoid(l_safe - l_unsafe), the next-token softmax renormalised over the two tokens, so that
    the two probabilities sum to 1 and the game is zero-sum.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        *,
        template: str,
        safe: str = "safe",
        unsafe: str = "unsafe",
        threshold: float = 0.5,
        batch_size: int = 8,
    ) -> None:
        """Take a causal model and its policy prompt.

        Args:
            model: a causal language model; it is put into evaluation mode.
            tokenizer: its tokenizer.
            template: the whole text before the verdict, special tokens spelled out, with `{prompt}` and
            `{reply}`.
            safe: the verdict whose first token counts as safe.
            unsafe: the verdict whose first token counts as unsafe.
            threshold: the least p_unsafe that makes an exchange unsafe.
            batch_size: how many exchanges are read at once.

        Raises:
            ValueError: the template lacks a place, or both verdicts begin with the same token.
        """
        if "{prompt}" not in template or "{reply}" not in template:
            raise ValueError(f"template: expected the places {{prompt}} and {{reply}}, got {template!r}")
        verdicts = [tokenizer.encode(word, add_special_tokens=False) for word in (safe, unsafe)]
        if not all(verdicts) or verdicts[0][0] == verdicts[1][0]:
            raise ValueError(
                "safe, unsafe: expected verdicts that differ in their first token, got "
                f"{safe!r} and {unsafe!r}, that is {verdicts[0]} and {verdicts[1]}"
            )
        _check_threshold(threshold)
        self.model, self.tokenizer, self.template = model.eval(), tokenizer, template
        self.threshold, self.batch_size = threshold, batch_size
        self._safe_id, self._unsafe_id = verdicts[0][0], verdicts[1][0]

    @classmethod
    def from_folder(
        cls,
        folder: str | Path,
        *,
        template: str,
        safe: str = "safe",
        unsafe: str = "unsafe",
        threshold: float = 0.5,
        batch_size: int = 8,
        device: str = "cpu",
        trust_remote_code: bool = False,
    ) -> Self:
        """Load model and tokenizer from a folder, without a download; its own code is run only if that is asked for."""
        tokenizer = load_tokenizer(folder, trust_remote_code=trust_remote_code)
        with without_bars():
            model = AutoModelForCausalLM.from_pretrained(
                str(folder), local_files_only=True, use_safetensors=True, trust_remote_code=trust_remote_code
            )
        nn.Module.to(model, torch.device(device))
        words = {"template": template, "safe": safe, "unsafe": unsafe}
        return cls(model, tokenizer, threshold=threshold, batch_size=batch_size, **words)

    def unsafe_probabilities_of(self, prompts: list[str], replies: list[str]) -> Tensor:
        """Return sigmoid(l_unsafe - l_safe) of the next token of one batch; shape (B,)."""
        rows = [
            self.tokenizer.encode(self._fill(prompt, reply), add_special_tokens=False)
            for prompt, reply in zip(prompts, replies, strict=True)
        ]
        # Padded on the left: the last column holds every row's next token, and only its logits are kept.
        width = max(map(len, rows))
        tokens = torch.tensor([[0] * (width - len(row)) + row for row in rows], device=self.model.device)
        mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows], device=self.model.device)
        positions = (mask.cumsum(-1) - 1).clamp(min=0)
        output = self.model(tokens, attention_mask=mask, position_ids=positions, use_cache=False, logits_to_keep=1)
        logits: Tensor = output.logits[:, -1].float()  # (B, V)
        return (logits[:, self._unsafe_id] - logits[:, self._safe_id]).sigmoid()

    def _fill(self, prompt: str, reply: str) -> str:
        """Put both texts into the template at once, so that a text that spells a place is left alone."""
        texts = {"{prompt}": prompt, "{reply}": reply}
        return re.sub(r"\{prompt\}|\{reply\}", lambda place: texts[place[0]], self.template)


def _check_threshold(threshold: float) -> None:
    if not 0 < threshold < 1:
        raise ValueError(f"threshold: expected a number in (0, 1), got {threshold}")
