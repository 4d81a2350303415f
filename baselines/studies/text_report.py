"""What the job on real text shows: every defender on the requests as they stand, and the judge's errors beside it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from ...agents import EchoAgent
from ...agents.language_model.causal_lm import CausalLMAgent
from ...envs.games.red_team_text.game import RedTeamText
from ..evaluation import Counts, cross_play, evaluate_prompts, play_pair, request_prompts
from ..evaluation.confusion import ConfusionMatrix
from ..reporting.tables import markdown_table, text_table
from ..training.options import load_model
from ..training.run import Run, read_metrics

DEFENDERS = {"sft": "sft/model", "rlhf": "rlhf/model", "gpo": "gpo/defender", "gpo_div": "gpo_div/defender"}
METHODS = {"sft": "SFT", "rlhf": "RLHF", "gpo": "GPO", "gpo_div": "GPO+Div"}
"""How tables call the defenders."""
ADVERSARIES = {"base model": "base/model", "GPO": "gpo/adversary", "GPO+Div": "gpo_div/adversary"}
"""Model folders in the folder of the job."""

Table = tuple[list[str], list[list[str]]]
"""Header and rows."""


def text_report(run: Run, game: RedTeamText, matrix: ConfusionMatrix, *, seed: int) -> str:
    """Measure the finished runs in the job's folder; return the page of text.

    Writes `table.md`, `results.json`, `confusion.json` and `transcripts.txt`.

    Args:
        run: the job, with the folders of `DEFENDERS` and `ADVERSARIES` in it.
        game: with the test rows.
        matrix: of the game's judge, on exchanges that it was not fitted to.
        seed: decides the replies.
    """
    defenders = {name: load_model(run.folder / path, game) for name, path in DEFENDERS.items()}
    adversaries = {name: load_model(run.folder / path, game) for name, path in ADVERSARIES.items()}
    results = {name: _results(game, defender, seed) for name, defender in defenders.items()}
    tables = {
        "Test rows as they stand, % (Wilson's 95 % interval)": _results_table(results, matrix),
        "Attack success of adversaries that rewrite the test rows, %": _attack_table(
            run, game, adversaries, defenders, seed
        ),
        "What is replied to the test rows": _reply_table(game, defenders, seed),
        "The judge on held-out rows and replies": _judge_table(matrix),
    }
    run.write_json(
        "results.json",
        {method: {name: asdict(counts) for name, counts in sets.items()} for method, sets in results.items()},
    )
    run.write_json("confusion.json", matrix)
    run.write_text(
        "table.md", "\n".join(f"## {title}\n\n{markdown_table(*table)}\n" for title, table in tables.items())
    )
    shown = _transcripts(game, defenders, adversaries["GPO+Div"], seed)
    run.write_text("transcripts.txt", "\n\n".join(shown) + "\n")
    pages = [f"{title}\n\n{text_table(*table)}" for title, table in tables.items()]
    return "\n\n".join([*pages, "Transcripts", *shown[: 2 * len(defenders)]])


def _results(game: RedTeamText, defender: CausalLMAgent, seed: int) -> dict[str, Counts]:
    """Let the defender reply once to every labelled request; equal random numbers for all defenders."""
    return {
        name: evaluate_prompts(
            game,
            defender,
            request_prompts(game.requests, harmful=name == "harmful"),
            np.random.default_rng([seed, 7]),
        )
        for name in ("harmful", "safe")
    }


def _results_table(results: Mapping[str, Mapping[str, Counts]], matrix: ConfusionMatrix) -> Table:
    header = ["defender", "ASR\nharmful", "ASR corrected\nfor the judge", "refused\nharmful", "refused\nsafe"]
    rows = []
    for method, sets in results.items():
        harmful, safe = sets["harmful"], sets["safe"]
        corrected = f"{100 * matrix.corrected_rate(harmful.asr):.1f}"
        refused = [_rate(counts.refusal_rate, counts.refusal_interval) for counts in (harmful, safe)]
        rows.append([METHODS[method], _rate(harmful.asr, harmful.asr_interval), corrected, *refused])
    sizes = [str(results["sft"][name].n) for name in ("harmful", "harmful", "harmful", "safe")]
    return header, [*rows, ["requests", *sizes]]


def _attack_table(
    run: Run,
    game: RedTeamText,
    adversaries: Mapping[str, CausalLMAgent],
    defenders: Mapping[str, CausalLMAgent],
    seed: int,
) -> Table:
    titled = {METHODS[name]: defender for name, defender in defenders.items()}
    attacks = cross_play(game, adversaries, titled, 2 * len(game.requests), seed)
    rows = [
        [name, *(f"{100 * rate:.1f}" for rate in row), _diversity(run.folder / ADVERSARIES[name])]
        for name, row in zip(attacks.adversaries, attacks.asr.tolist(), strict=True)
    ]
    return ["adversary", *attacks.defenders, "1 - SelfBLEU\nin training"], rows


def _reply_table(game: RedTeamText, defenders: Mapping[str, CausalLMAgent], seed: int) -> Table:
    """Show whether a defender has one answer to everything, which the rates alone do not tell."""
    rows = []
    for method, defender in defenders.items():
        played = play_pair(game, EchoAgent(), defender, 2 * len(game.requests), np.random.default_rng([seed, 9]))
        replies = Counter(game.exchange(episode.dialogue).reply_text for episode in played)
        text, times = replies.most_common(1)[0]
        shares = (f"{100 * number / len(played):.0f}" for number in (times, len(replies)))
        rows.append([METHODS[method], *shares, json.dumps(text, ensure_ascii=False)])
    return ["defender", "most frequent, %", "distinct, %", "the most frequent"], rows


def _judge_table(matrix: ConfusionMatrix) -> Table:
    unsafe = _rate(matrix.sensitivity, matrix.sensitivity_interval)
    safe = _rate(matrix.specificity, matrix.specificity_interval)
    return ["truth", "called unsafe", "called safe", "called right, %"], [
        ["unsafe", str(matrix.true_unsafe), str(matrix.false_safe), unsafe],
        ["safe", str(matrix.false_unsafe), str(matrix.true_safe), safe],
    ]


def _rate(share: float, interval: tuple[float, float]) -> str:
    """Return a share and its interval in percent."""
    return f"{100 * share:.1f} [{100 * interval[0]:.1f}, {100 * interval[1]:.1f}]"


def _diversity(adversary: Path) -> str:
    """Return the first and the last number that training recorded; "-" for a model that was given."""
    recorded = [row["prompts"] for row in read_metrics(adversary.parent) if "prompts" in row]
    values = [prompts["self_bleu_diversity"] for prompts in recorded if isinstance(prompts, dict)]
    numbers = [value for value in values if isinstance(value, float)]
    return f"{numbers[0]:.2f} to {numbers[-1]:.2f}" if numbers else "-"


def _transcripts(
    game: RedTeamText,
    defenders: Mapping[str, CausalLMAgent],
    adversary: CausalLMAgent,
    seed: int,
    *,
    num_deals: int = 12,
) -> list[str]:
    """Return the same requests, as they stand and as the adversary rewrites them, before every defender."""
    texts: list[Sequence[str]] = []
    for name, speaker in (("the request as it stands", EchoAgent()), ("GPO+Div's adversary", adversary)):
        for method, defender in defenders.items():
            played = play_pair(game, speaker, defender, 12, np.random.default_rng([seed, 10]))
            texts.append([f"-- {METHODS[method]}, {name}\n{episode.episode.transcript()}" for episode in played])
    return [text for same_deal in zip(*texts, strict=True) for text in same_deal]
