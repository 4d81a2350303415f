"""A mixture of agents for games too large to enumerate: one member is drawn for each episode."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..envs import Speaker, Utterance, View
from ..envs.engine.views import check_utterances


@dataclass(frozen=True, slots=True)
class Population:
    """A mixture of agents: one member is drawn for each episode and seated for all of it.

    That is the average of the members' realisation plans (Kuhn, 1953). Mixing an agent that says "a a" with one that
    says "b b" gives no "a b", as averaging their token probabilities would. An agent keeps no memory of whom it is in
    which episode, so a population is no agent itself: rollouts draw the member and remember it. In a game small
    enough to enumerate, `MixtureAgent` is the same mixture as an agent.

    >>> from duologue.agents import ScriptedAgent
    >>> Population((ScriptedAgent(["bet"]), ScriptedAgent(["fold"])), (3, 1)).weights
    (0.75, 0.25)
    """

    members: tuple[Speaker, ...]
    """At least one."""
    weights: tuple[float, ...]
    """The probability of each member; any numbers >= 0, not all 0, are scaled to the sum 1."""

    def __post_init__(self) -> None:
        """Check and scale the weights.

        Raises:
            ValueError: no members, or weights that are none.
        """
        weights = np.asarray(self.weights, dtype=np.float64)
        fits = weights.shape == (len(self.members),) and len(self.members) > 0
        if not fits or not (weights >= 0).all() or not 0 < weights.sum() < np.inf:
            raise ValueError(
                f"weights: expected {len(self.members)} numbers >= 0, one a member, not all 0, got {self.weights}"
            )
        object.__setattr__(self, "members", tuple(self.members))
        object.__setattr__(self, "weights", tuple((weights / weights.sum()).tolist()))

    @classmethod
    def even(cls, members: Sequence[Speaker]) -> Population:
        """Return the population in which all members are equally likely."""
        return cls(tuple(members), (1.0,) * len(members))

    def draw(self, num_episodes: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """Draw who sits in each episode; one member needs no draw, so `rng` is left as it is; (num_episodes,)."""
        if len(self.members) == 1:
            return np.zeros(num_episodes, dtype=np.int64)
        return rng.choice(len(self.members), size=num_episodes, p=self.weights)

    def speak_as(self, seated: NDArray[np.int64], views: Sequence[View], rng: np.random.Generator) -> list[Utterance]:
        """Return one utterance for each view, said by the member that sits there; each member speaks once.

        Args:
            seated: the members' numbers; (N,).
            views: N of them.
            rng: the members' source of randomness.
        """
        said: dict[int, Utterance] = {}
        for member in np.unique(seated):
            rows = np.flatnonzero(seated == member).tolist()
            spoken = self.members[member].speak([views[row] for row in rows], rng)
            check_utterances(spoken, len(rows))
            said.update(zip(rows, spoken, strict=True))
        return [said[row] for row in range(len(views))]


Seat: TypeAlias = Speaker | Population
"""Who may sit at a player's place: one agent, or a mixture of which one member is drawn for each episode."""
