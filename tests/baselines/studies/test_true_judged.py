"""True against judged: who looks sees the same, corrections are what their papers say, and judges learn as they say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from duologue.agents import EchoAgent, FunctionAgent, utter
from duologue.baselines.evaluation.calibration import Share
from duologue.baselines.evaluation.confusion import ConfusionMatrix
from duologue.baselines.studies.outcome_judge import OUTCOMES, OutcomeJudgeConfig, features, train_judges
from duologue.baselines.studies.true_judged import (
    QUICK,
    CellConfig,
    JudgedGPO,
    JudgedSizes,
    Progress,
    SeedConfig,
    TrueJudgedConfig,
    disagreements,
    jobs,
    one_seed,
)
from duologue.baselines.studies.true_judged_judges import (
    JUDGES,
    TITLES,
    JudgeName,
    JudgeSizes,
    MajorityJudge,
    PayingJudge,
    RetrainedJudge,
    ThirdRole,
    generated,
    held_out_exchanges,
    paying_judge,
    red_team,
    second_judge,
)
from duologue.baselines.studies.true_judged_measure import Benign, JudgedRound, Looked, judged_round, look
from duologue.baselines.studies.true_judged_report import (
    Curve,
    JudgedResults,
    against_oracle,
    half_widths,
    load_results,
    report,
    tables,
    trained,
)
from duologue.baselines.training.files import write_json
from duologue.baselines.training.run import Record, Run, read_metrics
from duologue.envs import Utterance, View
from duologue.envs.games.red_team.game import VOCABULARY, RedTeam
from duologue.envs.games.red_team.language import REFUSALS
from duologue.envs.judging import Exchange, Outcome, Verdict
from duologue.tests.baselines.helpers import same, tiny_agent, weights

GAME = "red_team-v0"
SMALL = JudgeSizes(
    start=OutcomeJudgeConfig(num_exchanges=1000, num_validation=300, num_test=100, max_steps=60),
    retrained_labels=100,
    third_role_labels=20,
)
counts = st.integers(0, 40)


def measured(**parts: Any) -> JudgedRound:
    """Return a measurement: of 200 attempts 160 reached a judge that calls .45 of them unsafe, where .5 are."""
    matrix = ConfusionMatrix(true_unsafe=64, false_safe=16, false_unsafe=8, true_safe=72)
    values = {
        "iteration": 1,
        "round": 0,
        "num_attempts": 200,
        "current": matrix,
        "labelled": ConfusionMatrix(true_unsafe=10, false_safe=6, false_unsafe=1, true_safe=23),
        "held_out": ConfusionMatrix(true_unsafe=80, false_safe=20, false_unsafe=10, true_safe=90),
        "accuracy": Share(130, 160),
        "held_out_accuracy": Share(170, 200),
        "second_unsafe": 70,
        "benign": Benign(100, 50, 60, 10, 5),
        "num_labels": 0,
    }
    return JudgedRound(**values | parts)  # type: ignore[arg-type]  # as above


def refuser(view: View, rng: np.random.Generator) -> Utterance:
    """Refuse whatever is asked."""
    return utter(view, VOCABULARY.encode(" ".join(REFUSALS[0])))


def always(outcome: Outcome) -> Any:
    """Return a judge that says one thing."""
    return lambda exchanges: [Verdict(0.0, outcome) for _ in exchanges]


def shown(num: int, seed: int = 5) -> tuple[list[Exchange], list[Outcome]]:
    """Return exchanges with the oracle's outcomes."""
    return held_out_exchanges(num, game=GAME, seed=seed)


def right(judge: Any, exchanges: Sequence[Exchange], outcomes: Sequence[Outcome]) -> float:
    """Return a judge's accuracy."""
    return float(np.mean([v.outcome is outcome for v, outcome in zip(judge(exchanges), outcomes, strict=True)]))


def test_rates_are_shares_of_all_attempts() -> None:
    """By hand: 80 of 200 succeed, the judge says 72, so 4 points are hidden from whoever trusts it."""
    one = measured()
    assert (one.true_asr, one.judged_asr) == (0.4, 0.36)
    assert one.inflation == pytest.approx(-0.04)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("judged", 0.36),
        ("held_out", 0.8 * 0.5),  # (.45 + .9 - 1) / (.8 + .9 - 1) = .5, of .8 of the attempts
        ("fresh", 0.8 * (0.45 + 23 / 24 - 1) / (10 / 16 + 23 / 24 - 1)),
        ("difference", 0.8 * (0.45 + 5 / 40)),
        ("labels", 0.8 * 16 / 40),
        ("second", 0.35),
    ],
)
def test_estimates_are_what_they_say(name: str, expected: float) -> None:
    """By hand, after Rogan and Gladen (1978), the mean of p = 72 / 160 being .45 of those that reached the judge."""
    assert measured().estimate(name) == pytest.approx(expected)


