"""What results are held against, and the form in which learners play."""

import numpy as np
import pytest

from duologue.agents import RandomAgent
from duologue.baselines.bench_games import (
    GAMES,
    GameFacts,
    MeteredGame,
    bench_game,
    best_social_return,
    game_facts,
    shortfall,
)
from duologue.baselines.evaluate.costs import CostMeter
from duologue.baselines.rollout import rollout
from duologue.envs import make_game
from duologue.envs.tree import GameTree, expected_returns, nash_conv, random_profile


@pytest.mark.parametrize(
    ("name", "value", "payoff_range"),
    [("red_team", 5 / 36, 1.0), ("kuhn", -1 / 18, 4.0), ("rps", 0.5, 1.0), ("preference", 0.0, None)],
)
def test_values_are_those_of_the_games_pages(name: str, value: float, payoff_range: float | None) -> None:
    """5/36 and -1/18 are derived there; symmetric games are worth 0, rescaled to [0, 1] a half."""
    facts = game_facts(GameTree(bench_game(name).make()))
    assert facts.value == pytest.approx(value, abs=1e-9)
    assert payoff_range is None or facts.payoff_range == payoff_range


@pytest.mark.parametrize(("name", "best"), [("referential", 1.0), ("bargaining", 2.5), ("kuhn", 0.0)])
def test_best_social_return_is_what_a_planner_could_get(name: str, best: float) -> None:
    """Every object named right; five coins shared at once; nothing to share in a zero-sum game."""
    assert best_social_return(GameTree(bench_game(name).make())) == pytest.approx(best)


def test_general_games_have_no_one_value() -> None:
    """Bargaining is not zero-sum."""
    assert game_facts(GameTree(bench_game("bargaining").make())).value is None


@pytest.mark.parametrize(("payoff", "expected"), [("zero_sum", 0.75), ("general", 0.75), ("identical", 0.5)])
def test_shortfall_is_in_payoff_ranges(payoff: str, expected: float) -> None:
    """NashConv 3 over a range of 4; of identical interest (5 - 3) / 4, whatever NashConv is."""
    assert shortfall(GameFacts(payoff, 4.0, None, 5.0), 3.0, (3.0, 3.0)) == expected


def test_metered_play_counts_episodes_and_tokens_and_scales_payoffs() -> None:
    """Against what the rollout itself holds; Kuhn poker's range is 4."""
    meter = CostMeter()
    game = MeteredGame(make_game("kuhn_poker-v0"), payoff_range=4.0, meter=meter)
    played = rollout(game, [RandomAgent()] * 2, 50, np.random.default_rng(0))
    assert meter.costs.episodes == 50
    assert meter.costs.tokens == sum(len(turn.tokens) for one in played for turn in one.dialogue.turns)
    assert {abs(one.episode.returns[0]) for one in played} == {0.25, 0.5}


def test_metered_rules_are_the_same_rules() -> None:
    """Same tree; NashConv and returns of any profile are a quarter."""
    plain = GameTree(make_game("kuhn_poker-v0"))
    scaled = GameTree(MeteredGame(make_game("kuhn_poker-v0"), payoff_range=4.0, meter=CostMeter()))
    profile = random_profile(plain, np.random.default_rng(1))
    assert nash_conv(scaled, profile) == pytest.approx(nash_conv(plain, profile) / 4)
    assert expected_returns(scaled, profile) == pytest.approx(expected_returns(plain, profile) / 4)


def test_forfeit_costs_its_share_too() -> None:
    """Else an illegal word would cost four times as much beside the payoffs."""
    plain = make_game("kuhn_poker-v0")
    first, second = plain.forfeit_rewards(0)
    assert MeteredGame(plain, payoff_range=4.0, meter=CostMeter()).forfeit_rewards(0) == (first / 4, second / 4)


def test_registered_games_are_known_and_others_named() -> None:
    """A newcomer's game needs no entry in our table."""
    assert bench_game("matching_pennies-v0").make().payoff.value == "zero_sum"
    with pytest.raises(ValueError, match=r"games: expected names among rps, .* got 'go'"):
        bench_game("go")


def test_suite_covers_every_payoff_type() -> None:
    """Five games of different payoff type at least."""
    payoffs = [game.make().payoff.value for game in GAMES.values()]
    assert len(payoffs) >= 5
    assert set(payoffs) == {"zero_sum", "general", "identical"}
