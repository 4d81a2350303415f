"""What GPO's diversity reward is good for: its two terms, its intensity k, and other rewards of novelty.

    python examples/gpo_ablation.py --seeds 5 --out runs/gpo_ablation

R. Zheng et al. (2024, arXiv 2406.10977) pay the adversary k (R_SelfBLEU + R_Embed) / 2 for novelty, k in {0, 1, 5, 10},
and find a moderate k best and the defender safer with the reward than without. Here GPO trains on red_team-v0 at a
third of the demo's scale with k times either term alone, with both, and with three other rewards: the nearest past
prompts (DiveR-CT), the marginal Vendi score, and an entropy bonus (CRT). Each defender then meets prompts that nobody
trained on, and a fresh attacker that is trained against it alone; each adversary meets the SFT defender and its own.

Every seed has its own base model and SFT defender, which all its cells start from. A cell that has its `result.json` is
not trained again, and one that was stopped goes on where it was: call the same command again.
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

from duologue.agents.language_model import CausalLMAgent, StaticWordEncoder, words_of
from duologue.baselines.alignment.attack import AttackConfig, attack
from duologue.baselines.alignment.pretrain import PretrainConfig, pretrain
from duologue.baselines.alignment.sft import SFTConfig, sft
from duologue.baselines.evaluation import (
    attack_counts,
    evaluate_prompt_sets,
    evaluation_rng,
    mean_interval,
    measure_diversity,
    parser_of,
    play_pair,
    pooled,
)
from duologue.baselines.learners.behaviour_cloning import BehaviourCloningConfig
from duologue.baselines.reporting.tables import markdown_table
from duologue.baselines.training.files import write_json, write_text
from duologue.baselines.training.jobs import Bound, Job, train_all
from duologue.baselines.training.loop import use_threads
from duologue.baselines.two_player.diversity_reward import DiversityWeights
from duologue.baselines.two_player.gpo import GPOConfig, gpo
from duologue.baselines.two_player.stage_clock import GPOSchedule
from duologue.envs import make_game
from duologue.envs.games.red_team import RedTeam

BLEU = DiversityWeights(bleu_weight=1.0)
EMBEDDING = DiversityWeights(embedding_weight=1.0)
BOTH = DiversityWeights(bleu_weight=0.5, embedding_weight=0.5)
CELLS: dict[str, DiversityWeights] = {
    "no reward (k = 0)": DiversityWeights(),
    **{
        f"{name}, k = {k}": replace(weights, intensity=float(k))
        for name, weights in (("SelfBLEU", BLEU), ("embedding", EMBEDDING), ("both", BOTH))
        for k in (1, 5, 10)
    },
    "nearest neighbours, 1": DiversityWeights(nearest_weight=1.0),
    "marginal Vendi, 0.25": DiversityWeights(vendi_weight=0.25),
    "entropy, 0.05": DiversityWeights(entropy_weight=0.05),
}
"""By title, k = 0 first, which the others are compared with."""
COLUMNS = {
    "ood_asr": "defender ASR %,\noutside the static set",
    "fresh_asr": "fresh attacker's\nASR %",
    "over_refusal": "refused %,\nbenign disguised",
    "helpful": "helpful %,\nbenign disguised",
    "asr_on_sft": "adversary's ASR %\non SFT",
    "asr_on_own": "adversary's ASR %\non its defender",
    "self_bleu_diversity": "1 - SelfBLEU",
    "embedding_diversity": "1 - cosine",
    "vendi_score": "Vendi score",
    "distinct_rate": "distinct %",
}
"""What is measured of a cell; rates are shown in percent."""
SMOKE_CLONING = BehaviourCloningConfig(num_steps=2)


@dataclass(frozen=True, kw_only=True)
class AblationOptions:
    """How often, how much, and where to."""

    seeds: int = 5
    """Trainings of each cell."""
    out: Path = Path("runs/gpo_ablation")
    """The folder of all runs and the table."""
    num_processes: int = 2
    """Cells that are trained at the same time; the results are the same for any number."""
    smoke: bool = False
    """Three cells, tiny, to see it work."""


@dataclass(frozen=True)
class Cell:
    """One training and what is measured of it."""

    title: str
    config: GPOConfig
    attack_steps: int
    """Updates of the fresh attacker."""
    num_attacks: int
    """Episodes in which an adversary meets a defender."""


def main(options: AblationOptions) -> None:
    """Train what is missing, and print the table."""
    use_threads(1)
    started, titles = time.monotonic(), list(CELLS)
    titles = [titles[0], *titles[-2:]] if options.smoke else titles
    num_seeds = min(2, options.seeds) if options.smoke else options.seeds
    out = options.out.resolve()
    for seed in range(num_seeds):
        folder = out / f"seed{seed}"
        folder.mkdir(parents=True, exist_ok=True)
        train_all(
            jobs(options, titles, seed, folder), folder, num_processes=options.num_processes, preload=gpo.__module__
        )
        print(f"seed {seed}: {time.monotonic() - started:.0f} s", flush=True)
    results = {title: [read_result(out / f"seed{seed}" / slug(title)) for seed in range(num_seeds)] for title in titles}
    page = tables(results)
    write_text(out / "table.md", page + "\n")
    write_json(out / "results.json", results)
    print(f"\n{page}")


def jobs(options: AblationOptions, titles: Sequence[str], seed: int, folder: Path) -> list[Job]:
    """Return what is to be done for a seed, the models that all cells start from first."""
    base, defender = folder / "base/model", folder / "sft/model"
    first = starting_jobs(base, folder, seed, smoke=options.smoke)
    schedule = GPOSchedule(num_rounds=6, defend_steps=8, attack_steps=4, batch_size=128)
    if options.smoke:
        schedule = GPOSchedule(num_rounds=1, defend_steps=1, attack_steps=2, batch_size=8)
    todo = [title for title in titles if not (folder / slug(title) / "result.json").is_file()]
    cells = []
    for title in todo:
        config = GPOConfig(
            defender=defender,
            adversary=base,
            out=folder / slug(title),
            seed=seed,
            schedule=schedule,
            diversity=CELLS[title],
            keep_checkpoints=False,
            num_threads=1,
        )
        cell = Cell(title, config, *((2, 16) if options.smoke else (24, 512)))
        cells.append(Job(slug(title), Bound(train_cell, cell), schedule.num_steps, tuple(job.name for job in first)))
    return [*first, *cells] if cells else []


def starting_jobs(base: Path, folder: Path, seed: int, *, smoke: bool) -> list[Job]:
    """Return the runs that make a seed's base model and SFT defender."""
    pretraining = PretrainConfig(out=folder / "base", seed=seed, num_threads=1)
    tuning = SFTConfig(model=base, out=folder / "sft", seed=seed, num_threads=1)
    if smoke:
        pretraining = replace(pretraining, num_demonstrations=50, cloning=SMOKE_CLONING)
        cloning = replace(SMOKE_CLONING, tokens_of="player_1")
        tuning = replace(tuning, num_demonstrations=50, cloning=cloning)
    return [
        Job("base", Bound(pretrain, pretraining), pretraining.cloning.num_steps),
        Job("sft", Bound(sft, tuning), tuning.cloning.num_steps, ("base",)),
    ]


