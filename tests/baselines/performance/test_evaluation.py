import json
from pathlib import Path

import pytest

from duologue.baselines.performance.evaluation import GOAL, compare, main, make_prompts


def test_prompts_have_the_length_and_the_repeats_that_are_asked_for() -> None:
    """A mean of 12 tokens, 10 to 14 of them; frequent phrases, so that prompts share n-grams."""
    prompts = make_prompts(400, 12, seed=0)
    lengths = [len(prompt) for prompt in prompts]
    assert sum(lengths) / 400 == pytest.approx(12, abs=0.5)
    assert (min(lengths), max(lengths)) == (10, 14)
    pairs = [tuple(prompt[k : k + 2]) for prompt in prompts for k in range(len(prompt) - 1)]
    assert len(set(pairs)) < len(pairs) / 2


def test_both_variants_are_faster_than_nltk_by_the_goal_and_agree() -> None:
    """A smaller history than the 10^4 of the claim, where the fixed costs weigh more: still 30 times and 1e-9."""
    for one in compare(12, history_size=1000, batch_size=64):
        assert one.largest_difference <= 1e-9
        assert one.ratio >= GOAL, one


def test_the_command_prints_a_table_and_writes_the_ratios(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One line and one figure for each variant and length."""
    page, options = tmp_path / "page.md", "--history-size 60 --batch-size 8"
    main([*options.split(), "--json", str(tmp_path / "bleu.json"), "--markdown", str(page)])
    printed, text = capsys.readouterr().out, page.read_text(encoding="utf-8")
    assert text.startswith("# Performance of SelfBLEU\n\nMeasured by")
    assert text.count("| pairwise") == text.count("| joint") == 2
    assert printed.count("| pairwise") == printed.count("| joint") == 2
    written = json.loads((tmp_path / "bleu.json").read_text(encoding="utf-8"))
    names = [figure["name"] for figure in written["figures"]]
    assert names == [f"self_bleu_{v}_{n}_tokens_vs_nltk" for n in (12, 60) for v in ("pairwise", "joint")]
