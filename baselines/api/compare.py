"""Compare players from Python: what `duologue compare` prints, as an object."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ..comparison.command import CompareConfig, run_comparison
from ..comparison.report import Comparison
from .options import make_config
from .runs import RunResult


def compare(entrants: Mapping[str, str | Path | RunResult], **options: object) -> Comparison:
    """Measure players of one game against each other; write `compare.md`, `compare.json` and a heat map into `out`.

    Args:
        entrants: by name: a run, the folder of a run or of a model, "FOLDER:average" for a run's mixtures, "random".
        options: fields of `CompareConfig`, such as `game="kuhn_poker-v0"`, `num_matches=100`.

    Raises:
        ValueError: fewer than two entrants, one that is not there, or one of another game.
        TypeError: an option that there is not.
    """
    specs = {name: who.folder if isinstance(who, RunResult) else who for name, who in entrants.items()}
    given = {"entrant": tuple(f"{name}={spec}" for name, spec in specs.items()), **options}
    return run_comparison(make_config(CompareConfig, given, whose="compare"))
