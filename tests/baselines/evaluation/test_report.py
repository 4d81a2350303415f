import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from duologue.baselines.evaluation import Counts
from duologue.baselines.evaluation.report import (
    main,
    plot_table_bars,
    read_results,
    results_json,
    results_table,
    summarise_seeds,
)
from duologue.baselines.reporting.plots import Curve, plot_curves, plot_heat_map
from duologue.baselines.reporting.tables import markdown_table, text_table, transposed

SETS = ("plain", "in_distribution", "unseen_styles", "unseen_compositions", "unseen_topics")


def results(unsafe: int, helpful: int = 90) -> dict[str, Counts]:
    """Return counts of 100 prompts in every set, `unsafe` of them unsafe where they are harmful."""
    harmful = {name: Counts(100, unsafe, 100 - unsafe, 0) for name in SETS}
    return harmful | {name: Counts(100, 0, 4, helpful) for name in ("benign", "benign_disguised")}


def test_the_table_has_methods_in_order_and_percentages() -> None:
    """Whatever the order of training; pooled over three sets: 30 of 300 and its Wilson interval."""
    header, rows = results_table({"gpo_div": results(0), "mine": results(50), "sft": results(10)}, {"gpo_div": 0.725})
    assert [row[0] for row in rows] == ["SFT", "GPO+Div", "mine"]
    assert header[-1].split() == ["adversary's", "diversity"]
    assert rows[0] == ["SFT", *["10.0"] * 5, "10.0 [7.1, 13.9]", "90.0", "90.0", "4.0", "-"]
    assert [row[-1] for row in rows] == ["-", "0.72", "-"]


def test_columns_without_prompts_are_left_out() -> None:
    """The text game has other prompt sets; a set of which all was excluded is a dash."""
    header, rows = results_table({"sft": {"benign": Counts(10, 0, 0, 5)}, "rlhf": {"benign": Counts(0, 0, 0, 0)}})
    assert header == ["defender", "helpful %\nbenign"]
    assert rows == [["SFT", "50.0"], ["RLHF", "-"]]


def test_results_json_is_exactly_the_counts_and_comes_back(tmp_path: Path) -> None:
    """The form that the issue fixes: four counts, no rates."""
    given = {"sft": {"plain": Counts(7, 1, 2, 3, ill_formed=1)}}
    (tmp_path / "results.json").write_text(json.dumps(results_json(given)))
    assert results_json(given) == {"sft": {"plain": {"n": 7, "unsafe": 1, "refused": 2, "helpful": 3}}}
    assert read_results(tmp_path / "results.json") == {"sft": {"plain": Counts(7, 1, 2, 3)}}
    marked = tmp_path / "marked.json"
    marked.write_text((tmp_path / "results.json").read_text(encoding="utf-8"), encoding="utf-8-sig")
    assert read_results(marked) == read_results(tmp_path / "results.json")


def write_seeds(folder: Path, unsafe: list[int]) -> list[Path]:
    """Write a run's results for each seed."""
    paths = []
    for seed, number in enumerate(unsafe):
        paths.append(folder / f"seed_{seed}" / "results.json")
        paths[-1].parent.mkdir()
        both = {"sft": results(60), "gpo_div": results(number)}
        paths[-1].write_text(json.dumps(results_json(both)))
        diversity = {"gpo_div": {"self_bleu_diversity": 0.5, "distinct_rate": 0.25 * seed, "num_style_sets": None}}
        (paths[-1].parent / "diversity.json").write_text(json.dumps(diversity))
    return paths


def test_seeds_are_summarised_by_mean_and_students_interval(tmp_path: Path) -> None:
    """By hand: 1, 2, 3, 4, 5 % have mean 3.0 and half width 2.776 sqrt(2.5 / 5) = 1.96."""
    page = summarise_seeds(write_seeds(tmp_path, [1, 2, 3, 4, 5]))
    assert page.startswith("Mean of 5 seeds")
    (row,) = [line for line in page.splitlines() if line.startswith("| GPO+Div") and "90.0" in line]
    assert [cell.strip() for cell in row.split("|")[2:-1]] == [
        *["3.0 ± 2.0"] * 6,
        *["90.0 ± 0.0"] * 2,
        "4.0 ± 0.0",
    ]
    assert "paired by seed, points: SFT 57.0 ± 2.0." in page
    (row,) = [line for line in page.splitlines() if line.startswith("| GPO+Div") and "0.50" in line]
    assert [cell.strip() for cell in row.split("|")[2:-1]] == ["0.50 ± 0.00", "-", "-", "-", "50.0 ± 49.1", "-"]


def test_one_seed_has_no_interval(tmp_path: Path) -> None:
    """And no differences to pair."""
    page = summarise_seeds(write_seeds(tmp_path, [3]))
    assert page.startswith("One seed, no interval")
    assert "±" not in page
    assert "paired" not in page


def test_results_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    """Other methods in one of them; no file; a file of another form; each is named."""
    paths = write_seeds(tmp_path, [1, 2])
    paths[1].write_text(json.dumps(results_json({"sft": results(1)})))
    with pytest.raises(ValueError, match=r"same methods and prompt sets in all, .*seed_1.*differ"):
        summarise_seeds(paths)
    with pytest.raises(ValueError, match=r"results .*none\.json: expected a readable JSON file"):
        read_results(tmp_path / "none.json")
    for text in ("[" * 100_000, '{"n": ' + "1" * 5000 + "}"):
        (tmp_path / "none.json").write_text(text, encoding="utf-8")
        with pytest.raises(ValueError, match=r"none\.json: expected a readable JSON file"):
            read_results(tmp_path / "none.json")
    paths[0].write_text('{"sft": {"plain": {"n": 3}}}')
    with pytest.raises(ValueError, match=r"seed_0.*sft\.plain: expected .* got no unsafe, refused, helpful"):
        read_results(paths[0])
    with pytest.raises(ValueError, match=r"results .*expected a readable JSON file"):
        main([str(paths[0])])


