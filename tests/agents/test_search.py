"""Search: it attains the best response, sees no more than its view, and beats the agent that it searches with."""

from collections.abc import Sequence
from functools import cache

import numpy as np
import pytest

from duologue.agents import FunctionAgent, RandomAgent, ScriptedAgent, TabularAgent, Utterance, View, utter
from duologue.agents.language_model.causal_lm import CausalLMAgent
from duologue.agents.language_model.micro import micro_model
from duologue.agents.search import BestOfN, TurnSearch, legal_turns, worlds
from duologue.baselines.learners.values import ValueConfig, ValueModel, fit_values, value_data
from duologue.baselines.rollouts.episodes import rollout
from duologue.envs import Ending, Episode, deal_episodes, make_game
from duologue.envs.games.bluff import Bluff
from duologue.envs.games.kuhn_poker import KuhnPoker
from duologue.envs.games.tic_tac_toe import TicTacToe
from duologue.envs.tree.analysis import GameTree, best_response, expected_returns, uniform_profile
from duologue.envs.wrappers.thoughts import WithThoughts


@cache
def tree_of(name: str) -> GameTree:
    """Return the exact tree of a registered game."""
    return GameTree(make_game(name))


@pytest.mark.parametrize(
    ("name", "player"), [("bluff-v0", 0), ("bluff-v0", 1), ("kuhn_poker-v0", 0), ("kuhn_poker-v0", 1)]
)
def test_full_depth_search_attains_the_best_responses_value(name: str, player: int) -> None:
    """Against uniform play, exactly: the search's choice in every information state is put into the tree."""
    tree, rng = tree_of(name), np.random.default_rng(0)
    profile = list(uniform_profile(tree))
    opponent = TabularAgent(tree, 1 - player, profile[1 - player])
    search = TurnSearch(tree.game, opponent, num_simulations=1_500, num_draws=64, exploration=2.0)
    table = tree.tables[player]
    said = search.speak([tree.view(player, infostate) for infostate in range(table.num_infostates)], rng)
    first = np.array([utterance.tokens[0] for utterance in said])
    profile[player] = (table.tokens == table.spread(first.astype(np.float64))).astype(np.float64)
    best = best_response(tree, player, profile[1 - player]).value
    assert expected_returns(tree, uniform_profile(tree))[player] < best - 0.1
    assert expected_returns(tree, profile)[player] == pytest.approx(best)


@pytest.mark.parametrize(
    ("squares", "answer"),
    [("a1 a2 b1 b2", "c1"), ("a1 b2 c3 a2 b1", "c2")],
    ids=["X completes its row", "O completes its row"],
)
def test_search_wins_tic_tac_toe_where_it_can(squares: str, answer: str) -> None:
    """Both positions are won at once, by the table of rows."""
    game = TicTacToe()
    episode = Episode(game, None)
    for token in game.vocabulary.encode(squares):
        episode.push(token)
    search = TurnSearch(game, RandomAgent(), num_simulations=150)
    said = search.speak([episode.view()], np.random.default_rng(0))[0]
    assert game.vocabulary.decode(said.tokens) == answer


def test_worlds_are_weighted_by_the_deal_and_what_the_other_was_heard_to_say() -> None:
    """Who bets every ace and a fifth of the deuces has the ace with 1 / (1 + 1/5) = 5/6 after a bet."""
    game = Bluff()
    episode = Episode(game, "deuce")
    episode.push(game.vocabulary.encode("bet")[0])

    def bluffer(view: View, rng: np.random.Generator) -> Utterance:
        bets = view.messages[0].tokens == game.vocabulary.encode("ace") or rng.random() < 0.2
        return utter(view, game.vocabulary.encode("bet" if bets else "fold"))

    found = worlds(game, episode.view(), FunctionAgent(bluffer), np.random.default_rng(0), num_draws=2_000)
    weights = {world.episode.dialogue.deal: world.weight for world in found}
    assert weights["ace"] / sum(weights.values()) == pytest.approx(5 / 6, abs=0.02)
    assert all(np.array_equal(world.episode.view().tokens, episode.view().tokens) for world in found)


