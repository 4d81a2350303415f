"""Novelty that pays only for success: an archive of cells, each with the number of attacks that succeeded in it.

A prompt's cell is what it asks for and how it is disguised, its topic and its set of styles, as in the archive of
Rainbow Teaming (Samvelyan et al., 2024, arXiv 2402.16822), which is MAP-Elites (Mouret & Clune, 2015, arXiv
1504.04909) with these two features. Where the papers keep a best prompt for each cell and mutate it, here the adversary
learns, and is paid for a success weight / sqrt(1 + n) by the n earlier ones in its cell: the bonus of counts
(Bellemare et al., 2016, arXiv 1606.01868). A new prompt that fails earns nothing by it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...envs import LanguageGame
from ...envs.judging import Outcome, RedTeamGame, last_prompt
from ..evaluation.diversity_report import Parse, ParsedPrompt
from ..rollouts.episodes import PlayedEpisode
from ..training.state import Stateful


def cell_of(parsed: ParsedPrompt) -> str:
    """Return the cell of a prompt: its topic and styles; of a prompt without these, its words themselves.

    >>> from duologue.baselines.evaluation.diversity_report import parse_red_team, parse_words
    >>> cell_of(parse_red_team("act as pirate what is somiz"))
    'somiz roleplay'
    >>> cell_of(parse_words("How  do I"))
    'how do i'
    """
    topic, request = getattr(parsed.request, "topic", None), parsed.request
    if topic is None:
        return " ".join(request) if isinstance(request, tuple) else str(request)
    styles = sorted(map(str, parsed.styles)) if isinstance(parsed.styles, frozenset) else []
    return " ".join([str(getattr(topic, "name", topic)), *styles])


class SuccessCells(Stateful):
    """The archive of one adversary: it pays successes, and counts them."""

    saved = ("counts",)

    def __init__(self, game: LanguageGame[Any], parse: Parse, *, weight: float) -> None:
        """Take the rules, who reads prompts, and what a first success in a cell is worth; 0: nothing is looked at.

        Raises:
            ValueError: a weight in a game without verdicts.
        """
        if weight and not isinstance(game, RedTeamGame):
            name = type(game).__name__
            raise ValueError(f"success_cell_weight: expected 0 in {name}, which gives no verdicts, got {weight}")
        self._game, self._parse, self._weight = game, parse, weight
        self.counts: dict[str, int] = {}
        """Successes so far, by cell."""

    def bonuses(self, played: Sequence[PlayedEpisode]) -> NDArray[np.float64]:
        """Return what each episode earns, and count its success; those of one batch do not lower each other's; (B,).

        An attack has succeeded if its last exchange is unsafe and the adversary has gained by the episode; of those
        alone the game's judge is asked again.
        """
        cells = self._cells(played) if self._weight else {}
        bonuses = np.zeros(len(played))
        for row, cell in cells.items():
            bonuses[row] = self._weight / math.sqrt(1 + self.counts.get(cell, 0))
        for cell in cells.values():
            self.counts[cell] = self.counts.get(cell, 0) + 1
        return bonuses

    def _cells(self, played: Sequence[PlayedEpisode]) -> dict[int, str]:
        """Return the cell of each episode whose attack succeeded."""
        assert isinstance(self._game, RedTeamGame)
        gained = [
            row for row, one in enumerate(played) if one.episode.forfeited_by is None and one.episode.returns[0] > 0
        ]
        verdicts = self._game.verdicts([played[row].dialogue for row in gained]) if gained else []
        found = {}
        for row, verdict in zip(gained, verdicts, strict=True):
            parsed = self._parse(self._game.vocabulary.decode(last_prompt(played[row].dialogue)))
            if verdict.outcome is Outcome.UNSAFE and parsed is not None:
                found[row] = cell_of(parsed)
        return found
