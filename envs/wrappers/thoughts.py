"""Thoughts as an option of any game: chain of thought in arXiv 2402.08078, section 4.5.

A thought is a span of tokens at the head of a turn. It changes nothing but what its own speaker has before it: the
other player does not hear it, the rules do not see it, and the turn does not pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ..game import MAX_VIEW_TOKENS, DealT, Dialogue, LanguageGame, check_count
from ..judging import RedTeamGame, Verdict
from ..solutions import HasDemonstrations, HasExamples, HasSolutions, HasThoughts
from ..vocabulary import Tokens
from .wrapped import WrappedGame


class WithThoughts(WrappedGame[DealT, DealT]):
    """The same game, in which each player may think before it speaks; `with_thoughts` makes the right kind.

    What the game inside states (`duologue.envs.solutions`) it states too, a solution with the thought that leads to it.

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
        check_count("max_thought_tokens", max_thought_tokens, most=MAX_VIEW_TOKENS)
        if any(vocabulary.think_ids is None for vocabulary in game.vocabularies):
            raise ValueError(
                f"{type(game).__name__}: expected a vocabulary with thought tokens, got none; a tokenizer needs "
                "<think> and </think> among its tokens"
            )
        super().__init__(game)
        self.deals = game.deals
        self.max_thought_tokens = max_thought_tokens
        if isinstance(game, HasSolutions):
            self.solution = self._solution
        if isinstance(game, HasExamples):
            self.examples = self._examples
        if isinstance(game, HasDemonstrations):
            self.demonstrations = self._demonstrations

    def inner(self, dialogue: Dialogue[DealT]) -> Dialogue[DealT]:
        """Return the dialogue without its thoughts."""
        if not any(turn.thought for turn in dialogue.turns):
            return dialogue
        return Dialogue(dialogue.deal, tuple(replace(turn, thought=()) for turn in dialogue.turns))

    def _solution(self, deal: DealT) -> Dialogue[DealT]:
        assert isinstance(self.game, HasSolutions)
        return self._worked_out(self.game.solution(deal))

    def _examples(self, deal: DealT) -> list[Dialogue[DealT]]:
        assert isinstance(self.game, HasExamples)
        return [self._worked_out(example) for example in self.game.examples(deal)]

    def _demonstrations(self, source: str, rng: np.random.Generator, num_dialogues: int) -> list[Dialogue[DealT]]:
        assert isinstance(self.game, HasDemonstrations)
        return [self._worked_out(dialogue) for dialogue in self.game.demonstrations(source, rng, num_dialogues)]

    def _worked_out(self, dialogue: Dialogue[DealT]) -> Dialogue[DealT]:
        """Return a solution with its thought, if the game inside states one that fits; any other dialogue as it is."""
        game = self.game
        if not (isinstance(game, HasThoughts) and isinstance(game, HasSolutions)):
            return dialogue
        thought = game.worked_out(dialogue.deal)
        fits = 0 < len(thought) <= self.max_thought_tokens
        if not fits or dialogue != game.solution(dialogue.deal):
            return dialogue
        return Dialogue(dialogue.deal, (*dialogue.turns[:-1], replace(dialogue.turns[-1], thought=thought)))


class RedTeamWithThoughts(WithThoughts[DealT], RedTeamGame[DealT]):
    """A red-team game with thoughts is one still: it has verdicts, of exchanges without their thoughts."""

    def __init__(self, game: RedTeamGame[DealT], max_thought_tokens: int) -> None:
        """Take the game; see `WithThoughts`."""
        super().__init__(game, max_thought_tokens)
        self.red_team = game
        self.num_rounds, self.num_preamble_tokens = game.num_rounds, game.num_preamble_tokens

    def rewards_batch(self, dialogues: Sequence[Dialogue[DealT]]) -> list[tuple[float, float]]:
        """Return what the game inside pays; its judge is asked once."""
        return self.red_team.rewards_batch([self.inner(dialogue) for dialogue in dialogues])

    def request_in(self, told: Tokens) -> Tokens:
        """Return what the game inside finds."""
        return self.red_team.request_in(told)

    def verdicts(self, dialogues: Sequence[Dialogue[DealT]]) -> list[Verdict]:
        """Return the verdicts of the game inside."""
        return self.red_team.verdicts([self.inner(dialogue) for dialogue in dialogues])

    def payoffs(self, dialogue: Dialogue[DealT], verdict: Verdict) -> tuple[float, float]:
        """Return what the game inside pays for a verdict."""
        return self.red_team.payoffs(self.inner(dialogue), verdict)

    def faithful(self, dialogue: Dialogue[DealT]) -> bool:
        """Return whether the game inside finds the latest prompt faithful."""
        return self.red_team.faithful(self.inner(dialogue))

    def harmful(self, dialogue: Dialogue[DealT]) -> bool | None:
        """Return whether the game inside takes the latest prompt for harmful."""
        return self.red_team.harmful(self.inner(dialogue))


def with_thoughts(game: LanguageGame[DealT], max_thought_tokens: int) -> WithThoughts[DealT]:
    """Return the game with thoughts; a red-team game stays one."""
    if isinstance(game, RedTeamGame):
        return RedTeamWithThoughts(game, max_thought_tokens)
    return WithThoughts(game, max_thought_tokens)
