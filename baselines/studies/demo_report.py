"""What the demo shows: every defender on every prompt set, adversaries against defenders, diversity over training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np

from ...agents.folders import read_json_list
from ...agents.language_model.causal_lm import CausalLMAgent
from ...agents.language_model.encoders import StaticWordEncoder, words_of
from ...envs import Tokens
from ...envs.games.red_team.game import RedTeam
from ...envs.judging import Outcome
from ..evaluation import (
    OUT_OF_DISTRIBUTION,
    Counts,
    DiversityReport,
    attack_outcomes,
    cross_play,
    evaluate_prompt_sets,
    evaluation_rng,
    measure_diversity,
    num_excluded,
    parser_of,
    play_pair,
    pooled,
)
from ..evaluation.report import METHODS, plot_table_bars, results_json, results_table
from ..reporting.plots import plot_curves, plot_heat_map
from ..reporting.tables import markdown_table, text_table
from ..training.run import Run, read_metrics
from ..two_player.gpo import PRODUCED_FILE

DEFENDERS = {"sft": "sft/model", "rlhf": "rlhf/model", "gpo": "gpo/defender", "gpo_div": "gpo_div/defender"}
ADVERSARIES = {
    "base": "base/model",
    "attack on SFT": "attack/model",
    "GPO": "gpo/adversary",
    "GPO+Div": "gpo_div/adversary",
}
OWN_ADVERSARY = {"sft": "attack on SFT", "gpo": "GPO", "gpo_div": "GPO+Div"}
"""The adversary whose prompts a method's diversity is measured on."""
MAX_CHECKPOINTS = 6

Results = dict[str, dict[str, Counts]]


def report(run: Run, game: RedTeam, *, seed: int, num_attacks: int) -> str:
    """Measure the finished runs in a demo's folder, write files and plots, and return the page of text."""
    out = run.folder
    defenders = {name: _load(out / path, game) for name, path in DEFENDERS.items()}
    adversaries = {name: _load(out / path, game) for name, path in ADVERSARIES.items()}
    results: Results = {
        name: evaluate_prompt_sets(game, defender, np.random.default_rng([seed, 7]))
        for name, defender in defenders.items()
    }
    diversity = _diversity(game, adversaries, defenders, seed=seed, num_attacks=num_attacks)
    shown = {name: measured.self_bleu_diversity for name, measured in diversity.items()}
    attacks = cross_play(game, adversaries, _titled(defenders), num_attacks, seed).asr
    run.write_json("results.json", results_json(results))
    run.write_json("diversity.json", {name: asdict(measured) for name, measured in diversity.items()})
    table = results_table(results, shown)
    rest = _rest_table(out, game, defenders, seed=seed)
    attack_table = (
        ["adversary", *_titled(defenders)],
        [
            [name, *(f"{100 * rate:.1f}" for rate in row)]
            for name, row in zip(adversaries, attacks.tolist(), strict=True)
        ],
    )
    titles = (
        "Defenders (ASR: attack success rate; 95 % intervals over the prompts)",
        "Attack success of adversaries that write their own prompts, % of their harmful attempts",
        "Out of distribution, without the prompts that the adversary wrote in training",
    )
    tables = (table, attack_table, rest)
    run.write_text(
        "table.md",
        "\n".join(f"## {title}\n\n{markdown_table(*content)}\n" for title, content in zip(titles, tables, strict=True)),
    )
    transcripts = _transcripts(game, adversaries["GPO+Div"], defenders, seed=seed)
    run.write_text("transcripts.txt", transcripts + "\n")
    plots = _plots(out, game, results, seed=seed, num_attacks=num_attacks)
    pages = [f"{title}\n\n{text_table(*content)}" for title, content in zip(titles, tables, strict=True)]
    shown_transcripts = "\n\n".join(transcripts.split("\n\n")[:4])
    return "\n\n".join([*pages, f"Transcripts\n\n{shown_transcripts}", "Plots\n\n" + "\n".join(map(str, plots))])


def _load(folder: Path, game: RedTeam) -> CausalLMAgent:
    return CausalLMAgent.from_pretrained(folder, game.vocabulary)


def _titled(defenders: Mapping[str, CausalLMAgent]) -> dict[str, CausalLMAgent]:
    return {METHODS[name]: defender for name, defender in defenders.items()}


def _diversity(
    game: RedTeam,
    adversaries: Mapping[str, CausalLMAgent],
    defenders: Mapping[str, CausalLMAgent],
    *,
    seed: int,
    num_attacks: int,
) -> dict[str, DiversityReport]:
    """Return how diverse each method's adversary is at the end, over equally many prompts."""
    encoder, reports = StaticWordEncoder(words_of(game)), {}
    for method, name in OWN_ADVERSARY.items():
        rng = evaluation_rng(seed, 8)
        played = play_pair(game, adversaries[name], defenders[method], num_attacks, rng)
        prompts = [episode.dialogue.turns[0].tokens for episode in played]
        texts = [game.vocabulary.decode(prompt) for prompt in prompts]
        reports[method] = measure_diversity(prompts, texts, encoder, rng, parse=parser_of(game))
    return reports


