"""Shares of wins, ties and forfeits, counted by hand in scripted play."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from duologue.agents import ScriptedAgent
from duologue.baselines.evaluation.win_rates import (
    WinRates,
    before_and_after,
    main,
    summarise_seeds,
    win_rates,
    win_rates_table,
)
from duologue.envs.games.taboo import Taboo

GAME = Taboo(num_words=2, num_attributes=2, max_turns=2)
"""The target is bada or beda; asked for "da", both fit."""


def test_scripted_play_is_counted() -> None:
    """Who always answers bada has said the target in every game whose target it is, and ties in the others."""
    rates = win_rates(GAME, (ScriptedAgent(["da"]), ScriptedAgent(["bada"])), 300, 0)
    uttered = rates.endings["the defender said the word"]
    assert 120 < uttered < 180
    assert rates.wins == (uttered, 0)
    assert rates.num_ties == rates.endings["no remark"] == 300 - uttered


def test_a_forfeit_is_a_win_of_the_other_and_named() -> None:
    """No turn of the defender opens with "know"."""
    rates = win_rates(GAME, (ScriptedAgent(["da"]), ScriptedAgent(["know"])), 5, 0)
    assert rates == WinRates(5, (5, 0), (0, 5), {"player 1 forfeited": 5})


def test_shares_are_in_percent_with_wilson_s_interval() -> None:
    """0 of 10: 0 to 27.75 % (Wilson, 1927), as `wilson_interval` shows."""
    assert WinRates(10, (0, 0), (0, 0), {}).share(0) == "0.0 [0.0, 27.8]"


def test_the_table_has_a_column_for_every_ending_of_any_pair() -> None:
    """Four pairs, player 0 first; an ending that a pair did not have is 0 there."""
    start, trained = ScriptedAgent(["da"]), ScriptedAgent(["bada"])
    rates = before_and_after(GAME, start, trained, 4, 0)
    assert list(rates) == ["start, start", "trained, start", "start, trained", "trained, trained"]
    head, _, first, *_ = win_rates_table(rates).splitlines()
    assert "the attacker said the word" in head
    assert first.startswith("| start, start")
    assert "player 1 forfeited" in head


def written(folder: Path, *runs: dict[str, WinRates]) -> list[str]:
    """Write the rates of several runs as training does; return the files."""
    paths = [folder / f"{number}.json" for number in range(len(runs))]
    for path, run in zip(paths, runs, strict=True):
        path.write_text(json.dumps({name: asdict(one) for name, one in run.items()}), encoding="utf-8")
    return [str(path) for path in paths]


def test_over_seeds_there_are_means_with_student_s_interval(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Shares of 40, 50 and 60 % have a mean of 50 and half a width of t(.975, 2) * 10 / sqrt(3) = 24.8."""
    runs = [{"a, b": WinRates(10, (wins, 2), (0, 1), {"late": 3})} for wins in (4, 5, 6)]
    main(written(tmp_path, *runs))
    cells = [cell.strip() for cell in capsys.readouterr().out.splitlines()[2].split("|")[1:-1]]
    same = [f"{share} ± 0.0" for share in ("20.0", "0.0", "10.0", "30.0")]
    assert cells == ["a, b", "50.0 ± 24.8", same[0], "30.0 ± 24.8", *same[1:], "30.0 ± 24.8"]


def test_one_seed_other_pairs_and_other_files_are_refused(tmp_path: Path) -> None:
    """An interval needs two values of the same thing."""
    first, second = written(tmp_path, {"a": WinRates(1, (0, 0), (0, 0), {})}, {"b": WinRates(1, (0, 0), (0, 0), {})})
    with pytest.raises(ValueError, match="at least 2 seeds, got 1"):
        summarise_seeds([first])
    with pytest.raises(ValueError, match=r"the same pairs in each, got \[\['a'\], \['b'\]\]"):
        summarise_seeds([first, second])
    (tmp_path / "other.json").write_text("[1]", encoding="utf-8")
    with pytest.raises(ValueError, match=r"other\.json: expected win rates"):
        summarise_seeds([first, tmp_path / "other.json"])
