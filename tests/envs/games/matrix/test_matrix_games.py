"""The named matrix games and the dictator game have the values and the equilibria that their pages state."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest

from duologue.envs import Episode, LanguageGame, Payoff
from duologue.envs.games.matrix import MatrixGame
from duologue.envs.games.matrix.battle_of_the_sexes import BattleOfTheSexes
from duologue.envs.games.matrix.dictator import Dictator
from duologue.envs.games.matrix.matching_pennies import MatchingPennies
from duologue.envs.games.matrix.perturbed_rock_paper_scissors import PerturbedRockPaperScissors
from duologue.envs.games.matrix.prisoners_dilemma import PrisonersDilemma
from duologue.envs.games.matrix.ring_network import RingNetwork
from duologue.envs.games.matrix.rock_paper_scissors import RockPaperScissors
from duologue.envs.testing.conformance import check_game
from duologue.envs.tree.analysis import GameTree, best_response_gains, expected_returns, nash_conv, uniform_profile
from duologue.tests.envs.games.matrix.helpers import (
    Rounds,
    follow,
    gains,
    optimal_range,
    played_payoffs,
    profile,
    pure_equilibria,
)

GAMES: list[LanguageGame[Any]] = [
    RockPaperScissors(num_rounds=2),
    PerturbedRockPaperScissors(),
    PerturbedRockPaperScissors(rescale=True, num_rounds=2),
    MatchingPennies(num_rounds=3),
    PrisonersDilemma(num_rounds=2),
    BattleOfTheSexes(),
    RingNetwork(variant=2),
    Dictator(),
]
DICTATOR_GOLDEN = """\
dictator: three
[rewards] +7 +3
recipient: thanks
[over] returns +7 +3"""


@pytest.mark.parametrize("game", GAMES, ids=lambda game: type(game).__name__)
def test_game_keeps_every_contract(game: LanguageGame[Any]) -> None:
    """The conformance suite, on options other than the defaults, which the registry's tests cover."""
    check_game(game, episodes=8)


@pytest.mark.parametrize(
    ("game", "equilibrium", "value"),
    [
        (RockPaperScissors(), [1 / 3, 1 / 3, 1 / 3], 0),
        (PerturbedRockPaperScissors(), [1 / 7, 3 / 7, 3 / 7], 0),
        (PerturbedRockPaperScissors(rescale=True), [1 / 7, 3 / 7, 3 / 7], 1 / 2),
        (MatchingPennies(), [1 / 2, 1 / 2], 0),
    ],
)
def test_zero_sum_game_has_one_equilibrium(game: MatrixGame, equilibrium: list[float], value: float) -> None:
    """Closed forms; that no other policy secures the value is found by linear programming, for both players."""
    tree, both = GameTree(game), profile(equilibrium, equilibrium)
    assert nash_conv(tree, both) == pytest.approx(0, abs=1e-12)
    assert expected_returns(tree, both) == pytest.approx([value, -value], abs=1e-12)
    payoffs = played_payoffs(game)
    for own, worth in ((payoffs[0], value), (payoffs[1].T, -value)):
        assert optimal_range(own, worth) == pytest.approx(np.array([equilibrium, equilibrium]), abs=1e-9)


def test_rock_paper_scissors_in_words() -> None:
    """Rock beats scissors, paper beats rock, scissors beat paper; a word draws with itself."""
    assert played_payoffs(RockPaperScissors())[0].tolist() == [[0, -1, 1], [1, 0, -1], [-1, 1, 0]]


def test_reference_nash_conv_of_rock_paper_scissors() -> None:
    """(.4, .3, .3) against (.3, .4, .3): the first row of the table for Hedge, .2000; pure policies: 2."""
    tree = GameTree(RockPaperScissors())
    assert nash_conv(tree, profile([0.4, 0.3, 0.3], [0.3, 0.4, 0.3])) == pytest.approx(0.2, abs=1e-12)
    assert {nash_conv(tree, (x, y)) for x, y in product(np.eye(3), repeat=2)} == {2.0}


