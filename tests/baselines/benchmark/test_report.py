"""The leaderboard: numbers known by hand, pages that are well-formed."""

import json
import re
import xml.etree.ElementTree as ET
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from duologue.baselines.benchmark import report
from duologue.baselines.benchmark.cell import Cell, CellResult, CurvePoint, Measured
from duologue.baselines.benchmark.games import GameFacts
from duologue.baselines.benchmark.report import FLOOR, curves_of, plot_game, write_report
from duologue.baselines.benchmark.results import Results
from duologue.baselines.benchmark.standings import (
    compared,
    complete_algorithms,
    order_lines,
    partial_algorithms,
    standings,
)
from duologue.baselines.reporting.page import Block, Code, Heading, Paragraph, Picture, Table, as_html, as_markdown
from duologue.baselines.training.costs import Costs

FACTS = GameFacts("zero_sum", 1.0, 0.0, 0.0, uniform_shortfall=1.0)
GRID = {
    "steady": {"rps": [0.0, 0.1, 0.2, 0.3], "kuhn": [0.4, 0.5, 0.6, 0.7]},
    "lucky": {"rps": [0.9, 0.9, 0.9, 0.9], "kuhn": [0.0, 0.0, 0.0, 0.1]},
}


def result(algorithm: str, game: str, seed: int, average: float, *lasts: float, facts: GameFacts = FACTS) -> CellResult:
    """Return a cell with a measured point for each last iterate, one at 1 if none is given."""
    curve = [
        CurvePoint(6 * k, Measured(last, (0.0, 0.0), last), Measured(average, (0.0, 0.0), average))
        for k, last in enumerate(lasts or (1.0,), start=1)
    ]
    return CellResult(Cell(algorithm, game, seed), "duologue", facts, tuple(curve), Costs(episodes=10, tokens=20), 2.0)


def by_cell(made: list[CellResult]) -> dict[Cell, CellResult]:
    """Return the results by cell."""
    return {one.cell: one for one in made}


def grid() -> dict[Cell, CellResult]:
    """Return the cells of `GRID`."""
    made = [
        result(name, game, seed, score)
        for name, games in GRID.items()
        for game, scores in games.items()
        for seed, score in enumerate(scores)
    ]
    return {one.cell: one for one in made}


def test_standings_are_interquartile_means_over_games_and_seeds() -> None:
    """Of 0, .1, ..., .7 the middle half is .2, .3, .4, .5; of 0 0 0 .1 .9 .9 .9 .9 it is 0, .1, .9, .9."""
    first, second = standings(grid())
    assert [(one.algorithm, one.rank) for one in (first, second)] == [("steady", 1), ("lucky", 2)]
    assert [one.average.value for one in (first, second)] == pytest.approx([0.35, 0.475])
    assert first.average.low < 0.35 < first.average.high
    assert (first.last.value, first.episodes, first.tokens, first.cpu_seconds) == (1.0, 10, 20, 2.0)


def test_every_game_counts_whatever_its_scale() -> None:
    """Two games of scales 1 and .01: by shortfalls themselves the small one has the lower half of ten numbers, always.

    Both algorithms are alike in the large game. In the small one "near" solves nine tenths and "far" nothing, which the
    interquartile mean of the shortfalls themselves shows in the fourth digit, and relative ones in the first.
    """
    large, small = (replace(FACTS, uniform_shortfall=scale) for scale in (1.0, 0.01))
    made = [result(name, "rps", seed, 0.4 + 0.1 * seed, facts=large) for name in ("near", "far") for seed in range(5)]
    made += [result("near", "kuhn", seed, 0.001, facts=small) for seed in range(5)]
    made += [result("far", "kuhn", seed, 0.01, facts=small) for seed in range(5)]
    near, far = standings(by_cell(made))
    assert (near.algorithm, far.algorithm) == ("near", "far")
    # By hand: near .1 .1 .1 .1 .1 .4 .5 .6 .7 .8, far .4 .5 .6 .7 .8 1 1 1 1 1, two left out at each end.
    assert near.average.value == pytest.approx((0.1 * 3 + 0.4 + 0.5 + 0.6) / 6)
    assert far.average.value == pytest.approx((0.6 + 0.7 + 0.8 + 3) / 6)


def test_scores_end_at_three_times_uniform_play_and_need_a_unit() -> None:
    """Where uniform play is a solution, as in matching pennies, the unit is one payoff range."""
    made = [result("a", "rps", 0, 0.9, facts=replace(FACTS, uniform_shortfall=0.1))]
    assert standings(by_cell(made))[0].average.value == 3.0
    made = [result("a", "rps", 0, 0.9, facts=replace(FACTS, uniform_shortfall=0.0))]
    assert standings(by_cell(made))[0].average.value == 0.9


