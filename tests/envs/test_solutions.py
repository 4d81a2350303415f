"""What games state beyond their rules: solutions are solutions, and examples do not give the answer away."""

from typing import Any

import numpy as np
import pytest

from duologue.envs import LanguageGame, make_game, registered_games
from duologue.envs.games.bluff import Bluff
from duologue.envs.games.running_sum import RunningSum
from duologue.envs.games.secret_code import SecretCode
from duologue.envs.games.statements import Statements
from duologue.envs.solutions import POOL_SIZE, HasDemonstrations, HasSolutions, OtherSolutions, examples_of

SOLVED = ("running_sum-v0", "secret_code-v0", "statements-v0")


@pytest.mark.parametrize("name", SOLVED)
def test_a_solution_earns_the_best_return(name: str) -> None:
    """1 to both players in all three games, by their pages; so does every demonstration, whose deals are drawn."""
    game = make_game(name)
    assert isinstance(game, HasSolutions)
    assert isinstance(game, HasDemonstrations)
    for deal in list(game.deals.outcomes() or ())[:30]:
        dialogue = game.solution(deal)
        assert game.next_player(dialogue) is None
        assert game.rewards(dialogue) == (1.0, 1.0)
    made = game.demonstrations("ideal", np.random.default_rng(0), 10)
    assert {game.rewards(dialogue) for dialogue in made} == {(1.0, 1.0)}


def test_these_games_state_solutions() -> None:
    """The list above is complete: another registered game that states them must be tested with them."""
    games = (make_game(name) for name in registered_games() if name != "red_team_text-v0")
    solved = {type(game).__name__ for game in games if isinstance(game, HasSolutions)}
    assert solved == {type(make_game(name)).__name__ for name in SOLVED}


@pytest.mark.parametrize("game", [Statements(), RunningSum(2, 3)], ids=["statements", "running_sum"])
def test_examples_are_the_solutions_of_the_other_deals(game: LanguageGame[Any]) -> None:
    """All of them, and never the question that is asked."""
    deals = list(game.deals.outcomes() or ())
    for deal in deals:
        assert [example.deal for example in examples_of(game)(deal)] == [other for other in deals if other != deal]


def test_a_game_chooses_its_own_examples() -> None:
    """A code is given away by all objects, so secret_code-v0 shows that of the deal too."""
    game = SecretCode((1, 0))
    assert examples_of(game)(0) == [game.solution(0), game.solution(1)]


@pytest.mark.parametrize("num_terms", [7, 10])
def test_examples_are_drawn_where_there_are_many_deals(num_terms: int) -> None:
    """3^7 = 2,187 deals are listed and 3^10 are not; the same pool is drawn each time, without doubles."""
    game = RunningSum(3, num_terms)
    pools = [OtherSolutions(game, game.solution)((0,) * num_terms) for _ in range(2)]
    assert pools[0] == pools[1]
    assert POOL_SIZE / 2 < len(pools[0]) <= POOL_SIZE
    assert len({example.deal for example in pools[0]}) == len(pools[0])


def test_a_game_without_solutions_has_no_examples() -> None:
    """What a game of bluff should be answered depends on who plays."""
    with pytest.raises(ValueError, match=r"Bluff: expected a game that states solved episodes, by solution\(deal\)"):
        examples_of(Bluff())
