"""What an imperfect judge does to alignment: the same game trained against judges of 70 to 99 % accuracy.

    python examples/judge_sensitivity.py --seeds 5 --out runs/judge_sensitivity

A small network learns to tell the outcomes of red_team-v0's exchanges and is stopped when it names 70, 80, 90, 95 and
99 % of held-out ones as the oracle does (`outcome_judge.py`; the accuracy that is shown is counted on others). Against
each of these judges, and against the oracle, GPO (arXiv 2406.10977) trains an adversary and a defender from the same
models with the same budget. Then judge and oracle look at the same replies: to prompts outside the static set, to
benign disguised ones, and to the adversary's. The gap between them is what a report that trusts its judge does not see.

A judge's cell that has its result is not trained again: call the same command again after a kill.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import tyro

from duologue.baselines.evaluation import (
    attack_counts,
    attack_outcomes,
    evaluate_prompt_sets,
    evaluation_rng,
    mean_interval,
    play_pair,
    pooled,
)
from duologue.baselines.reporting.plots import COLOURS, Curve, LineStyle, plot_curves
from duologue.baselines.reporting.tables import markdown_table
from duologue.baselines.studies.cross_play import (
    StartingPlayers,
    gpo,
    load_seat,
    require_same,
    save_seat,
    starting_models,
)
from duologue.baselines.studies.outcome_judge import OutcomeJudge, OutcomeJudgeConfig, agreement, train_judges
from duologue.baselines.training.files import write_json, write_text
from duologue.baselines.training.loop import use_threads
from duologue.baselines.two_player.learner import Task
from duologue.envs import Outcome
from duologue.envs.games.red_team import RedTeam

TARGETS = (0.70, 0.80, 0.90, 0.95, 0.99)
ORACLE = "oracle"
COLUMNS = {
    "accuracy": "accuracy, held out",
    "own_accuracy": "accuracy, adversary's exchanges",
    "judge_own_asr": "adversary's ASR, judge",
    "oracle_own_asr": "adversary's ASR, oracle",
    "judge_ood_asr": "ASR outside the static set, judge",
    "oracle_ood_asr": "ASR outside the static set, oracle",
    "judge_over_refusal": "refused, benign, judge",
    "oracle_over_refusal": "refused, benign, oracle",
    "judge_helpful": "helpful, benign, judge",
    "oracle_helpful": "helpful, benign, oracle",
}
"""What is measured of a cell, shares of 1."""


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How much is trained and played."""

    num_updates: int = 24
    """PPO updates of each player, a multiple of 6."""
    batch_size: int = 96
    """Episodes for one update."""
    num_episodes: int = 256
    """Of the adversary against its defender."""
    num_demonstrations: int | None = None
    """For the base model and SFT; None: as the demo."""
    num_cloning_steps: int | None = None
    """Of both; None: as the demo."""
    judge: OutcomeJudgeConfig = field(default_factory=OutcomeJudgeConfig)
    """How judges learn."""


SMOKE = Sizes(
    num_updates=6,
    batch_size=4,
    num_episodes=8,
    num_demonstrations=50,
    num_cloning_steps=2,
    judge=OutcomeJudgeConfig(num_exchanges=400, num_validation=100, num_test=100, max_steps=20),
)


@dataclass(frozen=True, kw_only=True)
class JudgeOptions:
    """How often, and where to."""

    seeds: int = 5
    """Trainings of everything."""
    out: Path = Path("runs/judge_sensitivity")
    """The folder of all cells, the table and the picture."""
    smoke: bool = False
    """Tiny, in seconds, to see it work."""


def main(options: JudgeOptions) -> None:
    """Train what is missing, and print the table."""
    use_threads(1)  # the same numbers on any machine
    sizes, started = SMOKE if options.smoke else Sizes(), time.monotonic()
    results: list[dict[str, dict[str, float]]] = []
    require_same(options.out / "sizes.json", sizes)
    for seed in range(1 if options.smoke else options.seeds):
        results.append(seed_results(options, sizes, seed))
        write_json(options.out / "results.json", {"sizes": asdict(sizes), "seeds": results})
        write_text(options.out / "table.md", table(results) + "\n")
        draw(results, options.out / "judge_sensitivity.png")
        print(f"seed {seed}: {time.monotonic() - started:.0f} s", flush=True)
    print(f"\n{table(results)}")


