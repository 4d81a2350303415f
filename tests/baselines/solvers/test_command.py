"""`duologue solve`: JSON lines, tables, curves, errors; and the names of the solvers."""

import inspect
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from duologue.baselines.solvers import command
from duologue.baselines.solvers.command import exact_value, main
from duologue.baselines.solvers.curves import FLOOR, plot_nash_conv
from duologue.baselines.solvers.registry import SOLVERS, Bounded, algorithm_table, make_solver, solver_class
from duologue.baselines.solvers.solver import SolveStep
from duologue.envs import make_game
from duologue.envs.tree.analysis import GameTree

KEYS = ["iteration", "nash_conv_last", "nash_conv_average", "value"]


def lines(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[dict[str, Any]]:
    """Run with --json and return every line of stdout, read as JSON."""
    main([*arguments, "--json"])
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_json_is_one_object_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    """The four keys in order; CFR on Kuhn poker as in reference-values.md, section 1."""
    found = lines(capsys, "kuhn_poker-v0", "--algorithm", "cfr", "--iterations", "100")
    assert [list(one) for one in found] == [KEYS] * 100
    assert [one["iteration"] for one in found] == list(range(1, 101))
    measured = [found[k - 1]["nash_conv_average"] for k in (1, 2, 3, 10, 100)]
    assert measured == pytest.approx([0.916667, 0.541667, 0.388889, 0.137398, 0.0164520], rel=1e-5)
    assert found[-1]["value"] == pytest.approx(-1 / 18, abs=measured[-1])
    assert not list(Path().iterdir())


def test_json_keeps_to_the_multiples_and_the_last(capsys: pytest.CaptureFixture[str]) -> None:
    """--every 4 of 10 iterations, and of 8."""
    arguments = ("kuhn_poker-v0", "--algorithm", "cfr_plus", "--every", "4", "--iterations")
    assert [one["iteration"] for one in lines(capsys, *arguments, "10")] == [4, 8, 10]
    assert [one["iteration"] for one in lines(capsys, *arguments, "8")] == [4, 8]
    assert [one["iteration"] for one in lines(capsys, *arguments, "3")] == [3]


def test_json_has_null_where_an_iterate_has_no_meaning(capsys: pytest.CaptureFixture[str]) -> None:
    """Alternating best responses have no average; on rock-paper-scissors their last pair is 2 away for ever."""
    found = lines(capsys, "rock_paper_scissors-v0", "--algorithm", "alternating_best_response", "--iterations", "9")
    assert [(one["nash_conv_last"], one["nash_conv_average"], one["value"]) for one in found] == [(2.0, None, None)] * 9


def test_json_of_a_bounded_solver_has_no_further_key(capsys: pytest.CaptureFixture[str]) -> None:
    """gpo_ftrl prints its bound in the table only."""
    found = lines(capsys, "one_shot_red_team-v0", "--algorithm", "gpo_ftrl", "--iterations", "5")
    assert [list(one) for one in found] == [KEYS] * 5


def test_options_reach_the_game_and_the_solver(capsys: pytest.CaptureFixture[str]) -> None:
    """reference-values.md, section 5: seed 0 after 100 iterations of range 1; another seed is another game."""
    arguments = ["one_shot_red_team-v0", "--algorithm", "gpo_ftrl", "--iterations", "100", "--every", "100"]
    arguments += ["--solver-option", "payoff_range=1"]
    (first,) = lines(capsys, *arguments, "--option", "seed=0")
    (second,) = lines(capsys, *arguments, "--option", "seed=1")
    assert first["nash_conv_average"] == pytest.approx(0.1798, abs=6e-5)
    assert second["nash_conv_average"] != pytest.approx(0.1798, abs=6e-5)


def test_table_has_size_value_rows_and_bound(capsys: pytest.CaptureFixture[str]) -> None:
    """Kuhn poker: 12 information states, worth -1/18 (Kuhn, 1950); rows at 1, 2, 5, 10, ... and the last."""
    main(["kuhn_poker-v0", "--algorithm", "gpo_ftrl", "--iterations", "30", "--plot", "curve.png"])
    head, _, algorithm, columns, *rows, _, drawn = capsys.readouterr().out.splitlines()
    expected = "kuhn_poker-v0: 55 nodes, 6 and 6 information states, zero-sum; worth -0.055555556 to player 0"
    assert head == expected
    assert algorithm.startswith("gpo_ftrl: Zheng et al., 2024")
    assert columns.split() == "iteration NashConv last NashConv average value bound".split()
    assert [row.split()[0] for row in rows] == ["1", "2", "5", "10", "20", "30"]
    assert all(float(row.split()[2]) <= float(row.split()[4]) for row in rows)
    assert drawn == "curve drawn to curve.png"


def test_several_algorithms_share_a_picture(capsys: pytest.CaptureFixture[str]) -> None:
    """A table each, one PNG whose name holds both; nothing about a bound, which neither has."""
    main(["bluff-v0", "--algorithm", "cfr,alternating_best_response", "--iterations", "4"])
    output = capsys.readouterr().out
    assert "\ncfr: " in output
    assert "\nalternating_best_response: " in output
    assert "bound" not in output
    assert output.count(" -") >= 6  # the averages and values that there are not
    path = Path("runs/solve/bluff-v0-cfr+alternating_best_response.png")
    assert path.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["kuhn_pokr-v0", "--algorithm", "cfr"], "did you mean 'kuhn_poker-v0'"),
        (["kuhn_poker-v0", "--algorithm", "cfrplus"], "did you mean 'cfr_plus'"),
        (["kuhn_poker-v0", "--algorithm", "cfr", "--iterations", "0"], "--iterations: expected an integer of at least"),
        (["kuhn_poker-v0", "--algorithm", "cfr", "--every", "0"], "--every: expected an integer of at least 1, got 0"),
        (["kuhn_poker-v0", "--algorithm", "cfr,cfr"], "--algorithm: expected each name once"),
        (["kuhn_poker-v0", "--algorithm", "cfr,mmd", "--json"], "--json: expected one algorithm, got 2"),
        (["red_team-v0", "--algorithm", "cfr"], "expected at most 10,000,000 nodes"),
        (["kuhn_poker-v0", "--algorithm", "cfr", "--max-nodes", "54"], "expected at most 54 nodes"),
        (["kuhn_poker-v0", "--algorithm", "mwu", "--solver-option", "eta=-1"], "eta: expected a finite number above 0"),
        (["kuhn_poker-v0", "--algorithm", "cfr", "--solver-option", "eta=1"], "cfr: expected options among"),
        (["kuhn_poker-v0", "--algorithm", "gpo_ftrl", "--solver-option", "num_iterations=1"], "expected options among"),
        (["kuhn_poker-v0", "--algorithm", "cfr", "--option", "cards=4"], "kuhn_poker-v0: expected options among"),
    ],
)
@pytest.mark.parametrize("form", [[], ["--json"]])
def test_bad_input_prints_no_result(
    arguments: list[str], message: str, form: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """An unknown name, a game too large, a number out of range: an error that says so, an empty stdout, no file."""
    with pytest.raises((ValueError, TypeError)) as caught:
        main(arguments if "--json" in arguments else [*arguments, *form])
    assert message in str(caught.value)
    assert capsys.readouterr().out == ""
    assert not list(Path().iterdir())


def test_missing_algorithm_is_an_error_of_usage(capsys: pytest.CaptureFixture[str]) -> None:
    """Exit status 2 with the usage on stderr."""
    with pytest.raises(SystemExit) as caught:
        main(["kuhn_poker-v0"])
    assert caught.value.code == 2
    assert "--algorithm" in capsys.readouterr().err


def test_interrupt_keeps_what_was_printed_and_says_where(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ctrl-C in the fourth step: three lines stand, the place is on stderr, the status is the shell's for SIGINT."""

    def interrupted(name: str, tree: GameTree, num_iterations: int, **options: Any) -> Any:
        solver, step = make_solver(name, tree, num_iterations, **options), solver_class(name).step  # type: ignore[attr-defined]
        monkeypatch.setattr(solver, "step", lambda: step(solver) if solver.iteration < 3 else pressed())
        return solver

    def pressed() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "make_solver", interrupted)
    with pytest.raises(SystemExit) as caught:
        main(["kuhn_poker-v0", "--algorithm", "cfr", "--iterations", "50", "--json"])
    assert caught.value.code == 130
    printed = capsys.readouterr()
    assert [json.loads(line)["iteration"] for line in printed.out.splitlines()] == [1, 2, 3]
    assert "stopped by Ctrl-C: cfr, after iteration 3 of 50" in printed.err


def test_reader_that_leaves_early_is_no_error() -> None:
    """`duologue solve ... --json | head -1`: the pipe breaks, nothing is complained about."""
    code = "from duologue.baselines.solvers.command import main; main()"
    arguments = ["kuhn_poker-v0", "--algorithm", "uniform", "--iterations", "20000", "--json"]
    environment = {**os.environ, "PYTHONWARNINGS": "error"}
    command_line = [sys.executable, "-c", code, *arguments]
    with subprocess.Popen(command_line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert json.loads(process.stdout.readline())["iteration"] == 1
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() == 0


@pytest.mark.parametrize("name", SOLVERS)
def test_every_solver_runs_by_its_name(name: str) -> None:
    """Three steps of Kuhn poker; the docstring has a paper and a guarantee."""
    solver = make_solver(name, GameTree(make_game("kuhn_poker-v0")), 3)
    for _ in range(3):
        solver.step()
    assert solver.iteration == 3
    assert solver.last_profile is not None
    assert isinstance(solver, Bounded) == (name == "gpo_ftrl")
    text = inspect.getdoc(solver_class(name)) or ""
    assert name == "uniform" or all(word in text for word in ("Paper", "Guarantee"))


def test_algorithm_table_has_a_row_each() -> None:
    """With the first line of the docstring and a test that exists."""
    rows = algorithm_table().splitlines()[2:]
    assert [row.split("`")[1] for row in rows] == list(SOLVERS)
    assert "| FTRL for adversary and defender at once" in algorithm_table()
    tests = Path(__file__).parent
    assert not [entry.test for entry in SOLVERS.values() if not (tests / entry.test).exists()]


@pytest.mark.parametrize(
    ("game", "value"),
    [("kuhn_poker-v0", -1 / 18), ("one_shot_red_team-v0", -0.796324), ("tiny_red_team-v0", 5 / 36)],
)
def test_exact_value_is_known(game: str, value: float) -> None:
    """Kuhn (1950); reference-values.md, section 5, by backward induction; tiny red team by hand."""
    assert exact_value(GameTree(make_game(game))) == pytest.approx(value, abs=1e-6)


def test_exact_value_is_for_zero_sum_games() -> None:
    """Two players who bargain have no single value."""
    assert exact_value(GameTree(make_game("tiny_bargaining-v0"))) is None


def test_curves_leave_gaps_and_stop_at_rounding_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """An iterate without a meaning is a gap, a curve of gaps is left out, 0 is drawn at the floor."""
    drawn: dict[str, Any] = {}
    monkeypatch.setattr(
        "duologue.baselines.solvers.curves.plot_curves", lambda series, path, **how: drawn.update(series=series, **how)
    )
    steps = [SolveStep(1, 0.5, None, None), SolveStep(2, None, None, None), SolveStep(4, 0.0, None, None)]
    plot_nash_conv({"a": steps}, "unused.png", title="t", bound=([1, 4], [2.0, 1.0]))
    assert list(drawn["series"]) == ["a, last", "bound"]
    iterations, values = drawn["series"]["a, last"]
    assert iterations == [1, 2, 4]
    np.testing.assert_array_equal(values, [0.5, np.nan, FLOOR])
    assert drawn["styles"]["a, last"][1] == "--"
    assert drawn["log_scale"]


def test_start_is_drawn_with_a_seed(capsys: pytest.CaptureFixture[str]) -> None:
    """From the uniform start rock-paper-scissors is solved at once; from elsewhere Hedge's last iterate runs away."""
    command = ["rock_paper_scissors-v0", "--algorithm", "mwu", "--iterations", "500", "--every", "499", "--json"]
    main([*command, "--solver-option", "eta=0.1", "--start-seed", "3"])
    first, *_, last = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    main(command)
    uniform = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert uniform["nash_conv_last"] == pytest.approx(0, abs=1e-12)
    assert last["nash_conv_last"] > 0.5 > last["nash_conv_average"]
    assert first["iteration"] == 499


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--plot", "."], "--plot: expected a file in a folder that can be written, got '.'"),
        (["--start-seed", "-1"], "--start-seed: expected an integer of at least 0, got -1"),
        (["--algorithm", "double_oracle", "--start-seed", "1"], "--start-seed: expected an algorithm that can start"),
    ],
)
def test_what_would_fail_at_the_end_is_refused_at_the_start(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is printed before that."""
    with pytest.raises(ValueError, match=re.escape(message)):
        main(["kuhn_poker-v0", "--algorithm", "cfr", "--iterations", "3", *arguments])
    assert capsys.readouterr().out == ""


def test_no_guarantee_is_claimed_where_none_holds(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Averages of no-regret learners are equilibria of zero-sum games."""
    path = str(tmp_path / "p.png")
    main(["prisoners_dilemma-v0", "--algorithm", "cfr", "--iterations", "3", "--plot", path])
    assert "guarantee: none, the game is not zero-sum" in capsys.readouterr().out
