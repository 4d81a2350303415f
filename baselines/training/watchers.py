"""Whoever looks on while a learner trains: it measures, keeps what is worth keeping, and may say that it is enough.

A watcher never changes what is trained; a run has the same numbers with it and without.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import ClassVar, Protocol, TypeVar

from ..rollouts.episodes import PlayedEpisode
from .run import Config, Record, Run
from .state import Stateful

StepT = TypeVar("StepT", bound=Record, covariant=True)


class Watcher(Stateful):
    """One that looks on; each method does nothing unless a subclass says otherwise."""

    name: ClassVar[str] = ""
    """By what its measurements are logged and its state is saved; a run has one watcher of a name."""
    enough: bool = False
    """Whether training may end after this step."""

    def before(self) -> None:
        """Take note that a step is about to be taken."""

    def after(self, step: Record) -> Config | None:
        """Measure what a step came to; a record is logged beside the step's own under the watcher's name."""
        return None

    def keep(self, run: Run, step: Record) -> None:
        """Write what is worth keeping of a step that has been logged; it is asked again if the run was killed then."""

    def close(self, run: Run) -> None:
        """Write what all the steps came to."""


class Transcripts(Watcher):
    """Keeps the first episodes of a batch as readable text: of the last step, and of others if asked."""

    name = "transcripts"

    def __init__(
        self,
        played: Callable[[], Sequence[PlayedEpisode]],
        num_steps: int,
        *,
        due: Callable[[Record], bool] = lambda step: False,
    ) -> None:
        """Take what returns the latest batch, the number of the last step, and whether an earlier one is kept, too."""
        self._played, self._num_steps, self._due = played, num_steps, due

    def keep(self, run: Run, step: Record) -> None:
        """Write the batch if it is one of those."""
        if step.iteration == self._num_steps or self._due(step):
            write_transcripts(run, step.iteration, self._played())


def write_transcripts(run: Run, iteration: int, played: Sequence[PlayedEpisode], *, num_shown: int = 16) -> None:
    """Write the first episodes of a batch as readable text."""
    text = "\n\n".join(episode.episode.transcript() for episode in played[:num_shown])
    run.write_text(f"transcripts/{iteration:05d}.txt", f"{text}\n")


class Steps(Protocol[StepT]):
    """Whatever yields a record after each step."""

    def __iter__(self) -> Iterator[StepT]:
        """Yield after each step until the end."""
        ...


def watched(steps: Steps[StepT], watchers: Sequence[Watcher]) -> Iterator[tuple[StepT, dict[str, Config]]]:
    """Yield each step with what the watchers measured of it, by their names."""
    iterator = iter(steps)
    while True:
        for watcher in watchers:
            watcher.before()
        try:
            step = next(iterator)
        except StopIteration:
            return
        found = {watcher.name: watcher.after(step) for watcher in watchers}
        yield step, {name: record for name, record in found.items() if record is not None}
