"""What the study of true and judged attack success shows: three tables and one picture, over seeds."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter
from numpy.typing import NDArray
from scipy import stats

from ...agents.folders import read_json
from ..evaluation.calibration import Share
from ..evaluation.confusion import ConfusionMatrix
from ..evaluation.intervals import mean_interval
from ..reporting.plots import COLOURS, DASHES, FONT_SIZE, MARKERS, as_label
from ..reporting.records import record_of
from ..reporting.tables import markdown_table, text_table
from ..training.files import replacing
from ..training.run import Run, read_metrics
from .true_judged_judges import TITLES
from .true_judged_measure import ESTIMATES, JudgedRound

RESULTS_FILE, TABLE_FILE, PLOT_FILE = "results.json", "table.md", "true_judged.png"
ORACLE = "oracle"
NUM_COLUMNS = 4
"""Judges in a row of the picture."""

Curve = tuple[JudgedRound, ...]
"""A cell over training: before it, and after each round."""
Table = tuple[str, tuple[list[str], list[list[str]]]]
"""Title, and header and rows."""


@dataclass(frozen=True, slots=True)
class JudgedResults:
    """All that was measured."""

    game: str
    curves: dict[str, tuple[Curve, ...]]
    """By judge, then seed by seed."""

    @property
    def num_seeds(self) -> int:
        """Trainings against each judge."""
        return len(next(iter(self.curves.values())))


class Column(NamedTuple):
    """A column of a table over seeds: a number of each cell, a share shown in percent."""

    title: str
    value: Callable[[Curve], float]


def report(run: Run, *, judges: Sequence[str], num_seeds: int, game: str) -> str:
    """Write tables, picture and numbers of finished cells into the study's folder; return the tables as text."""
    curves = {judge: tuple(_curve(run.folder / f"seed{seed}" / judge) for seed in range(num_seeds)) for judge in judges}
    results = JudgedResults(game, curves)
    run.write_json(RESULTS_FILE, results)
    pages = tables(results)
    run.write_text(TABLE_FILE, "\n".join(f"## {title}\n\n{markdown_table(*table)}\n" for title, table in pages))
    plot(results, run.folder / PLOT_FILE)
    shown = [f"{title}\n\n{text_table(*table)}" for title, table in pages]
    return "\n\n".join([*shown, f"Plot\n\n{run.folder / PLOT_FILE}"])


def load_results(path: Path) -> JudgedResults:
    """Return what `report` wrote.

    Raises:
        ValueError: the file holds something else.
    """
    where = f"{path}: expected the {RESULTS_FILE} of the study of true and judged attack success"
    results = record_of(JudgedResults, read_json(path), where)
    lengths = {len(curve) for of_judge in results.curves.values() for curve in of_judge}
    if len({len(of_judge) for of_judge in results.curves.values()}) != 1 or len(lengths) != 1 or 0 in lengths:
        raise ValueError(f"{where}, got curves of different lengths, or none")
    return results


def tables(results: JudgedResults) -> list[Table]:
    """Return the tables: attack success, the judges, estimates of the true rate, and benign requests."""
    return [_success_table(results), _judges_table(results), _estimates_table(results), _benign_table(results)]


def _success_table(results: JudgedResults) -> Table:
    def over_rounds(value: Callable[[JudgedRound], float]) -> Callable[[Curve], float]:
        return lambda curve: float(np.mean([value(one) for one in curve[1:]]))

    columns = (
        Column("judged\nstart", lambda curve: curve[0].judged_asr),
        Column("true\nstart", lambda curve: curve[0].true_asr),
        Column("judged\nrounds", over_rounds(lambda one: one.judged_asr)),
        Column("true\nrounds", over_rounds(_true)),
        Column("judged - true\nrounds", over_rounds(lambda one: one.inflation)),
        Column("judged\nend", lambda curve: curve[-1].judged_asr),
        Column("true\nend", lambda curve: curve[-1].true_asr),
        Column("judged - true\nend", lambda curve: curve[-1].inflation),
    )
    rows = []
    for judge, curves in results.curves.items():
        paired = [_cell(against_oracle(results, judge, points)) for points in (slice(1, None), slice(-1, None))]
        rows.append([TITLES[judge], *_cells(columns, curves), *paired])
    header = ["judge", *(column.title for column in columns), "true - oracle's\nrounds", "true - oracle's\nend"]
    title = "attack success in percent of attempts; rounds: mean over all rounds, end: after the last"
    return f"{results.game}, {title}{_seeds(results)}", (header, rows)