def test_search_does_not_peek() -> None:
    """The caller's answer to a bet is the same whatever the hidden card: only its view reaches it."""
    game, answers = Bluff(), []
    for card in ("ace", "deuce"):
        episode = Episode(game, card)
        episode.push(game.vocabulary.encode("bet")[0])
        search = TurnSearch(game, RandomAgent(), num_simulations=20)
        answers.append(search.speak([episode.view()], np.random.default_rng(5)))
    assert answers[0] == answers[1]


def test_search_repeats_its_own_thoughts() -> None:
    """A view holds what its player thought in earlier turns; a world that is consistent with it holds it too."""
    game = WithThoughts(KuhnPoker(), max_thought_tokens=1)
    opening, closing = game.vocabulary.think_ids or (-1, -1)
    checking, betting = game.vocabulary.encode("check bet")
    episode = Episode(game, next(iter(game.deals.outcomes() or {})))
    for token in (opening, betting, closing, checking, betting):
        episode.push(token)
    found = worlds(game, episode.view(), ScriptedAgent(["bet"]), np.random.default_rng(0), num_draws=2)
    assert {world.episode.dialogue.turns for world in found} == {episode.dialogue.turns}
    assert len(found) == 2  # the two cards that the other player may hold


def test_where_no_world_is_consistent_the_proposer_speaks() -> None:
    """A model that never bets is refuted by a bet."""
    game = Bluff()
    episode = Episode(game, "ace")
    episode.push(game.vocabulary.encode("bet")[0])
    search = TurnSearch(game, ScriptedAgent(["fold"]), proposer=ScriptedAgent(["call"]))
    said = search.speak([episode.view()], np.random.default_rng(0))[0]
    assert game.vocabulary.decode(said.tokens) == "call"


def words_first(views: Sequence[View], said: Sequence[Utterance]) -> np.ndarray:
    """Score an utterance by the id of its first token."""
    return np.array([utterance.tokens[0] for utterance in said], dtype=np.float64)


def test_best_of_n_says_the_candidate_with_the_highest_score() -> None:
    """Among 30 draws of two words, with 1 - 2^-29, there is the one with the higher id; forfeits never win."""
    game = Bluff()
    view = Episode(game, "ace").view()
    best = BestOfN(RandomAgent(), words_first, num_candidates=30)
    for said in best.speak([view] * 5, np.random.default_rng(0)):
        assert game.vocabulary.decode(said.tokens) == "bet"
        assert said.logprobs is None

    def sometimes_unreadable(view: View, rng: np.random.Generator) -> Utterance:
        return Utterance((9999,), None, Ending.UNREADABLE) if rng.random() < 0.5 else utter(view, (10,))

    careful = BestOfN(FunctionAgent(sometimes_unreadable), words_first, num_candidates=20)
    assert careful.speak([view], np.random.default_rng(0))[0].ending is Ending.TOO_LONG


def test_search_beats_plain_sampling_of_the_same_agent() -> None:
    """Kuhn poker against random play: the 95 % intervals of the mean returns lie apart."""
    game, base = KuhnPoker(), RandomAgent()
    search = TurnSearch(game, base, proposer=base, num_simulations=40, exploration=2.0)
    intervals = []
    for agent, num_episodes in ((base, 2_000), (search, 250)):
        played = rollout(game, [agent, RandomAgent()], num_episodes, np.random.default_rng(3))
        returns = np.array([play.episode.returns[0] for play in played])
        width = 1.96 * returns.std(ddof=1) / np.sqrt(num_episodes)
        intervals.append((returns.mean() - width, returns.mean() + width))
    assert intervals[0][1] < intervals[1][0]


def test_a_value_at_the_leaves_replaces_playing_on() -> None:
    """Who is promised 10 for every later view of its own checks, because a bet ends the game before one."""
    game = KuhnPoker()
    episode = Episode(game, next(iter(game.deals.outcomes() or {})))
    answers = FunctionAgent(lambda view, rng: utter(view, np.flatnonzero(view.legal_mask(()))[-1:].tolist()))
    hopeful = TurnSearch(game, answers, value=lambda views: np.full(len(views), 10.0), num_simulations=6)
    said = hopeful.speak([episode.view()], np.random.default_rng(0))[0]
    assert game.vocabulary.decode(said.tokens) == "check"


