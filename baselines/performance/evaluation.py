"""The benchmark of SelfBLEU: how many times faster than NLTK's, on the same texts, and whether the numbers agree.

A batch of new prompts is scored against a history of 10^4, as a training step does that rewards novelty, one reference
at a time and all jointly; NLTK scores a few of them, as its time grows with their number only. Time is CPU time of one
process; ours includes adding the batch to the history.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ..functional.diversity import BleuHistory
from ..functional.joint_bleu import JointBleuHistory
from ..reporting.tables import markdown_table
from ..training.checks import check_rows
from ..training.failures import run_command
from .page import Figure, machine, put_section

GOAL = 30.0
"""How many times faster than NLTK's ours is to be."""
AGREEMENT = 1e-9
"""How far the two may differ."""
ORDERS = (2, 3, 4, 5)
LENGTHS = (12, 60)
"""Mean numbers of tokens in a prompt."""
VOCABULARY_SIZE = 500
REPETITIONS = 3


@dataclass(frozen=True, slots=True)
class BleuComparison:
    """One variant of SelfBLEU on prompts of one length."""

    variant: str
    """How references are taken: "pairwise", one at a time as GPO does, or "joint", as Texygen does."""
    num_tokens: int
    """Mean length of a prompt."""
    history_size: int
    batch_size: int
    ours_s: float
    """CPU seconds for one prompt of the batch."""
    nltk_s: float
    """The same for NLTK."""
    largest_difference: float
    """Between the two, over the prompts that NLTK scored."""

    @property
    def ratio(self) -> float:
        """How many times faster ours is."""
        return self.nltk_s / self.ours_s

    @property
    def figure(self) -> Figure:
        """The ratio with its goal."""
        return Figure(f"self_bleu_{self.variant}_{self.num_tokens}_tokens_vs_nltk", round(self.ratio, 1), GOAL, "times")