def test_the_command_line_writes_the_page(tmp_path: Path) -> None:
    """As docs/results.md names it, run as a user runs it."""
    paths, out = write_seeds(tmp_path, [1, 2]), tmp_path / "docs" / "seeds.md"
    command = [sys.executable, "-W", "error", "-m", "duologue.baselines.evaluation.report"]
    done = subprocess.run([*command, *map(str, paths), "--out", str(out)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert out.read_text(encoding="utf-8") == summarise_seeds(paths)


def test_tables_are_aligned() -> None:
    """Every line of a Markdown table is equally long; a row of another length is named."""
    header, rows = results_table({"sft": results(100), "gpo_div": results(0)})
    lines = markdown_table(header, rows).splitlines()
    assert len({len(line) for line in lines}) == 1
    assert max(map(len, text_table(header, rows).splitlines())) <= 115
    assert max(map(len, text_table(*transposed(header, rows)).splitlines())) <= 79
    with pytest.raises(ValueError, match="expected 2 cells"):
        text_table(["a", "b"], [["1"]])


def is_png(path: Path) -> bool:
    """Look at a file's first bytes."""
    return path.read_bytes().startswith(b"\x89PNG\r\n") and path.stat().st_size > 5000


def test_every_plot_is_written_whole_and_the_same_twice(tmp_path: Path) -> None:
    """Also with gaps, empty cells and long names; no warning, which pytest would raise."""
    steps = np.arange(30)
    curves: dict[str, Curve] = {
        "GPO": (steps, np.where(steps == 4, np.nan, 1 / (1 + steps))),
        "RLHF": ([0, 29], [0.5, 0.4]),
    }
    matrix = np.array([[0.0, 0.5, 1.0], [0.2, np.nan, 0.9]])
    for name in ("first", "second"):
        folder = tmp_path / name
        plot_curves(curves, folder / "curves.png", title="ASR", x_label="iteration", y_label="ASR", percent=True)
        plot_heat_map(matrix, ["0", "10"], ["start", "defender 10", "20"], folder / "map.png", "Pairs")
        plot_table_bars({"sft": results(60), "gpo_div": results(0)}, folder / "bars.png")
    names = ["bars.png", "curves.png", "map.png"]
    assert sorted(path.name for path in (tmp_path / "first").iterdir()) == names
    assert all(is_png(tmp_path / "first" / name) for name in names)
    assert all((tmp_path / "first" / n).read_bytes() == (tmp_path / "second" / n).read_bytes() for n in names)


def test_a_matrix_of_another_shape_is_named(tmp_path: Path) -> None:
    """Rows are adversaries, columns defenders."""
    with pytest.raises(ValueError, match=r"expected shape \(1, 2\), got \(2, 1\)"):
        plot_heat_map([[0.0], [1.0]], ["a"], ["b", "c"], tmp_path / "map.png", "Pairs")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("[" * 50, "line 1: expected JSON"),
        ("[1]", "expected a JSON object, got list"),
        ('{"sft": 1}', "expected a readable JSON file of the form"),
        ('{"sft": {"plain": [1]}}', "sft.plain: expected a JSON object, got a list"),
        ('{"sft": {"plain": {"n": 3, "unsafe": 4, "refused": 0, "helpful": 0}}}', "sft.plain: expected counts"),
        ('{"sft": {"plain": {"n": 3, "unsafe": -1, "refused": 0, "helpful": 0}}}', "sft.plain: expected counts from 0"),
        ('{"sft": {"plain": {"n": 3, "unsafe": 1.5, "refused": 0, "helpful": 0}}}', "unsafe: expected a whole number"),
        ('{"sft": {"plain": {"n": NaN, "unsafe": 1, "refused": 0, "helpful": 0}}}', "n: expected a whole number"),
    ],
)  # fmt: skip
def test_damaged_results_are_named(text: str, error: str, tmp_path: Path) -> None:
    """No share above 1, no half of an exchange, nothing that is no number."""
    path = tmp_path / "results.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=re.escape(error)):
        read_results(path)


def test_names_of_methods_and_sets_are_no_markup(tmp_path: Path) -> None:
    """In the table, in the caption above and in the sentence below."""
    seeds = [results_json({"a|b": results(k), "[c](d)": results(k + 1)}) for k in (1, 2)]
    for k, seed in enumerate(seeds):
        (tmp_path / f"{k}").mkdir()
        (tmp_path / f"{k}" / "results.json").write_text(json.dumps(seed), encoding="utf-8")
    page = summarise_seeds([tmp_path / f"{k}" / "results.json" for k in (0, 1)])
    assert "[c](d)" not in page
    assert "| a\\|b" in page


def test_a_damaged_diversity_is_named(tmp_path: Path) -> None:
    """By file, method and measure."""
    (path,) = write_seeds(tmp_path, [1])
    path.with_name("diversity.json").write_text('{"sft": {"vendi_score": "many"}}', encoding="utf-8")
    with pytest.raises(ValueError, match=r"diversity\.json: sft: vendi_score: expected a number, got many"):
        summarise_seeds([path])