def test_search_thinks_with_a_language_model_and_values_fitted_to_its_games() -> None:
    """The model proposes and answers, the fitted values end the simulations; the same seed thinks the same."""
    game = make_game("random_game-v0", branching=5, max_turn_tokens=3, num_turns=3)
    words = game.vocabulary
    model, reader = (micro_model(words, hidden_size=16, num_layers=1, num_heads=2, seed=k) for k in range(2))
    agent, values = CausalLMAgent(model, words), ValueModel(reader, words)
    rng, asked = np.random.default_rng(0), list[float]()
    data = value_data(rollout(game, [agent, agent], 64, rng))
    assert len(list(fit_values(values, data, ValueConfig(num_steps=30, batch_size=32), rng))) == 30

    def value(views: Sequence[View]) -> np.ndarray:
        asked.extend(values.values(views))
        return np.array(asked[-len(views) :])

    search = TurnSearch(game, agent, proposer=agent, value=value, num_simulations=8, num_candidates=4)
    played, again = (rollout(game, [search, agent], 2, np.random.default_rng(1)) for _ in range(2))
    assert not any(episode.forfeited_by(0) for episode in played)
    assert [episode.dialogue.turns for episode in played] == [episode.dialogue.turns for episode in again]
    assert np.ptp(asked) > 0  # before they are fitted they are 0 everywhere
    assert np.abs(asked).max() < 2 * np.abs(data.returns).max()


def test_legal_turns_are_listed_up_to_a_number() -> None:
    """Bluff's bettor has two; turns of one to three of 5 words are 5 + 25 + 125."""
    view = Episode(Bluff(), "ace").view()
    assert len(legal_turns(view, 2) or ()) == 2
    assert legal_turns(view, 1) is None
    game = make_game("random_game-v0", branching=5, max_turn_tokens=3)
    episode = Episode(game, next(iter(game.deals.outcomes() or {})))
    assert len(legal_turns(episode.view(), 1_000) or ()) == 5 + 25 + 125
    assert legal_turns(episode.view(), 100) is None


def test_search_proposes_where_turns_cannot_be_listed() -> None:
    """The episode goes to its end with turns of three words out of five."""
    game = make_game("random_game-v0", branching=5, max_turn_tokens=3, num_turns=3)
    search = TurnSearch(game, RandomAgent(), num_simulations=10, num_candidates=4)
    played = rollout(game, [search, RandomAgent()], 3, np.random.default_rng(0))
    assert not any(episode.forfeited_by(0) for episode in played)


def test_search_that_thinks_for_no_time_is_refused() -> None:
    """A search without simulations has nothing to say."""
    with pytest.raises(ValueError, match="num_simulations: expected at least 1, got 0"):
        TurnSearch(Bluff(), RandomAgent(), num_simulations=0)
    with pytest.raises(ValueError, match="num_candidates: expected at least 1, got 0"):
        BestOfN(RandomAgent(), words_first, num_candidates=0)


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
def test_scores_and_values_that_are_no_numbers_are_refused(number: float) -> None:
    """A NaN would be the best of all candidates."""
    game = make_game("tiny_bargaining-v0")
    view = deal_episodes(game, np.random.default_rng(0), 1)[0].view()
    best = BestOfN(RandomAgent(), lambda views, said: np.array([0.0, number]), 2)
    with pytest.raises(ValueError, match="score: expected 2 finite numbers"):
        best.speak([view], np.random.default_rng(0))
    with pytest.raises(ValueError, match="score: expected 2 finite numbers"):
        BestOfN(RandomAgent(), lambda views, said: np.zeros(1), 2).speak([view], np.random.default_rng(0))
    with pytest.raises(ValueError, match="exploration: expected a number >= 0"):
        TurnSearch(game, RandomAgent(), exploration=-abs(number))
    search = TurnSearch(game, RandomAgent(), value=lambda views: np.full(len(views), number))
    with pytest.raises(ValueError, match="value: expected 1 finite numbers"):
        search.speak([view], np.random.default_rng(0))
