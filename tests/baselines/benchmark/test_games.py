"""What results are held against, and the form in which learners play."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest

from duologue.agents import RandomAgent
from duologue.baselines.benchmark.games import (
    GAMES,
    GameFacts,
    ScaledGame,
    bench_game,
    best_social_return,
    game_facts,
    shortfall,
)
from duologue.baselines.rollouts.episodes import rollout
from duologue.baselines.training.costs import CostMeter, metered_game, num_sampled, play_costs
from duologue.envs import Ending, Utterance, View, make_game
from duologue.envs.game import Turn
from duologue.envs.tree.analysis import GameTree, expected_returns, nash_conv, random_profile


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
    game = metered_game(ScaledGame(make_game("kuhn_poker-v0"), payoff_range=4.0), meter)
    played = rollout(game, [RandomAgent()] * 2, 50, np.random.default_rng(0))
    assert meter.costs.episodes == 50
    assert meter.costs == play_costs(played)
    assert {abs(one.episode.returns[0]) for one in played} == {0.25, 0.5}


@dataclass
class Forfeits:
    """Says nothing that is a legal turn, in the first `num_forfeits` turns; then chance decides."""

    num_forfeits: int

    def speak(self, views: Sequence[View], rng: np.random.Generator) -> list[Utterance]:
        """Forfeit while that is due."""
        said = RandomAgent().speak(views, rng)
        for k in range(min(self.num_forfeits, len(said))):
            said[k] = Utterance((), None, Ending.UNREADABLE)
        self.num_forfeits = 0
        return said


@pytest.mark.parametrize("player", [0, 1])
def test_episodes_that_end_by_forfeit_cost_as_any_other(player: int) -> None:
    """Seven of 50 are forfeited; a forfeited turn's tokens the rules do not hear, and here it has none."""
    meter = CostMeter()
    game = metered_game(ScaledGame(make_game("kuhn_poker-v0"), payoff_range=4.0), meter)
    seats = [Forfeits(7) if seat == player else RandomAgent() for seat in (0, 1)]
    played = rollout(game, seats, 50, np.random.default_rng(0))
    assert sum(one.forfeited_by(player) for one in played) == 7
    assert meter.costs.episodes == 50
    assert meter.costs == play_costs(played)


def test_sampled_tokens_are_those_of_thought_brackets_and_end() -> None:
    """Two words and `<eos>`; cut off, no `<eos>`; a thought of one word between two brackets."""
    assert num_sampled(Turn((5, 6))) == 3
    assert num_sampled(Turn((5, 6), ending=Ending.TOO_LONG)) == 2
    assert num_sampled(Turn((5, 6), thought=(7,))) == 6


@pytest.mark.parametrize(
    ("name", "expected"), [("kuhn", 11 / 12 / 4), ("rps", 2 / 9), ("referential", 2 / 3), ("matching_pennies-v0", 0)]
)
def test_uniform_play_is_the_unit(name: str, expected: float) -> None:
    """Kuhn poker's NashConv 11/12 (OpenSpiel's test), over its range of 4; a third of referents are guessed right."""
    assert game_facts(GameTree(bench_game(name).make())).uniform_shortfall == pytest.approx(expected, abs=1e-9)


def test_scaled_rules_are_the_same_rules() -> None:
    """Same tree; NashConv and returns of any profile are a quarter."""
    plain = GameTree(make_game("kuhn_poker-v0"))
    scaled = GameTree(ScaledGame(make_game("kuhn_poker-v0"), payoff_range=4.0))
    profile = random_profile(plain, np.random.default_rng(1))
    assert nash_conv(scaled, profile) == pytest.approx(nash_conv(plain, profile) / 4)
    assert expected_returns(scaled, profile) == pytest.approx(expected_returns(plain, profile) / 4)


def test_forfeit_costs_its_share_too() -> None:
    """Else an illegal word would cost four times as much beside the payoffs."""
    plain = make_game("kuhn_poker-v0")
    first, second = plain.forfeit_rewards(0)
    assert ScaledGame(plain, payoff_range=4.0).forfeit_rewards(0) == (first / 4, second / 4)


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
