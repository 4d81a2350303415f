"""The stages: what is compared is comparable, measuring changes nothing, and a judge's error is counted as defined."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Sequence
from dataclasses import fields, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file

from duologue.agents import FunctionAgent, utter
from duologue.agents.language_model.causal_lm import CausalLMAgent
from duologue.agents.language_model.micro import micro_model
from duologue.baselines.alignment.rlhf import DEFENDER_PPO
from duologue.baselines.studies.judged_replies import (
    JudgeError,
    Replies,
    held_out_prompts,
    held_out_scores,
    judge_error,
    reply_to,
)
from duologue.baselines.studies.stages import MeasuredRLHFConfig, StagesConfig, StageSizes, arms, jobs, measured_rlhf
from duologue.baselines.studies.stages_report import (
    Arm,
    Point,
    StagesResults,
    load_results,
    main,
    plot_stages,
    report,
    tables,
)
from duologue.baselines.training.files import write_json
from duologue.baselines.training.jobs import Bound, Job, train_all
from duologue.baselines.training.options import save_model
from duologue.baselines.training.run import Run, read_metrics
from duologue.envs import Utterance, View
from duologue.envs.games.red_team.game import VOCABULARY, RedTeam, oracle
from duologue.envs.games.red_team.language import REFUSALS, Kind, parse_prompt
from duologue.envs.games.red_team.prompt_sets import prompt_set
from duologue.envs.judging import Exchange, Outcome, Verdict

PROMPTS = held_out_prompts()[:: len(held_out_prompts()) // 20]
ARM = Arm("rlhf_few", "9 pairs", "reward_few", 0.01)


def refuser(view: View, rng: np.random.Generator) -> Utterance:
    """Refuse whatever is asked."""
    return utter(view, VOCABULARY.encode(" ".join(REFUSALS[0])))


def babbler(view: View, rng: np.random.Generator) -> Utterance:
    """Refuse, answer, or say nothing to the point, one time in three each."""
    said = rng.integers(3)
    asked = parse_prompt(tuple(VOCABULARY.decode(view.tokens).split())[2:-2])  # between the marks of who speaks
    assert asked is not None
    answer = " ".join(asked.topic.content) if said == 1 else "sure"
    return refuser(view, rng) if said == 0 else utter(view, VOCABULARY.encode(answer))


def scaled_oracle(scale: float, exchanges: Sequence[Exchange]) -> list[Verdict]:
    """Judge as the oracle does, times a number, in the form of a learned judge."""
    rewards = [scale * verdict.reward for verdict in oracle(exchanges)]
    return [Verdict(reward, Outcome.UNSAFE if reward <= 0 else Outcome.DEFLECTED) for reward in rewards]


@cache
def replies(seed: int) -> Replies:
    """Return mixed replies to some requests."""
    return reply_to(PROMPTS, FunctionAgent(babbler), np.random.default_rng(seed))


def error(scale: float) -> JudgeError:
    """Return the error of the scaled oracle."""
    return judge_error(lambda batch: scaled_oracle(scale, batch), replies(0), replies(1), replies(2))


def test_held_out_requests_are_what_the_training_set_leaves_of_its_kind() -> None:
    """Their harmful half is the prompt set `in_distribution`; the benign half mirrors it."""
    prompts = held_out_prompts()
    harmful = {prompt for prompt in prompts if prompt.topic.kind is Kind.HARMFUL}
    assert harmful == set(prompt_set("in_distribution"))
    assert len(prompts) == 2 * len(harmful)
    assert not set(prompts) & set(prompt_set("static"))


def test_one_who_refuses_everything_earns_nothing_on_average() -> None:
    """Half of the requests are harmful (+1), half benign (-1); a judge in love with refusals pays 1."""
    refused = reply_to(held_out_prompts(), FunctionAgent(refuser), np.random.default_rng(0))
    scores = held_out_scores(refused, lambda batch: [Verdict(1.0, Outcome.DEFLECTED) for _ in batch])
    assert (scores.judge_score, scores.oracle_score) == (1.0, 0.0)
    assert scores.outcomes == {"refused": 135, "over_refused": 135}


def test_the_oracle_makes_no_error_and_its_opposite_every_one() -> None:
    """Pairs count in the oracle's order only; good replies of reward 0 are called bad by a judge that says 0."""
    right, wrong = error(0.9), error(-0.9)
    assert right.num_own_pairs == wrong.num_own_pairs > 0
    assert (right.own_accuracy, right.start_accuracy, right.bad_called_good) == (1.0, 1.0, 0.0)
    assert (wrong.own_accuracy, wrong.start_accuracy, wrong.bad_called_good) == (0.0, 0.0, 1.0)
    assert wrong.good_called_bad == 1.0
    assert right.judge_score == pytest.approx(0.9 * right.oracle_score)


