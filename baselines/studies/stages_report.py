"""What the stages show, of one run or over seeds: `python -m duologue.baselines.studies.stages_report RESULTS ...`.

Two tables: how far each reward model can be believed on the replies of each policy, and what RLHF made of it; and a
plot of the judge's and the oracle's score over training. Over seeds a cell is the mean with half of its 95 % interval.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
import tyro
from matplotlib.figure import Figure

from ...agents.folders import read_json
from ...agents.judges.reward_files import load_reward_judge
from ...agents.language_model.causal_lm import CausalLMAgent
from ...envs.games.red_team.game import RedTeam, oracle
from ...envs.printable import printable
from ..evaluation import mean_interval
from ..reporting.plots import COLOURS, FONT_SIZE, as_label
from ..reporting.records import record_of
from ..reporting.tables import markdown_table, text_table
from ..training.failures import run_command
from ..training.files import replacing, write_text
from ..training.folders import KeptFolder
from ..training.inputs import require_apart
from ..training.options import load_model
from ..training.run import Run, read_metrics
from .judged_replies import HeldOutScores, JudgeError, Replies, held_out_prompts, held_out_scores, judge_error, reply_to

RESULTS_FILE, PLOT_FILE = "results.json", "stages.png"
NUM_HELD_OUT = len(held_out_prompts()) // 2
"""Held-out requests of each kind, harmful and benign."""


@dataclass(frozen=True, slots=True)
class Arm:
    """One RLHF run of those that are compared."""

    name: str
    """Its folder."""
    reward: str
    """What pays, for readers."""
    judge: str | None
    """The folder of the reward model that pays; None: the oracle."""
    kl_coef: float
    """Charge per nat of KL to the SFT defender."""

    @property
    def title(self) -> str:
        """Return what a table calls it."""
        return f"{self.reward}, KL charge {self.kl_coef:g}"


@dataclass(frozen=True, slots=True)
class Point:
    """One measurement of a policy in training; rates are shares of the requests of their kind, 0 to 1."""

    iteration: int
    kl_nats: float
    """Mean log pi - log pi_SFT of a reply, on the batch before the update."""
    judge_score: float
    oracle_score: float
    helpful_rate: float
    """Of benign requests: answered right."""
    wrong_rate: float
    """Of benign requests: answered wrong, or with noise."""
    refused_rate: float
    """Of harmful requests: refused."""
    unsafe_rate: float
    """Of harmful requests: answered."""


@dataclass(frozen=True, slots=True)
class StagesResults:
    """All that one seed measured."""

    arms: tuple[Arm, ...]
    curves: dict[str, tuple[Point, ...]]
    """By arm."""
    errors: dict[str, dict[str, JudgeError]]
    """By reward model, then by policy: `sft` or an arm."""


class Column(NamedTuple):
    """A column of a table over seeds."""

    title: str
    value: Callable[[StagesResults, str], float]
    """Of a row's key."""
    form: str = ".2f"
    scale: float = 1.0


def report(run: Run, game: RedTeam, arms: Sequence[Arm], *, seed: int) -> str:
    """Measure the finished runs in a folder, write tables, plot, numbers and examples, and return the page of text."""
    results = measure(run.folder, game, arms, seed=seed)
    run.write_json(RESULTS_FILE, results)
    pages = tables([results])
    run.write_text("table.md", "\n".join(f"## {title}\n\n{markdown_table(*table)}\n" for title, table in pages))
    examples = _examples(run.folder, game, arms, seed=seed)
    run.write_text("examples.txt", examples)
    plot_stages([results], run.folder / PLOT_FILE)
    shown = [f"{title}\n\n{text_table(*table)}" for title, table in pages]
    return "\n\n".join([*shown, examples, f"Plot\n\n{run.folder / PLOT_FILE}"])


def measure(out: Path, game: RedTeam, arms: Sequence[Arm], *, seed: int) -> StagesResults:
    """Return the curves of the runs, and each reward model's error on two replies of each policy to each request."""
    names = ["sft", *(arm.name for arm in arms)]
    prompts = held_out_prompts()
    replies: dict[str, tuple[Replies, Replies]] = {}
    for name in names:
        agent = load_model(out / name / "model", game)
        first, second = (reply_to(prompts, agent, np.random.default_rng([seed, 4, k])) for k in range(2))
        replies[name] = first, second
    judges = {arm.judge: load_reward_judge(out / arm.judge / "model", game.vocabulary) for arm in arms if arm.judge}
    start = reply_to(prompts, load_model(out / "sft/model", game), np.random.default_rng([seed, 4, 2]))
    curves = {}
    for arm in arms:
        before = held_out_scores(start, judges[arm.judge] if arm.judge else None)
        curves[arm.name] = (_point(0, 0.0, before), *_curve(out / arm.name))
    errors = {
        str(judge): {name: judge_error(judges[judge], *replies[name], start) for name in names} for judge in judges
    }
    return StagesResults(tuple(arms), curves, errors)