def test_results_without_the_unit_get_it_from_the_game() -> None:
    """An older version wrote none. Uniform Kuhn poker has NashConv 11/12 (OpenSpiel's test), over a range of 4."""
    made = [result("a", "kuhn", 0, 11 / 12 / 4, facts=replace(FACTS, uniform_shortfall=None))]
    assert standings(by_cell(made))[0].average.value == pytest.approx(1.0)
    made = [result("a", "a game of mine", 0, 0.25, facts=replace(FACTS, uniform_shortfall=None))]
    assert standings(by_cell(made))[0].average.value == 0.25


def test_last_iterates_are_the_last_fifth_of_training_not_its_last_moment() -> None:
    """Of ten points two are late: 0 and .8 have mean .4, and one of two is away; the last alone is 0."""
    lasts = [*[1.0] * 8, 0.8, 0.0]
    (one,) = standings(by_cell([result("a", "rps", 0, 0.5, *lasts)]))
    assert one.last.value == pytest.approx(0.4)
    assert one.excursions == 0.5


def test_orders_are_told_from_ties(tmp_path: Path) -> None:
    """Paired: "ahead" is .1 below "behind" in each of ten cells, whose seeds differ by far more; "alike" ties with it.

    By hand: 2 of 2^10 signs are as far out, times 3 pairs.
    """
    luck = {("rps", seed): seed / 10 for seed in range(5)} | {("kuhn", seed): 0.9 - seed / 10 for seed in range(5)}
    made = []
    for k, ((game, seed), level) in enumerate(luck.items()):
        noise = 0.01 if k % 2 else -0.009
        made += [result("ahead", game, seed, level), result("behind", game, seed, level + 0.1)]
        made.append(result("alike", game, seed, level + 0.1 + noise))
    tests = {(test.first, test.second): test for test in compared(by_cell(made))}
    assert tests["ahead", "behind"].p_value == pytest.approx(2 / 1024)
    assert tests["ahead", "behind"].corrected == pytest.approx(6 / 1024)
    assert tests["ahead", "behind"].difference.value == pytest.approx(-0.1)
    assert order_lines(by_cell(made)) == [
        "Orders by the average policy that hold after Holm's correction, 2 of 3: ahead before behind, alike.",
        "Ties by the average policy: behind = alike.",
        "Orders by the last iterate that hold after Holm's correction, 0 of 3: none.",
        "Ties by the last iterate: ahead = behind, ahead = alike, behind = alike.",
    ]
    results = Results(tmp_path)
    for one in made:
        results.append(one, {}, batch_size=8)
    write_report(tmp_path, results, command="c", failures={})
    for file in ("leaderboard.md", "leaderboard.html"):
        page = (tmp_path / file).read_text(encoding="utf-8")
        assert "ahead before behind, alike" in page
        assert "after Holm" in page
    assert order_lines(by_cell([one for one in made if one.cell.algorithm == "ahead"])) == []


def test_wins_are_counted_by_game_and_ties_shared() -> None:
    """Each has the lower mean in one game; the last iterates are all alike."""
    first, second = standings(grid())
    assert (first.wins, second.wins) == (1, 1)
    assert (first.wins_last, second.wins_last) == (2, 2)


def test_equals_share_a_rank() -> None:
    """Two algorithms with the same numbers are both first."""
    cells = [result(name, "rps", seed, 0.5) for name in ("a", "b") for seed in (0, 1)]
    assert [one.rank for one in standings({one.cell: one for one in cells})] == [1, 1]


def test_algorithm_without_all_cells_is_not_ranked() -> None:
    """Its easy games alone would be no fair comparison."""
    cells = grid()
    del cells[Cell("lucky", "rps", 2)]
    assert complete_algorithms(cells) == ["steady"]
    assert [one.algorithm for one in standings(cells)] == ["steady"]
    assert standings({}) == []


def test_algorithm_that_finished_all_that_it_can_play_is_told_from_one_with_cells_missing() -> None:
    """The first cannot play Kuhn poker, the second lost a cell of it, the third lost one that it can play."""
    cells = {cell: one for cell, one in grid().items() if cell != Cell("lucky", "rps", 2)}
    cells |= {one.cell: one for one in (result("choosy", "rps", seed, 0.5) for seed in range(4))}

    def can_play(algorithm: str, game: str) -> bool:
        return algorithm != "choosy" or game == "rps"

    assert partial_algorithms(cells, can_play) == {"choosy": ["kuhn"]}
    del cells[Cell("choosy", "rps", 0)]
    assert partial_algorithms(cells, can_play) == {}


def test_curves_have_a_floor_and_a_row_for_each_seed() -> None:
    """A logarithmic axis has no 0."""
    curves = curves_of([result("a", "rps", seed, seed / 2) for seed in (0, 1)], "average")
    assert np.array_equal(curves, [[FLOOR], [0.5]])


