"""The main job at a tiny size: whole, resumable, and the same numbers after a kill."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from duologue.baselines.alignment.ciphers import CEILING_TIMES, SETTINGS
from duologue.baselines.alignment.pretrain import PretrainConfig, pretrain
from duologue.baselines.alignment.rlhf import RLHFConfig, rlhf
from duologue.baselines.alignment.sft import SFTConfig, sft
from duologue.baselines.learners.behaviour_cloning import BehaviourCloningConfig
from duologue.baselines.studies.arms_race import read_race
from duologue.baselines.studies.ciphers import (
    ATTACKERS,
    METHODS,
    NUM_SEARCHED,
    QUICK,
    REMEDIES,
    Start,
    learning,
    training_jobs,
)
from duologue.baselines.studies.ciphers_measures import measure_defender, read_measures
from duologue.baselines.studies.demo import DemoConfig, matchups_job, measuring_jobs
from duologue.baselines.studies.demo_report import PLOTS, report
from duologue.baselines.studies.main_comparison import attackers_jobs
from duologue.baselines.studies.matchups import read_matchups
from duologue.baselines.training.options import load_model
from duologue.baselines.training.run import Run
from duologue.baselines.two_player.diversity_reward import MICRO_DIVERSITY, DiversityWeights
from duologue.envs.games.red_team_ciphers.game import RedTeamCiphers

TINY_GPO = "--num-threads 1 --schedule.num-rounds 2 --schedule.defend-steps 3 --schedule.attack-steps 3 --schedule.batch-size 8 --save-every 2 --bleu-weight 2 --embedding-weight 1"  # noqa: E501


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base model and an SFT defender that have learnt next to nothing."""
    folder = tmp_path_factory.mktemp("start")
    cloning = BehaviourCloningConfig(num_steps=4, batch_size=8)
    base = pretrain(
        PretrainConfig(out=folder / "base", num_demonstrations=40, hidden_size=16, num_layers=1, cloning=cloning)
    )
    player_1 = BehaviourCloningConfig(num_steps=4, batch_size=8, tokens_of="player_1")
    sft(SFTConfig(model=base / "model", out=folder / "sft", num_demonstrations=40, cloning=player_1))
    return folder


def train_gpo(start: Path, out: Path) -> subprocess.Popen[bytes]:
    """Start the command as a user does."""
    players = ["--defender", str(start / "sft/model"), "--adversary", str(start / "base/model")]
    command = [sys.executable, "-m", "duologue", "train", "gpo", "--out", str(out), *players, *TINY_GPO.split()]
    with out.with_suffix(".log").open("w") as log:
        return subprocess.Popen(command, stdout=log, stderr=log)


def weights(folder: Path) -> dict[str, np.ndarray]:
    """Return every array of every checkpoint of a run."""
    return {
        f"{file.relative_to(folder)}:{name}": array
        for file in sorted(folder.rglob("*.safetensors"))
        if "state" not in file.parts
        for name, array in load_file(file).items()
    }


def test_a_killed_run_resumes_and_ends_in_the_same_numbers(start: Path, tmp_path: Path) -> None:
    """Killed by SIGKILL at a random step; metrics and weights are then compared bit for bit."""
    whole = train_gpo(start, tmp_path / "whole")
    assert whole.wait() == 0, (tmp_path / "whole.log").read_text()
    out, kill_at = tmp_path / "killed", int(np.random.default_rng(5).integers(3, 10))
    killed = train_gpo(start, out)
    while killed.poll() is None and len(_lines(out)) < kill_at:
        time.sleep(0.005)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert not (out / "finished").exists()
    resumed = train_gpo(start, out)
    assert resumed.wait() == 0, (tmp_path / "killed.log").read_text()
    assert _lines(out) == _lines(tmp_path / "whole")
    expected, got = weights(tmp_path / "whole"), weights(out)
    assert expected.keys() == got.keys()
    assert all(np.array_equal(expected[name], got[name]) for name in expected)
    assert (out / "produced_prompts.json").read_bytes() == (tmp_path / "whole/produced_prompts.json").read_bytes()


def _lines(folder: Path) -> list[str]:
    path = folder / "metrics.jsonl"
    return path.read_text().splitlines() if path.exists() else []


