"""Costs of runs, of every command that trains players: counted by hand, and the same after a stop."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from duologue.agents import RandomAgent
from duologue.baselines.api.commands import TRAINERS
from duologue.baselines.rollouts.episodes import rollout
from duologue.baselines.training import options
from duologue.baselines.training.costs import COSTS_FILE, CostMeter
from duologue.baselines.training.options import GameOptions, static_prompts
from duologue.baselines.training.run import Run, read_metrics
from duologue.baselines.training.state import Stateful
from duologue.baselines.two_player.self_play import SelfPlayConfig
from duologue.envs.games.red_team.game import RedTeam
from duologue.envs.judging import Outcome, Verdict
from duologue.tests.baselines.helpers import tiny_agent

PENNIES = ["--game", "matching_pennies-v0"]
NO_QUERIES = {"judge_queries": 0, "preference_queries": 0, "cloned_tokens": 0}
MICRO = [*PENNIES, "--num-updates", "2", "--batch-size", "4", "--hidden-size", "16"]


def costs(folder: Path) -> dict[str, Any]:
    """Return what a run says of its costs."""
    found: dict[str, Any] = json.loads((folder / COSTS_FILE).read_text(encoding="utf-8"))
    return found


def without_seconds(folder: Path) -> dict[str, Any]:
    """Return what does not depend on the clock."""
    return {name: number for name, number in costs(folder).items() if name != "seconds"}


@pytest.mark.parametrize(
    ("opponents", "episodes"),
    [("latest", 2 * 4), ("uniform", 2 * 2 * 4)],
    ids=["one batch for both", "one for each"],
)
def test_self_play_counts_its_batches(opponents: str, episodes: int, tmp_path: Path) -> None:
    """Two updates on batches of 4; an episode of matching pennies is one word of each player."""
    TRAINERS["self_play"].run([*MICRO, "--out", str(tmp_path), "--opponent.choice", opponents])
    counted = {"episodes": episodes, "tokens": 2 * episodes, **NO_QUERIES}
    assert without_seconds(tmp_path) == counted
    assert costs(tmp_path)["seconds"] > 0


def test_psro_counts_the_play_that_payoffs_and_gains_are_estimated_on(tmp_path: Path) -> None:
    """2 * 2 * 4 learned from, 5 each of the 9 pairs of three members, and per round 3 profiles of 6 for the gains."""
    play = ["--updates-per-response", "1", "--num-payoff-episodes", "5", "--num-gain-episodes", "6"]
    TRAINERS["psro"].run([*MICRO, *play, "--out", str(tmp_path)])
    assert costs(tmp_path)["episodes"] == 16 + 45 + 2 * 3 * 6


def test_what_is_enumerated_to_measure_is_not_counted(tmp_path: Path) -> None:
    """The exact tree asks the rules about every play, which nobody plays."""
    for name, exact in (("plain", []), ("measured", ["--exact"])):
        TRAINERS["self_play"].run([*MICRO, "--out", str(tmp_path / name), *exact])
    assert without_seconds(tmp_path / "measured") == without_seconds(tmp_path / "plain")


SMALL = ["--game", "statements-v0", "--batch-size", "4", "--hidden-size", "16"]
SCHEDULE = ["--schedule.num-rounds", "1", "--schedule.attack-steps", "1", "--schedule.defend-steps", "1"]
PLAYING: dict[str, list[str]] = {
    "rlhf": ["--num-steps", "2", "--batch-size", "4"],
    "attack": ["--adversary", "{start}", "--num-steps", "2", "--batch-size", "4"],
    "gpo": ["--adversary", "{start}", *SCHEDULE, "--schedule.batch-size", "4"],
    "advgame": ["--adversary", "{start}", "--num-steps", "1", "--num-requests", "2"],
}
LEARNING: dict[str, list[str]] = {
    "self_play": ["--num-updates", "2"],
    "league": ["--num-updates", "1"],
    "fictitious_play": ["--num-rounds", "1", "--updates-per-round", "1"],
    "psro": ["--num-updates", "1", "--updates-per-response", "1", "--meta-solver", "prd"],
}


@pytest.fixture
def start(tmp_path: Path) -> Path:
    """A model of the red-team game that has learnt nothing."""
    tiny_agent(RedTeam()).save_pretrained(tmp_path / "start")
    return tmp_path / "start"


@pytest.mark.parametrize("command", PLAYING)
def test_commands_that_play_count_episodes(command: str, start: Path, tmp_path: Path) -> None:
    """Two batches of 4 each; the tree of AdvGame has 2 requests, 2 prompts each and 2 replies to each."""
    options = [option.format(start=start) for option in PLAYING[command]]
    TRAINERS[command].run([*options, "--defender", str(start), "--out", str(tmp_path / "run")])
    found = costs(tmp_path / "run")
    assert found["episodes"] == 8
    assert found["tokens"] > 8
    assert found["seconds"] > 0
    assert found["cloned_tokens"] == 0


@pytest.mark.parametrize("command", LEARNING)
def test_commands_of_both_players_count_ptx(command: str, tmp_path: Path) -> None:
    """Tokens of the start's own data are none without a weight; a step reads 4 dialogues of 2 or 4 tokens or so."""
    options = [*SMALL, *LEARNING[command]]
    for name, more in (("plain", []), ("ptx", ["--ppo.ptx-coef", "1", "--ppo.ptx-batch-size", "4"])):
        TRAINERS[command].run([*options, *more, "--num-ptx-dialogues", "8", "--out", str(tmp_path / name)])
    plain, ptx = costs(tmp_path / "plain"), costs(tmp_path / "ptx")
    assert plain["episodes"] == ptx["episodes"] >= 4
    assert plain["cloned_tokens"] == 0
    assert ptx["cloned_tokens"] > 0