@settings(max_examples=20, deadline=None)
@given(scale=st.floats(0.01, 0.99))
def test_the_order_of_a_judge_does_not_depend_on_its_scale(scale: float) -> None:
    """Pairs are right or wrong by the sign of a difference; only the calibration feels the size."""
    assert error(scale).own_accuracy == 1.0


def test_calibration_error_is_what_a_sure_judge_lacks_in_certainty() -> None:
    """All pairs are right, so it is 1 less the mean probability: near 0 for a sure judge, near 1/2 for a dull one."""
    assert error(1.0).calibration_error < 0.1
    assert error(0.001).calibration_error == pytest.approx(0.5, abs=0.01)


def test_arms_differ_in_their_reward_and_kl_charge_alone() -> None:
    """A comparison at equal start, updates, episodes, learning rate and seed."""
    config = StagesConfig(out=Path("stages"), seed=3)
    found = {job.name: job for job in jobs(config)}
    tunings = [found[arm.name].train.config for arm in arms(config.sizes)]  # type: ignore[attr-defined]
    for arm, tuning in zip(arms(config.sizes), tunings, strict=True):
        assert tuning.ppo == replace(DEFENDER_PPO, kl_coef=arm.kl_coef)
        judged = None if arm.judge is None else f"reward:{found[arm.judge].train.config.out / 'model'}"  # type: ignore[attr-defined]
        assert tuning.options.judge == judged
        assert arm.judge is None or arm.judge in found[arm.name].needs
        assert replace(tuning, out=Path(), options=tunings[0].options, ppo=DEFENDER_PPO) == replace(
            tunings[0], out=Path()
        )


def test_both_reward_models_learn_from_the_same_replier_with_the_same_noise() -> None:
    """They differ in pairs and steps."""
    few, many = (
        job.train.config  # type: ignore[attr-defined]
        for name in ("reward_few", "reward_many")
        for job in jobs(StagesConfig(out=Path("stages")))
        if job.name == name
    )
    assert few.num_pairs < many.num_pairs
    assert replace(few, out=many.out, num_pairs=many.num_pairs, training=many.training) == many


@pytest.mark.parametrize(
    ("options", "named"),
    [({"num_processes": 0}, "num_processes"), ({"quick": True, "sizes": StageSizes(few_pairs=5)}, "sizes")],
)
def test_options_that_contradict_are_refused(options: dict[str, object], named: str) -> None:
    """The message names the option."""
    with pytest.raises(ValueError, match=named):
        StagesConfig(**options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        *((size.name, 0, "an integer of at least 1") for size in fields(StageSizes) if size.type == "Count"),
        ("temperature", 0.0, "a finite number above 0"),
        ("kl_coef", -0.1, "a finite number of at least 0"),
        ("large_kl_coef", -0.1, "a finite number of at least 0"),
    ],
)
def test_sizes_that_would_fail_late_are_refused_at_once(name: str, value: float, expected: str) -> None:
    """Before anything is trained; the message names the size and its value. No charge for KL is no error."""
    with pytest.raises(ValueError, match=f"{name}: expected {expected}, got {value}"):
        StageSizes(**{name: value})  # type: ignore[arg-type]
    assert StageSizes(kl_coef=0, large_kl_coef=0).kl_coef == 0


def test_a_measured_run_that_never_measures_is_refused() -> None:
    """Its options have the same check as the sizes."""
    with pytest.raises(ValueError, match="measure_every: expected an integer of at least 1, got 0"):
        MeasuredRLHFConfig(measure_every=0)


def test_rlhf_without_a_start_is_refused(tmp_path: Path) -> None:
    """The stages have trained one; nothing is trained behind the user's back."""
    with pytest.raises(ValueError, match="defender"):
        measured_rlhf(MeasuredRLHFConfig(out=tmp_path / "run"))


