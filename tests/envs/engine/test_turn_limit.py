"""Turns that may only be short: the rules say how short, and narrow nothing for it."""

from typing import Any

import numpy as np
import pytest

from duologue.agents import RandomAgent
from duologue.baselines.rollouts.episodes import rollout
from duologue.baselines.rollouts.trajectories import trajectories
from duologue.envs import (
    Dialogue,
    Ending,
    Episode,
    FiniteDeals,
    LanguageGame,
    Payoff,
    Turn,
    WordVocabulary,
    utterance_of,
)
from duologue.envs.games.red_team_text.game import RedTeamText
from duologue.envs.testing.conformance import check_game
from duologue.envs.tree.game_tree import GameTree
from duologue.envs.wrappers.demonstrated import Demonstrated
from duologue.envs.wrappers.distribution import GameDistribution
from duologue.envs.wrappers.thoughts import WithThoughts

WORDS = WordVocabulary("a b")
A = WORDS.encode("a")[0]


class Short(LanguageGame[int]):
    """Player 0 says at most `limits[0]` words, player 1 at most `limits[1]`; player 1 is paid for each of its own."""

    vocabulary = WORDS
    payoff = Payoff.ZERO_SUM
    deals = FiniteDeals({0: 0.5, 1: 0.5})
    max_turns = 2
    max_turn_tokens = 2

    def __init__(self, *limits: int) -> None:
        self.limits = limits

    def next_player(self, dialogue: Dialogue[int]) -> int | None:
        return len(dialogue.turns) if len(dialogue.turns) < 2 else None

    def rewards(self, dialogue: Dialogue[int]) -> tuple[float, float]:
        paid = float(len(dialogue.turns[-1].tokens)) if len(dialogue.turns) == 2 else 0.0
        return -paid, paid

    def turn_limit(self, dialogue: Dialogue[int]) -> int:
        return self.limits[min(len(dialogue.turns), 1)]


class Telling(Short):
    """Gives player 1's turn the length that only the deal decides, which nobody is told."""

    def turn_limit(self, dialogue: Dialogue[int]) -> int:
        return dialogue.deal + 1 if dialogue.turns else 1


def solved(deal: int) -> list[Dialogue[int]]:
    """Return an example whose turns have the lengths that are their limits."""
    return [Dialogue(deal, (Turn((A,)), Turn((A, A))))]


GAMES: list[LanguageGame[Any]] = [
    Short(1, 2),
    Short(2, 1),
    WithThoughts(Short(1, 2), max_thought_tokens=1),
    Demonstrated(Short(1, 2), solved, num_shots=1),
    GameDistribution([Short(1, 1), Short(1, 1)]),
    RedTeamText(max_prompt_tokens=9, max_reply_tokens=4),
]


@pytest.mark.parametrize("game", GAMES, ids=lambda game: type(game).__name__)
def test_games_of_short_turns_keep_the_contracts_of_a_game(game: LanguageGame[Any]) -> None:
    """Every form of play ends a turn at its limit; wrapped or drawn, the limit is that of the rules inside."""
    check_game(game, episodes=8)


@pytest.mark.parametrize("limits", [(1, 2), (2, 1), (2, 2)])
def test_a_turn_is_closed_at_its_own_limit(limits: tuple[int, int]) -> None:
    """Without `<eos>`, as `max_turn_tokens` closes one; the view says how much may be said."""
    episode = Episode(Short(*limits), 0)
    for limit in limits:
        view = episode.view()
        assert view.max_turn_tokens == limit
        assert view.unrestricted
        closed = [episode.push(A) for _ in range(limit)]
        assert closed == [False] * (limit - 1) + [True]
        assert episode.dialogue.turns[-1].ending is Ending.TOO_LONG
    assert episode.over


@pytest.mark.parametrize("limits", [(1, 2), (2, 1)])
def test_the_tree_has_the_turns_that_fit(limits: tuple[int, int]) -> None:
    """Two words make 3 turns of at most one and 7 of at most two: 1 + 3 (3 + 7) nodes for a deal, or 3 + 7 (1 + 3)."""
    assert GameTree(Short(*limits)).num_nodes == 1 + 2 * 31


@pytest.mark.parametrize("name", ["prompt", "reply"])
def test_a_shorter_limit_of_red_team_text_narrows_nothing(name: str) -> None:
    """So that no learner holds masks over a tokenizer's vocabulary for it."""
    limits = {"max_prompt_tokens": 9, "max_reply_tokens": 9, f"max_{name}_tokens": 7}
    game = RedTeamText(**limits)  # type: ignore[arg-type]
    played = rollout(game, (RandomAgent(), RandomAgent()), 8, np.random.default_rng(0))
    assert [trajectories(played, player).legal_mask for player in (0, 1)] == [None, None]
    lengths = [max(len(episode.dialogue.turns[k].tokens) for episode in played) for k in (0, 1)]
    assert lengths == [limits["max_prompt_tokens"], limits["max_reply_tokens"]]


def test_a_turn_of_the_limit_is_uttered_without_eos() -> None:
    """As the engine wants it: nothing may follow the token that fills the turn."""
    game = Short(1, 2)
    start = Dialogue(0)
    assert utterance_of(game, start, Turn((A,))).tokens == (A,)
    assert utterance_of(game, start.extend(Turn((A,))), Turn((A,))).tokens == (A, WORDS.eos_id)


@pytest.mark.parametrize("limit", [0, 3])
def test_a_limit_beyond_the_games_own_is_named(limit: int) -> None:
    """Observations have room for `max_turn_tokens`, and a turn has at least one token."""
    with pytest.raises(ValueError, match=f"Short.turn_limit: expected 1 to max_turn_tokens=2, got {limit}"):
        Episode(Short(limit, 1), 0)


def test_a_limit_that_tells_what_is_hidden_is_found() -> None:
    """A player would read the deal off the length that it is allowed."""
    with pytest.raises(AssertionError, match="Telling"):
        check_game(Telling(), episodes=40)
