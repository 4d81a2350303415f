"""`train` from Python and the run as an object."""

import json
from pathlib import Path

import numpy as np
import pytest

from duologue import baselines
from duologue.agents import CausalLMAgent
from duologue.agents.population import Population
from duologue.baselines import SelfPlayConfig, load_run, train
from duologue.baselines.api.commands import TRAINERS
from duologue.baselines.api.options import make_config
from duologue.baselines.api.runs import RunResult
from duologue.baselines.learners.ppo import PPOConfig
from duologue.baselines.training.files import to_json
from duologue.baselines.training.options import GameOptions
from duologue.baselines.two_player.gpo import GPOConfig
from duologue.envs import make_game
from duologue.tests.baselines.helpers import tiny_agent

SMALL = {"num_updates": 2, "batch_size": 4, "hidden_size": 8}
CHEAP = {
    "self_play": {**SMALL, "game": "bluff-v0", "seed": 3, "learner": "rloo", "group_size": 2},
    "psro": {**SMALL, "game": "kuhn_poker-v0", "num_payoff_episodes": 8, "num_gain_episodes": 8},
}


def words(options: dict[str, object]) -> list[str]:
    """Return options as a command line has them."""
    return [word for name, value in options.items() for word in (f"--{name.replace('_', '-')}", str(value))]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunResult:
    """Return a run of self-play on bluff that keeps its past."""
    pool = {"choice": "uniform", "snapshot_every": 1}
    out = tmp_path_factory.mktemp("runs") / "self_play"
    return train("self_play", game="bluff-v0", opponents=pool, exact=True, exact_every=2, out=str(out), **SMALL)


@pytest.mark.parametrize("name", CHEAP)
def test_python_and_the_command_line_leave_the_same_run(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Options and numbers, byte by byte."""
    for place in ("python", "typed"):
        (tmp_path / place).mkdir()
    monkeypatch.chdir(tmp_path / "python")
    train(name, out="run", **CHEAP[name])
    monkeypatch.chdir(tmp_path / "typed")
    TRAINERS[name].run([*words(CHEAP[name]), "--out", "run"])
    for file in ("config.json", "metrics.jsonl"):
        assert (tmp_path / "python/run" / file).read_bytes() == (tmp_path / "typed/run" / file).read_bytes()


def test_a_config_is_run_as_it_is(run: RunResult) -> None:
    """A finished run is not run again; what it returns is the run."""
    assert train(run.options) == run
    with pytest.raises(TypeError, match="expected no options beside a SelfPlayConfig, got seed"):
        train(run.options, seed=3)
    with pytest.raises(TypeError, match=r"expected the options of one of pretrain, .*, got a PPOConfig"):
        train(PPOConfig())


@pytest.mark.parametrize("name", TRAINERS)
def test_options_that_were_written_are_read_again(name: str) -> None:
    """JSON has texts for paths and lists for tuples; every command's options survive it."""
    required: dict[str, dict[str, object]] = {
        "text": {"data": (Path("a"), Path("b"))},
        "text_stages": {"pairs": Path()},
    }
    config = TRAINERS[name].config
    default = config(**required.get(name, {}))
    asked = to_json(default, name)
    assert isinstance(asked, dict)
    assert make_config(config, asked, whose=name) == default


def test_groups_are_given_as_dataclass_mapping_or_flat() -> None:
    """Other options keep the defaults that the command has."""
    made = make_config(GPOConfig, {"game": "bluff-v0", "defender_learner": {"ppo": {"num_epochs": 3}}}, whose="gpo")
    assert made.options == GameOptions(game="bluff-v0")
    assert made.defender_learner.ppo.num_epochs == 3
    assert made.defender_learner.ppo.kl_coef == GPOConfig().defender_learner.ppo.kl_coef
    assert made == make_config(
        GPOConfig, {"options": GameOptions(game="bluff-v0"), "defender_learner": made.defender_learner}, whose="gpo"
    )


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"sed": 3}, TypeError, "gpo: expected options among .*seed.*, got 'sed'; did you mean 'seed'"),
        ({"schedule": {"num_round": 3}}, TypeError, "gpo, schedule: .*, got 'num_round'; did you mean 'num_rounds'"),
        ({"game": "bluff-v0", "options": GameOptions()}, TypeError, "expected options or its options, game, got both"),
        ({"save_every": 0}, ValueError, "save_every: expected an integer of at least 1, got 0"),
    ],
)
def test_wrong_options_are_named(options: dict[str, object], error: type[Exception], message: str) -> None:
    """With what is known, and the nearest."""
    with pytest.raises(error, match=message):
        train("gpo", **options)
    with pytest.raises(ValueError, match=r"expected an algorithm among .*, got 'gop'"):
        train("gop")