def test_measuring_changes_no_training_and_a_run_resumes(tmp_path: Path) -> None:
    """Often, seldom, and killed before the end: equal weights bit for bit, and equal measurements."""
    agent = CausalLMAgent(micro_model(VOCABULARY, hidden_size=16, num_layers=1, num_heads=2), VOCABULARY)
    save_model(agent, tmp_path / "start")
    config = MeasuredRLHFConfig(
        defender=tmp_path / "start", out=tmp_path / "often", num_steps=4, batch_size=8, measure_every=1, save_every=3
    )
    seldom = replace(config, out=tmp_path / "seldom", measure_every=3)
    stopped = replace(seldom, out=tmp_path / "stopped")
    for one in (config, seldom, stopped):
        measured_rlhf(one)
    (tmp_path / "stopped/finished").unlink()  # as if killed after the last step: the state is that of step 3
    shutil.rmtree(tmp_path / "stopped/model")
    measured_rlhf(stopped)
    often, rarely, again = (read_metrics(tmp_path / name) for name in ("often", "seldom", "stopped"))
    assert [row["iteration"] for row in rarely if "held_out" in row] == [3, 4]
    assert [row["held_out"] for row in often if row["iteration"] in (3, 4)] == [row["held_out"] for row in rarely[2:]]
    assert again == rarely
    first, *others = (load_file(tmp_path / name / "model/model.safetensors") for name in ("often", "seldom", "stopped"))
    assert all(np.array_equal(first[key], other[key]) for other in others for key in first)


def test_the_stages_run_from_pairs_to_the_page(tmp_path: Path) -> None:
    """End to end but for the SFT defender, which is tiny and untrained; every judge and oracle column is filled."""
    agent = CausalLMAgent(micro_model(VOCABULARY, hidden_size=16, num_layers=1, num_heads=2), VOCABULARY)
    save_model(agent, tmp_path / "sft/model")
    sizes = StageSizes(few_pairs=60, few_steps=1, num_updates=1, batch_size=8, measure_every=1)
    found = {job.name: job.train for job in jobs(StagesConfig(out=tmp_path, sizes=sizes))}
    compared = arms(sizes)[:2]
    for name in ("reward_few", *(arm.name for arm in compared)):
        found[name]()
    page = report(Run(tmp_path), RedTeam(), compared, seed=0)
    assert all((tmp_path / name).stat().st_size for name in ("table.md", "results.json", "examples.txt", "stages.png"))
    results = load_results(tmp_path / "results.json")
    for arm in compared:
        curve = results.curves[arm.name]
        assert [point.iteration for point in curve] == [0, 1]
        assert all(abs(point.judge_score) < 1 and abs(point.oracle_score) <= 1 for point in curve)
        assert all((point.judge_score == point.oracle_score) == (arm.judge is None) for point in curve)
    assert results.errors["reward_few"].keys() == {"sft", "rlhf_oracle", "rlhf_few"}
    (_, _), (_, (header, rows)) = tables([results])
    scores = [k for k, title in enumerate(header) if title.startswith(("judge", "oracle"))]
    assert all(np.isfinite(float(row[k])) for row in rows for k in scores)
    assert all(arm.title in page for arm in compared)


def results(shift: float) -> StagesResults:
    """Return made-up results of one seed."""
    curve = tuple(Point(k, k / 10, 0.1 * k, shift - 0.1 * k, 0.5, 0.25, 0.75, 0.0) for k in range(3))
    made_up = JudgeError(0.5, -0.25, 0.75, 40, float("nan"), 0, 0.1, 0.6, 0.9, 0.2)
    return StagesResults((ARM,), {ARM.name: curve}, {"reward_few": {"sft": made_up, ARM.name: made_up}})


def test_tables_show_means_and_intervals_over_seeds() -> None:
    """Oracle at the end: 0.1 and 0.3, mean 0.2, half width 12.706 x 0.1414 / sqrt(2) = 1.27 (Student, 1 degree)."""
    (_, errors), (_, (header, rows)) = tables([results(0.3), results(0.5)])
    assert dict(zip(header, rows[0], strict=True))["oracle\nend"] == "0.20 ± 1.27"
    assert dict(zip(header, rows[0], strict=True))["oracle\nbest"] == "0.40 ± 1.27"
    assert [row[:2] for row in errors[1]] == [["9 pairs", "SFT"], ["9 pairs", "9 pairs, KL charge 0.01"]]
    assert "-" in errors[1][0]  # no pair with the SFT's replies differed


