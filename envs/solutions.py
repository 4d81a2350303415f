"""What a game may state beyond its rules: how its deals are played well. All of it is optional.

| method of the game | returns | what it is for |
| --- | --- | --- |
| `solution(deal)` | the finished dialogue in which the deal is played well | the option `num_shots` of any game |
| `examples(deal)` | the solved episodes that may be shown before the deal | the same, where others than the default |
| `worked_out(deal)` | the thought before the last turn of the solution | `WithThoughts`, as a chain of thought |
| `demonstrations(source, rng, n)` | n dialogues of "average" or "ideal" players | behaviour cloning (eqs. 7, 8) |

A wrapper has each of them exactly where the game inside has it, with three exceptions. `WithThoughts` has no
`worked_out`: its solution holds the thought. `Demonstrated` has no `examples`: its deals hold them. `GameDistribution`
always has all of them, because games that state them may be drawn beside games that do not: one that does not is a
ValueError, and for `worked_out` an empty thought.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Generic, Protocol, runtime_checkable

import numpy as np
from typing_extensions import TypeVar

from .game import DealT, Dialogue, LanguageGame
from .vocabulary import Tokens

DealContraT = TypeVar("DealContraT", bound=Hashable, contravariant=True)

POOL_SIZE = 1_000
"""The most solved deals that examples are chosen from."""


@runtime_checkable
class HasSolutions(Protocol[DealT]):
    """A game that knows how its deals are played well."""

    def solution(self, deal: DealT) -> Dialogue[DealT]:
        """Return the finished dialogue in which the deal is played well."""
        ...


@runtime_checkable
class HasExamples(Protocol[DealT]):
    """A game that chooses the solved episodes that may be shown before a deal."""

    def examples(self, deal: DealT) -> Sequence[Dialogue[DealT]]:
        """Return them, in an order that does not change."""
        ...


@runtime_checkable
class HasThoughts(Protocol[DealContraT]):
    """A game that knows which thought leads to its solution."""

    def worked_out(self, deal: DealContraT) -> Tokens:
        """Return the thought before the last turn of the solution."""
        ...


@runtime_checkable
class HasDemonstrations(Protocol[DealT]):
    """A game that generates dialogues to clone."""

    def demonstrations(self, source: str, rng: np.random.Generator, num_dialogues: int) -> list[Dialogue[DealT]]:
        """Return dialogues of "average" players or of the "ideal" player two."""
        ...


def examples_of(game: LanguageGame[DealT]) -> Callable[[DealT], Sequence[Dialogue[DealT]]]:
    """Return what gives the solved episodes that may be shown before a deal.

    They are the game's own `examples`, else the solutions of the other deals.

    Raises:
        ValueError: the game has neither.
    """
    if isinstance(game, HasExamples):
        return game.examples
    if isinstance(game, HasSolutions):
        return OtherSolutions(game, game.solution)
    raise ValueError(
        f"{type(game).__name__}: expected a game that states solved episodes, by solution(deal) or examples(deal); "
        "got neither"
    )


class OtherSolutions(Generic[DealT]):
    """The solutions of other deals: of all, or of `POOL_SIZE` drawn ones where there are more or no list.

    >>> from duologue.envs.games.statements import Statements
    >>> game = Statements()
    >>> [shown.deal for shown in OtherSolutions(game, game.solution)("coal")]
    ['snow', 'grass']
    """

    def __init__(self, game: LanguageGame[DealT], solution: Callable[[DealT], Dialogue[DealT]]) -> None:
        """Solve the deals."""
        listed, rng = game.deals.outcomes(), np.random.default_rng(0)
        drawn = listed is None or len(listed) > POOL_SIZE
        pool = [game.deals.sample(rng) for _ in range(POOL_SIZE)] if drawn else list(listed or ())
        self._solved = {deal: solution(deal) for deal in pool}

    def __call__(self, deal: DealT) -> Sequence[Dialogue[DealT]]:
        """Return the solved episodes without that of the deal."""
        return [solved for other, solved in self._solved.items() if other != deal]
