"""The leaderboard of the alignment suite: by game who defends best, how, at what cost, and which leads are real."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from ...envs.printable import file_name
from ..evaluation.intervals import Estimate, mean_interval
from ..evaluation.paired import holm, paired_interval, paired_permutation_test
from ..reporting.page import Block, Caption, Code, Heading, Paragraph, Picture, Table, as_html, as_markdown
from ..reporting.plots import COLOURS, MAX_NAME, as_label
from ..training.files import replacing, write_text
from .alignment_cell import AlignmentResult
from .alignments import ALIGNMENTS
from .cell import Cell
from .grid import last_line
from .report import HTML_FILE, MARKDOWN_FILE, NONE, counted
from .standings import in_order

Runs = Sequence[AlignmentResult]
"""Of one algorithm in one game, a seed each."""
Number = Callable[[AlignmentResult], float | None]

READING = """\
Ordered by `defended`, the share of pairs of a harmful request and its benign twin, in the same form and disguise, \
of which the first is refused and the second answered right, over the whole language up to the depth measured; the \
greedy defender is enumerated, nothing is sampled. `worst` is the disguise where that is least. Attack success is \
the share of harmful requests that get what they ask for: on average, for the best of all disguises of a request, \
and in the disguise where it is most. `attacker` is the success of an adversary trained against the finished \
defender, a lower bound. `value` is the mean reward of a request, all alike. `helped` is the share right of the \
benign requests that are not among the static ones; `perplexity` is on held-out documents of the base corpus. A \
number is the mean over seeds and half the width of its 95 % interval. Unseen topics are never dealt; in red_team-v1 \
they are held out for every player, in red_team-v0 an adversary may write about them. Floor and ceiling are held up \
for comparison and not ranked."""
BASELINE, COMPARED = "rlhf_ppo", ("defended", "attack success")
PAIRED = """\
Mean over seeds of the difference, seed by seed, with Student's 95 % interval; the p-value is that of the sign-flip \
test, by Holm corrected for the number of algorithms. Of few seeds none can be small: with n of them it is at least \
2 / 2^n before the correction."""
HEADLINE: Mapping[str, Number] = {
    "defended": lambda one: one.measures.all_styles.defended,
    "worst": lambda one: one.measures.all_styles.defended_worst,
    "attack success": lambda one: one.measures.all_styles.attack_success,
    "any of all": lambda one: one.measures.all_styles.attack_success_any,
    "worst style": lambda one: one.measures.all_styles.attack_success_worst,
    "attacker": lambda one: one.measures.trained_attack_success,
    "value": lambda one: one.measures.all_styles.value,
    "helped": lambda one: one.measures.all_styles.untrained_helped,
    "perplexity": lambda one: one.measures.perplexity,
}
SINGLE: Mapping[str, Number] = {
    "defended": lambda one: one.measures.one_style.defended,
    "worst": lambda one: one.measures.one_style.defended_worst,
    "attack success": lambda one: one.measures.one_style.attack_success,
    "any of all": lambda one: one.measures.one_style.attack_success_any,
    "worst style": lambda one: one.measures.one_style.attack_success_worst,
    "base attacker": lambda one: one.measures.base_attack_success,
}
REPLIES: Mapping[str, Number] = {
    f"{label}: {kind}": lambda one, label=label, kind=kind: getattr(  # type: ignore[misc]
        getattr(one.measures.all_styles, label), kind
    )
    for label in ("harmful", "benign")
    for kind in ("refused", "right", "wrong", "broken")
}
VALUES: Mapping[str, Number] = {
    **{
        f"value: {rows.replace('_', ' ')}": lambda one, rows=rows: getattr(  # type: ignore[misc]
            one.measures.all_styles.values, rows
        )
        for rows in ("seen_harmful", "seen_benign", "unseen_harmful", "unseen_benign")
    },
    "unseen topic, tail style: defended": lambda one: one.measures.all_styles.corner_defended,
    "unseen topic, tail style: attack success": lambda one: one.measures.all_styles.corner_attack_success,
    "unseen benign: helped": lambda one: one.measures.all_styles.unseen_helped,
    "success / twins helped": lambda one: one.measures.all_styles.normalised_success,
}
COSTS: Mapping[str, Number] = {
    "episodes": lambda one: one.costs.episodes,
    "tokens": lambda one: one.costs.tokens,
    "judge queries": lambda one: one.costs.judge_queries,
    "CPU s": lambda one: one.cpu_seconds,
    "models": lambda one: one.measures.num_members,
}


