"""What commands write replaces nothing of somebody else's, and is refused before the work."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from duologue.__main__ import main
from duologue.baselines import train
from duologue.baselines.comparison.entrants import mixture_folders
from duologue.baselines.data.__main__ import main as data
from duologue.baselines.studies.stages_report import main as summary
from duologue.tests.baselines.helpers import everything_in

COMPARE = "compare --game bluff-v0 --entrant a=run/player_0 --entrant b=random --num-matches 4".split()
EXPORT, EVALUATE = "export run --episodes 4".split(), "evaluate run --num-episodes 4".split()
PLAYS = "export bluff-v0 --episodes 4".split()
SELF_PLAY = "train self_play --game bluff-v0 --num-updates 1 --batch-size 4 --hidden-size 8".split()
Runs = Callable[[list[str]], object]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a run, a project with a configuration and a file of dialogues."""
    folder = tmp_path_factory.mktemp("made")
    train("psro", game="bluff-v0", num_updates=2, updates_per_response=1, batch_size=4, hidden_size=8,
          num_payoff_episodes=8, num_gain_episodes=8, out=folder / "run")  # fmt: skip
    (folder / "project/model").mkdir(parents=True)
    (folder / "project/config.json").write_text('{"name": "mine", "config": {}}')
    (folder / "project/model/weights.bin").write_text("precious")
    (folder / "pairs.jsonl").write_text('{"instruction": "a", "output": "b"}\n')
    return folder


@pytest.fixture
def here(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Copy it into a working folder of a test's own."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        (main, [*EVALUATE, "--out", "run/config.json"]),
        (main, [*EVALUATE, "--out", "run/player_0/model.safetensors"]),
        (main, [*EVALUATE, "--out", "project"]),
        (main, [*EVALUATE, "--out", "pairs.jsonl/inside"]),
        (main, [*EXPORT, "--out", "run/metrics.jsonl"]),
        (main, [*EXPORT, "--out", "run/player_0"]),
        (main, [*EXPORT, "--out", "project"]),
        (main, [*COMPARE, "--out", "project"]),
        (main, [*COMPARE, "--out", "run"]),
        (main, [*COMPARE, "--out", "run/player_0"]),
        (main, [*COMPARE, "--out", "run/player_0/inside"]),
        (main, [*COMPARE, "--out", "pairs.jsonl"]),
        (main, ["bench", "--suite", "smoke", "--out", "project"]),
        (main, ["bench", "--suite", "smoke", "--out", "run"]),
        (main, ["bench", "--suite", "smoke", "--report-only", "--out", "project"]),
        (main, ["demo", "--quick", "--out", "project"]),
        (main, ["train", "stages", "--quick", "--out", "project"]),
        (main, ["train", "meta", "--quick", "--out", "run"]),
        (main, ["train", "text", "--data", "pairs.jsonl", "--out", "pairs.jsonl"]),
        (main, ["train", "text", "--data", "project", "--out", "project/model/new"]),
        (main, [*SELF_PLAY, "--out", "/"]),
        (main, [*SELF_PLAY, "--out", ""]),
        (main, [*SELF_PLAY, "--out", "."]),
        (main, [*SELF_PLAY, "--out", ".."]),
        (main, [*SELF_PLAY, "--out", "project/model"]),
        (main, [*SELF_PLAY, "--out", "run/player_0"]),
        (main, [*SELF_PLAY, "--player-0", "run/player_0", "--out", "run/player_0"]),
        (main, [*SELF_PLAY, "--out", "n" * 300]),
        (main, [*SELF_PLAY, "--out", "/dev/null"]),
        (data, ["convert", "pairs.jsonl", "pairs.jsonl"]),
        (data, ["convert", "pairs.jsonl", "project"]),
        (data, ["convert", "project", "project/new.jsonl"]),
        (data, [*PLAYS, "--out", "project"]),
        (data, [*PLAYS, "--out", "/dev/null"]),
        (data, [*PLAYS, "--out", ""]),
    ],
)  # fmt: skip
def test_nothing_of_others_is_replaced(command: Runs, arguments: list[str], here: Path) -> None:
    """Status 2, one line, and no byte changed."""
    before = everything_in(here)
    assert command(arguments) == 2
    assert everything_in(here) == before


def test_refusals_are_one_line(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """But for the hint that shows where."""
    for command, arguments in ((main, [*SELF_PLAY, "--out", "project"]), (data, ["convert", "pairs.jsonl", "project"])):
        command(arguments)
        said = capsys.readouterr().err.splitlines()
        assert len([line for line in said if not line.startswith("(DUOLOGUE_TRACEBACK=1")]) == 1


def test_what_was_written_before_is_written_again(here: Path) -> None:
    """Also a comparison and a summary that older versions made without a mark."""
    for arguments in ([*EVALUATE, "--out", "run/mine.json"], [*EXPORT], [*COMPARE, "--out", "compared"]):
        assert main(arguments) == 0
        assert main(arguments) == 0
    for name in (".duologue.json", ".duologue.lock"):
        (here / "compared" / name).unlink()
    assert main([*COMPARE, "--out", "compared"]) == 0


def test_a_summary_is_written_into_a_folder_of_its_own(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The table of a project is not replaced."""
    (here / "project/table.md").write_text("precious")
    for name in ("load_results", "_shape"):
        monkeypatch.setattr(f"duologue.baselines.studies.stages_report.{name}", lambda path: None)
    before = everything_in(here)
    with pytest.raises(ValueError, match="project: expected a new or empty folder, or a summary's"):
        summary(["pairs.jsonl", "--out", "project"])
    assert everything_in(here) == before


def test_members_without_their_weights_are_no_mixture(here: Path) -> None:
    """They were weighed evenly, and a member that was gone was left out in silence."""
    assert len(mixture_folders(here / "run")[0]) == 2
    (here / "run/meta_game.json").rename(here / "meta_game.json")
    with pytest.raises(ValueError, match=r"run: expected a finished run with all .* without meta_game\.json"):
        mixture_folders(here / "run")
    (here / "run/finished").write_text("")  # as older versions left it
    with pytest.raises(ValueError, match=r"run: expected its meta_game\.json, which says what its members weigh"):
        mixture_folders(here / "run")
    (here / "meta_game.json").rename(here / "run/meta_game.json")
    mixture_folders(here / "run")
