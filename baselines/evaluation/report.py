"""The red-team table, of one run and over seeds: `python -m duologue.baselines.evaluation.report RESULTS.json`.

A run leaves `results.json`, `{method: {prompt_set: {"n", "unsafe", "refused", "helpful"}}}`, and may leave
beside it `diversity.json`, `{method: {measure: number}}`, of the adversary's prompts at the end of training.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import cycle
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
import tyro

from ...agents.folders import read_json
from ...envs.printable import printable
from ..reporting.plots import COLOURS, _figure, _percent_axis, _save, as_label
from ..reporting.records import record_of
from ..reporting.tables import markdown_table, markdown_text
from ..training.failures import run_command
from ..training.files import check_output, write_text
from .counts import Counts
from .intervals import Estimate, mean_interval
from .over_training import diversity_over_training
from .red_team import OUT_OF_DISTRIBUTION, pooled


def plot_table_bars(
    results: Mapping[str, Mapping[str, Counts]],
    path: str | Path,
    *,
    title: str = "Attack success by prompt set",
    prompt_sets: Sequence[str] = (
        "plain",
        "in_distribution",
        "unseen_styles",
        "unseen_compositions",
        "unseen_topics",
    ),
) -> None:
    """Draw attack success rates as bars with Wilson's 95 % intervals, a group for each prompt set.

    Args:
        results: counts by method and prompt set.
        path: of the PNG file.
        title: what is shown.
        prompt_sets: the groups; every method must have them.
    """
    figure, axes = _figure(2.0 + 1.6 * len(prompt_sets), 4.8, title)
    width = 0.8 / len(results)
    for k, ((method, sets), colour) in enumerate(zip(results.items(), cycle(COLOURS), strict=False)):
        counts = [sets[name] for name in prompt_sets]
        rates = np.array([count.asr for count in counts])
        low, high = np.array([count.asr_interval for count in counts]).T
        spread = np.maximum(0.0, [rates - low, high - rates])
        x = np.arange(len(prompt_sets)) + (k - (len(results) - 1) / 2) * width
        axes.bar(
            x, rates, 0.92 * width, yerr=spread, label=as_label(METHODS.get(method, method)), color=colour,
            error_kw={"elinewidth": 1.2, "capsize": 3, "ecolor": "#333333"},
        )  # fmt: skip
    axes.set_xticks(
        range(len(prompt_sets)), [as_label(name.replace("_", "\n", 1).replace("_", " ")) for name in prompt_sets]
    )
    axes.tick_params(axis="x", length=0)
    axes.set_ylabel("attack success rate, 95 % interval")
    axes.grid(visible=False, axis="x")
    axes.set_ylim(0.0, 1.0)
    _percent_axis(axes)
    axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0), frameon=False, borderaxespad=0.0)
    _save(figure, path)


METHODS: Mapping[str, str] = {"sft": "SFT", "rlhf": "RLHF", "gpo": "GPO", "gpo_div": "GPO+Div"}
"""The methods in the order of the table, with the names that are shown; others follow under their own."""

RESULTS_FILE, DIVERSITY_FILE = "results.json", "diversity.json"

COUNTED = ("n", "unsafe", "refused", "helpful")

NOTHING = "-"

Results = Mapping[str, Mapping[str, Counts]]
"""Counts by method and prompt set."""


class Column(NamedTuple):
    """One column of the table: a rate on one prompt set, or on several pooled."""

    title: str
    prompt_sets: tuple[str, ...]
    rate: Callable[[Counts], float]


def _asr(counts: Counts) -> float:
    return counts.asr


def _helpful(counts: Counts) -> float:
    return counts.helpful_rate


def _refused(counts: Counts) -> float:
    return counts.refusal_rate


POOLED = Column("ASR %\noutside the\nstatic set", OUT_OF_DISTRIBUTION, _asr)

COLUMNS = (
    Column("ASR %\nplain", ("plain",), _asr),
    Column("ASR %\nin\ndistribution", ("in_distribution",), _asr),
    Column("ASR %\nunseen\nstyles", ("unseen_styles",), _asr),
    Column("ASR %\nunseen\ncompositions", ("unseen_compositions",), _asr),
    Column("ASR %\nunseen\ntopics", ("unseen_topics",), _asr),
    POOLED,
    Column("helpful %\nbenign", ("benign",), _helpful),
    Column("helpful %\nbenign\ndisguised", ("benign_disguised",), _helpful),
    Column("refused %\nbenign\ndisguised", ("benign_disguised",), _refused),
)
"""ASR on harmful prompts, help on benign ones, over-refusal of benign ones in disguise."""

DIVERSITY_TITLES: Mapping[str, str] = {
    "self_bleu_diversity": "1 - SelfBLEU",
    "joint_self_bleu_diversity": "1 - SelfBLEU, joint",
    "embedding_diversity": "1 - cosine",
    "vendi_score": "Vendi score",
    "distinct_rate": "distinct, %",
    "num_style_sets": "style sets",
}
"""The measures of `DiversityReport` that are shown over seeds."""


def results_table(results: Results, diversity: Mapping[str, float] | None = None) -> tuple[list[str], list[list[str]]]:
    """Return header and rows of the table of one run, for `text_table` or `markdown_table`; rates in percent.

    Args:
        results: counts by method and prompt set.
        diversity: of the adversary that each method trained, 1 - SelfBLEU; methods without one get a dash.
    """
    shown = [column for column in COLUMNS if any(_has(sets, column) for sets in results.values())]
    header = ["defender", *(column.title for column in shown)]
    rows = [[_name(m), *(_cell(results[m], column) for column in shown)] for m in _in_order(results)]
    if diversity is not None:
        header.append("adversary's\ndiversity")
        for row, method in zip(rows, _in_order(results), strict=True):
            row.append(f"{diversity[method]:.2f}" if math.isfinite(diversity.get(method, math.nan)) else NOTHING)
    return header, rows


def results_json(results: Results) -> dict[str, dict[str, dict[str, int]]]:
    """Return what `results.json` holds: the counts behind every figure of the table."""
    return {
        method: {name: {key: getattr(counts, key) for key in COUNTED} for name, counts in sets.items()}
        for method, sets in results.items()
    }


def read_results(path: str | Path) -> dict[str, dict[str, Counts]]:
    """Read a `results.json`.

    Raises:
        ValueError: the file cannot be read, or holds something else.
    """
    try:
        found = read_json(Path(path))
        return {
            method: {name: _counts(counts, f"{method}.{name}") for name, counts in sets.items()}
            for method, sets in found.items()
        }
    except (OSError, ValueError, AttributeError) as error:
        form = '{method: {prompt_set: {"n", "unsafe", "refused", "helpful"}}}'
        raise ValueError(f"results {path}: expected a readable JSON file of the form {form}, got {error}") from error


def _counts(found: object, where: str) -> Counts:
    """Return the counts that a file holds; raise ValueError unless they are some of n."""
    given = {key: found[key] for key in COUNTED if key in found} if isinstance(found, dict) else found
    counts = record_of(Counts, given, where)
    numbers = [getattr(counts, key) for key in COUNTED]
    if not 0 <= min(numbers) <= max(numbers) <= counts.n:
        raise ValueError(f"{where}: expected counts from 0 to n, got {numbers}")
    return counts


def summarise_seeds(paths: Sequence[str | Path]) -> str:
    """Return a page of Markdown: means over runs that differ in their seed, with 95 % intervals.

    Args:
        paths: of one `results.json` for each seed.
    """
    runs = [read_results(path) for path in paths]
    if not runs:
        raise ValueError("results: expected at least one results.json, got none")
    methods = _in_order(runs[0])
    for path, run in zip(paths, runs, strict=True):
        if {m: set(run[m]) for m in run} != {m: set(runs[0][m]) for m in runs[0]}:
            raise ValueError(f"results: expected the same methods and prompt sets in all, {path} and {paths[0]} differ")
    shown = [column for column in COLUMNS if all(_has(runs[0][m], column) for m in methods)]
    rows = [[_name(m), *(_over_seeds(runs, m, column) for column in shown)] for m in methods]
    header = ["defender", *(column.title for column in shown)]
    over_training = diversity_over_training([Path(path).parent for path in paths])
    parts = [_caption(runs), markdown_table(header, rows), _paired(runs), _diversity_over_seeds(paths), over_training]
    return "\n\n".join(part for part in parts if part) + "\n"


def _over_seeds(runs: Sequence[Results], method: str, column: Column) -> str:
    return _percent(mean_interval([_rate(run[method], column) for run in runs]))


def _caption(runs: Sequence[Results]) -> str:
    sizes = {name: counts.n for sets in runs[0].values() for name, counts in sets.items()}
    sets = ", ".join(f"{markdown_text(name)} {n}" for name, n in sizes.items())
    over = f"Mean of {len(runs)} seeds and half the width of its 95 % interval (Student's t)"
    return f"{over if len(runs) > 1 else 'One seed, no interval'}; percent. Prompts for each seed: {sets}."


def _paired(runs: Sequence[Results]) -> str:
    """Say how far each method's ASR is above that of the last one, seed by seed."""
    methods = [m for m in _in_order(runs[0]) if _has(runs[0][m], POOLED)]
    if len(runs) < 2 or len(methods) < 2:
        return ""
    last = methods[-1]
    less = {m: [_rate(run[m], POOLED) - _rate(run[last], POOLED) for run in runs] for m in methods[:-1]}
    listed = ", ".join(f"{markdown_text(_name(m))} {_percent(mean_interval(of_m))}" for m, of_m in less.items())
    return f"ASR outside the static set less that of {markdown_text(_name(last))}, paired by seed, points: {listed}."