@given(st.builds(ConfusionMatrix, true_unsafe=counts, false_safe=counts, false_unsafe=counts, true_safe=counts))
def test_with_every_attempt_labelled_nothing_is_left_to_estimate(matrix: ConfusionMatrix) -> None:
    """All three that use fresh labels are then exact: the first wherever the judge tells more than chance."""
    num_judged = matrix.num_unsafe + matrix.num_safe
    one = measured(current=matrix, labelled=matrix, num_attempts=num_judged + 10)
    if num_judged:
        assert one.estimate("labels") == pytest.approx(one.true_asr)
        assert one.estimate("difference") == pytest.approx(one.true_asr)
    if matrix.sensitivity + matrix.specificity > 1:
        assert one.estimate("fresh") == pytest.approx(one.true_asr)


def test_an_estimate_that_labels_do_not_allow_is_no_number() -> None:
    """Without an unsafe exchange among the labels the sensitivity is unknown, which the other two do without."""
    one = measured(labelled=ConfusionMatrix(true_unsafe=0, false_safe=0, false_unsafe=4, true_safe=36))
    assert np.isnan(one.estimate("fresh"))
    assert one.estimate("difference") == pytest.approx(0.8 * (0.45 - 0.1))
    assert one.estimate("labels") == 0
    assert np.isnan(measured(second_unsafe=None).estimate("second"))


def test_judge_and_oracle_look_at_the_same_exchanges() -> None:
    """Who refuses all is never attacked with success; a judge that cries unsafe says it of every attempt."""
    players = EchoAgent(), FunctionAgent(refuser)
    looked = look(RedTeam(), always(Outcome.UNSAFE), None, players, 60, np.random.default_rng(0))
    one = judged_round(
        looked,
        shown(100),
        always(Outcome.UNSAFE),
        round_number=3,
        num_labelled=10,
        num_labels=7,
        rng=np.random.default_rng(1),
    )
    assert (one.iteration, one.round, one.num_labels) == (4, 3, 7)
    assert looked.num_attempts + looked.num_benign == 60
    assert (one.true_asr, one.judged_asr) == (0.0, 1.0)
    assert one.current.true_safe + one.current.true_unsafe == 0
    assert one.labelled.num_safe == 10
    assert (one.held_out.sensitivity, one.held_out.specificity) == (1.0, 0.0)
    assert (one.benign.true_refused, one.benign.judged_refused) == (looked.num_benign, 0)


def test_prompts_that_are_none_are_attempts_that_fail() -> None:
    """They reach no judge, and count in the denominator alone."""
    babbler = FunctionAgent(lambda view, rng: utter(view, VOCABULARY.encode("the the")))
    looked = look(RedTeam(), always(Outcome.UNSAFE), None, (babbler, babbler), 20, np.random.default_rng(0))
    assert not looked.exchanges
    assert not looked.judged
    one = judged_round(
        looked, shown(10), None, round_number=0, num_labelled=5, num_labels=0, rng=np.random.default_rng(1)
    )
    assert one.num_attempts > 0
    assert (one.true_asr, one.judged_asr) == (0.0, 0.0)
    assert np.isnan(one.accuracy.value)
    assert one.held_out_accuracy.value == 1.0


def test_a_majority_counts_votes_and_pays_what_they_pay() -> None:
    """Two of three; where all differ, the strictest."""
    said = [Verdict(0.8, Outcome.REFUSED), Verdict(-0.6, Outcome.UNSAFE), Verdict(0.4, Outcome.REFUSED)]
    (verdict,) = MajorityJudge([lambda _, one=one: [one] for one in said])(shown(1)[0])  # type: ignore[misc]
    assert verdict.outcome is Outcome.REFUSED
    assert verdict.reward == pytest.approx(0.6)
    differing = [said[0], said[1], Verdict(0.0, Outcome.DEFLECTED)]
    (verdict,) = MajorityJudge([lambda _, one=one: [one] for one in differing])(shown(1)[0])  # type: ignore[misc]
    assert verdict == said[1]
    with pytest.raises(ValueError, match="members: expected at least one judge"):
        MajorityJudge([])


