"""Does a defender hold against attackers that it has not met? Every algorithm's defender, every other's attacker.

    python examples/cross_play.py --seeds 5 --out runs/cross_play

On red_team-v0, whose oracle knows the truth: the SFT defender, RLHF on static prompts, self-play, fictitious play,
PSRO, and GPO (arXiv 2406.10977) without and with its diversity reward, from the same models and with the same number of
PPO updates of each player on batches of the same size. Each defender meets the attackers of all the algorithms that
train one, the base model, a fresh attacker that is trained against it alone, and the prompts outside the static set.

Every training is a cell with a folder of its own; one that is there is not trained again: call the same command again
after a kill. A seed takes a few minutes of one core, of which the base model is one.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import tyro

from duologue.baselines.evaluation import mean_interval
from duologue.baselines.reporting.plots import plot_heat_map
from duologue.baselines.reporting.tables import markdown_table
from duologue.baselines.studies.cross_play import (
    ALGORITHMS,
    StartingPlayers,
    attack_cell,
    matrix_cell,
    require_same,
    starting_models,
    train_cell,
)
from duologue.baselines.training.files import write_json, write_text
from duologue.baselines.training.loop import use_threads
from duologue.baselines.two_player.learner import Task
from duologue.envs.games.red_team import RedTeam

FRESH = "fresh, trained against it"
"""The last row of the matrix: another attacker in each column."""


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How much is trained and played."""

    num_updates: int = 24
    """PPO updates of each player that an algorithm trains, a multiple of 6."""
    num_attack_updates: int = 12
    """Those of a fresh attacker."""
    batch_size: int = 96
    """Episodes for one update."""
    num_episodes: int = 256
    """Of each attacker against each defender."""
    num_demonstrations: int | None = None
    """For the base model and SFT; None: as the demo."""
    num_cloning_steps: int | None = None
    """Of both; None: as the demo."""


SMOKE = Sizes(
    num_updates=6, num_attack_updates=1, batch_size=4, num_episodes=8, num_demonstrations=50, num_cloning_steps=2
)


@dataclass(frozen=True, kw_only=True)
class CrossPlayOptions:
    """How often, and where to."""

    seeds: int = 5
    """Trainings of everything."""
    out: Path = Path("runs/cross_play")
    """The folder of all cells, the tables and the picture."""
    smoke: bool = False
    """Tiny, in seconds, to see it work."""


def main(options: CrossPlayOptions) -> None:
    """Train what is missing, and print the tables."""
    use_threads(1)  # the same numbers on any machine
    sizes, started = SMOKE if options.smoke else Sizes(), time.monotonic()
    results: list[dict[str, Any]] = []
    require_same(options.out / "sizes.json", sizes)
    for seed in range(1 if options.smoke else options.seeds):
        results.append(seed_result(options, sizes, seed))
        write_json(options.out / "results.json", {"sizes": asdict(sizes), "seeds": results})
        write_text(options.out / "table.md", tables(results) + "\n")
        draw(results, options.out / "cross_play.png")
        print(f"seed {seed}: {time.monotonic() - started:.0f} s", flush=True)
    print(f"\n{tables(results)}")


def seed_result(options: CrossPlayOptions, sizes: Sizes, seed: int) -> dict[str, Any]:
    """Return what `matrix_cell` measures for one seed, all trainings that are missing done."""
    folder = options.out.resolve() / f"seed{seed}"
    path = folder / "result.json"
    if path.is_file():
        known: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return known
    base, defender = starting_models(
        folder, seed, num_demonstrations=sizes.num_demonstrations, num_steps=sizes.num_cloning_steps
    )
    game, cells = RedTeam(), {name: folder / name.replace(" ", "_") for name in ALGORITHMS}
    task = Task(
        game=game,
        seed=seed,
        num_updates=sizes.num_updates,
        batch_size=sizes.batch_size,
        make_player=StartingPlayers(game, base, defender),
    )
    attacking = replace(task, seed=seed + 1000, num_updates=sizes.num_attack_updates)
    for name, cell in cells.items():
        train_cell(name, task, cell)
        attack_cell(attacking, cell)
        print(f"seed {seed}, {name}", flush=True)
    measured = matrix_cell(cells, base, sizes.num_episodes, seed)
    write_json(path, measured)
    return measured


def matrix_rows(result: dict[str, Any]) -> dict[str, list[float]]:
    """Return the matrix of one seed: by attacker, its attack success against each defender."""
    return {name: list(rates.values()) for name, rates in {**result["asr"], FRESH: result["fresh"]}.items()}


def generalisation(result: dict[str, Any]) -> dict[str, dict[str, float]]:
    """Return, by defender, its numbers in one seed; "others" are all attackers that its own algorithm did not train."""
    numbers = {}
    for name, ood in result["ood"].items():
        others = [rates[name] for row, rates in result["asr"].items() if row not in (name, "base model")]
        numbers[name] = {
            "own attacker": result["asr"].get(name, {}).get(name, float("nan")),
            "others, mean": float(np.mean(others)),
            "others, worst": max(others),
            "fresh attacker": result["fresh"][name],
            "outside the static set": ood,
            "refused, benign": result["over_refusal"][name],
            "helpful, benign": result["helpful"][name],
        }
    return numbers


def tables(results: Sequence[dict[str, Any]]) -> str:
    """Return both tables as Markdown: means over seeds and half their 95 % intervals, in percent."""
    matrices, defenders = [matrix_rows(result) for result in results], list(results[0]["ood"])
    rows = [
        [name, *(shown([matrix[name][k] for matrix in matrices]) for k in range(len(defenders)))]
        for name in matrices[0]
    ]
    numbers = [generalisation(result) for result in results]
    columns = list(numbers[0][defenders[0]])
    by_defender = [
        [name, *(shown([of_seed[name][key] for of_seed in numbers]) for key in columns)] for name in defenders
    ]
    return (
        f"Attack success in percent by the oracle, n = {len(results)}: mean over seeds and half its 95 % interval. "
        "An attacker's is its share of harmful attempts; those whose prompt was ill-formed have failed.\n\n"
        f"{markdown_table(['attacker of', *defenders], rows)}\n\n"
        "By defender; benign prompts and those outside the static set are disguised, and from the fixed sets:\n\n"
        f"{markdown_table(['defender', *columns], by_defender)}"
    )


def shown(shares: Sequence[float]) -> str:
    """Return a mean in percent with its interval, if there is more than one seed; "-" where there is none."""
    if not np.isfinite(shares).all():
        return "-"
    estimate = mean_interval([100 * share for share in shares])
    return f"{estimate.value:.1f} ± {estimate.half_width:.1f}" if len(shares) > 1 else f"{estimate.value:.1f}"


def draw(results: Sequence[dict[str, Any]], path: Path) -> None:
    """Draw the mean matrix as a heat map."""
    matrices = [matrix_rows(result) for result in results]
    mean = np.mean([list(matrix.values()) for matrix in matrices], axis=0)
    plot_heat_map(
        mean,
        list(matrices[0]),
        list(results[0]["ood"]),
        path,
        f"Every attacker against every defender, n = {len(results)}",
        row_label="attacker of",
        column_label="defender of",
    )


if __name__ == "__main__":
    main(tyro.cli(CrossPlayOptions, description=__doc__))