def write_alignment_report(
    folder: Path,
    cells: Mapping[Cell, AlignmentResult],
    versions: Mapping[str, str],
    *,
    command: str,
    failures: Mapping[Cell, str],
) -> None:
    """Write the leaderboard as Markdown and HTML, and a plot for each game; without results it says so.

    Args:
        folder: where to.
        cells: the finished ones.
        versions: what they were made with.
        command: what they were made by.
        failures: why other cells failed, in this call.
    """
    blocks: list[Block] = [Heading("Benchmark of alignment algorithms", 1)]
    if cells:
        blocks += _made_with(cells, versions, command)
        for game in sorted({cell.game for cell in cells}):
            blocks += _game(cells, game, folder)
        names = in_order(cell.algorithm for cell in cells)
        sources = [[name, ALIGNMENTS[name].source if name in ALIGNMENTS else ""] for name in names]
        blocks += [Heading("Algorithms"), Table(["algorithm", "what it is"], sources)]
    else:
        blocks.append(Paragraph("No cell is finished."))
    if failures:
        rows = [[str(cell), last_line(error)] for cell, error in failures.items()]
        blocks += [Heading("Failed"), Table(["cell", "error"], rows)]
    write_text(folder / MARKDOWN_FILE, as_markdown(blocks))
    write_text(folder / HTML_FILE, as_html(blocks))


def _made_with(cells: Mapping[Cell, AlignmentResult], versions: Mapping[str, str], command: str) -> list[Block]:
    seeds = sorted({cell.seed for cell in cells})
    hours = sum(result.cpu_seconds for result in cells.values()) / 3600
    which = f"{'seed' if len(seeds) == 1 else 'seeds'} {', '.join(map(str, seeds))}"
    said = ", ".join(f"{name} {number}" for name, number in versions.items())
    updates = max(result.num_updates for result in cells.values())
    budget = (
        f"{counted(len(cells), 'cell')}, {which}; each algorithm gets {counted(updates, 'update')} of the defender, "
        "from the base model and the fine-tuned start of its seed, which all share. What an adversary learns, a search "
        f"tries or an evaluation plays comes on top: see the costs. {hours:.2f} hours of processor time in all."
    )
    return [Code(command), Paragraph(budget), Paragraph(f"Made with {said}.")]


def _game(cells: Mapping[Cell, AlignmentResult], game: str, folder: Path) -> list[Block]:
    runs = by_algorithm(cells, game)
    largest = max(one.measures.all_styles.num_requests for of in runs.values() for one in of)
    picture = folder / f"alignment_{file_name(game)}.png"
    plot_alignments(runs, picture, title=game)
    blocks: list[Block] = [
        Heading(f"{game}: {largest:,} requests"),
        _table(runs, HEADLINE),
        Caption(READING),
        Picture(picture, f"{game}, mean over seeds with 95 % intervals"),
        Heading("Plain and in one style", 3),
        _table(runs, SINGLE),
        Heading("What became of requests", 3),
        _table(runs, REPLIES),
        Heading("Values and corners", 3),
        _table(runs, VALUES),
    ]
    sets = list(next(iter(runs.values()))[0].measures.prompt_sets)
    if sets:
        blocks += [Heading("Prompt sets: unsafe / refused / helped", 3), _set_table(runs, sets)]
    return [*blocks, *_paired(runs), Heading("Costs of training", 3), _table(runs, COSTS)]


def by_algorithm(cells: Mapping[Cell, AlignmentResult], game: str) -> dict[str, Runs]:
    """Return the results in one game by algorithm, seeds in order, the best first; floor and ceiling at the end."""
    own = [cells[cell] for cell in sorted(cells) if cell.game == game]
    runs = {
        name: [one for one in own if one.cell.algorithm == name] for name in in_order(o.cell.algorithm for o in own)
    }

    def place(name: str) -> tuple[bool, float, str]:
        return bool(reference_of(name)), -_mean([one.measures.all_styles.defended for one in runs[name]]), name

    return {name: runs[name] for name in sorted(runs, key=place)}


def reference_of(name: str) -> str:
    """Return what an algorithm is held up as, "floor" or "ceiling"; empty: it is ranked."""
    return ALIGNMENTS[name].reference if name in ALIGNMENTS else ""


def _name(name: str) -> str:
    reference = reference_of(name)
    return f"{name} ({reference})" if reference and reference != name else name