def test_report_names_budget_versions_command_and_failures(tmp_path: Path) -> None:
    """All that a reader needs to repeat it; what failed is not hidden."""
    results = Results(tmp_path)
    for one in grid().values():
        results.append(one, {"torch": "2.13.0", "config": "abc"}, batch_size=8)
    lost = {Cell("lucky", "rps", 9): "Traceback\nValueError: no luck"}
    write_report(tmp_path, Results(tmp_path), command="duologue bench --out here", failures=lost)
    page = (tmp_path / "leaderboard.md").read_text(encoding="utf-8")
    for part in (
        "duologue bench --out here",
        "torch 2.13.0, config abc",
        "16 cells, seeds 0, 1, 2, 3",
        "6 updates on batches of 8 episodes",
    ):
        assert part in page
    for part in ("`SELF_PLAY_PPO`: learning rate 0.002", "`RESPONSE_PPO`: learning rate 0.01", "four exploiters"):
        assert part in page  # what is not equal
    assert "| lucky in rps, seed 9 | ValueError: no luck |" in page
    assert "0.350 [" in page
    assert (tmp_path / "bench_rps.png").read_bytes().startswith(b"\x89PNG")
    tree = ET.fromstring((tmp_path / "leaderboard.html").read_text(encoding="utf-8"))
    assert next(h.text for h in tree.iter("h2")) == "All games"
    assert all(image.get("src", "").startswith("data:image/png;base64,") for image in tree.iter("img"))
    assert not list(tree.iter("script"))


def test_empty_report_says_so(tmp_path: Path) -> None:
    """Every cell failed."""
    write_report(tmp_path, Results(tmp_path), command="c", failures={})
    assert "No cell is finished." in (tmp_path / "leaderboard.md").read_text(encoding="utf-8")


def test_html_is_escaped_and_well_formed(tmp_path: Path) -> None:
    """An algorithm's name or an error may hold anything."""
    picture = tmp_path / "p.png"
    plot_game({"a": [result("a", "rps", 0, 0.5)]}, picture, title="t", y_label="y")
    bad = "<script>\"&'</script>"
    table = Table([bad, bad], [[bad, bad]])
    blocks: list[Block] = [Heading(bad, 1), Paragraph(bad), Code(bad), table, Picture(picture, bad)]
    tree = ET.fromstring(as_html(blocks))
    assert not list(tree.iter("script"))
    texts = [tree.findtext(f".//{tag}") for tag in ("title", "h1", "p", "code", "th", "td")]
    assert texts == [bad] * 6
    assert tree.find(".//img").get("alt") == bad  # type: ignore[union-attr]


def test_markdown_has_a_table_and_names_the_picture() -> None:
    """A page for docs/: its pictures are files beside it."""
    page = as_markdown([Heading("H"), Code("x"), Table(["a", "b"], [["1", "2"]]), Picture(Path("d/p.png"), "c")])
    assert page == "## H\n\n```sh\nx\n```\n\n| a   |   b |\n| :-- | --: |\n| 1   |   2 |\n\n![c](p.png)\n"


@pytest.fixture
def quick_plots(monkeypatch: pytest.MonkeyPatch) -> None:
    """Write a file in place of each picture, which takes half a second."""
    monkeypatch.setattr(report, "plot_game", lambda results, path, **labels: path.write_bytes(b""))


def written(folder: Path, *lines: dict[str, Any] | str) -> Path:
    """Write a file of results, whole lines of JSON or of anything."""
    folder.mkdir(exist_ok=True)
    texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    (folder / "results.jsonl").write_text("".join(f"{text}\n" for text in texts), encoding="utf-8")
    return folder


def line_of(**changes: Any) -> dict[str, Any]:
    """Return a line of results, with some of its parts replaced."""
    made: dict[str, Any] = {"versions": {"torch": "1"}, "batch_size": 8, **asdict(result("a", "rps", 0, 0.5))}
    return made | changes


@pytest.mark.parametrize(
    "name",
    ["x/../../OUTSIDE", "../OUTSIDE", "/tmp/OUTSIDE", "..", "con", "-rf", "a\0b", "\\\\host\\x", "é\u202e", "x" * 200,
     "$x$ | `b` <script>\n# OUTSIDE"],
)  # fmt: skip
@pytest.mark.usefixtures("quick_plots")
def test_a_forged_name_writes_nothing_outside_and_is_no_markup(name: str, tmp_path: Path) -> None:
    """Names in a folder that came from elsewhere are data: files lie in it, the page has the headings that it has."""
    folder = written(tmp_path / "received", line_of(cell={"algorithm": name, "game": name, "seed": 0}))
    write_report(folder, Results(folder), command="c", failures={Cell(name, name, 1): ""})
    assert [path.name for path in tmp_path.iterdir()] == ["received"]
    pictures = [path.name for path in folder.iterdir() if path.suffix == ".png"]
    assert len(pictures) == 1
    page = (folder / "leaderboard.md").read_text(encoding="utf-8")
    assert f"]({pictures[0]})" in page
    assert not re.search(r"^# OUTSIDE|^> |(?<!\\)<script>", page, re.MULTILINE)
    assert all(character.isprintable() for character in page.replace("\n", ""))
    ET.fromstring((folder / "leaderboard.html").read_text(encoding="utf-8"))


