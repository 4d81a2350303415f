"""Shares of wins, ties and forfeits, counted by hand in scripted play."""

from duologue.agents import ScriptedAgent
from duologue.baselines.evaluate.win_rates import WinRates, before_and_after, win_rates, win_rates_table
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