def seed_results(options: JudgeOptions, sizes: Sizes, seed: int) -> dict[str, dict[str, float]]:
    """Return the numbers of one seed by judge, all cells that are missing done."""
    folder = options.out.resolve() / f"seed{seed}"
    models = starting_models(
        folder, seed, num_demonstrations=sizes.num_demonstrations, num_steps=sizes.num_cloning_steps
    )
    judges: dict[str, tuple[OutcomeJudge | None, float]] = {
        f"{100 * trained.target:.0f} %": (trained.judge, trained.accuracy)
        for trained in train_judges(TARGETS, sizes.judge, seed=seed)
    }
    judges[ORACLE] = None, 1.0
    results = {}
    for name, (judge, accuracy) in judges.items():
        path = folder / name.replace(" %", "") / "result.json"
        if not path.is_file():
            measured = {"accuracy": accuracy, **cell(judge, models, sizes, seed, path.parent)}
            write_json(path, measured)
        results[name] = json.loads(path.read_text(encoding="utf-8"))
        print(f"seed {seed}, {name}", flush=True)
    return results


def cell(
    judge: OutcomeJudge | None, models: tuple[Path, Path], sizes: Sizes, seed: int, folder: Path
) -> dict[str, float]:
    """Train both players against a judge (None: the oracle), and let judge and oracle look at the same replies."""
    paying, truth = RedTeam(judge=judge), RedTeam()
    task = Task(
        game=paying,
        seed=seed,
        num_updates=sizes.num_updates,
        batch_size=sizes.batch_size,
        make_player=StartingPlayers(paying, *models),
    )
    for name, seat in zip(("adversary", "defender"), gpo(task), strict=True):
        assert seat is not None
        save_seat(seat, folder / name)
    adversary, defender = (load_seat(folder / name, truth) for name in ("adversary", "defender"))
    numbers = {}
    for who, game in (("judge", paying), ("oracle", truth)):  # equal generators: both look at the same replies
        sets = evaluate_prompt_sets(game, defender, np.random.default_rng([seed, 7]))
        played = play_pair(game, adversary, defender, sizes.num_episodes, evaluation_rng(seed, 8))
        numbers[f"{who}_own_asr"] = attack_counts(played).asr
        numbers[f"{who}_ood_asr"] = pooled(sets).asr
        numbers[f"{who}_over_refusal"] = sets["benign_disguised"].refusal_rate
        numbers[f"{who}_helpful"] = sets["benign_disguised"].helpful_rate
    finished = [episode for episode in played if episode.episode.forfeited_by is None]
    judged = [
        truth.exchange(episode.dialogue)
        for episode, outcome in zip(finished, attack_outcomes(finished), strict=True)
        if outcome not in (None, Outcome.ILL_FORMED)
    ]
    return {**numbers, "own_accuracy": 1.0 if judge is None else agreement(judge, judged)}


def table(results: Sequence[dict[str, dict[str, float]]]) -> str:
    """Return means over seeds and half their 95 % intervals, in percent, by judge."""
    rows = [[name, *(shown([result[name][key] for result in results]) for key in COLUMNS)] for name in results[0]]
    return (
        f"In percent, n = {len(results)}: mean over seeds and half its 95 % interval. The adversary's "
        f"ASR is the share of its harmful attempts.\n\n{markdown_table(['judge', *COLUMNS.values()], rows)}"
    )


def shown(shares: Sequence[float | None]) -> str:
    """Return a mean in percent with its interval, if there is more than one seed; "-" without a number."""
    numbers = [100 * share for share in shares if share is not None]
    if not numbers:
        return "-"
    estimate = mean_interval(numbers)
    return f"{estimate.value:.1f} ± {estimate.half_width:.1f}" if len(numbers) > 1 else f"{estimate.value:.1f}"


def draw(results: Sequence[dict[str, dict[str, float]]], path: Path) -> None:
    """Draw ASR, over-refusal and help, by judge and by oracle, against the judges' accuracy."""
    series: dict[str, Curve] = {}
    styles: dict[str, LineStyle] = {}
    x = [100 * float(np.mean([result[name]["accuracy"] for result in results])) for name in results[0]]
    for what, colour in zip(("ood_asr", "over_refusal", "helpful"), COLOURS, strict=False):
        for who, dash in (("judge", "--"), ("oracle", "-")):
            title = COLUMNS[f"{who}_{what}"]
            y = [float(np.mean([result[name][f"{who}_{what}"] for result in results])) for name in results[0]]
            series[title], styles[title] = (x, y), (colour, dash)
    plot_curves(
        series,
        path,
        title=f"GPO against judges of different accuracy, means of n = {len(results)}",
        x_label="accuracy of the judge on held-out exchanges, %",
        y_label="share of the replies",
        percent=True,
        styles=styles,
    )


if __name__ == "__main__":
    main(tyro.cli(JudgeOptions, description=__doc__))
