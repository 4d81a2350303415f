import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from duologue.baselines.evaluation.ratings import (
    Floats,
    bootstrap_bradley_terry,
    bradley_terry,
    cyclic_share,
    elo_ratings,
    majority_cycles,
    transitive_part,
)

RPS = np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]])


def planted(ratings: Floats, matches: int) -> Floats:
    """Return the expected number of wins of each pair."""
    return matches / (1 + np.exp(-(ratings[:, None] - ratings[None, :])))


def test_two_players_are_apart_by_the_log_odds() -> None:
    """By hand: 30 wins to 10 are odds of 3, so ratings +-ln(3)/2, and the variance of the difference is 1/30 + 1/10."""
    found = bradley_terry([[0, 30], [10, 0]])
    assert found.values == pytest.approx([math.log(3) / 2, -math.log(3) / 2])
    contrast = np.array([1.0, -1.0])
    assert contrast @ found.covariance @ contrast == pytest.approx(1 / 30 + 1 / 10)
    assert found.half_widths[0] == pytest.approx(1.959964 * math.sqrt(1 / 30 + 1 / 10) / 2, rel=1e-6)
    assert found.win_probabilities()[0, 1] == pytest.approx(0.75)


def test_400_points_of_elo_are_odds_of_10() -> None:
    """The definition of Elo's scale; the mean is 1500."""
    values, low, high = bradley_terry([[0, 10], [1, 0]]).on_elo_scale()
    assert values == pytest.approx([1700, 1300])
    assert (low < values).all()
    assert (values < high).all()


def test_planted_ratings_are_recovered() -> None:
    """Expected counts are the likelihood equations themselves; 4000 sampled matches a pair come within 0.1 nats."""
    truth = np.array([1.5, 0.4, 0.0, -0.6, -1.3])
    assert bradley_terry(planted(truth, 100)).values == pytest.approx(truth, abs=1e-8)
    rng = np.random.default_rng(0)
    above = np.triu(rng.binomial(4000, planted(truth, 1)), 1)
    sampled = bradley_terry(above + np.tril(4000 - above.T, -1))
    assert sampled.values == pytest.approx(truth, abs=0.1)


def test_intervals_cover_planted_ratings_as_often_as_they_say() -> None:
    """Of 5 x 200 intervals of 95 %, between 93 and 97 % hold the truth (a standard error of 1000 draws is 0.7 %)."""
    truth, rng, covered = np.array([1.0, 0.5, 0.0, -0.5, -1.0]), np.random.default_rng(1), []
    for _ in range(200):
        above = np.triu(rng.binomial(60, planted(truth, 1)), 1)
        found = bradley_terry(above + np.triu(60 - above, 1).T)
        covered.append((found.low <= truth) & (truth <= found.high))
    assert 0.93 < np.mean(covered) < 0.97


@given(seed=st.integers(0, 200))
def test_the_order_of_players_does_not_matter(seed: int) -> None:
    """A permutation of players permutes their ratings; the mean is 0; the likelihood equations hold."""
    rng = np.random.default_rng(seed)
    wins, order = rng.integers(1, 30, size=(4, 4)), rng.permutation(4)
    found, permuted = bradley_terry(wins), bradley_terry(wins[np.ix_(order, order)])
    assert permuted.values == pytest.approx(found.values[order], abs=1e-7)
    assert found.values.mean() == pytest.approx(0, abs=1e-12)
    np.fill_diagonal(wins, 0)
    expected = (wins + wins.T) * found.win_probabilities()
    assert expected.sum(1) == pytest.approx(wins.sum(1), abs=1e-6)


def test_a_tie_is_half_a_win_for_both() -> None:
    """10 ties are 5 wins each."""
    ties = np.array([[0, 10], [10, 0]])
    assert bradley_terry([[0, 20], [5, 0]], ties=ties).values == pytest.approx(bradley_terry([[0, 25], [10, 0]]).values)
    with pytest.raises(ValueError, match="ties: expected a symmetric matrix"):
        bradley_terry([[0, 1], [1, 0]], ties=[[0, 2], [1, 0]])


