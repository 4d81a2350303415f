"""The global generators, Python's, numpy's and torch's, lent to a guest that draws from them, and put back.

What the guest draws is then decided by the seed or the states that it is lent, and the caller's own draws are those
that it would have made without the guest.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np


class GeneratorStates(NamedTuple):
    """Where the global generators stand."""

    python: Any
    numpy: Any
    torch: Any
    """Of its generator on the CPU; None where torch has not been imported."""


def generator_states() -> GeneratorStates:
    """Return where the global generators stand."""
    torch = sys.modules.get("torch")
    numpy = np.random.get_state()  # noqa: NPY002 - the global generator is what a guest draws from
    return GeneratorStates(random.getstate(), numpy, None if torch is None else torch.get_rng_state())


@contextmanager
def lent_generators(start: int | GeneratorStates) -> Iterator[None]:
    """Let a guest draw from the global generators inside, from a seed in [0, 2^32) or from states on; put them back."""
    before = generator_states()
    try:
        if isinstance(start, GeneratorStates):
            _set(start)
        else:
            _seed(start)
        yield
    finally:
        _set(before)


def _seed(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.default_generator.manual_seed(seed)


def _set(states: GeneratorStates) -> None:
    random.setstate(states.python)
    np.random.set_state(states.numpy)  # noqa: NPY002
    torch = sys.modules.get("torch")
    if torch is not None and states.torch is not None:
        torch.set_rng_state(states.torch)