def make_prompts(count: int, num_tokens: int, *, seed: int) -> list[list[int]]:
    """Return prompts of token ids pieced together from phrases, some words far more frequent than others."""
    rng = np.random.default_rng(seed)
    odds = 1 / np.arange(1, VOCABULARY_SIZE + 1)
    sizes = rng.integers(2, 6, size=VOCABULARY_SIZE)
    phrases = [rng.choice(VOCABULARY_SIZE, size=size, p=odds / odds.sum()).tolist() for size in sizes]
    prompts: list[list[int]] = []
    for _ in range(count):
        length = int(num_tokens + rng.integers(-(num_tokens // 5), num_tokens // 5 + 1))
        prompt: list[int] = []
        while len(prompt) < length:
            prompt += phrases[rng.integers(len(phrases))]
        prompts.append(prompt[:length])
    return prompts


def compare(
    num_tokens: int, *, history_size: int = 10_000, batch_size: int = 128, num_for_nltk: int = 2
) -> list[BleuComparison]:
    """Measure both variants on prompts of about `num_tokens` tokens."""
    prompts = make_prompts(history_size + batch_size, num_tokens, seed=num_tokens)
    history, batch = prompts[:history_size], prompts[history_size:]
    few, found = batch[:num_for_nltk], []
    for variant, past, reference in (
        ("pairwise", BleuHistory(history_size), nltk_pairwise),
        ("joint", JointBleuHistory(history_size), nltk_joint),
    ):
        past.append(history)
        start = time.process_time()
        expected = [reference(prompt, history) for prompt in few]
        nltk_s = (time.process_time() - start) / len(few)
        difference = float(np.abs(past.scores(few) - expected).max())
        ours_s = _cpu_seconds(partial(_score_and_append, past, batch)) / batch_size
        found.append(BleuComparison(variant, num_tokens, history_size, batch_size, ours_s, nltk_s, difference))
    return found


def nltk_pairwise(sentence: Sequence[int], history: Sequence[Sequence[int]]) -> float:
    """Return the mean over references and n of NLTK's BLEU_n, one reference at a time, all n in one call."""
    return float(np.mean([_nltk_bleu([reference], sentence) for reference in history]))


def nltk_joint(sentence: Sequence[int], history: Sequence[Sequence[int]]) -> float:
    """Return the mean over n of NLTK's BLEU_n against all references jointly."""
    return float(np.mean(_nltk_bleu(history, sentence)))


def comparison_table(comparisons: Sequence[BleuComparison]) -> str:
    """Return the comparisons as a Markdown table."""
    header = ["references", "tokens", "history", "batch", "ours, ms", "NLTK, ms", "times faster", "largest difference"]
    rows = [
        [
            comparison.variant,
            str(comparison.num_tokens),
            f"{comparison.history_size:,}",
            str(comparison.batch_size),
            f"{1000 * comparison.ours_s:.2f}",
            f"{1000 * comparison.nltk_s:,.0f}",
            f"{comparison.ratio:,.0f}",
            f"{comparison.largest_difference:.0e}",
        ]
        for comparison in comparisons
    ]
    return markdown_table(header, rows)


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, print a table, and write the numbers as JSON if asked to; fail if a number disagrees with NLTK's."""
    parser = argparse.ArgumentParser(prog="python -m duologue.baselines.performance.evaluation", description=__doc__)
    parser.add_argument("--history-size", type=int, default=10_000, help="prompts in the history (default: 10000)")
    parser.add_argument("--batch-size", type=int, default=128, help="new prompts in a step (default: 128)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where to write the numbers")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="page whose section of this is to be replaced")
    options = parser.parse_args(argv)
    check_rows("--history-size", options.history_size)
    check_rows("--batch-size", options.batch_size)
    comparisons = [
        comparison
        for num_tokens in LENGTHS
        for comparison in compare(num_tokens, history_size=options.history_size, batch_size=options.batch_size)
    ]
    print(f"SelfBLEU of one prompt against a history, n = {ORDERS}, milliseconds of CPU time:\n")
    print(comparison_table(comparisons))
    if options.json is not None:
        from ..training.files import write_json

        write_json(
            options.json, {"figures": [comparison.figure for comparison in comparisons], "self_bleu": comparisons}
        )
    if options.markdown is not None:
        put_section(options.markdown, HEADING, section(comparisons))
    if any(comparison.largest_difference > AGREEMENT for comparison in comparisons):
        raise SystemExit(f"SelfBLEU: expected NLTK's numbers within {AGREEMENT}, got differences as above")


HEADING = "# Performance of SelfBLEU"

SECTION = """\
{heading}

Measured by `python -m duologue.baselines.performance.evaluation --markdown docs/performance.md`,
which writes this section:
{versions}, NLTK {nltk}. Milliseconds of CPU time for one prompt of a batch; the goal is {goal:.0f} times.

SelfBLEU of new prompts against a history, as a training step asks for it that rewards novelty: n = {orders}, smoothing
method 1, one reference at a time or all jointly. Ours includes adding the batch to the history; NLTK is called with all
n at a time, its fastest form.

{table}
"""


def section(comparisons: Sequence[BleuComparison]) -> str:
    """Return the page's section."""
    return SECTION.format(
        heading=HEADING,
        versions=machine(),
        nltk=importlib.import_module("nltk").__version__,
        goal=GOAL,
        orders=", ".join(map(str, ORDERS)),
        table=comparison_table(comparisons),
    )


def _nltk_bleu(references: Sequence[Sequence[int]], sentence: Sequence[int]) -> list[float]:
    """Return NLTK's BLEU_n for each n, with smoothing method 1 (Chen & Cherry, 2014)."""
    nltk = _nltk()
    weights = [(1 / n,) * n for n in ORDERS]
    scores = nltk.sentence_bleu(references, sentence, weights, nltk.SmoothingFunction().method1)
    return [float(score) for score in np.broadcast_to(scores, len(ORDERS))]  # a bare 0 where no unigram matches


def _nltk() -> Any:
    try:
        return importlib.import_module("nltk.translate.bleu_score")
    except ImportError as error:
        raise ImportError(f"nltk: expected it for the comparison, got {error}; pip install nltk") from error


def _score_and_append(past: BleuHistory | JointBleuHistory, batch: Sequence[Sequence[int]]) -> None:
    past.scores(batch)
    past.append(batch)


def _cpu_seconds(call: Callable[[], object]) -> float:
    """Return the CPU time of one call: the median of a few, so that neither a first call nor a pause counts."""
    times = []
    for _ in range(REPETITIONS):
        start = time.process_time()
        call()
        times.append(time.process_time() - start)
    return sorted(times)[len(times) // 2]


if __name__ == "__main__":
    sys.exit(run_command(main))
