"""What every algorithm in which both players learn has in common, and one cell of a comparison of such algorithms."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias, TypeVar

import numpy as np

from ...agents.population import Population, Seat
from ...envs import LanguageGame
from ..learners.base import PlayerLearner
from ..learners.options import LearnerOptions
from ..training.checks import Count, Options, Rows, Seed
from ..training.presets import with_preset
from ..training.run import Record
from ..training.state import StateValue

OptionsT = TypeVar("OptionsT")

__all__ = ["Algorithm", "Population", "Seat", "Task", "TwoPlayerLearner", "derived_seed"]


class TwoPlayerLearner(Protocol):
    """A training loop of both players; iterate over it to train, save it between two steps."""

    iteration: int
    """Updates so far."""

    def __iter__(self) -> Iterator[Record]:
        """Yield a step record after each update until the end."""
        ...

    @property
    def seats(self) -> tuple[Seat, Seat]:
        """The newest players."""
        ...

    @property
    def average(self) -> tuple[Seat, Seat] | None:
        """The average or meta-strategy that the algorithm itself keeps; None: whoever wants one averages iterates."""
        ...

    def state_dict(self) -> dict[str, StateValue]:
        """Return all that the next step depends on."""
        ...

    def load_state_dict(self, state: dict[str, Any], /) -> None:
        """Continue from a saved state."""
        ...


@dataclass(frozen=True, kw_only=True)
class Task(Options):
    """One cell of a comparison: a game, a budget, a seed, and a way to make players.

    Budgets are equal if each player gets the same number of updates on batches of the same size.
    """

    game: LanguageGame[Any]
    """The rules."""
    seed: Seed
    """Decides players, deals, tokens and minibatches."""
    num_updates: Count
    """Updates of each player."""
    batch_size: Rows
    """Episodes for one update."""
    make_player: Callable[[int, int], PlayerLearner]
    """(player, seed) -> a fresh learner for that seat."""
    learner: LearnerOptions | None = None
    """How that learner learns, where somebody chose it in place of what the algorithm learns by; None: nobody did."""
    group_size: Rows | None = None
    """Replies to each prompt that the players' learner wants; None: as many as a chosen learner does, or one."""
    numbers: Mapping[str, Any] = field(default_factory=dict)
    """A preset's, for options of an algorithm's own that hold a micro model's; see `training.presets`."""

    def tuned(self, options: OptionsT) -> OptionsT:
        """Return an algorithm's own options with the numbers of the task's preset where they are a micro model's."""
        return with_preset(options, self.numbers)

    @property
    def replies_per_prompt(self) -> int:
        """The group size, its default filled in."""
        if self.group_size is not None:
            return self.group_size
        return 1 if self.learner is None else self.learner.replies_per_prompt


def derived_seed(seed: int, number: int) -> int:
    """Return a further seed of a run, which no other run shares; number 0 is the run's own seed."""
    return seed if number == 0 else int(np.random.SeedSequence([seed, number]).generate_state(1)[0])


Algorithm: TypeAlias = Callable[[Task], TwoPlayerLearner]
"""Makes a learner for a cell."""
