"""`--spoken FOLDER`: chat models in folders play games of words, on every command that plays one."""

import json
from pathlib import Path

import pytest

from duologue.__main__ import main, play
from duologue.agents import CausalLMAgent, HumanAgent, profile_of
from duologue.agents.language_model.micro import micro_model
from duologue.agents.loading import load_agent, spoken_options
from duologue.baselines.training.options import GameOptions, ModelOptions, save_model
from duologue.envs import make_game
from duologue.envs.spoken import Spoken
from duologue.envs.tree import GameTree, nash_conv
from duologue.tests.envs.spoken.helpers import VOCABULARY

GAME = "rock_paper_scissors-v0"


@pytest.fixture(scope="module")
def chat_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a tiny model with a chat template of its own."""
    folder = tmp_path_factory.mktemp("chat") / "model"
    save_model(CausalLMAgent(micro_model(VOCABULARY, hidden_size=16, max_positions=512), VOCABULARY), folder)
    return folder


def test_solve_takes_the_tree_of_the_spoken_game(chat_model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its value is that of the game inside, 0, and uniform play is a solution."""
    command = ["solve", GAME, "--algorithm", "cfr", "--iterations", "1", "--spoken", str(chat_model), "--json"]
    assert not main(command)
    assert json.loads(capsys.readouterr().out)["nash_conv_average"] == pytest.approx(0, abs=1e-12)


def test_train_compare_and_evaluate_measure_exactly(chat_model: Path, tmp_path: Path) -> None:
    """A run of self-play from the folder, beside its start and random play: NashConv is exact, 0 for the last."""
    run, spoken = tmp_path / "run", ["--game", GAME, "--spoken", str(chat_model)]
    models = ["--player-0", str(chat_model), "--player-1", str(chat_model)]
    budget = ["--num-updates", "1", "--batch-size", "4", "--out", str(run)]
    assert not main(["train", "self_play", *spoken, *models, *budget])
    named = {"run": run, "start": chat_model, "random": "random"}
    entrants = [f"--entrant={name}={what}" for name, what in named.items()]
    small = ["--num-matches", "4", "--kl-episodes", "2", "--regret-episodes", "0"]
    assert not main(["compare", *spoken, *entrants, *small, "--out", str(tmp_path / "compared")])
    compared = json.loads((tmp_path / "compared" / "compare.json").read_text(encoding="utf-8"))
    distances = {name: compared["distances"][name]["nash_conv"] for name in named}
    assert distances["random"] == pytest.approx(0, abs=1e-12)
    found = {"run": tmp_path / "run.json", "start": tmp_path / "start.json"}
    assert not main(["evaluate", str(run), "--num-episodes", "4", "--out", str(found["run"])])
    assert not main(["evaluate", str(chat_model), *spoken, "--num-episodes", "4", "--out", str(found["start"])])
    for name, path in found.items():
        evaluated = json.loads(path.read_text(encoding="utf-8"))
        assert 0 < evaluated["nash_conv"]["last"] == pytest.approx(distances[name], abs=1e-5)


def test_each_seat_is_measured_at_its_roles_temperature(chat_model: Path, tmp_path: Path) -> None:
    """By `compare` and `evaluate`, one folder in both seats: as agents of those temperatures are."""
    spoken = ["--game", GAME, "--spoken", str(chat_model)]
    drawn = ["--adversary-role.temperature", "0.2", "--defender-role.temperature", "3"]
    found = tmp_path / "found.json"
    assert not main(["evaluate", str(chat_model), *spoken, *drawn, "--num-episodes", "4", "--out", str(found)])
    entrants = ["--entrant", f"chat={chat_model}", "--entrant", "random=random"]
    small = ["--num-matches", "4", "--kl-episodes", "0", "--out", str(tmp_path / "compared")]
    assert not main(["compare", *spoken, *drawn, *entrants, *small])
    tree = GameTree(GameOptions(game=GAME, spoken=chat_model).build())
    seats = [CausalLMAgent.from_pretrained(chat_model, VOCABULARY) for _ in range(2)]
    seats[0].temperature, seats[1].temperature = 0.2, 3
    expected = nash_conv(tree, profile_of(tree, seats))
    evaluated = json.loads(found.read_text(encoding="utf-8"))
    assert evaluated["nash_conv"]["last"] == pytest.approx(expected, abs=1e-9)
    compared = json.loads((tmp_path / "compared" / "compare.json").read_text(encoding="utf-8"))
    assert compared["distances"]["chat"]["nash_conv"] == pytest.approx(expected, abs=1e-9)


def test_play_takes_sentences_from_a_person(chat_model: Path) -> None:
    """And a chat model as the opponent."""
    shown: list[str] = []
    human = HumanAgent(input=lambda prompt: "Rock", output=shown.append)
    episode = play(GAME, human=human, opponent=str(chat_model), **spoken_options(chat_model))
    assert "You are playing rock, paper, scissors" in shown[0]
    assert "Rock" in episode.transcript()


def test_options_of_a_spoken_game_are_game_options(chat_model: Path) -> None:
    """As thoughts and examples are."""
    game = GameOptions(game=GAME, spoken=chat_model, game_option=("free=true",)).build()
    assert isinstance(game, Spoken)
    assert game.free
    assert isinstance(ModelOptions(player_0=chat_model).make(game, 0, 0), CausalLMAgent)


def test_a_game_without_prompts_and_a_model_without_the_tokenizer_are_refused(chat_model: Path, tmp_path: Path) -> None:
    """In one line each."""
    with pytest.raises(ValueError, match="spoken: expected a game with prompts"):
        GameOptions(game="red_team-v0", spoken=chat_model).build()
    words = make_game(GAME)
    save_model(CausalLMAgent(micro_model(words.vocabulary, hidden_size=16), words.vocabulary), tmp_path / "words")
    with pytest.raises(ValueError, match="expected"):
        load_agent(str(tmp_path / "words"), VOCABULARY)
