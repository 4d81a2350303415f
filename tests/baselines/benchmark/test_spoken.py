"""The benchmark on a chat model: the games in its text, adapters in both seats, its preset's numbers, exact gaps."""

import json
from pathlib import Path
from typing import Any

import pytest

from duologue.__main__ import main
from duologue.agents import CausalLMAgent
from duologue.agents.language_model.adapters import AdaptedModel
from duologue.agents.language_model.micro import micro_model
from duologue.agents.tabular import seat_profile
from duologue.baselines.benchmark.cell import BenchSettings, Cell, _task, can_play, run_cell
from duologue.baselines.benchmark.command import MICRO, BenchConfig, bench
from duologue.baselines.benchmark.entrants import IPO, RLOO, by_learner
from duologue.baselines.benchmark.games import GAMES, can_be_spoken, game_facts
from duologue.baselines.benchmark.registry import ALGORITHMS
from duologue.baselines.learners.base import TrainedModel
from duologue.baselines.training.costs import CostMeter
from duologue.baselines.training.presets import PRESETS
from duologue.baselines.two_player.spag import SPAG
from duologue.envs.spoken import Spoken
from duologue.envs.tree import GameTree, nash_conv
from duologue.tests.envs.spoken.helpers import VOCABULARY

pytest.importorskip("peft", reason="adapters need peft, an optional extra")
BUDGET: dict[str, Any] = {"num_updates": 6, "batch_size": 4}
LORA = PRESETS["pretrained_lora"]