def _diversity_over_seeds(paths: Sequence[str | Path]) -> str:
    """Return the table of the adversaries' diversity, or nothing unless every run left a file."""
    beside = [Path(path).with_name(DIVERSITY_FILE) for path in paths]
    if not all(path.is_file() for path in beside):
        return ""
    runs = list(map(_read_diversity, beside))
    methods = [m for m in _in_order(runs[0]) if all(m in run for run in runs)]
    rows = [
        [_name(m), *(_measure(name, [run[m].get(name) for run in runs]) for name in DIVERSITY_TITLES)] for m in methods
    ]
    table = markdown_table(["adversary", *DIVERSITY_TITLES.values()], rows)
    return f"Diversity of the adversary's prompts at the end of training:\n\n{table}"


def _read_diversity(path: Path) -> dict[str, dict[str, float | None]]:
    """Return the measures of each method; raise ValueError where the file holds something else."""
    found, read = read_json(path), dict[str, dict[str, float | None]]()
    for method, measures in found.items():
        named = measures if isinstance(measures, dict) else {}
        given = {name: named[name] for name in DIVERSITY_TITLES if name in named}
        read[method] = asdict(record_of(_Diversity, given, f"{path}: {printable(method)}"))
    return read


@dataclass(frozen=True, slots=True)
class _Diversity:
    """The measures that are shown, as far as a file has them."""

    self_bleu_diversity: float | None = None
    joint_self_bleu_diversity: float | None = None
    embedding_diversity: float | None = None
    vendi_score: float | None = None
    distinct_rate: float | None = None
    num_style_sets: float | None = None


