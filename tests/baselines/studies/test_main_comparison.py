"""The tables over seeds, on numbers whose means and differences are known; and which runs of a seed are missing."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

from duologue.baselines.studies.arms_race import ArmsRace
from duologue.baselines.studies.ciphers import ATTACKERS, METHODS, REMEDIES, Start, learning
from duologue.baselines.studies.ciphers_measures import DefenderMeasures, pairs
from duologue.baselines.studies.main_comparison import MainComparisonConfig, missing_jobs
from duologue.baselines.studies.main_comparison_report import (
    HEADLINE,
    REFERENCE,
    SeedResults,
    attack_differences,
    attacks_table,
    comparison_page,
    headline_tests,
    scores,
    write_report,
)
from duologue.envs.games.red_team_ciphers.language import NUM_STYLES

ZERO = DefenderMeasures(**{field.name: 0 for field in fields(DefenderMeasures)})
LEVELS = {name: 0.1 * k for k, name in enumerate(METHODS)}


def result(seed: int) -> SeedResults:
    """Method k is at k tenths, and all are a little higher with each seed; RLHF differs from SFT by luck alone."""
    measures = {
        name: replace(ZERO, defended=level + 0.01 * seed, asr=0.5 - level / 2) for name, level in LEVELS.items()
    }
    luck = 0.02 * (-1) ** seed
    measures["rlhf"] = replace(measures["rlhf"], defended=measures["sft"].defended + luck)
    success = np.full((3, 3), 0.1 * (seed + 1))
    styles = np.full((3, 1 + NUM_STYLES), 0.02)
    return SeedResults(measures, {name: ArmsRace(success, styles, styles) for name in learning(METHODS)})


def test_means_and_differences_are_those_of_the_seeds() -> None:
    """Four seeds: the mean of a method, its difference from the reference, and which pairs are told apart."""
    runs = [result(seed) for seed in range(4)]
    assert scores(runs, "gpo", HEADLINE).shape == (4, 1)
    tests = {(test.first, test.second): test for test in headline_tests(runs, METHODS)}
    assert len(tests) == len(METHODS) * (len(METHODS) - 1) // 2
    gap = tests[METHODS["sft"].title, METHODS["gpo"].title].difference
    assert gap.value == pytest.approx(LEVELS["sft"] - LEVELS["gpo"])
    assert gap.half_width == pytest.approx(0.0, abs=1e-9)
    same = tests[METHODS["sft"].title, METHODS["rlhf"].title].difference
    assert same.low < 0 < same.high
    page = comparison_page(runs, METHODS)
    num_pairs = len(tests)
    assert f"Of {num_pairs} pairs of methods {num_pairs - 1} differ in defended" in page
    assert "Not apart: SFT and RLHF." in page
    assert "on rare styles only the ceiling is, one at a time" in page
    gain = 100 * (LEVELS["gpo"] - LEVELS[REFERENCE])
    assert f"{gain:.1f} ± 0.0" in page


def test_attackers_are_shown_against_every_defender() -> None:
    """Attacker k succeeds in k tenths of its attempts with each defender, one point more in the other seed."""
    num_attackers = 2 + len(ATTACKERS) + len(learning(METHODS))
    levels = np.repeat(np.arange(num_attackers)[:, None] / 10, len(METHODS), axis=1)
    runs = [replace(result(seed), attacks=(levels + 0.01 * seed, levels)) for seed in range(2)]
    header, rows = attacks_table(runs, 0)
    assert header[1:] == [method.title for method in METHODS.values()]
    assert rows[3][0] == "RLHF+Div against SFT"
    assert rows[3][1].startswith("30.5 ± ")
    assert attacks_table(runs, 1)[1][4][1:] == ["40.0 ± 0.0"] * len(METHODS)
    assert attack_differences(runs)[1][1] == [
        "GPO+Div less RLHF+Div against SFT",
        *["20.0 ± 0.0 (p 1.000)"] * len(METHODS),
    ]
    assert "best of an attacker's tries" in comparison_page(runs, METHODS)
    assert "best of an attacker's tries" not in comparison_page([*runs, result(2)], METHODS)


def test_one_seed_has_no_intervals_and_no_tests(tmp_path: Path) -> None:
    """Its numbers stand alone; the files are written all the same."""
    page = write_report(tmp_path, {3: result(3)}, METHODS)
    assert "±" not in page.split("\n", 1)[1]
    assert "pairs of methods" not in page
    assert (tmp_path / "arms_race.png").read_bytes().startswith(b"\x89PNG")
    assert "seed3" in (tmp_path / "results.json").read_text()
    assert (tmp_path / "table.md").read_text() == page


def test_a_seeds_runs_are_the_same_whatever_other_seeds_and_remedies_there_are(tmp_path: Path) -> None:
    """So that seeds and remedies can be added; the names and options of a run depend on its own seed alone."""
    few = MainComparisonConfig(out=tmp_path, seeds=1)
    many = MainComparisonConfig(out=tmp_path, seeds=20, remedies=True, num_processes=1)
    start = few.start(0)
    assert start == many.start(0) == Start(tmp_path.resolve() / "seed0", 0)
    alone = {job.name: job for job in missing_jobs(start, few)}
    among = {job.name: job for job in missing_jobs(start, many)}
    assert {name: among[name] for name in alone} == alone
    added = {name.removesuffix("_measures").removesuffix("_race") for name in among.keys() - alone.keys()}
    assert added == set(REMEDIES)


def test_what_a_single_method_starts_from_is_trained_too(tmp_path: Path) -> None:
    """Whatever is asked for alone: its base model and its SFT defender are among the runs, and come first."""
    config = MainComparisonConfig(out=tmp_path, only=("ceiling",))
    jobs = missing_jobs(config.start(0), config)
    assert [job.name for job in jobs] == ["base", "sft", "ceiling", "ceiling_measures"]
    assert [job.needs for job in jobs] == [(), ("base",), ("sft",), ("ceiling",)]


def test_pairs_of_styles_are_drawn_once_and_for_all() -> None:
    """The same for every defender, without repetition; 0: all."""
    assert pairs(5) == pairs(5)
    assert len(set(pairs(100))) == 100
    assert len(pairs(0)) == len(set(pairs(0))) == NUM_STYLES * (NUM_STYLES - 1)
    assert set(pairs(100)) <= set(pairs(0))
