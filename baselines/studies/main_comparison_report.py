"""What the main comparison shows: means over seeds with intervals, paired differences, and arms races with bands."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import cycle
from pathlib import Path

import numpy as np
from matplotlib.ticker import MaxNLocator, PercentFormatter
from numpy.typing import NDArray

from ..evaluation.intervals import Estimate, mean_interval
from ..evaluation.paired import PairedTest, holm, paired_interval, paired_permutation_test, paired_tests
from ..reporting.plots import COLOURS, _save
from ..reporting.tables import markdown_table
from ..training.files import write_json, write_text
from .arms_race import ArmsRace, read_race
from .arms_race_plots import panels
from .ciphers import ATTACKERS, METHODS, Method, learning
from .ciphers_measures import DefenderMeasures, read_measures
from .ciphers_tables import ANSWERED, ATTACKED, DEFENDED, VALUES, Column, Table
from .matchups import read_matchups

MATCHUPS_FOLDER = "attackers"
REFERENCE = "paraphrase"
"""What all others are compared with: as much training on an author's prompts, and nobody searches."""
COMPARED = (
    "defended",
    "defended_tail",
    "defended_two",
    "defended_worst_style",
    "asr_worst_style",
    "any_of_two",
    "defended_unseen",
    "benign_refused",
)
"""The measures of which paired differences are shown."""
HEADLINE = "defended"
LEVEL = 0.05


@dataclass(frozen=True)
class SeedResults:
    """What was measured of one seed, by the name of the method."""

    measures: Mapping[str, DefenderMeasures]
    races: Mapping[str, ArmsRace]
    attacks: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None
    """Of every attacker on every defender of `METHODS`, as `read_matchups` returns it; None: they have not met."""


def read_seed(folder: Path, methods: Mapping[str, Method]) -> SeedResults:
    """Read what a seed's runs have left."""
    return SeedResults(
        {name: read_measures(folder / f"{name}_measures") for name in methods},
        {name: read_race(folder / f"{name}_race") for name in learning(methods)},
        read_matchups(folder / MATCHUPS_FOLDER) if (folder / MATCHUPS_FOLDER).is_dir() else None,
    )


def write_report(out: Path, results: Mapping[int, SeedResults], methods: Mapping[str, Method]) -> str:
    """Write `results.json`, `table.md` and `arms_race.png`; return the page.

    Args:
        out: the study's folder.
        results: by seed.
        methods: by name.
    """
    write_json(
        out / "results.json",
        {
            f"seed{seed}": {name: asdict(found) for name, found in of_seed.measures.items()}
            for seed, of_seed in results.items()
        },
    )
    runs = list(results.values())
    page = comparison_page(runs, methods)
    write_text(out / "table.md", page)
    if runs[0].races:
        plot_bands({methods[name].title: [run.races[name] for run in runs] for name in runs[0].races}, out)
    return page


def comparison_page(runs: Sequence[SeedResults], methods: Mapping[str, Method]) -> str:
    """Return all tables as a page of Markdown."""
    over = f"Means of {len(runs)} seeds ± half of the 95 % interval (Student's t); shares in percent."
    unseen = (
        "No method is trained on unseen topics; on rare styles only the ceiling is, one at a time, and who meets an "
        "adversary that finds them."
    )
    parts = [f"{over} {unseen}"]
    for columns in (DEFENDED, ATTACKED, ANSWERED, VALUES):
        parts.append(markdown_table(*means_table(runs, methods, columns)))
    if len(runs) > 1:
        title = methods[reference_of(methods)].title
        parts.append(
            f"Differences from {title}, paired by seed, with 95 % intervals, and p-values of the sign-flip test "
            f"corrected by Holm for the {len(methods) - 1} methods:"
        )
        parts.append(markdown_table(*difference_table(runs, methods)))
        parts.append(pairs_line(runs, methods))
    if runs[0].races:
        parts += ["Arms races, attack success:", markdown_table(*races_table(runs, methods))]
    if all(run.attacks is not None for run in runs):
        parts += ["Attackers against defenders, attack success:", markdown_table(*attacks_table(runs, 0))]
        parts += ["The best of an attacker's tries at each request:", markdown_table(*attacks_table(runs, 1))]
        if len(runs) > 1:
            parts += [
                "Differences in the best of the tries, paired by seed, p-values corrected by Holm for the defenders:",
                markdown_table(*attack_differences(runs)),
            ]
    return "\n\n".join(parts) + "\n"


