"""Episodes of games as text data, and the command that writes and converts it."""

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from duologue.baselines.data import (
    QA,
    TextDialogue,
    TextTurn,
    encode_text_dialogue,
    episode_dialogue,
    export_episodes,
    read_dialogues,
    read_pairs,
    to_document,
    to_messages,
    write_records,
)
from duologue.baselines.data.__main__ import main
from duologue.baselines.data.export import write_texts
from duologue.baselines.training.files import Json
from duologue.envs import Dialogue, Episode, FiniteDeals, LanguageGame, Payoff, Tokens, WordVocabulary, make_game
from duologue.envs import registered_games as all_games
from duologue.envs.engine.plays import random_plays, replayed

GAMES = [name for name in all_games() if name != "red_team_text-v0"]
"""The registered games of words; random bytes, as red_team_text-v0 may say, are no text."""


class Secrets(LanguageGame[Any]):
    """Player 0 is told a color and thinks, player 1 hears nothing of the first word, and the game says the color."""

    vocabulary = WordVocabulary("red blue yes no")
    payoff = Payoff.ZERO_SUM
    deals: FiniteDeals[Any] = FiniteDeals({"red": 1.0})
    max_turns = 2
    max_turn_tokens = max_thought_tokens = 2
    max_briefing_tokens = max_announcement_tokens = 1

    def next_player(self, dialogue: Dialogue[Any]) -> int | None:
        return None if len(dialogue.turns) == 2 else len(dialogue.turns)

    def rewards(self, dialogue: Dialogue[Any]) -> tuple[float, float]:
        return float(len(dialogue.turns)), -float(len(dialogue.turns))

    def briefing(self, deal: Any, player: int) -> Tokens:
        return self.vocabulary.encode("red") if player == 0 else ()

    def hears(self, dialogue: Dialogue[Any], player: int) -> Tokens | None:
        return None if player == 1 else dialogue.turns[-1].tokens

    def announcement(self, dialogue: Dialogue[Any], player: int) -> Tokens:
        return self.vocabulary.encode("blue") if player == 1 else ()


def played(game: LanguageGame[Any], num_plays: int = 12) -> list[Episode[Any]]:
    """Return random episodes, some of them forfeited."""
    return [replayed(game, play) for play in random_plays(game, 0, num_plays)]


@pytest.mark.parametrize("name", GAMES)
def test_what_a_game_exports_reads_back_as_its_dialogues_and_views(name: str, tmp_path: Path) -> None:
    """Token for token what the engine showed the viewer; a forfeiting token stands in no view."""
    game = make_game(name)
    episodes = played(game)
    for viewer in (0, 1):
        path = tmp_path / f"{viewer}.jsonl.gz"
        told = [one for one in episodes if episode_dialogue(one, viewer).turns]
        assert write_records(path, export_episodes(game, told, viewer=viewer)) == len(told) > 0
        for episode, dialogue in zip(told, read_dialogues(path), strict=True):
            assert dialogue == episode_dialogue(episode, viewer)
            row = encode_text_dialogue(game.vocabulary, dialogue, viewer=viewer)
            if row is not None:
                assert row.tokens.tolist() == episode.views[viewer, : episode.lengths[viewer]].tolist()


def test_a_viewer_is_shown_what_it_knew() -> None:
    """Briefing, thought and unheard words stay with player 0; the announcement is for player 1."""
    game = Secrets()
    episode = Episode(game, "red")
    for token in (
        6,
        *game.vocabulary.encode("yes no"),
        7,
        *game.vocabulary.encode("red"),
        2,
        *game.vocabulary.encode("no"),
        2,
    ):
        episode.push(token)
    first, second = (episode_dialogue(episode, viewer).turns for viewer in (0, 1))
    assert first == (TextTurn(None, "red"), TextTurn(0, "red", thought="yes no"), TextTurn(1, "no"))
    assert second == (TextTurn(None, "blue"), TextTurn(1, "no"), TextTurn(None, "blue"))
    assert list(export_episodes(game, [episode], viewer=0)) == [
        {
            "messages": [
                {"role": "system", "content": "red"},
                {"role": "user", "content": "red", "reasoning_content": "yes no"},
                {"role": "assistant", "content": "no"},
            ],
            "rewards": [[1.0, -1.0], [2.0, -2.0]],
            "viewer": 0,
            "forfeited_by": None,
        }
    ]


