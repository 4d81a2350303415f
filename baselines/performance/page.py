"""The sections and the picture of `docs/performance.md`."""

from __future__ import annotations

import json
import os
import platform
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure as MatplotlibFigure

from .envs_batched import Scaling, Throughput, line_of
from .rival_textarena import textarena_line
from .rivals import TurnRates


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of `bench.json`: a ratio of which more is better, with the value it should reach."""

    name: str
    value: float
    goal: float
    unit: str


@dataclass(frozen=True, slots=True)
class VocabularyCost:
    """What a token costs with a vocabulary of some size, in seconds."""

    size: int
    aec_s: float
    bare_s: float
    """In an environment that does next to nothing."""
    copy_s: float
    """The copy of the mask alone."""

    @property
    def share(self) -> float:
        """The speed of the AEC form as a share of the bare environment's."""
        return self.bare_s / self.aec_s


def write_figures(path: Path, figures: Sequence[Figure]) -> None:
    """Write the figures as JSON, whole or not at all."""
    partial = path.with_name(f"{path.name}.partial")
    partial.write_text(json.dumps([asdict(figure) for figure in figures], indent=2) + "\n", encoding="utf-8")
    partial.replace(path)


HEADING = "# Performance of the environments"

PICTURE = "env_scaling.png"

SECTION = """\
{heading}

Measured by `python -m duologue.baselines.performance.envs --markdown docs/performance.md`, which writes this section:
{versions}. Times are CPU time of one core; medians of repetitions that take turns.

{figures}

`observed`: the other library is asked for what a player sees; `unobserved`: its turns are said, and nothing is looked
at. So against OpenSpiel's C++ game the batched form is {spiel.ratio:.1f} times as fast if observations are looked at,
and {spiel.ratio_unseen:.1f} times as fast if nothing is; the goal is 5 for either. Ours keeps views and rewards, and is
asked for masks, in both.

## One token in the AEC form

`last` and `step`, the choice of the token excluded, resets included, in a game of two turns of 32 tokens. The bare
environment appends the token to an array and copies that and its mask, as any must. What grows is what both copy.

{vocabularies}

## Many episodes at once

{num_episodes:,} episodes of turns of the greatest length, dealt anew in place. Players with a few scripts say whole
turns, whose consequences the engine remembers; or the same turns token by token; or one turn of words drawn at random,
so that the rules are asked about nearly every one. The AEC form plays the scripts with `last` and `step`.

{throughputs}

On tic-tac-toe, whose turns are one token, recorded games give {spiel.ours:,.0f} turns a second with the mask asked for
at every turn. OpenSpiel's C++ game, stepped from Python, gives {spiel.theirs:,.0f} if the mover's mask and the
observations and rewards of both players are asked for, and {spiel.theirs_unseen:,.0f} if nothing is looked at.

{arena}

## How time grows

In the batched form the time of lockstep episodes from the deal to the end, by players with one script; in the AEC form
that of one token. An exponent of 1 is a straight line (the upper half of the sizes), less has a constant share; R^2 is
of a straight line through all points. The AEC form copies the whole view at each token, as its interface asks, so that
an episode costs its tokens times its context: for tens of thousands of tokens say whole turns.

{scalings}

![Time against each size, both axes logarithmic, relative to the smallest](images/{picture})
"""


@dataclass(frozen=True, slots=True)
class Results:
    """Everything that was measured."""

    figures: Sequence[Figure]
    vocabularies: Sequence[VocabularyCost]
    throughputs: Sequence[Throughput]
    scalings: Sequence[Scaling]
    spiel: TurnRates
    arena: TurnRates | None
    """None where TextArena is not installed."""


def write_section(path: Path, results: Results, *, num_episodes: int) -> None:
    """Write the section into a page, in place of an older one, and its picture into `images/` beside the page."""
    text = SECTION.format(
        heading=HEADING,
        versions=machine(),
        figures=figure_table(results.figures),
        vocabularies=vocabulary_table(results.vocabularies),
        throughputs=throughput_table(results.throughputs),
        scalings=scaling_table(results.scalings),
        spiel=results.spiel,
        arena=textarena_line(results.arena),
        num_episodes=num_episodes,
        picture=PICTURE,
    )
    put_section(path, HEADING, text)
    plot_scalings(results.scalings, path.parent / "images" / PICTURE)


