from typing import Any

import numpy as np
import pytest

from duologue.agents import FunctionAgent, RandomAgent, profile_of, utter
from duologue.agents.population import Population, Seat
from duologue.baselines.evaluation import head_to_head as measuring
from duologue.baselines.evaluation.head_to_head import HeadToHead, head_to_head, play_returns, seat_matrix
from duologue.baselines.evaluation.ranking import rank, resampled_alpha_ranks
from duologue.envs import Episode, Speaker, Utterance, View, make_game
from duologue.envs.games.matrix import MatrixGame
from duologue.envs.tree.analysis import GameTree, expected_returns
from duologue.tests.baselines.helpers import tiny_agent

WORDS = "rock paper scissors"
RPS = MatrixGame([[0, -1, 1], [1, 0, -1], [-1, 1, 0]], words_0=WORDS, words_1=WORDS)


def sayer(game: MatrixGame, word: str) -> Speaker:
    """Return whoever always says the word."""

    def say(view: View, rng: np.random.Generator) -> Utterance:
        return utter(view, game.vocabulary.encode(word))

    return FunctionAgent(say)


def words_of(game: MatrixGame, words: str, num_matches: int = 8) -> HeadToHead:
    """Return the head-to-head of agents that say one word each, in both seats."""
    entrants: dict[str, tuple[Seat, Seat]] = {word: (sayer(game, word), sayer(game, word)) for word in words.split()}
    return head_to_head(game, entrants, num_matches, seed=0)


def test_pure_rock_paper_scissors_by_hand() -> None:
    """Every match is won twice by the same word; nothing is left to chance."""
    result = words_of(RPS, WORDS)
    assert result.returns.tolist() == [[0, -1, 1], [1, 0, -1], [-1, 1, 0]]
    assert result.wins.tolist() == [[0, 0, 8], [8, 0, 0], [0, 8, 0]]
    assert result.losses.tolist() == result.wins.T.tolist()
    assert result.ties.sum() == 0
    assert result.half_widths.tolist() == np.zeros((3, 3)).tolist()
    assert result.win_rates.tolist() == [[0.5, 0, 1], [1, 0.5, 0], [0, 1, 0.5]]
    assert result.win_rate_interval(0, 1) == pytest.approx((0.0, 0.3244), abs=1e-4)


def test_a_seat_that_always_wins_makes_every_match_a_tie() -> None:
    """Player 0 is paid 1 whatever is said: a win in one seating and a loss in the other."""
    unfair = MatrixGame([[1, 1], [1, 1]], words_0="a b", words_1="a b")
    result = words_of(unfair, "a b")
    assert result.ties[0, 1] == 8
    assert result.seat_returns[:, 0, 1].tolist() == [1, -1]
    assert result.returns[0, 1] == 0


def test_identical_interests_tie_and_show_in_returns() -> None:
    """Coordination: equal words pay both 1, others 0; nobody beats anybody."""
    together = MatrixGame(np.eye(2), np.eye(2), words_0="a b", words_1="a b")
    result = words_of(together, "a b")
    assert result.returns.tolist() == [[1, 0], [0, 1]]
    assert result.ties[0, 1] == 8
    assert result.win_rates[0, 1] == 0.5


def test_in_general_sum_games_who_earns_more_wins() -> None:
    """Prisoners' dilemma, 5 for betrayal, 3 for both silent, 1 for both talking: the talker beats the silent."""
    first = np.array([[3.0, 0.0], [5.0, 1.0]])
    result = words_of(MatrixGame(first, first.T, words_0="silent talk", words_1="silent talk"), "silent talk")
    assert result.returns.tolist() == [[3, 0], [5, 1]]
    assert result.wins.tolist() == [[0, 0], [8, 0]]


def test_populations_and_sampled_agents_get_intervals_that_cover_the_truth() -> None:
    """A quarter rock, three quarters paper against rock is worth 3/4; a random agent 0."""
    rock, paper = sayer(RPS, "rock"), sayer(RPS, "paper")
    mixed = Population((rock, paper), (1.0, 3.0))
    entrants: dict[str, tuple[Seat, Seat]] = {
        "mixed": (mixed, mixed),
        "rock": (rock, rock),
        "random": (RandomAgent(), RandomAgent()),
    }
    result = head_to_head(RPS, entrants, 400, seed=1)
    against_rock, against_random = result.estimate(0, 1), result.estimate(0, 2)
    assert against_rock.low < 0.75 < against_rock.high
    assert against_random.low < 0 < against_random.high
    assert result.returns[1, 0] == pytest.approx(-against_rock.value)
    assert 0 < against_rock.half_width < 0.1


