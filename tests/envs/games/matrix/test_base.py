"""Any matrix in words: rules, rounds, payoff types, the bounds on what a forfeit costs, and bad input."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from duologue.envs import Episode, LanguageGameEnv, Payoff
from duologue.envs.games.matrix import MatrixGame
from duologue.envs.games.matrix.rock_paper_scissors import RockPaperScissors
from duologue.envs.testing.conformance import check_game
from duologue.envs.tree.analysis import GameTree, counterfactual_values, expected_returns, nash_conv
from duologue.envs.vocabulary import BOS, EOS, GAME, PLAYER_0, PLAYER_1
from duologue.tests.envs.games.matrix.helpers import gains, played, played_payoffs

GOLDEN = """\
player one: paper
player two: rock
[rewards] +1 -1
player one: rock
player two: paper
[rewards] -1 +1
[over] returns +0 +0"""

SHAPES = st.tuples(st.integers(1, 4), st.integers(1, 4))


def random_matrices(shape: tuple[int, int], seed: int) -> NDArray[np.float64]:
    """Two matrices of normal numbers; shape (2, n, m)."""
    return np.random.default_rng(seed).normal(size=(2, *shape))


def test_golden_transcript_of_two_rounds() -> None:
    """A diff here is a changed rule, which is a new version."""
    assert played(RockPaperScissors(num_rounds=2), "paper rock rock paper").transcript() == GOLDEN


def test_words_are_told_after_the_round_and_not_before() -> None:
    """The views of both players when player 1 is to speak in the second round, token for token."""
    game = RockPaperScissors(num_rounds=2)
    rock, paper, scissors = game.action_tokens[0]
    episode = played(game, "paper rock scissors")
    first = [BOS, PLAYER_0, paper, EOS, GAME, rock, EOS, PLAYER_0, scissors, EOS]
    second = [BOS, PLAYER_1, rock, EOS, GAME, paper, EOS, PLAYER_1]
    for player, expected in ((0, first), (1, second)):
        assert episode.views[player, : episode.lengths[player]].tolist() == expected


def test_nothing_is_told_after_the_last_round() -> None:
    """Player 0 has no decision left that the other's word could serve."""
    game = RockPaperScissors()
    episode = played(game, "paper rock")
    assert episode.over
    assert episode.views[0, : episode.lengths[0]].tolist() == [BOS, PLAYER_0, game.action_tokens[0][1], EOS]


@settings(max_examples=20)
@given(shape=SHAPES, seed=st.integers(0, 2**16))
def test_play_pays_what_the_matrices_say(shape: tuple[int, int], seed: int) -> None:
    """A property of random general-sum games: rows are player 0's words and columns player 1's."""
    first, second = random_matrices(shape, seed)
    assert np.array_equal(played_payoffs(MatrixGame(first, second)), [first, second])


@settings(max_examples=20)
@given(shape=SHAPES, seed=st.integers(0, 2**16))
def test_tree_has_one_infostate_a_player_and_the_values_of_matrix_algebra(shape: tuple[int, int], seed: int) -> None:
    """Actions are numbered as rows and columns are, so that values are A y and x B, returns x A y and x B y."""
    first, second = random_matrices(shape, seed)
    tree = GameTree(MatrixGame(first, second))
    rng = np.random.default_rng(seed)
    x, y = rng.dirichlet(np.ones(shape[0])), rng.dirichlet(np.ones(shape[1]))
    assert [table.num_infostates for table in tree.tables] == [1, 1]
    assert counterfactual_values(tree, 0, (x, y)) == pytest.approx(first @ y, abs=1e-12)
    assert counterfactual_values(tree, 1, (x, y)) == pytest.approx(x @ second, abs=1e-12)
    assert expected_returns(tree, (x, y)) == pytest.approx([x @ first @ y, x @ second @ y], abs=1e-12)
    assert nash_conv(tree, (x, y)) == pytest.approx(gains(np.array([first, second]), x, y).sum(), abs=1e-12)


def test_repeated_game_distinguishes_what_was_said_in_earlier_rounds() -> None:
    """A 2 x 3 game: 1 infostate in round one, 6 in round two, 36 in round three, for each player."""
    tree = GameTree(MatrixGame(np.ones((2, 3)), np.zeros((2, 3)), num_rounds=3))
    assert [table.num_infostates for table in tree.tables] == [43, 43]


