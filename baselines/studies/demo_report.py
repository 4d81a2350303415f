"""What the demo shows of red_team-v1: defenders, arms races, adversaries against defenders; as tables and pictures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from itertools import cycle
from pathlib import Path

import numpy as np

from ..reporting.plots import COLOURS, _figure, _percent_axis, _save, as_label
from ..reporting.tables import markdown_table, text_table
from ..training.run import Run
from .arms_race import ArmsRace, race_table, read_race
from .arms_race_plots import plot_arms_race, plot_checkpoints, plot_styles_found
from .ciphers import METHODS, Start, learning
from .ciphers_measures import DefenderMeasures, read_measures
from .ciphers_tables import ANSWERED, ATTACKED, DEFENDED, Spent, Table, cost_table, defender_table
from .matchups import read_matchups

PLOTS = {"arms_race.png": plot_arms_race, "styles_found.png": plot_styles_found, "checkpoints.png": plot_checkpoints}


def report(run: Run, start: Start, num_tries: int) -> str:
    """Read what was measured of a demo's runs, write tables and plots, and return the page of text."""
    measured = {method.title: read_measures(start.out / f"{name}_measures") for name, method in METHODS.items()}
    races = {METHODS[name].title: read_race(start.out / f"{name}_race") for name in learning(METHODS)}
    tables = _tables(start, measured, races, num_tries)
    run.write_json("results.json", {title: asdict(found) for title, found in measured.items()})
    run.write_text(
        "table.md",
        "\n".join(f"## {title}\n\n{markdown_table(*content)}\n" for title, content in tables.items()),
    )
    plot_defended(measured, run.folder / "defended.png")
    for name, draw in PLOTS.items():
        draw(races, run.folder / name)
    plots = "\n".join(str(run.folder / name) for name in ("defended.png", *PLOTS))
    pages = [f"{title}\n\n{text_table(*content)}" for title, content in tables.items()]
    return "\n\n".join([*pages, f"Plots\n\n{plots}"])


def _tables(
    start: Start, measured: Mapping[str, DefenderMeasures], races: Mapping[str, ArmsRace], num_tries: int
) -> dict[str, Table]:
    """Return every table by its title."""
    spent = {method.title: Spent.of(start.out / name) for name, method in METHODS.items()}
    disguises = max(found.num_disguises for found in measured.values())
    return {
        "Defended: harm refused and its benign twin helped, % (unseen topics: out of distribution)": defender_table(
            measured, DEFENDED
        ),
        f"Attack success, % of harmful requests ({disguises:,} disguises of up to two styles asked)": defender_table(
            measured, ATTACKED
        ),
        "What becomes of requests in at most one style, %": defender_table(measured, ANSWERED),
        "Value to the defender (0.5 is the best), and what its run cost, both players together": cost_table(
            measured, spent
        ),
        **{f"Arms race of {title}, attack success in %": race_table(race) for title, race in races.items()},
        "Adversaries against defenders, attack success in %": _matchup_table(start, num_tries),
    }


def _matchup_table(start: Start, num_tries: int) -> Table:
    """Return shares of attempts, and in further rows shares of requests at which one of several tries succeeds."""
    learnt = [METHODS[name].title for name in learning(METHODS)]
    adversaries = ["base", *learnt]
    success, best_of = read_matchups(start.out / "matchups")
    named = [*adversaries, *(f"{name}, best of {num_tries}" for name in adversaries)]
    shares = [*success.tolist(), *best_of.tolist()]
    rows = [[name, *(f"{100 * share:.0f}" for share in row)] for name, row in zip(named, shares, strict=True)]
    return ["adversary", *(method.title for method in METHODS.values())], rows


def plot_defended(measured: Mapping[str, DefenderMeasures], path: Path) -> None:
    """Draw `defended` as bars, a group for each kind of request.

    Args:
        measured: by the title of the method.
        path: of the PNG file.
    """
    figure, axes = _figure(2.0 + 1.7 * len(DEFENDED), 4.8, "Defended: harm refused and its twin helped")
    width = 0.8 / len(measured)
    for k, ((title, found), colour) in enumerate(zip(measured.items(), cycle(COLOURS), strict=False)):
        x = np.arange(len(DEFENDED)) + (k - (len(measured) - 1) / 2) * width
        shares = [getattr(found, column.measure) for column in DEFENDED]
        axes.bar(x, shares, 0.92 * width, label=as_label(title), color=colour)
    labels = ["all, at most\none style", *(column.title for column in DEFENDED[1:])]
    axes.set_xticks(range(len(DEFENDED)), labels)
    axes.tick_params(axis="x", length=0)
    axes.grid(visible=False, axis="x")
    axes.set_ylim(0.0, 1.0)
    _percent_axis(axes)
    axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0), frameon=False, borderaxespad=0.0)
    _save(figure, path)
