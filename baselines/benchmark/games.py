"""The games of the benchmark, how far from solved a result in one is, and the form in which learners play them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ...envs import Dialogue, LanguageGame, Payoff, make_game, registered_games
from ...envs.spoken import PROMPTS
from ...envs.tree.analysis import CHANCE, TERMINAL, GameTree, expected_returns, nash_conv, uniform_profile
from ...envs.tree.game_tree import prefix_returns
from ...envs.wrappers.wrapped import WrappedGame
from ..solvers.linear_programs import solve_zero_sum


@dataclass(frozen=True, kw_only=True)
class BenchGame:
    """One game of the benchmark; it must be small enough to enumerate."""

    title: str
    """What tables show."""
    registered: str
    """Its registered name."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Its options."""

    def make(self, **more: Any) -> LanguageGame[Any]:
        """Return the rules, by further options if any are given."""
        return make_game(self.registered, **self.options, **more)


SOLVED = 1e-6
"""Uniform play that is nearer than this is a solution, and no unit."""
WORST = 3.0
"""What is further from a solution than this many times uniform play counts as that: how far says little."""

GAMES = {
    "rps": BenchGame(
        title="perturbed rock-paper-scissors: zero-sum matrix, interior equilibrium",
        registered="perturbed_rock_paper_scissors-v0",
        options={"rescale": True},
    ),
    "red_team": BenchGame(
        title="tiny red team, intent hidden: zero-sum, asymmetric, one side informed",
        registered="tiny_red_team-v0",
        options={"intent": "hidden"},
    ),
    "kuhn": BenchGame(title="Kuhn poker: zero-sum, sequential, both informed", registered="kuhn_poker-v0"),
    "preference": BenchGame(title="random preferences: symmetric preference game", registered="random_preference-v0"),
    "bargaining": BenchGame(
        title="tiny bargaining: general-sum, sequential, no secrets", registered="tiny_bargaining-v0"
    ),
    "referential": BenchGame(
        title="tiny referential game: identical interest, a code to agree on", registered="tiny_referential-v0"
    ),
}
"""By the names that `--games` takes; it takes any registered name as well."""


def is_game(name: str) -> bool:
    """Whether `bench_game` knows a name."""
    return name in GAMES or name in registered_games()


def bench_game(name: str) -> BenchGame:
    """Return the game of that name.

    Raises:
        ValueError: it is neither one of `GAMES` nor registered.
    """
    if name in GAMES:
        return GAMES[name]
    if name in registered_games():
        return BenchGame(title=name, registered=name)
    raise ValueError(f"games: expected names among {', '.join(GAMES)} or a registered game, got {name!r}")


def can_be_spoken(name: str) -> bool:
    """Return whether the game of that name can be told in English.

    Raises:
        ValueError: there is no such game.
    """
    return bench_game(name).registered in PROMPTS


@dataclass(frozen=True, slots=True)
class GameFacts:
    """What results in a game are held against."""

    payoff: str
    """The payoff type."""
    payoff_range: float
    """The largest difference between two plays' returns to one player."""
    value: float | None
    """What player 0 expects in equilibrium, of a zero-sum game; None: there is no one value."""
    best_social_return: float
    """The most that the mean of both returns can be, if all were known to both."""
    uniform_shortfall: float | None = None
    """The `shortfall` of players who choose among legal tokens at random; None: an older version did not say."""

    @property
    def scale(self) -> float:
        """What a shortfall is measured in: that of uniform play, one payoff range where uniform play is a solution."""
        return self.uniform_shortfall if self.uniform_shortfall and self.uniform_shortfall > SOLVED else 1.0


def game_facts(tree: GameTree) -> GameFacts:
    """Return them; the value is that of the linear program over realisation plans."""
    value = float(solve_zero_sum(tree).value) if tree.is_zero_sum else None
    facts = GameFacts(tree.game.payoff.value, tree.payoff_range, value, best_social_return(tree))
    uniform = uniform_profile(tree)
    return replace(
        facts, uniform_shortfall=shortfall(facts, nash_conv(tree, uniform), expected_returns(tree, uniform).tolist())
    )


def best_social_return(tree: GameTree) -> float:
    """Return the expected best play's mean of both returns, chance apart; players who must guess may get less."""
    best = prefix_returns(tree).mean(1)
    best[tree.player != TERMINAL] = -np.inf
    for node in range(tree.num_nodes - 1, 0, -1):
        parent = tree.parent[node]
        if tree.player[parent] != CHANCE:
            best[parent] = max(best[parent], best[node])
    deals = np.flatnonzero(tree.parent == 0)
    return float(tree.chance_reach[deals] @ best[deals])


def shortfall(facts: GameFacts, nash_conv: float, returns: Sequence[float]) -> float:
    """Return the number that is compared over games: 0 is best, one unit is the game's payoff range.

    It is NashConv over the payoff range, 0 to 2. Where both players want the same, every babble is an equilibrium, so
    that NashConv says nothing of what they are after; there it is how far the return falls short of the best, 0 to 1.
    """
    if facts.payoff == Payoff.IDENTICAL.value:
        return (facts.best_social_return - float(np.mean(returns))) / facts.payoff_range
    return nash_conv / facts.payoff_range


def relative_shortfall(facts: GameFacts, shortfall: float) -> float:
    """Return a shortfall in units of uniform play's: 0 solved, 1 no better than at random, `WORST` at most.

    A mean over games of other scales would be one over those with the largest numbers, and an interquartile one would
    leave them out together with those with the smallest.

    >>> relative_shortfall(GameFacts("zero_sum", 2.0, 0.0, 0.0, uniform_shortfall=0.2), 0.05)
    0.25
    """
    return min(max(shortfall / facts.scale, 0.0), WORST)


class ScaledGame(WrappedGame[Any]):
    """The same rules with payoffs of range 1, so that one set of options fits all games.

    >>> game = ScaledGame(make_game("matching_pennies-v0"), payoff_range=2.0)
    >>> game.payoff.value
    'zero_sum'
    """

    def __init__(self, game: LanguageGame[Any], *, payoff_range: float) -> None:
        """Take the rules and the range of their payoffs."""
        super().__init__(game)
        self.deals, self._range = game.deals, payoff_range

    def inner(self, dialogue: Dialogue[Any]) -> Dialogue[Any]:
        """Return the dialogue itself."""
        return dialogue

    def rewards(self, dialogue: Dialogue[Any]) -> tuple[float, float]:
        """Return the scaled rewards of the last turn."""
        return self._scaled(self.game.rewards(dialogue))

    def rewards_batch(self, dialogues: Sequence[Dialogue[Any]]) -> Sequence[tuple[float, float]]:
        """Return the scaled rewards of the last turns."""
        return [self._scaled(pair) for pair in self.game.rewards_batch(dialogues)]

    def forfeit_rewards(self, player: int) -> tuple[float, float]:
        """Return the scaled rewards of a forfeit."""
        return self._scaled(self.game.forfeit_rewards(player))

    def _scaled(self, pair: tuple[float, float]) -> tuple[float, float]:
        return pair[0] / self._range, pair[1] / self._range