def test_a_run_has_its_options_numbers_and_costs(run: RunResult) -> None:
    """Numbers by flattened name, NaN where a step has none."""
    assert (run.name, run.finished) == ("self_play", True)
    assert isinstance(run.options, SelfPlayConfig)
    assert run.config["seed"] == run.options.seed == 0
    assert run.metrics["iteration"].tolist() == [1, 2]
    exact = run.metrics["exact/nash_conv_last"]
    assert np.isnan(exact).tolist() == [True, False]
    assert run.costs is not None
    assert run.costs.episodes == 16
    assert run.game().max_turns == make_game("bluff-v0").max_turns


def test_a_run_has_its_players_and_their_average(run: RunResult) -> None:
    """The start and both snapshots of each, evenly."""
    assert [*run.players] == ["player_0", "player_1"]
    assert run.seats == (run.players["player_0"], run.players["player_1"])
    assert isinstance(run.seats[0], CausalLMAgent)
    assert all(isinstance(mixture, Population) and mixture.weights == (1 / 3,) * 3 for mixture in run.average)


@pytest.mark.parametrize(("name", "places"), [("attack", (0,)), ("rlhf", (1,)), ("pretrain", (0, 1))])
def test_one_model_sits_where_it_was_trained(name: str, places: tuple[int, ...], tmp_path: Path) -> None:
    """An attacker prompts, a defender answers, a base model does both."""
    config = {"name": name, "config": {"options": {"game": "red_team-v0"}}}
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    tiny_agent(make_game("red_team-v0")).save_pretrained(tmp_path / "model")
    found = load_run(tmp_path)
    assert [player for player in (0, 1) if found.seats[player] is found.players["model"]] == [*places]
    assert found.options is not None
    assert not found.finished
    assert found.metrics == {}
    assert found.costs is None


def test_a_policy_of_stable_baselines3_is_a_player_too(tmp_path: Path) -> None:
    """In the seat that it learned."""
    learning = {"num_envs": 2, "tokens_per_env": 4, "minibatch_size": 8}
    found = train("sb3", game="bluff-v0", player=1, num_updates=1, out=tmp_path / "run", **learning)
    assert found.seats == (None, found.players["model"])


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    """The folder, the file, the players, the pool, the game."""
    with pytest.raises(ValueError, match="expected the folder of a run, got none there"):
        load_run(tmp_path / "nowhere")
    with pytest.raises(ValueError, match=r"expected a config.json with name and config in it, got \[\]"):
        load_run(tmp_path)
    config = {"name": "psro", "config": {"options": {"game": "bluff-v0"}}}
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(ValueError, match=r"player_0 and player_1; .*, got none, it has not come to its end"):
        _ = load_run(tmp_path).players
    with pytest.raises(ValueError, match=r"expected members in the folder pool/player_0"):
        _ = load_run(tmp_path).average
    (tmp_path / "config.json").write_text(json.dumps({"name": "text", "config": {}}), encoding="utf-8")
    with pytest.raises(ValueError, match="expected a run that trains players, got one of text"):
        _ = load_run(tmp_path).players
    with pytest.raises(ValueError, match=r"expected the options of a game in its config.json, got none"):
        load_run(tmp_path).game()
    assert load_run(tmp_path).options is None


def test_the_face_hands_them_on() -> None:
    """Whoever writes `duologue.baselines.train` gets the function."""
    assert baselines.train is train
    assert {"train", "load_run", "RunResult"} <= set(dir(baselines))
