"""Agents as policies on the exact tree: what they state is what they sample, and nonsense is refused."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from duologue.agents import (
    CausalLMAgent,
    EchoAgent,
    FunctionAgent,
    RandomAgent,
    ScriptedAgent,
    TabularAgent,
    TokenPolicy,
    Utterance,
    policy_of,
    profile_of,
    pure_policy_of,
    utter,
)
from duologue.agents.language_model.micro import micro_model
from duologue.envs import Ending, LanguageGame, Observation, deal_episodes, speak_all
from duologue.envs.games.bluff import Bluff
from duologue.envs.games.kuhn_poker import KuhnPoker
from duologue.envs.tree.analysis import GameTree, best_response_gains, check_profile, expected_returns, nash_conv
from duologue.tests.baselines.helpers import OneWord
from duologue.tests.envs.tree.helpers import Aside

BLUFF, KUHN, ASIDE = GameTree(Bluff()), GameTree(KuhnPoker()), GameTree(Aside())


def language_model(game: LanguageGame[Any], *, temperature: float = 1.0) -> CausalLMAgent:
    """Return a tiny model with weights so large that contexts matter, and embeddings beyond the vocabulary."""
    model = micro_model(game.vocabulary, hidden_size=16, num_layers=2, num_heads=2, seed=3)
    model.resize_token_embeddings(game.vocabulary.size + 5)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(8)
    return CausalLMAgent(model, game.vocabulary, temperature=temperature)


class Stated:
    """States one given matrix."""

    def __init__(self, probabilities: NDArray[np.float64]) -> None:
        """Take the matrix (I, V)."""
        self.probabilities = probabilities

    def token_probabilities(self, observations: Sequence[Observation]) -> NDArray[np.float64]:
        """Return it."""
        return self.probabilities


def test_random_agents_are_the_uniform_profile_of_kuhn_poker() -> None:
    """Uniform play has NashConv 11/12, gains 3/8 and 13/24 and value 1/8 (reference-values.md, section 1)."""
    profile = profile_of(KUHN, (RandomAgent(), RandomAgent()))
    assert nash_conv(KUHN, profile) == pytest.approx(11 / 12, abs=1e-12)
    assert best_response_gains(KUHN, profile) == pytest.approx([3 / 8, 13 / 24], abs=1e-12)
    assert expected_returns(KUHN, profile)[0] == pytest.approx(1 / 8, abs=1e-12)


def test_a_player_that_never_speaks_has_a_policy() -> None:
    """Who never speaks has the empty policy, whatever it is asked by."""
    silent = GameTree(OneWord())
    for agent in (RandomAgent(), language_model(silent.game), TabularAgent(silent, 1, np.zeros(0))):
        assert policy_of(silent, 1, agent).shape == (0,)
    assert expected_returns(silent, profile_of(silent, (RandomAgent(), RandomAgent()))).tolist() == [0.0, 0.0]


@pytest.mark.parametrize("temperature", [1.0, 0.5])
@pytest.mark.parametrize("tree", [KUHN, ASIDE], ids=["kuhn_poker", "aside"])
def test_a_language_model_states_what_it_speaks(tree: GameTree, temperature: float) -> None:
    """Sampled logprobs are those of the policy, thoughts, several tokens a turn and temperature included."""
    game, agent = tree.game, language_model(tree.game, temperature=temperature)
    rng = np.random.default_rng(0)
    episodes, checked = deal_episodes(game, rng, 20), 0
    while live := [episode for episode in episodes if not episode.over]:
        views = [episode.view() for episode in live]
        utterances = agent.speak(views, rng)
        for view, said in zip(views, utterances, strict=True):
            for k, logprob in enumerate(said.logprobs or ()):
                tokens = np.concatenate([view.tokens, np.array(said.tokens[:k], dtype=np.int64)])
                seen: Observation = {"observation": tokens, "action_mask": view.legal_mask(said.tokens[:k])}
                assert np.log(agent.token_probabilities([seen])[0, said.tokens[k]]) == pytest.approx(logprob, abs=1e-4)
                checked += 1
        speak_all(live, utterances)
    assert checked > 40


def test_batches_and_padding_change_no_probability() -> None:
    """One batch of all information states equals one call for each (style, section 7.4)."""
    agent = language_model(ASIDE.game)
    for player in (0, 1):
        observations = ASIDE.observations(player)
        together = agent.token_probabilities(observations)
        alone = np.concatenate([agent.token_probabilities([observation]) for observation in observations])
        assert len({int(np.count_nonzero(observation["observation"])) for observation in observations}) > 1
        assert together == pytest.approx(alone, abs=1e-6)
        assert np.ptp(together, axis=0).max() > 0.1  # contexts matter


def test_more_observations_than_one_batch_keep_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut into batches of three, the rows are the same."""
    agent, observations = language_model(KUHN.game), KUHN.observations(0)
    together = agent.token_probabilities(observations)
    monkeypatch.setattr("duologue.agents.language_model.shared_prefixes.ROWS_AT_ONCE", 3)
    assert agent.token_probabilities(observations) == pytest.approx(together, abs=1e-6)


