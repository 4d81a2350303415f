"""The benchmark of algorithms in which both players learn: a grid of algorithms, games and seeds.

    duologue bench --suite micro
    duologue bench --algorithms self_play,fictitious_play --games rps,kuhn --seeds 5 --num-updates 60 --out runs/bench
    duologue bench --algorithm-file my_algorithm.py
    duologue bench --spoken FOLDER --games rps,kuhn --num-updates 24 --batch-size 32 --seeds 5
    duologue bench --suite alignment

Every cell trains language models from the same start, random micro models but with `--spoken`, each player with as
many updates on batches of one size, and computes NashConv on the game's whole tree, of the newest players and of the
average. Episodes and learners' options are not equal; the leaderboard's caption has them. An algorithm is left out of
games that it cannot play.

With `--spoken` the games are told in English to the chat model of a folder, which both players start from as low-rank
adapters, at the rates of its preset; NashConv is as exact. What it takes is a question of the model's size.

Each finished cell is a line of `results.jsonl`; a killed benchmark goes on where it stopped, and results of different
code, settings or libraries are never mixed. The leaderboard is written as Markdown and as one HTML file, with a plot
for each game.

The suite `alignment` is of another kind: algorithms of one player or two that align a defender, from a base model and a
fine-tuned start that they share, on the red teams; all defenders are held to the whole language (`alignment_suite`).
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from ...agents.loading import spoken_options
from ..learners.registry import load_learners
from ..training.checks import Count, Few, Options, Rows
from ..training.failures import parse_options, run_command
from ..training.files import write_text
from ..training.folders import KeptFolder
from ..training.options import require_device
from ..training.pool import WorkerFailed
from .alignment_suite import SETTINGS_OF, AlignmentGrid, report_alignments, train_alignments
from .alignments import ALIGNMENTS
from .cell import BenchSettings, Cell, CellJob, CellResult, can_play
from .games import GAMES, bench_game, can_be_spoken
from .grid import GridRun
from .registry import ALGORITHMS, algorithm_of, load_algorithms
from .report import MARKDOWN_FILE, counted, write_report
from .results import COMMAND_FILE, FAILURES_FILE, Results, is_unmarked, model_versions, versions_of
from .standings import order_lines


@dataclass(frozen=True, kw_only=True)
class Suite:
    """A grid and a budget."""

    algorithms: tuple[str, ...]
    games: tuple[str, ...]
    num_seeds: int
    settings: BenchSettings


PRELOAD = "duologue.baselines.benchmark.cell"
MICRO = (
    "self_play",
    "rloo_self_play",
    "pfsp_self_play",
    "league",
    "spiral",
    "online_ipo",
    "fictitious_play",
    "psro",
    "gpo",
    "gpo_diversity",
    "spag",
    "advgame",
)
SUITES = {
    "micro": Suite(
        algorithms=MICRO,
        games=tuple(GAMES),
        num_seeds=5,
        settings=BenchSettings(num_updates=60, batch_size=64),
    ),
    "smoke": Suite(
        algorithms=MICRO,
        games=("red_team", "referential"),
        num_seeds=2,
        settings=BenchSettings(num_updates=6, batch_size=8),
    ),
}
"""By name: the published suite, and one that shows in a minute or two that all of it works."""


@dataclass(frozen=True, kw_only=True)
class BenchConfig(Options):
    """A grid of algorithms, games and seeds; what is not said is the suite's."""

    suite: Literal["micro", "smoke", "alignment", "alignment_smoke"] = "micro"
    """The published suite of learners of both players or of alignment algorithms, or a short one that shows that
    everything works."""
    algorithms: tuple[str, ...] = ()
    """Names, or NAME:LEARNER for other learners, with commas or spaces between; none: the suite's, and a file's own."""
    games: tuple[str, ...] = ()
    """Names of the benchmark's games, or registered ones that can be enumerated; none: the suite's."""
    seeds: Few | None = None
    """Trainings of each algorithm in each game."""
    num_updates: Count | None = None
    """Updates of each player, a multiple of 6; in the alignment suites updates of the defender, in whole rounds."""
    batch_size: Rows | None = None
    """Episodes for one update, a multiple of 4."""
    processes: Few = 2
    """Cells that are trained at the same time."""
    algorithm_file: tuple[Path, ...] = ()
    """Python files that register algorithms."""
    learner_file: tuple[Path, ...] = ()
    """Python files that register learners of one player, such as self_play:LEARNER takes."""
    alignment_file: tuple[Path, ...] = ()
    """Python files that register alignment algorithms, for the alignment suites."""
    spoken: Path | None = None
    """The folder of a chat model that plays the games in English, in both seats; None: micro models play them in their
    own words."""
    device: str = "cpu"
    """Where models are trained."""
    out: Path = Path("runs/bench")
    """The folder of results, leaderboard and plots."""
    report_only: bool = False
    """Write the leaderboard of what is in the folder, and train nothing."""

    def __post_init__(self) -> None:
        """Split names at commas, and check the numbers.

        Raises:
            ValueError: a number below 1, or a file of the other kind of suite.
        """
        super().__post_init__()
        for name in ("algorithms", "games"):
            split = (part.strip() for entry in getattr(self, name) for part in entry.split(","))
            object.__setattr__(self, name, tuple(dict.fromkeys(part for part in split if part)))
        others = ("algorithm_file", "learner_file") if self.aligns else ("alignment_file",)
        for name in others:
            if getattr(self, name):
                raise ValueError(f"{name}: expected none with --suite {self.suite}, got {getattr(self, name)[0]}")
        if self.aligns and self.spoken is not None:
            raise ValueError(f"spoken: expected none with --suite {self.suite}, got {self.spoken}")
        if self.aligns and self.device != "cpu":
            raise ValueError(f"device: expected cpu with --suite {self.suite}, got {self.device}")

    @property
    def aligns(self) -> bool:
        """Whether the suite is one of alignment algorithms."""
        return self.suite in SETTINGS_OF

    @property
    def alignment_grid(self) -> AlignmentGrid:
        """What is asked for of an alignment suite."""
        return AlignmentGrid(
            suite=self.suite,
            algorithms=self.algorithms,
            games=self.games,
            seeds=self.seeds,
            num_updates=self.num_updates,
            batch_size=self.batch_size,
            processes=self.processes,
            alignment_files=self.alignment_file,
        )

    @property
    def settings(self) -> BenchSettings:
        """What decides a cell's result: the suite's, with the budget that was asked for."""
        suite = SUITES[self.suite].settings
        return replace(
            suite,
            num_updates=suite.num_updates if self.num_updates is None else self.num_updates,
            batch_size=suite.batch_size if self.batch_size is None else self.batch_size,
            spoken=self.spoken,
        )

    def pairs(self) -> list[tuple[str, str]]:
        """Return algorithm and game of what is asked for, whether or not the one can play the other.

        Raises:
            ValueError: an unknown algorithm or game.
        """
        suite = SUITES[self.suite]
        own = [name for path in self.algorithm_file for name in load_algorithms(path)]
        algorithms = self.algorithms or tuple(dict.fromkeys((*suite.algorithms, *own)))
        for path in self.learner_file:
            load_learners(path)
        for name in algorithms:
            algorithm_of(name)
        games = self.games or tuple(name for name in suite.games if self.spoken is None or can_be_spoken(name))
        for name in games:
            bench_game(name)
            if self.spoken is not None and not can_be_spoken(name):
                raise ValueError(f"games: expected some that can be told in English, got {name!r}")
        return [(algorithm, game) for game in games for algorithm in algorithms]

    def grid(self) -> list[Cell]:
        """Return all cells, seed by seed, so that a part of the grid is already a comparison.

        Raises:
            ValueError: an unknown algorithm or game, or no algorithm can play any of the games.
        """
        pairs = [pair for pair in self.pairs() if can_play(*pair)]
        if not pairs:
            asked = "; ".join(f"{algorithm} in {game}" for algorithm, game in self.pairs())
            raise ValueError(f"games: expected one that the algorithm can play, got {asked}")
        seeds = range(SUITES[self.suite].num_seeds if self.seeds is None else self.seeds)
        return [Cell(algorithm, game, seed) for seed in seeds for algorithm, game in pairs]