def test_cloning_counts_its_tokens(start: Path, tmp_path: Path) -> None:
    """As its steps report them; pre-training plays nothing, fine-tuning asks once for replies to refused requests."""
    cloning = ["--cloning.num-steps", "5", "--cloning.batch-size", "4", "--num-demonstrations", "40"]
    TRAINERS["pretrain"].run([*cloning, "--hidden-size", "16", "--out", str(tmp_path / "pretrain")])
    TRAINERS["sft"].run([*cloning, "--model", str(start), "--out", str(tmp_path / "sft")])
    for name in ("pretrain", "sft"):
        found = costs(tmp_path / name)
        assert found["cloned_tokens"] == sum(row["num_tokens"] for row in read_metrics(tmp_path / name))  # type: ignore[misc]
        assert (found["episodes"] > 0) == (name == "sft")
        assert found["seconds"] > 0


def test_dpo_counts_the_play_that_pairs_are_drawn_from(start: Path, tmp_path: Path) -> None:
    """Whole batches of 256 games, twice each, until there are 8 pairs, which were compared."""
    options = ["--num-pairs", "8", "--batch-size", "4", "--num-steps", "2"]
    TRAINERS["dpo"].run([*options, "--defender", str(start), "--out", str(tmp_path / "run")])
    found = costs(tmp_path / "run")
    assert found["episodes"] == 512
    assert found["preference_queries"] == 8


def test_spag_counts_its_supervised_loss(tmp_path: Path) -> None:
    """In a zero-sum game with demonstrations; its start, which is cloned first, is a run with costs of its own."""
    options = ["--game", "taboo-v0", "--num-rounds", "1", "--batch-size", "16", "--hidden-size", "16"]
    few = ["--num-demonstrations", "60", "--cloning.num-steps", "2", "--num-evaluation-episodes", "4"]
    TRAINERS["spag"].run([*options, *few, "--out", str(tmp_path)])
    assert costs(tmp_path)["episodes"] == 16
    assert costs(tmp_path)["cloned_tokens"] > 0
    assert costs(tmp_path / "start")["cloned_tokens"] > 0


