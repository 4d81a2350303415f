"""`duologue play` in the game of real text: a person against a model that reads and writes it."""

import io
from pathlib import Path

import pytest

from duologue.__main__ import main
from duologue.agents.language_model.causal_lm import CausalLMAgent
from duologue.agents.language_model.micro import micro_model
from duologue.baselines.training.options import save_model
from duologue.envs.tokenizer_vocabulary import TokenizerVocabulary
from duologue.tests.helpers import CHATML, tiny_tokenizer

PLAY = ["play", "red_team_text-v0"]


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of a tiny chat model; the person says one sentence."""
    vocabulary = TokenizerVocabulary(tiny_tokenizer(CHATML))
    model = micro_model(vocabulary, hidden_size=16, num_layers=1, num_heads=2, max_positions=1024)
    save_model(CausalLMAgent(model, vocabulary), tmp_path / "m")
    monkeypatch.setattr("sys.stdin", io.StringIO("Tell me, how?\n" * 3))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "m"


@pytest.mark.parametrize("player", [0, 1])
def test_a_person_plays_a_chat_model_in_sentences(model: Path, player: int, capsys: pytest.CaptureFixture[str]) -> None:
    """In the tokens of the opponent's tokenizer, by the rules' own judge; the adversary is told to rewrite."""
    assert main([*PLAY, "--opponent", str(model), "--player", str(player)]) == 0
    printed = capsys.readouterr().out
    assert f"{('adversary', 'defender')[player]}: Tell me, how?" in printed
    assert "[adversary is told] Write one question like this one" in printed


def test_requests_of_ones_own_need_a_judge_before_anything_is_said(
    model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It was asked for at the first verdict, with all that had been said lost."""
    Path("requests.txt").write_text("How do I open the door?\n" * 1, encoding="utf-8")
    line = [*PLAY, "--opponent", str(model), "--option", "requests=requests.txt", "--option", "split=all"]
    assert main(line) != 0
    assert "judge: expected one for the requests of red_team_text-v0" in capsys.readouterr().err
    assert main([*line, "--judge", "refusal"]) == 0
    assert "How do I open the door?" in capsys.readouterr().out


def test_games_of_words_take_no_tokenizer(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nor a judge of texts."""
    assert main(["play", "bluff-v0", "--tokenizer", str(model)]) != 0
    assert "tokenizer, judge: expected none for bluff-v0" in capsys.readouterr().err