def load_results(path: Path) -> StagesResults:
    """Return what `report` wrote.

    Raises:
        ValueError: the file holds something else.
    """
    where = f"{path}: expected the {RESULTS_FILE} of `duologue train stages`"
    results = record_of(StagesResults, read_json(path), where, null_is_nan=True)
    names, judges = {"sft", *(arm.name for arm in results.arms)}, {arm.judge for arm in results.arms}
    if not (results.arms and all(results.curves.get(arm.name) for arm in results.arms)):
        raise ValueError(f"{where}, got one without arms or without points of their curves")
    if not (set(results.errors) <= judges and all(set(of_judge) <= names for of_judge in results.errors.values())):
        raise ValueError(f"{where}, got errors of judges or policies that are none of its arms'")
    return results


def tables(results: Sequence[StagesResults]) -> list[tuple[str, tuple[list[str], list[list[str]]]]]:
    """Return both tables with their titles, of one seed or of several with the same arms."""
    judged = f"Reward models against the oracle, on two replies to each of {2 * NUM_HELD_OUT} held-out requests"
    trained = "RLHF: what the judge that pays says, and what the oracle says, on the same replies"
    return [(judged, _error_table(results)), (trained, _training_table(results))]


def plot_stages(results: Sequence[StagesResults], path: Path) -> None:
    """Draw judge and oracle over training, a panel for each arm; of several seeds thin lines and their mean."""
    arms = results[0].arms
    figure = Figure(figsize=(3.3 * len(arms), 3.9), layout="constrained")
    panels = figure.subplots(1, len(arms), sharey=True, squeeze=False)[0]
    styles = (("judge_score", "the judge that pays", COLOURS[1], "--"), ("oracle_score", "the oracle", COLOURS[0], "-"))
    for axes, arm in zip(panels, arms, strict=True):
        x = [point.iteration for point in results[0].curves[arm.name]]
        for field, label, colour, dash in styles:
            lines = np.array([[getattr(point, field) for point in result.curves[arm.name]] for result in results])
            if len(results) > 1:
                axes.plot(x, lines.T, color=colour, linestyle=dash, linewidth=0.8, alpha=0.35)
            axes.plot(x, lines.mean(0), color=colour, linestyle=dash, linewidth=2.4, label=as_label(label))
        axes.set_title(as_label(f"{arm.reward}\nKL charge {arm.kl_coef:g}"), fontsize=FONT_SIZE, loc="left")
        axes.set_xlabel("updates", fontsize=FONT_SIZE)
        axes.grid(visible=True, color="#DDDDDD", linewidth=0.8)
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("mean reward, held-out requests", fontsize=FONT_SIZE)
    panels[-1].legend(loc="lower right", frameon=False, fontsize=FONT_SIZE - 1)
    with replacing(path) as written:
        figure.savefig(written, format="png", dpi=110, facecolor="white")


def _curve(folder: Path) -> list[Point]:
    points = []
    for row in read_metrics(folder):
        held_out, update = row.get("held_out"), row["update"]
        if held_out is not None:
            assert isinstance(held_out, dict)
            assert isinstance(update, dict)
            scores = HeldOutScores(**held_out)  # type: ignore[arg-type]
            points.append(_point(int(str(row["iteration"])), float(str(update["kl_nats"])), scores))
    return points


def _point(iteration: int, kl_nats: float, scores: HeldOutScores) -> Point:
    helpful, wrong, refused, unsafe = (
        scores.outcomes.get(name, 0) / NUM_HELD_OUT for name in ("helpful", "wrong", "refused", "unsafe")
    )
    return Point(iteration, kl_nats, scores.judge_score, scores.oracle_score, helpful, wrong, refused, unsafe)


def _training_table(results: Sequence[StagesResults]) -> tuple[list[str], list[list[str]]]:
    def last(field: str) -> Callable[[StagesResults, str], float]:
        return lambda result, arm: float(getattr(result.curves[arm][-1], field))

    columns = (
        Column("judge\nSFT", lambda result, arm: result.curves[arm][0].judge_score),
        Column("judge\nend", last("judge_score")),
        Column("oracle\nSFT", lambda result, arm: result.curves[arm][0].oracle_score),
        Column("oracle\nbest", lambda result, arm: max(point.oracle_score for point in result.curves[arm])),
        Column("oracle\nend", last("oracle_score")),
        Column("helpful\n%", last("helpful_rate"), ".0f", 100),
        Column("wrong\n%", last("wrong_rate"), ".0f", 100),
        Column("refused\n%", last("refused_rate"), ".0f", 100),
        Column("unsafe\n%", last("unsafe_rate"), ".0f", 100),
        Column("KL\nnats", last("kl_nats"), ".1f"),
    )
    rows = [[arm.title, *(_cell(column, results, arm.name) for column in columns)] for arm in results[0].arms]
    return ["reward", *(column.title for column in columns)], rows


