"""The suite of alignment algorithms: a grid of algorithms, red-team games and seeds, from shared starts.

    duologue bench --suite alignment
    duologue bench --suite alignment --algorithms rlhf_ppo,gpo --games red_team-v1 --seeds 5
    duologue bench --suite alignment_smoke --alignment-file my_alignment.py

The base model and the fine-tuned defender of a game and a seed are trained once, in `starts` of the folder, and every
algorithm begins with copies of these. Each finished cell is a line of `results.jsonl`; see `benchmark.command`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..alignment.ciphers import RED_TEAM_SETTINGS, SETTINGS, MethodSettings, Starts, StartSettings
from ..training.checks import check_multiple
from ..training.files import write_text
from ..training.pool import run_all
from .alignment_cell import ORACLES, AlignmentJob, AlignmentResult, AlignmentSettings, StartJob
from .alignment_entrants import REPLIES
from .alignment_measures import MeasureSettings
from .alignment_report import write_alignment_report
from .alignments import ALIGNMENTS, alignment_of, load_alignments
from .cell import Cell
from .grid import GridRun
from .report import counted
from .results import COMMAND_FILE, KeptResults, versions_of

PRELOAD = "duologue.baselines.benchmark.alignment_cell"


def _tiny(settings: MethodSettings) -> MethodSettings:
    start = settings.start
    return replace(
        settings,
        start=StartSettings(
            num_base_dialogues=400,
            base=replace(start.base, num_steps=40, batch_size=32),
            num_sft_dialogues=200,
            sft=replace(start.sft, num_steps=4),
            stop_at_unsafe_share=start.stop_at_unsafe_share,
        ),
        num_updates=2,
        batch_size=16,
        updates_per_round=1,
        attack_updates_per_round=1,
        num_ptx_dialogues=100,
    )


SETTINGS_OF = {
    "alignment": AlignmentSettings(),
    "alignment_smoke": AlignmentSettings(
        red_team=_tiny(RED_TEAM_SETTINGS),
        ciphers=_tiny(SETTINGS),
        measures=MeasureSettings(
            depth=1, attack_updates=1, attack_batch_size=16, num_attack_episodes=32, num_documents=40
        ),
    ),
}
"""By the suite's name: the published one, and one that shows in a minute or two that all of it works."""
NUM_SEEDS = {"alignment": 10, "alignment_smoke": 1}


class AlignmentResults(KeptResults[AlignmentResult]):
    """Those of the alignment suite."""

    def result_of(self, line: Mapping[str, Any], where: str) -> AlignmentResult:
        """Return the result that a line holds."""
        return AlignmentResult.from_json(line, where)

    def code_of(self, name: str) -> str | None:
        """Return what identifies the code of an algorithm."""
        return ALIGNMENTS[name].code if name in ALIGNMENTS else None

    def require_alike(self, first: AlignmentResult, result: AlignmentResult, where: str) -> None:
        """Raise ValueError unless both have measured requests of as many styles in one game."""
        sizes = [one.measures.all_styles.num_requests for one in (first, result)]
        if first.cell.game == result.cell.game and sizes[0] != sizes[1]:
            raise ValueError(f"{where}: expected {sizes[0]} requests, as in line 1, got {sizes[1]}")


