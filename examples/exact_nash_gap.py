"""Every learner held to the exact Nash gap: does training bring two language models to an equilibrium?

    python examples/exact_nash_gap.py --seeds 5 --out runs/exact_nash_gap

Micro models learn by PPO self-play, by fictitious play (PPO against the mixture of past opponents) and by GPO (arXiv
2406.10977), beside the exact policy gradient and GPO's theoretical algorithm, which sample nothing. The games are small
enough to enumerate, so that NashConv is computed: of the last iterate, and of the average of all iterates. In two of
them an equilibrium must mix, and theory promises it of averages only: rock-paper-scissors with unequal stakes, and the
tiny red-team game whose defender does not see the intent. Shown the intent, the same game needs no mixing, and the last
iterate may arrive. The dotted line is the bound of GPO's theorem 3.2, with its constants, for exact steps.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import tyro

from duologue.baselines.evaluate.intervals import Estimate, mean_interval
from duologue.baselines.evaluate.tables import markdown_table
from duologue.baselines.exact.curves import plot_nash_conv
from duologue.baselines.exact.gpo_ftrl import GPOFTRL
from duologue.baselines.exact.solver import SolveStep, solve
from duologue.baselines.exact_gap import LEARNERS, ExactGapConfig, theory_bound
from duologue.baselines.files import write_json, write_text
from duologue.baselines.setup import use_threads
from duologue.envs import LanguageGame
from duologue.envs.games.matrix.perturbed_rock_paper_scissors import PerturbedRockPaperScissors
from duologue.envs.games.tiny_red_team import TinyRedTeam
from duologue.envs.tree import GameTree

GAMES: dict[str, LanguageGame[Any]] = {
    "perturbed rock-paper-scissors (mixed)": PerturbedRockPaperScissors(rescale=True),
    "tiny red team, intent hidden (mixed)": TinyRedTeam("hidden"),
    "tiny red team, intent visible (pure)": TinyRedTeam("visible"),
}
"""By name, with the kind of equilibrium that each has; payoffs have a range of 1."""
EXACT = ("exact policy gradient", "GPO-FTRL")
"""Learners that sample nothing: one seed says it all."""


@dataclass(frozen=True, kw_only=True)
class GapOptions:
    """How often, and where to."""

    seeds: int = 5
    """Trainings of each sampled learner in each game."""
    out: Path = Path("runs/exact_nash_gap")
    """The folder of the table, the numbers and the pictures."""
    smoke: bool = False
    """Tiny, in seconds, to see it work."""


def main(options: GapOptions) -> None:
    """Train everything, and print what came of it."""
    use_threads(1)  # the same numbers on any machine
    config = ExactGapConfig(num_updates=4, updates_per_round=2, batch_size=8) if options.smoke else ExactGapConfig()
    num_seeds = min(2, options.seeds) if options.smoke else options.seeds
    started, results, rows = time.monotonic(), {}, []
    for title, game in GAMES.items():
        tree = GameTree(game)
        curves = {name: trained(tree, name, config, 1 if name in EXACT else num_seeds) for name in names()}
        results[title] = curves
        times = range(1, config.num_updates + 1)
        bound = (list(times), [theory_bound(tree, t) for t in times])
        means = {name: [mean_step(steps) for steps in zip(*runs, strict=True)] for name, runs in curves.items()}
        picture = title.partition(" (")[0].replace(",", "").replace(" ", "_").replace("-", "_") + ".png"
        plot_nash_conv(means, options.out / picture, title=title, bound=bound)
        rows += [row(title, name, runs, bound[1][-1]) for name, runs in curves.items()]
        print(f"{title}: {time.monotonic() - started:.0f} s", flush=True)
    header = ["game", "learner", "NashConv, last", "NashConv, average", "bound for averages"]
    table = markdown_table(header, rows)
    write_text(options.out / "table.md", table + "\n")
    write_json(options.out / "results.json", {"config": asdict(config), "games": results})
    print(f"\nAfter {config.num_updates} updates of each player, mean and 95 % interval over seeds:\n\n{table}")


def names() -> list[str]:
    """Return all learners, theory's own last."""
    return [*LEARNERS, "GPO-FTRL"]


def trained(tree: GameTree, name: str, config: ExactGapConfig, num_seeds: int) -> list[list[SolveStep]]:
    """Return the reports of one learner, a list for each seed."""
    if name == "GPO-FTRL":
        return [list(solve(GPOFTRL(tree, num_iterations=config.num_updates), config.num_updates))]
    return [list(LEARNERS[name](tree, replace(config, seed=seed))) for seed in range(num_seeds)]


def mean_step(steps: Sequence[SolveStep]) -> SolveStep:
    """Return the mean of several seeds' reports of the same iteration."""
    last, average = (estimate(steps, which).value for which in ("last", "average"))
    return SolveStep(steps[0].iteration, last, average, None)


def row(title: str, name: str, runs: Sequence[Sequence[SolveStep]], bound: float) -> list[str]:
    """Return a row of the table: where the learner is in the end."""
    final = [steps[-1] for steps in runs]
    cells = [shown(estimate(final, which)) for which in ("last", "average")]
    return [title, name, *cells, f"{bound:.3f}"]


def estimate(steps: Sequence[SolveStep], which: str) -> Estimate:
    """Return mean and interval of "last" or "average" NashConv over seeds."""
    return mean_interval([getattr(step, f"nash_conv_{which}") for step in steps])


def shown(one: Estimate) -> str:
    """Return a number with its interval, if there is more than one seed."""
    return f"{one.value:.3f}" if one.low == float("-inf") else f"{one.value:.3f} ± {one.half_width:.3f}"


if __name__ == "__main__":
    main(tyro.cli(GapOptions, description=__doc__))