def _error_table(results: Sequence[StagesResults]) -> tuple[list[str], list[list[str]]]:
    columns = tuple(
        Column(title, _of_error(field), form, scale)
        for title, field, form, scale in (
            ("judge", "judge_score", ".2f", 1.0),
            ("oracle", "oracle_score", ".2f", 1.0),
            ("pairs\nright %", "own_accuracy", ".0f", 100.0),
            ("of n", "num_own_pairs", ".0f", 1.0),
            ("calibration\nerror", "calibration_error", ".2f", 1.0),
            ("pairs with\nSFT right %", "start_accuracy", ".0f", 100.0),
            ("of n", "num_start_pairs", ".0f", 1.0),
            ("verdict\nright %", "verdict_accuracy", ".0f", 100.0),
            ("bad called\ngood %", "bad_called_good", ".0f", 100.0),
            ("good called\nbad %", "good_called_bad", ".0f", 100.0),
        )
    )
    titles = {"sft": "SFT"} | {arm.name: arm.title for arm in results[0].arms}
    rewards = {arm.judge: arm.reward for arm in results[0].arms}
    rows = [
        [rewards[judge], titles[policy], *(_cell(column, results, f"{judge}\0{policy}") for column in columns)]
        for judge, policies in results[0].errors.items()
        for policy in policies
    ]
    return ["reward model", "replies of", *(column.title for column in columns)], rows


def _of_error(field: str) -> Callable[[StagesResults, str], float]:
    def value(result: StagesResults, key: str) -> float:
        judge, policy = key.split("\0")
        return float(getattr(result.errors[judge][policy], field))

    return value


def _cell(column: Column, results: Sequence[StagesResults], row: str) -> str:
    values = [column.scale * column.value(result, row) for result in results]
    known = [value for value in values if math.isfinite(value)]
    if not known:
        return "-"
    estimate = mean_interval(known)
    mean = format(estimate.value, column.form)
    return mean if len(known) == 1 else f"{mean} ± {format(estimate.half_width, column.form)}"


def _examples(out: Path, game: RedTeam, arms: Sequence[Arm], *, seed: int, num_shown: int = 6) -> str:
    """Return the exchanges whose reward by the judge exceeds the oracle's most, of the first policy with a judge."""
    arm = next(arm for arm in arms if arm.judge)
    agent: CausalLMAgent = load_model(out / arm.name / "model", game)
    judge = load_reward_judge(out / str(arm.judge) / "model", game.vocabulary)
    replies = reply_to(held_out_prompts(), agent, np.random.default_rng([seed, 5]))
    excess = replies.rewards(judge) - replies.oracle_rewards
    lines = [f"What the judge likes and the oracle does not ({arm.title})"]
    for k in np.argsort(-excess, kind="stable")[:num_shown].tolist():
        exchange = replies.exchanges[k]
        if exchange is not None:
            outcome = oracle([exchange])[0].outcome.value.replace("_", " ")
            judged = f"judge {replies.oracle_rewards[k] + excess[k]:+.2f}, oracle {replies.oracle_rewards[k]:+.2f}"
            said = f"{printable(exchange.prompt_text)} -> {printable(exchange.reply_text)}"
            lines.append(f"{said}\n  {outcome}: {judged}")
    return "\n\n".join(lines) + "\n"


@dataclass(frozen=True, kw_only=True)
class OverSeedsConfig:
    """Several seeds in one table and one plot."""

    results: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """The results.json of each run."""
    out: Path = Path("runs/stages_over_seeds")
    """Where `table.md` and `stages.png` are written."""


def _shape(results: StagesResults) -> object:
    """Return what must be the same of two seeds for a table of both."""
    curves = {name: [point.iteration for point in curve] for name, curve in results.curves.items()}
    return results.arms, curves, {judge: set(policies) for judge, policies in results.errors.items()}


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    config = tyro.cli(OverSeedsConfig, args=argv, description=__doc__)
    results = [load_results(path) for path in config.results]
    require_apart(config.out, {str(path): path for path in config.results})
    with KeptFolder.open(config.out, kind="summary", older=lambda folder: (folder / PLOT_FILE).is_file()):
        for path, one in zip(config.results, results, strict=True):
            if _shape(one) != _shape(results[0]):
                raise ValueError(f"{path}: expected the arms, judges and points of {config.results[0]}, got others")
        _write_summary(results, config.out)


def _write_summary(results: Sequence[StagesResults], folder: Path) -> None:
    page = "\n".join(f"## {title}\n\n{markdown_table(*table)}\n" for title, table in tables(results))
    write_text(folder / "table.md", page)
    plot_stages(results, folder / PLOT_FILE)
    print(page)


if __name__ == "__main__":
    sys.exit(run_command(main))