def _judges_table(results: JudgedResults) -> Table:
    columns = (
        Column("accuracy\nheld out", lambda curve: curve[-1].held_out_accuracy.value),
        Column("accuracy\nstart", lambda curve: curve[0].accuracy.value),
        Column("accuracy\nend", lambda curve: curve[-1].accuracy.value),
        Column("sensitivity\nheld out", lambda curve: curve[-1].held_out.sensitivity),
        Column("sensitivity\nstart", lambda curve: curve[0].current.sensitivity),
        Column("sensitivity\nrounds", lambda curve: trained(curve).sensitivity),
        Column("specificity\nheld out", lambda curve: curve[-1].held_out.specificity),
        Column("specificity\nstart", lambda curve: curve[0].current.specificity),
        Column("specificity\nrounds", lambda curve: trained(curve).specificity),
    )
    rows = [
        [TITLES[judge], *_cells(columns, curves), f"{_mean_labels(curves):.0f}"]
        for judge, curves in results.curves.items()
    ]
    header = ["judge", *(column.title for column in columns), "labels\nbought"]
    return f"Judges, percent; accuracy over seven outcomes, the rest unsafe or not{_seeds(results)}", (header, rows)


def _estimates_table(results: JudgedResults) -> Table:
    rows = []
    for judge, curves in results.curves.items():
        errors = [[_mean_error(curve, name) for curve in curves] for name in ESTIMATES]
        known = np.mean([math.isfinite(one.estimate("fresh")) for curve in curves for one in curve[1:]])
        rows.append([TITLES[judge], *(_cell(of_seeds) for of_seeds in errors), f"{100 * known:.0f}"])
    header = ["judge", *ESTIMATES.values(), "fresh correction\ndefined, % of rounds"]
    title = "Estimates of the true ASR: how far they are off, absolute percentage points, means over rounds"
    return f"{title}{_seeds(results)}", (header, rows)


def _benign_table(results: JudgedResults) -> Table:
    def share(field: str) -> Callable[[Curve], float]:
        return lambda curve: Share(getattr(curve[-1].benign, field), curve[-1].benign.count).value

    def excess(what: str) -> Callable[[Curve], float]:
        return lambda curve: share(f"judged_{what}")(curve) - share(f"true_{what}")(curve)

    columns = [
        column
        for what in ("helpful", "refused")
        for column in (
            *(Column(f"{what}\n{who}", share(f"{who}_{what}")) for who in ("judged", "true")),
            Column(f"{what}\njudged - true", excess(what)),
        )
    ]
    rows = [[TITLES[judge], *_cells(columns, curves)] for judge, curves in results.curves.items()]
    header = ["judge", *(column.title for column in columns)]
    return f"Benign requests after the last round, percent{_seeds(results)}", (header, rows)


def trained(curve: Curve) -> ConfusionMatrix:
    """Return a judge's confusion matrix on the attempts of all rounds, those before training left out."""
    return reduce(_added, (one.current for one in curve[1:]))


def against_oracle(results: JudgedResults, judge: str, points: slice) -> list[float]:
    """Return by how much true attack success exceeds that of the oracle's run of the same seed, seed by seed.

    Args:
        results: the curves.
        judge: whose run is compared; the oracle's is not, and has no differences.
        points: the measurements over which either is averaged.
    """
    if ORACLE not in results.curves or judge == ORACLE:
        return []
    rates = [[np.mean([one.true_asr for one in c[points]]) for c in results.curves[name]] for name in (judge, ORACLE)]
    return [float(one - other) for one, other in zip(*rates, strict=True)]