def test_a_run_folder_is_whole(start: Path, tmp_path: Path) -> None:
    """Configuration, versions, metrics, TensorBoard events, transcripts, safetensors and nothing pickled."""
    out = tmp_path / "rlhf"
    rlhf(RLHFConfig(defender=start / "sft/model", out=out, num_steps=2, batch_size=8, num_threads=1))
    config = json.loads((out / "config.json").read_text())
    assert (config["name"], config["config"]["num_steps"]) == ("rlhf", 2)
    assert "torch" in (out / "versions.json").read_text()
    assert [json.loads(line)["iteration"] for line in (out / "metrics.jsonl").read_text().splitlines()] == [1, 2]
    assert list((out / "tensorboard").iterdir())
    assert "defender:" in (out / "transcripts/00002.txt").read_text()
    assert (out / "model/model.safetensors").is_file()
    assert not [path for path in out.rglob("*") if path.suffix in (".bin", ".pt", ".pkl")]


def test_other_options_in_the_folder_of_a_run_are_refused(start: Path, tmp_path: Path) -> None:
    """Results of different settings never mix."""
    config = RLHFConfig(defender=start / "sft/model", out=tmp_path / "run", batch_size=8, num_steps=1, num_threads=1)
    rlhf(config)
    with pytest.raises(ValueError, match="batch_size"):
        rlhf(replace(config, batch_size=4))


def test_every_defender_takes_as_many_updates_of_as_many_episodes() -> None:
    """The claim of the paper is compared at equal gradient steps; who writes the prompts is all that differs.

    The ceiling, which is no method, may take longer.
    """
    for quick in (False, True):
        start = DemoConfig(quick=quick).start
        configs = {job.name: job.train.config for job in training_jobs(start, METHODS)}  # type: ignore[attr-defined]
        gpo = configs["gpo"]
        for name, times in (("rlhf", 1), ("ceiling", CEILING_TIMES)):
            assert configs[name].num_steps == times * gpo.schedule.num_rounds * gpo.schedule.defend_steps
            assert configs[name].batch_size == gpo.schedule.batch_size
            assert configs[name].ppo == gpo.defender_learner.ppo
        rlhf_again = {name: getattr(configs["rlhf"], name) for name in ("out", "options", "num_steps")}
        assert replace(configs["ceiling"], **rlhf_again) == configs["rlhf"]
        assert replace(configs["gpo_div"], out=gpo.out, diversity=DiversityWeights()) == gpo
        frozen = replace(gpo.schedule, attack_steps=0)
        assert replace(configs["paraphrase"], out=gpo.out) == replace(gpo, schedule=frozen)
        searching = replace(frozen, best_of=NUM_SEARCHED)
        assert replace(configs["best_of"], out=gpo.out) == replace(gpo, schedule=searching)


def test_the_study_and_the_benchmark_have_the_same_settings(tmp_path: Path) -> None:
    """Of the starts and of every learner that both have: one that is changed is changed for both."""
    changed = replace(
        SETTINGS,
        start=replace(SETTINGS.start, num_sft_dialogues=50, hidden_size=16, stop_at_unsafe_share=0.5),
        num_updates=36,
        kl_coef=0.125,
        num_minibatches=3,
    )
    start = Start(tmp_path, 0, changed)
    configs = {job.name: job.train.config for job in training_jobs(start, METHODS)}  # type: ignore[attr-defined]
    assert configs["base"].hidden_size == 16
    assert (configs["sft"].num_demonstrations, configs["sft"].stop_at_unsafe_share) == (50, 0.5)
    assert configs["rlhf"].num_steps == configs["gpo"].schedule.num_rounds * 12 == 36
    assert configs["rlhf"].ppo == configs["gpo"].defender_learner.ppo == changed.learner().ppo
    assert configs["gpo"].adversary_learner.ppo == changed.learner(player=0).ppo
    assert configs["gpo"].adversary_learner.ppo.kl_coef == 0.125
    assert configs["gpo_div"].diversity == MICRO_DIVERSITY