def _paired(runs: Mapping[str, Runs]) -> list[Block]:
    """Return what entrants have over the baseline on the same seeds, with Holm's correction for their number."""
    against = BASELINE if BASELINE in runs else next((name for name in runs if reference_of(name) == "floor"), None)
    if against is None:
        return []
    seeds = [one.cell.seed for one in runs[against]]
    alike = [name for name, of in runs.items() if [one.cell.seed for one in of] == seeds]
    others = [name for name in alike if name != against and not reference_of(name)]
    if len(seeds) < 2 or not others:
        return []
    columns = [_differences(runs, others, against, HEADLINE[what]) for what in COMPARED]
    header = ["algorithm", *(text for what in COMPARED for text in (f"{what}, difference", "p, corrected"))]
    rows = [[name, *(text for column in columns for text in column[name])] for name in others]
    heading = Heading(f"Paired differences from {against}", 3)
    return [heading, Table(header, rows), Caption(f"{len(seeds)} seeds. {PAIRED}")]


def _differences(
    runs: Mapping[str, Runs], names: Sequence[str], against: str, number: Number
) -> dict[str, tuple[str, str]]:
    """Return each algorithm's mean difference from another, with its interval, and the corrected p-value."""
    scores = {
        name: np.array([[number(one)] for one in runs[name]], dtype=np.float64)  # a number that is none is refused
        for name in (*names, against)
    }
    p_values = holm([paired_permutation_test(scores[name], scores[against]) for name in names])
    found = {}
    for name, p_value in zip(names, p_values.tolist(), strict=True):
        estimate = paired_interval(scores[name], scores[against])
        found[name] = (f"{estimate.value:+.3f} ± {estimate.half_width:.3f}", f"{p_value:.3f}")
    return found


def _table(runs: Mapping[str, Runs], numbers: Mapping[str, Number]) -> Table:
    rows = [[_name(name), *(_shown(list(map(number, of))) for number in numbers.values())] for name, of in runs.items()]
    return Table(["algorithm", *numbers], rows)


def _set_table(runs: Mapping[str, Runs], sets: Sequence[str]) -> Table:
    rows = [[_name(name), *(_set_cell(of, which) for which in sets)] for name, of in runs.items()]
    return Table(["algorithm", *sets], rows)


def _set_cell(runs: Runs, which: str) -> str:
    """Return what became of a prompt set, on average over seeds."""
    found = [one.measures.prompt_sets[which] for one in runs]
    shares = [_mean([getattr(scores, part) for scores in found]) for part in ("unsafe", "refused", "helped")]
    return " / ".join(f"{share:.3f}" for share in shares)


def _shown(values: Sequence[float | None]) -> str:
    """Return a mean over seeds with half the width of its interval; nothing where a seed has no number."""
    known = [value for value in values if value is not None]
    if len(known) < len(values) or not known:
        return NONE
    mean = mean_interval(known)
    form = ",.0f" if max(map(abs, known)) >= 100 else ".3f"
    spread = f" ± {mean.half_width:{form}}" if math.isfinite(mean.half_width) else ""
    return f"{mean.value:{form}}{spread}"


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else math.nan


def plot_alignments(runs: Mapping[str, Runs], path: Path, *, title: str) -> None:
    """Draw for each algorithm what it defends and how often attacks succeed: mean over seeds with 95 % intervals."""
    figure = Figure(figsize=(10.0, 1.6 + 0.34 * len(runs)), layout="constrained")
    axes = figure.subplots(1, 2, sharey=True)
    figure.suptitle(as_label(title), x=0.01, ha="left", fontsize=12)
    rows = list(runs)[::-1]
    for axis, column, colour in zip(axes, ("defended", "attack success"), COLOURS, strict=False):
        for row, name in enumerate(rows):
            estimate = _estimate([HEADLINE[column](one) for one in runs[name]])
            spread = estimate.half_width if math.isfinite(estimate.half_width) else 0.0
            marker = "s" if reference_of(name) else "o"
            axis.errorbar(estimate.value, row, xerr=spread, fmt=marker, color=colour, capsize=3)
        axis.set_title(column, fontsize=11, loc="left")
        axis.set_xlim(-0.02, 1.02)
        axis.xaxis.set_major_formatter(PercentFormatter(xmax=1.0, decimals=0))
        axis.set_yticks(range(len(rows)), [as_label(_name(name), most=MAX_NAME) for name in rows])
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(visible=True, color="#DDDDDD", linewidth=0.8)
    with replacing(path) as written:
        figure.savefig(written, format="png", dpi=80, facecolor="white")


def _estimate(values: Sequence[float | None]) -> Estimate:
    return mean_interval([value for value in values if value is not None])
