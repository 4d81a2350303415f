"""The measures of arms races, on checkpoints and matrices whose answers are known."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from duologue.agents import EchoAgent, ScriptedAgent
from duologue.agents.language_model.causal_lm import CausalLMAgent
from duologue.baselines.alignment.pretrain import PretrainConfig, pretrain
from duologue.baselines.evaluation.enumeration import chains, enumerate_replies
from duologue.baselines.learners.behaviour_cloning import BehaviourCloningConfig
from duologue.baselines.reporting.tables import text_table
from duologue.baselines.studies.arms_race import (
    FOUND_SHARE,
    ArmsRace,
    RaceConfig,
    arms_race,
    attack_success,
    attempts,
    by_rank,
    race,
    race_table,
    read_race,
    unsafe_prompts,
)
from duologue.baselines.studies.arms_race_plots import plot_arms_race, plot_checkpoints, plot_styles_found
from duologue.baselines.studies.matchups import meet
from duologue.baselines.training.options import GameOptions, load_model
from duologue.envs.games.red_team_ciphers.game import RedTeamCiphers
from duologue.envs.games.red_team_ciphers.language import FORMS, STYLES, TOPICS, Prompt, render_prompt
from duologue.envs.games.red_team_ciphers.prompt_sets import prompt_set

GAME = RedTeamCiphers()
HARMFUL = [prompt for prompt in prompt_set("static") if prompt.harmful]
NAMES = list(STYLES)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three models that have learnt the language for longer and longer, as checkpoints would be."""
    folder = tmp_path_factory.mktemp("models")
    for num_steps in (1, 60, 120):
        config = PretrainConfig(
            options=GameOptions(game="red_team-v1"),
            out=folder / f"steps{num_steps}",
            num_demonstrations=2_000,
            hidden_size=32,
            num_layers=1,
            cloning=BehaviourCloningConfig(num_steps=num_steps),
            num_threads=1,
        )
        pretrain(config)
    return [folder / f"steps{num_steps}/model" for num_steps in (1, 60, 120)]


@pytest.fixture(scope="module")
def agents(models: list[Path]) -> list[CausalLMAgent]:
    """The same, loaded."""
    return [load_model(folder, GAME) for folder in models]


def test_an_echo_attempts_the_harmful_requests_as_they_are_dealt() -> None:
    """All of them once, then all again; benign deals are no attempts."""
    assert attempts(GAME, EchoAgent(), 2, np.random.default_rng(0)) == [*HARMFUL, *HARMFUL]


def test_what_is_no_request_or_another_label_is_a_failed_attempt() -> None:
    """None stands in its place, and counts among the attempts."""
    benign = " ".join(render_prompt(HARMFUL[0].twin))
    for said in ("explain", benign):
        failed = attempts(GAME, ScriptedAgent([said]), 1, np.random.default_rng(0))
        assert failed == [None] * len(HARMFUL)
        assert not by_rank(failed).any()


def test_the_prompts_that_get_through_are_those_of_the_enumeration(agents: list[CausalLMAgent]) -> None:
    """Reply by reply, of all harmful requests in no or one style and of some in two."""
    disguises = [*chains(0), *chains(1), *chains(2)[::700]]
    asked = [Prompt(topic, form, styles) for styles in disguises for form in FORMS for topic in TOPICS.values()]
    unsafe = enumerate_replies(agents[2], disguises).unsafe
    expected = {prompt for prompt, is_unsafe in zip(asked, unsafe, strict=True) if is_unsafe}
    found = unsafe_prompts(agents[2], [prompt for prompt in asked if prompt.harmful])
    assert found == expected
    assert 0 < len(found) < len(asked) / 2


def test_success_is_a_share_of_all_attempts(agents: list[CausalLMAgent]) -> None:
    """One attempt in three is no request: at most two thirds succeed."""
    written: dict[str, Sequence[Prompt | None]] = {"echo": [*HARMFUL[:4], None, None]}
    won = attack_success(written, {"learnt": agents[2], "nothing": agents[0]})
    unsafe = unsafe_prompts(agents[2], HARMFUL[:4])
    assert won["echo"]["learnt"].tolist() == [*(prompt in unsafe for prompt in HARMFUL[:4]), False, False]
    assert not won["echo"]["nothing"].any()


