"""Pictures of the arms race on red_team-v1, one panel for each method with an adversary that learns."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter
from numpy.typing import NDArray

from ..reporting.plots import COLOURS, FONT_SIZE, MAP, _save, as_label
from .arms_race import ArmsRace

Races = Mapping[str, ArmsRace]
"""By the title of the method."""
SEEN = PowerNorm(0.5, vmin=0.0, vmax=0.5)
"""The scale of shares: one in a hundred is seen, too, and all above one half look alike."""


def plot_arms_race(races: Races, path: Path) -> None:
    """Draw each adversary's success before and after the next defence, and on the first and the last defender."""
    figure, drawn = panels(races, "Arms race: attack success, share of harmful attempts", 6.4, 4.4)
    for axes, race in zip(drawn, races.values(), strict=True):
        rounds = np.arange(race.num_rounds + 1)
        x = np.ravel(np.column_stack([rounds, rounds + 0.5]))[:-1]
        y = np.ravel(np.column_stack([race.after_attack, [*race.after_defence, np.nan]]))[:-1]
        axes.plot(x, y, color="#BBBBBB", linewidth=1.2)
        series = (
            ("after its attack, on the defender of its round", rounds, race.after_attack, "o-"),
            ("the same attack after the next defence", rounds[:-1] + 0.5, race.after_defence, "s--"),
            ("on the first defender (SFT)", rounds, race.on_first, "^-."),
            ("on the last defender", rounds, race.on_last, "D:"),
        )
        for (label, at, shares, style), colour in zip(series, COLOURS, strict=False):
            axes.plot(at, shares, style, color=colour, label=label, linewidth=1.8, markersize=5)
        axes.set_ylim(-0.02, 1.02)
        axes.yaxis.set_major_formatter(PercentFormatter(xmax=1.0, decimals=0))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlabel("round after which the adversary was kept")
    drawn[-1].legend(loc="upper left", bbox_to_anchor=(1.01, 1.0), frameon=False, borderaxespad=0.0)
    _save(figure, path)


def plot_styles_found(races: Races, path: Path) -> None:
    """Draw, round by round, in which styles an adversary writes and in which it succeeds; the most common on top."""
    shown = {
        f"{title}: {what}": shares
        for title, race in races.items()
        for what, shares in (("written", race.written), ("succeeded", race.succeeded))
    }
    figure, drawn = panels(shown, "Styles found: share of each round's attempts", 3.6, 6.4)
    for axes, shares in zip(drawn, shown.values(), strict=True):
        image = axes.imshow(shares.T, cmap=MAP, norm=SEEN, aspect="auto", interpolation="nearest")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlabel("round")
        axes.set_ylabel("rank of the style, 0: plain")
        axes.grid(visible=False)
    bar = figure.colorbar(image, ax=drawn, format=PercentFormatter(xmax=1.0, decimals=0), extend="max", pad=0.01)
    bar.outline.set_visible(False)
    _save(figure, path)


def plot_checkpoints(races: Races, path: Path) -> None:
    """Draw the attack success of every checkpoint of an adversary on every one of the defender."""
    figure, drawn = panels(races, "Checkpoints against checkpoints: attack success, %", 6.4, 5.4)
    for axes, race in zip(drawn, races.values(), strict=True):
        _matrix(axes, race.success)
        axes.set_xlabel("defender after round")
        axes.set_ylabel("adversary after round")
    _save(figure, path)


def _matrix(axes: Axes, shares: NDArray[np.float64]) -> None:
    axes.imshow(shares, cmap=MAP, vmin=0.0, vmax=1.0, aspect="auto")
    axes.set_xticks(range(shares.shape[1]))
    axes.set_yticks(range(shares.shape[0]))
    axes.grid(visible=False)
    for (row, column), value in np.ndenumerate(shares):
        ink = "white" if value < 0.5 else "black"  # cividis is dark below one half
        axes.text(column, row, f"{100 * value:.0f}", ha="center", va="center", color=ink, fontsize=FONT_SIZE - 3)


def panels(
    shown: Mapping[str, object], title: str, width_inches: float, height_inches: float
) -> tuple[Figure, list[Axes]]:
    """Return a figure with a panel for each entry, side by side, and their axes.

    Args:
        shown: entries by the title of their panel.
        title: of the figure.
        width_inches: of a panel.
        height_inches: of the figure.
    """
    figure = Figure(figsize=(width_inches * len(shown) + 1.0, height_inches), layout="constrained")
    figure.suptitle(as_label(title), fontsize=FONT_SIZE + 2, x=0.01, horizontalalignment="left")
    drawn = list(np.ravel(figure.subplots(1, len(shown), squeeze=False)))
    for axes, name in zip(drawn, shown, strict=True):
        axes.set_title(as_label(name), fontsize=FONT_SIZE)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(visible=True, color="#DDDDDD", linewidth=0.8)
        axes.set_axisbelow(True)
    return figure, drawn
