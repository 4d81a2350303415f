"""Several agents as one: a member drawn for each episode, and held to throughout."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..envs import Observation
from ..envs.tree import GameTree
from .policies import TokenPolicy, policies_of
from .tabular import TabularAgent


class MixtureAgent(TabularAgent):
    """Speaks as if one of its members, drawn by weight, had been seated for the whole episode.

    Token probabilities are never averaged as they stand: mixing an agent that says "a a" with one that says "b b"
    gives no "a b". Agents keep no memory, so nothing is remembered of the draw. Instead the player's own tokens in the
    view tell how likely each member is to be the one that sits there,

        p(k | view) proportional to weight_k * product over the player's own tokens of p_k(token | view before it),

    and the next token has the probability sum_k p(k | view) p_k(token | view). By Kuhn (1953) that is the same
    distribution over episodes, against every opponent, as drawing the member. Where no member would have come, legal
    tokens are equally likely. What members say is asked once, now: a member that learns on changes nothing here. In a
    game too large for a tree, draw a member for each episode and seat it for all of it.
    """

    def __init__(
        self,
        tree: GameTree,
        player: int,
        members: Sequence[TokenPolicy],
        weights: Sequence[float] | None = None,
    ) -> None:
        """Take the members.

        Args:
            tree: of the game.
            player: the seat of all of them.
            members: at least one agent that states its probabilities.
            weights: >= 0, not all 0, one a member; they need not sum to 1. None: all alike.

        Raises:
            ValueError: weights that are none.
        """
        prior = np.ones(len(members)) if weights is None else np.asarray(weights, dtype=np.float64)
        if not members or prior.shape != (len(members),) or not (prior >= 0).all() or not 0 < prior.sum() < np.inf:
            raise ValueError(f"weights: expected {len(members)} numbers >= 0, one a member, not all 0, got {weights}")
        self.weights = prior / prior.sum()
        """The probability that each member is drawn; shape (K,)."""
        table = tree.tables[player]
        policies = np.stack(policies_of(tree, player, members))
        reach = np.stack([table.reach(policy) for policy in policies])[:, table.parent_sequence]
        joint = self.weights[:, None] * reach
        total = joint.sum(0)
        self._posterior = np.divide(joint, total, where=total > 0, out=np.zeros_like(joint))
        averaged = (self._posterior[:, table.infostate_of] * policies).sum(0)
        super().__init__(tree, player, table.normalise(averaged))

    def posterior(self, observation: Observation) -> NDArray[np.float64]:
        """Return how likely each member is to be the one that spoke so far, all 0 where none would; shape (K,)."""
        probabilities: NDArray[np.float64] = self._posterior[:, self.infostate_of(observation["observation"])]
        return probabilities
