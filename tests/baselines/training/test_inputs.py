"""What a run rests on is the same when it goes on, or it does not go on."""

import os
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from duologue.baselines.training.inputs import digests, inputs_of
from duologue.baselines.training.run import Run
from duologue.tests.baselines.helpers import everything_in


@dataclass(frozen=True)
class Rules:
    judge: str | None = None
    game_option: tuple[str, ...] = ()


@dataclass(frozen=True)
class Options:
    data: tuple[Path, ...] = ()
    defender: Path | None = None
    opponent: str = "random"
    label: str = "defender"
    options: Rules = field(default_factory=Rules)
    out: Path = Path("run")


@dataclass(frozen=True)
class Step:
    iteration: int


@pytest.fixture
def options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Options:
    """Return options that name something of every kind, all of it there."""
    monkeypatch.chdir(tmp_path)
    for name in ("defender", "judge", "opponent", "random"):
        (tmp_path / name / "inside").mkdir(parents=True)
        (tmp_path / name / "weights").write_text(name)
        (tmp_path / name / "inside" / "tokenizer.json").write_text("{}")
    for name in ("a.jsonl", "b.jsonl", "words.txt"):
        (tmp_path / name).write_text(name)
    return Options(
        (Path("a.jsonl"), Path("b.jsonl"), Path("missing.jsonl")),
        Path("defender"),
        "opponent",
        options=Rules("classifier:judge?threshold=.4+refusal", ("words=./words.txt", "kind=random")),
    )


def begun(options: Options) -> None:
    """Log a step of a run with these options."""
    with Run.open(options.out, options, name="toy") as run:
        run.log(Step(1))


def test_inputs_are_the_paths_among_the_options_that_are_there(options: Options) -> None:
    """Of agents by name there is none, whatever folder bears it."""
    assert inputs_of(options) == {
        "data[0]": Path("a.jsonl"),
        "data[1]": Path("b.jsonl"),
        "defender": Path("defender"),
        "opponent": Path("opponent"),
        "options.judge": Path("judge"),
        "options.game_option[0]": Path("./words.txt"),
    }
    assert inputs_of(Options()) == {}


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ("a.jsonl", r"data\[0\], a.jsonl: expected what the run in run began with \(SHA-256 \w{12}\), got another"),
        ("defender/weights", "defender, defender: .*got another content"),
        ("defender/inside/tokenizer.json", "defender, defender: .*got another content"),
        ("judge/new.safetensors", r"options\.judge, judge: .*got another content"),
        ("opponent/weights", "opponent, opponent: .*got another content"),
        ("words.txt", r"options\.game_option\[0\]"),
    ],
)
def test_an_input_that_changed_is_named(changed: str, named: str, options: Options) -> None:
    """Also where it has the same size and time as before; put back, the run goes on."""
    begun(options)
    path, before = Path(changed), everything_in(Path("run"))
    old, times = (path.read_text(), path.stat().st_mtime_ns) if path.exists() else ("", 0)
    path.write_text(old.swapcase() if old.swapcase() != old else "changed")
    os.utime(path, ns=(times, times))
    with pytest.raises(ValueError, match=named) as error:
        begun(options)
    assert "\n" not in str(error.value)
    assert everything_in(Path("run")) | {".duologue.lock": ""} == before | {".duologue.lock": ""}
    if old:
        path.write_text(old)
    else:
        path.unlink()
    begun(options)


def test_an_input_that_is_gone_is_named_unless_the_run_is_finished(options: Options) -> None:
    """A finished run is only looked at."""
    begun(options)
    Path("b.jsonl").unlink()
    with pytest.raises(ValueError, match=r"data\[1\]: expected what the run .*, got nothing there"):
        begun(options)
    Path("b.jsonl").write_text("b.jsonl")
    with Run.open("run", options, name="toy") as run:
        run.finish()
    Path("b.jsonl").unlink()
    Run.open("run", options, name="toy").close()
    Path("a.jsonl").write_text("other")
    with pytest.raises(ValueError, match=r"data\[0\]"):
        Run.open("run", options, name="toy")


def test_an_input_is_the_same_by_whatever_path_it_is_named(
    options: Options, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From another folder, by an absolute path, or moved: what it holds counts; the state is that of the same run."""
    with Run.open(options.out, options, name="toy") as run:
        run.save(1)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    Path("../judge").rename(tmp_path / "elsewhere" / "moved")
    other = replace(
        options,
        data=(Path("../a.jsonl"), tmp_path / "b.jsonl", Path("missing.jsonl")),
        defender=tmp_path / "defender",
        opponent="../opponent",
        options=Rules("classifier:moved?threshold=.4+refusal", ("words=../words.txt", "kind=random")),
        out=Path("../run"),
    )
    with Run.open(other.out, other, name="toy") as run:
        assert run.restore() == 1
    for changed, message in (
        ({"data": (*other.data[1::-1], other.data[2])}, r"data\[0\].*another content"),
        ({"data": other.data[:2]}, r"other options.*data: \[.*missing.jsonl.*asked for"),
        (
            {"options": Rules("classifier:moved?threshold=.6+refusal", ("words=../words.txt", "kind=random"))},
            "options.judge: .*threshold=0.4.*threshold=0.6",
        ),
        (
            {"options": Rules("classifier:moved?threshold=.4+refusal", ("letters=../words.txt", "kind=random"))},
            "other options.*letters=",
        ),
        (
            {"options": Rules("classifier:moved?threshold=.4+refusal", ("words=../words.txt", "kind=echo"))},
            "other options.*kind=echo",
        ),
        ({"defender": None}, "other options.*defender: .* there, null asked for"),
    ):
        with pytest.raises(ValueError, match=message):
            Run.open(other.out, replace(other, **changed), name="toy")


def test_what_is_written_beside_a_model_does_not_change_it(options: Options) -> None:
    """`evaluate` puts its numbers there, a file manager its index."""
    begun(options)
    for name in ("evaluation.json", "README.md", ".DS_Store"):
        Path("defender", name).write_text("new")
    begun(options)


def test_bytes_do_not_move_from_one_file_to_the_next(tmp_path: Path) -> None:
    """The checksum of a folder tells names and lengths."""
    found = set()
    for number, files in enumerate(
        [{"a": "xy", "b": "z"}, {"a": "x", "b": "yz"}, {"ab": "xyz"}, {"a": "xyz", "b": ""}]
    ):
        folder = tmp_path / str(number)
        folder.mkdir()
        for name, text in files.items():
            (folder / name).write_text(text)
        found.add(digests({"model": folder})["model"])
    assert len(found) == 4


@pytest.mark.parametrize("out", ["defender", "defender/run", "judge/inside", "link", "a.jsonl"])
def test_a_run_is_not_written_into_what_it_reads(out: str, options: Options, tmp_path: Path) -> None:
    """`train rlhf --defender M --out M` destroyed M."""
    Path("link").symlink_to("defender")
    before = everything_in(tmp_path)
    with pytest.raises(ValueError, match=r"^out: expected a folder apart from what is read, "):
        Run.open(out, options, name="toy")
    assert everything_in(tmp_path) == before


def test_links_in_a_circle_and_pipes_are_no_trouble(options: Options) -> None:
    """A folder is read once; what can be read only once is left to who needs it."""
    alone = digests({"model": Path("defender")})
    for name in "abc":
        Path("defender/inside", name).symlink_to(Path("defender").resolve())
    os.mkfifo("defender/pipe")
    assert digests({"model": Path("defender")}) == alone
    os.mkfifo("pipe")
    assert inputs_of(Options(data=(Path("pipe"), Path("/dev/null")))) == {}
