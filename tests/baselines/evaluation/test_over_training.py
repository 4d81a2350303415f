"""The diversity table over rounds: means by hand, intervals over seeds, nothing where runs are missing."""

import json
from pathlib import Path

from duologue.baselines.evaluation.over_training import diversity_over_training


def write_run(folder: Path, values: list[tuple[int, str, float]]) -> None:
    """Write the metrics of a run: round, stage and one number for every measure."""
    folder.mkdir(parents=True)
    measures = ("self_bleu_diversity", "embedding_diversity", "distinct_rate")
    records = [
        {"iteration": k, "round": number, "stage": stage, "prompts": dict.fromkeys(measures, value)}
        for k, (number, stage, value) in enumerate(values, start=1)
    ]
    (folder / "metrics.jsonl").write_text("".join(f"{json.dumps(record)}\n" for record in records))


def test_rounds_are_means_of_attack_stages_over_seeds(tmp_path: Path) -> None:
    """Defend stages stay out; with two seeds, .2 and .4, the mean is .3 and half the interval 12.706 * .1."""
    for seed, value in ((0, 0.2), (1, 0.4)):
        for method in ("gpo", "gpo_div"):
            stages = [(1, "defend", 9.0), (1, "attack", value - 0.1), (1, "attack", value + 0.1), (2, "attack", 0.5)]
            write_run(tmp_path / str(seed) / method, stages)
    table = diversity_over_training([tmp_path / "0", tmp_path / "1"])
    first, second = (line for line in table.splitlines() if line.startswith(("| 1 ", "| 2 ")))
    assert first.count("0.300 ± 1.271") == 6
    assert second.count("0.500 ± 0.000") == 6
    assert diversity_over_training([tmp_path / "absent"]) == ""
