"""Gambit on our files: the same returns, values and equilibria."""

from typing import Any

import numpy as np
import pytest

from duologue.baselines.solvers.linear_programs import solve_zero_sum
from duologue.envs import LanguageGame
from duologue.envs.bridges.efg import read_efg, write_efg
from duologue.envs.bridges.explicit import ExplicitGame, ExplicitNode
from duologue.envs.games.kuhn_poker import KuhnPoker
from duologue.envs.games.random_game import RandomGame
from duologue.envs.games.tiny_bargaining import TinyBargaining
from duologue.envs.tree.analysis import (
    TERMINAL,
    GameTree,
    Profile,
    best_response_gains,
    expected_returns,
    nash_conv,
    uniform_profile,
)
from duologue.tests.envs.bridges.helpers import (
    TOLERANCE,
    at_leaves,
    efg_of,
    infoset_names,
    random_nodes,
    random_profile,
)

pygambit = pytest.importorskip("pygambit", reason="pygambit has no wheel; `make gambit` builds it")


def gambit_game(text: str, tmp_path: Any) -> Any:
    """Gambit's reading of the text of an .efg file."""
    path = tmp_path / "game.efg"
    path.write_text(text, encoding="utf-8")
    return pygambit.read_efg(path)


def numbers(tree: GameTree) -> list[dict[str, int]]:
    """The number of each information set by the name that `write_efg` gives it."""
    return [{tree.infostate_text(p, k): k for k in range(tree.tables[p].num_infostates)} for p in (0, 1)]


def from_gambit(tree: GameTree, behaviour: Any) -> Profile:
    """Gambit's behaviour profile of `write_efg(tree)` as ours; it leaves zeros where its linear program never comes."""
    policies = [table.uniform() for table in tree.tables]
    for player, (names, gambit_player) in enumerate(zip(numbers(tree), behaviour.game.players, strict=True)):
        for infoset in gambit_player.infosets:
            k, table = names[infoset.label], tree.tables[player]
            chosen = [float(behaviour[action]) for action in infoset.actions]
            policies[player][table.offsets[k] : table.offsets[k + 1]] = chosen
    return tree.tables[0].normalise(policies[0]), tree.tables[1].normalise(policies[1])


def to_gambit(tree: GameTree, profile: Profile, game: Any, names: list[dict[str, int]]) -> Any:
    """Our profile as Gambit's; information sets by name, actions in the same order."""
    behaviour = game.mixed_behavior_profile()
    for player, gambit_player in enumerate(game.players):
        for infoset in gambit_player.infosets:
            k, table = names[player][infoset.label], tree.tables[player]
            probabilities = profile[player][table.offsets[k] : table.offsets[k + 1]]
            for action, probability in zip(infoset.actions, probabilities.tolist(), strict=True):
                behaviour[action] = probability
    return behaviour


def returns_by_gambit(game: Any, behaviour: Any) -> np.ndarray[Any, Any]:
    """What Gambit says both players can expect."""
    return np.array([float(behaviour.payoff(player)) for player in game.players])


ZERO_SUM = [KuhnPoker(), *(RandomGame(seed, num_turns=3, num_deals=2) for seed in range(6))]
GENERAL = [TinyBargaining(), *(RandomGame(seed, payoff="general", num_turns=4, num_deals=3) for seed in range(6))]


@pytest.mark.parametrize("game", ZERO_SUM + GENERAL)
def test_gambit_agrees_on_returns(game: LanguageGame[Any], tmp_path: Any) -> None:
    """Gambit reads the file and evaluates a random profile."""
    tree = GameTree(game)
    theirs = gambit_game(write_efg(tree), tmp_path)
    assert [len(player.infosets) for player in theirs.players] == [table.num_infostates for table in tree.tables]
    profile = random_profile(tree, 5)
    returns = returns_by_gambit(theirs, to_gambit(tree, profile, theirs, numbers(tree)))
    np.testing.assert_allclose(returns, expected_returns(tree, profile), rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("seed", range(20))
def test_gambit_agrees_where_outcomes_stand_anywhere(seed: int, tmp_path: Any) -> None:
    """Both read one file with chance and pay at inner nodes; Gambit keeps them there, we move them."""
    nodes = random_nodes(seed)
    text = efg_of(nodes)
    theirs, tree = gambit_game(text, tmp_path), GameTree(read_efg(text))
    words = [infoset_names(tree, player) for player in (0, 1)]
    labels = [
        {infoset.label: named[infoset.label.replace(" ", "_")] for infoset in player.infosets}
        for named, player in zip(words, theirs.players, strict=True)
    ]
    profile = random_profile(tree, seed)
    returns = returns_by_gambit(theirs, to_gambit(tree, profile, theirs, labels))
    np.testing.assert_allclose(returns, expected_returns(tree, profile), rtol=0, atol=TOLERANCE)
    moved = GameTree(read_efg(efg_of(at_leaves(nodes))))
    np.testing.assert_allclose(returns, expected_returns(moved, profile), rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("solver", ["lp_solve", "lcp_solve"])
@pytest.mark.parametrize("game", ZERO_SUM)
def test_gambit_finds_the_same_value_and_an_equilibrium(game: LanguageGame[Any], solver: str, tmp_path: Any) -> None:
    """Gambit's linear program and its linear complementarity program against our linear program."""
    tree = GameTree(game)
    theirs = gambit_game(write_efg(tree), tmp_path)
    found = getattr(pygambit.nash, solver)(theirs, rational=False).equilibria[0]
    assert solve_zero_sum(tree).value == pytest.approx(float(found.payoff(next(iter(theirs.players)))), abs=TOLERANCE)
    assert nash_conv(tree, from_gambit(tree, found)) == pytest.approx(0, abs=TOLERANCE)


def test_kuhn_poker_is_worth_minus_one_eighteenth_in_gambit_s_exact_arithmetic(tmp_path: Any) -> None:
    """Kuhn (1950), here by rational pivoting over the file that we wrote: nothing was rounded on the way."""
    theirs = gambit_game(write_efg(GameTree(KuhnPoker())), tmp_path)
    found = pygambit.nash.lp_solve(theirs, rational=True).equilibria[0]
    assert str(found.payoff(next(iter(theirs.players)))) == "-1/18"


BATTLE = ((2.0, 1.0), (0.0, 0.0), (0.0, 0.0), (1.0, 2.0))


@pytest.mark.parametrize(("solver", "count"), [("enumpure_solve", 2), ("enummixed_solve", 3)])
def test_gambit_s_equilibria_of_a_two_by_two_game_are_ours(solver: str, count: int, tmp_path: Any) -> None:
    """Battle of the sexes has two pure equilibria and a mixed one (Luce & Raiffa, 1957); no gain at any of them."""
    nodes = [
        ExplicitNode(0, "one", ("opera", "football"), (1, 2)),
        ExplicitNode(1, "two", ("opera", "football"), (3, 4)),
        ExplicitNode(1, "two", ("opera", "football"), (5, 6)),
        *(ExplicitNode(TERMINAL, rewards=pay) for pay in BATTLE),
    ]
    tree = GameTree(ExplicitGame(nodes))
    theirs = gambit_game(write_efg(tree), tmp_path)
    found = getattr(pygambit.nash, solver)(theirs).equilibria
    assert len(found) == count
    for equilibrium in found:
        profile = from_gambit(tree, equilibrium.as_behavior())
        np.testing.assert_allclose(best_response_gains(tree, profile), 0, atol=1e-12)
    assert nash_conv(tree, uniform_profile(tree)) > 0.1
