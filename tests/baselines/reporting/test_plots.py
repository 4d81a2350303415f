"""Pictures whose names hold whatever matplotlib would read."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from duologue.baselines.reporting.plots import as_label, plot_curves, plot_heat_map

FORMULA = "$\\frac{$ x_{ $"


@pytest.mark.parametrize("name", [FORMULA, "$", "$$", "_hidden", "a\x1b\x00b", "x" * 5_000, "a\nb", ""])
def test_any_name_is_drawn(name: str, tmp_path: Path) -> None:
    """Between two dollar signs matplotlib reads a formula, and raises where it is none."""
    curve = ([1.0, 2.0], [0.1, 0.2])
    plot_curves({name: curve, "b": curve}, tmp_path / "c.png", title=name, x_label=name[:9], y_label=name[:9])
    labels = {"row_label": name[:9], "column_label": name[:9], "value_label": name[:9]}
    plot_heat_map(np.full((3, 3), 0.5), [name, "b", "c"], [name, "b", "c"], tmp_path / "h.png", name[:9], **labels)
    assert all((tmp_path / f"{which}.png").read_bytes().startswith(b"\x89PNG") for which in "ch")


@pytest.mark.parametrize(("name", "drawn"), [(FORMULA, FORMULA), ("_a", " _a"), ("5 $", "5 $"), ("\x1b", "\\x1b")])
def test_a_name_stands_in_the_legend_as_it_is(name: str, drawn: str) -> None:
    """A label that begins with an underscore is left out of matplotlib's legends."""
    axes = Figure().add_subplot()
    axes.plot([0], [0], label=as_label(name))
    (text,) = axes.legend().get_texts()
    assert text._preprocess_math(text.get_text()) == (drawn, False)  # type: ignore[attr-defined]