def reference_of(methods: Mapping[str, Method]) -> str:
    """Return what the others are compared with: Paraphrase, or the first where that is not among them."""
    return REFERENCE if REFERENCE in methods else next(iter(methods))


def scores(runs: Sequence[SeedResults], name: str, measure: str) -> NDArray[np.float64]:
    """Return one measure of one method, (seeds, 1)."""
    return np.array([[float(getattr(run.measures[name], measure))] for run in runs])


def means_table(runs: Sequence[SeedResults], methods: Mapping[str, Method], columns: Sequence[Column]) -> Table:
    """Return means over seeds, a row for each method."""
    rows = [
        [
            method.title,
            *(_shown(mean_interval(scores(runs, name, c.measure).ravel().tolist()), c.is_share) for c in columns),
        ]
        for name, method in methods.items()
    ]
    return ["defender", *(column.title for column in columns)], rows


def difference_table(runs: Sequence[SeedResults], methods: Mapping[str, Method]) -> Table:
    """Return how far each method is above the reference, paired by seed; p-values corrected within each measure."""
    base = reference_of(methods)
    others = [name for name in methods if name != base]
    cells: dict[str, list[str]] = {name: [methods[name].title] for name in others}
    for measure in COMPARED:
        reference = scores(runs, base, measure)
        p_values = [
            paired_permutation_test(scores(runs, name, measure), reference, flip="seeds", num_resamples=RESAMPLES)
            for name in others
        ]
        for name, p_value in zip(others, holm(p_values).tolist(), strict=True):
            estimate = paired_interval(scores(runs, name, measure), reference)
            cells[name].append(f"{_shown(estimate, is_share=True)} (p {p_value:.3f})")
    return ["defender", *(measure.replace("_", " ") for measure in COMPARED)], list(cells.values())


RESAMPLES = 2**14
"""Choices of signs that are tried at most: all of them up to 14 seeds."""


def headline_tests(runs: Sequence[SeedResults], methods: Mapping[str, Method]) -> list[PairedTest]:
    """Return the tests of every pair of methods in `defended`."""
    of_methods = {method.title: scores(runs, name, HEADLINE) for name, method in methods.items()}
    return paired_tests(of_methods, flip="seeds", num_resamples=RESAMPLES)


def pairs_line(runs: Sequence[SeedResults], methods: Mapping[str, Method]) -> str:
    """Say how many pairs of methods differ in `defended`, and which do not."""
    tests = headline_tests(runs, methods)
    same = [test for test in tests if test.difference.low <= 0 <= test.difference.high]
    named = ", ".join(f"{test.first} and {test.second}" for test in same) or "none"
    corrected = sum(test.corrected < LEVEL for test in tests)
    return (
        f"Of {len(tests)} pairs of methods {len(tests) - len(same)} differ in {HEADLINE}: the interval of their paired "
        f"difference excludes 0; {corrected} do after Holm's correction for all pairs (p < {LEVEL}). "
        f"Not apart: {named}."
    )


def races_table(runs: Sequence[SeedResults], methods: Mapping[str, Method]) -> Table:
    """Return the arms races in short, means over seeds."""
    header = [
        "adversary",
        "new attack on\nnew defence, mean",
        "old attack on\nnew defence, mean",
        "last attack on\nfirst defender",
        "all attacks on\nlast defender, mean",
        "came back,\nmean",
        "came back,\nmost",
        "styles it\nsucceeded in",
    ]
    rows = []
    for name in runs[0].races:
        races = [run.races[name] for run in runs]
        shares = [
            [race.after_attack[1:].mean() for race in races],
            [race.after_defence.mean() for race in races],
            [race.on_first[-1] for race in races],
            [race.on_last.mean() for race in races],
            [race.forgetting.mean() for race in races],
            [race.forgetting.max() for race in races],
        ]
        num_found = [sum(rank > 0 for ranks in race.found for rank in ranks) for race in races]
        found = mean_interval(num_found)
        rows.append(
            [
                methods[name].title,
                *(_shown(mean_interval(of_seeds), is_share=True) for of_seeds in shares),
                _with_half_width(found, 1.0, digits=1),
            ]
        )
    return header, rows


