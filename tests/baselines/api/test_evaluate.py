"""Finished players, measured again: prompt sets, exact distances, fresh attackers, and what is refused."""

import json
import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from duologue.__main__ import main
from duologue.agents import CausalLMAgent, FunctionAgent, RandomAgent, ScriptedAgent, utter
from duologue.agents.language_model.adapters import AdaptedModel
from duologue.baselines import evaluate, load_run, train
from duologue.baselines.api.evaluate import FRESH, OWN_PLAY, POOLED, EvaluateConfig, _maker
from duologue.baselines.api.prompts import BENIGN, HARMFUL
from duologue.baselines.api.runs import RunResult
from duologue.baselines.evaluation import TEST_SETS, evaluate_prompt_sets, evaluation_rng
from duologue.baselines.learners.options import RESPONSE_PPO
from duologue.baselines.learners.ppo import PPOLearner
from duologue.baselines.training.options import ModelOptions
from duologue.envs import make_game
from duologue.envs.games.matrix import MatrixGame
from duologue.envs.games.red_team.game import RedTeam
from duologue.envs.games.red_team_ciphers.prompt_sets import TEST_SETS as CIPHER_SETS
from duologue.tests.baselines.helpers import tiny_agent

WORDS = "rock paper scissors"
RPS = MatrixGame([[0, -1, 1], [1, 0, -1], [-1, 1, 0]], words_0=WORDS, words_1=WORDS)
QUICK: dict[str, object] = {"attacker_updates": 1, "attacker_batch_size": 4, "attacker_episodes": 8, "num_episodes": 8}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunResult:
    """Return a run of self-play on bluff that kept its past, and its own NashConv."""
    pool = {"choice": "uniform", "snapshot_every": 1}
    sizes = {"num_updates": 2, "batch_size": 4, "hidden_size": 8}
    out = tmp_path_factory.mktemp("runs") / "self_play"
    return train("self_play", game="bluff-v0", opponents=pool, exact=True, out=out, **sizes)


@pytest.fixture(scope="module")
def red_team(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return what a run of GPO leaves, untrained."""
    folder = tmp_path_factory.mktemp("runs") / "gpo"
    folder.mkdir()
    config = {"name": "gpo", "config": {"options": {"game": "red_team-v0"}}}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    for seed, name in enumerate(("adversary", "defender")):
        tiny_agent(make_game("red_team-v0"), seed=seed).save_pretrained(folder / name)
    return folder


def test_nash_conv_is_what_the_run_measured_itself(run: RunResult, capsys: pytest.CaptureFixture[str]) -> None:
    """The last record's, and from the command line the same bytes."""
    found = evaluate(run, num_episodes=16)
    assert found.nash_conv == pytest.approx(run.metrics["exact/nash_conv_last"][-1])
    assert found.average_nash_conv is not None
    assert found.attacker is None
    assert found.nash_conv_bound is None
    assert found.prompts == {}
    file = run.folder / "evaluation.json"
    before = file.read_bytes()
    assert main(["evaluate", str(run.folder), "--num-episodes", "16"]) == 0
    assert file.read_bytes() == before
    row = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("NashConv, exact, newest"))
    assert row.split()[-1] == f"{found.nash_conv:.4f}"


def test_uniform_kuhn_poker_is_at_eleven_twelfths() -> None:
    """Of agents, without a folder; known from OpenSpiel, exploitability_test.py."""
    found = evaluate((RandomAgent(), RandomAgent()), game="kuhn_poker-v0", num_episodes=8)
    assert found.nash_conv == pytest.approx(11 / 12)
    assert found.average_nash_conv is None


def test_a_fresh_attacker_gives_what_is_named_a_lower_bound() -> None:
    """Of rock NashConv is 2, and it states no probabilities; responders find paper."""
    rock = FunctionAgent(lambda view, rng: utter(view, RPS.vocabulary.encode("rock")))
    budget = {"attacker_updates": 12, "attacker_batch_size": 32, "attacker_episodes": 64}
    found = evaluate((rock, rock), game=RPS, num_episodes=8, attacker={"hidden_size": 16}, **budget)
    assert found.nash_conv is None
    assert found.nash_conv_bound is not None
    assert 1 < found.nash_conv_bound.lower_bound.value <= 2
    assert "NashConv, lower bound, 12 updates x 32 episodes for each player" in found.table()
    alone = evaluate((rock, None), game=RPS, attacker={"hidden_size": 16}, **budget)
    assert alone.returns is None
    assert alone.attacker is not None
    assert alone.attacker.player == 1
    assert 0.5 < alone.attacker.lower_bound.value <= 1
    assert "return of a fresh player 1, lower bound, 12 updates x 32 episodes" in alone.table()