def test_styles_count_by_rank_and_pairs_for_both() -> None:
    """Of four attempts one is plain, one in the first style, one in the first and the last, one no request."""
    topic = HARMFUL[0].topic
    asked = [
        Prompt(topic, "how"),
        Prompt(topic, "how", (NAMES[0],)),
        Prompt(topic, "how", (NAMES[-1], NAMES[0])),
        None,
    ]
    shares = by_rank(asked)
    assert (shares[0], shares[1], shares[-1], shares.sum()) == (0.25, 0.5, 0.25, 1.0)
    succeeded = by_rank(asked, np.array([False, True, False, False]))
    assert (succeeded[1], succeeded.sum()) == (0.25, 0.25)


def known_race() -> ArmsRace:
    """Three rounds, in which the second attack comes back: 80 %, held down to 10 %, and at last 60 % again."""
    success = np.array([[0.9, 0.4, 0.3, 0.3], [0.9, 0.7, 0.2, 0.2], [0.8, 0.8, 0.8, 0.6], [0.9, 0.5, 0.4, 0.5]])
    success[1, 2:] = 0.1, 0.6
    succeeded = np.zeros((4, 1 + len(STYLES)))
    succeeded[0, [0, 1]], succeeded[1, [1, 7]], succeeded[2, 7], succeeded[3, 20] = 0.4, 0.3, 0.5, FOUND_SHARE / 2
    return ArmsRace(success, written=2 * succeeded, succeeded=succeeded)


def test_a_race_is_read_off_its_matrix() -> None:
    """Diagonals, the first and the last column, and forgetting as defined."""
    race = known_race()
    assert race.num_rounds == 3
    assert race.after_attack.tolist() == [0.9, 0.7, 0.8, 0.5]
    assert race.after_defence.tolist() == [0.4, 0.1, 0.6]
    assert race.on_first.tolist() == [0.9, 0.9, 0.8, 0.9]
    assert race.on_last.tolist() == [0.3, 0.6, 0.6, 0.5]
    np.testing.assert_allclose(race.forgetting, [0.0, 0.5, 0.0])
    assert race.found == [[0, 1], [7], [], []]


def test_the_table_has_a_row_for_each_round_and_names_new_styles() -> None:
    """Round 0 has no old attack, the last adversary nothing that could come back."""
    lines = text_table(*race_table(known_race())).splitlines()
    rows = [line.split() for line in lines if line[:1].isdigit()]
    assert rows[0][:2] == ["0", "-"]
    assert rows[0][-2:] == ["plain", "1"]
    assert rows[1][:6] == ["1", "40", "70", "90", "60", "50"]
    assert rows[3][5] == "-"


def test_a_race_of_checkpoints_is_played_and_read_again(models: list[Path], tmp_path: Path) -> None:
    """The file holds what playing in this process gives; an adversary meets every defender with the same prompts."""
    for number, folder in enumerate(models[1:], start=1):
        for player in ("adversary", "defender"):
            place = tmp_path / f"checkpoints/round_{number:02d}/{player}"
            place.parent.mkdir(parents=True, exist_ok=True)
            place.symlink_to(folder)
    config = RaceConfig(
        out=tmp_path / "race",
        adversary=models[0],
        defender=models[0],
        checkpoints=tmp_path / "checkpoints",
        num_tries=2,
        num_threads=1,
    )
    found = read_race(race(config))
    loaded = [load_model(folder, GAME) for folder in models]
    again = arms_race(GAME, loaded, loaded, num_tries=2, seed=0)
    for name in ("success", "written", "succeeded"):
        np.testing.assert_array_equal(getattr(found, name), getattr(again, name))
    assert found.success[:, 0].max() == 0.0  # who has learnt nothing gives nothing away
    assert found.success[2, 2] > 0
    with pytest.raises(ValueError, match="defenders: expected as many as adversaries, 3, got 1"):
        arms_race(GAME, loaded, loaded[:1], num_tries=1, seed=0)


def test_several_tries_succeed_at_least_as_often_as_one(agents: list[CausalLMAgent]) -> None:
    """A request counts once however many tries succeed at it; with one try both numbers are the same."""
    players = {"base": agents[2]}
    success, best_of = meet(GAME, players, players, num_tries=4, seed=0)
    assert success[0, 0] < best_of[0, 0] <= min(1.0, 4 * success[0, 0])
    success, best_of = meet(GAME, players, players, num_tries=1, seed=0)
    assert success.tolist() == best_of.tolist()


def test_pictures_are_drawn_of_one_race_and_of_two(tmp_path: Path) -> None:
    """A file each."""
    for number, races in enumerate(({"GPO": known_race()}, {"GPO": known_race(), "GPO+Div": known_race()})):
        for draw in (plot_arms_race, plot_styles_found, plot_checkpoints):
            path = tmp_path / f"{draw.__name__}{number}.png"
            draw(races, path)
            assert path.read_bytes().startswith(b"\x89PNG")
