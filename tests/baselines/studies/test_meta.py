"""`duologue train meta`: what is drawn and weighted, that a killed run goes on, and what the command writes."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from duologue.baselines.api.commands import TRAINERS
from duologue.baselines.functional.supervised import behaviour_cloning_loss, meta_policy_loss
from duologue.baselines.studies.meta import (
    SHOTS,
    STARTS,
    WEIGHTINGS,
    Codes,
    MetaCloning,
    MetaConfig,
    adapted,
    answer_logprobs,
    meta,
    new_agent,
    table,
)
from duologue.envs import Demonstrated

TINY = MetaConfig(
    num_objects=2,
    num_words=2,
    num_dialogues=4,
    num_common_dialogues=12,
    num_steps=4,
    batch_size=8,
    adaptation_steps=(0, 1),
    hidden_size=16,
    score_every=2,
    save_every=1,
)


def cloning(config: MetaConfig, seed: int = 0) -> MetaCloning:
    """Return both learners before their first step."""
    return MetaCloning(Codes(config, np.random.default_rng(seed)), config, seed=seed)


def test_the_held_out_code_is_in_no_data() -> None:
    """Of 2^2 codes three are cloned from, each with a prompt and without; one of them is common."""
    learner = cloning(TINY)
    games = learner.codes.distribution.games
    inside = [game.game for game in (*games, *learner.codes.held_out) if isinstance(game, Demonstrated)]
    codes = [game.code for game in inside]  # type: ignore[attr-defined]
    assert len(games) == 6
    assert set(codes[:6]) | {codes[6]} == {(0, 0), (0, 1), (1, 0), (1, 1)}
    assert codes[6] == codes[7] not in codes[:6]
    assert sorted(learner.codes.sizes) == [2, 2, 2, 2, 6, 6]
    assert learner.game_index.bincount().tolist() == learner.codes.sizes
    assert len(learner.data) == 20


def test_equation_10_draws_a_game_before_its_data() -> None:
    """The common code has 12 of 20 dialogues: 60 % of what is pooled, and a third of what is drawn by game."""
    learner = cloning(replace(TINY, batch_size=3_000))
    common = torch.tensor(learner.codes.sizes) == 6
    rng = np.random.default_rng(0)
    shares = {name: float(common[learner.game_index[learner.draw(name, rng)]].double().mean()) for name in WEIGHTINGS}
    assert shares == pytest.approx({"by game": 1 / 3, "pooled": 0.6}, abs=0.03)


def test_each_learner_descends_its_own_objective() -> None:
    """On unequal shares of games equation (10) and the pooled mean differ; both see player 1's tokens alone."""
    learner = cloning(TINY)
    agent, rows = learner.agents["by game"], torch.tensor([0, 1, 2, 3, 4, 5, 6, 19])
    logprobs, mask = answer_logprobs(agent, learner.data.select(rows))
    assert mask.sum(1).tolist() == [1] * 8  # a word fills the turn, so that it is closed without <eos>
    by_game = meta_policy_loss(logprobs, mask, learner.game_index[rows], weights=[1 / 6] * 6)
    pooled = behaviour_cloning_loss(logprobs, mask)
    assert learner.loss("by game", agent, rows).item() == pytest.approx(by_game.item())
    assert learner.loss("pooled", agent, rows).item() == pytest.approx(pooled.item())
    assert by_game.item() != pytest.approx(pooled.item(), abs=1e-3)


def test_an_untrained_model_guesses() -> None:
    """Two legal words, each about equally likely: the exact score is near 1/2 and is a probability."""
    codes = Codes(TINY, np.random.default_rng(0))
    agent = new_agent(codes.distribution, TINY, seed=0)
    assert codes.scores(agent) == pytest.approx((0.5, 0.5), abs=0.25)


def test_adaptation_scores_the_start_and_then_learns_the_code() -> None:
    """40 steps on the code's own dialogues teach it, with a prompt or without; the start itself is left as it was."""
    config = replace(TINY, adaptation_steps=(0, 40), adaptation_learning_rate=1e-2)
    codes = Codes(config, np.random.default_rng(0))
    agent = new_agent(codes.distribution, config, seed=0)
    before = codes.scores(agent)
    curves = adapted(agent, codes, config)
    assert codes.scores(agent) == before
    assert tuple(curves[shots][0] for shots in SHOTS) == before
    assert min(curves[shots][1] for shots in SHOTS) > 0.9


def test_a_killed_run_goes_on_bit_for_bit() -> None:
    """Four steps in one go, or two, saved, and two more: weights and losses are the same."""
    whole, first, second = (cloning(TINY) for _ in range(3))
    steps = list(whole)
    halves = [step for _, step in zip(range(2), first, strict=False)]
    second.load_state_dict(first.state_dict())
    assert [*halves, *second] == steps
    for name, agent in whole.agents.items():
        for key, weight in agent.model.state_dict().items():
            assert torch.equal(weight, second.agents[name].model.state_dict()[key])


def test_held_out_scores_are_logged_every_so_often() -> None:
    """`score_every=2`: after steps 2 and 4."""
    assert [step.by_game_k_shot is not None for step in cloning(TINY)] == [False, True, False, True]


def test_the_command_writes_table_and_plot(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two seeds, each a run of its own; a second call trains nothing and prints the same."""
    arguments = ["--quick", "--out", str(tmp_path), "--seeds", "0", "1", "--num-objects", "2", "--num-words", "2"]
    TRAINERS["meta"].run([*arguments, "--hidden-size", "16", "--batch-size", "8"])
    printed = capsys.readouterr().out
    assert "| by game      | zero-shot |" in printed
    assert (tmp_path / "adaptation.png").stat().st_size > 1_000
    states = [(tmp_path / f"seed{seed}" / "metrics.jsonl").read_text(encoding="utf-8") for seed in (0, 1)]
    assert [len(state.splitlines()) for state in states] == [20, 20]
    TRAINERS["meta"].run([*arguments, "--hidden-size", "16", "--batch-size", "8"])
    assert capsys.readouterr().out == printed


def test_the_table_has_means_and_intervals() -> None:
    """Student's t for two values one apart: half-width 12.706 / 2 (t table, 1 degree of freedom)."""
    results = [{start: {shots: [value] for shots in SHOTS} for start in STARTS} for value in (0.0, 1.0)]
    assert "0.50 ± 6.35" in table(results, [0])
    assert "±" not in table(results[:1], [0])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_words": 1}, "num_words: expected an integer of at least 2, got 1"),
        ({"num_dialogues": 1}, "num_dialogues: expected an integer of at least 2, got 1"),
        ({"adaptation_steps": (0, 2, 2)}, r"adaptation_steps: expected rising numbers of at least 0, got \(0, 2, 2\)"),
    ],
)
def test_options_that_make_no_experiment_are_refused(options: dict[str, Any], message: str) -> None:
    """One word is always right, and a game needs a dialogue with a prompt and one without."""
    with pytest.raises(ValueError, match=message):
        MetaConfig(**options)


def test_the_meta_policy_reads_a_held_out_code_off_its_prompt_and_the_pooled_one_does_not(tmp_path: Path) -> None:
    """Eq. (10) at its point: one code has most of the data, and pooling learns that code by heart."""
    config = MetaConfig(out=tmp_path, seeds=(1,), num_steps=200, adaptation_steps=(0,))
    curves = json.loads((meta(config) / "seed1/adaptation.json").read_text(encoding="utf-8"))
    assert curves["by game"]["k-shot"][0] > 0.85
    assert curves["pooled"]["k-shot"][0] < 0.6
