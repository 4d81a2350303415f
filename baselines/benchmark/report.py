"""The leaderboard: who is ahead over all games, each game and its curves, what it cost, and how it was made."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import cycle
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter
from numpy.typing import NDArray

from ...envs import Payoff
from ...envs.printable import file_name
from ..evaluation.intervals import Estimate, mean_interval
from ..reporting.page import Block, Caption, Code, Heading, Paragraph, Picture, Table, as_html, as_markdown
from ..reporting.plots import COLOURS, DASHES, MAX_NAME, as_label
from ..training.files import replacing, write_text
from ..training.presets import PRESETS
from ..two_player.measured import last_fifth
from .cell import PRESET_OF, Cell, CellResult, Measured, can_play, late_shortfall
from .entrants import budget
from .games import GAMES
from .grid import last_line
from .registry import ALGORITHMS
from .results import MODEL, Results
from .standings import (
    complete_algorithms,
    facts_of,
    in_order,
    of_game,
    order_lines,
    partial_algorithms,
    standings,
)

MARKDOWN_FILE, HTML_FILE = "leaderboard.md", "leaderboard.html"

READING = """\
Ranked by the average policy: an algorithm's own average where it keeps one, else that of its iterates. The last \
iterate is the mean over the last fifth of training, and "away" the share of its points that are further than .05 of \
the payoff range from a solution. A cell's shortfall is NashConv, computed on the whole tree; in games of identical \
interest it is how far the return falls short of the best, because babbling is an equilibrium too. It is divided by \
that of uniform play, so that games of every scale count: 0 is solved, 1 no better than at random, 3 stands for all \
that is worse. Numbers over all games are interquartile means over games and seeds with 95 % intervals by stratified \
bootstrap, expanded for few seeds. A win is a game in which no other ranked algorithm's mean over seeds is lower."""

ORDERS = """\
Seeds are paired (same starts, same games), hence an order is a difference of means that a sign-flip permutation test \
over all seeds and games finds at 5 %, after Holm's correction for all pairs; every other pair is a tie."""

LAST = "the last iterate is the mean over the last fifth of training"
NONE = "-"
"""What a table holds where an algorithm cannot play."""


def write_report(folder: Path, results: Results, *, command: str, failures: Mapping[Cell, str]) -> None:
    """Write the leaderboard as Markdown and HTML, and a plot for each game; without results it says so.

    Args:
        folder: where to.
        results: the finished cells.
        command: what they were made by.
        failures: why other cells failed, in this call.
    """
    cells = {cell: results.cells[cell] for cell in sorted(results.cells, key=_place)}
    blocks: list[Block] = [Heading("Benchmark of two-player learners", 1)]
    if cells:
        blocks += [*_made_with(results, command), *_overall(cells, spoken=MODEL in (results.versions or {}))]
        for game in in_order(cell.game for cell in cells):
            blocks += _game(cells, game, folder)
        blocks += _sources(cells)
    else:
        blocks.append(Paragraph("No cell is finished."))
    if failures:
        rows = [[str(cell), last_line(error)] for cell, error in failures.items()]
        blocks += [Heading("Failed"), Table(["cell", "error"], rows)]
    write_text(folder / MARKDOWN_FILE, as_markdown(blocks))
    write_text(folder / HTML_FILE, as_html(blocks))


