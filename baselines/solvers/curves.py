"""Pictures of solvers: how far from equilibrium, over the iterations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..reporting.plots import COLOURS, Curve, LineStyle, plot_curves
from .solver import SolveStep

FLOOR = 1e-12
"""NashConv below it is rounding error, and is drawn at it: a logarithmic axis has no 0."""


def plot_nash_conv(
    series: Mapping[str, Sequence[SolveStep]], path: str | Path, *, title: str, bound: Curve | None = None
) -> None:
    """Draw NashConv against iterations on logarithmic axes: averages solid, last iterates dashed, a bound dotted.

    Args:
        series: the reports of each solver by its name.
        path: of the PNG file.
        title: what is shown.
        bound: iterations, and what NashConv of the average cannot exceed there.
    """
    curves: dict[str, Curve] = {}
    styles: dict[str, LineStyle] = {}
    for (name, steps), colour in zip(series.items(), cycle(COLOURS), strict=False):
        iterations = [step.iteration for step in steps]
        for which, dash in (("average", "-"), ("last", "--")):
            values = _drawable([getattr(step, f"nash_conv_{which}") for step in steps])
            if np.isfinite(values).any():
                curves[f"{name}, {which}"], styles[f"{name}, {which}"] = (iterations, values), (colour, dash)
    if bound is not None:
        curves["bound"], styles["bound"] = bound, ("#000000", ":")
    plot_curves(curves, path, title=title, x_label="iteration", y_label="NashConv", log_scale=True, styles=styles)


def _drawable(values: Sequence[float | None]) -> NDArray[np.float64]:
    return np.array([np.nan if value is None else max(value, FLOOR) for value in values])