def test_a_remedy_is_gpo_with_one_change() -> None:
    """Of the schedule, of what novelty pays, or of how the adversary learns; the defender learns as ever."""
    start = DemoConfig().start
    gpo = METHODS["gpo"].job(start, "gpo").train.config  # type: ignore[attr-defined]
    for name, method in REMEDIES.items():
        config = method.job(start, name).train.config  # type: ignore[attr-defined]
        changed = [field.name for field in fields(config) if getattr(config, field.name) != getattr(gpo, field.name)]
        assert len(changed) == 2
        assert "out" in changed
        assert config.schedule.num_rounds * config.schedule.defend_steps == start.settings.num_updates


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> tuple[Start, str]:
    """All runs of the demo at a tiny size, one after the other in this process, and the page that they give."""
    few = replace(
        QUICK.start,
        num_base_dialogues=200,
        hidden_size=16,
        num_layers=1,
        base=replace(QUICK.start.base, num_steps=4),
        sft=replace(QUICK.start.sft, num_steps=2),
    )
    settings = replace(
        QUICK,
        start=few,
        num_ptx_dialogues=100,
        num_updates=2,
        updates_per_round=1,
        attack_updates_per_round=1,
        batch_size=8,
    )
    start = Start(tmp_path_factory.mktemp("demo"), 0, settings)
    meeting = matchups_job(start, num_tries=2)
    for job in [
        *training_jobs(start, METHODS),
        *measuring_jobs(start, METHODS, num_pairs=4, num_tries=2),
        meeting,
    ]:
        job.train()
    return start, report(Run(start.out), start, num_tries=2)


def test_the_page_has_every_defender_the_race_and_the_matchups(tiny: tuple[Start, str]) -> None:
    """Seven tables, each with a row for each of its players; four pictures; the numbers as JSON."""
    start, page = tiny
    for method in METHODS.values():
        assert page.count(f"\n{method.title} ") >= 4
    for title in ("Defended", "Attack success", "Arms race of GPO,", "Arms race of GPO+Div,", "Adversaries against"):
        assert title in page
    assert {path.name for path in start.out.glob("*.png")} == {*PLOTS, "defended.png"}
    found = json.loads((start.out / "results.json").read_text())
    assert list(found) == [method.title for method in METHODS.values()]


def test_attackers_train_against_a_defender_that_stays_as_it_is(tiny: tuple[Start, str]) -> None:
    """The controls of GPO's adversary: they learn as long as it does, and leave the SFT defender to the last bit."""
    start, _ = tiny
    for job in attackers_jobs(start, num_tries=2):
        job.train()
    settings = start.settings
    for name in ATTACKERS:
        steps = [json.loads(line) for line in (start.out / name / "metrics.jsonl").read_text().splitlines()]
        assert [step["stage"] for step in steps] == ["attack"] * settings.num_rounds * settings.attack_updates_per_round
        learnt, base = (
            load_file(folder / "model.safetensors") for folder in (start.out / name / "adversary", start.base)
        )
        assert any((learnt[key] != base[key]).any() for key in base)
        left, sft = (load_file(folder / "model.safetensors") for folder in (start.out / name / "defender", start.sft))
        assert all((left[key] == sft[key]).all() for key in sft)
    success, best_of = read_matchups(start.out / "attackers")
    assert success.shape == best_of.shape == (2 + len(ATTACKERS) + len(learning(METHODS)), len(METHODS))
    assert (success[0] == best_of[0]).all()  # requests as dealt are the same in every try


def _same_weights(folder: Path, other: Path) -> bool:
    weights, others = (load_file(one / "model.safetensors") for one in (folder, other))
    return all((weights[name] == others[name]).all() for name in weights)


def test_the_tables_hold_what_was_measured_again(tiny: tuple[Start, str]) -> None:
    """A defender that is loaded and asked everything once more gives the numbers of the file, to the last bit."""
    start, _ = tiny
    game = RedTeamCiphers()
    for name in ("sft", "gpo"):
        agent = load_model(start.out / name / METHODS[name].model, game)
        assert measure_defender(agent, num_pairs=4) == read_measures(start.out / f"{name}_measures")


def test_a_race_has_a_row_for_each_round(tiny: tuple[Start, str]) -> None:
    """Before the first round and after each; shares of attempts."""
    start, _ = tiny
    race = read_race(start.out / "gpo_race")
    assert race.num_rounds == start.settings.num_rounds
    assert race.success.shape == (race.num_rounds + 1, race.num_rounds + 1)
    assert ((race.success >= 0) & (race.success <= 1)).all()
    assert (race.succeeded <= race.written + 1e-12).all()
