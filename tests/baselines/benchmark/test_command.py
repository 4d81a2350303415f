"""The grid: nothing is trained twice, mixed with another version, or lost with a neighbour."""

import json
import os
import re
import resource
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from duologue.__main__ import main as command_line
from duologue.baselines.benchmark import entrants as bench_entrants
from duologue.baselines.benchmark.cell import BenchSettings, Cell, can_play, run_cell
from duologue.baselines.benchmark.command import SUITES, BenchConfig, bench
from duologue.baselines.benchmark.entrants import ADVGAME_TREE
from duologue.baselines.benchmark.games import GAMES
from duologue.baselines.benchmark.registry import ALGORITHMS, GeneratedLearner, load_algorithms, register_algorithm
from duologue.baselines.benchmark.results import Results, append_line, config_hash, package_code, read_lines
from duologue.baselines.training.folders import KeptFolder
from duologue.baselines.training.pool import run_all
from duologue.baselines.two_player.learner import Seat, Task, TwoPlayerLearner
from duologue.envs import LanguageGame, Payoff
from duologue.tests.baselines.helpers import everything_in

EXAMPLE = Path(__file__).resolve().parents[3] / "examples" / "add_your_algorithm.py"
STILL = """
from duologue.baselines.benchmark.registry import register_algorithm

@register_algorithm("{name}", source="a test's")
def still(task):
    {body}
    players = [task.make_player(player, task.seed).agent for player in (0, 1)]
    for _ in range(task.num_updates):
        yield players[0], players[1]
"""
trained: Counter[tuple[str, int]] = Counter()


@pytest.fixture(autouse=True)
def _own_registry() -> Iterator[None]:
    """What a test registers is gone after it."""
    before = dict(ALGORITHMS)
    yield
    ALGORITHMS.clear()
    ALGORITHMS.update(before)
    trained.clear()


def still(task: Task) -> Iterator[tuple[Seat, Seat]]:
    """Learn nothing; count who is trained."""
    trained[type(task.game.game).__name__, task.seed] += 1  # type: ignore[attr-defined]
    players = [task.make_player(player, task.seed).agent for player in (0, 1)]
    for _ in range(task.num_updates):
        yield players[0], players[1]


def config(folder: Path, **options: object) -> BenchConfig:
    """Return a grid of four cells that are trained in this process."""
    defaults = {"algorithms": ("still",), "games": ("rps,kuhn",), "seeds": 2, "num_updates": 6, "batch_size": 4}
    return BenchConfig(out=folder, **{**defaults, "processes": 1, **options})  # type: ignore[arg-type]


def test_killed_benchmark_goes_on_and_repeats_nothing(tmp_path: Path) -> None:
    """A kill in the third cell, and half a line behind the second, cost the third cell alone."""

    def killed(task: Task) -> Iterator[tuple[Seat, Seat]]:
        if sum(trained.values()) == 2:
            raise KeyboardInterrupt
        return still(task)

    register_algorithm("still")(lambda task: GeneratedLearner(task, killed))
    with pytest.raises(KeyboardInterrupt):
        bench(config(tmp_path / "a"))
    path = tmp_path / "a" / "results.jsonl"
    assert len(read_lines(path)) == 2
    with path.open("a") as file:
        file.write('{"versions": {"torch"')
    register_algorithm("still")(still)
    assert bench(config(tmp_path / "a")) == {}
    assert set(trained.values()) == {1}
    assert len(trained) == 4
    trained.clear()
    assert bench(config(tmp_path / "a")) == {}
    assert not trained
    bench(config(tmp_path / "b"))
    resumed, whole = Results(tmp_path / "a"), Results(tmp_path / "b")
    assert {cell: one.curve for cell, one in resumed.cells.items()} == {
        cell: one.curve for cell, one in whole.cells.items()
    }


