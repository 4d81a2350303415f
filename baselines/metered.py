"""Any two-player learner with its costs counted: what the commands that train both players write as `costs.json`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Generic, Protocol

from .evaluate.costs import CostMeter
from .run import Run
from .setup import Learner, StepT
from .state import StateValue
from .two_player import Seat

COSTS_FILE = "costs.json"
"""In a run's folder: what its training cost, resumptions included; evaluation after the last step is not part of it."""


class Playing(Learner[StepT], Protocol[StepT]):
    """A learner of both players, whatever it reports."""

    @property
    def seats(self) -> tuple[Seat, Seat]:
        """The newest players."""
        ...

    @property
    def average(self) -> tuple[Seat, Seat] | None:
        """Its own average."""
        ...


class MeteredLearner(Generic[StepT]):
    """A two-player learner whose steps are timed, and whose costs so far are saved with its state.

    Play and judges are counted by the game that it was made with; see `GameOptions.build`.
    """

    def __init__(self, learner: Playing[StepT], meter: CostMeter) -> None:
        """Take the learner, and the meter that its game counts with."""
        self.learner, self.meter, self.iteration = learner, meter, learner.iteration

    def __iter__(self) -> Iterator[StepT]:
        """Yield after each step of the learner."""
        for step in self.meter.timed(self.learner):
            self.iteration = step.iteration
            yield step

    @property
    def seats(self) -> tuple[Seat, Seat]:
        """The newest players."""
        return self.learner.seats

    @property
    def average(self) -> tuple[Seat, Seat] | None:
        """The learner's own average."""
        return self.learner.average

    def state_dict(self) -> dict[str, StateValue]:
        """Return the learner's state and what has been counted."""
        return {"learner": self.learner.state_dict(), "costs": self.meter.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a saved state.

        Raises:
            ValueError: it was saved by a version that did not count.
        """
        if state.keys() != {"learner", "costs"}:
            raise ValueError(f"state: expected a learner and its costs, got {sorted(state)}; begin in another folder")
        self.learner.load_state_dict(state["learner"])
        self.meter.load_state_dict(state["costs"])
        self.iteration = self.learner.iteration


def write_costs(run: Run, meter: CostMeter) -> None:
    """Write what training has cost."""
    run.write_json(COSTS_FILE, meter.costs)
