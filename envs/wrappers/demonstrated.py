"""k-shot demonstrations: solved episodes stand in the root state (in-context learning, arXiv 2402.08078, section 4.5).

The examples are part of the deal, so that chance draws them once and the rules stay pure. Each player is shown what it
would have seen of an example in its own seat: its own briefing and thoughts, the turns that it heard. An example's
worked-out thought is therefore shown to whoever had it.

Which games can be shown is said in `duologue.envs.solutions`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from itertools import combinations
from math import comb
from typing import Any, Generic, NamedTuple

import numpy as np

from ..engine.contract import the_vocabulary
from ..engine.episode import Episode
from ..engine.views import utterance_of
from ..game import DealT, Dialogue, LanguageGame, check_count
from ..solutions import HasDemonstrations, HasSolutions, HasThoughts, examples_of
from ..vocabulary import Tokens
from .wrapped import WrappedGame

MAX_LISTED = 100_000
"""More deals than this are drawn and not listed."""


class Prompted(NamedTuple):
    """A deal and the solved episodes that are shown before it."""

    deal: Any
    examples: tuple[Dialogue[Any], ...]


class _PromptedDeals(Generic[DealT]):
    """Draws a deal, then `num_shots` of the examples for it, without replacement."""

    def __init__(
        self, game: LanguageGame[DealT], examples: Callable[[DealT], Sequence[Dialogue[DealT]]], num_shots: int
    ) -> None:
        self._game, self._examples, self._num_shots = game, examples, num_shots

    def sample(self, rng: np.random.Generator) -> Prompted:
        """Draw one deal."""
        return self.with_examples(self._game.deals.sample(rng), rng)

    def with_examples(self, deal: DealT, rng: np.random.Generator) -> Prompted:
        """Draw the examples before a deal."""
        pool = self._pool(deal)
        rows = sorted(rng.choice(len(pool), self._num_shots, replace=False).tolist())
        return Prompted(deal, tuple(pool[row] for row in rows))

    def outcomes(self) -> Mapping[Prompted, float] | None:
        """Return every deal with its probability, None where they cannot be listed."""
        listed = self._game.deals.outcomes()
        if listed is None:
            return None
        if sum(comb(len(self._pool(deal)), self._num_shots) for deal in listed) > MAX_LISTED:
            return None
        every: dict[Prompted, float] = {}
        for deal, share in listed.items():
            shown = list(combinations(self._pool(deal), self._num_shots))
            for examples in shown:
                prompted = Prompted(deal, examples)
                every[prompted] = every.get(prompted, 0.0) + share / len(shown)
        return every

    def _pool(self, deal: DealT) -> Sequence[Dialogue[DealT]]:
        pool = self._examples(deal)
        if len(pool) < self._num_shots:
            raise ValueError(f"examples: expected at least num_shots={self._num_shots} for {deal!r}, got {len(pool)}")
        return pool


class Demonstrated(WrappedGame[Prompted, DealT]):
    """The same game, in whose briefing `num_shots` solved episodes come first.

    >>> from duologue.envs.games.running_sum import RunningSum
    >>> inside = RunningSum(2, 2)
    >>> game = Demonstrated(inside, lambda deal: [inside.solution((1, 1))], num_shots=1)
    >>> print(game.vocabulary.decode(game.briefing(Prompted((0, 1), (inside.solution((1, 1)),)), 1)))
    <player_0> 1 1 <eos> <player_1> 0 <eos>
    """

    def __init__(
        self,
        game: LanguageGame[DealT],
        examples: Callable[[DealT], Sequence[Dialogue[DealT]]] | None = None,
        num_shots: int = 1,
    ) -> None:
        """Choose the examples.

        Args:
            game: the rules.
            examples: the finished dialogues to choose from for a deal: the same for all deals, or those of its task;
                None: those that the game states, `solutions.examples_of`.
            num_shots: k, how many of them are shown, each equally often, in the order of the list; 0: the game itself.

        Raises:
            ValueError: no such number, or the game states no examples.
        """
        check_count("num_shots", num_shots, least=0)
        the_vocabulary(game, "Demonstrated")
        super().__init__(game)
        self.num_shots = num_shots
        self._prompted = _PromptedDeals(game, examples_of(game) if examples is None else examples, num_shots)
        self.deals = self._prompted
        self.max_briefing_tokens += num_shots * game.max_view_tokens
        if isinstance(game, HasSolutions):
            self.solution = self._solution
        if isinstance(game, HasThoughts):
            self.worked_out = self._worked_out
        if isinstance(game, HasDemonstrations):
            self.demonstrations = self._demonstrations

    @cached_property
    def num_example_tokens(self) -> int:
        """How many tokens of player 0's briefing precede its own, for whoever reads a request out of it.

        Raises:
            ValueError: 32 deals do not agree on it.
        """
        rng = np.random.default_rng(0)
        deals = [self.deals.sample(rng) for _ in range(32)]
        lengths = {len(self.briefing(deal, 0)) - len(super(Demonstrated, self).briefing(deal, 0)) for deal in deals}
        if len(lengths) > 1:
            raise ValueError(
                f"{type(self.game).__name__}: expected examples of one length for player 0, got {sorted(lengths)}"
            )
        return lengths.pop()

    def inner(self, dialogue: Dialogue[Prompted]) -> Dialogue[DealT]:
        """Return the dialogue without the examples."""
        return Dialogue(dialogue.deal.deal, dialogue.turns)

    def briefing(self, deal: Prompted, player: int) -> Tokens:
        """Return the examples as the player would have seen them, then its briefing."""
        shown = (shown_episode(self.game, example, player) for example in deal.examples)
        return (*(token for tokens in shown for token in tokens), *super().briefing(deal, player))

    def _solution(self, deal: Prompted) -> Dialogue[Prompted]:
        assert isinstance(self.game, HasSolutions)
        return Dialogue(deal, self.game.solution(deal.deal).turns)

    def _worked_out(self, deal: Prompted) -> Tokens:
        assert isinstance(self.game, HasThoughts)
        return self.game.worked_out(deal.deal)

    def _demonstrations(self, source: str, rng: np.random.Generator, num_dialogues: int) -> list[Dialogue[Prompted]]:
        assert isinstance(self.game, HasDemonstrations)
        plain = self.game.demonstrations(source, rng, num_dialogues)
        return [Dialogue(self._prompted.with_examples(dialogue.deal, rng), dialogue.turns) for dialogue in plain]


def shown_episode(game: LanguageGame[DealT], dialogue: Dialogue[DealT], viewer: int) -> Tokens:
    """Return a finished dialogue as `viewer` saw it, without what opens a view. Rewards are not asked for."""
    episode = Episode(game, dialogue.deal)
    for turn in dialogue.turns:
        episode.speak(utterance_of(game, episode.dialogue, turn))
        if not episode.settled:
            episode.settle((0.0, 0.0))
    start = len(game.vocabulary.begin(viewer))
    return tuple(episode.views[viewer, start : episode.lengths[viewer]].tolist())
