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

import hashlib
import importlib.util
import inspect
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from ...envs import LanguageGame
from ...envs.game import PLAYERS
from ..training.state import StateValue
from ..two_player.learner import Algorithm, Seat, Task

__all__ = ["ALGORITHMS", "PLAYERS", "GeneratedLearner", "RegisteredAlgorithm", "load_algorithms", "register_algorithm"]

Generated = Callable[[Task], Iterator[tuple[Seat, Seat]]]
"""An algorithm as a generator function."""
AnyT = TypeVar("AnyT", bound="Algorithm | Generated")
BUILT_IN = "duologue"
"""What stands for the code of an algorithm that comes with the package."""


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


ALGORITHMS: dict[str, RegisteredAlgorithm] = {}
"""What is registered, by name."""


_loading: list[str] = []
"""The hash of the algorithm file that is being run, if one is."""


def any_game(game: LanguageGame[Any]) -> bool:
    """Return True."""
    return True


def register_algorithm(
    name: str, *, source: str = "", plays: Callable[[LanguageGame[Any]], bool] = any_game
) -> Callable[[AnyT], AnyT]:
    """Return a decorator that registers an algorithm and leaves it as it is.

    Args:
        name: lower-case letters, digits and underscores.
        source: the paper that it is from, or what else tables should say of it.
        plays: whether it takes a game, by its rules.

    Raises:
        ValueError: the name is not of that form, or another algorithm bears it.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise ValueError(f"name: expected lower-case letters, digits and underscores, got {name!r}")

    def register(function: AnyT) -> AnyT:
        code = _loading[-1] if _loading else code_of(function)
        known = ALGORITHMS.get(name)
        if known is not None and (known.code == BUILT_IN or known.code != code):
            raise ValueError(f"name: expected one that no other algorithm bears, got {name!r} again")
        ALGORITHMS[name] = RegisteredAlgorithm(name, as_algorithm(function), source, code, plays)
        return function

    return register


def as_algorithm(function: Any) -> Algorithm:
    """Return what makes a learner for a task, of such a function or of a generator function."""
    if not inspect.isgeneratorfunction(function):
        algorithm: Algorithm = function
        return algorithm
    return lambda task: GeneratedLearner(task, function)


def code_of(function: Callable[..., object]) -> str:
    """Return what identifies the code of an algorithm.

    Raises:
        TypeError: its options stand in no file of its own.
    """
    if isinstance(function, partial):
        raise TypeError(f"algorithm: expected a function of its own, by `def`, with its options inside, got {function}")
    package = __name__.partition(".")[0]
    if getattr(function, "__module__", "").partition(".")[0] == package:
        return BUILT_IN
    try:
        file = inspect.getsourcefile(function)
    except TypeError:  # a callable object
        file = inspect.getsourcefile(type(function))
    if file is None or not Path(file).is_file():  # typed at a prompt
        return "unknown"
    return hashlib.sha256(Path(file).read_bytes()).hexdigest()[:16]


def load_algorithms(path: Path) -> list[str]:
    """Run a Python file that registers algorithms, and return their names.

    Raises:
        ValueError: there is no such file, or it registers nothing.
    """
    if not path.is_file():
        raise ValueError(f"algorithm_file: expected a Python file, got {path}")
    code = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    module_name = f"bench_algorithms_{code}"
    if module_name not in sys.modules:
        spec = importlib.util.spec_from_file_location(module_name, path)
        if spec is None or spec.loader is None:
            raise ValueError(f"algorithm_file: expected a Python file, got {path}")
        module = importlib.util.module_from_spec(spec)
        sys.modules[module_name] = module  # dataclasses look their module up
        _loading.append(code)
        try:
            spec.loader.exec_module(module)
        except BaseException:
            del sys.modules[module_name]
            raise
        finally:
            _loading.pop()
    names = [one.name for one in ALGORITHMS.values() if one.code == code]
    if not names:
        raise ValueError(f"algorithm_file: expected a file that calls register_algorithm, got {path}")
    return names


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