@pytest.fixture(scope="module")
def chat(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a tiny chat model that others made."""
    folder = tmp_path_factory.mktemp("chat")
    micro_model(VOCABULARY, hidden_size=16, num_heads=2, max_positions=2048).save_pretrained(folder)
    VOCABULARY.tokenizer.save_pretrained(folder)
    return folder


def test_the_suite_leaves_out_what_cannot_be_told(chat: Path, tmp_path: Path) -> None:
    """Random preferences are words for the rows of a table; asked for by name they are refused."""
    told = {cell.game for cell in BenchConfig(spoken=chat).grid()}
    assert told == {name for name in GAMES if can_be_spoken(name)} == {*GAMES} - {"preference"}
    with pytest.raises(ValueError, match="games: expected some that can be told in English, got 'preference'"):
        BenchConfig(spoken=chat, games=("preference",)).grid()
    with pytest.raises(ValueError, match="spoken: expected none with --suite alignment"):
        BenchConfig(spoken=chat, suite="alignment")
    with pytest.raises(ValueError, match="device: expected cpu with --suite alignment, got cuda"):
        BenchConfig(device="cuda", suite="alignment")
    nowhere = tmp_path / "out"
    with pytest.raises(ValueError, match="device: expected"):
        bench(BenchConfig(device="nowhere", out=nowhere))
    with pytest.raises(ValueError, match="tokenizer: expected a folder with a saved tokenizer"):
        bench(BenchConfig(spoken=chat / "nothing", out=nowhere))
    assert not nowhere.exists()


def test_players_are_adapters_at_the_presets_rates(chat: Path) -> None:
    """Those of the suite's own learner, and those of entrants who have one of their own."""
    settings = BenchSettings(spoken=chat, **BUDGET)
    tree = GameTree(settings.game("rps"))
    task = _task(Cell("self_play", "rps", 0), tree, settings, CostMeter(), "cpu")
    for own in (task, by_learner(task, RLOO), by_learner(task, IPO)):
        learners = [own.make_player(player, 0) for player in range(2)]
        for learner in learners:
            assert isinstance(learner, TrainedModel)
            assert isinstance(learner.agent.model, AdaptedModel)
            assert learner.config.learning_rate == LORA["learning_rate"]
            assert learner.config.tokens_at_once == LORA["tokens_at_once"]
        models = [learner.agent.model for learner in learners]
        assert models[0].unadapted is models[1].unadapted
    assert task.tuned(RLOO).rloo.learning_rate == LORA["learning_rate"]
    of_words = BenchSettings(**BUDGET)
    words = _task(Cell("self_play", "rps", 0), GameTree(of_words.game("rps")), of_words, CostMeter(), "cpu")
    assert words.tuned(RLOO) == RLOO
    made = words.make_player(0, 0)
    assert not isinstance(made.agent.model, AdaptedModel)


def test_a_cell_is_held_to_the_tree_of_the_spoken_game(chat: Path) -> None:
    """Its facts are those of the game inside, its first gaps those of the model that it starts from."""
    settings = BenchSettings(spoken=chat, measure_every=1, **BUDGET)
    assert isinstance(settings.game("kuhn"), Spoken)
    result = run_cell(Cell("self_play", "kuhn", 0), settings)
    words = game_facts(GameTree(BenchSettings(**BUDGET).game("kuhn")))
    assert result.facts.value == pytest.approx(-1 / 18, abs=1e-9)
    assert result.facts.payoff_range == words.payoff_range
    assert result.facts.uniform_shortfall == pytest.approx(words.uniform_shortfall)
    assert [point.iteration for point in result.curve] == [1, 2, 3, 4, 5, 6]
    tree = GameTree(settings.game("kuhn"))
    task = _task(Cell("self_play", "kuhn", 0), tree, settings, CostMeter(), "cpu")
    first, second = (task.make_player(player, 0).agent for player in range(2))
    start = nash_conv(tree, seat_profile(tree, (first, second)))
    assert result.curve[0].last.nash_conv == pytest.approx(start, abs=0.05)  # one update at 1e-4 moves it little
    assert result.curve[0].last.nash_conv != start


def test_the_command_takes_a_chat_model(chat: Path, tmp_path: Path) -> None:
    """Two algorithms, one that learns by its own learner; results of another model's folder are not mixed with them."""
    asked = ["--algorithms", "rloo_self_play,psro", "--games", "rps", "--seeds", "1", "--num-updates", "6"]
    small = ["--batch-size", "4", "--processes", "1", "--out", str(tmp_path)]
    assert main(["bench", "--spoken", str(chat), *asked, *small]) == 0
    lines = (tmp_path / "results.jsonl").read_text(encoding="utf-8").splitlines()
    assert {json.loads(line)["cell"]["algorithm"] for line in lines} == {"rloo_self_play", "psro"}
    leaderboard = (tmp_path / "leaderboard.md").read_text(encoding="utf-8")
    assert "the chat model of a folder, as adapters of rank 8" in " ".join(leaderboard.split())
    assert f"learning rate {LORA['learning_rate']:g}, a KL charge of 0.05 to the start" in " ".join(leaderboard.split())
    again = {"algorithms": ("psro",), "games": ("rps",), "seeds": 1, "out": tmp_path, **BUDGET}
    with pytest.raises(ValueError, match="model: expected None, got"):
        bench(BenchConfig(**again))
    moved = chat.rename(chat.with_name("moved"))
    try:
        assert bench(BenchConfig(spoken=moved, **again)) == {}  # wherever it lies
        (moved / "more.txt").write_text("another model", encoding="utf-8")
        with pytest.raises(ValueError, match="model: expected"):
            bench(BenchConfig(spoken=moved, **again))
    finally:
        (moved / "more.txt").unlink(missing_ok=True)
        moved.rename(chat)


@pytest.mark.parametrize("name", MICRO)
def test_every_entrant_learns_at_the_presets_rate(name: str, chat: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever options of its own it has; its players are made, and none is trained."""
    found: list[float] = []
    init = TrainedModel.__init__

    def noted(self: TrainedModel[Any], agent: CausalLMAgent, config: Any, **options: Any) -> None:
        found.append(config.learning_rate)
        init(self, agent, config, **options)

    monkeypatch.setattr(TrainedModel, "__init__", noted)
    game = "red_team" if can_play(name, "red_team") else "rps"
    settings = BenchSettings(spoken=chat, **BUDGET)
    tree = GameTree(settings.game(game))
    made = ALGORITHMS[name].make(_task(Cell(name, game, 0), tree, settings, CostMeter(), "cpu"))
    found += [made.options.learning_rate] if isinstance(made, SPAG) else []
    assert set(found) == {LORA["learning_rate"]}