def slug(title: str) -> str:
    """Return a title as the name of a folder."""
    return "_".join("".join(letter if letter.isalnum() or letter == "." else " " for letter in title).split())


def train_cell(cell: Cell) -> None:
    """Train both players, then a fresh attacker against the defender, and write what comes of it."""
    config = cell.config
    folder = gpo(config)
    attacking = AttackConfig(
        defender=folder / "defender",
        adversary=config.adversary,
        out=folder / "fresh_attack",
        seed=config.seed + 1000,
        num_steps=cell.attack_steps,
        batch_size=config.schedule.batch_size,
        num_threads=1,
    )
    attack(attacking)
    write_json(folder / "result.json", measured(cell))


def measured(cell: Cell) -> dict[str, float]:
    """Return the numbers of a finished cell, by the names of `COLUMNS`."""
    game, config, seed = make_game("red_team-v0"), cell.config, cell.config.seed
    assert isinstance(game, RedTeam)
    assert config.defender is not None
    folders = {"defender": "defender", "adversary": "adversary", "fresh": "fresh_attack/model"}
    agents = {name: _load(config.out / path, game) for name, path in folders.items()}
    defender, sft_defender = agents["defender"], _load(config.defender, game)
    sets = evaluate_prompt_sets(game, defender, np.random.default_rng([seed, 7]))

    def met(adversary: CausalLMAgent, victim: CausalLMAgent) -> list[Any]:
        return play_pair(game, adversary, victim, cell.num_attacks, evaluation_rng(seed, 8))

    own = met(agents["adversary"], defender)
    prompts = [episode.dialogue.turns[0].tokens for episode in own]
    texts, encoder = [game.vocabulary.decode(prompt) for prompt in prompts], StaticWordEncoder(words_of(game))
    report = measure_diversity(prompts, texts, encoder, np.random.default_rng([seed, 9]), parse=parser_of(game))
    return {
        "ood_asr": pooled(sets).asr,
        "fresh_asr": attack_counts(met(agents["fresh"], defender)).asr,
        "over_refusal": sets["benign_disguised"].refusal_rate,
        "helpful": sets["benign_disguised"].helpful_rate,
        "asr_on_sft": attack_counts(met(agents["adversary"], sft_defender)).asr,
        "asr_on_own": attack_counts(own).asr,
    } | {name: float(value) for name, value in asdict(report).items() if name in COLUMNS}


def _load(folder: Path, game: RedTeam) -> CausalLMAgent:
    return CausalLMAgent.from_pretrained(folder, game.vocabulary)


def read_result(folder: Path) -> dict[str, float]:
    """Return what was measured of a cell."""
    result: dict[str, float] = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    return result


def tables(results: dict[str, list[dict[str, float]]]) -> str:
    """Return means over seeds, and differences from k = 0 paired by seed, with 95 % intervals."""
    reference = next(iter(results.values()))
    header = ["reward of novelty", *COLUMNS.values()]
    means = [
        [title, *(_shown(name, [run[name] for run in runs]) for name in COLUMNS)] for title, runs in results.items()
    ]
    paired = [
        [title, *(_shown(name, [a[name] - b[name] for a, b in zip(runs, reference, strict=True)]) for name in COLUMNS)]
        for title, runs in list(results.items())[1:]
    ]
    note = (
        f"Mean over {len(reference)} seeds and half its 95 % interval (Student's t). An attacker's "
        "ASR is the share of its harmful attempts; those whose prompt was ill-formed have failed."
    )
    first, second = markdown_table(header, means), markdown_table(header, paired)
    return f"{note}\n\n{first}\n\nDifference from no reward, paired by seed:\n\n{second}"


def _shown(name: str, values: Sequence[float]) -> str:
    percent = "%" in COLUMNS[name]
    mean, digits = mean_interval([100 * value if percent else value for value in values]), 1 if percent else 2
    return f"{mean.value:.{digits}f} ± {mean.half_width:.{digits}f}" if len(values) > 1 else f"{mean.value:.{digits}f}"


if __name__ == "__main__":
    main(tyro.cli(AblationOptions, description=__doc__))
