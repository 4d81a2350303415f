"""Pictures of runs, as PNG files: curves, the heat map of adversaries against defenders, bars by prompt set.

Colours are told apart by readers with any colour vision: Okabe and Ito's palette, and cividis for maps. Lines
differ in their markers and dashes as well.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle
from pathlib import Path

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from numpy.typing import ArrayLike

from ...envs.printable import printable
from ..training.files import replacing

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")

DASHES = ("-", "--", "-.", ":")

MARKERS = ("o", "s", "^", "D", "v", "P", "X")

MAX_MARKERS = 12
"""Markers on a curve; more would hide it."""

FONT_SIZE = 12

MAX_LABEL, MAX_NAME, MAX_TICK = 120, 40, 24
"""Characters of a text in a picture, of a name in its legend, and of one along an axis."""

MAP = colormaps["cividis"]

Curve = tuple[ArrayLike, ArrayLike]
"""x and y of one line."""

LineStyle = tuple[str, str]
"""Colour and dashes of one line."""


def plot_curves(
    series: Mapping[str, Curve],
    path: str | Path,
    *,
    title: str,
    x_label: str,
    y_label: str,
    percent: bool = False,
    log_scale: bool = False,
    styles: Mapping[str, LineStyle] | None = None,
) -> None:
    """Draw lines over a common x axis.

    Args:
        series: x and y of each line by its name; values that are not finite leave a gap.
        path: of the PNG file.
        title: what is shown.
        x_label: with its unit, such as "iteration".
        y_label: with its unit.
        percent: y is a share, 0 to 1, shown as 0 to 100 %.
        log_scale: both axes are logarithmic.
        styles: of some lines by their names; the others get the next of ours.
    """
    figure, axes = _figure(8.0, 4.8, title)
    default_styles = zip(cycle(COLOURS), cycle(DASHES), cycle(MARKERS), strict=False)
    for (name, (x, y)), (*style, marker) in zip(series.items(), default_styles, strict=False):
        colour, dash = (styles or {}).get(name, style)
        every = max(1, -(-np.size(x) // MAX_MARKERS))
        axes.plot(
            np.asarray(x), np.asarray(y), label=as_label(name, most=MAX_NAME), color=colour, linestyle=dash,
            linewidth=2.0, marker=marker, markevery=every, markersize=6,
        )  # fmt: skip
    axes.set_xlabel(as_label(x_label))
    axes.set_ylabel(as_label(y_label))
    axes.margins(x=0.02)
    if log_scale:
        axes.set_xscale("log")
        axes.set_yscale("log")
    if percent:
        axes.set_ylim(-0.02, 1.02)
        _percent_axis(axes)
    if len(series) > 1:
        axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0), frameon=False, borderaxespad=0.0)
    _save(figure, path)


def plot_heat_map(
    matrix: ArrayLike,
    rows: Sequence[str],
    columns: Sequence[str],
    path: str | Path,
    title: str,
    *,
    row_label: str = "adversary checkpoint",
    column_label: str = "defender checkpoint",
    value_label: str = "attack success rate",
) -> None:
    """Draw a matrix of shares, 0 to 1, with each value written in its cell in percent.

    Args:
        matrix: (rows, columns); NaN leaves a cell empty.
        rows: names of the rows, the first one on top.
        columns: names of the columns.
        path: of the PNG file.
        title: what is shown.
        row_label: what the rows are.
        column_label: what the columns are.
        value_label: what the values are.
    """
    values = np.asarray(matrix, dtype=np.float64)
    if values.shape != (len(rows), len(columns)):
        raise ValueError(f"matrix: expected shape {(len(rows), len(columns))}, got {values.shape}")
    rows, columns = ([as_label(name, most=MAX_TICK) for name in names] for names in (rows, columns))
    figure, axes = _figure(3.2 + 0.85 * len(columns), 2.2 + 0.62 * len(rows), title)
    image = axes.imshow(values, cmap=MAP, vmin=0.0, vmax=1.0, aspect="auto")
    axes.set_xticks(range(len(columns)), columns)
    if max(map(len, columns)) > 6:  # names that would run into each other
        axes.tick_params(axis="x", labelrotation=35)
        for label in axes.get_xticklabels():
            label.set(horizontalalignment="right", rotation_mode="anchor")
    axes.set_yticks(range(len(rows)), rows)
    axes.set_xlabel(as_label(column_label))
    axes.set_ylabel(as_label(row_label))
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    for (row, column), value in np.ndenumerate(values):
        if np.isfinite(value):
            ink = "white" if value < 0.5 else "black"  # cividis is dark below one half
            axes.text(column, row, f"{100 * value:.0f}", ha="center", va="center", color=ink, fontsize=FONT_SIZE)
    bar = figure.colorbar(image, ax=axes, format=PercentFormatter(xmax=1.0, decimals=0), pad=0.02)
    bar.set_label(as_label(value_label), fontsize=FONT_SIZE)
    bar.outline.set_visible(False)
    _save(figure, path)


def as_label(text: str, *, most: int = MAX_LABEL) -> str:
    """Return a text as matplotlib is to draw it: no formula between dollar signs, and in legends whatever it is."""
    shown = "\n".join(map(printable, text.split("\n")))
    shown = shown if len(shown) <= most else f"{shown[:most]}..."
    return f"{' ' if shown.startswith('_') else ''}{shown}".replace("$", r"\$")


def _figure(width_inches: float, height_inches: float, title: str) -> tuple[Figure, Axes]:
    """Return an empty figure of our own, apart from pyplot's global ones, and its axes."""
    figure = Figure(figsize=(width_inches, height_inches), layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(as_label(title), fontsize=FONT_SIZE + 2, loc="left", pad=12)
    axes.xaxis.label.set_fontsize(FONT_SIZE)
    axes.yaxis.label.set_fontsize(FONT_SIZE)
    axes.tick_params(labelsize=FONT_SIZE - 1)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(visible=True, color="#DDDDDD", linewidth=0.8)
    axes.set_axisbelow(True)
    return figure, axes


def _percent_axis(axes: Axes) -> None:
    axes.yaxis.set_major_formatter(PercentFormatter(xmax=1.0, decimals=0))


def _save(figure: Figure, path: str | Path) -> None:
    with replacing(Path(path)) as written:
        figure.savefig(written, format="png", dpi=144, facecolor="white")