@pytest.mark.parametrize("name", ["torch", "code"])
def test_results_of_another_version_are_refused(tmp_path: Path, name: str) -> None:
    """The message names what differs; the file is left as it is."""
    register_algorithm("still")(still)
    bench(config(tmp_path, games=("rps",), seeds=1))
    path = tmp_path / "results.jsonl"
    line = read_lines(path)[0]
    now, line["versions"][name] = line["versions"][name], "0.0"
    path.write_text(json.dumps(line) + "\n", encoding="utf-8")
    with pytest.raises(ValueError, match=re.escape(f"{name}: expected {now}, got 0.0")):
        bench(config(tmp_path))
    assert read_lines(path) == [line]
    made_by = (tmp_path / "command.txt").read_text(encoding="utf-8")
    assert bench(config(tmp_path, report_only=True), command="another") == {}
    assert made_by in (tmp_path / "leaderboard.md").read_text(encoding="utf-8")


def test_results_of_another_budget_are_refused(tmp_path: Path) -> None:
    """The hash of the settings stands in every line."""
    register_algorithm("still")(still)
    bench(config(tmp_path, games=("rps",), seeds=1))
    with pytest.raises(ValueError, match=r"other options \(config\), give another --out: config: expected"):
        bench(config(tmp_path, num_updates=12))
    assert config_hash(config(tmp_path).settings) == config_hash(config(tmp_path / "b", seeds=5).settings)


def test_results_of_a_changed_algorithm_are_refused(tmp_path: Path) -> None:
    """A newcomer edits the file and calls again: old and new numbers must not stand in one row."""
    file = tmp_path / "mine.py"
    options = {"algorithms": ("mine",), "games": ("rps",), "seeds": 1, "algorithm_file": (file,)}
    file.write_text(STILL.format(name="mine", body="pass"), encoding="utf-8")
    bench(config(tmp_path / "out", **options))
    del ALGORITHMS["mine"]  # another process
    file.write_text(STILL.format(name="mine", body="'changed'"), encoding="utf-8")
    with pytest.raises(ValueError, match="line 1 was made by another mine: expected code"):
        bench(config(tmp_path / "out", **options))


def test_results_of_another_option_of_an_algorithm_file_are_refused(tmp_path: Path) -> None:
    """A file that registers the package's own PSRO with options of its own: the options stand in the file."""
    file = tmp_path / "mine.py"
    text = (
        "from functools import partial\n"
        "from duologue.baselines.benchmark.registry import register_algorithm\n"
        "from duologue.baselines.two_player.factories import self_play\n"
        "register_algorithm('mine')(partial(self_play, one_policy={}))\n"
    )
    options = {"algorithms": ("mine",), "games": ("rps",), "seeds": 1, "algorithm_file": (file,)}
    file.write_text(text.format(True), encoding="utf-8")
    bench(config(tmp_path / "out", **options))
    del ALGORITHMS["mine"]  # another process
    file.write_text(text.format(False), encoding="utf-8")
    with pytest.raises(ValueError, match="line 1 was made by another mine: expected code"):
        bench(config(tmp_path / "out", **options))
    with pytest.raises(TypeError, match="algorithm: expected a function of its own, by `def`"):
        register_algorithm("elsewhere")(partial(still))


def test_change_of_an_entrants_option_is_another_version(tmp_path: Path) -> None:
    """The hash in every line covers the files where options stand; a version of "code" that differs is refused."""
    source = Path(bench_entrants.__file__)
    copy = tmp_path / "baselines" / source.name
    copy.parent.mkdir()
    text = source.read_text(encoding="utf-8")
    copy.write_text(text, encoding="utf-8")
    before = package_code(tmp_path)
    assert before == package_code(tmp_path)
    copy.write_text(text.replace("PAYOFF_EPISODES = 32", "PAYOFF_EPISODES = 64"), encoding="utf-8")
    assert package_code(tmp_path) != before
    defaults = copy.with_name("players.py")  # those of the learners
    defaults.write_text("RATE = 1\n", encoding="utf-8")
    with_defaults = package_code(tmp_path)
    defaults.write_text("RATE = 2\n", encoding="utf-8")
    assert package_code(tmp_path) != with_defaults


def test_clock_of_a_cell_holds_the_making_of_its_algorithm(monkeypatch: pytest.MonkeyPatch) -> None:
    """PSRO and SPAG play before their first update; here making takes 100 s by a clock that else stands still."""
    now = [0.0]

    def slow(task: Task) -> TwoPlayerLearner:
        now[0] += 100
        return GeneratedLearner(task, still)

    clock = SimpleNamespace(process_time=lambda: now[0], perf_counter=lambda: now[0])
    for module in ("benchmark.cell", "training.costs"):
        monkeypatch.setattr(f"duologue.baselines.{module}.time", clock)
    register_algorithm("slow")(slow)
    result = run_cell(Cell("slow", "rps", 0), BenchSettings(num_updates=6, batch_size=4))
    assert result.cpu_seconds == 100
    assert result.costs.seconds == 100


