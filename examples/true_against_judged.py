"""True against judged: attack success as a judge reports it beside the true one, while both players learn.

    python examples/true_against_judged.py --out runs/true_against_judged --seeds 10

GPO (arXiv 2406.10977) trains adversary and defender, paid by a judge: the oracle, learned judges of about 80 to 99 %
accuracy, a vote of three, one that is retrained on fresh labels after every round, and a third role that learns to
judge beside them. After each round judge and oracle look at the same exchanges. The tables, `table.md`, say what the
judge reports and what is true, how good the judge is where training goes and on held-out exchanges, and what is
recovered by corrections (Rogan and Gladen, 1978) and by a second judge that pays nobody; `true_judged.png` has the
curves, and `results.json` the counts.

Call the same command again after a kill: it goes on where it stopped.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import tyro

from duologue.baselines.studies.true_judged import TrueJudgedConfig, true_judged
from duologue.baselines.studies.true_judged_judges import JUDGES, JudgeName


@dataclass(frozen=True, kw_only=True)
class JudgedOptions:
    """How often, against whom, and where to."""

    seeds: int = 10
    """Trainings against each judge."""
    judges: tuple[JudgeName, ...] = JUDGES
    """Who pays; the oracle's run is what the others are held against."""
    game: str = "red_team-v0"
    """A red-team game in generated language, whose truth is known."""
    out: Path = Path("runs/true_against_judged")
    """The folder of all runs, the tables and the picture."""
    num_processes: int = 2
    """How many seeds train at the same time; the results are the same for any number."""
    smoke: bool = False
    """Two judges, one seed and hardly any training, to see it work."""


def main(options: JudgedOptions) -> None:
    """Train what is missing, and print the tables."""
    config = TrueJudgedConfig(
        out=options.out,
        game=options.game,
        seeds=1 if options.smoke else options.seeds,
        judges=("oracle", "third_role") if options.smoke else options.judges,
        quick=options.smoke,
        num_processes=options.num_processes,
    )
    true_judged(config)


if __name__ == "__main__":
    main(tyro.cli(JudgedOptions, description=__doc__))