@pytest.mark.parametrize("command", ["rlhf", "sft", "dpo"])
def test_a_run_of_one_player_that_was_stopped_counts_as_one_that_was_not(
    command: str, start: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped in its third step, one after the last save."""
    length = {
        "rlhf": ["--num-steps", "4", "--batch-size", "4", "--defender", str(start), "--ppo.ptx-coef", "1"],
        "sft": ["--cloning.num-steps", "5", "--cloning.batch-size", "4", "--model", str(start)],
        "dpo": ["--num-steps", "4", "--batch-size", "4", "--num-pairs", "8", "--defender", str(start)],
    }[command]
    few = {"rlhf": ["--num-ptx-dialogues", "20"], "sft": ["--num-demonstrations", "40"], "dpo": []}[command]
    stop_and_go_on(command, [*length, *few, "--save-every", "1"], tmp_path, monkeypatch)


@pytest.mark.parametrize("command", ["self_play", "fictitious_play", "psro"])
def test_a_run_that_was_stopped_counts_as_one_that_was_not(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped in its third update, one after the last save; what is played again is not counted twice."""
    length = {
        "self_play": ["--num-updates", "4", "--opponent.choice", "uniform"],
        "fictitious_play": ["--num-rounds", "2", "--updates-per-round", "2"],
        "psro": ["--num-updates", "4", "--updates-per-response", "2", "--num-payoff-episodes", "4"],
    }[command]
    options = ["--game", "bluff-v0", "--batch-size", "4", "--hidden-size", "16", "--save-every", "1", *length]
    stop_and_go_on(command, options, tmp_path, monkeypatch)


def stop_and_go_on(command: str, options: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run it whole, and again with a stop in its third step; both cost the same but for the time."""
    main = TRAINERS[command].run
    main([*options, "--out", str(tmp_path / "whole")])
    log = Run.log

    def stop(run: Run, record: Any, **beside: Any) -> None:
        if record.iteration == 3:
            raise KeyboardInterrupt
        log(run, record, **beside)

    with monkeypatch.context() as patched:
        patched.setattr(Run, "log", stop)
        with pytest.raises(KeyboardInterrupt):
            main([*options, "--out", str(tmp_path / "stopped")])
    assert not (tmp_path / "stopped" / COSTS_FILE).exists()
    main([*options, "--out", str(tmp_path / "stopped")])
    assert without_seconds(tmp_path / "stopped") == without_seconds(tmp_path / "whole")


def test_a_state_without_a_count_is_refused(tmp_path: Path) -> None:
    """As saved before there was one: what was spent cannot be known."""
    with Run.open(tmp_path, SelfPlayConfig(), name="self_play") as run:
        run.save(1, learner=AdamState())
    with pytest.raises(ValueError, match=r"expected the state of \['costs', 'learner'\], got that of \['learner'\]"):
        run.restore(learner=AdamState(), costs=CostMeter())


class AdamState(Stateful):
    """Something with a state."""

    saved = ("iteration",)
    iteration = 0


def test_policies_of_stable_baselines_count_theirs(tmp_path: Path) -> None:
    """Two policies say 2 * 4 words each in 16 episodes, opponents as many, and 2 more to begin what is not finished."""
    small = ["--num-envs", "2", "--tokens-per-env", "4", "--minibatch-size", "4", "--hidden-size", "8"]
    TRAINERS["sb3_self_play"].run([*PENNIES, *small, "--num-updates", "1", "--out", str(tmp_path)])
    assert without_seconds(tmp_path) == {"episodes": 16, "tokens": 34, **NO_QUERIES}


def test_a_judge_model_is_counted_and_the_oracle_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever judges in place of the oracle is asked through the meter: 12 well-formed prompts, one round each."""

    def judge(text: str, vocabulary: Any, device: str) -> Any:
        return lambda exchanges: [Verdict(0.0, Outcome.DEFLECTED) for _ in exchanges]

    monkeypatch.setattr(options, "loaded_judge", judge)
    meter = CostMeter()
    game = GameOptions(judge="judge").build(meter=meter)
    rollout(game, [static_prompts(game), RandomAgent()], 12, np.random.default_rng(0))
    assert meter.costs.judge_queries == meter.costs.episodes == 12
