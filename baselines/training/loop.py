"""The loop that records a run: a line of metrics after each step, a saved state now and then, a progress bar."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol, TypeVar

import torch
from tqdm import tqdm

from .run import Record, Run, StateValue

StepT = TypeVar("StepT", bound=Record, covariant=True)


class Learner(Protocol[StepT]):
    """A training loop that can be saved between two steps."""

    iteration: int

    def __iter__(self) -> Iterator[StepT]:
        """Yield after each step until the end."""
        ...

    def state_dict(self) -> dict[str, StateValue]:
        """Return all that the next step depends on."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a saved state."""
        ...


def recorded(learner: Learner[StepT], run: Run, *, num_steps: int, save_every: int) -> Iterator[StepT]:
    """Run a learner to its end from wherever the run was left: log each step, show progress, save the state.

    Whoever iterates may write into the run after a step; the state is saved once it asks for the next one, so that a
    run that was killed writes the same again.
    """
    run.restore(learner=learner)
    name = run.folder.name
    bar = tqdm(initial=learner.iteration, total=num_steps, desc=name, unit="step", dynamic_ncols=True, disable=None)
    with bar:
        for step in learner:
            run.log(step)
            bar.update()
            bar.set_postfix_str(progress_line(step), refresh=False)
            yield step
            if step.iteration % save_every == 0:
                run.save(step.iteration, learner=learner)


def progress_line(step: object) -> str:
    """Return the numbers that matter of a step, for a progress bar."""
    shown = {
        "loss_nats": "loss",
        "mean_return": "return",
        "defender_return": "defender's return",
        "stage": "",
        "round": "round",
    }
    parts = []
    for field, label in shown.items():
        value = getattr(step, field, None)
        if value is not None:
            parts.append(f"{label} {value:.3f}" if isinstance(value, float) else f"{label} {value}".strip())
    return ", ".join(parts)


def use_threads(num_threads: int) -> None:
    """Let torch use this many threads; 0 leaves its default. One thread gives the same result on any machine."""
    if num_threads:
        torch.set_num_threads(num_threads)