def zero_sum_alone(game: LanguageGame[Any]) -> bool:
    """Play nothing else."""
    return game.payoff is Payoff.ZERO_SUM


def test_algorithm_is_left_out_of_games_it_cannot_play_and_has_no_rank(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It stands below the ranked ones, "-" in every column, and has a row of its own only where it played."""
    register_algorithm("still")(still)
    register_algorithm("choosy", plays=zero_sum_alone)(still)
    options = {"algorithms": ("choosy,still",), "games": ("rps,referential",), "seeds": 1}
    assert bench(config(tmp_path, **options)) == {}
    assert "choosy cannot play referential: left out" in capsys.readouterr().out
    assert Cell("choosy", "referential", 0) not in Results(tmp_path).cells
    page = (tmp_path / "leaderboard.md").read_text(encoding="utf-8")
    assert "Without a rank, because they cannot play every game: choosy (referential)." in page
    overall, by_game, rps, referential = page.split("\n## ")[1:5]
    assert names(overall) == ["still", "choosy"]
    assert names(by_game) == ["still", "choosy", "uniform play"]
    assert set(row(overall, "choosy")) == {"-"}
    played, not_played = row(by_game, "choosy")
    assert played.startswith("0.")
    assert not_played == "-"
    assert row(rps, "choosy") == row(rps, "still")
    assert set(row(referential, "choosy")) == {"-"}
    with pytest.raises(ValueError, match="games: expected one that the algorithm can play, got choosy in bargaining"):
        bench(config(tmp_path, algorithms=("choosy",), games=("bargaining",)))


def names(part: str) -> list[str]:
    """Return the first column of a page's table."""
    lines = [line for line in part.splitlines() if line.startswith("|")]
    return [line.split("|")[1].strip() for line in lines[2:]]


def row(part: str, name: str) -> list[str]:
    """Return the other columns of one row."""
    line = next(line for line in part.splitlines() if line.startswith(f"| {name} "))
    return [column.strip() for column in line.split("|")[2:-1]]


@pytest.mark.parametrize(
    ("algorithm", "games"),
    [
        ("spag", {"red_team", "kuhn", "preference"}),
        ("advgame", {"rps", "red_team", "preference", "referential"}),
        ("league", set(GAMES)),
    ],
)
def test_entrants_play_the_games_that_their_papers_allow(algorithm: str, games: set[str]) -> None:
    """SPAG: somebody wins, and either may (player 0 wins all of rescaled rps). AdvGame: one prompt, one reply."""
    assert {game for game in GAMES if can_play(algorithm, game)} == games


def test_league_gives_its_main_agents_the_budget_and_exploiters_as_much_on_top() -> None:
    """Six learners with 6 updates on batches of 8 each: 288 episodes, where self-play by PPO plays 48."""
    settings = BenchSettings(num_updates=6, batch_size=8)
    assert run_cell(Cell("league", "rps", 0), settings).costs.episodes == 6 * 6 * 8
    assert run_cell(Cell("self_play", "rps", 0), settings).costs.episodes == 6 * 8


@pytest.mark.parametrize(("algorithm", "episodes"), [("spag", 512 + 6 * 8), ("advgame", 6 * 8)])
def test_spag_and_advgame_learn_from_one_batch_for_both_players(algorithm: str, episodes: int) -> None:
    """SPAG's start plays 512 episodes for the supervised data besides; AdvGame's batch is the leaves of its trees."""
    result = run_cell(Cell(algorithm, "red_team", 0), BenchSettings(num_updates=6, batch_size=8))
    assert result.costs.episodes == episodes
    assert result.curve[-1].last != result.curve[-1].average  # it has learned


def test_advgame_needs_whole_trees() -> None:
    """Two prompts with two replies each."""
    assert ADVGAME_TREE.prompts_per_request * ADVGAME_TREE.replies_per_prompt == 4
    with pytest.raises(ValueError, match="batch_size: expected whole groups of 4, at least one, got 6"):
        run_cell(Cell("advgame", "rps", 0), BenchSettings(num_updates=6, batch_size=6))


def test_failing_and_dying_cells_lose_no_other(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One raises, one takes its whole process with it; the third is in the leaderboard, and the exit status is 2."""
    for name, body in {"fails": "raise ValueError('no luck')", "dies": "import os; os._exit(3)", "stays": ""}.items():
        (tmp_path / f"{name}.py").write_text(STILL.format(name=name, body=body or "pass"), encoding="utf-8")
    files = [str(tmp_path / f"{name}.py") for name in ("fails", "dies", "stays")]
    out = tmp_path / "out"
    arguments = ["--algorithms", "fails,dies,stays", "--games", "rps", "--seeds", "1", "--num-updates", "6"]
    assert command_line(["bench", *arguments, "--algorithm-file", *files, "--out", str(out)]) == 2
    assert "2 cells failed" in capsys.readouterr().err
    assert [line["cell"]["algorithm"] for line in read_lines(out / "results.jsonl")] == ["stays"]
    errors = {line["cell"]["algorithm"]: line["error"] for line in read_lines(out / "failures.jsonl")}
    assert "ValueError: no luck" in errors["fails"]
    assert errors["dies"] == "the process ended with exit status 3"
    page = (out / "leaderboard.md").read_text(encoding="utf-8")
    assert all(text in page for text in ("fails in rps, seed 0", "stays", "exit status 3"))


def test_number_of_processes_changes_no_number(tmp_path: Path) -> None:
    """The same seeds in one process and in two."""
    options = {"algorithms": ("self_play",), "games": ("rps",)}
    one, two = tmp_path / "one", tmp_path / "two"
    bench(config(one, **options))
    bench(config(two, **options, processes=2))
    first, second = Results(one).cells, Results(two).cells
    assert {cell: found.curve for cell, found in first.items()} == {cell: found.curve for cell, found in second.items()}


@pytest.mark.slow
def test_smoke_suite_runs_every_algorithm(tmp_path: Path) -> None:
    """All that the published suite has, in seconds; one of the two seeds."""
    smoke = BenchConfig(suite="smoke", seeds=1, out=tmp_path)
    assert bench(smoke) == {}
    assert set(SUITES["smoke"].algorithms) == set(SUITES["micro"].algorithms)
    cells = Results(tmp_path).cells
    assert {cell.algorithm for cell in cells} == set(SUITES["micro"].algorithms)
    assert len(cells) == len(smoke.grid())


def test_published_suite_is_large_enough() -> None:
    """At least six algorithms, five games and five seeds."""
    micro = SUITES["micro"]
    assert len(micro.algorithms) >= 6
    assert len(micro.games) >= 5
    assert micro.num_seeds >= 5
    assert set(micro.algorithms) <= set(ALGORITHMS)
    assert all(ALGORITHMS[name].source for name in micro.algorithms)


def test_newcomer_needs_at_most_forty_lines_and_is_in_the_leaderboard(tmp_path: Path) -> None:
    """The example's algorithm, by the command line's own way."""
    assert len(EXAMPLE.read_text(encoding="utf-8").splitlines()) <= 40
    options = {"algorithms": ("one_at_a_time,self_play",), "games": ("rps",), "seeds": 1, "algorithm_file": (EXAMPLE,)}
    assert bench(config(tmp_path, **options)) == {}
    rows = (tmp_path / "leaderboard.md").read_text(encoding="utf-8").splitlines()
    assert (
        sum(row.startswith("| one_at_a_time ") and " 0." in row for row in rows) == 3
    )  # overall, by game, and in its game


def test_algorithm_that_keeps_another_budget_fails() -> None:
    """A comparison under one budget is what the leaderboard claims."""

    def lazy(task: Task) -> Iterator[tuple[Seat, Seat]]:
        players = [task.make_player(player, task.seed).agent for player in (0, 1)]
        for _ in range(6):
            yield players[0], players[1]

    register_algorithm("lazy")(lazy)
    with pytest.raises(ValueError, match="lazy: expected 12 updates of each player, got 6"):
        run_cell(Cell("lazy", "rps", 0), BenchSettings(num_updates=12, batch_size=4))


def test_names_are_checked(tmp_path: Path) -> None:
    """Before anything is trained."""
    with pytest.raises(ValueError, match=r"algorithms: expected names among self_play, .* got 'alphazero'"):
        bench(config(tmp_path, algorithms=("alphazero",)))
    with pytest.raises(ValueError, match="name: expected lower-case letters"):
        register_algorithm("Big Name")
    with pytest.raises(ValueError, match="name: expected one that nothing else bears, got 'self_play' again"):
        register_algorithm("self_play")(still)
    with pytest.raises(ValueError, match="algorithm_file: expected a Python file"):
        load_algorithms(tmp_path / "none.py")
    (tmp_path / "empty.py").write_text("", encoding="utf-8")
    with pytest.raises(ValueError, match="expected a file that calls register_algorithm"):
        load_algorithms(tmp_path / "empty.py")


@pytest.mark.parametrize(
    ("options", "message"),
    [({"num_updates": 7}, "num_updates: expected a multiple of 6, got 7"), ({"batch_size": 0}, "batch_size: expected")],
)
def test_budgets_are_checked(tmp_path: Path, options: dict[str, int], message: str) -> None:
    """The last update must be one that is measured."""
    register_algorithm("still")(still)
    with pytest.raises(ValueError, match=message):
        bench(config(tmp_path, **options))


def test_generator_functions_cannot_be_saved() -> None:
    """The contract's two methods say so."""
    learner = GeneratedLearner(None, still)  # type: ignore[arg-type]
    for call in (learner.state_dict, lambda: learner.load_state_dict({}), lambda: learner.seats):
        with pytest.raises((TypeError, ValueError), match="expected"):
            call()


def test_work_is_done_once_each_in_processes() -> None:
    """Three pieces by two processes, each with its own result."""
    outcomes = list(run_all([os.getpid] * 3, num_processes=2, preload="duologue"))
    assert sorted(one.index for one in outcomes) == [0, 1, 2]
    assert os.getpid() not in {one.result for one in outcomes}
    with pytest.raises(ValueError, match="processes: expected at least 1"):
        list(run_all([], num_processes=0, preload="duologue"))


def test_a_benchmark_in_use_says_by_whom(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two that write one file of results would train everything twice."""
    register_algorithm("still")(lambda task: GeneratedLearner(task, still))
    bench(config(tmp_path / "bench"))
    before = everything_in(tmp_path)
    command = ["bench", "--algorithms", "self_play", "--games", "rps", "--out", str(tmp_path / "bench")]
    with KeptFolder.open(tmp_path / "bench", kind="bench"):
        assert command_line(command) == 2
    assert f"in use by process {os.getpid()} on " in capsys.readouterr().err
    assert everything_in(tmp_path).keys() == before.keys()
    bench(config(tmp_path / "bench"))


def test_only_a_benchmarks_folder_is_written_into(tmp_path: Path) -> None:
    """A leaderboard of somebody else's was replaced. One of an older version, without a mark, goes on."""
    register_algorithm("still")(lambda task: GeneratedLearner(task, still))
    (tmp_path / "leaderboard.md").write_text("precious")
    with pytest.raises(ValueError, match=r"expected a new or empty folder, or a bench's, got \['leaderboard.md'\]"):
        bench(config(tmp_path))
    assert everything_in(tmp_path).keys() == {"leaderboard.md"}
    bench(config(tmp_path / "old"))
    for name in (".duologue.json", ".duologue.lock"):
        (tmp_path / "old" / name).unlink()
    trained.clear()
    bench(config(tmp_path / "old"))
    assert not trained


def test_a_full_disk_leaves_results_whole(tmp_path: Path) -> None:
    """The system writes what has room: that half of a line is taken back."""
    path = tmp_path / "results.jsonl"
    append_line(path, {"cell": 1})
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20, limits[1]))
    try:
        with pytest.raises(OSError, match="is the disk full"):
            append_line(path, {"cell": 2, "long": "x" * 100})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_text() == '{"cell": 1}\n'
    append_line(path, {"cell": 2})
    assert read_lines(path) == [{"cell": 1}, {"cell": 2}]