def machine() -> str:
    """Return what numbers were measured with: versions and how many cores there are."""
    return f"Python {platform.python_version()}, numpy {np.__version__}, {os.cpu_count()} cores"


def put_section(path: Path, heading: str, section: str) -> None:
    """Write a section into a page, in place of the older one of that heading; the page is whole or as before."""
    page = path.read_text(encoding="utf-8") if path.exists() else ""
    partial = path.with_name(f"{path.name}.partial")
    partial.write_text(replace_section(page, heading, section), encoding="utf-8")
    partial.replace(path)


def replace_section(page: str, heading: str, section: str) -> str:
    r"""Return the page with a section of the first level in place of the one so called, or behind all others.

    >>> replace_section("# A\n\nold\n\n# B\n\nb\n", "# A", "# A\n\nnew\n")
    '# A\n\nnew\n\n# B\n\nb\n'
    """
    parts = [part.strip() for part in re.split(r"^(?=# )", page, flags=re.MULTILINE) if part.strip()]
    titles = [part.splitlines()[0] for part in parts]
    at = titles.index(heading) if heading in titles else len(parts)
    parts[at : at + 1] = [section.strip()]
    return "\n\n".join(parts) + "\n"


def figure_table(figures: Sequence[Figure]) -> str:
    """Return the figures with their goals as a Markdown table."""
    rows = [[f"`{figure.name}`", f"{figure.value:,g}", f"{figure.goal:,g}", figure.unit] for figure in figures]
    return table(["what", "measured", "goal", "unit"], rows)


def vocabulary_table(costs: Sequence[VocabularyCost]) -> str:
    """Return the cost of a token by vocabulary as a Markdown table."""
    columns = ["vocabulary", "us a token", "bare, us a token", "share of bare", "copy of the mask, us"]
    rows = [
        [
            f"{cost.size:,}",
            f"{1e6 * cost.aec_s:.2f}",
            f"{1e6 * cost.bare_s:.2f}",
            f"{cost.share:.2f}",
            f"{1e6 * cost.copy_s:.2f}",
        ]
        for cost in costs
    ]
    return table(columns, rows)


def throughput_table(throughputs: Sequence[Throughput]) -> str:
    """Return tokens a second of each form as a Markdown table."""
    columns = ["game", "tokens a turn", "turns, tokens/s", "times AEC", "token by token", "all turns new", "AEC"]
    rows = [
        [
            throughput.name,
            str(throughput.turn_tokens),
            f"{throughput.batched:,.0f}",
            f"{throughput.ratio:.0f}",
            f"{throughput.by_token:,.0f}",
            f"{throughput.all_new:,.0f}",
            f"{throughput.aec:,.0f}",
        ]
        for throughput in throughputs
    ]
    return table(columns, rows)


def scaling_table(scalings: Sequence[Scaling]) -> str:
    """Return how time grows as a Markdown table."""
    return table(
        ["form", "size", "from, to", "time", "exponent", "R^2"], [list(line_of(scaling)) for scaling in scalings]
    )


def plot_scalings(scalings: Sequence[Scaling], path: Path) -> None:
    """Draw time against each size, both relative to the smallest; nothing else in `envs` needs `matplotlib`."""
    figure = MatplotlibFigure(figsize=(7, 5), layout="constrained")
    axes = figure.add_subplot()
    markers = ("o", "s", "^", "D", "v", "P", "X")
    for scaling, marker in zip(scalings, markers, strict=False):
        sizes, seconds = np.array(scaling.sizes) / scaling.sizes[0], np.array(scaling.seconds) / scaling.seconds[0]
        axes.loglog(sizes, seconds, marker=marker, markersize=4, label=f"{scaling.form}: {scaling.name}")
    most = max(scaling.sizes[-1] / scaling.sizes[0] for scaling in scalings)
    axes.loglog([1, most], [1, most], color="grey", linestyle=":", label="a straight line")
    axes.set(xlabel="size / smallest size", ylabel="time / time at the smallest size", title="How time grows")
    axes.legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120, metadata={"Software": None})


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table whose first column is text and whose others are numbers."""
    lines = [columns, [":---", *["---:"] * (len(columns) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
