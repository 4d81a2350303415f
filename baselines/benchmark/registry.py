"""The algorithms of the benchmark by name, and how a newcomer adds one.

An algorithm takes a `Task` and returns a `TwoPlayerLearner`, or it is a generator function that yields both seats
after each update of both players. Registered by name, it is known to `duologue bench --algorithms`:

>>> @register_algorithm("nobody_learns", source="an example")
... def nobody_learns(task: Task) -> Iterator[tuple[Seat, Seat]]:
...     players = [task.make_player(player, task.seed).agent for player in PLAYERS]
...     for _ in range(task.num_updates):
...         yield players[0], players[1]
>>> ALGORITHMS.pop("nobody_learns").source
'an example'

A file of one's own is read by `duologue bench --algorithm-file my_algorithm.py`. An algorithm that does not take every
game says so by `plays`; it is shown in the games that it takes, and ranked only if those are all.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from ...envs import LanguageGame
from ...envs.game import PLAYERS
from ..learners.options import LearnerOptions, steady
from ..learners.registry import LEARNERS
from ..training.plugins import check_name, code_of, registered_by_file, require_free
from ..training.state import StateValue
from ..two_player.learner import Algorithm, Seat, Task

__all__ = ["ALGORITHMS", "PLAYERS", "GeneratedLearner", "RegisteredAlgorithm", "load_algorithms", "register_algorithm"]

Generated = Callable[[Task], Iterator[tuple[Seat, Seat]]]
"""An algorithm as a generator function."""
AnyT = TypeVar("AnyT", bound="Algorithm | Generated")


@dataclass(frozen=True, slots=True)
class RegisteredAlgorithm:
    """One algorithm that the benchmark knows."""

    name: str
    make: Algorithm
    source: str
    """Paper or reason: what tables cite."""
    code: str
    """`BUILT_IN`, or the hash of the file that it stands in: its results are those of that file."""
    plays: Callable[[LanguageGame[Any]], bool]
    """Whether it takes a game."""
    takes_learners: bool
    """Whether its players can learn by any learner of one player."""


ALGORITHMS: dict[str, RegisteredAlgorithm] = {}
"""What is registered, by name."""


def any_game(game: LanguageGame[Any]) -> bool:
    """Return True."""
    return True


def register_algorithm(
    name: str,
    *,
    source: str = "",
    plays: Callable[[LanguageGame[Any]], bool] = any_game,
    takes_learners: bool = True,
) -> Callable[[AnyT], AnyT]:
    """Return a decorator that registers an algorithm and leaves it as it is.

    Args:
        name: lower-case letters, digits and underscores.
        source: the paper that it is from, or what else tables should say of it.
        plays: whether it takes a game, by its rules.
        takes_learners: whether it makes its players by `task.make_player` and lets them `update`: `name:LEARNER` is
            then the same algorithm by another learner.

    Raises:
        ValueError: the name is not of that form, or another algorithm bears it.
        TypeError: what is registered is no function.
    """
    check_name(name)

    def register(function: AnyT) -> AnyT:
        if not callable(function):
            raise TypeError(f"register_algorithm {name}: expected a function, got {function!r}")
        code, known = code_of(function), ALGORITHMS.get(name)
        require_free(name, None if known is None else known.code, code)
        ALGORITHMS[name] = RegisteredAlgorithm(name, as_algorithm(function), source, code, plays, takes_learners)
        return function

    return register


def algorithm_of(spec: str) -> tuple[RegisteredAlgorithm, LearnerOptions | None]:
    """Return the algorithm that `NAME` or `NAME:LEARNER` names, and the learner that was chosen for its players.

    Raises:
        ValueError: no such algorithm or learner, or the algorithm has a learner of its own.
    """
    name, colon, learner = spec.partition(":")
    if name not in ALGORITHMS:
        raise ValueError(f"algorithms: expected names among {', '.join(ALGORITHMS)}, got {spec!r}")
    if not colon:
        return ALGORITHMS[name], None
    if not ALGORITHMS[name].takes_learners:
        raise ValueError(f"algorithms: expected one that takes any learner, got {spec!r}, which has its own")
    return ALGORITHMS[name], steady_learner(learner)


def is_known(spec: str) -> bool:
    """Whether both parts of `NAME` or `NAME:LEARNER` are registered now."""
    name, _, learner = spec.partition(":")
    return name in ALGORITHMS and (not learner or learner in LEARNERS)


def code_of_spec(spec: str) -> str:
    """Return what identifies the code behind `NAME` or `NAME:LEARNER`."""
    algorithm, learner = algorithm_of(spec)
    codes = {algorithm.code} if learner is None else {algorithm.code, learner.registered.code}
    return "+".join(sorted(codes))


def steady_learner(name: str) -> LearnerOptions:
    """Return the options of a learner whose learning rate stays."""
    return replace(steady(), learner=name)


def as_algorithm(function: Any) -> Algorithm:
    """Return what makes a learner for a task, of such a function or of a generator function."""
    if not inspect.isgeneratorfunction(function):
        algorithm: Algorithm = function
        return algorithm
    return lambda task: GeneratedLearner(task, function)


def load_algorithms(path: Path) -> list[str]:
    """Run a Python file that registers algorithms, and return their names.

    Raises:
        ValueError: there is no such file, or it registers nothing.
    """
    return registered_by_file(path, ALGORITHMS, option="algorithm_file", call="register_algorithm")


@dataclass(frozen=True, slots=True)
class GeneratedStep:
    """One update of both players by a generator function."""

    iteration: int
    """Updates of each player so far."""


class GeneratedLearner:
    """A generator function that yields both seats after each update, as a `TwoPlayerLearner`."""

    average: tuple[Seat, Seat] | None = None
    """None: whoever wants one averages the iterates."""

    def __init__(self, task: Task, play: Generated) -> None:
        """Take the cell and the function; it runs up to its first update when it is iterated over."""
        self.task, self.iteration, self._play = task, 0, play
        self._seats: tuple[Seat, Seat] | None = None

    def __iter__(self) -> Iterator[GeneratedStep]:
        """Yield after each update."""
        for seats in self._play(self.task):
            self._seats = seats
            self.iteration += 1
            yield GeneratedStep(self.iteration)

    @property
    def seats(self) -> tuple[Seat, Seat]:
        """What the function yielded last.

        Raises:
            ValueError: it has yielded nothing yet.
        """
        if self._seats is None:
            raise ValueError("seats: expected an update first, got none")
        return self._seats

    def state_dict(self) -> dict[str, StateValue]:
        """Raise TypeError: a generator cannot be saved; the benchmark repeats an unfinished cell from its start."""
        raise TypeError("state_dict: expected a learner that can be saved, got a generator function")

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Raise TypeError, as `state_dict` does."""
        raise TypeError("load_state_dict: expected a learner that can be saved, got a generator function")
