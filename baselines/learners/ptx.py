"""PPO-ptx: on every gradient step of a learner, the likelihood of the data that its start was made from as well.

Ouyang et al., *Training language models to follow instructions with human feedback*, 2022, arXiv 2203.02155, equation
2: the objective gets + gamma E_{x ~ D_pretrain} log pi(x), here `ptx_coef` times the mean over the tokens of a
minibatch, against the loss of what policy learning unlearns. The data are dialogues that the game generates.

Differs from the paper in: any learner has it, not PPO alone; the mean is taken over tokens, not over documents.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel

from ...envs import LanguageGame
from ...envs.solutions import HasDemonstrations
from ..functional.policy_losses import token_logprobs
from ..functional.supervised import behaviour_cloning_loss
from ..rollouts.demonstrations import Demonstrations, demonstrations_of, encode_dialogues
from ..training.checks import Options, Rows
from ..training.costs import meter_of
from .optimisation import require_finite
from .parts import parts_of

PtxSource = Literal["average", "ideal", "both"]
"""Whose dialogues: of average players (pre-training), of the ideal player two (fine-tuning), or half of each."""


class PretrainingData:
    """Encoded dialogues, of which minibatches are drawn at random, with replacement; nothing of it is to be saved."""

    def __init__(self, demonstrations: Demonstrations, tokens_of: str = "all") -> None:
        """Take the dialogues, and whose tokens are learnt: "all", "player_0" or "player_1"."""
        self.demonstrations, self._mask = demonstrations, demonstrations.loss_mask(tokens_of)
        self.num_tokens = 0
        """Tokens whose likelihood has been raised so far, each as often as it was drawn."""

    def backward(
        self, model: PreTrainedModel, num_rows: int, rng: np.random.Generator, *, coef: float, tokens_at_once: int
    ) -> float:
        """Add `coef` times the gradient of the mean negative log-likelihood of a token of `num_rows` dialogues.

        Args:
            model: whose parameters have the gradients.
            num_rows: dialogues.
            rng: draws them.
            coef: the weight.
            tokens_at_once: more do not pass through the model at a time; 0: all do.

        Returns:
            The mean, in nats.
        """
        rows = torch.from_numpy(rng.integers(len(self.demonstrations), size=num_rows))
        num_tokens, mean = int(self._mask[rows].sum()), 0.0
        for part in parts_of(self.demonstrations.attention_mask[rows], tokens_at_once):
            loss, num_here = cloning_loss(model, self.demonstrations, self._mask, rows[part])
            share = num_here / max(1, num_tokens)
            require_finite("loss", loss)
            (coef * share * loss).backward()
            mean += share * float(loss.detach())
        self.num_tokens += num_tokens
        return mean


def cloning_loss(model: PreTrainedModel, data: Demonstrations, loss_mask: Tensor, rows: Tensor) -> tuple[Tensor, int]:
    """Return the mean negative log-likelihood of the marked tokens of some dialogues, and how many tokens these are.

    Args:
        model: the language model.
        data: dialogues, B of them.
        loss_mask: the tokens that are learnt, (B, T).
        rows: which of the dialogues.
    """
    batch = data.select(rows)
    tokens, attention = batch.tokens.to(model.device), batch.attention_mask.to(model.device)
    mask = loss_mask[rows, : tokens.shape[1]].to(model.device)
    output = model(input_ids=tokens[:, :-1], attention_mask=attention[:, :-1], use_cache=False)
    return behaviour_cloning_loss(token_logprobs(output.logits, tokens[:, 1:]), mask[:, 1:]), int(mask.sum())


@dataclass(frozen=True, kw_only=True)
class PretrainingDataOptions(Options):
    """Which data a `ptx_coef` above 0 is about."""

    ptx_source: PtxSource = "average"
    """Whose dialogues are not to be unlearnt: of average players, of the ideal player two, or half of each."""
    num_ptx_dialogues: Rows = 20_000
    """How many of them there are."""

    def pretraining_data(
        self, game: LanguageGame[Any], player: int | None, *, ptx_coef: float, seed: int
    ) -> PretrainingData | None:
        """Return what a player is not to unlearn; None if that has no weight.

        Player 0 gets its views with all tokens in the loss (eq. 7 of arXiv 2402.08078), player 1 its own tokens (eq. 8
        there).

        Args:
            game: generates the dialogues.
            player: who learns; None: one model in both seats, which gets both players' views, all tokens in the loss.
            ptx_coef: the learner's.
            seed: decides the dialogues.

        Raises:
            ValueError: the game generates none.
        """
        if not ptx_coef:
            return None
        if not isinstance(game, HasDemonstrations):
            name = type(game).__name__
            raise ValueError(f"ptx_coef: expected 0 in {name}, which generates no demonstrations, got {ptx_coef}")
        sources = {"both": ["average", "ideal"]}.get(self.ptx_source, [self.ptx_source])
        rng, num_each = np.random.default_rng([seed, 4]), -(-self.num_ptx_dialogues // len(sources))
        dialogues = [one for source in sources for one in demonstrations_of(game, source, rng, num_each)]
        viewers = (0, 1) if player is None else (player,)
        encoded = encode_dialogues(game, dialogues[: self.num_ptx_dialogues], viewers)
        data, meter = PretrainingData(encoded, "player_1" if player == 1 else "all"), meter_of(game)
        if meter is not None:
            meter.cloning(lambda: data.num_tokens)
        return data
