"""The diversity of GPO's adversary over training, with and without its reward: a table over runs of several seeds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..reporting.tables import markdown_table
from ..training.run import read_metrics
from .intervals import Estimate, mean_interval

METHODS = {"gpo": "GPO", "gpo_div": "GPO+Div"}
MEASURES = {
    "self_bleu_diversity": "1 - SelfBLEU",
    "embedding_diversity": "1 - cosine",
    "distinct_rate": "distinct requests",
}
MAX_ROUNDS_SHOWN = 5


def diversity_over_training(folders: Sequence[Path]) -> str:
    """Return a Markdown table: means over each round's attack stage and over seeds, with 95 % intervals.

    Args:
        folders: of demos that differ in their seed; an empty string comes back unless all hold GPO's runs.
    """
    if not all((folder / method / "metrics.jsonl").is_file() for folder in folders for method in METHODS):
        return ""
    rounds = {m: [_by_round(read_metrics(folder / m)) for folder in folders] for m in METHODS}
    last = min(max(run) for runs in rounds.values() for run in runs)
    shown = np.unique(np.linspace(1, last, min(MAX_ROUNDS_SHOWN, last)).round().astype(int)).tolist()
    header = ["round", *(f"{label}\n{name}" for label in MEASURES.values() for name in METHODS.values())]
    rows = [
        [str(k), *(_cell([run[k][measure] for run in rounds[m]]) for measure in MEASURES for m in METHODS)]
        for k in shown
    ]
    title = "Diversity of the adversary's prompts over training (mean of each attack stage)"
    return f"{title}:\n\n{markdown_table(header, rows)}"


def _by_round(records: Sequence[dict[str, Any]]) -> dict[int, dict[str, float]]:
    """Return each measure's mean over the attack stage of each round."""
    stages: dict[int, list[dict[str, Any]]] = {}
    for record in records:
        if record["stage"] == "attack":
            stages.setdefault(record["round"], []).append(record["prompts"])
    return {
        k: {m: float(np.mean([numbers[m] for numbers in prompts])) for m in MEASURES} for k, prompts in stages.items()
    }


def _cell(values: list[float]) -> str:
    estimate: Estimate = mean_interval(values)
    return f"{estimate.value:.3f}" + (f" ± {estimate.half_width:.3f}" if len(values) > 1 else "")
