"""Populations: one member an episode, for all of it, as often as its weight says."""

import numpy as np
import pytest

from duologue.agents import (
    MixtureAgent,
    Population,
    RandomAgent,
    ScriptedAgent,
    Seat,
    TabularAgent,
    pure_policy_of,
    seat_policy,
)
from duologue.baselines.rollouts.episodes import PlayedEpisode, rollout
from duologue.baselines.rollouts.groups import rollout_in_groups
from duologue.envs import Dialogue, FiniteDeals, LanguageGame, Payoff, Tokens, WordVocabulary
from duologue.envs.tree.analysis import GameTree

VOCABULARY = WordVocabulary("a b red blue")
A, B, RED, BLUE = VOCABULARY.encode("a b red blue")


class Twice(LanguageGame[str]):
    """Player 0 says a or b, player 1 red or blue, player 0 a or b again; nobody is paid."""

    vocabulary = VOCABULARY
    payoff = Payoff.ZERO_SUM
    deals = FiniteDeals({"": 1.0})
    max_turns = 3
    max_turn_tokens = 1

    def next_player(self, dialogue: Dialogue[str]) -> int | None:
        return None if len(dialogue.turns) == 3 else len(dialogue.turns) % 2

    def rewards(self, dialogue: Dialogue[str]) -> tuple[float, float]:
        return 0.0, 0.0

    def legal_tokens(self, dialogue: Dialogue[str], prefix: Tokens) -> Tokens:
        return (RED, BLUE) if len(dialogue.turns) == 1 else (A, B)


GAME = Twice()
MIXED = Population((ScriptedAgent(["a", "a"]), ScriptedAgent(["b", "b"])), (1.0, 3.0))


def words(episode: PlayedEpisode) -> str:
    """Return what player 0 said."""
    return GAME.vocabulary.decode([episode.dialogue.turns[0].tokens[0], episode.dialogue.turns[2].tokens[0]])


def test_mixing_aa_and_bb_never_gives_ab() -> None:
    """The package rule of algorithms.md 5; averaging token probabilities would, in 3/8 of the episodes."""
    played = rollout(GAME, (MIXED, RandomAgent()), 400, np.random.default_rng(0))
    said = [words(episode) for episode in played]
    assert set(said) == {"a a", "b b"}
    assert [episode.members for episode in played] == [(0 if text == "a a" else 1, 0) for text in said]
    assert np.mean([text == "b b" for text in said]) == pytest.approx(0.75, abs=0.06)


def test_both_seats_draw_on_their_own() -> None:
    """All four pairs of members come, whatever the one is, the other is drawn by its own weights."""
    other = Population.even((ScriptedAgent(["red"]), ScriptedAgent(["blue"])))
    played = rollout(GAME, (MIXED, other), 400, np.random.default_rng(0))
    for episode in played:
        assert episode.dialogue.turns[1].tokens == ((RED, BLUE)[episode.members[1]],)
    pairs = [episode.members for episode in played]
    for pair, probability in {(0, 0): 1 / 8, (0, 1): 1 / 8, (1, 0): 3 / 8, (1, 1): 3 / 8}.items():
        assert pairs.count(pair) / 400 == pytest.approx(probability, abs=0.06)


def test_a_population_is_the_mixture_agent_of_the_tree() -> None:
    """Kuhn (1953): averaging realisation plans is drawing a member; the policies agree to rounding."""
    tree = GameTree(GAME)
    members = [TabularAgent(tree, 0, pure_policy_of(tree, 0, member)) for member in MIXED.members]
    population = Population(tuple(members), (1.0, 3.0))
    assert seat_policy(tree, 0, population) == pytest.approx(MixtureAgent(tree, 0, members, (1.0, 3.0)).policy)


def test_an_agent_needs_no_draw_and_neither_does_a_population_of_one() -> None:
    """The same rng gives the same episodes: runs without mixtures are what they were."""
    seats: list[tuple[Seat, Seat]] = [(RandomAgent(), RandomAgent()), (Population.even([RandomAgent()]), RandomAgent())]
    first, second = (rollout(GAME, pair, 20, np.random.default_rng(3)) for pair in seats)
    assert [episode.dialogue for episode in first] == [episode.dialogue for episode in second]


@pytest.mark.parametrize("player", [0, 1])
def test_a_group_shares_its_opponents_member(player: int) -> None:
    """What was said before the learner's first turn is copied, and so is who said it."""
    seats = (MIXED, MIXED_REPLIES)
    played = rollout_in_groups(GAME, seats, 80, np.random.default_rng(0), player=player, group_size=4)
    for start in range(0, 80, 4):
        assert len({episode.members for episode in played[start : start + 4]}) == 1
    assert {words(episode) for episode in played} == {"a a", "b b"}
    assert len({episode.members for episode in played}) == 4


MIXED_REPLIES = Population.even((ScriptedAgent(["red"]), ScriptedAgent(["blue"])))


def test_weights_are_scaled() -> None:
    """To the sum 1, in the order of the members."""
    assert MIXED.weights == (0.25, 0.75)
    assert Population.even(MIXED.members).weights == (0.5, 0.5)


@pytest.mark.parametrize("weights", [(), (1.0,), (0.0, 0.0), (-1.0, 2.0), (float("nan"), 1.0), (float("inf"), 1.0)])
def test_weights_that_are_none_are_refused(weights: tuple[float, ...]) -> None:
    """One number >= 0 a member, not all 0."""
    with pytest.raises(ValueError, match="weights: expected 2 numbers >= 0, one a member, not all 0, got"):
        Population(MIXED.members, weights)


def test_a_population_needs_a_member() -> None:
    """There must be someone to draw."""
    with pytest.raises(ValueError, match="weights: expected 0 numbers"):
        Population((), ())


def test_a_population_is_no_agent() -> None:
    """It has no `speak`: without an episode's number it could not hold to a member."""
    assert not hasattr(MIXED, "speak")
