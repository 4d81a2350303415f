"""The command line."""

import io
import re
import subprocess
import sys
import types
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any

import gymnasium
import pettingzoo
import pytest

from duologue.__main__ import games_table, main, play
from duologue.agents import ScriptedAgent
from duologue.baselines.api.commands import COMMANDS, TRAINERS
from duologue.baselines.training.files import write_text
from duologue.baselines.two_player import gpo as two_player_gpo
from duologue.baselines.two_player.gpo import GPOConfig
from duologue.envs import register_game, registered_games
from duologue.envs import registry as registry_module
from duologue.envs.registry import parse_option


def typing(monkeypatch: pytest.MonkeyPatch, *lines: str) -> None:
    """Let a person type these lines and then close the terminal."""
    monkeypatch.setattr(sys, "stdin", io.StringIO("".join(f"{line}\n" for line in lines)))


def test_games_are_listed_with_their_sizes() -> None:
    """One line a game: bluff has 8 special tokens and 5 words, two turns of one token."""
    header, *rows = games_table().splitlines()
    assert header.split("  ")[0] == "game"
    assert [row.split()[0] for row in rows] == list(registered_games())
    assert rows[1].split() == ["bluff-v0", "bettor", "caller", "zero_sum", "13", "2", "1", "10"]
    starts = {row.index("zero_sum") for row in rows if "zero_sum" in row}
    assert starts == {header.index("payoff")}


def test_game_that_needs_options_says_which(monkeypatch: pytest.MonkeyPatch) -> None:
    """It cannot be made for the table, but must not hide the others."""
    monkeypatch.setattr(registry_module, "_ENTRY_POINTS", dict(registry_module._ENTRY_POINTS))
    monkeypatch.setattr(pettingzoo, "register", lambda *args: None)
    monkeypatch.setattr(gymnasium, "register", lambda *args, **options: None)

    def needy(requests: str, *, size: int, seed: int = 0) -> Any:
        raise AssertionError

    register_game("needy-v0", needy)
    assert re.search(r"^needy-v0 +\(needs requests, size\)$", games_table(), re.MULTILINE)


def test_play_saves_the_transcript(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whole, where it was asked to be, with the path printed last."""
    typing(monkeypatch, "fold")
    path = tmp_path / "new" / "bluff.txt"
    assert main(["play", "bluff-v0", "--seed", "1", "--transcript", str(path)]) == 0
    text = path.read_text(encoding="utf-8")
    assert text.endswith("bettor: fold\n[rewards] -1 +1\n[over] returns -1 +1\n")
    output = capsys.readouterr().out
    assert text in output
    assert output.splitlines()[-1] == f"transcript saved to {path}"
    assert list(path.parent.iterdir()) == [path]


def test_transcript_goes_to_runs_if_nothing_is_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The folder that git ignores."""
    monkeypatch.chdir(tmp_path)
    typing(monkeypatch, "bet")
    assert main(["play", "bluff-v0", "--seed", "1"]) == 0
    assert (tmp_path / "runs" / "play" / "bluff-v0-player0-seed1.txt").is_file()


def test_leaving_saves_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An episode is whole or absent."""
    typing(monkeypatch, "quit")
    assert main(["play", "bluff-v0", "--transcript", str(tmp_path / "t.txt")]) == 1
    assert list(tmp_path.iterdir()) == []
    assert "no transcript saved" in capsys.readouterr().out


def test_play_seats_the_person_as_asked() -> None:
    """Seat 1 answers a random bettor; the seed decides the deal and its luck."""
    human = ScriptedAgent(["call"])
    episodes = [play("bluff-v0", human=human, player=1, seed=seed) for seed in range(8)]
    assert {turn.player for episode in episodes for turn in episode.dialogue.turns[:1]} == {0}
    assert "caller: call" in "".join(episode.transcript() for episode in episodes)
    again = [play("bluff-v0", human=human, player=1, seed=seed) for seed in range(8)]
    assert [e.transcript() for e in again] == [e.transcript() for e in episodes]


def test_play_passes_options_to_the_game() -> None:
    """`--option num_rounds=2`: numbers and booleans as JSON, anything else as text."""
    assert parse_option("num_rounds=2") == ("num_rounds", 2)
    assert parse_option("seeded=false") == ("seeded", False)
    with pytest.raises(ValueError, match="option seeded: expected JSON, false, got False"):
        parse_option("seeded=False")
    assert parse_option("intent=hidden") == ("intent", "hidden")
    episode = play("red_team-v0", human=ScriptedAgent([""]), num_rounds=2)
    assert len(episode.dialogue.turns) == 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["play", "bluf-v0"], "did you mean 'bluff-v0'"),
        (
            ["play", "bluff-v0", "--option", "stake=2"],
            r"bluff-v0: expected options among \[\], got \['stake'\]",
        ),
        (["play", "bluff-v0", "--option", "stake"], "option: expected NAME=VALUE, got 'stake'"),
        (["play", "bluff-v0", "--opponent", "nobody"], "agent: expected random, echo or the folder"),
        (["train", "ppo2"], "expected an algorithm among pretrain, .*rlhf, .*attack, gpo, .*, got 'ppo2'"),
    ],
)
def test_wrong_input_is_named_without_a_traceback(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """What was expected and what came, and exit status 2."""
    assert main(arguments) == 2
    assert re.search(message, capsys.readouterr().err)


@pytest.mark.parametrize("command", ["solve", *(name for name in COMMANDS if COMMANDS[name].prints)])
def test_commands_hand_over_to_the_baselines(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Options included; `solve` has help of its own."""
    called: list[list[str]] = []
    module = "solvers.command" if command == "solve" else COMMANDS[command].entry.partition(":")[0]
    fake = types.ModuleType(f"duologue.baselines.{module}")
    fake.main = called.append  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, fake.__name__, fake)
    arguments = ["--seed", "3", *(["--help"] if command == "solve" else [])]
    assert main([command, *arguments]) == 0
    assert called == [arguments]