@dataclass(frozen=True, kw_only=True)
class AlignmentGrid:
    """What is to be trained; what is not said is the suite's."""

    suite: str
    algorithms: tuple[str, ...] = ()
    games: tuple[str, ...] = ()
    seeds: int | None = None
    num_updates: int | None = None
    batch_size: int | None = None
    processes: int = 2
    alignment_files: tuple[Path, ...] = ()

    @property
    def settings(self) -> AlignmentSettings:
        """What decides a cell's result: the suite's, with the budget that was asked for."""
        suite = SETTINGS_OF[self.suite]
        given = {"num_updates": self.num_updates, "batch_size": self.batch_size}
        asked: Any = {name: number for name, number in given.items() if number is not None}
        return replace(suite, red_team=replace(suite.red_team, **asked), ciphers=replace(suite.ciphers, **asked))

    def cells(self) -> list[Cell]:
        """Return all cells, seed by seed, so that a part of the grid is already a comparison.

        Raises:
            ValueError: an unknown algorithm or game, or a batch that some learners cannot group.
        """
        check_multiple("batch_size", self.settings.ciphers.batch_size, REPLIES)
        for path in self.alignment_files:
            load_alignments(path)
        algorithms, games = self.algorithms or tuple(ALIGNMENTS), self.games or tuple(ORACLES)
        for name in algorithms:
            alignment_of(name)
        for game in games:
            self.settings.methods(game)
        seeds = range(NUM_SEEDS[self.suite] if self.seeds is None else self.seeds)
        return [Cell(name, game, seed) for seed in seeds for game in games for name in algorithms]


def train_alignments(grid: AlignmentGrid, out: Path, *, command: str) -> dict[Cell, str]:
    """Train every cell that is not finished, and write the leaderboard; return why cells failed, by cell.

    Raises:
        ValueError: an unknown name, or results of another version in the folder.
    """
    cells, settings, results = grid.cells(), grid.settings, AlignmentResults(out)
    versions = versions_of(settings)
    results.require(versions)
    missing = [cell for cell in cells if cell not in results.cells]
    if len(missing) < len(cells):
        print(f"{len(cells) - len(missing)} of {counted(len(cells), 'cell')} finished already", flush=True)
    run = GridRun(
        results, versions, settings.ciphers.batch_size, grid.processes, PRELOAD, line_of, num_cells=len(missing)
    )
    folder, failures = out / "starts" / f"{versions['code']}-{versions['config']}", dict[Cell, str]()
    for seed in dict.fromkeys(cell.seed for cell in missing):
        own = [cell for cell in missing if cell.seed == seed]
        failures |= _train_seed(run, own, settings, folder, grid)
    write_text(out / COMMAND_FILE, command)
    report_alignments(out, failures)
    return failures


def report_alignments(out: Path, failures: Mapping[Cell, str]) -> None:
    """Write the leaderboard of what is in the folder."""
    made_by = out / COMMAND_FILE
    said = made_by.read_text(encoding="utf-8") if made_by.is_file() else "unknown"
    results = AlignmentResults(out)
    write_alignment_report(out, results.cells, results.versions or {}, command=said, failures=failures)


def _train_seed(
    run: GridRun[AlignmentResult], cells: list[Cell], settings: AlignmentSettings, folder: Path, grid: AlignmentGrid
) -> dict[Cell, str]:
    """Train the starts of one seed, then its cells; without its starts a cell has failed."""
    games = list(dict.fromkeys(cell.game for cell in cells))
    starts = {
        game: Starts(game, cells[0].seed, settings.methods(game).start, folder / game / f"seed_{cells[0].seed}")
        for game in games
    }
    jobs = [StartJob(starts[game]) for game in games]
    failed: dict[str, str] = {}
    for outcome in run_all(jobs, num_processes=min(grid.processes, len(jobs)), preload=PRELOAD):
        if outcome.result is None:
            failed[games[outcome.index]] = outcome.error or ""
    failures = {cell: failed[cell.game] for cell in cells if cell.game in failed}
    for cell, error in failures.items():
        run.fail(cell, error)
    ready = [cell for cell in cells if cell.game not in failed]
    work = [AlignmentJob(cell, settings, starts[cell.game], grid.alignment_files) for cell in ready]
    return failures | run.train(work, ready)


def line_of(result: AlignmentResult) -> str:
    """Return what is printed of a finished cell."""
    scores = result.measures.all_styles
    rates = f"defended {scores.defended:.3f}, attack success {scores.attack_success:.3f}"
    return f"{rates}, {result.costs.episodes} episodes, {result.cpu_seconds:.1f} s"