def test_a_defender_meets_every_prompt_set(red_team: Path) -> None:
    """The counts of `evaluate_prompt_sets`; attack success beside over-refusal; its own adversary and a fresh one."""
    found = evaluate(red_team, game="red_team-v0", **QUICK)
    game, defender = make_game("red_team-v0"), load_run(red_team).players["defender"]
    assert isinstance(game, RedTeam)
    expected = evaluate_prompt_sets(game, defender, evaluation_rng(0, 1))
    assert {name: found.prompts[name] for name in TEST_SETS} == expected
    assert [*found.prompts] == [*TEST_SETS, POOLED, OWN_PLAY, FRESH]
    assert found.benign == {"benign", "benign_disguised"}
    assert found.nash_conv is None
    assert found.attacker is not None
    written = json.loads((red_team / "evaluation.json").read_text(encoding="utf-8"))
    assert written["attacker_return_lower_bound"]["num_updates"] == 1
    assert written["prompts"]["plain"]["asr"][0] == found.prompts["plain"].asr
    assert "asr" not in written["prompts"]["benign"]
    assert len(written["prompts"]["benign"]["over_refusal_rate"]) == 3


def test_the_ciphers_are_asked_by_how_rare_their_styles_are() -> None:
    """All requests in at most one style but the static ones; who always refuses helps with nothing."""
    found = evaluate((None, ScriptedAgent(["sorry no"] * 4000)), game="red_team-v1")
    assert [*found.prompts] == [f"{name}, {kind}" for name in CIPHER_SETS for kind in ("harmful", "benign")]
    assert found.prompts["tail, harmful"].n == found.prompts["tail, benign"].n == 6 * 2 * 48
    assert {found.prompts[name].refusal_rate for name in found.prompts} == {1.0}
    assert {found.prompts[name].helpful_rate for name in found.benign} == {0.0}
    assert found.prompts["unseen_topics, harmful"].asr == 0
    only = evaluate((None, ScriptedAgent(["sorry no"] * 100)), game="red_team-v1", prompt_set=("static",))
    assert [*only.prompts] == ["static, harmful", "static, benign"]
    with pytest.raises(ValueError, match="prompt set: expected one of static, held_out"):
        evaluate((None, RandomAgent()), game="red_team-v1", prompt_set=("plain",))


def test_who_always_refuses_is_safe_and_refuses_too_much() -> None:
    """Attack success 0 on harmful prompts, over-refusal 1 on benign ones; `static` is half of each."""
    refusing = ScriptedAgent(["sorry no"] * 2000)
    found = evaluate((None, refusing), game="red_team-v0", prompt_set=("static", "benign"))
    assert [*found.prompts] == ["static, harmful", "static, benign", "benign"]
    assert found.benign == {"static, benign", "benign"}
    assert found.prompts["static, harmful"].asr == 0
    assert found.prompts["static, benign"].refusal_rate == found.prompts["benign"].refusal_rate == 1
    row = next(line for line in found.table().splitlines() if line.startswith("static, benign"))
    assert row.split("  ")[-1].strip() == "0.0 [0.0, 0.9]"


def test_requests_of_a_file(tmp_path: Path) -> None:
    """In the words of red_team-v0, where what they ask for is known; and in red_team_text-v0, by their labels."""
    game = make_game("red_team-v0")
    assert isinstance(game, RedTeam)
    texts = [game.vocabulary.decode(game.briefing(deal, 0)) for deal in [*(game.deals.outcomes() or ())][:3]]
    (tmp_path / "requests.txt").write_text("\n".join(texts), encoding="utf-8")
    refusing = ScriptedAgent(["sorry no"] * 100)
    found = evaluate((None, refusing), game="red_team-v0", requests=tmp_path / "requests.txt")
    assert sum(counts.n for counts in found.prompts.values()) == 3
    assert all(name.startswith("requests") for name in found.prompts)
    (tmp_path / "requests.txt").write_text("unheard words", encoding="utf-8")
    with pytest.raises(ValueError, match=r"requests .*: expected words of red_team-v0"):
        evaluate((None, refusing), game="red_team-v0", requests=tmp_path / "requests.txt")
    text = make_game("red_team_text-v0")
    echoing = FunctionAgent(lambda view, rng: utter(view, text.vocabulary.encode("sure here is how")))
    answered = evaluate((None, echoing), game=text).prompts
    assert answered[HARMFUL].asr == 1
    assert answered[BENIGN].refusal_rate == 0


