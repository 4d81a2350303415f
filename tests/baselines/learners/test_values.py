"""Value functions of both players, against the exact tree."""

import numpy as np
import pytest
import torch

from duologue.agents import CausalLMAgent, RandomAgent, Utterance
from duologue.agents.language_model.micro import micro_model
from duologue.agents.search import BestOfN
from duologue.baselines.learners.values import ValueConfig, ValueModel, fit_values, value_data
from duologue.baselines.rollouts.episodes import rollout
from duologue.envs import Ending
from duologue.envs.games.kuhn_poker import KuhnPoker
from duologue.envs.tree.analysis import GameTree, counterfactual_values, uniform_profile

GAME = KuhnPoker()
TREE = GameTree(GAME)


def fitted(*, num_episodes: int, seed: int = 0) -> ValueModel:
    """Return values fitted to uniformly random play of Kuhn poker."""
    rng = np.random.default_rng(seed)
    model = micro_model(GAME.vocabulary, hidden_size=32, num_layers=2, num_heads=2, max_positions=64, seed=seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(5)
    values = ValueModel(model, GAME.vocabulary)
    data = value_data(rollout(GAME, [RandomAgent(), RandomAgent()], num_episodes, rng))
    steps = list(fit_values(values, data, ValueConfig(), rng))
    assert steps[-1].iteration == ValueConfig().num_steps
    return values


VALUES = fitted(num_episodes=3_000)


@pytest.mark.parametrize("player", [0, 1])
def test_fitted_values_are_those_of_the_exact_tree(player: int) -> None:
    """V and Q of uniform play: counterfactual values over chance's and the other's reach; returns span 4 chips."""
    profile, table = uniform_profile(TREE), TREE.tables[player]
    nodes = np.flatnonzero(TREE.player == player)
    plan = TREE.tables[1 - player].reach(profile[1 - player])
    reach = np.bincount(TREE.infostate[nodes], TREE.chance_reach[nodes] * plan[TREE.sequences[1 - player, nodes]])
    exact_q = counterfactual_values(TREE, player, profile) / table.spread(reach.astype(np.float64))
    exact_v = table.sums(exact_q * profile[player])
    views = [TREE.view(player, infostate) for infostate in range(table.num_infostates)]
    assert np.abs(VALUES.values(views) - exact_v).max() < 0.35
    assert np.sqrt(np.mean((VALUES.values(views) - exact_v) ** 2)) < 0.15
    said = [Utterance((token,), ending=Ending.TOO_LONG) for token in table.tokens.tolist()]
    scores = VALUES.scores([views[infostate] for infostate in table.infostate_of.tolist()], said)
    assert np.sqrt(np.mean((scores - exact_q) ** 2)) < 0.25
    assert np.sqrt(np.mean(exact_q**2)) > 0.5  # what an estimate of 0 everywhere would be off by


def test_best_of_n_by_fitted_values_beats_plain_sampling_of_the_same_model() -> None:
    """An untrained micro model on both sides of the comparison; the 95 % intervals of the mean returns lie apart."""
    model = micro_model(GAME.vocabulary, hidden_size=16, num_layers=1, num_heads=1, max_positions=64, seed=1)
    base = CausalLMAgent(model, GAME.vocabulary)
    intervals = []
    for agent in (base, BestOfN(base, VALUES.scores, num_candidates=4)):
        played = rollout(GAME, [agent, RandomAgent()], 1_000, np.random.default_rng(3))
        returns = np.array([one.episode.returns[0] for one in played])
        width = 1.96 * returns.std(ddof=1) / np.sqrt(len(returns))
        intervals.append((returns.mean() - width, returns.mean() + width))
    assert intervals[0][1] < intervals[1][0]


def test_places_carry_what_is_paid_from_the_turn_on() -> None:
    """In Kuhn poker all is paid at the end, so both kinds of place of all turns carry the returns."""
    played = rollout(GAME, [RandomAgent(), RandomAgent()], 5, np.random.default_rng(0))
    data = value_data(played)
    turns = [(one, turn) for one in played for turn in one.turns]
    assert len(data.places) == len(data.returns) == 2 * len(turns)
    for k, (one, turn) in enumerate(turns):
        assert data.returns[2 * k] == data.returns[2 * k + 1] == one.episode.returns[turn.player]
        after = data.places[2 * k + 1]
        told = one.episode.views[turn.player]
        assert np.array_equal(data.places[2 * k], told[: len(turn.view.tokens)])
        assert np.array_equal(after, told[: len(after)])


def test_a_batch_of_values_equals_batches_of_one() -> None:
    """Padding on the right changes no causal model's last token."""
    views = [TREE.view(0, infostate) for infostate in range(TREE.tables[0].num_infostates)]
    single = np.concatenate([VALUES.values([view]) for view in views])
    assert VALUES.values(views) == pytest.approx(single, abs=1e-5)
    assert VALUES.values([]).shape == (0,)
