"""Let a run's players play and write it as text dialogues: `duologue export RUN`.

The file is what `duologue.baselines.data` reads, so that one run's play is another's training data. The rules are those
of the run. Where a run trained one player, the other is `opponent`: random, echo (which says its request as it stands),
or the folder of a model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from ...agents.loading import load_agent
from ...agents.population import Seat
from ..data.export import Exported, Form, export_play
from ..training.checks import Count, Options, Seed
from ..training.failures import parse_options
from ..training.files import check_output
from .options import make_config
from .runs import RunResult, load_run


@dataclass(frozen=True, kw_only=True)
class ExportConfig(Options):
    """Whose play is written, how much of it and how."""

    run: Annotated[Path, tyro.conf.Positional]
    """The folder of a run that trained players."""
    episodes: Count = 100
    """How many."""
    out: Path | None = None
    """The file, .gz by name; None: episodes.jsonl, or episodes.txt, in the run's folder."""
    seed: Seed = 0
    """Decides deals and tokens."""
    viewer: Literal[0, 1] = 1
    """Whose view is written: what this player was told, heard, thought and said."""
    to: Form = "messages"
    """One JSON object of messages and rewards a line, or documents of marked lines."""
    average: bool = False
    """Whether the mixtures that the run kept play, in place of its newest players."""
    opponent: str = "random"
    """Who sits where the run trained nobody: random, echo, or the folder of a model."""

    @property
    def file(self) -> Path:
        """What is written."""
        return (
            self.run / ("episodes.jsonl" if self.to == "messages" else "episodes.txt") if self.out is None else self.out
        )


def export(run: RunResult | str | Path, **options: object) -> Exported:
    """Let a run's players play, and write their episodes.

    Args:
        run: the run, or its folder.
        options: fields of `ExportConfig`, such as `episodes=100`.

    Raises:
        ValueError: no run in the folder, or one without players.
        TypeError: an option that there is not.
    """
    folder = run.folder if isinstance(run, RunResult) else Path(run)
    return export_run(make_config(ExportConfig, {"run": folder, **options}, whose="export"))


def export_run(config: ExportConfig) -> Exported:
    """Do the same as the options say."""
    check_output("out", config.file, inputs=() if config.file.name.startswith("episodes") else (config.run,))
    run = load_run(config.run)
    game = run.game()
    seats: Sequence[Seat]
    if config.average:
        seats = run.average
    else:
        name = run.game_options.game
        longest = game.max_view_tokens
        seats = [
            load_agent(config.opponent, vocabulary, game=name, max_view_tokens=longest) if agent is None else agent
            for agent, vocabulary in zip(run.seats, game.vocabularies, strict=True)
        ]
    return export_play(
        game, seats, config.episodes, config.file, viewer=config.viewer, seed=config.seed, form=config.to
    )


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    done = export_run(parse_options(ExportConfig, argv, prog="duologue export", description=__doc__))
    first, second = done.mean_returns
    print(f"{done.num_episodes} episodes, mean returns {first:+.3f} {second:+.3f}, {done.num_forfeits} forfeits")
    print(done.path)