def test_seat_matrix_keeps_both_players_returns() -> None:
    """By hand: two rows against one column, general sum."""
    game = MatrixGame([[3, 0], [5, 1]], [[3, 5], [0, 1]], words_0="silent talk", words_1="silent talk")
    silent, talk = sayer(game, "silent"), sayer(game, "talk")
    result = seat_matrix(game, {"s": silent, "t": talk}, {"t": talk}, 4, seed=0)
    assert result.returns.tolist() == [[[0], [1]], [[5], [1]]]
    assert result.estimate(1, 0, 0) == (5.0, 5.0, 5.0)


def test_a_cycle_is_ranked_even_and_shown() -> None:
    """Ratings and alpha-rank cannot order rock, paper and scissors; the cycle and its share say why."""
    ranking = rank(words_of(RPS, WORDS))
    assert ranking.ratings.values == pytest.approx([0, 0, 0], abs=1e-9)
    assert ranking.alpha_rank == pytest.approx([1 / 3] * 3)
    assert ranking.cyclic_share == pytest.approx(1)
    page = ranking.markdown()
    assert "rock > scissors > paper > rock" in page
    assert "Cyclic share of the advantages: 100.0%" in page


def test_an_order_is_ranked_as_it_is() -> None:
    """High card: the higher word wins, so that there is no cycle and alpha-rank gives all to the highest."""
    order = np.sign(np.arange(3)[:, None] - np.arange(3)[None, :])
    ranking = rank(words_of(MatrixGame(order, words_0="low mid high", words_1="low mid high"), "low mid high"))
    assert ranking.ratings.values.argsort().tolist() == [0, 1, 2]
    assert ranking.alpha_rank == pytest.approx([0, 0, 1])
    assert ranking.mean_returns.tolist() == [-1, 0, 1]
    assert ranking.cycles == ()
    lines = ranking.markdown().splitlines()
    assert [line.split()[1] for line in lines[2:5]] == ["high", "mid", "low"]
    assert "No three entrants beat each other in a cycle." in lines[-1]
    with pytest.raises(ValueError, match="at least two entrants"):
        rank(words_of(RPS, "rock"))


def test_the_tables_name_everybody() -> None:
    """Mean returns with half widths; wins, ties and losses."""
    page = words_of(RPS, "rock paper").markdown()
    assert "| rock          | +0.000 ± 0.000 | -1.000 ± 0.000 |" in page
    assert "8-0-0" in page
    assert "0-0-8" in page


def test_what_is_said_does_not_depend_on_the_deals_that_were_drawn() -> None:
    """With deals and words from one stream the means of these two models lay six standard errors off."""
    tree = GameTree(make_game("bluff-v0"))
    seats = tiny_agent(tree.game, seed=1), tiny_agent(tree.game, seed=4)
    exact = expected_returns(tree, profile_of(tree, seats))[0]
    for seed in range(4):
        returns = play_returns(tree.game, seats, 256, seed)[:, 0]
        assert abs(returns.mean() - exact) < 4 * returns.std() / 16


def test_the_second_seating_of_a_match_has_luck_of_its_own() -> None:
    """Two fair coins in matching pennies: a quarter of matches won, half tied, within 5 standard errors of 400."""
    result = head_to_head(make_game("matching_pennies-v0"), {name: (RandomAgent(),) * 2 for name in "ab"}, 400, seed=0)
    assert abs(result.ties[0, 1] - 200) < 5 * 10
    assert abs(result.wins[0, 1] - 100) < 5 * 8.7
    assert result.returns[0, 0] == 0