@pytest.mark.parametrize(("rescale", "nash_conv_of_uniform"), [(False, 4 / 3), (True, 2 / 9)])
def test_reference_nash_conv_of_perturbed_rock_paper_scissors(rescale: bool, nash_conv_of_uniform: float) -> None:
    """Exploitability at the start 1/9 for payoffs in [0, 1] (Sokota et al., 2023), and six times that unscaled."""
    game = PerturbedRockPaperScissors(rescale=rescale)
    tree = GameTree(game)
    assert nash_conv(tree, uniform_profile(tree)) == pytest.approx(nash_conv_of_uniform, abs=1e-12)
    extremes = game.payoff_matrices[0].min(), game.payoff_matrices[0].max()
    assert extremes == ((0, 1) if rescale else (-3, 3))


@pytest.mark.parametrize("game_class", [RockPaperScissors, MatchingPennies])
@pytest.mark.parametrize("num_rounds", [2, 3])
def test_equilibrium_of_one_round_played_in_every_round_is_one(
    game_class: type[RockPaperScissors | MatchingPennies], num_rounds: int
) -> None:
    """Nothing said before changes what a round pays; always the same word is worth 2 a round to best replies."""
    tree = GameTree(game_class(num_rounds=num_rounds))
    assert nash_conv(tree, uniform_profile(tree)) == pytest.approx(0, abs=1e-12)
    word = tree.game.vocabulary.decode([int(tree.tables[0].tokens[0])])
    always = follow(tree, 0, lambda rounds: word), follow(tree, 1, lambda rounds: word)
    assert nash_conv(tree, always) == pytest.approx(2 * num_rounds, abs=1e-12)


def test_defection_is_dominant_and_bad_for_both() -> None:
    """Axelrod's payoffs, 5 > 3 > 1 > 0, with 2 * 3 > 5 + 0."""
    payoffs = played_payoffs(PrisonersDilemma())
    assert payoffs[0].tolist() == [[3, 0], [5, 1]]
    assert payoffs[1].tolist() == [[3, 5], [0, 1]]
    assert pure_equilibria(payoffs) == [(1, 1)]
    assert (payoffs[0][1] > payoffs[0][0]).all()
    assert (payoffs[1][:, 1] > payoffs[1][:, 0]).all()


@pytest.mark.parametrize("num_rounds", [1, 2, 3])
def test_cooperation_unravels_from_the_last_round(num_rounds: int) -> None:
    """Luce and Raiffa (1957), section 5.5: defection is an equilibrium, cooperation until defection is none."""

    def grim(player: int) -> Any:
        return lambda rounds: "defect" if any(r[1 - player] == "defect" for r in rounds) else "cooperate"

    tree = GameTree(PrisonersDilemma(num_rounds=num_rounds))
    defectors = follow(tree, 0, lambda rounds: "defect"), follow(tree, 1, lambda rounds: "defect")
    assert nash_conv(tree, defectors) == 0
    assert expected_returns(tree, defectors).tolist() == [num_rounds, num_rounds]
    cooperators = follow(tree, 0, grim(0)), follow(tree, 1, grim(1))
    assert expected_returns(tree, cooperators).tolist() == [3 * num_rounds, 3 * num_rounds]
    assert best_response_gains(tree, cooperators) == pytest.approx([2, 2])


def test_battle_of_the_sexes_has_three_equilibria() -> None:
    """Luce and Raiffa (1957), section 5.3; on a grid of twelfths no other pair of policies is an equilibrium."""
    tree, payoffs = GameTree(BattleOfTheSexes()), played_payoffs(BattleOfTheSexes())
    shares = [np.array([k, 12 - k]) / 12 for k in range(13)]
    found = [(x, y) for x, y in product(shares, repeat=2) if gains(payoffs, x, y).max() < 1e-9]
    assert [(round(12 * x[0]), round(12 * y[0])) for x, y in found] == [(0, 0), (8, 4), (12, 12)]
    values = [expected_returns(tree, both) for both in found]
    assert np.array(values) == pytest.approx(np.array([[1, 2], [2 / 3, 2 / 3], [2, 1]]))
    assert [nash_conv(tree, both) for both in found] == pytest.approx([0, 0, 0], abs=1e-12)


