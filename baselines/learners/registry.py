"""The learners of one player by name, and how a newcomer adds one.

A learner is a class made as `Learner(agent, config, num_planned=...)`, and most are a `PolicyLearner` with two methods.
Registered by name it is known to every command that takes `--learner`, and to `duologue bench` as `self_play:NAME`:

>>> from .base import ClippedConfig, PolicyLearner
>>> @register_learner("nothing_learned", config=ClippedConfig)
... class NothingLearned(PolicyLearner):
...     def advantages(self, batch, old, ref):
...         return 0.0 * batch.returns
...     def loss(self, logprobs, ratio, advantages, ref, own):
...         return (advantages * logprobs).sum()
>>> LEARNERS.pop("nothing_learned").replies_per_prompt
1

A file of one's own is read by `--learner-file my_learner.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

from ...envs.registry import parse_option
from ..training.plugins import check_name, code_of, registered_by_file, require_free
from .base import PlayerLearner, TrainingConfig

LearnerT = TypeVar("LearnerT", bound="Callable[..., PlayerLearner]")


@dataclass(frozen=True, slots=True)
class RegisteredLearner:
    """One learner that can be chosen by name."""

    name: str
    make: Callable[..., PlayerLearner]
    """(agent, config, num_planned=...) -> the learner."""
    config: type[TrainingConfig]
    """Its options."""
    replies_per_prompt: int
    """How many replies to each prompt it wants."""
    code: str
    """What it is: that of the package, or the hash of the file that it stands in."""

    def options(self, changes: tuple[str, ...]) -> TrainingConfig:
        """Return its options with some set, each as NAME=VALUE.

        Raises:
            ValueError: it has no such option, or the value is out of its range.
        """
        given: dict[str, Any] = dict(parse_option(text) for text in changes)
        known = [field.name for field in fields(self.config)]
        for name in given:
            if name not in known:
                raise ValueError(f"learner_option: expected an option among {', '.join(known)}, got {name!r}")
        return self.config(**given)


LEARNERS: dict[str, RegisteredLearner] = {}
"""What is registered, by name."""


def register_learner(
    name: str, *, config: type[TrainingConfig], replies_per_prompt: int = 1
) -> Callable[[LearnerT], LearnerT]:
    """Return a decorator that registers a learner and leaves it as it is.

    Args:
        name: lower-case letters, digits and underscores.
        config: the dataclass of its options; every option has a default.
        replies_per_prompt: how many replies to each prompt it wants; more than 1 for those that compare replies.

    Raises:
        ValueError: the name is not of that form, or another learner bears it.
        TypeError: the options are no `TrainingConfig`, or the learner is no class and no function.
    """
    check_name(name)
    if not (isinstance(config, type) and issubclass(config, TrainingConfig)):
        raise TypeError(f"register_learner {name}: expected a dataclass below TrainingConfig as config, got {config!r}")

    def register(learner: LearnerT) -> LearnerT:
        if not callable(learner):
            raise TypeError(f"register_learner {name}: expected a class or a function, got {learner!r}")
        code, known = code_of(learner), LEARNERS.get(name)
        require_free(name, None if known is None else known.code, code)
        LEARNERS[name] = RegisteredLearner(name, learner, config, replies_per_prompt, code)
        return learner

    return register


def registered_learner(name: str) -> RegisteredLearner:
    """Return the learner of that name.

    Raises:
        ValueError: nothing of that name is registered.
    """
    if name not in LEARNERS:
        raise ValueError(f"learner: expected a name among {', '.join(sorted(LEARNERS))}, got {name!r}")
    return LEARNERS[name]


def load_learners(path: Path) -> list[str]:
    """Run a Python file that registers learners, and return their names.

    Raises:
        ValueError: there is no such file, or it registers nothing.
    """
    return registered_by_file(path, LEARNERS, option="learner_file", call="register_learner")
