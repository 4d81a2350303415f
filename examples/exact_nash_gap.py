"""Every learner held to the exact Nash gap: does training bring two language models to an equilibrium?

    python examples/exact_nash_gap.py --seeds 5 --out runs/exact_nash_gap

Micro models learn by PPO self-play, by fictitious play (PPO against the mixture of past opponents), by PSRO (PPO
against the equilibrium of the game among past opponents) and by GPO (arXiv 2406.10977), beside the exact policy
gradient and GPO's theoretical algorithm, which sample nothing. The games are small enough to enumerate, so that
NashConv is computed: of the last iterate, and of the average of all iterates. In three of them an equilibrium must mix,
and theory promises it of averages only: matching pennies, rock-paper-scissors with unequal stakes, and the tiny
red-team game whose defender does not see the intent. Shown the intent, the same game needs no mixing, and the last
iterate arrives and stays, where steps shrink with what there is to gain. It is told by the mean over the last fifth of
training, for one update is a snapshot; "away" says in how many of the reports there, of all seeds, NashConv was above
.05 of the payoffs. The dotted line is the bound of GPO's theorem 3.2, with its constants, for exact steps.

With `--learners "averaged GPO" --seeds 10` one learner is tried on more seeds. A second table has the slopes of log
NashConv against log iterations, of these learners and of exact solvers whose rate theory bounds. What one learner came
to in one game is kept in `curves/` and not trained again by the same options.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import tyro

from duologue.baselines.evaluation.intervals import Estimate, mean_interval
from duologue.baselines.reporting.tables import markdown_table
from duologue.baselines.solvers.cfr import CFR
from duologue.baselines.solvers.curves import plot_nash_conv
from duologue.baselines.solvers.fictitious_play import FictitiousPlay
from duologue.baselines.solvers.gpo_ftrl import GPOFTRL
from duologue.baselines.solvers.mirror_descent import MWU
from duologue.baselines.solvers.solver import SolveStep, solve
from duologue.baselines.studies.exact_gap import LEARNERS, ExactGapConfig, last_iterate, log_slope, theory_bound
from duologue.baselines.training.files import write_json, write_text
from duologue.baselines.training.loop import use_threads
from duologue.envs import LanguageGame
from duologue.envs.games.matrix import MatrixGame
from duologue.envs.games.matrix.perturbed_rock_paper_scissors import PerturbedRockPaperScissors
from duologue.envs.games.tiny_red_team import TinyRedTeam
from duologue.envs.tree import GameTree, random_profile

PENNIES = "matching pennies (mixed)"
GAMES: dict[str, LanguageGame[Any]] = {
    PENNIES: MatrixGame([[0.5, -0.5], [-0.5, 0.5]], words_0="heads tails", words_1="heads tails"),
    "perturbed rock-paper-scissors (mixed)": PerturbedRockPaperScissors(rescale=True),
    "tiny red team, intent hidden (mixed)": TinyRedTeam("hidden"),
    "tiny red team, intent visible (pure)": TinyRedTeam("visible"),
}
"""By name, with the kind of equilibrium that each has; payoffs have a range of 1."""
EXACT = ("exact policy gradient", "GPO-FTRL")
"""Learners that sample nothing: one seed says it all. They start from uniform play, which solves matching pennies."""
SOLVERS = {"fictitious play, exact": FictitiousPlay, "CFR, exact": CFR, "MWU, exact": MWU}
RATES = {
    "CFR, exact": "-1/2",
    "MWU, exact": "-1/2",
    "GPO-FTRL": "-1/2",
    ("fictitious play, exact", PENNIES): "-1/2",
    ("fictitious play, exact", "perturbed rock-paper-scissors (mixed)"): "-1/4",
}
"""By learner, or by learner and game: exponents of proved upper bounds for averages.

Fictitious play's is Robinson's (1951), -1 / (rows + columns - 2), in matrix games.
"""
SOLVER_ITERATIONS = 3000
HEADER = (
    "game", "learner", "NashConv, last iterate: mean of the last fifth", "away", "at the end", "NashConv, average",
    "bound for averages",
)  # fmt: skip
SLOPE_HEADER = ("game", "learner", "iterations", "slope, average", "bound's exponent")


@dataclass(frozen=True, kw_only=True)
class GapOptions:
    """How often, and where to."""

    seeds: int = 5
    """Trainings of each sampled learner in each game."""
    out: Path = Path("runs/exact_nash_gap")
    """The folder of the tables, the numbers and the pictures."""
    learners: tuple[str, ...] = ()
    """Out of the table's, such as "PPO self-play"; none: all."""
    smoke: bool = False
    """Tiny, in seconds, to see it work."""


def main(options: GapOptions) -> None:
    """Train everything, and print what came of it."""
    use_threads(1)  # the same numbers on any machine
    config = ExactGapConfig(num_updates=4, updates_per_round=2, batch_size=8) if options.smoke else ExactGapConfig()
    num_seeds = min(2, options.seeds) if options.smoke else options.seeds
    started, results, rows, slopes = time.monotonic(), {}, [], []
    for title, game in GAMES.items():
        tree, tuned = GameTree(game), config_of(title, config)
        curves = {
            name: kept(options.out, tree, title, name, tuned, num_seeds) for name in names(title, options.learners)
        }
        results[title] = curves
        times = range(1, config.num_updates + 1)
        bound = (list(times), [theory_bound(tree, t) for t in times])
        means = {name: [mean_step(steps) for steps in zip(*runs, strict=True)] for name, runs in curves.items()}
        plot_nash_conv(means, options.out / f"{slug(title)}.png", title=title, bound=bound)
        rows += [row(title, name, runs, tree.payoff_range, bound[1][-1]) for name, runs in curves.items()]
        solved = {name: [solver_steps(tree, name, smoke=options.smoke)] for name in SOLVERS}
        slopes += [slope_row(title, name, runs) for name, runs in {**curves, **solved}.items()]
        tables = [markdown_table(*table) for table in ((HEADER, rows), (SLOPE_HEADER, slopes))]
        write_text(options.out / "table.md", "\n\n".join(tables) + "\n")
        write_json(options.out / "results.json", {"config": asdict(config), "games": results})
        print(f"{title}: {time.monotonic() - started:.0f} s", flush=True)
    print(f"\nAfter {config.num_updates} updates of each player, mean and 95 % interval over seeds:\n\n{tables[0]}")
    print("\nSlope of log NashConv against log iterations, from a tenth of the run on (solvers: a hundredth):\n")
    print(tables[1])


