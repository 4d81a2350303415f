"""The leaderboard: numbers known by hand, pages that are well-formed."""

import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest

from duologue.baselines.benchmark.cell import Cell, CellResult, CurvePoint, Measured
from duologue.baselines.benchmark.games import GameFacts
from duologue.baselines.benchmark.report import FLOOR, curves_of, plot_game, write_report
from duologue.baselines.benchmark.results import Results
from duologue.baselines.benchmark.standings import complete_algorithms, partial_algorithms, standings
from duologue.baselines.reporting.page import Block, Code, Heading, Paragraph, Picture, Table, as_html, as_markdown
from duologue.baselines.training.costs import Costs

FACTS = GameFacts("zero_sum", 1.0, 0.0, 0.0)
GRID = {
    "steady": {"rps": [0.0, 0.1, 0.2, 0.3], "kuhn": [0.4, 0.5, 0.6, 0.7]},
    "lucky": {"rps": [0.9, 0.9, 0.9, 0.9], "kuhn": [0.0, 0.0, 0.0, 0.1]},
}


def result(algorithm: str, game: str, seed: int, average: float, last: float = 1.0) -> CellResult:
    """Return a cell with one measured point."""
    point = CurvePoint(6, Measured(last, (0.0, 0.0), last), Measured(average, (0.0, 0.0), average))
    return CellResult(Cell(algorithm, game, seed), "duologue", FACTS, (point,), Costs(episodes=10, tokens=20), 2.0)


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
