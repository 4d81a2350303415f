"""What is saved is named in one place, and a state that does not fit is refused."""

from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from duologue.baselines.training.run import Run
from duologue.baselines.training.state import Stateful, read_state, write_state


class Part(Stateful):
    """A part with a state of its own."""

    saved = ("count",)

    def __init__(self) -> None:
        self.count = 0


class Whole(Stateful):
    """One of each kind that can be saved."""

    saved = ("step", "rng", "parts", "sides", "seen", "recent", "rates", "weights", "inner.model", "nothing")

    def __init__(self, seed: int) -> None:
        self.step, self.rng = 0, np.random.default_rng(seed)
        self.parts, self.sides = (Part(), Part()), [[Part()], [Part()]]
        self.seen: set[tuple[int, ...]] = set()
        self.recent: deque[float] = deque(maxlen=2)
        self.rates: dict[str, float] = {}
        self.weights = np.zeros(2)
        self.inner = Holder(seed)
        self.nothing: float | None = None

    def live(self) -> float:
        """Change everything; return a number that depends on the generator."""
        self.step += 1
        for part in (*self.parts, *self.sides[0], *self.sides[1]):
            part.count += self.step
        self.seen.add((self.step, 2))
        self.recent.append(float(self.step))
        self.rates["a"] = self.rng.random()
        self.weights = self.weights + self.rng.random(2)
        with torch.no_grad():
            self.inner.model.weight += 1
        return float(self.rng.random())


class Holder:
    """Somebody who has a part that is saved, and no state of its own."""

    def __init__(self, seed: int) -> None:
        torch.manual_seed(seed)
        self.model = torch.nn.Linear(2, 2)


def through_files(tmp_path: Path, state: Any) -> Any:
    """Return a state as it comes back from a folder."""
    write_state(tmp_path / "state", state)
    return read_state(tmp_path / "state")


def test_whatever_is_named_goes_on_as_if_nothing_had_happened(tmp_path: Path) -> None:
    """Three steps, a stop, three more: the same numbers, parts in place, through the files of a run."""
    whole, resumed = Whole(seed=1), Whole(seed=2)
    for _ in range(3):
        whole.live()
    parts, model = resumed.parts, resumed.inner.model
    resumed.load_state_dict(through_files(tmp_path, whole.state_dict()))
    assert [whole.live() for _ in range(3)] == [resumed.live() for _ in range(3)]
    assert resumed.parts is not None
    assert all(mine is there for mine, there in zip(resumed.parts, parts, strict=True))
    assert resumed.inner.model is model
    assert (resumed.seen, resumed.recent, resumed.rates) == (whole.seen, whole.recent, whole.rates)
    assert resumed.recent.maxlen == 2
    assert torch.equal(resumed.inner.model.weight, whole.inner.model.weight)
    assert [side[0].count for side in resumed.sides] == [21, 21]


def test_a_state_of_other_attributes_is_refused_and_changes_nothing() -> None:
    """As one of another version has; the error says what was expected and what came."""
    part = Part()
    with pytest.raises(ValueError, match=r"Part: expected the state of \['count'\], got \['iteration'\]"):
        part.load_state_dict({"iteration": 3})
    assert part.count == 0


def test_as_many_parts_as_were_saved() -> None:
    """One policy for both seats is no state of two."""
    one, two = Whole(0), Whole(0)
    one.parts = (Part(),)  # type: ignore[assignment]
    with pytest.raises(ValueError, match="parts: expected the state of 2 parts, got 1"):
        two.load_state_dict(one.state_dict())


def test_every_learner_names_attributes_that_it_has() -> None:
    """A name that is misspelt would only be found at the first save."""
    from duologue.baselines.api.commands import TRAINERS

    for command in TRAINERS.values():
        assert command.config
    found = [kind for kind in subclasses(Stateful) if kind.__module__.startswith("duologue.baselines")]
    assert len(found) > 25
    for kind in found:
        assert all(isinstance(name, str) and name for name in kind.saved), kind
        assert len(set(kind.saved)) == len(kind.saved), kind


def subclasses(kind: type[Stateful]) -> list[type[Stateful]]:
    """Return all that derive from a class, at any depth."""
    return [found for child in kind.__subclasses__() for found in (child, *subclasses(child))]


def test_a_run_restores_what_it_saved(tmp_path: Path) -> None:
    """Two parts by name."""
    first, second = Whole(0), Part()
    first.live()
    second.count = 5
    with Run.open(tmp_path, Anything(), name="any") as run:
        run.save(1, learner=first, watcher=second)
        fresh, other = Whole(3), Part()
        assert run.restore(learner=fresh, watcher=other) == 1
    assert (fresh.step, other.count) == (1, 5)


@dataclass(frozen=True)
class Anything:
    """No options."""


class Optional(Stateful):
    """A part that is there or not, and things that are not parts."""

    saved = ("part", "kinds")

    def __init__(self, part: Part | None, kinds: frozenset[str] = frozenset("ab")) -> None:
        self.part, self.kinds = part, kinds


def test_a_part_that_is_there_is_no_state_of_none() -> None:
    """And the other way round; a frozen set stays one."""
    there, absent = Optional(Part()), Optional(None, frozenset("c"))
    for first, second in ((there, absent), (absent, there)):
        with pytest.raises(ValueError, match="part: expected the state of as many parts as there are"):
            second.load_state_dict(first.state_dict())
    absent.load_state_dict(Optional(None).state_dict())
    assert absent.kinds == frozenset("ab")


def test_parts_by_keys_are_refused_when_they_are_saved() -> None:
    """They would be told apart by nothing when they are read."""
    whole = Whole(0)
    whole.rates = {"a": Part()}  # type: ignore[dict-item]
    with pytest.raises(TypeError, match="expected parts by attributes of their own"):
        whole.state_dict()