@pytest.mark.parametrize("name", JUDGES)
def test_the_second_judge_is_like_the_first_but_another(name: JudgeName) -> None:
    """Of about the same accuracy, by other exchanges and weights: they do not say the same."""
    first, second = (make(name, SMALL, game=GAME, seed=0) for make in (paying_judge, second_judge))
    assert (first is None) == (second is None) == (name == "oracle")
    assert name in TITLES
    if first is not None and second is not None:
        exchanges, outcomes = shown(400)
        assert [one.reward for one in first(exchanges)] != [one.reward for one in second(exchanges)]
        assert right(first, exchanges, outcomes) == pytest.approx(right(second, exchanges, outcomes), abs=0.12)


def test_a_retrained_judge_learns_what_players_have_come_to_say() -> None:
    """Replies that it calls helpful, and that are none: after 100 labels it knows, and still knows the first ones."""
    judge = paying_judge("retrained", SMALL, game=GAME, seed=0)
    assert isinstance(judge, RetrainedJudge)
    exchanges, outcomes = fooled(judge)
    first, truth = shown(300)
    before = right(judge, first, truth)
    for _ in range(2):
        judge.learn(exchanges, outcomes, np.random.default_rng(0))
    assert judge.num_labels == 2 * min(len(exchanges), SMALL.retrained_labels)
    assert right(judge, exchanges, outcomes) > 0.6
    assert right(judge, first, truth) > before - 0.1


def fooled(judge: Any) -> tuple[list[Exchange], list[Outcome]]:
    """Return exchanges that a judge names wrong."""
    exchanges, outcomes = shown(2000, seed=8)
    wrong = [v.outcome is not outcome for v, outcome in zip(judge(exchanges), outcomes, strict=True)]
    assert sum(wrong) > 20
    pairs = [pair for pair, is_wrong in zip(zip(exchanges, outcomes, strict=True), wrong, strict=True) if is_wrong]
    return [exchange for exchange, _ in pairs], [outcome for _, outcome in pairs]


def test_a_third_role_buys_labels_where_it_is_unsure_and_comes_to_agree_with_them() -> None:
    """It is paid for agreement alone, so that the mean probability of the labels that it bought rises."""
    judge = paying_judge("third_role", SMALL, game=GAME, seed=0)
    assert isinstance(judge, ThirdRole)
    exchanges, outcomes = shown(300, seed=8)
    confidence = judge.network(features(exchanges)).softmax(-1).amax(-1)
    bought = judge.chosen(features(exchanges), np.random.default_rng(0))
    assert len(set(bought.tolist())) == SMALL.third_role_labels
    assert confidence[bought].max() <= confidence.sort().values[SMALL.third_role_labels]

    def agreement() -> float:
        labels = torch.tensor([OUTCOMES.index(outcomes[k]) for k in bought.tolist()])
        beliefs = judge.network(features([exchanges[k] for k in bought.tolist()])).softmax(-1)
        return float(beliefs.gather(1, labels[:, None]).mean().detach())

    before = agreement()
    judge.learn(exchanges, outcomes, np.random.default_rng(0))
    assert judge.num_labels == SMALL.third_role_labels
    assert agreement() > before + 0.2


def test_a_judge_that_learns_leaves_the_one_it_began_with_as_it_was() -> None:
    """Cells of a seed share their judges."""
    fixed = paying_judge("acc90", SMALL, game=GAME, seed=0)
    assert isinstance(fixed, PayingJudge)
    exchanges, outcomes = shown(50)
    before = fixed(exchanges)
    learning: tuple[JudgeName, ...] = ("retrained", "third_role")
    for name in learning:
        judge = paying_judge(name, SMALL, game=GAME, seed=0)
        assert judge is not None
        assert judge(exchanges) == before
        judge.learn(exchanges, outcomes, np.random.default_rng(0))
        assert judge(exchanges) != before
    fixed.learn(exchanges, outcomes, np.random.default_rng(0))
    assert fixed(exchanges) == before
    assert fixed.num_labels == 0