def names(title: str, chosen: Sequence[str] = ()) -> list[str]:
    """Return the learners of a game, theory's own last; of those that were chosen, if any were.

    Raises:
        ValueError: there is no learner of that name.
    """
    every = (*LEARNERS, "GPO-FTRL")
    if unknown := [name for name in chosen if name not in every]:
        raise ValueError(f"learners: expected names among {', '.join(every)}, got {unknown[0]!r}")
    return [name for name in chosen or every if not (title == PENNIES and name in EXACT)]


def slug(title: str) -> str:
    """Return a title, without the kind of equilibrium, as the name of a file."""
    return title.partition(" (")[0].replace(",", "").replace(" ", "_").replace("-", "_")


def config_of(title: str, config: ExactGapConfig) -> ExactGapConfig:
    """Return how players learn in a game: in matching pennies without KL to the start, which is the equilibrium."""
    return replace(config, ppo=replace(config.ppo, kl_coef=0.0)) if title == PENNIES else config


def kept(
    out: Path, tree: GameTree, title: str, name: str, config: ExactGapConfig, num_seeds: int
) -> list[list[SolveStep]]:
    """Return the reports of one learner, a list for each seed: those on disk, if the options are the same."""
    path = out / "curves" / slug(title) / f"{name.replace(' ', '_')}.json"
    seeds = 1 if name in EXACT else num_seeds
    asked = {"config": asdict(config), "seeds": seeds}
    found = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    if {key: found.get(key) for key in asked} != asked:
        found = {**asked, "runs": [[asdict(step) for step in run] for run in trained(tree, name, config, seeds)]}
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, found)
    return [[SolveStep(**step) for step in run] for run in found["runs"]]


def trained(tree: GameTree, name: str, config: ExactGapConfig, num_seeds: int) -> list[list[SolveStep]]:
    """Return the reports of one learner, a list for each seed."""
    if name == "GPO-FTRL":
        return [list(solve(GPOFTRL(tree, num_iterations=config.num_updates), config.num_updates))]
    return [list(LEARNERS[name](tree, replace(config, seed=seed))) for seed in range(num_seeds)]


def solver_steps(tree: GameTree, name: str, *, smoke: bool) -> list[SolveStep]:
    """Return the reports of an exact solver, from random play, at iterations about even in their logarithms."""
    num_iterations, start = 100 if smoke else SOLVER_ITERATIONS, random_profile(tree, np.random.default_rng(0))
    wanted = set(np.geomspace(num_iterations / 100, num_iterations, 60).round().astype(int).tolist())
    steps = solve(SOLVERS[name](tree, initial_profile=start), num_iterations)
    return [step for step in steps if step.iteration in wanted]


def mean_step(steps: Sequence[SolveStep]) -> SolveStep:
    """Return the mean of several seeds' reports of the same iteration."""
    last, average = (estimate(steps, which).value for which in ("last", "average"))
    return SolveStep(steps[0].iteration, last, average, None)


def row(title: str, name: str, runs: Sequence[Sequence[SolveStep]], payoff_range: float, bound: float) -> list[str]:
    """Return a row of the table: where the learner is by the end, and in how many late reports it was away."""
    told = [last_iterate(steps, payoff_range=payoff_range) for steps in runs]
    away = f"{sum(one.num_excursions for one in told)} of {sum(one.num_reports for one in told)}"
    late, end = (mean_interval([getattr(one, which) for one in told]) for which in ("late", "end"))
    average = estimate([steps[-1] for steps in runs], "average")
    return [title, name, shown(late), away, shown(end), shown(average), f"{bound:.3f}"]


def slope_row(title: str, name: str, runs: Sequence[Sequence[SolveStep]]) -> list[str]:
    """Return a row of the second table: how fast the average arrives, and what is proved."""
    end = runs[0][-1].iteration
    slopes = [log_slope(steps, since=end // 100 if name in SOLVERS else end // 10) for steps in runs]
    rates: Mapping[Any, str] = RATES
    proved = rates.get(name, rates.get((name, title), "none"))
    slope = "-" if np.isnan(slopes).any() else shown(mean_interval(slopes), digits=2)  # too few points for a line
    return [title, name, str(end), slope, proved]


def estimate(steps: Sequence[SolveStep], which: str) -> Estimate:
    """Return mean and interval of "last" or "average" NashConv over seeds."""
    return mean_interval([getattr(step, f"nash_conv_{which}") for step in steps])


def shown(mean: Estimate, *, digits: int = 3) -> str:
    """Return a number with its interval, if there is more than one seed."""
    if math.isnan(mean.value):
        return "-"
    number = f"{mean.value:.{digits}f}"
    return number if mean.low == float("-inf") else f"{number} ± {mean.half_width:.{digits}f}"


if __name__ == "__main__":
    main(tyro.cli(GapOptions, description=__doc__))