def _rest_table(
    out: Path, game: RedTeam, defenders: Mapping[str, CausalLMAgent], *, seed: int
) -> tuple[list[str], list[list[str]]]:
    """Return, for GPO with and without diversity, all defenders' ASR on what its adversary did not write."""
    header = ["adversary of", "wrote", "left", *(f"ASR %\n{METHODS[name]}" for name in defenders)]
    rows = []
    for method in ("gpo", "gpo_div"):
        written = {tuple(prompt) for prompt in read_json_list(out / method / PRODUCED_FILE)}
        wrote = sum(num_excluded(name, written) for name in OUT_OF_DISTRIBUTION)
        counts = [_on_the_rest(game, defender, written, seed=seed) for defender in defenders.values()]
        rows.append([METHODS[method], str(wrote), str(counts[0].n), *(f"{100 * count.asr:.1f}" for count in counts)])
    return header, rows


def _on_the_rest(game: RedTeam, defender: CausalLMAgent, written: set[Tokens], *, seed: int) -> Counts:
    rng = np.random.default_rng([seed, 9])
    return pooled(evaluate_prompt_sets(game, defender, rng, OUT_OF_DISTRIBUTION, exclude=written))


def _transcripts(
    game: RedTeam, adversary: CausalLMAgent, defenders: Mapping[str, CausalLMAgent], *, seed: int, num_shown: int = 8
) -> str:
    """Return one adversary's first admitted prompts, as the first and the last defender answer them."""
    played = {
        name: play_pair(game, adversary, defenders[name], 64, evaluation_rng(seed, 10)) for name in ("sft", "gpo_div")
    }
    outcomes = attack_outcomes(played["sft"])
    admitted = [k for k, outcome in enumerate(outcomes) if outcome is not Outcome.ILL_FORMED][:num_shown]
    return "\n\n".join(
        f"-- GPO+Div's adversary against {METHODS[name]}\n{played[name][k].episode.transcript()}"
        for k in admitted
        for name in played
    )


def _plots(out: Path, game: RedTeam, results: Results, *, seed: int, num_attacks: int) -> list[Path]:
    plot_table_bars({METHODS[name]: sets for name, sets in results.items()}, out / "attack_success.png")
    metrics = {METHODS[name]: read_metrics(out / name) for name in ("gpo", "gpo_div")}
    x = {name: [int(str(row["iteration"])) for row in rows] for name, rows in metrics.items()}
    returns = {name: (x[name], [row["defender_return"] for row in rows]) for name, rows in metrics.items()}
    plot_curves(
        returns,  # type: ignore[arg-type]
        out / "defender_return.png",
        title="Defender against its adversary in training",
        x_label="batches",
        y_label="defender's mean return",
    )
    measures = {
        "self_bleu_diversity": "1 - SelfBLEU",
        "embedding_diversity": "1 - cosine",
        "distinct_rate": "share of distinct requests",
    }
    paths = [out / "attack_success.png", out / "defender_return.png"]
    for field, label in measures.items():
        series = {name: (x[name], [_number(row, field) for row in rows]) for name, rows in metrics.items()}
        path = out / f"adversary_{field}.png"
        plot_curves(series, path, title="Diversity of the adversary's prompts", x_label="batches", y_label=label)
        paths.append(path)
    return [*paths, _heat_map(out, game, seed=seed, num_attacks=num_attacks // 2)]


def _number(row: Mapping[str, object], field: str) -> float:
    prompts = row["prompts"]
    value = prompts[field] if isinstance(prompts, dict) else None
    return float("nan") if value is None else float(value)


def _heat_map(out: Path, game: RedTeam, *, seed: int, num_attacks: int) -> Path:
    """Draw the attack success of GPO+Div's adversary after some rounds against its defender after the same."""
    folders = sorted((out / "gpo_div" / "checkpoints").iterdir())
    chosen = np.unique(np.linspace(0, len(folders) - 1, min(MAX_CHECKPOINTS, len(folders))).round().astype(int))
    kept = {folders[k].name.replace("_", " "): folders[k] for k in chosen}
    adversaries = {"base": _load(out / "base/model", game)}
    defenders = {"SFT": _load(out / "sft/model", game)}
    adversaries |= {name: _load(folder / "adversary", game) for name, folder in kept.items()}
    defenders |= {name: _load(folder / "defender", game) for name, folder in kept.items()}
    matrix = cross_play(game, adversaries, defenders, num_attacks, seed).asr
    path = out / "checkpoints.png"
    plot_heat_map(matrix, list(adversaries), list(defenders), path, "GPO+Div: checkpoints against checkpoints")
    return path