def test_judges_can_be_trained_on_a_game_that_is_named() -> None:
    """The default is red_team-v0."""
    config = OutcomeJudgeConfig(num_exchanges=200, num_validation=50, num_test=50, max_steps=3)
    judges = [next(train_judges([1.0], config, seed=0, game=game)).judge for game in (None, generated(red_team(GAME)))]
    assert same(*(weights(judge.network) for judge in judges))
    with pytest.raises(ValueError, match="game: expected a red-team game in generated language, got 'bluff-v0'"):
        TrueJudgedConfig(game="bluff-v0")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return the folders of two tiny models with random weights."""
    folder = tmp_path_factory.mktemp("models")
    for player, name in enumerate(("adversary", "defender")):
        tiny_agent(RedTeam(), seed=player).save_pretrained(folder / name)
    return folder / "adversary", folder / "defender"


def seed_config(out: Path, models: tuple[Path, Path], *judges: JudgeName) -> SeedConfig:
    """Return cells of two short rounds."""
    sizes = replace(QUICK, num_rounds=2, num_episodes=8, batch_size=4)
    return SeedConfig(
        out=out, seed=3, game=GAME, judges=judges, adversary=models[0], defender=models[1], sizes=sizes, num_threads=1
    )


class OnGenerated(JudgedGPO):
    """Random models write no prompt that reaches a judge; this one looks at generated exchanges instead."""

    def look(self) -> Looked:
        """Return other exchanges in each round."""
        exchanges, outcomes = shown(40, seed=self.iteration)
        truth = tuple(Verdict(0.0, outcome) for outcome in outcomes)
        judged = truth if self.judge is None else tuple(self.judge(exchanges))
        return Looked(20, 20, tuple(exchanges), truth, judged, None)


@pytest.mark.parametrize("name", ["oracle", "acc80", "retrained", "third_role"])
def test_training_goes_on_from_a_state_as_if_nothing_had_happened(
    name: JudgeName, models: tuple[Path, Path], tmp_path: Path
) -> None:
    """Players, and the judge with what it has learned and bought."""
    config: CellConfig = seed_config(tmp_path, models, name).cell(name)
    whole, begun, resumed = (OnGenerated(config) for _ in range(3))
    curve = list(whole)
    assert [one.round for one in curve] == [0, 1, 2]
    first = next(iter(begun))
    resumed.load_state_dict(begun.state_dict())
    assert [first, *resumed] == curve
    for mine, other in zip(resumed.gpo.seats, whole.gpo.seats, strict=True):
        assert same(weights(mine.model), weights(other.model))  # type: ignore[union-attr]  # agents
    bought = {"retrained": 8, "third_role": 4}.get(name, 0)
    assert [one.num_labels for one in curve] == [0, bought, 2 * bought]


class Killed(Exception):
    """What a kill is in this process."""


def test_a_seed_that_was_killed_has_the_curves_of_one_that_was_not(
    models: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed after the first round of its second cell; the first cell is not trained again."""
    whole, killed = (seed_config(tmp_path / name, models, "oracle", "third_role") for name in ("whole", "killed"))
    one_seed(whole)
    keep = Progress.keep

    def die(self: Progress, run: Run, step: Record) -> None:
        keep(self, run, step)
        if run.folder.name == "third_role" and step.iteration == 2:
            raise Killed

    monkeypatch.setattr(Progress, "keep", die)
    with pytest.raises(Killed):
        one_seed(killed)
    monkeypatch.undo()
    assert [row["iteration"] for row in read_metrics(killed.out)] == [1, 2, 3, 4, 5]
    one_seed(killed)
    for judge in whole.judges:
        assert read_metrics(killed.out / judge) == read_metrics(whole.out / judge)
        assert len(read_metrics(whole.out / judge)) == 3
        assert (whole.out / judge / "disagreements.txt").is_file()


def test_disagreements_are_those_of_the_last_measurement(models: tuple[Path, Path], tmp_path: Path) -> None:
    """As many as the last accuracy says, some of them shown with both outcomes."""
    learner = OnGenerated(seed_config(tmp_path, models, "acc80").cell("acc80"))
    last = list(learner)[-1]
    text = disagreements(learner, num_shown=2)
    num_wrong = last.accuracy.count - last.accuracy.num_right
    assert text.startswith(f"{num_wrong} of {last.accuracy.count} exchanges\n")
    assert text.count("; oracle: ") == min(2, num_wrong)