@pytest.mark.parametrize("num", [2, 3])
@pytest.mark.parametrize("seed", range(4))
def test_agents_that_play_alike_tie(num: int, seed: int) -> None:
    """A lead within its noise is none: alpha-rank gave one of two random players everything, three made a cycle.

    Over resamples each may be the first or the last: it gets its share on average, and its interval is all there is.
    """
    names = "abc"[:num]
    met = head_to_head(RPS, {name: (RandomAgent(), RandomAgent()) for name in names}, 201, seed=seed)
    assert np.abs(met.returns).max() > 0  # there is noise
    ranking = rank(met)
    assert ranking.alpha_rank == pytest.approx([1 / num] * num, abs=0.06)
    assert ranking.alpha_rank_low == pytest.approx([0.0] * num, abs=1e-6)
    assert ranking.alpha_rank_high == pytest.approx([1.0] * num, abs=1e-6)
    assert (ranking.cycles, ranking.cyclic_share) == ((), 0.0)
    assert len(ranking.level) == num * (num - 1) / 2
    assert "is within an interval of 99.9% for all pairs at once: a = b" in ranking.markdown()


def test_a_lead_beyond_its_noise_is_one() -> None:
    """Rock loses each match against paper."""
    ranking = rank(words_of(RPS, "rock paper"))
    assert ranking.alpha_rank == pytest.approx([0, 1])
    assert ranking.alpha_rank_low == pytest.approx([0, 1])
    assert ranking.alpha_rank_high == pytest.approx([0, 1])
    assert ranking.level == ()
    assert "Everybody is ahead of or behind every other" in ranking.markdown()


@pytest.mark.parametrize("seed", range(8))
def test_alpha_rank_of_twins_is_even_and_unsure(seed: int) -> None:
    """Byte-identical models in matching pennies: one of them had 1.000 and the other 0.000, which one was luck."""
    game = make_game("matching_pennies-v0")
    twins = {name: (tiny_agent(game, seed=3), tiny_agent(game, seed=3)) for name in ("one", "other")}
    ranking = rank(head_to_head(game, twins, 60, seed=seed), seed=seed)
    assert ranking.alpha_rank == pytest.approx([0.5, 0.5], abs=0.06)
    assert "[0.000, 1.000]" in ranking.markdown()


def test_alpha_rank_of_resamples_knows_cycles_winners_and_hairs() -> None:
    """By hand: noise of a tenth of the leads changes no sign; a lead of one standard error holds in Phi(1) = 84 %."""
    off = 1 - np.eye(3)
    cycle, winner = np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]]), np.array([[0, 1, 1], [-1, 0, 0], [-1, 0, 0]])
    shares = resampled_alpha_ranks(cycle, 0.1 * off, seed=0)
    assert shares == pytest.approx(np.full((1000, 3), 1 / 3))
    assert resampled_alpha_ranks(winner, 0.1 * off, seed=0)[:, 0] == pytest.approx(np.ones(1000))
    hair = resampled_alpha_ranks([[0, 0.05], [-0.05, 0]], 0.1 * (1 - np.eye(2)), seed=0)
    assert hair.mean(axis=0) == pytest.approx([0.841, 0.159], abs=0.04)
    assert hair.sum(axis=1) == pytest.approx(np.ones(1000))
    with pytest.raises(ValueError, match=r"standard_errors: expected a symmetric matrix of shape \(3, 3\)"):
        resampled_alpha_ranks(cycle, np.eye(2), seed=0)


def test_returns_that_are_no_numbers_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """No mean, interval or rank of them is shown."""

    def play(episodes: list[Episode[Any]], seats: object, rng: object) -> None:
        for episode in episodes:
            episode.returns = [float("nan"), 0.0]

    monkeypatch.setattr(measuring, "play_out", play)
    with pytest.raises(ValueError, match="returns: expected finite numbers, got nan"):
        words_of(RPS, "rock paper")


def test_names_in_the_tables_are_no_markup() -> None:
    """Neither in cells and headers nor in the sentences below."""
    names = ["a|b\x1b", "[x](y)", "`c`"]
    seats = {name: (sayer(RPS, word), sayer(RPS, word)) for name, word in zip(names, WORDS.split(), strict=True)}
    met = head_to_head(RPS, seats, 8, seed=0)
    page = f"{met.markdown()}\n{rank(met).markdown()}"
    assert "a\\|b\\x1b" in page
    assert "\x1b" not in page
    assert "[x](y)" not in page
    assert "`c`" not in page.replace("\\`c\\`", "")
