"""A policy of the exact tree as an agent: what a solver found plays in every form of the game."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..envs import Ending, Observation, Utterance, View, Vocabulary
from ..envs.tree import GameTree, Policy, check_policy


class TabularAgent:
    """Looks up what it knows in a table of distributions, and draws from them.

    >>> from duologue.envs.games.bluff import Bluff
    >>> from duologue.envs.tree import uniform_profile
    >>> tree = GameTree(Bluff())
    >>> agent = TabularAgent(tree, 1, uniform_profile(tree)[1])
    >>> agent.token_probabilities(tree.observations(1)).max()
    np.float64(0.5)
    """

    def __init__(self, tree: GameTree, player: int, policy: Policy) -> None:
        """Take one player's policy; raises ValueError where it is none (`check_policy`)."""
        self.player, self.policy = player, check_policy(tree, player, policy)
        self._vocabulary: Vocabulary = tree.game.vocabulary
        table = tree.tables[player]
        self._offsets, self._tokens = table.offsets, table.tokens
        observed = (observation["observation"] for observation in tree.observations(player))
        self._infostates = {_key(tokens): infostate for infostate, tokens in enumerate(observed)}

    def infostate_of(self, tokens: NDArray[np.int64]) -> int:
        """Return the number of the information state in which the player knows `tokens`, padded or not.

        Raises:
            ValueError: the tree has no such information state of this player.
        """
        infostate = self._infostates.get(_key(tokens))
        if infostate is None:
            raise ValueError(
                f"view: expected one of the {len(self._infostates)} information states of player {self.player} in the "
                f"tree, got {self._vocabulary.decode(tokens.tolist())!r}"
            )
        return infostate

    def token_probabilities(self, observations: Sequence[Observation]) -> NDArray[np.float64]:
        """Return the distribution of its next token at each observation; shape (N, V)."""
        probabilities = np.zeros((len(observations), self._vocabulary.size))
        for row, observation in zip(probabilities, observations, strict=True):
            here = self._row(observation["observation"])
            row[here.tokens] = here.probabilities
        return probabilities

    def act(self, observation: Observation, rng: np.random.Generator) -> int:
        """Return one legal token for an AEC observation."""
        return self._draw(self._row(observation["observation"]), rng)[0]

    def speak(self, views: Sequence[View], rng: np.random.Generator) -> list[Utterance]:
        """Return one utterance for each view, with the logprobs of its tokens."""
        return [self._utter(view, rng) for view in views]

    def _utter(self, view: View, rng: np.random.Generator) -> Utterance:
        said: list[int] = []
        logprobs: list[float] = []
        while view.legal_mask(tuple(said)).any():
            row = self._row(np.concatenate([view.tokens, np.asarray(said, dtype=np.int64)]))
            token, probability = self._draw(row, rng)
            said.append(token)
            logprobs.append(float(np.log(probability)))
        ending = Ending.END_OF_TURN if said[-1] == view.vocabulary.eos_id else Ending.TOO_LONG
        return Utterance(tuple(said), tuple(logprobs), ending)

    def _row(self, tokens: NDArray[np.int64]) -> _Row:
        infostate = self.infostate_of(tokens)
        actions = slice(int(self._offsets[infostate]), int(self._offsets[infostate + 1]))
        return _Row(self._tokens[actions], self.policy[actions])

    def _draw(self, row: _Row, rng: np.random.Generator) -> tuple[int, float]:
        cumulative = row.probabilities.cumsum()
        drawn = int(np.searchsorted(cumulative, rng.random() * cumulative[-1], side="right"))
        return int(row.tokens[drawn]), float(row.probabilities[drawn])


class _Row(NamedTuple):
    """The actions of one information state."""

    tokens: NDArray[np.int64]
    probabilities: NDArray[np.float64]


def _key(tokens: NDArray[np.int64]) -> bytes:
    return np.trim_zeros(tokens.astype(np.int64), "b").tobytes()