@pytest.mark.skipif(find_spec("peft") is None, reason="adapters need peft, an optional extra")
@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
def test_an_attacker_that_is_a_real_model_learns_by_its_preset(red_team: Path, tmp_path: Path) -> None:
    """An adapter at a small rate, 32 episodes an update; of random weights as before; what is said stays."""
    game = make_game("red_team-v0")
    tiny_agent(game).model.save_pretrained(tmp_path / "theirs")
    options: dict[str, Any] = {"player": red_team, "attacker": ModelOptions(player_0=tmp_path / "theirs")}
    make, budget = _maker(game, None, EvaluateConfig(attacker_updates=1, **options))
    real, micro = (make(player, 0) for player in (0, 1))
    assert isinstance(real, PPOLearner)
    assert isinstance(micro, PPOLearner)
    assert isinstance(real.agent.model, AdaptedModel)
    assert (real.config.learning_rate, real.config.target_kl, budget.batch_size) == (1e-4, 0.03, 32)
    assert not isinstance(micro.agent.model, AdaptedModel)
    assert micro.config == RESPONSE_PPO
    assert (
        _maker(game, None, EvaluateConfig(attacker_updates=1, attacker_batch_size=128, **options))[1].batch_size == 128
    )
    found = evaluate(red_team / "defender", attacker={"player_0": tmp_path / "theirs"}, game="red_team-v0", **QUICK)
    assert found.attacker is not None
    assert found.attacker.player == 0


def test_a_model_s_folder_is_the_defender(red_team: Path, tmp_path: Path) -> None:
    """Its game must be named; what is written goes where it is asked to."""
    with pytest.raises(ValueError, match=r"game: expected the name of a game for .*defender, got none"):
        evaluate(red_team / "defender")
    out = tmp_path / "found.json"
    found = evaluate(red_team / "defender", game="red_team-v0", prompt_set=("plain",), out=str(out))
    assert [*found.prompts] == ["plain"]
    assert json.loads(out.read_text(encoding="utf-8"))["prompts"].keys() == {"plain"}
    assert isinstance(load_run(red_team).players["defender"], CausalLMAgent)


def test_what_cannot_be_measured_is_named(run: RunResult, tmp_path: Path) -> None:
    """The folder, another game, a prompt set, an option."""
    with pytest.raises(ValueError, match="evaluate: expected the folder of a run or of a model, got "):
        evaluate(tmp_path / "nowhere")
    with pytest.raises(ValueError, match=r"game: expected bluff-v0, which .* was trained in, got kuhn_poker-v0"):
        evaluate(run, game="kuhn_poker-v0")
    with pytest.raises(ValueError, match=r"prompt set: expected one of static, .*, got 'plane'"):
        evaluate((None, RandomAgent()), game="red_team-v0", prompt_set=("plane",))
    with pytest.raises(TypeError, match=r"evaluate: expected options among .*, got 'attacker_update'"):
        evaluate(run, attacker_update=3)
    with pytest.raises(TypeError, match="expected a game by name beside a folder, got a MatrixGame"):
        evaluate(run, game=RPS)


def test_the_judge_is_the_oracle_unless_another_is_named(red_team: Path, tmp_path: Path) -> None:
    """Whoever judged in training need not be there any more; one that is named must be."""
    folder = tmp_path / "gpo"
    shutil.copytree(red_team, folder)
    rules = {"game": "red_team-v0", "judge": "reward:gone"}
    (folder / "config.json").write_text(json.dumps({"name": "gpo", "config": {"options": rules}}), encoding="utf-8")
    found = evaluate(folder, prompt_set=("plain",), num_episodes=4)
    assert found.judge == "oracle"
    assert found.prompts["plain"] == evaluate(red_team, prompt_set=("plain",), num_episodes=4).prompts["plain"]
    with pytest.raises((ValueError, OSError), match="gone"):
        evaluate(folder, judge="gone")