def attacks_table(runs: Sequence[SeedResults], which: int) -> Table:
    """Return attack success of every attacker on every defender: of single attempts (0), or of the best (1)."""
    found = np.array([run.attacks[which] for run in runs if run.attacks is not None])  # (seeds, attackers, defenders)
    rows = [
        [name, *(_shown(mean_interval(of_pair.tolist()), is_share=True) for of_pair in of_attacker.T)]
        for name, of_attacker in zip(attacker_titles(), found.swapaxes(0, 1), strict=True)
    ]
    return ["attacker", *(method.title for method in METHODS.values())], rows


def attack_differences(runs: Sequence[SeedResults]) -> Table:
    """Return how much more the best of one attacker's tries wins than another's, paired by seed, by defender."""
    found = np.array([run.attacks[1] for run in runs if run.attacks is not None])  # (seeds, attackers, defenders)
    of_attacker = dict(zip(attacker_titles(), found.swapaxes(0, 1), strict=True))
    rows = []
    for first, second in (("attack", "gpo"), ("attack_div", "gpo_div"), ("gpo", "gpo_div")):
        control, learnt = ({**ATTACKERS, **METHODS}[name].title for name in (first, second))
        pairs = [
            (of_attacker[learnt][:, [column]], of_attacker[control][:, [column]]) for column in range(found.shape[2])
        ]
        tested = holm([paired_permutation_test(*pair, flip="seeds", num_resamples=RESAMPLES) for pair in pairs])
        cells = [
            f"{_shown(paired_interval(*pair), is_share=True)} (p {p:.3f})"
            for pair, p in zip(pairs, tested.tolist(), strict=True)
        ]
        rows.append([f"{learnt} less {control}", *cells])
    return ["attacker", *(method.title for method in METHODS.values())], rows


def attacker_titles() -> list[str]:
    """Return the attackers in the order of a seed's matchups."""
    learnt = [METHODS[name].title for name in learning(METHODS)]
    return ["requests as dealt", "base model (Paraphrase)", *(a.title for a in ATTACKERS.values()), *learnt]


def plot_bands(races: Mapping[str, Sequence[ArmsRace]], out: Path) -> None:
    """Draw the arms races' means over seeds, round by round, with bands of 95 % (Student's t).

    Args:
        races: those of all seeds by the title of the method.
        out: the folder of `arms_race.png`.
    """
    shown: dict[str, Callable[[ArmsRace], NDArray[np.float64]]] = {
        "new attack on new defence": lambda race: race.after_attack,
        "the same attack after the next defence": lambda race: race.after_defence,
        "on the first defender (SFT)": lambda race: race.on_first,
        "on the last defender": lambda race: race.on_last,
    }
    figure, drawn = panels(races, "Arms race: attack success, mean and 95 % band over seeds", 5.4, 4.4)
    for axes, of_method in zip(drawn, races.values(), strict=True):
        for (label, series), colour in zip(shown.items(), cycle(COLOURS)):
            values = np.array([series(race) for race in of_method])
            rounds = np.arange(values.shape[1])
            estimates = [mean_interval(column.tolist()) for column in values.T]
            axes.plot(rounds, [e.value for e in estimates], "o-", label=label, color=colour, markersize=4)
            if len(values) > 1:
                low, high = zip(*((e.low, e.high) for e in estimates), strict=True)
                axes.fill_between(rounds, low, high, color=colour, alpha=0.2, linewidth=0)
        axes.set_ylim(-0.02, 1.02)
        axes.yaxis.set_major_formatter(PercentFormatter(xmax=1.0, decimals=0))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlabel("round")
    drawn[-1].legend(loc="upper left", bbox_to_anchor=(1.01, 1.0), frameon=False, borderaxespad=0.0)
    _save(figure, out / "arms_race.png")


def _shown(estimate: Estimate, is_share: bool) -> str:
    return _with_half_width(estimate, 100.0, digits=1) if is_share else _with_half_width(estimate, 1.0, digits=3)


def _with_half_width(estimate: Estimate, scale: float, *, digits: int) -> str:
    value = f"{scale * estimate.value:.{digits}f}"
    half = scale * estimate.half_width
    return f"{value} ± {half:.{digits}f}" if np.isfinite(half) else value
