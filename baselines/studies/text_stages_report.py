"""What the stages of `text_stages.py` came to: one page of tables, the same as JSON, and the curve of the loss."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
from safetensors import safe_open

from ...agents.folders import read_json
from ..evaluation.calibration import Share
from ..reporting.plots import Curve, plot_curves
from ..reporting.tables import markdown_table
from ..text.training import MODEL_FOLDER, RESULTS_FILE
from ..training.files import Json
from ..training.run import Run, read_metrics

REPORT_FILE, NUMBERS_FILE, CURVE_FILE = "report.md", "report.json", "loss.png"
TEXT_FOLDER, REWARD_FOLDER = "text", "reward"
KINDS = {
    "encoder": "linear head on the frozen sentence encoder",
    "scratch": "transformer from nothing",
    "pretrained": "the pre-trained model with a new head",
}
"""Kinds of reward model, and what a table calls them."""
STAGES = {"pretrain": "pre-training, all tokens", "sft": "SFT, player two's tokens"}
SMOOTHED_STEPS = 20
"""Steps whose mean loss is a point of the curve."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RewardRow:
    """What a kind of reward model is worth on pairs that it has not seen, all folds together."""

    kind: str
    num_parameters: int
    """That are trained, of one model."""
    folds: tuple[float, ...]
    """The accuracy of each fold's model, 0 to 1."""
    accuracy: Share
    length: Share
    """Of the rule on length that orders more training pairs as people did."""
    about_equal_length: Share
    """Of the reward model on the pairs whose replies are about equally long."""
    length_misleads: Share
    """Of the reward model on the pairs that the rule on length gets wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TextStagesReport:
    """All numbers of a run."""

    language_model: list[Json]
    """What each stage came to (`StageResult`)."""
    num_parameters: int
    """Of the language model."""
    reward_models: list[RewardRow]
    tokens_per_second: dict[str, float]
    """Of a stage of the language model: the median over its gradient steps."""
    peak_memory_gib: float
    """While the language model was trained: what torch allocated on a GPU, else what the process had resident."""
    seconds: dict[str, float]
    """By the clock, of each folder; all folds of a kind together."""
    core_seconds: dict[str, float]
    """Likewise, of all threads."""


def reward_folder(kind: str, fold: int) -> Path:
    """Return the folder of a reward model within the run's."""
    return Path(REWARD_FOLDER, f"{kind}_{fold}")


def write_stages_report(run: Run, kinds: Sequence[str], num_folds: int) -> None:
    """Write the page, the numbers and the curve."""
    report = stages_report(run.folder, kinds, num_folds)
    run.write_text(REPORT_FILE, page(report))
    run.write_json(NUMBERS_FILE, report)
    plot_loss(run.folder / TEXT_FOLDER, run.folder / CURVE_FILE)


def stages_report(folder: Path, kinds: Sequence[str], num_folds: int) -> TextStagesReport:
    """Return what the finished stages in a run's folder came to."""
    text = folder / TEXT_FOLDER
    steps = read_metrics(text)
    language_model = read_json(text / RESULTS_FILE)["stages"]
    names = [stage["stage"] for stage in language_model]
    return TextStagesReport(
        language_model=language_model,
        num_parameters=_num_weights(text / MODEL_FOLDER / "model.safetensors"),
        reward_models=[_reward_row(folder, kind, num_folds) for kind in kinds],
        tokens_per_second={name: median(_column(steps, "tokens_per_second", name)) for name in names},
        peak_memory_gib=max(_column(steps, "peak_memory_gib")),
        seconds=_sums(folder, "seconds"),
        core_seconds=_sums(folder, "core_seconds"),
    )


def page(report: TextStagesReport) -> str:
    """Return the tables as Markdown."""
    rows = "\n\n".join((_text_table(report), _reward_table(report), _cost_table(report)))
    return (
        f"Language model: {report.num_parameters / 1e6:.2f} M parameters. Held-out dialogues share no opening with the "
        "others. Reward models: Wilson's 95 % interval; chance is 50 %, and the rule on length is the one that orders "
        f"more training pairs.\n\n{rows}\n"
    )


