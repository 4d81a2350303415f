"""One critic for two policies: a value network with a backbone of its own, which reads both players' views.

Either policy's critic is else a head on the policy's own backbone. Here one network estimates what a view is worth to
the player whose view it is, and each player's update fits it to that player's own returns.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from ...agents.language_model.adapters import AdaptedModel
from ...agents.language_model.causal_lm import evaluating
from ...agents.language_model.checkpoints import text_config
from ..rollouts.trajectories import Trajectories
from ..training.state import Stateful
from .optimisation import descend, make_optimizer, set_learning_rate
from .parts import backward_in_parts, said_of


class SharedCritic(Stateful):
    """The value network of both players, and the optimiser that follows both players' updates.

    Views need not name the player: a vector for each player is added to the embedding of every token. The vectors and
    the head start at 0, so that all values do.
    """

    saved = ("parts", "_optimizer")

    def __init__(self, start: PreTrainedModel) -> None:
        """Copy the backbone of a causal language model, which stays as it is.

        Raises:
            ValueError: the model is an adapter's, whose backbone is not to be copied.
        """
        if isinstance(start, AdaptedModel):
            raise ValueError(
                "shared_critic: expected players whose weights are all trained (lora_rank 0), got adapters, whose "
                "critics are heads on the base that they share"
            )
        backbone = copy.deepcopy(start.base_model)
        assert isinstance(backbone, PreTrainedModel)
        self.backbone = backbone.requires_grad_(True)
        width, device = text_config(start.config).hidden_size, start.device
        self.roles = nn.Embedding.from_pretrained(torch.zeros(2, width, device=device), freeze=False)
        """What is added to a token's embedding in the view of player 0 or 1."""
        self.head = nn.Linear(width, 1, device=device)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        self.parts = nn.ModuleDict({"backbone": self.backbone, "roles": self.roles, "head": self.head})
        """All that is fitted."""
        self._optimizer = make_optimizer(self.parameters(), learning_rate=0.0, weight_decay=0.0)

    def parameters(self) -> list[nn.Parameter]:
        """Return what there is to fit."""
        return list(self.parts.parameters())

    def values(self, batch: Trajectories) -> Tensor:
        """Return the value before each own token, 0 at the others, with gradients; (B, T)."""
        own = batch.policy_token_mask
        embedded = self.backbone.get_input_embeddings()(batch.tokens)
        told = embedded + self.roles(batch.players)[:, None].to(embedded.dtype)
        with evaluating(self.backbone):
            output = self.backbone(
                inputs_embeds=told[:, :-1], attention_mask=batch.attention_mask[:, :-1], use_cache=False
            )
        before = output.last_hidden_state[own[:, 1:]].to(self.head.weight.dtype)  # (N, hidden_size)
        values: Tensor = self.head(before).squeeze(-1)
        return values.new_zeros(own.shape).masked_scatter(own, values)

    def estimates(self, batch: Trajectories, *, tokens_at_once: int = 0) -> Tensor:
        """Return the same without gradients, of so many tokens at a time; 0: of all."""
        return said_of(lambda part: [self.values(part)], batch, tokens_at_once)[0]

    def fit(
        self,
        batch: Trajectories,
        loss_of: Callable[[Tensor], Tensor],
        *,
        learning_rate: float,
        max_grad_norm: float,
        tokens_at_once: int = 0,
    ) -> Tensor:
        """Descend once on a player's value loss, at the learning rate that the player has; return the loss before."""

        def reported(said: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
            loss = loss_of(said[0])
            return loss, loss.detach()

        set_learning_rate(self._optimizer, learning_rate)
        self._optimizer.zero_grad(set_to_none=True)
        loss = backward_in_parts(lambda part: [self.values(part)], batch, reported, tokens_at_once)
        descend(self._optimizer, self.parameters(), max_grad_norm=max_grad_norm)
        return loss
