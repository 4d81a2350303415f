"""Thoughts as an option of any game: chain of thought in arXiv 2402.08078, section 4.5.

A thought is a span of tokens at the head of a turn. It changes nothing but what its own speaker has before it: the
other player does not hear it, the rules do not see it, and the turn does not pass.
"""

from __future__ import annotations

from dataclasses import replace

from .game import DealT, Dialogue, LanguageGame
from .wrapped import WrappedGame


class WithThoughts(WrappedGame[DealT, DealT]):
    """The same game, in which each player may think before it speaks.

    >>> from duologue.envs.games.bluff import Bluff
    >>> from duologue.envs import Episode
    >>> episode = Episode(WithThoughts(Bluff(), max_thought_tokens=1), "ace")
    >>> episode.game.vocabulary.decode(episode.open_turn.legal_mask.nonzero()[0])
    '<think> fold bet'
    """

    def __init__(self, game: LanguageGame[DealT], max_thought_tokens: int) -> None:
        """Choose how long a thought may be.

        Args:
            game: rules without thoughts; they never see any.
            max_thought_tokens: at least 1, the tokens around the thought apart.

        Raises:
            ValueError: the game has thoughts of its own, its vocabulary has no token to open one, or no thought fits.
        """
        if game.max_thought_tokens:
            raise ValueError(
                f"{type(game).__name__}: expected a game without thoughts, got max_thought_tokens="
                f"{game.max_thought_tokens}"
            )
        if not isinstance(max_thought_tokens, int) or max_thought_tokens < 1:
            raise ValueError(f"max_thought_tokens: expected a whole number of at least 1, got {max_thought_tokens}")
        if game.vocabulary.think_ids is None:
            raise ValueError(f"{type(game).__name__}: expected a vocabulary with thought tokens, got none")
        super().__init__(game)
        self.deals = game.deals
        self.max_thought_tokens = max_thought_tokens

    def inner(self, dialogue: Dialogue[DealT]) -> Dialogue[DealT]:
        """Return the dialogue without its thoughts."""
        if not any(turn.thought for turn in dialogue.turns):
            return dialogue
        return Dialogue(dialogue.deal, tuple(replace(turn, thought=()) for turn in dialogue.turns))
