"""The benchmark of the exact tier: same values as OpenSpiel's, sizes as asked, a page with its pictures."""

from pathlib import Path

import numpy as np
import pytest

from duologue.baselines.performance import solvers as benchmark
from duologue.baselines.performance.solvers import (
    LeducComparison,
    TreeCost,
    compare_on_leduc,
    game_of_size,
    measure_tree,
    spiel_policy,
    write_page,
)
from duologue.envs.games.leduc_poker import LeducPoker
from duologue.envs.tree.analysis import GameTree, random_profile

LEDUC = LeducComparison({"ours": 1e-4, "python": 0.12, "cpp": 0.05}, {"ours": 5.5, "python": 5.5, "cpp": 5.5})
COSTS = [TreeCost(10**k, 2**k, 10.0 ** (k - 5), 200 * 10**k, 80 * 10**k, 10.0 ** (k - 8)) for k in (3, 4)]


def test_nash_conv_on_leduc_is_openspiels_and_far_faster() -> None:
    """OpenSpiel 2.0.2, Python and C++, the same random policy: 1e-9; the goals are 30 and 10 times faster."""
    pytest.importorskip("pyspiel")
    found = compare_on_leduc(num_repetitions=2)
    assert list(found.values.values()) == pytest.approx([found.values["ours"]] * 3, abs=1e-9)
    assert found.values["ours"] > 1
    assert all(figure.value >= figure.goal for figure in found.figures)


def test_every_information_state_of_openspiel_gets_its_probabilities() -> None:
    """936 of them in OpenSpiel's Leduc poker, each with its legal actions and a sum of 1."""
    pyspiel = pytest.importorskip("pyspiel")
    tree = GameTree(LeducPoker())
    found = spiel_policy(tree, random_profile(tree, np.random.default_rng(1)), pyspiel.load_game("leduc_poker"))
    assert len({(player, name) for player, name, _ in found}) == 936
    assert all(sum(probabilities.values()) == pytest.approx(1) for _, _, probabilities in found)


@pytest.mark.parametrize(("power", "num_nodes"), [(2, 171), (3, 1024), (4, 10921)])
def test_trees_are_about_as_large_as_asked(power: int, num_nodes: int) -> None:
    """1 + deals (4^(turns + 1) - 1) / 3, counted by hand: 2 * 85, 3 * 341, 8 * 1365."""
    assert GameTree(game_of_size(power)).num_nodes == num_nodes


def test_measured_tree_has_a_cost() -> None:
    """The arrays of 1024 nodes take tens of bytes a node; the process grew by no less than nothing."""
    cost = measure_tree(3)
    assert cost.num_nodes == 1024
    assert 30 < cost.array_bytes / cost.num_nodes < 300
    assert cost.peak_bytes >= 0
    assert cost.enumerate_s > cost.nash_conv_s > 0


def test_page_has_both_tables_and_its_pictures(tmp_path: Path) -> None:
    """Ratios are rounded; every picture that the page shows lies where it says."""
    page = tmp_path / "docs" / "performance.md"
    page.parent.mkdir()
    page.write_text("# Another section\n\nstays\n", encoding="utf-8")
    for _ in range(2):  # the second replaces the first
        write_page(page, LEDUC, COSTS)
    assert page.read_text(encoding="utf-8").startswith(
        "# Another section\n\nstays\n\n# Performance of the exact tier\n"
    )
    text = (tmp_path / "docs" / "performance.md").read_text(encoding="utf-8")
    assert "| OpenSpiel, Python: `exploitability.nash_conv` | 120.000 | 1,200 | 30 | 5.5" in text
    assert "| 10,000 | 16 | 0.1 | 100,000 | 200 | 80 | 0.1 |" in text
    assert text.count("](images/") == 2
    for name in ("tree_time", "tree_memory"):
        assert f"images/{name}.png" in text
        assert (tmp_path / "docs" / "images" / f"{name}.png").read_bytes().startswith(b"\x89PNG")


def test_figures_are_the_ratios_with_their_goals() -> None:
    """0.12 s and 0.05 s beside 0.1 ms."""
    assert [(figure.value, figure.goal) for figure in LEDUC.figures] == [(1200.0, 30.0), (500.0, 10.0)]


def test_missing_openspiel_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """House style: the thing, the expected, the fix."""
    monkeypatch.setitem(benchmark.importlib.sys.modules, "pyspiel", None)  # type: ignore[attr-defined]
    with pytest.raises(ImportError, match="pip install open_spiel"):
        compare_on_leduc()