@pytest.mark.usefixtures("quick_plots")
def test_games_with_names_alike_have_pictures_of_their_own(tmp_path: Path) -> None:
    """What is escaped never meets what was so before; long names end in a digest."""
    names = ["a/b", "a=2Fb", "a=3D2Fb", "x" * 199 + "y", "x" * 200, "A/b"]
    lines = [line_of(cell={"algorithm": "a", "game": name, "seed": 0}) for name in names]
    folder = written(tmp_path / "received", *lines)
    write_report(folder, Results(folder), command="c", failures={})
    assert len(list(folder.glob("*.png"))) == len(names)


BIG, OTHER = "9" * 10**6, {"algorithm": "b", "game": "rps", "seed": 0}


@pytest.mark.parametrize(
    ("lines", "error"),
    [
        (["[" * 100_000], "line 1: expected a JSON object, got"),
        ([f'{{"a": {BIG}}}'], "line 1: expected a JSON object, got"),
        ([line_of(), "\0" * 40], "line 2: expected a JSON object, got"),
        ([line_of(), ""], "line 2: expected a JSON object, got"),
        (["5"], "line 1: expected a JSON object, got"),
        (["{}"], "line 1: expected the fields versions, batch_size, got no versions"),
        ([{"versions": {}, "batch_size": 8}], "line 1: expected the fields cell, code, facts, curve, costs, cpu"),
        ([line_of(cell={"algorithm": "a", "game": "rps"})], "line 1: cell: expected the fields algorithm, game, seed"),
        ([line_of(cell={"algorithm": "", "game": "rps", "seed": 0})], "line 1: expected names and a curve of at least"),
        ([line_of(cell={"algorithm": "x" * 201, "game": "g", "seed": 0})], "line 1: cell.algorithm: expected at"),
        ([line_of(curve=[])], "line 1: expected names and a curve of at least one point"),
        ([line_of(cpu_seconds=float("nan"))], "line 1: cpu_seconds: expected a finite number, got nan"),
        ([line_of(cpu_seconds=None)], "line 1: cpu_seconds: expected a number, got null"),
        ([line_of(batch_size="8")], "line 1: batch_size: expected a whole number, got 8"),
        ([line_of(versions=[])], "line 1: versions: expected a JSON object, got a list"),
        ([line_of(), line_of()], "line 2: expected each cell once, got a in rps, seed 0, as in line 1"),
        (
            [line_of(facts={**asdict(FACTS), "payoff": "gift"})],
            "line 1: facts.payoff: expected one of zero_sum, identical, general, got 'gift'",
        ),
        (
            [line_of(), line_of(cell=OTHER, curve=[asdict(result("b", "rps", 0, 0.5).curve[0]) | {"iteration": 12}])],
            "line 2: expected a curve after [6] updates, as in line 1, got [12]",
        ),
    ],
)  # fmt: skip
def test_damaged_results_are_refused_by_file_and_line(lines: list[Any], error: str, tmp_path: Path) -> None:
    """Missing, of another kind, no number, twice, too deep, too long: one line says what and where."""
    folder = written(tmp_path, *lines)
    with pytest.raises(ValueError, match=f"^{re.escape(f'{folder}/results.jsonl, {error}')}") as raised:
        Results(folder)
    assert len(str(raised.value)) < 500


@pytest.mark.usefixtures("quick_plots")
def test_an_algorithm_and_a_game_that_are_not_registered_here_are_reported(tmp_path: Path) -> None:
    """Whoever made the results had files of his own; pfsp_self_play plays some games only."""
    cells = [("mine", "my_game-v0"), ("self_play", "my_game-v0"), ("gpo", "my_game-v0")]
    folder = written(tmp_path, *(line_of(cell={"algorithm": a, "game": g, "seed": 0}) for a, g in cells))
    write_report(folder, Results(folder), command="c", failures={})
    assert "## my_game-v0" in (folder / "leaderboard.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("error", ["", "\n", "x\n\x1b[31mred"])
def test_an_error_without_words_or_with_colours_is_shown(error: str, tmp_path: Path) -> None:
    """A process that was killed says nothing."""
    write_report(tmp_path, Results(tmp_path), command="c", failures={Cell("a", "b", 0): error})
    page = (tmp_path / "leaderboard.md").read_text(encoding="utf-8")
    assert ("\\x1b[31mred" if error.strip() else "no word of why") in page
