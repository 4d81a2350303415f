"""Run the benchmark from Python: what `duologue bench` does."""

from __future__ import annotations

from ..benchmark.cell import Cell
from ..benchmark.command import BenchConfig
from ..benchmark.command import bench as run_bench
from .options import make_config


def bench(config: BenchConfig | None = None, **options: object) -> dict[Cell, str]:
    """Train every cell of the grid that is not finished, and write the leaderboard; return why cells failed, by cell.

    Args:
        config: the grid and its budget; None: `options` say.
        options: fields of `BenchConfig`, such as `suite="smoke"`, `algorithms=("self_play", "psro")`, `seeds=3`.

    Raises:
        ValueError: an unknown name, or results of another version in the folder.
        TypeError: an option that there is not, or options beside a config.
    """
    if config is not None and options:
        raise TypeError(f"bench: expected no options beside a BenchConfig, got {', '.join(options)}")
    asked = make_config(BenchConfig, options, whose="bench") if config is None else config
    return run_bench(asked)