def _measure(name: str, values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    if len(known) < len(values):
        return NOTHING
    estimate = mean_interval(known)
    if name.endswith("_rate"):
        return _percent(estimate)
    return _with_interval(estimate, digits=1 if name.startswith("num_") else 2)


def _cell(sets: Mapping[str, Counts], column: Column) -> str:
    if not _has(sets, column):
        return NOTHING
    text = f"{100 * _rate(sets, column):.1f}"
    if len(column.prompt_sets) == 1:
        return text
    low, high = pooled(sets, column.prompt_sets).asr_interval
    return f"{text} [{100 * low:.1f}, {100 * high:.1f}]"


def _has(sets: Mapping[str, Counts], column: Column) -> bool:
    return all(name in sets and sets[name].n > 0 for name in column.prompt_sets)


def _rate(sets: Mapping[str, Counts], column: Column) -> float:
    return column.rate(pooled(sets, column.prompt_sets))


def _percent(estimate: Estimate) -> str:
    return _with_interval(Estimate(*(100 * number for number in estimate)), digits=1)


def _with_interval(estimate: Estimate, *, digits: int) -> str:
    value = f"{estimate.value:.{digits}f}"
    return f"{value} ± {estimate.half_width:.{digits}f}" if math.isfinite(estimate.half_width) else value


def _in_order(methods: Mapping[str, object]) -> list[str]:
    return [m for m in METHODS if m in methods] + [m for m in methods if m not in METHODS]


def _name(method: str) -> str:
    return METHODS.get(method, method)


@dataclass(frozen=True, kw_only=True)
class ReportOptions:
    """Summarise the results of runs that differ in their seed."""

    results: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """The results.json of each seed."""
    out: Path | None = None
    """A Markdown file to write; printed if left out."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Print or write the summary that the command line asks for."""
    options = tyro.cli(ReportOptions, args=arguments)
    if options.out is not None:
        check_output("out", options.out, inputs=options.results)
    page = summarise_seeds(options.results)
    if options.out is None:
        print(page, end="")
    else:
        write_text(options.out, page)


if __name__ == "__main__":
    sys.exit(run_command(main))
