"""Random numbers for measuring, which no training run draws from, whatever its seed.

A run of seed s deals by `default_rng(s)`. Whoever measured its players by the same generator would measure them on the
deals of their first batches, and one that took a small seed of its own on those of another run.
"""

from __future__ import annotations

import numpy as np

EVALUATION = int.from_bytes(b"eval", "big")
"""The branch of NumPy's tree of seeds that measuring draws from."""


def evaluation_seed(seed: int, *stream: int) -> int:
    """Return a seed of 128 bits for measuring what a run of `seed` has trained; equal arguments give equal seeds.

    The seeds of runs have 53 bits at most and those that they derive 32, so that no run has this one.

    Args:
        seed: the run's, or any other number at least 0; one that this function returned may be given as well.
        stream: what is measured, by number; different numbers give streams of their own.
    """
    if not isinstance(seed, int) or seed < 0:
        raise ValueError(f"seed: expected a whole number at least 0, got {seed!r}")
    words: list[int] = np.random.SeedSequence(seed, spawn_key=(EVALUATION, *stream)).generate_state(4).tolist()
    return sum(word << 32 * k for k, word in enumerate(words)) | 1 << 127


def evaluation_rng(seed: int, *stream: int) -> np.random.Generator:
    """Return a generator for measuring what a run of `seed` has trained; see `evaluation_seed`.

    >>> trained, measured = np.random.default_rng(0), evaluation_rng(0)
    >>> trained.integers(100, size=5).tolist() == measured.integers(100, size=5).tolist()
    False
    """
    return np.random.default_rng(evaluation_seed(seed, *stream))