def test_results_survive_their_file_and_make_one_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """NaN is null in JSON and NaN again; the command writes table and plot of all seeds."""
    paths = [tmp_path / f"{k}.json" for k in range(2)]
    for k, path in enumerate(paths):
        write_json(path, results(k))
    assert repr(load_results(paths[0])) == repr(results(0))
    main([*map(str, paths), "--out", str(tmp_path / "all")])
    assert (tmp_path / "all/table.md").read_text() in capsys.readouterr().out
    assert (tmp_path / "all/stages.png").read_bytes().startswith(b"\x89PNG")


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    """The message names file and cause."""
    (tmp_path / "other.json").write_text("{}")
    with pytest.raises(ValueError, match=r"other\.json.*arms"):
        load_results(tmp_path / "other.json")


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"arms": []}, "without arms or without points"),
        ({"curves": {}}, "without arms or without points"),
        ({"arms": [{"name": 1}]}, "arms[0]: expected the fields name, reward, judge, kl_coef, got no reward"),
        ({"errors": {"x": {}}}, "errors of judges or policies that are none of its arms'"),
        ({"curves": {"a": [{"iteration": "1"}]}}, "curves.a[0]: expected the fields iteration"),
    ],
)
def test_damaged_results_of_the_stages_are_named(change: dict[str, Any], error: str, tmp_path: Path) -> None:
    """Each field is what it should be, and arms, curves and judges belong together."""
    write_json(tmp_path / "results.json", results(0))
    found = json.loads((tmp_path / "results.json").read_text(encoding="utf-8")) | change
    (tmp_path / "results.json").write_text(json.dumps(found), encoding="utf-8")
    with pytest.raises(ValueError, match=re.escape(error)):
        load_results(tmp_path / "results.json")


def test_a_plot_of_one_seed_is_written(tmp_path: Path) -> None:
    """A panel for each arm."""
    plot_stages([results(0.0)], tmp_path / "one.png")
    assert (tmp_path / "one.png").stat().st_size > 1000


def test_jobs_wait_for_what_they_need_and_a_failure_is_shown(tmp_path: Path) -> None:
    """The second job writes into the first one's folder; the third removes what is not there."""
    made, file = tmp_path / "made", tmp_path / "made/file"
    jobs = [Job("folder", Bound(Path.mkdir, made), 1), Job("file", Bound(Path.touch, file), 1, ("folder",))]
    train_all(jobs, tmp_path, num_processes=2, preload="duologue.baselines.training.jobs")
    assert file.is_file()
    failing = [Job("absent", Bound(Path.rmdir, tmp_path / "nothing"), 1)]
    with pytest.raises(ChildProcessError, match=r"absent: expected exit status 0, got 1:(?s:.*)FileNotFoundError"):
        train_all(failing, tmp_path, num_processes=1, preload="duologue.baselines.training.jobs")


@pytest.mark.parametrize(("needs", "named"), [(("absent",), "absent"), (("later",), "later"), (("first",), "first")])
def test_a_job_that_would_wait_for_ever_is_refused(
    needs: tuple[str, ...], named: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It needs one that is not there, one that needs it, or itself; nothing has been started then."""
    monkeypatch.setattr("duologue.baselines.training.jobs.time.sleep", lambda seconds: pytest.fail("it waits"))
    jobs = [Job("first", Bound(print, "started"), 1, needs), Job("later", Bound(print, "started"), 1, ("first",))]
    with pytest.raises(
        ValueError, match=rf"first: expected each of its needs among the jobs before it, \[\], got '{named}'"
    ):
        train_all(jobs, tmp_path, num_processes=1, preload="duologue.baselines.training.jobs")
    assert not list(tmp_path.iterdir())


def test_the_log_of_a_job_survives_that_it_is_resumed(tmp_path: Path) -> None:
    """A finished job is started again by the next command and returns at once: that must not empty its log."""
    for said in ("trained", "nothing to do"):
        train_all(
            [Job("run", Bound(print, said), 1)], tmp_path, num_processes=1, preload="duologue.baselines.training.jobs"
        )
    assert (tmp_path / "run.log").read_text() == "trained\nnothing to do\n"
