"""The prepared script for a GPU, on a CPU and in small: its batches are whole, its numbers those of the clock."""

from pathlib import Path

import pytest

from duologue.baselines.performance.accelerator import AcceleratorConfig, Measured, main, measure, report

pytest.importorskip("peft", reason="adapters need peft, an optional extra")
SMALL = ["--device", "cpu", "--size", "tiny", "--batch-size", "6", "--prompt-tokens", "5", "--reply-tokens", "4"]


def test_every_reply_is_as_long_as_it_may_be() -> None:
    """Random weights never end a turn here, so that the count of tokens is known."""
    config = AcceleratorConfig(
        device="cpu", size="tiny", batch_size=6, prompt_tokens=5, reply_tokens=4, num_repetitions=2
    )
    found = measure(config)
    assert [one.num_tokens for one in found] == [24, 24]
    assert all(one.rollout_seconds > 0 and one.update_seconds > 0 for one in found)


def test_speeds_are_medians_over_batches() -> None:
    """Of 100 tokens in 2, 1 and 4 seconds: 50 a second; updates took a tenth of it."""
    found = [Measured(100, seconds, seconds / 10) for seconds in (2.0, 1.0, 4.0)]
    row = report(AcceleratorConfig(device="cpu"), found).splitlines()[2]
    assert [cell.strip() for cell in row.split("|")[1:4]] == ["0.5 B", "50", "500"]


def test_the_table_is_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As it is printed."""
    assert main([*SMALL, "--num-repetitions", "1", "--out", str(tmp_path / "found.md")]) == 0
    assert (tmp_path / "found.md").read_text(encoding="utf-8").strip() in capsys.readouterr().out


def test_an_unknown_size_is_named() -> None:
    """Before anything is made."""
    with pytest.raises(ValueError, match=r"size: expected one of '0.5 B'.*got '70 B'"):
        AcceleratorConfig(size="70 B")