@pytest.mark.parametrize(
    ("payoffs_1", "payoff"),
    [
        (None, Payoff.ZERO_SUM),
        ([[-1, -2], [-3, -4]], Payoff.ZERO_SUM),
        ([[1, 2], [3, 4]], Payoff.IDENTICAL),
        ([[-1, -2], [-3, 4]], Payoff.GENERAL),
    ],
)
@pytest.mark.parametrize("num_rounds", [1, 2])
def test_payoff_type_follows_from_the_matrices(payoffs_1: Any, payoff: Payoff, num_rounds: int) -> None:
    """And the game of each type keeps every contract of the engine."""
    game = MatrixGame([[1, 2], [3, 4]], payoffs_1, num_rounds=num_rounds)
    assert game.payoff is payoff
    check_game(game, episodes=8)


@settings(max_examples=20)
@given(shape=SHAPES, seed=st.integers(0, 2**16), num_rounds=st.integers(1, 3), rounds_before=st.integers(0, 2))
def test_no_play_is_worse_than_a_forfeit(
    shape: tuple[int, int], seed: int, num_rounds: int, rounds_before: int
) -> None:
    """To forfeit at any point costs at least as much as the worst payoff in all rounds that are left."""
    game = MatrixGame(*random_matrices(shape, seed), num_rounds=num_rounds)
    rounds_left = num_rounds - min(rounds_before, num_rounds - 1)
    for player in (0, 1):
        assert game.forfeit_rewards(player)[player] <= rounds_left * game.payoff_matrices[player].min()


def test_payoff_matrices_are_a_read_only_copy() -> None:
    """Rules never change, so neither must their tables."""
    payoffs = np.eye(2)
    game = MatrixGame(payoffs)
    payoffs[0, 0] = 7
    assert game.payoff_matrices[0].tolist() == [[1, 0], [0, 1]]
    with pytest.raises(ValueError, match="read-only"):
        game.payoff_matrices[0, 0, 0] = 7


def test_players_may_share_words_or_not() -> None:
    """Each may say its own only; the default words tell rows from columns."""
    game = MatrixGame(np.zeros((2, 3)), words_0="stay go", words_1="stay go wait")
    assert [game.vocabulary.decode(tokens) for tokens in game.action_tokens] == ["stay go", "stay go wait"]
    episode = Episode(game, None)
    assert np.flatnonzero(episode.open_turn.legal_mask).tolist() == list(game.action_tokens[0])
    plain = MatrixGame(np.zeros((1, 2)))
    assert [plain.vocabulary.decode(tokens) for tokens in plain.action_tokens] == ["row_1", "column_1 column_2"]


def test_illegal_word_ends_the_episode_at_the_cost() -> None:
    """Player 0 says a word that only player 1 has; three rounds for at most 2 cost 6."""
    game = MatrixGame([[2, -1]], words_0="stay", words_1="stay go", num_rounds=3)
    env = LanguageGameEnv(game)
    env.reset(seed=0)
    env.step(game.action_tokens[1][1])
    assert (env.rewards["player_0"], env.rewards["player_1"]) == (-6, 6)


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (([1, 2],), {}, r"payoffs_0: expected a matrix of at least one row and one column, got shape \(2,\)"),
        (([[]],), {}, r"payoffs_0: expected a matrix of at least one row and one column, got shape \(1, 0\)"),
        (([[1, 2], [3]],), {}, r"payoffs_0: expected a matrix of numbers, got \[\[1, 2\], \[3\]\]"),
        (([["rock"]],), {}, "payoffs_0: expected a matrix of numbers"),
        (([[1, float("nan")]],), {}, "payoffs_0: expected finite numbers, got nan"),
        (([[1]], [[float("inf")]]), {}, "payoffs_1: expected finite numbers, got inf"),
        (([[1, 2]], [[1], [2]]), {}, r"payoffs_1: expected the shape of payoffs_0, \(1, 2\), got \(2, 1\)"),
        (([[1, 2]],), {"words_1": "left"}, r"words_1: expected 2 different words, one for each column, got"),
        (([[1], [2]],), {"words_0": "up up"}, r"words_0: expected 2 different words, one for each row, got"),
        (([[1]],), {"words_0": ["up there"]}, "words: expected at least one word, each once, without blanks"),
        (
            ([[1, 2], [3, 4]],),
            {"words_0": "up down", "words_1": "down up"},
            r"words_1: expected the words of player 0 first and in its order, got \('down', 'up'\)",
        ),
        (([[1]],), {"num_rounds": 0}, "num_rounds: expected an integer of at least 1, got 0"),
        (([[1]],), {"num_rounds": True}, "num_rounds: expected an integer of at least 1, got True"),
        (([[1]],), {"num_rounds": 2.0}, "num_rounds: expected an integer of at least 1, got 2.0"),
    ],
)
def test_bad_input_is_named(arguments: tuple[Any, ...], options: dict[str, Any], message: str) -> None:
    """The thing, what was expected, what came."""
    with pytest.raises(ValueError, match=message):
        MatrixGame(*arguments, **options)