def bench(config: BenchConfig, *, command: str | None = None) -> dict[Cell, str]:
    """Train every cell of the grid that is not finished, and write the leaderboard; return why cells failed, by cell.

    Args:
        config: the grid and its budget.
        command: what the leaderboard says it was made by; None: this process's command line.

    Raises:
        ValueError: an unknown name, results of another version in the folder, or a folder that is no benchmark's, or
            that another process writes into.
    """
    if not config.report_only:  # names that are not known are found out before a folder is made
        config.alignment_grid.cells() if config.aligns else config.grid()
        require_device(config.device)
        spoken_options(config.spoken)
    said = command or " ".join(map(shlex.quote, sys.argv))
    with KeptFolder.open(config.out, kind="alignment_bench" if config.aligns else "bench", older=is_unmarked):
        if not config.aligns:
            return _bench(config, said)
        if config.report_only:
            report_alignments(config.out, {})
            return {}
        return train_alignments(config.alignment_grid, config.out, command=said)


def _bench(config: BenchConfig, command: str) -> dict[Cell, str]:
    results, failures = Results(config.out), dict[Cell, str]()
    for path in config.algorithm_file:
        load_algorithms(path)
    if not config.report_only:
        grid, settings = config.grid(), config.settings
        for algorithm, game in config.pairs():
            if not can_play(algorithm, game):
                print(f"{algorithm} cannot play {game}: left out", flush=True)
        versions = versions_of(settings) | model_versions(settings, config.device)
        results.require(versions)
        missing = [cell for cell in grid if cell not in results.cells]
        if len(missing) < len(grid):
            print(f"{len(grid) - len(missing)} of {counted(len(grid), 'cell')} finished already", flush=True)
        jobs = [CellJob(cell, settings, config.algorithm_file, config.learner_file, config.device) for cell in missing]
        run = GridRun(results, versions, settings.batch_size, config.processes, PRELOAD, _line, len(missing))
        failures = run.train(jobs, missing)
        write_text(config.out / COMMAND_FILE, command)
    made_by = config.out / COMMAND_FILE
    said = made_by.read_text(encoding="utf-8") if made_by.is_file() else "unknown"
    write_report(config.out, results, command=said, failures=failures)
    for line in order_lines(results.cells):
        print(line, flush=True)
    return failures