def test_a_micro_model_has_an_exact_nash_conv_on_kuhn_poker() -> None:
    """It is no equilibrium, and by Kuhn (1950) no pair can make player 0 expect more than -1/18 against the best."""
    agent = CausalLMAgent(micro_model(KUHN.game.vocabulary), KUHN.game.vocabulary)
    profile = profile_of(KUHN, (agent, agent))
    gains, values = best_response_gains(KUHN, profile), expected_returns(KUHN, profile)
    assert check_profile(KUHN, profile)[0].min() > 0
    assert values[0] + gains[0] > -1 / 18 > values[0] - gains[1]
    assert nash_conv(KUHN, profile) == pytest.approx(gains.sum())


def test_weight_on_illegal_tokens_is_refused() -> None:
    """The message names the token and the information state."""
    with pytest.raises(ValueError, match=r"player 1: expected weight on legal tokens only, got 1\.0 on 'ace' at"):
        policy_of(BLUFF, 1, Stated(np.eye(BLUFF.game.vocabulary.size)[[8]]))


def test_probabilities_that_do_not_sum_to_one_are_refused() -> None:
    """Half of a distribution is none."""
    half = RandomAgent().token_probabilities(BLUFF.observations(0)) / 2
    with pytest.raises(ValueError, match=r"sum to 1, got 0\.5 at"):
        policy_of(BLUFF, 0, Stated(half))


def test_an_agent_without_probabilities_is_a_type_error() -> None:
    """What it says would only be a sample."""
    assert not isinstance(ScriptedAgent(["bet"]), TokenPolicy)
    with pytest.raises(TypeError, match=r"ScriptedAgent: expected an agent with token_probabilities.*pure_policy_of"):
        policy_of(BLUFF, 0, ScriptedAgent(["bet"]))  # type: ignore[arg-type]


def test_a_profile_has_two_agents() -> None:
    """Neither one nor three."""
    with pytest.raises(ValueError, match="agents: expected 2, one a player, got 1"):
        profile_of(BLUFF, [RandomAgent()])


def test_scripts_are_pure_policies() -> None:
    """Always betting against always calling is worth 0 in Bluff: +2 with the ace, -2 with the deuce."""
    profile = pure_policy_of(BLUFF, 0, ScriptedAgent(["bet"])), pure_policy_of(BLUFF, 1, ScriptedAgent(["call"]))
    assert all(set(policy.tolist()) == {0.0, 1.0} for policy in profile)
    assert expected_returns(BLUFF, profile) == pytest.approx([0, 0], abs=1e-12)


def test_a_pure_policy_follows_turns_of_several_tokens() -> None:
    """Aside pays player 0 a turn's number of words, player 1 the turn's place if it begins with the card.

    "yes no", then "yes", then "yes": 2 + 1 + 1 for player 0; 1 + 2 + 3 for player 1 if the card is "yes", with 1/4.
    """
    first = pure_policy_of(ASIDE, 0, ScriptedAgent(["yes no", "yes"]))
    second = pure_policy_of(ASIDE, 1, ScriptedAgent(["yes"]))
    assert expected_returns(ASIDE, (first, second)) == pytest.approx([4, 6 / 4], abs=1e-12)


def test_an_agent_that_draws_is_no_pure_policy() -> None:
    """A language model has a distribution, one sample of which would be a wrong policy."""
    with pytest.raises(TypeError, match="RandomAgent: expected an agent that never draws"):
        pure_policy_of(BLUFF, 0, RandomAgent())


@pytest.mark.parametrize(
    "agent",
    [
        ScriptedAgent(["ace"]),
        EchoAgent(),
        FunctionAgent(lambda view, rng: Utterance((), ending=Ending.UNREADABLE)),
    ],
    ids=["illegal word", "echo", "unreadable"],
)
def test_an_illegal_turn_is_no_policy(agent: Any) -> None:
    """Echoing one's card is no legal turn of Bluff."""
    with pytest.raises(ValueError, match=r"agent of player 0: expected one of 'fold bet' at"):
        pure_policy_of(BLUFF, 0, agent)


def test_a_function_of_the_view_is_a_pure_policy() -> None:
    """Betting aces and folding deuces wins 1 and loses 1 against one who folds: worth 0."""

    def honest(view: Any, rng: np.random.Generator) -> Utterance:
        card = view.vocabulary.decode(view.messages[0].tokens)
        return utter(view, view.vocabulary.encode("bet" if card == "ace" else "fold"))

    policy = pure_policy_of(BLUFF, 0, FunctionAgent(honest))
    fold = pure_policy_of(BLUFF, 1, ScriptedAgent(["fold"]))
    assert expected_returns(BLUFF, (policy, fold))[0] == pytest.approx(0, abs=1e-12)
    assert nash_conv(BLUFF, (policy, fold)) > 0


def test_asking_leaves_training_mode_as_it_was() -> None:
    """Dropout must not decide what a policy is, nor stay off in a learner."""
    agent = language_model(KUHN.game)
    agent.model.train()
    policy_of(KUHN, 0, agent)
    assert agent.model.training
