"""A game around a game: rules that change one thing and leave the rest to the rules inside."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Generic

from typing_extensions import TypeVar

from ..game import DealT, Dialogue, LanguageGame, checked_game
from ..vocabulary import Tokens, Vocabulary

InnerT = TypeVar("InnerT", default=Any)


class WrappedGame(LanguageGame[DealT], Generic[DealT, InnerT]):
    """Asks the game inside about every dialogue; a subclass says how its own dialogues look to that game."""

    def __init__(self, game: LanguageGame[InnerT]) -> None:
        """Take the game inside and its sizes; a subclass sets the deals and what it changes."""
        self.game = checked_game(game)
        self.vocabulary, self.payoff, self.roles = game.vocabulary, game.payoff, game.roles
        self.max_turns, self.max_turn_tokens = game.max_turns, game.max_turn_tokens
        self.max_thought_tokens, self.forfeit_cost = game.max_thought_tokens, game.forfeit_cost
        self.max_briefing_tokens = game.max_briefing_tokens
        self.max_announcement_tokens, self.max_heard_tokens = game.max_announcement_tokens, game.max_heard_tokens

    @property
    def vocabularies(self) -> tuple[Vocabulary, Vocabulary]:
        """What the players of the game inside read and speak."""
        return self.game.vocabularies

    def inner(self, dialogue: Dialogue[DealT]) -> Dialogue[InnerT]:
        """Return the dialogue as the game inside knows it."""
        raise NotImplementedError

    def inner_deal(self, deal: DealT) -> InnerT:
        """Return the deal as the game inside knows it."""
        return self.inner(Dialogue(deal)).deal

    def next_player(self, dialogue: Dialogue[DealT]) -> int | None:
        """Return who speaks next by the rules inside."""
        return self.game.next_player(self.inner(dialogue))

    def rewards(self, dialogue: Dialogue[DealT]) -> tuple[float, float]:
        """Return what the rules inside pay."""
        return self.game.rewards(self.inner(dialogue))

    def rewards_batch(self, dialogues: Sequence[Dialogue[DealT]]) -> Sequence[tuple[float, float]]:
        """Return what the rules inside pay; their judge is asked once."""
        return self.game.rewards_batch([self.inner(dialogue) for dialogue in dialogues])

    def turn_limit(self, dialogue: Dialogue[DealT]) -> int:
        """Return how long the rules inside let the open turn be."""
        return self.game.turn_limit(self.inner(dialogue))

    def legal_tokens(self, dialogue: Dialogue[DealT], prefix: Tokens) -> Tokens | None:
        """Return what the rules inside let be said."""
        return self.game.legal_tokens(self.inner(dialogue), prefix)

    def briefing(self, deal: DealT, player: int) -> Tokens:
        """Return what the rules inside tell the player."""
        return self.game.briefing(self.inner_deal(deal), player)

    def hears(self, dialogue: Dialogue[DealT], player: int) -> Tokens | None:
        """Return what the player hears by the rules inside."""
        return self.game.hears(self.inner(dialogue), player)

    def announcement(self, dialogue: Dialogue[DealT], player: int) -> Tokens:
        """Return what the rules inside announce."""
        return self.game.announcement(self.inner(dialogue), player)

    def annotate(self, dialogue: Dialogue[DealT]) -> str:
        """Return the remark of the rules inside."""
        return self.game.annotate(self.inner(dialogue))

    def forfeit_rewards(self, player: int) -> tuple[float, float]:
        """Return what the rules inside pay for a forfeit."""
        return self.game.forfeit_rewards(player)

    def is_forfeit(self, dialogue: Dialogue[DealT]) -> bool:
        """Return whether the last turn forfeits by the rules inside."""
        return self.game.is_forfeit(self.inner(dialogue))
