"""Random games: the same everywhere, of the declared type and size, with the information that was asked for."""

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from duologue.envs import Dialogue, Turn
from duologue.envs.games.random_game import RandomGame
from duologue.envs.testing.conformance import check_game
from duologue.envs.tree.analysis import TERMINAL, GameTree, nash_conv, prefix_returns, uniform_profile
from duologue.tests.envs.games.helpers import played

RICH: dict[str, Any] = {
    "num_turns": 3,
    "max_turn_tokens": 2,
    "max_thought_tokens": 1,
    "payoff": "general",
    "pays_every_turn": True,
    "irregular": True,
}
OPTIONS = st.fixed_dictionaries(
    {
        "seed": st.integers(0, 10**6),
        "num_turns": st.integers(1, 4),
        "branching": st.integers(1, 3),
        "num_deals": st.integers(1, 3),
        "payoff": st.sampled_from(["zero_sum", "identical", "general"]),
        "hidden_share": st.sampled_from([0.0, 0.5, 1.0]),
        "pays_every_turn": st.booleans(),
        "irregular": st.booleans(),
    }
)
GOLDEN = """\
[player one is told] deal0
[player two is told] unknown
player one: word0
player two: word1
player one: word0
player two: word1
[rewards] -0.842293 +0.842293
[over] returns -0.842293 +0.842293"""


@pytest.mark.parametrize("options", [{}, {"hidden_share": 1.0}, {"payoff": "identical"}, RICH, {**RICH, "seed": 5}])
def test_random_games_keep_the_contract(options: dict[str, Any]) -> None:
    """The conformance suite."""
    check_game(RandomGame(**options))


def test_random_game_golden_transcript() -> None:
    """Seed 0 means this game on every platform; a diff here is a changed rule, which is a new version."""
    assert played(RandomGame(0), 0, "word0 word1 word0 word1").transcript() == GOLDEN


def test_rewards_come_from_the_seed_and_not_from_salted_hashes() -> None:
    """Another interpreter, with another salt for its hashes of strings, makes the same game."""
    code = (
        "import sys; sys.path[:] = sys.argv[1:]\n"
        "from duologue.envs import Dialogue\nfrom duologue.envs.games.random_game import RandomGame\n"
        "game = RandomGame(11, num_turns=2, payoff='general')\n"
        "print([game.rewards(Dialogue(d, ((a,), (b,)))) for d in (0, 1) for a in game.words for b in game.words])"
    )
    printed = {
        subprocess.run(
            [sys.executable, "-c", code, *sys.path],
            env={"PYTHONHASHSEED": salt},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for salt in ("1", "2")
    }
    assert len(printed) == 1


@given(options=OPTIONS)
@settings(max_examples=60)
def test_random_games_have_trees_with_perfect_recall(options: dict[str, Any]) -> None:
    """`GameTree` raises if a player forgets, if legal tokens differ in one infostate or if the payoff type fails."""
    tree = GameTree(RandomGame(**options))
    assert nash_conv(tree, uniform_profile(tree)) >= -1e-12
    if options["hidden_share"] == 0:
        assert tree.is_perfect_information


@given(options=OPTIONS, num_turns=st.integers(1, 4))
@settings(max_examples=20)
def test_the_size_of_a_regular_game_is_a_formula(options: dict[str, Any], num_turns: int) -> None:
    """1 + num_deals * (1 + b + ... + b^num_turns), each deal the root of a full tree."""
    options = {**options, "irregular": False, "num_turns": num_turns}
    full = sum(options["branching"] ** k for k in range(num_turns + 1))
    assert GameTree(RandomGame(**options)).num_nodes == 1 + options["num_deals"] * full


def test_hidden_information_merges_infostates() -> None:
    """With nothing heard and no deal known, a player with k turns knows its own words only: 2^k - 1 infostates."""
    hidden, visible = (GameTree(RandomGame(1, num_turns=4, hidden_share=share)) for share in (1.0, 0.0))
    turns = [sum(speaker == player for speaker in _speakers(hidden)) for player in (0, 1)]
    assert [table.num_infostates for table in hidden.tables] == [2**count - 1 for count in turns]
    assert sum(table.num_infostates for table in visible.tables) == 2 * (2**4 - 1)


def _speakers(tree: GameTree) -> list[int]:
    """Return who speaks in each turn; node 1 is the first deal, and each level has one speaker."""
    return [int(tree.player[level.start]) for level in tree.levels[1:-1]]


@pytest.mark.parametrize("pays_every_turn", [False, True])
def test_when_rewards_are_paid(pays_every_turn: bool) -> None:
    """At the end only, or after every turn; a uniform draw is never exactly 0."""
    tree = GameTree(RandomGame(2, num_turns=3, pays_every_turn=pays_every_turn))
    paid, spoken = tree.rewards[:, 0] != 0, tree.token >= 0
    assert (paid == (spoken if pays_every_turn else tree.player == TERMINAL)).all()


def test_rewards_look_uniform() -> None:
    """Mean 0 and variance 1/3 of U[-1, 1], four standard errors of 2^13 draws."""
    tree = GameTree(RandomGame(4, num_turns=12, num_deals=2, payoff="general"))
    returns = prefix_returns(tree)[tree.player == TERMINAL]
    assert len(returns) == 2**13
    error = 4 / np.sqrt(3 * len(returns))
    assert np.abs(returns.mean(0)).max() < error
    assert returns.var(0) == pytest.approx([1 / 3, 1 / 3], abs=error)
    assert abs(np.corrcoef(returns.T)[0, 1]) < 4 / np.sqrt(len(returns))


def test_irregular_games_vary_in_length_and_in_words() -> None:
    """Some lines of play end early, and some infostates offer fewer words than others."""
    tree = GameTree(RandomGame(3, num_turns=5, branching=3, irregular=True))
    depths = {len(tree.path(node)) - 1 for node in np.flatnonzero(tree.player == TERMINAL).tolist()}
    widths = {int(width) for table in tree.tables for width in np.diff(table.offsets)}
    assert len(depths) > 1
    assert len(widths) > 1


def test_turns_of_several_words_are_told_apart() -> None:
    """(a, b) (a) and (a) (b, a) are the same words in other turns, and other plays."""
    game = RandomGame(0, num_turns=2, max_turn_tokens=2)
    a, b = game.words
    first, second = Dialogue(0, ((a, b), (a,))), Dialogue(0, ((a,), (b, a)))
    assert game.rewards(first) != game.rewards(second)
    assert game.rewards(first) == game.rewards(Dialogue(0, (Turn((a, b), (b,)), Turn((a,)))))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seed": 0.5}, r"seed: expected a whole number, got 0\.5"),
        ({"num_turns": 0}, "num_turns: expected a whole number of at least 1, got 0"),
        ({"branching": 1.5}, r"branching: expected a whole number of at least 1, got 1\.5"),
        ({"num_deals": 0}, "num_deals: expected a whole number of at least 1, got 0"),
        ({"max_turn_tokens": 0}, "max_turn_tokens: expected a whole number of at least 1, got 0"),
        ({"max_thought_tokens": -1}, "max_thought_tokens: expected a whole number of at least 0, got -1"),
        ({"hidden_share": 2}, r"hidden_share: expected a number in \[0, 1\], got 2"),
        ({"payoff": "mixed"}, "payoff: expected one of zero_sum, identical, general, got 'mixed'"),
    ],
)
def test_bad_options_are_named(options: dict[str, Any], message: str) -> None:
    """The message names the option, what was expected and what came."""
    with pytest.raises(ValueError, match=message):
        RandomGame(**options)
