"""Pictures of a benchmark: how far from solved every algorithm is, over its updates, with a band over seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter
from numpy.typing import NDArray

from .bench_cell import CellResult
from .evaluate.plots import COLOURS, DASHES
from .files import replacing

FLOOR = 1e-3
"""Anything nearer is drawn at this distance: a logarithmic axis has no 0."""
SIZE_INCHES, DOTS_PER_INCH = (11.0, 4.4), 80


def plot_game(results: Mapping[str, Sequence[CellResult]], path: Path, *, title: str, y_label: str) -> None:
    """Draw the last iterate and the average side by side: mean over seeds, band from the lowest to the highest seed."""
    figure = Figure(figsize=SIZE_INCHES, layout="constrained")
    axes = figure.subplots(1, 2, sharey=True)
    figure.suptitle(title, x=0.01, ha="left", fontsize=12)
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
    axis.plot(times, curves.mean(0), label=name, color=colour, linestyle=dash, linewidth=1.8, marker=".")
    if len(runs) > 1:
        axis.fill_between(times, curves.min(0), curves.max(0), color=colour, alpha=0.10, linewidth=0)


def curves_of(runs: Sequence[CellResult], which: str) -> NDArray[np.float64]:
    """Return the shortfalls of "last" or "average" over training, not below `FLOOR`; (seeds, points)."""
    curves = [[getattr(point, which).shortfall for point in run.curve] for run in runs]
    return np.maximum(np.array(curves), FLOOR)