def test_forfeits_are_named_and_heard_by_nobody_else() -> None:
    """The illegal turn is the speaker's alone; its reward is in the record."""
    game = Secrets()
    episode = Episode(game, "red")
    episode.push(3)
    (record,) = export_episodes(game, [episode])
    assert (record["forfeited_by"], record["rewards"], record["messages"]) == (0, [[-1.0, 1.0]], [])
    with pytest.raises(ValueError, match="expected one of this Secrets, got one of another game"):
        list(export_episodes(Secrets(), [episode]))


def run(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
    """Run the command, which must succeed, and return what it printed."""
    assert main([str(argument) for argument in arguments]) == 0
    return capsys.readouterr().out


def test_the_command_exports_and_converts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Same seed, same file; messages to documents and back are the same dialogues."""
    first, again = tmp_path / "a.jsonl.gz", tmp_path / "b.jsonl.gz"
    for path in (first, again):
        out = run(capsys, "export", "bluff-v0", "--episodes", "70", "--seed", "3", "--viewer", "0", "--out", path)
    assert first.read_bytes() == again.read_bytes()
    assert "70 episodes of bluff-v0 as player 0 sees them" in out
    rewards = [json.loads(line)["rewards"] for line in gzip.decompress(first.read_bytes()).splitlines()]
    mean = np.mean([np.sum(pairs, axis=0) for pairs in rewards], axis=0)
    assert f"mean returns {mean[0]:+.3f} {mean[1]:+.3f}, 0 forfeits" in out
    marks = ("--markers", "0:=user,1:=assistant,game:=system")
    out = run(capsys, "convert", first, tmp_path / "plays.txt", "--to", "text", *marks)
    assert "70 read, 0 skipped, 0 not writable, 70 written" in out
    run(capsys, "convert", tmp_path / "plays.txt", tmp_path / "c.jsonl", *marks)
    assert list(read_dialogues(tmp_path / "c.jsonl")) == list(read_dialogues(first))


def test_the_command_converts_pairs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """hh-rlhf to TRL's form and back gives the file; CRLF and lone carriage returns within texts stay."""
    texts = ["\n\nHuman: a\r\nb\rc\n\nAssistant: é\u2028", "\n\nHuman: a\r\nb\rc\n\nAssistant: "]
    source = tmp_path / "hh.jsonl"
    write_records(source, [{"chosen": texts[0], "rejected": texts[1]}])
    run(capsys, "convert", source, tmp_path / "trl.jsonl", "--to", "pairs")
    run(capsys, "convert", tmp_path / "trl.jsonl", tmp_path / "back.jsonl", "--to", "hh")
    assert (tmp_path / "back.jsonl").read_bytes() == source.read_bytes()
    assert list(read_pairs(tmp_path / "trl.jsonl")) == list(read_pairs(source))


def test_the_command_counts_what_it_skips(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Unreadable rows and dialogues that the other format cannot hold; without --on-error skip nothing is written."""
    source, target = tmp_path / "in.jsonl", tmp_path / "out.txt"
    rows: list[dict[str, Json]] = [{"instruction": text, "output": "x"} for text in ("a", "b\nA: c")]
    write_records(source, [*rows, {"instruction": 3, "output": "x"}])
    out = run(capsys, "convert", source, target, "--to", "text", "--on-error", "skip")
    assert "2 read, 1 skipped, 1 not writable, 1 written" in out
    assert "dialogue 2: turn 0: expected a text without a mark" in out
    assert target.read_text() == "Q: a\nA: x\n<|endoftext|>\n"
    target.unlink()
    assert main(["convert", str(source), str(target), "--to", "text"]) == 2
    assert "in.jsonl, dialogue 2: turn 0: expected a text without a mark" in capsys.readouterr().err
    assert not target.exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("export", "bluff-v0", "--episodes", "0", "--out", "x"),
            "--episodes: expected an integer of at least 1, got 0",
        ),
        (("export", "no-v0", "--out", "x"), "no-v0"),
        (("convert", "absent.jsonl", "x"), "expected a file or a folder, got absent.jsonl"),
        (("convert", "a", "b", "--from", "alpaca", "--to", "hh"), "--to hh: expected preference pairs"),
        (("convert", "a", "b", "--markers", "Q"), "marks: expected MARK=PART"),
    ],
)
def test_the_command_says_what_was_wrong(
    arguments: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit status 2, one line, no traceback."""
    assert main(arguments) == 2
    assert message in capsys.readouterr().err


CHARACTERS = st.text(st.characters(exclude_categories=["Cs"])) | st.sampled_from(
    ["\ufeff", " a", "a\u2028b\x85c", "\r", "a\r\nb", "\0\x1f\x7f", '"\\', "🙂\ud7ff", "<think>a</think>"]
)
TURNS = st.builds(TextTurn, st.sampled_from([0, 1]), CHARACTERS, CHARACTERS) | st.builds(
    TextTurn, st.none(), CHARACTERS
)
DIALOGUES = st.lists(
    st.builds(TextDialogue, st.lists(TURNS, min_size=1, max_size=4).map(tuple)), min_size=1, max_size=4
)


@given(dialogues=DIALOGUES, name=st.sampled_from(["a.jsonl", "a.json", "a.ndjson", "a.jsonl.gz"]))
def test_whatever_is_said_is_written_and_read_back(
    tmp_path_factory: pytest.TempPathFactory, dialogues: list[TextDialogue], name: str
) -> None:
    """Line breaks of every kind, control characters, byte-order marks, quotes, blanks, nothing."""
    path = tmp_path_factory.mktemp("data") / name
    write_records(path, ({"messages": to_messages(dialogue)} for dialogue in dialogues))
    assert list(read_dialogues(path)) == dialogues


def test_a_document_that_begins_with_a_byte_order_mark_comes_back(tmp_path: Path) -> None:
    """It is the game's first word; readers leave out one mark, so that two are written."""
    dialogue = TextDialogue((TextTurn(None, "\ufeffrain"), TextTurn(0, "Hi"), TextTurn(1, "Hello.")))
    write_texts(tmp_path / "a.txt", [to_document(dialogue, QA, "---")])
    assert list(read_dialogues(tmp_path / "a.txt", document_end="---")) == [dialogue]


def test_a_folder_is_never_written_over(tmp_path: Path) -> None:
    """What is in it stays; nothing is played for it."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("dear")
    assert main(["export", "kuhn_poker-v0", "--episodes", "1", "--out", str(tmp_path / "mine")]) == 2
    with pytest.raises(ValueError, match="mine: expected a file to write, got a folder"):
        write_records(tmp_path / "mine", [{"messages": []}])
    assert (tmp_path / "mine" / "notes.txt").read_text() == "dear"


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_a_number_that_json_does_not_have_is_not_written(tmp_path: Path, number: float) -> None:
    """No reader would take it; the file that was there stays."""
    path = tmp_path / "a.jsonl"
    write_records(path, [{"messages": [], "rewards": 1.0}])
    with pytest.raises(ValueError, match="record: expected finite numbers, got others"):
        write_records(path, [{"messages": []}, {"rewards": [number]}])
    assert path.read_text() == '{"messages": [], "rewards": 1.0}\n'
    assert [file.name for file in tmp_path.iterdir()] == ["a.jsonl"]