def counted(number: int, what: str) -> str:
    """Return how many there are of something whose plural ends in s."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _place(cell: Cell) -> tuple[int, int, int, str, str]:
    """Return where a cell stands on the page: seeds, then games and algorithms as they are listed in the code."""
    games, algorithms = list(GAMES), list(ALGORITHMS)
    game = games.index(cell.game) if cell.game in games else len(games)
    name = cell.algorithm.partition(":")[0]
    algorithm = algorithms.index(name) if name in algorithms else len(algorithms)
    return cell.seed, game, algorithm, cell.game, cell.algorithm


def _made_with(results: Results, command: str) -> list[Block]:
    first = next(iter(results.cells.values()))
    num_updates = first.curve[-1].iteration
    seeds = sorted({cell.seed for cell in results.cells})
    hours = sum(result.cpu_seconds for result in results.cells.values()) / 3600
    versions = ", ".join(f"{name} {number}" for name, number in (results.versions or {}).items())
    which = f"{'seed' if len(seeds) == 1 else 'seeds'} {', '.join(map(str, seeds))}"
    budget = (
        f"{counted(len(results.cells), 'cell')}, {which}; each player gets {counted(num_updates, 'update')} "
        f"on batches of {results.batch_size} episodes; {hours:.2f} hours of processor time in all."
    )
    return [Code(command), Paragraph(budget), Paragraph(f"Made with {versions}.")]


def _overall(cells: Mapping[Cell, CellResult], *, spoken: bool) -> list[Block]:
    complete, partial = complete_algorithms(cells), partial_algorithms(cells, can_play)
    unfinished = [
        name for name in in_order(cell.algorithm for cell in cells) if name not in complete and name not in partial
    ]
    header = [
        "algorithm", "rank", "average policy", "last iterate", "away", "wins, average", "wins, last",
        "episodes a cell", "tokens a cell", "CPU s a cell",
    ]  # fmt: skip
    rows = [
        [
            standing.algorithm, str(standing.rank), _interval(standing.average), _interval(standing.last),
            f"{standing.excursions:.2f}", str(standing.wins), str(standing.wins_last), f"{standing.episodes:.0f}",
            f"{standing.tokens:.0f}", f"{standing.cpu_seconds:.1f}",
        ]
        for standing in standings(cells)
    ]  # fmt: skip
    rows += [[name, *[NONE] * (len(header) - 1)] for name in partial]
    blocks: list[Block] = [Heading("All games")]
    if rows:
        blocks += [
            Table(header, rows),
            Caption(READING),
            *_orders(cells),
            Caption(budget(PRESETS[PRESET_OF[spoken]], spoken=spoken)),
        ]
    if partial:
        without = "; ".join(f"{name} ({', '.join(games)})" for name, games in partial.items())
        blocks.append(Paragraph(f"Without a rank, because they cannot play every game: {without}."))
    if unfinished:
        blocks.append(Paragraph(f"Not ranked, because cells are missing: {', '.join(unfinished)}."))
    return [*blocks, *_by_game(cells, [row[0] for row in rows])]


def _orders(cells: Mapping[Cell, CellResult]) -> list[Block]:
    """Return which algorithms are before which; nothing where there is one alone."""
    lines = [Paragraph(line) for line in order_lines(cells)]
    return [Heading("Who is before whom"), Caption(ORDERS), *lines] if lines else []


def _by_game(cells: Mapping[Cell, CellResult], names: Sequence[str]) -> list[Block]:
    """Return one table of algorithms and games."""
    games = in_order(cell.game for cell in cells)
    rows = [[name, *(_both(of_game(cells, game).get(name, ())) for game in games)] for name in names]
    floor = ["uniform play", *(_uniform(next(iter(of_game(cells, game).values()))[0]) for game in games)]
    caption = (
        "By game, mean over seeds: average policy / last iterate over the last fifth of training; in payoff ranges, "
        "not divided by what uniform play falls short by."
    )
    return [Heading("By game"), Table(["algorithm", *games], [*rows, floor]), Paragraph(caption)] if rows else []


def _both(runs: Sequence[CellResult]) -> str:
    parts = [run.curve[-1].average.shortfall for run in runs], [late_shortfall(run.curve) for run in runs]
    return " / ".join(f"{np.mean(part):.3f}" for part in parts) if runs else NONE


def _uniform(result: CellResult) -> str:
    shortfall = facts_of(result).uniform_shortfall
    return NONE if shortfall is None else f"{shortfall:.3f}"


def _game(cells: Mapping[Cell, CellResult], game: str, folder: Path) -> list[Block]:
    results = of_game(cells, game)
    facts = next(iter(results.values()))[0].facts
    title = GAMES[game].title if game in GAMES else game
    identical = facts.payoff == Payoff.IDENTICAL.value
    y_label = "return short of the best / payoff range" if identical else "NashConv / payoff range"
    picture = folder / f"bench_{file_name(game)}.png"
    plot_game(results, picture, title=title, y_label=y_label)
    zero_sum = facts.payoff == Payoff.ZERO_SUM.value
    ahead = sorted(
        results.items(), key=lambda item: float(np.mean([run.curve[-1].average.shortfall for run in item[1]]))
    )
    rows = [_game_row(name, runs, zero_sum=zero_sum) for name, runs in ahead]
    others = [name for name in in_order(cell.algorithm for cell in cells) if not can_play(name, game)]
    rows += [[name, *[NONE] * 4] for name in others if name not in results]
    what = "return of player 0" if zero_sum else "mean return of both"
    header = ["algorithm", "NashConv, average", "NashConv, last", f"{what}, average", f"{what}, last"]
    value = "no one value" if facts.value is None else f"value to player 0: {facts.value:.4g}"
    known = f"Payoff range {facts.payoff_range:.4g}; {value}."
    if not zero_sum:
        known += f" The best mean return of both, if all were known to both: {facts.best_social_return:.4g}."
    return [
        Heading(f"{game}: {title}" if title != game else game),
        Paragraph(f"{known} In the game's own payoffs, mean over seeds and half its 95 % interval; {LAST}."),
        Table(header, rows),
        Picture(picture, f"{title}, over updates; the band is from the lowest to the highest seed"),
    ]


def _game_row(name: str, runs: Sequence[CellResult], *, zero_sum: bool) -> list[str]:
    def gap(measured: Measured) -> float:
        return measured.nash_conv

    def paid(measured: Measured) -> float:
        return measured.returns[0] if zero_sum else sum(measured.returns) / 2

    columns = []
    for number in (gap, paid):
        columns.append([number(run.curve[-1].average) for run in runs])
        columns.append([float(np.mean([number(point.last) for point in last_fifth(run.curve)])) for run in runs])
    return [name, *(_mean(values) for values in columns)]


def _sources(cells: Mapping[Cell, CellResult]) -> list[Block]:
    names = in_order(cell.algorithm for cell in cells)
    rows = [[name, _source(name)] for name in names]
    return [Heading("Algorithms"), Table(["algorithm", "what it is"], rows)]


def _source(spec: str) -> str:
    """Return what tables say of an algorithm, and by which learner if one was chosen."""
    name, _, learner = spec.partition(":")
    source = ALGORITHMS[name].source if name in ALGORITHMS else ""
    return f"{source}; by the learner {learner}" if learner else source


def _interval(estimate: Estimate) -> str:
    if not math.isfinite(estimate.half_width):  # of a single seed
        return f"{estimate.value:.3f}"
    return f"{estimate.value:.3f} [{estimate.low:.3f}, {estimate.high:.3f}]"


def _mean(values: Sequence[float]) -> str:
    mean = mean_interval(values)
    return f"{mean.value:.3f} ± {mean.half_width:.3f}" if math.isfinite(mean.half_width) else f"{mean.value:.3f}"


FLOOR = 1e-3
"""Anything nearer is drawn at this distance: a logarithmic axis has no 0."""

SIZE_INCHES, DOTS_PER_INCH = (11.0, 4.4), 80


def plot_game(results: Mapping[str, Sequence[CellResult]], path: Path, *, title: str, y_label: str) -> None:
    """Draw the last iterate and the average side by side: mean over seeds, band from the lowest to the highest seed."""
    figure = Figure(figsize=SIZE_INCHES, layout="constrained")
    axes = figure.subplots(1, 2, sharey=True)
    figure.suptitle(as_label(title), x=0.01, ha="left", fontsize=12)
    for axis, which, label in zip(axes, ("average", "last"), ("average policy", "last iterate"), strict=True):
        for (name, runs), colour, dash in zip(results.items(), cycle(COLOURS), cycle(DASHES), strict=False):
            _draw(axis, name, runs, which, colour, dash)
        axis.set_title(label, fontsize=11, loc="left")
        axis.set_xlabel("updates of each player")
        axis.set_yscale("log")
        axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axis.yaxis.set_minor_formatter(NullFormatter())
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(visible=True, color="#DDDDDD", linewidth=0.8)
    axes[0].set_ylabel(y_label)
    axes[1].legend(loc="upper left", bbox_to_anchor=(1.01, 1.0), frameon=False, borderaxespad=0.0, fontsize=9)
    with replacing(path) as written:
        figure.savefig(written, format="png", dpi=DOTS_PER_INCH, facecolor="white")


def _draw(axis: Axes, name: str, runs: Sequence[CellResult], which: str, colour: str, dash: str) -> None:
    times = [point.iteration for point in runs[0].curve]
    curves = curves_of(runs, which)
    axis.plot(
        times,
        curves.mean(0),
        label=as_label(name, most=MAX_NAME),
        color=colour,
        linestyle=dash,
        linewidth=1.8,
        marker=".",
    )
    if len(runs) > 1:
        axis.fill_between(times, curves.min(0), curves.max(0), color=colour, alpha=0.10, linewidth=0)


def curves_of(runs: Sequence[CellResult], which: str) -> NDArray[np.float64]:
    """Return the shortfalls of "last" or "average" over training, not below `FLOOR`; (seeds, points)."""
    curves = [[getattr(point, which).shortfall for point in run.curve] for run in runs]
    return np.maximum(np.array(curves), FLOOR)