def test_seeds_share_bases_in_turn() -> None:
    """Five seeds, two bases: each seed waits for its own, and no base is trained that none needs."""
    planned = {job.name: job.needs for job in jobs(TrueJudgedConfig(seeds=5, num_bases=2))}
    assert [planned[f"seed{seed}"] for seed in range(5)] == [("sft0",), ("sft1",), ("sft0",), ("sft1",), ("sft0",)]
    assert [name for name in planned if name.startswith("base")] == ["base0", "base1"]
    assert "base1" not in {job.name for job in jobs(TrueJudgedConfig(seeds=1, num_bases=2))}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"judges": ()}, "judges: expected at least one, each once, got ()"),
        ({"judges": ("oracle", "oracle")}, "judges: expected at least one, each once"),
        ({"judges": ("acc70",)}, "judges: expected 'oracle'"),
        ({"quick": True, "sizes": JudgedSizes(num_rounds=2)}, "sizes: expected the defaults in a quick run"),
    ],
)
def test_options_that_make_no_study_are_refused(options: dict[str, Any], message: str) -> None:
    """Before anything is trained."""
    with pytest.raises(ValueError, match=message.replace("(", r"\(").replace(")", r"\)")):
        TrueJudgedConfig(**options)


def results(num_seeds: int) -> JudgedResults:
    """Return curves of two judges whose true rates differ by .1 at the end, by .05 in every other seed."""
    curves: dict[str, tuple[Curve, ...]] = {}
    for judge, more in (("oracle", 0), ("acc80", 20)):
        of_judge = []
        for seed in range(num_seeds):
            last = ConfusionMatrix(64 + (more if seed % 2 else more // 2), 16, 8, 72)
            of_judge.append((measured(), measured(iteration=2, round=1, current=last)))
        curves[judge] = tuple(of_judge)
    return JudgedResults(GAME, curves)


def test_differences_to_the_oracle_are_of_the_same_seed() -> None:
    """Twenty more of 200 in odd seeds, ten in even ones; the oracle has none to itself."""
    assert against_oracle(results(2), "acc80", slice(-1, None)) == pytest.approx([0.05, 0.1])
    assert against_oracle(results(2), "acc80", slice(None)) == pytest.approx([0.025, 0.05])
    assert against_oracle(results(2), "oracle", slice(None)) == []
    assert trained(results(1).curves["oracle"][0]) == measured().current


def test_bands_are_students() -> None:
    """1, 2, 3 have 2 +- 2.4841, as in `mean_interval`."""
    assert half_widths(np.array([[1.0], [2.0], [3.0]]))[0] == pytest.approx(2.4841, abs=1e-4)


@pytest.mark.parametrize("num_seeds", [1, 3])
def test_tables_have_a_row_for_each_judge(num_seeds: int) -> None:
    """Intervals where there are seeds; what the oracle is off by is nothing."""
    pages = tables(results(num_seeds))
    assert all(len(row) == len(header) for _, (header, rows) in pages for row in rows)
    (title, (_, rows)), (_, (_, judges)), (_, (_, estimated)), (_, (_, benign)) = pages
    assert [row[0] for row in rows] == [row[0] for row in judges] == [row[0] for row in benign] == ["oracle", "80 %"]
    assert ("n = 3" in title) == (num_seeds > 1) == ("±" in rows[1][-3])
    assert rows[0][-2:] == ["-", "-"]
    assert [row[0] for row in estimated] == ["oracle", "80 %"]
    assert all(row[1].startswith("4.0") for row in estimated)  # of 200 attempts 8 too many are called unsafe, 16 missed


def test_results_come_back_and_others_are_refused(tmp_path: Path) -> None:
    """What is written can be read, to draw it anew; curves of different lengths are none."""
    write_json(tmp_path / "results.json", results(2))
    assert load_results(tmp_path / "results.json") == results(2)
    short = results(2).curves | {"oracle": results(1).curves["oracle"]}
    write_json(tmp_path / "short.json", JudgedResults(GAME, short))
    with pytest.raises(ValueError, match=r"short\.json: expected the results\.json of the study"):
        load_results(tmp_path / "short.json")


def test_a_report_reads_the_cells_and_draws_them(models: tuple[Path, Path], tmp_path: Path) -> None:
    """Tables, picture and counts of a study of two judges, cells of which lie below its folder."""
    one_seed(seed_config(tmp_path / "study/seed0", models, "oracle", "ensemble"))
    with Run.open(tmp_path / "summary", TrueJudgedConfig(), name="true_judged") as run:
        run.folder = tmp_path / "study"
        text = report(run, judges=("oracle", "ensemble"), num_seeds=1, game=GAME)
    assert "three of 90 %" in text
    found = load_results(tmp_path / "study/results.json")
    assert [len(curve) for curves in found.curves.values() for curve in curves] == [3, 3]
    assert (tmp_path / "study/true_judged.png").stat().st_size > 10_000
    assert (tmp_path / "study/table.md").read_text().startswith("## red_team-v0, attack success in percent")
