"""What every agent is: something that speaks whole turns for a batch of views, or one token at a time."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from ..envs import Ending, Observation, RandomAgent, Speaker, Utterance, View

__all__ = ["Agent", "Observation", "RandomAgent", "Speaker", "Utterance", "View", "utter"]


class Agent(Speaker, Protocol):
    """A speaker that can also act in the AEC form, where only the observation reaches it."""

    def act(self, observation: Observation, rng: np.random.Generator) -> int:
        """Return one legal token for an AEC observation."""
        ...


def utter(view: View, tokens: Sequence[int]) -> Utterance:
    """Return an utterance of words: closed by `<eos>` below the length limit, cut off at it.

    Args:
        view: of the player who speaks.
        tokens: the words, without thought and without `<eos>`; TypeError if one is no integer.
    """
    spoken = tuple(operator.index(token) for token in tokens[: view.max_turn_tokens])
    if len(spoken) == view.max_turn_tokens:
        return Utterance(spoken, ending=Ending.TOO_LONG)
    return Utterance((*spoken, view.vocabulary.eos_id))
