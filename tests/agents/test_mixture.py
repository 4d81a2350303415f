"""Mixtures: one member an episode, never an average of token probabilities, and yet no memory."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from duologue.agents import CausalLMAgent, MixtureAgent, RandomAgent, TabularAgent, TokenPolicy, policy_of
from duologue.agents.language_model.micro import micro_model
from duologue.baselines.rollouts.episodes import rollout
from duologue.envs import Dialogue, LanguageGame, Payoff, Tokens, WordVocabulary
from duologue.envs.game import NO_CHANCE
from duologue.envs.tree.analysis import GameTree, expected_returns, mix_by_own_reach
from duologue.tests.envs.tree.helpers import Aside

VOCABULARY = WordVocabulary("a b")
A, B = VOCABULARY.encode("a b")
ASIDE = GameTree(Aside())


class Letters(LanguageGame[Any]):
    """Player 0 says two letters, in one turn or in two, with a word of player 1 between, and wins 1 with "a b"."""

    vocabulary = VOCABULARY
    payoff = Payoff.ZERO_SUM
    deals = NO_CHANCE
    max_turn_tokens = 2

    def __init__(self, num_turns: int) -> None:
        """Say in how many turns."""
        self.max_turns = num_turns

    def next_player(self, dialogue: Dialogue[Any]) -> int | None:
        return len(dialogue.turns) % 2 if len(dialogue.turns) < self.max_turns else None

    def rewards(self, dialogue: Dialogue[Any]) -> tuple[float, float]:
        reward = float(letters(dialogue) == (A, B))
        return reward, -reward

    def legal_tokens(self, dialogue: Dialogue[Any], prefix: Tokens) -> Tokens:
        return (VOCABULARY.eos_id,) if self.max_turns > 1 and prefix else (A, B)


def letters(dialogue: Dialogue[Any]) -> Tokens:
    """Return what player 0 said in all."""
    return tuple(token for turn in dialogue.turns[::2] for token in turn.tokens)


def members(tree: GameTree) -> list[TabularAgent]:
    """Return who always says "a" and who always says "b", whatever was said before."""
    table = tree.tables[0]
    return [TabularAgent(tree, 0, table.normalise((table.tokens != other).astype(np.float64))) for other in (B, A)]


@pytest.mark.parametrize("num_turns", [1, 3])
def test_mixing_aa_and_bb_never_says_ab(num_turns: int) -> None:
    """Naive averaging of token probabilities says it in a quarter of the episodes (algorithms.md, section 5)."""
    tree = GameTree(Letters(num_turns))
    pair, other = members(tree), policy_of(tree, 1, RandomAgent())
    mixture, naive = MixtureAgent(tree, 0, pair), (pair[0].policy + pair[1].policy) / 2
    assert expected_returns(tree, (mixture.policy, other))[0] == 0
    assert expected_returns(tree, (naive, other))[0] == pytest.approx(1 / 4, abs=1e-12)
    played = rollout(tree.game, (mixture, RandomAgent()), 200, np.random.default_rng(0))
    said = [letters(episode.dialogue) for episode in played]
    assert set(said) == {(A, A), (B, B)}
    assert 60 < said.count((A, A)) < 140


@pytest.mark.parametrize("player", [0, 1])
def test_a_mixture_is_the_own_reach_average_of_its_members(player: int) -> None:
    """The posterior along the view's own tokens is the own-reach weight (Kuhn, 1953), language models included."""
    tree, vocabulary = ASIDE, ASIDE.game.vocabulary
    models = [micro_model(vocabulary, hidden_size=16, num_layers=1, num_heads=2, seed=seed) for seed in (1, 2)]
    several: list[TokenPolicy] = [RandomAgent(), *(CausalLMAgent(model, vocabulary) for model in models)]
    weights = [0.5, 2.0, 1.0]
    expected = mix_by_own_reach(tree, player, [policy_of(tree, player, member) for member in several], weights)
    mixture = MixtureAgent(tree, player, several, weights)
    assert np.abs(policy_of(tree, player, mixture) - expected).max() <= 1e-12
    assert np.ptp(expected) > 0.1


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 3), st.integers(0, 1))
def test_a_mixture_earns_the_mean_of_its_members(seed: int, num_members: int, player: int) -> None:
    """Drawing a member for an episode earns the weighted mean of what they earn, against every opponent."""
    rng = np.random.default_rng(seed)
    table, other = ASIDE.tables[player], ASIDE.tables[1 - player]
    raw = [rng.random(table.num_actions) * (rng.random(table.num_actions) < 0.6) for _ in range(num_members)]
    several = [TabularAgent(ASIDE, player, table.normalise(weights_of_actions)) for weights_of_actions in raw]
    weights, opponent = rng.random(num_members) + 0.1, other.normalise(rng.random(other.num_actions))

    def earned(agent: TabularAgent) -> np.ndarray:
        return expected_returns(ASIDE, (agent.policy, opponent) if player == 0 else (opponent, agent.policy))

    mixture = MixtureAgent(ASIDE, player, several, weights.tolist())
    mean = np.average([earned(member) for member in several], axis=0, weights=weights)
    assert earned(mixture) == pytest.approx(mean, abs=1e-12)


def test_the_posterior_says_who_is_speaking() -> None:
    """Nobody has spoken: the weights; after "a": who says "a", for certain."""
    tree = GameTree(Letters(1))
    mixture = MixtureAgent(tree, 0, members(tree), [1.0, 3.0])
    first, *later = tree.observations(0)
    assert mixture.posterior(first).tolist() == [0.25, 0.75]
    assert [mixture.posterior(observation).tolist() for observation in later] == [[1.0, 0.0], [0.0, 1.0]]


def test_where_no_member_comes_tokens_are_equally_likely() -> None:
    """As in `mix_by_own_reach`; the posterior there is nobody."""
    tree = GameTree(Letters(1))
    mixture = MixtureAgent(tree, 0, members(tree)[:1])
    unseen = tree.observations(0)[2]
    assert mixture.posterior(unseen).tolist() == [0.0]
    assert mixture.token_probabilities([unseen])[0, [A, B]].tolist() == [0.5, 0.5]


def test_a_member_that_learns_on_changes_nothing() -> None:
    """Past opponents stay what they were, without copies of the model."""
    tree = GameTree(Letters(1))
    learner = TabularAgent(tree, 0, members(tree)[0].policy)
    mixture = MixtureAgent(tree, 0, [learner])
    before = mixture.policy.copy()
    learner.policy = members(tree)[1].policy
    assert mixture.policy.tolist() == before.tolist()


@pytest.mark.parametrize("weights", [[1.0], [1.0, -1.0], [0.0, 0.0], [1.0, float("nan")], [1.0, float("inf")]])
def test_weights_that_are_none_are_refused(weights: list[float]) -> None:
    """One number >= 0 a member, not all 0."""
    tree = GameTree(Letters(1))
    with pytest.raises(ValueError, match="weights: expected 2 numbers >= 0, one a member, not all 0, got"):
        MixtureAgent(tree, 0, members(tree), weights)


def test_a_mixture_of_nobody_is_refused() -> None:
    """There is nobody to draw."""
    with pytest.raises(ValueError, match="weights: expected 0 numbers"):
        MixtureAgent(ASIDE, 0, [])
