"""Tokens for Stable-Baselines3: what its policies read in place of a vector of token numbers."""

from __future__ import annotations

import torch
from gymnasium import spaces
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import Tensor, nn
from typing_extensions import override

from ..envs.vocabulary import PAD


class TokenFeatures(BaseFeaturesExtractor):
    """Embeds the tokens of a view and lays the embeddings side by side; padding is zeros, and the mask is not read.

    A linear layer behind it sees which token stands at which place, which small games are learnt from in fewer steps
    than from a transformer or a mean over tokens; the number of weights grows with the longest view.

    >>> from duologue.envs import SinglePlayerEnv, make_game
    >>> TokenFeatures(SinglePlayerEnv(make_game("bluff-v0")).observation_space, embedding_size=4).features_dim
    40
    """

    def __init__(self, observation_space: spaces.Space[object], *, embedding_size: int = 32) -> None:
        """Take the space of a `SinglePlayerEnv`.

        Raises:
            ValueError: another space, or a size below 1.
        """
        length, size = _lengths(observation_space)
        if embedding_size < 1:
            raise ValueError(f"embedding_size: expected at least 1, got {embedding_size}")
        super().__init__(observation_space, features_dim=length * embedding_size)
        self.embedding = nn.Embedding(size, embedding_size, padding_idx=PAD)

    @override
    def forward(self, observations: dict[str, Tensor]) -> Tensor:
        """Return the features (B, L * E) of tokens (B, L), which Stable-Baselines3 hands over as floats."""
        embedded: Tensor = self.embedding(observations["observation"].to(torch.int64))
        return embedded.flatten(1)


def _lengths(space: spaces.Space[object]) -> tuple[int, int]:
    """Return the longest view and the size of the vocabulary."""
    parts = space.spaces if isinstance(space, spaces.Dict) else {}
    if sorted(parts) != ["action_mask", "observation"]:
        raise ValueError(f"observation_space: expected Dict(action_mask, observation), got {space}")
    (length,), (size,) = parts["observation"].shape or (), parts["action_mask"].shape or ()
    return length, size