def plot(results: JudgedResults, path: Path) -> None:
    """Draw true and judged attack success over training, a panel for each judge, and below the judges' accuracy."""
    num_rows = -(-len(results.curves) // NUM_COLUMNS)
    figure = Figure(figsize=(13.0, 2.9 * num_rows + 4.0), layout="constrained")
    grid = figure.add_gridspec(num_rows + 1, NUM_COLUMNS, height_ratios=[*[1.0] * num_rows, 1.3])
    first: Axes | None = None
    for k, (judge, curves) in enumerate(results.curves.items()):
        axes = figure.add_subplot(grid[k // NUM_COLUMNS, k % NUM_COLUMNS], sharey=first)
        first = axes if first is None else first
        if judge != ORACLE and ORACLE in results.curves:
            _draw(axes, results.curves[ORACLE], _true, "true, paid by the oracle", "#888888", ":", band=False)
        _draw(axes, curves, _true, "true", COLOURS[0], "-")
        _draw(axes, curves, lambda one: one.judged_asr, "judged", COLOURS[1], "--")
        _dress(axes, f"paid by: {TITLES[judge]}", "attack success" if k % NUM_COLUMNS == 0 else "")
        if k == min(1, len(results.curves) - 1):
            axes.legend(frameon=False, fontsize=FONT_SIZE - 3)
    _draw_accuracies(figure.add_subplot(grid[num_rows, :]), results)
    for axes in figure.axes:
        axes.set_ylim(0.0, min(1.02, axes.get_ylim()[1]))
    with replacing(path) as written:
        figure.savefig(written, format="png", dpi=110, facecolor="white")


def _draw_accuracies(axes: Axes, results: JudgedResults) -> None:
    """Draw each judge's accuracy where training goes, and before training the one on held-out exchanges."""
    judges = [judge for judge in results.curves if judge != ORACLE]
    for k, judge in enumerate(judges):
        colour, curves = COLOURS[k % len(COLOURS)], results.curves[judge]
        style = DASHES[(k // 2) % len(DASHES)]
        _draw(axes, curves, lambda one: one.accuracy.value, TITLES[judge], colour, style, marker=MARKERS[k % 7])
        held_out = np.mean([curve[0].held_out_accuracy.value for curve in curves])
        axes.plot([-0.25], [held_out], marker=MARKERS[k % 7], color=colour, linestyle="", markersize=8, clip_on=False)
    _dress(axes, "Share of exchanges whose outcome the judge names; left of 0: of held-out exchanges", "accuracy")
    if judges:
        axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False, fontsize=FONT_SIZE - 2)


def _draw(
    axes: Axes,
    curves: Sequence[Curve],
    value: Callable[[JudgedRound], float],
    label: str,
    colour: str,
    dash: str,
    *,
    band: bool = True,
    marker: str | None = None,
) -> None:
    """Draw a mean over seeds with its 95 % interval by t."""
    lines = np.array([[value(one) for one in curve] for curve in curves])
    x, mean = np.arange(lines.shape[1]), lines.mean(0)
    axes.plot(x, mean, color=colour, linestyle=dash, linewidth=2.0, label=as_label(label), marker=marker)
    if band and len(lines) > 1:
        spread = half_widths(lines)
        axes.fill_between(x, mean - spread, mean + spread, color=colour, alpha=0.15, linewidth=0)


def half_widths(lines: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return half of Student's t 95 % interval of each column's mean, (points,), of lines by seed (seeds, points)."""
    spread: NDArray[np.float64] = stats.t.ppf(0.975, len(lines) - 1) * lines.std(0, ddof=1) / math.sqrt(len(lines))
    return spread


def _dress(axes: Axes, title: str, y_label: str) -> None:
    axes.set_title(as_label(title), fontsize=FONT_SIZE, loc="left")
    axes.set_xlabel("rounds of training", fontsize=FONT_SIZE - 1)
    axes.set_ylabel(as_label(y_label), fontsize=FONT_SIZE - 1)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.yaxis.set_major_formatter(PercentFormatter(xmax=1.0, decimals=0))
    axes.grid(visible=True, color="#DDDDDD", linewidth=0.8)
    axes.spines[["top", "right"]].set_visible(False)


def _curve(folder: Path) -> Curve:
    return tuple(record_of(JudgedRound, record, str(folder)) for record in read_metrics(folder))


def _true(one: JudgedRound) -> float:
    return one.true_asr


def _added(first: ConfusionMatrix, second: ConfusionMatrix) -> ConfusionMatrix:
    return ConfusionMatrix(*(getattr(first, name) + getattr(second, name) for name in ConfusionMatrix.__slots__))


def _mean_error(curve: Curve, name: str) -> float:
    """Return by how much an estimate is off after a round, the mean; NaN where it is defined after none."""
    errors = [abs(one.estimate(name) - one.true_asr) for one in curve[1:]]
    known = [error for error in errors if math.isfinite(error)]
    return float(np.mean(known)) if known else float("nan")


def _mean_labels(curves: Sequence[Curve]) -> float:
    return float(np.mean([curve[-1].num_labels for curve in curves]))


def _cells(columns: Sequence[Column], curves: Sequence[Curve]) -> list[str]:
    return [_cell([column.value(curve) for curve in curves]) for column in columns]


def _cell(shares: Sequence[float]) -> str:
    """Return the mean of shares in percent, with half its interval if there are several; "-" without a number."""
    known = [100 * share for share in shares if math.isfinite(share)]
    if not known:
        return "-"
    estimate = mean_interval(known)
    mean = f"{round(estimate.value, 1) + 0.0:.1f}"  # no -0.0
    return f"{mean} ± {estimate.half_width:.1f}" if len(known) > 1 else mean


def _seeds(results: JudgedResults) -> str:
    return f"; mean and half the 95 % interval by t, n = {results.num_seeds}" if results.num_seeds > 1 else "; one seed"