@pytest.mark.parametrize("name", TRAINERS)
def test_a_trainer_is_a_function_of_its_options(name: str) -> None:
    """Which are a dataclass, and bear the trainer's name where they belong to one run."""
    command = TRAINERS[name]
    assert is_dataclass(command.config)
    assert getattr(command.config, "algorithm", name) == name
    assert command.module.__doc__


def test_train_runs_what_the_command_line_asks_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """`duologue train gpo --seed 3` is `gpo(GPOConfig(seed=3))`."""
    asked: list[GPOConfig] = []

    def gpo(config: GPOConfig) -> Path:
        asked.append(config)
        return config.out

    monkeypatch.setattr(two_player_gpo, "gpo", gpo)
    assert main(["train", "gpo", "--seed", "3", "--out", str(tmp_path)]) == 0
    assert asked == [GPOConfig(seed=3, out=tmp_path)]


@pytest.mark.parametrize(("arguments", "status"), [([], 2), (["--help"], 0)])
def test_train_lists_the_algorithms(arguments: list[str], status: int, capsys: pytest.CaptureFixture[str]) -> None:
    """With what each trains."""
    assert main(["train", *arguments]) == status
    output = capsys.readouterr().out
    assert all(name in output for name in TRAINERS)


def test_help_is_an_overview(capsys: pytest.CaptureFixture[str]) -> None:
    """All commands with a sentence and an example; no command shows the same."""
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    overview = capsys.readouterr().out
    commands = (
        "games",
        "play",
        "solve",
        "train",
        "bench",
        "demo",
        "compare",
        "evaluate",
        "export",
        "convert",
        "judge-report",
    )
    assert all(f"duologue {command}" in overview for command in commands)
    assert main([]) == 0
    assert capsys.readouterr().out == overview