def plot_loss(text: Path, path: Path) -> None:
    """Draw the loss of the language model's batches beside the two numbers that are held out."""
    steps, series = read_metrics(text), dict[str, Curve]()
    for stage in read_json(text / RESULTS_FILE)["stages"]:
        at, nats = (np.array(_column(steps, name, stage["stage"])) for name in ("iteration", "loss_nats"))
        starts = range(0, len(at), SMOOTHED_STEPS)
        smooth = [[float(part[s : s + SMOOTHED_STEPS].mean()) for s in starts] for part in (at, nats)]
        ends = (float(at[0]) - 1, float(at[-1]))
        series[f"{stage['stage']}, batches"] = smooth[0], smooth[1]
        series[f"{stage['stage']}, held out at its end"] = ends, [math.log(stage["perplexity_after"])] * 2
        series[f"{stage['stage']}, bigram"] = ends, [math.log(stage["bigram_perplexity"])] * 2
    plot_curves(series, path, title="Loss of the language model", x_label="gradient step", y_label="nats a token")


def _text_table(report: TextStagesReport) -> str:
    header = ["stage", "held-out perplexity before", "after", "bigram", "tokens trained on", "held out"]
    rows = []
    for stage in report.language_model:
        assert isinstance(stage, dict)
        before, after, bigram = (float(str(stage[f"{name}"])) for name in _PERPLEXITIES)
        sizes = (f"{stage[name]:,}" for name in ("num_train_tokens", "num_heldout_tokens"))
        rows.append([STAGES[str(stage["stage"])], f"{before:.1f}", f"{after:.1f}", f"{bigram:.1f}", *sizes])
    return markdown_table(header, rows)


_PERPLEXITIES = ("perplexity_before", "perplexity_after", "bigram_perplexity")


def _reward_table(report: TextStagesReport) -> str:
    header = ["reward model", "trained parameters", "each fold, %", "held-out accuracy", "rule on length"]
    header += ["about equal length", "where length misleads"]
    rows = []
    for row in report.reward_models:
        folds = ", ".join(f"{100 * share:.1f}" for share in row.folds)
        shares = map(str, (row.accuracy, row.length, row.about_equal_length, row.length_misleads))
        rows.append([KINDS[row.kind], f"{row.num_parameters:,}", folds, *shares])
    return markdown_table(header, rows)


def _cost_table(report: TextStagesReport) -> str:
    header = ["stage", "minutes", "core minutes", "tokens a second", "peak memory, GiB"]
    speed = " and ".join(f"{value:,.0f}" for value in report.tokens_per_second.values())
    rows = []
    for name, seconds in report.seconds.items():
        rest = [speed, f"{report.peak_memory_gib:.2f}"] if name == TEXT_FOLDER else ["", ""]
        what = "language model" if name == TEXT_FOLDER else f"reward models: {KINDS[name]}"
        rows.append([what, f"{seconds / 60:.1f}", f"{report.core_seconds[name] / 60:.1f}", *rest])
    totals = (f"{sum(part.values()) / 60:.1f}" for part in (report.seconds, report.core_seconds))
    return markdown_table(header, [*rows, ["all", *totals, "", ""]])


def _reward_row(folder: Path, kind: str, num_folds: int) -> RewardRow:
    folds = [read_json(folder / reward_folder(kind, fold) / "report.json") for fold in range(num_folds)]

    def pooled(name: str) -> Share:
        return Share(*(sum(fold[name][part] for fold in folds) for part in ("num_right", "count")))

    weights = folder / reward_folder(kind, 0) / "model"
    return RewardRow(
        kind=kind,
        num_parameters=sum(map(_num_weights, weights.glob("*.safetensors"))),
        folds=tuple(fold["accuracy"]["num_right"] / fold["accuracy"]["count"] for fold in folds),
        accuracy=pooled("accuracy"),
        length=pooled("length_accuracy"),
        about_equal_length=pooled("accuracy_at_equal_length"),
        length_misleads=pooled("accuracy_against_length"),
    )


def _sums(folder: Path, name: str) -> dict[str, float]:
    """Return the seconds of the text stage and of each kind of reward model."""
    sums = dict[str, float]()
    for record in read_metrics(folder):
        kind = str(record["stage"]).removeprefix(f"{REWARD_FOLDER}/").rsplit("_", 1)[0]
        sums[kind] = sums.get(kind, 0.0) + float(str(record[name]))
    return sums


def _column(steps: Sequence[Mapping[str, Json]], name: str, stage: str | None = None) -> list[float]:
    return [float(str(step[name])) for step in steps if stage is None or step["stage"] == stage]


def _num_weights(path: Path) -> int:
    """Return how many numbers a file of weights holds."""
    with safe_open(path, "np") as weights:
        return sum(math.prod(weights.get_slice(name).get_shape()) for name in weights.keys())  # noqa: SIM118