def _line(result: CellResult) -> str:
    last, average = result.curve[-1].last, result.curve[-1].average
    gaps = f"NashConv {last.nash_conv:.3f} last, {average.nash_conv:.3f} average"
    return f"{gaps}, {result.costs.episodes} episodes, {result.cpu_seconds:.1f} s"


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line.

    Raises:
        ChildProcessError: cells failed; all others are in the leaderboard.
    """
    known = "\n".join(f"  {algorithm.name}: {algorithm.source}" for algorithm in ALGORITHMS.values())
    games = "\n".join(f"  {name}: {game.title}" for name, game in GAMES.items())
    aligned = "\n".join(f"  {algorithm.name}: {algorithm.source}" for algorithm in ALIGNMENTS.values())
    description = (
        f"{__doc__}\n\nalgorithms:\n{known}\n\ngames:\n{games}\n\nalgorithms of the alignment suites:\n{aligned}"
    )
    arguments = list(sys.argv[1:] if argv is None else argv)
    config = parse_options(BenchConfig, arguments, prog="duologue bench", description=description)
    failures = bench(config, command=" ".join(["duologue", "bench", *map(shlex.quote, arguments)]))
    print(f"leaderboard: {config.out / MARKDOWN_FILE}")
    if failures:
        raise WorkerFailed(
            f"{counted(len(failures), 'cell')} failed, see {config.out / FAILURES_FILE}; "
            f"the same command tries {'it' if len(failures) == 1 else 'them'} again",
            "\n".join(f"{cell}:\n{error}" for cell, error in failures.items()),
        )


if __name__ == "__main__":
    sys.exit(run_command(main))
