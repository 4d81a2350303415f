"""The frame of every run: open its folder, train from wherever it was left, write what came of it, finish.

After each step a line of metrics is logged, now and then a state is saved, and a progress bar shows where training is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import wraps
from inspect import signature
from pathlib import Path
from typing import Any, Protocol, TypeVar

import torch
from tqdm import tqdm

from .options import RunOptions
from .run import Checkpointable, Record, Run, StateValue
from .stopping import heeding_stops
from .watchers import StepT, Watcher, watched

ConfigT = TypeVar("ConfigT", bound=RunOptions)


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


@dataclass(frozen=True, kw_only=True)
class Training:
    """What a run trains, who looks on, and what it leaves."""

    write: Callable[[Run], object]
    """Writes what was trained into the run's folder."""
    learner: Learner[Record] | None = None
    """What is trained step by step; None: `write` has all there is."""
    num_steps: int = 0
    """How many steps it takes."""
    watch: Sequence[Watcher] = ()
    """Who looks on."""
    save_every: int | None = None
    """Steps between two saved states; None: as the options say."""


def trainer(make: Callable[[ConfigT], Training]) -> Callable[[ConfigT], Path]:
    """Return the function that runs or resumes what `make` returns, and then returns the run's folder: a decorator."""

    @wraps(make)
    def run(config: ConfigT) -> Path:
        return train(config, make)

    run.__doc__ = "Run or resume it; return the run's folder."
    run.__annotations__ = {**make.__annotations__, "return": Path}
    vars(run)["__signature__"] = signature(make).replace(return_annotation=Path)
    return run


def train(config: ConfigT, make: Callable[[ConfigT], Training]) -> Path:
    """Run or resume it; return the run's folder.

    Args:
        config: what was asked for; it names the folder, and the run in it.
        make: returns what is trained, of options whose starts have been made; not asked for a run that is finished.
    """
    use_threads(config.num_threads)
    config = config.resolved()
    with Run.open(config.out, config, name=config.algorithm, length=config.length) as run:
        if not run.finished:
            training = make(config.prepared())
            if training.learner is not None:
                _run_through(training.learner, run, training, training.save_every or config.save_every)
            training.write(run)
            run.finish()
    return config.out


def _run_through(learner: Learner[Record], run: Run, training: Training, save_every: int) -> None:
    """Take all steps, or as many as the watchers want."""
    for _ in recorded(learner, run, num_steps=training.num_steps, save_every=save_every, watch=training.watch):
        if any(watcher.enough for watcher in training.watch):
            break
    for watcher in training.watch:
        watcher.close(run)


def recorded(
    learner: Learner[StepT], run: Run, *, num_steps: int, save_every: int, watch: Sequence[Watcher] = ()
) -> Iterator[StepT]:
    """Run a learner to its end from wherever the run was left: log each step, show progress, save the state.

    Whoever iterates may write into the run after a step; the state is saved once it asks for the next one, so that a
    run that was killed writes the same again. Ctrl-C lets the step end, and saves.

    Raises:
        KeyboardInterrupt: Ctrl-C, or a request to end (SIGTERM).
    """
    names = [watcher.name for watcher in watch]
    if len(set(names)) < len(names) or {"", "learner"} & set(names):
        raise ValueError(f"watch: expected watchers of different names, none of them empty or learner, got {names}")
    parts: dict[str, Checkpointable] = {
        "learner": learner,
        **{watcher.name: watcher for watcher in watch if watcher.saved},
    }
    run.restore(**parts)
    name = run.folder.name
    bar = tqdm(initial=learner.iteration, total=num_steps, desc=name, unit="step", dynamic_ncols=True, disable=None)
    with bar, heeding_stops(name) as stop:
        for step, found in watched(learner, watch):
            run.log(step, **found)
            bar.update()
            bar.set_postfix_str(progress_line(step), refresh=False)
            for watcher in watch:
                watcher.keep(run, step)
            yield step
            if step.iteration % save_every == 0 or step.iteration == num_steps or stop.asked:
                run.save(step.iteration, **parts)
            stop.heed(f"{name}: saved at step {step.iteration} of {num_steps}")


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