@pytest.mark.parametrize(("variant", "words", "value"), [(1, ("b", "y"), (12, 9)), (2, ("a", "x"), (10, 9))])
def test_dominance_solves_the_ring(variant: int, words: tuple[str, str], value: tuple[int, int]) -> None:
    """Player 1's payoff ignores player 0's word and has a strict maximum; player 0's best reply to it is unique."""
    game = RingNetwork(variant=variant)
    payoffs = played_payoffs(game)
    assert (payoffs[1] == payoffs[1][0]).all()
    best = int(payoffs[1][0].argmax())
    assert np.count_nonzero(payoffs[1][0] == payoffs[1][0, best]) == 1
    reply = int(payoffs[0][:, best].argmax())
    said = game.action_tokens[0][reply], game.action_tokens[1][best]
    assert tuple(game.vocabulary.decode([token]) for token in said) == words
    assert (payoffs[0, reply, best], payoffs[1, reply, best]) == value
    assert pure_equilibria(payoffs) == [(reply, best)]
    assert nash_conv(GameTree(game), (np.eye(3)[reply], np.eye(3)[best])) == 0


def test_ring_tells_belief_in_rationality_from_its_absence() -> None:
    """Player 0's table is the same in both variants, has no dominated row, and says c against uniform play."""
    first, second = (played_payoffs(RingNetwork(variant=variant))[0] for variant in (1, 2))
    assert (first == second).all()
    assert sorted(first.argmax(axis=0)) == [0, 1, 2]
    assert np.flatnonzero(first.sum(axis=1) == first.sum(axis=1).max()).tolist() == [2]


def test_dictator_keeps_everything() -> None:
    """To give nothing is strictly dominant: (10, 0); a uniform gift leaves 5 to both and 5 to be gained."""
    tree = GameTree(Dictator())
    nothing = np.eye(11)[0]
    thanks = np.ones(11)
    assert tree.tables[1].num_infostates == 11
    assert nash_conv(tree, (nothing, thanks)) == 0
    assert expected_returns(tree, (nothing, thanks)).tolist() == [10, 0]
    assert expected_returns(tree, uniform_profile(tree)) == pytest.approx([5, 5])
    assert best_response_gains(tree, uniform_profile(tree)) == pytest.approx([5, 0])


def test_dictator_golden_transcript() -> None:
    """A diff here is a changed rule, which is a new version."""
    game, episode = Dictator(), Episode(Dictator(), None)
    for token in game.vocabulary.encode("three thanks"):
        episode.push(token)
    assert episode.transcript() == DICTATOR_GOLDEN


def test_payoff_types() -> None:
    """As the pages state; ten coins are a constant sum, which is not a zero sum."""
    assert [game.payoff for game in GAMES] == [Payoff.ZERO_SUM] * 4 + [Payoff.GENERAL] * 4


def test_rules_of_follow() -> None:
    """The helper shows a rule all finished rounds and nothing of the open one."""
    seen: set[tuple[tuple[str, str], ...]] = set()

    def defect(rounds: Rounds) -> str:
        seen.add(tuple(rounds))
        return "defect"

    words = ("cooperate", "defect")
    follow(GameTree(PrisonersDilemma(num_rounds=2)), 1, defect)
    assert seen == {(), *((pair,) for pair in product(words, words))}


@pytest.mark.parametrize("variant", [0, 3, "1"])
def test_unknown_variant_is_named(variant: Any) -> None:
    """The thing, what was expected, what came."""
    with pytest.raises(ValueError, match=f"variant: expected an integer from 1 to 2, got {variant!r}"):
        RingNetwork(variant=variant)