def test_ratings_that_the_data_do_not_identify_are_an_error() -> None:
    """Ford (1957): two groups that never met, and a player that won all, have no finite ratings; a prior gives some."""
    apart = np.kron(np.eye(2), [[0, 3], [2, 0]])
    with pytest.raises(ValueError, match=r"never met: \[\[0, 1\], \[2, 3\]\]"):
        bradley_terry(apart)
    unbeaten = [[0, 5, 5], [0, 0, 3], [0, 2, 0]]
    with pytest.raises(ValueError, match=r"never lost to the others, or never won: .*l2 > 0"):
        bradley_terry(unbeaten)
    assert bradley_terry(apart, l2=0.1).values[[0, 2]] == pytest.approx(bradley_terry(apart, l2=0.1).values[[2, 0]])
    assert bradley_terry(unbeaten, l2=0.1).values.argmax() == 0


def test_a_prior_pulls_ratings_together_as_its_weight_says() -> None:
    """The equation of one pair, 10 - 10 sigmoid(2r) = l2 r, holds for 10 wins to 0."""
    found = bradley_terry([[0, 10], [0, 0]], l2=0.5)
    r = found.values[0]
    assert 10 - 10 / (1 + math.exp(-2 * r)) == pytest.approx(0.5 * r, abs=1e-6)


def test_bootstrap_intervals_agree_with_the_curvature() -> None:
    """Two estimates of one spread, for 200 matches a pair: within 15 %."""
    truth = np.array([0.8, 0.0, -0.8])
    wins = planted(truth, 200).round()
    np.fill_diagonal(wins, 0)
    wins = np.triu(wins) + np.tril(200 - wins.T, -1)
    resampled = bootstrap_bradley_terry(wins, np.random.default_rng(0), l2=1e-6, num_resamples=400)
    curvature = np.sqrt(np.diag(bradley_terry(wins).covariance))
    assert resampled.std(axis=0) == pytest.approx(curvature, rel=0.15)
    with pytest.raises(ValueError, match="l2"):
        bootstrap_bradley_terry(wins, np.random.default_rng(0), l2=0.0)


def test_elo_depends_on_the_order_of_play() -> None:
    """By hand: K / 2 for a win between equals, and less for the next; reversed, the winner of the last is ahead."""
    assert elo_ratings([(0, 1, 1.0)], 2, k_factor=32.0).tolist() == [1516.0, 1484.0]
    forth, back = elo_ratings([(0, 1, 1.0), (0, 1, 0.0)], 2), elo_ratings([(0, 1, 0.0), (0, 1, 1.0)], 2)
    assert forth[0] < 1500 < back[0]


def test_rock_paper_scissors_is_all_cycle_and_ranked_strengths_none() -> None:
    """The cyclic share is 1 and 0; ratings of the one are all equal, and the other is its own transitive part."""
    strengths = np.array([3.0, 1.0, 0.0])
    ranked = strengths[:, None] - strengths[None, :]
    assert cyclic_share(RPS) == pytest.approx(1)
    assert majority_cycles(RPS) == [(0, 2, 1)]
    assert cyclic_share(ranked) == pytest.approx(0, abs=1e-12)
    assert transitive_part(ranked) == pytest.approx(ranked)
    assert majority_cycles(ranked) == []
    assert bradley_terry(10 + 5 * RPS).values == pytest.approx([0, 0, 0], abs=1e-9)


@given(seed=st.integers(0, 100))
def test_the_parts_are_orthogonal(seed: int) -> None:
    """Pythagoras: shares of a mixture of a cycle and an order add up to 1."""
    matrix = np.random.default_rng(seed).normal(size=(5, 5))
    advantage, part = (matrix - matrix.T) / 2, transitive_part(matrix)
    assert np.sum(part * (advantage - part)) == pytest.approx(0, abs=1e-9)
    assert cyclic_share(matrix) == pytest.approx(1 - np.square(part).sum() / np.square(advantage).sum())


def test_cycles_of_four_are_found_where_ties_hide_threes() -> None:
    """0 beats 1 beats 2 beats 3 beats 0, the diagonals tied: no cycle of three, one of four."""
    matrix = np.zeros((4, 4))
    for winner, loser in pairwise([0, 1, 2, 3, 0]):
        matrix[winner, loser] = 1
    assert majority_cycles(matrix) == []
    assert majority_cycles(matrix, max_length=4) == [(0, 1, 2, 3)]
    assert majority_cycles(matrix, max_length=4, margin=1.0) == []