def test_file_that_cannot_be_written_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file is whole or absent: the new one takes the old one's place only when it is complete."""
    path = tmp_path / "t.txt"
    write_text(path, "old")
    with pytest.raises(UnicodeEncodeError):
        write_text(path, "half \udcff")
    assert path.read_text(encoding="utf-8") == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_transcript_is_shown_even_if_it_cannot_be_saved(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file stands where the folder should be: an error that names it, after the episode."""
    (tmp_path / "file").write_text("", encoding="utf-8")
    typing(monkeypatch, "fold")
    assert main(["play", "bluff-v0", "--transcript", str(tmp_path / "file" / "t.txt")]) == 2
    captured = capsys.readouterr()
    assert "[over] returns" in captured.out
    assert str(tmp_path / "file") in captured.err


def test_games_needs_no_torch() -> None:
    """The one command in a process of its own: it must start at once."""
    code = "import sys; from duologue.__main__ import main; main(['games']); print('torch' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.splitlines()[-1] == "False"


def test_a_stopped_command_says_how_it_goes_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line and the status of a program that was interrupted, 128 + SIGINT."""

    def stopped(config: GPOConfig) -> Path:
        raise KeyboardInterrupt

    monkeypatch.setattr(two_player_gpo, "gpo", stopped)
    assert main(["train", "gpo"]) == 130
    assert capsys.readouterr().err == "\nduologue: stopped; a run goes on by the same command\n"
    assert main(["train", "--help"]) == 0
    assert "goes on by the same command" in capsys.readouterr().out


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_behind_what_is_printed_is_one_line() -> None:
    """Python itself would print a trace at the end, and return 120."""
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-m", "duologue", "games"]
        run = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
    assert run.returncode == 2
    assert run.stderr.startswith("duologue: [Errno 28] No space left on device")
    assert len(run.stderr.splitlines()) == 1


def test_a_reader_that_has_seen_enough_is_no_error() -> None:
    """As `duologue games | head -1`: no trace, and nothing about an ignored exception."""
    command = [sys.executable, "-m", "duologue", "games"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        assert run.stderr is not None
        run.stdout.close()
        assert run.stderr.read() == ""
    assert run.returncode == 141


LEARNER = """\
from duologue.baselines.learners.base import ClippedConfig, PolicyLearner
from duologue.baselines.learners.registry import register_learner
"""
GIVES = """
@register_learner('gives_{name}', config=ClippedConfig)
class Gives(PolicyLearner):
    def advantages(self, batch, old, ref):
        return batch.returns
    def loss(self, logprobs, *others):
        return {loss}
"""
FILES: dict[str, bytes] = {
    "syntax.py": b"x = 1\ndef f(:\n",
    "raises.py": b"x = 1\nraise RuntimeError('my own bug')\n",
    "nothing.py": b"x = 1\n",
    "leaves.py": b"raise SystemExit(0)\n",
    "binary.py": b"\x00\xff\xfe\x80" * 50,
    "number.py": f"{LEARNER}register_learner('number', config=ClippedConfig)(3)\n".encode(),
    "mapping.py": f"{LEARNER}register_learner('mapping', config=dict)(PolicyLearner)\n".encode(),
    "algorithm.py": b"from duologue.baselines.benchmark import registry\nregistry.register_algorithm('a')(3)\n",
    "none.py": (LEARNER + GIVES.format(name="none", loss="None")).encode(),
    "nan.py": (LEARNER + GIVES.format(name="nan", loss="logprobs.sum() * float('nan')")).encode(),
    "bad.jsonl": b"{not json\n",
    "empty.jsonl": b"",
    "deep.jsonl": b"[" * 100_000,
    "empty/config.json": b"{}",
    "list/config.json": b"[1, 2]",
    "deep/config.json": b"[" * 100_000,
    "bytes/config.json": b"\xff\xfe",
    "unknown/config.json": b'{"model_type": "nosuch"}',
    "damaged/config.json": b'{"model_type": "llama"}',
    "damaged/model.safetensors": b"garbage" * 10,
    "types/config.json": b'{"name": 5, "config": 3}',
    "sb3/config.json": b"{}",
    "sb3/policy.zip": b"PK\x03\x04nonsense",
    "tok/tokenizer.json": b"{bad",
    "tok/tokenizer_config.json": b"{}",
    "file": b"x",
}
"""What lies about in the folder where the lines below are typed."""
SELF_PLAY = "train self_play --game kuhn_poker-v0 --batch-size 4 --hidden-size 8 --num-updates 1"
HOSTILE = [
    f"{SELF_PLAY} --device cuda:99 => device: expected one that this machine has",
    f"{SELF_PLAY} --device meta => device: expected one that this machine has",
    f"{SELF_PLAY} --device nonsense => device: expected cpu, cuda, cuda:1 or the like, got 'nonsense'",
    f"{SELF_PLAY} --batch-size 1000000000000 => batch_size: expected an integer of at most 1048576",
    f"{SELF_PLAY} --hidden-size 1000000000 => hidden_size: expected an integer of at most 65536",
    f"{SELF_PLAY} --hidden-size 65536 --num-layers 1000 => expected a model of at most 10,000,000,000 weights",
    f"{SELF_PLAY} --num-heads 3 => num_heads: expected heads of an even width that make up hidden_size, 8, got 3",
    f"{SELF_PLAY} --game nosuch => game: expected one of",
    f"{SELF_PLAY} --game-option max_thought_tokens=100000000000 => expected max_thought_tokens of at most 1048576",
    f"{SELF_PLAY} --game-option max_thought_tokens=NaN => expected max_thought_tokens of type int, got nan",
    f"{SELF_PLAY} --game-option vocabulary=empty => expected options among",
    f"{SELF_PLAY} --player-0 nosuch => expected a folder with a config.json, got nosuch",
    *(f"{SELF_PLAY} --player-0 {folder} => ." for folder in ("empty", "list", "deep", "bytes", "unknown", "damaged")),
    f"{SELF_PLAY} --game red_team_text-v0 --tokenizer tok => tok/tokenizer.json, line 1: expected JSON",
    f"{SELF_PLAY} --game red_team-v0 --judge damaged => .",
    f"{SELF_PLAY} --learner nosuch => learner: expected a name among",
    f"{SELF_PLAY} --out file => file",
    f"{SELF_PLAY} --out /dev/null/x => /dev/null",
    f"{SELF_PLAY} --learner-file nosuch.py => learner_file: expected a Python file, got nosuch.py",
    f"{SELF_PLAY} --learner-file empty => learner_file: expected a Python file, got empty",
    f"{SELF_PLAY} --learner-file syntax.py => learner_file: expected a Python file, got syntax.py, line 2: invalid",
    f"{SELF_PLAY} --learner-file binary.py => learner_file: expected a Python file, got binary.py",
    f"{SELF_PLAY} --learner-file raises.py => RuntimeError: my own bug (.*raises.py:2; DUOLOGUE_TRACEBACK=1",
    f"{SELF_PLAY} --learner-file leaves.py => learner_file: expected a file that can be imported, leaves.py ends",
    f"{SELF_PLAY} --learner-file nothing.py => learner_file: expected a file that calls register_learner",
    f"{SELF_PLAY} --learner-file number.py => register_learner number: expected a class or a function, got 3",
    f"{SELF_PLAY} --learner-file mapping.py => expected a dataclass below TrainingConfig as config",
    f"{SELF_PLAY} --learner-file none.py --learner gives_none => loss: expected a tensor, got None",
    f"{SELF_PLAY} --learner-file nan.py --learner gives_nan => update 1: loss: expected a finite number, got nan",
    "train nosuch => train: expected an algorithm among",
    "train sb3 --opponent sb3 => .",
    "train text --data nosuch => data: expected a file or a folder",
    "train text --data empty.jsonl => .",
    "train text --data deep.jsonl => .",
    "train reward_model --data bad.jsonl => bad.jsonl, line 1",
    "train gpo --adversary nosuch => adversary: expected the folder of a model, got nosuch",
    "solve nosuch --algorithm cfr => game: expected one of",
    "solve kuhn_poker-v0 --algorithm nosuch => .",
    "solve kuhn_poker-v0 --algorithm cfr --iterations 0 => --iterations: expected an integer of at least 1",
    "solve kuhn_poker-v0 --algorithm cfr --iterations 1000000000000 => --iterations: expected an integer of at most",
    "solve kuhn_poker-v0 --algorithm cfr --iterations 1000000000 --every 1 => expected an integer of at most 1000000",
    "solve kuhn_poker-v0 --algorithm cfr --start-seed -1 => --start-seed: expected an integer of at least 0",
    "solve kuhn_poker-v0 --algorithm mmd --solver-option eta=NaN => eta: expected a finite number above 0",
    "solve secret_code-v0 --algorithm cfr --option num_words=100000000 => expected num_words of at most",
    "play bluff-v0 --opponent damaged => .",
    "play bluff-v0 --opponent deep => .",
    "play bluff-v0 --opponent file => agent: expected random, echo or the folder",
    "play bluff-v0 --seed -1 => seed: expected an integer of at least 0, got -1",
    "play red_team_text-v0 --option vocabulary=tok => vocabulary: expected a TokenizerVocabulary or another",
    "play red_team_text-v0 --option requests=empty => .",
    f"play bluff-v0 --option x={'[' * 5000} => option x: expected JSON of a usual size",
    f"play bluff-v0 --option x={'9' * 5000} => option x: expected JSON of a usual size",
    "play a\x1b[31mb => game: expected one of",
    "bench --games nosuch => .",
    "bench --algorithms nosuch => algorithms: expected names among",
    "bench --algorithm-file syntax.py => algorithm_file: expected a Python file, got syntax.py, line 2",
    "bench --algorithm-file algorithm.py => register_algorithm a: expected a function, got 3",
    "compare --game kuhn_poker-v0 --entrant a=random => entrant: expected two or more",
    "compare --game kuhn_poker-v0 --entrant a=random --entrant b=damaged => entrant b: ",
    "evaluate nosuch => evaluate: expected the folder of a run or of a model",
    "evaluate types => .",
    "evaluate deep => .",
    "export types => run types: expected a config.json with a name and options, got other types",
    "export nosuch => run nosuch: expected the folder of a run, got none there",
    "demo --out file => file",
]
"""What is typed, and what the one line says."""


@pytest.fixture(scope="module")
def hostile_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of damaged files."""
    folder = tmp_path_factory.mktemp("hostile")
    for name, data in FILES.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


@pytest.mark.parametrize("line", HOSTILE, ids=lambda line: line.replace(SELF_PLAY, "train")[:70])
def test_hostile_lines_end_in_one_line_and_exit_2(
    line: str, hostile_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Never a traceback, never a terabyte; the line names the option or the file."""
    monkeypatch.delenv("DUOLOGUE_TRACEBACK", raising=False)
    monkeypatch.chdir(tmp_path)
    for name in FILES:  # a run of the line before must not be taken up again
        top = Path(name).parts[0]
        if not Path(top).exists():
            Path(top).symlink_to(hostile_folder / top)
    typed, _, said = line.partition(" => ")
    assert main(typed.split(" ")) == 2
    *others, last = capsys.readouterr().err.splitlines()
    assert not any(text.startswith(("duologue: ", "Traceback")) for text in others)
    assert last.startswith("duologue: ")
    assert last.isprintable()
    assert re.search(said.replace("(", r"\("), last)
    assert last.endswith("DUOLOGUE_TRACEBACK=1 shows where)")


@pytest.mark.parametrize(
    "options",
    ["--rloo.learning-rate inf", "--ppo.max-grad-norm nan", "--ppo.max-grad-norm -1", "--ppo.max-grad-norm 0",
     "--ppo.gamma 2", "--ppo.warmup-updates -1", "--num-updates -1", "--save-every 0", "--seed -1", "--num-threads -1",
     f"--seed {2**64}", f"--seed {'9' * 5000}", "--num-threads 1000000", "--dtype float16"],
)  # fmt: skip
def test_numbers_that_no_option_takes_leave_with_2(
    options: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Refused while the line is read, and no folder is made; `-1` as a norm climbs, 0 stays where it is."""
    out = tmp_path / "run"
    assert main([*SELF_PLAY.split(), *options.split(), "--out", str(out)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("duologue: ")
    assert not out.exists()


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("train gpo --seed -1", "seed: expected an integer of at least 0, got -1; see duologue train gpo --help"),
        ("train gpo --sead 1", "Unrecognized options: --sead, 1; perhaps you meant --seed"),
        ("train gpo --seed x", "Error parsing --seed: invalid literal for int() with base 10: 'x'; see"),
        ("train gpo --seed", "Missing value for argument '--seed'. Expected 1 values; see"),
        ("evaluate", "Missing from duologue evaluate: PATH A run, or the folder of a model"),
        (f"evaluate {'long/' * 60}name --seed x", "Error parsing --seed"),
        ("export runs/a --to nowhere", "invalid choice 'nowhere' for argument '--to'"),
        ("bench --suite nowhere", "invalid choice 'nowhere' for argument '--suite'"),
        ("compare --game kuhn_poker-v0 --entrant", "--entrant"),
        ("demo --seed nan", "Error parsing --seed"),
    ],
)
def test_a_line_that_cannot_be_read_is_refused_in_one_line(
    typed: str, said: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A box of eight lines says no more."""
    monkeypatch.delenv("DUOLOGUE_TRACEBACK", raising=False)
    assert main(typed.split()) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("duologue: ")
    assert said in line
    assert not any(mark in line for mark in "│╭╰─")
