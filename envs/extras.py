"""Libraries that a first `pip install` does without: where one is missing, the error names the extra that brings it."""

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def from_extra(extra: str, *, need: str) -> Iterator[None]:
    """Import an optional library inside.

    Args:
        extra: the group of `pyproject.toml` that has it.
        need: who needs which library, as "train_sb3: expected stable-baselines3".

    Raises:
        ImportError: it is missing, or broken: the cause stays with the error.
    """
    try:
        yield
    except ImportError as error:
        raise ImportError(f'{need}, got "{error}"; in the checkout: pip install ".[{extra}]"') from error
