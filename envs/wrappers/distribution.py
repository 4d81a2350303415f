"""A distribution over games as one game: arXiv 2402.08078, section 4.5, equation (10).

Chance first draws a game, then a deal of that game. A policy for all of them is the paper's meta-policy: it learns from
the union D of the games' data D_1, ..., D_n, a game being drawn before its data.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from ..engine.contract import the_vocabulary
from ..game import Dialogue, LanguageGame, Payoff, checked_game
from ..solutions import HasDemonstrations, HasSolutions, HasThoughts, examples_of
from ..vocabulary import Tokens


class DrawnGame(NamedTuple):
    """Which game was drawn, and the deal that it then drew."""

    game_index: int
    deal: Any


class _GameDeals:
    """Draws a game by weight, then one of its deals."""

    def __init__(self, games: Sequence[LanguageGame[Any]], weights: Sequence[float]) -> None:
        self._games, self._weights = tuple(games), tuple(weights)

    def sample(self, rng: np.random.Generator) -> DrawnGame:
        """Draw one deal."""
        index = int(rng.choice(len(self._games), p=self._weights))
        return DrawnGame(index, self._games[index].deals.sample(rng))

    def outcomes(self) -> Mapping[DrawnGame, float] | None:
        """Return every deal with its probability, None where they cannot be listed."""
        listed = [game.deals.outcomes() for game in self._games]
        every: dict[DrawnGame, float] = {}
        for index, (weight, deals) in enumerate(zip(self._weights, listed, strict=True)):
            if deals is None:
                return None
            every.update({DrawnGame(index, deal): weight * share for deal, share in deals.items()})
        return every


class GameDistribution(LanguageGame[DrawnGame]):
    """Draws one of several games of one vocabulary; the players learn which only from what that game tells them.

    The payoff of games of unlike payoffs is general, so that a forfeit in any of them, a zero-sum one too, costs the
    offender the highest of their forfeit costs and pays the other player nothing.

    >>> from duologue.envs.games.tiny_referential import TinyReferential
    >>> game = GameDistribution([TinyReferential(2, 2), TinyReferential(2, 2)])
    >>> len(game.deals.outcomes() or ())
    4
    """

    def __init__(self, games: Sequence[LanguageGame[Any]], weights: Sequence[float] | None = None) -> None:
        """Take the games.

        Args:
            games: at least one, all of one vocabulary and one `max_thought_tokens`.
            weights: how often each is drawn; None: equally often.

        Raises:
            ValueError: no game, games that do not speak alike, or weights that are no distribution over them.
        """
        weights = [1 / len(games)] * len(games) if games and weights is None else list(weights or ())
        numbers = all(isinstance(weight, int | float | np.number) and weight >= 0 for weight in weights)
        if not games or len(weights) != len(games) or not numbers or not abs(sum(weights) - 1) <= 1e-9:
            raise ValueError(
                f"weights: expected {len(games)} numbers >= 0 that sum to 1, one for each of at least one game, "
                f"got {weights}"
            )
        for game in games:
            the_vocabulary(checked_game(game), "GameDistribution")
        for game in games[1:]:
            _check_alike(games[0], game)
        self.games, self.weights = tuple(games), tuple(weights)
        self.deals = _GameDeals(games, weights)
        first = games[0]
        self.vocabulary, self.roles, self.max_thought_tokens = first.vocabulary, first.roles, first.max_thought_tokens
        self.payoff = first.payoff if len({game.payoff for game in games}) == 1 else Payoff.GENERAL
        self.max_turns = max(game.max_turns for game in games)
        self.max_turn_tokens = max(game.max_turn_tokens for game in games)
        self.max_briefing_tokens = max(game.max_briefing_tokens for game in games)
        self.max_announcement_tokens = max(game.max_announcement_tokens for game in games)
        self.max_heard_tokens = max(game.max_heard_tokens for game in games)
        self.forfeit_cost = max(game.forfeit_cost for game in games)

    def drawn(self, dialogue: Dialogue[DrawnGame]) -> LanguageGame[Any]:
        """Return the game that was drawn."""
        return self.games[dialogue.deal.game_index]

    def inner(self, dialogue: Dialogue[DrawnGame]) -> Dialogue[Any]:
        """Return the dialogue as the game that was drawn knows it."""
        return Dialogue(dialogue.deal.deal, dialogue.turns)

    def outer(self, index: int, dialogue: Dialogue[Any]) -> Dialogue[DrawnGame]:
        """Return a dialogue of game `index` as one of the distribution."""
        return Dialogue(DrawnGame(index, dialogue.deal), dialogue.turns)

    def next_player(self, dialogue: Dialogue[DrawnGame]) -> int | None:
        """Return who speaks next by the game that was drawn."""
        return self.drawn(dialogue).next_player(self.inner(dialogue))

    def rewards(self, dialogue: Dialogue[DrawnGame]) -> tuple[float, float]:
        """Return what the game that was drawn pays."""
        return self.drawn(dialogue).rewards(self.inner(dialogue))

    def rewards_batch(self, dialogues: Sequence[Dialogue[DrawnGame]]) -> Sequence[tuple[float, float]]:
        """Return all rewards; each game's judge is asked once."""
        paid = [(0.0, 0.0)] * len(dialogues)
        for index in sorted({dialogue.deal.game_index for dialogue in dialogues}):
            rows = [k for k, dialogue in enumerate(dialogues) if dialogue.deal.game_index == index]
            pairs = self.games[index].rewards_batch([self.inner(dialogues[k]) for k in rows])
            for k, pair in zip(rows, pairs, strict=True):
                paid[k] = pair
        return paid

    def turn_limit(self, dialogue: Dialogue[DrawnGame]) -> int:
        """Return how long the game that was drawn lets the open turn be."""
        return self.drawn(dialogue).turn_limit(self.inner(dialogue))

    def legal_tokens(self, dialogue: Dialogue[DrawnGame], prefix: Tokens) -> Tokens | None:
        """Return what the game that was drawn lets be said."""
        return self.drawn(dialogue).legal_tokens(self.inner(dialogue), prefix)

    def briefing(self, deal: DrawnGame, player: int) -> Tokens:
        """Return what the game that was drawn tells the player."""
        return self.games[deal.game_index].briefing(deal.deal, player)

    def hears(self, dialogue: Dialogue[DrawnGame], player: int) -> Tokens | None:
        """Return what the player hears by the game that was drawn."""
        return self.drawn(dialogue).hears(self.inner(dialogue), player)

    def announcement(self, dialogue: Dialogue[DrawnGame], player: int) -> Tokens:
        """Return what the game that was drawn announces."""
        return self.drawn(dialogue).announcement(self.inner(dialogue), player)

    def annotate(self, dialogue: Dialogue[DrawnGame]) -> str:
        """Return the remark of the game that was drawn."""
        return self.drawn(dialogue).annotate(self.inner(dialogue))

    def is_forfeit(self, dialogue: Dialogue[DrawnGame]) -> bool:
        """Return whether the last turn forfeits by the rules of the game that was drawn."""
        return self.drawn(dialogue).is_forfeit(self.inner(dialogue))

    def demonstrations(self, source: str, rng: np.random.Generator, num_dialogues: int) -> list[Dialogue[DrawnGame]]:
        """Return dialogues of games drawn by weight, each generated by its own game: the outer mean of eq. (10)."""
        counts = rng.multinomial(num_dialogues, self.weights).tolist()
        made: list[Dialogue[DrawnGame]] = []
        for index, (game, count) in enumerate(zip(self.games, counts, strict=True)):
            if not isinstance(game, HasDemonstrations):
                raise ValueError(f"{type(game).__name__}: expected a game that generates demonstrations, got none")
            made += [self.outer(index, dialogue) for dialogue in game.demonstrations(source, rng, count)]
        return [made[k] for k in rng.permutation(len(made))]

    def solution(self, deal: DrawnGame) -> Dialogue[DrawnGame]:
        """Return the solution of the game that was drawn; ValueError if it states none."""
        game = self.games[deal.game_index]
        if not isinstance(game, HasSolutions):
            raise ValueError(f"{type(game).__name__}: expected a game that states solution(deal), got none")
        return self.outer(deal.game_index, game.solution(deal.deal))

    def worked_out(self, deal: DrawnGame) -> Tokens:
        """Return the thought before the last turn of that solution; () if the game that was drawn states none."""
        game = self.games[deal.game_index]
        return game.worked_out(deal.deal) if isinstance(game, HasThoughts) else ()

    def examples(self, deal: DrawnGame) -> list[Dialogue[DrawnGame]]:
        """Return the solved episodes that may be shown before a deal: those of the game that was drawn."""
        return [self.outer(deal.game_index, shown) for shown in self._examples[deal.game_index](deal.deal)]

    @cached_property
    def _examples(self) -> list[Callable[[Any], Sequence[Dialogue[Any]]]]:
        return [examples_of(game) for game in self.games]


def _check_alike(first: LanguageGame[Any], other: LanguageGame[Any]) -> None:
    spoken = [game.vocabulary.decode(range(game.vocabulary.size)) for game in (first, other)]
    if first.vocabulary is not other.vocabulary and spoken[0] != spoken[1]:
        raise ValueError(f"games: expected one vocabulary, got {spoken[0][-60:]!r} and {spoken[1][-60:]!r}")
    if first.max_thought_tokens != other.max_thought_tokens:
        raise ValueError(
            f"games: expected one max_thought_tokens, got {first.max_thought_tokens} and {other.max_thought_tokens}"
        )
