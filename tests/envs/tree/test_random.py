"""Properties of the tree on games drawn at random: hidden turns, thoughts, turns of several words, any payoff type."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from duologue.envs.games.random_game import RandomGame
from duologue.envs.tree.analysis import (
    TERMINAL,
    GameTree,
    Profile,
    backward_induction,
    best_response_gains,
    expected_returns,
    induced_mdp,
    nash_conv,
    prefix_returns,
    visiting_probabilities,
)

GAMES = st.builds(
    RandomGame,
    st.integers(0, 10_000),
    num_turns=st.integers(1, 3),
    branching=st.integers(1, 2),
    num_deals=st.integers(1, 3),
    payoff=st.sampled_from(["zero_sum", "identical", "general"]),
    hidden_share=st.sampled_from([0.0, 0.5, 1.0]),
    max_turn_tokens=st.integers(1, 2),
    max_thought_tokens=st.sampled_from([0, 0, 1]),
    pays_every_turn=st.booleans(),
    irregular=st.booleans(),
)
SMALL = settings(max_examples=60, deadline=None)


def random_profile(tree: GameTree, seed: int) -> Profile:
    """Draw a profile, some of its probabilities 0."""
    rng = np.random.default_rng(seed)
    first, second = (table.normalise(np.maximum(rng.random(table.num_actions) - 0.3, 0)) for table in tree.tables)
    return first, second


@SMALL
@given(GAMES, st.integers(0, 1_000))
def test_tree_agrees_with_the_engine(game: RandomGame, seed: int) -> None:
    """Random plays of the engine end in leaves with their returns; equal observations are one information state."""
    tree, rng = GameTree(game), np.random.default_rng(seed)
    paid = prefix_returns(tree)
    observed: dict[tuple[int, int], bytes] = {}
    for leaf in rng.choice(np.flatnonzero(tree.player == TERMINAL), 5):
        for node in [*tree.path(int(leaf))[:-1]]:
            episode, player = tree.episode(node), int(tree.player[node])
            key, seen = (player, int(tree.infostate[node])), episode.views[player].tobytes()
            assert episode.player == player
            assert observed.setdefault(key, seen) == seen
        np.testing.assert_allclose(tree.episode(int(leaf)).returns, paid[leaf], atol=1e-12)
    assert len(set(observed.values())) == len(observed)


@SMALL
@given(GAMES, st.integers(0, 1_000))
def test_identities_hold_for_any_profile(game: RandomGame, seed: int) -> None:
    """Leaves' probabilities sum to 1, eq. 3 is their mean return, gains are >= 0, eq. 5's process has their values."""
    tree = GameTree(game)
    profile = random_profile(tree, seed)
    leaves = tree.player == TERMINAL
    visits = visiting_probabilities(tree, profile)[leaves]
    np.testing.assert_allclose(visits.sum(), 1)
    returns = expected_returns(tree, profile)
    np.testing.assert_allclose(returns, visits @ prefix_returns(tree)[leaves], atol=1e-12)
    gains = best_response_gains(tree, profile)
    assert (gains >= -1e-12).all()
    for player in (0, 1):
        value = induced_mdp(tree, player, profile[1 - player]).value_iteration()[1]
        np.testing.assert_allclose(value, returns[player] + gains[player], atol=1e-12)


@SMALL
@given(
    st.builds(
        RandomGame,
        st.integers(0, 10_000),
        num_turns=st.integers(1, 4),
        branching=st.integers(1, 3),
        payoff=st.sampled_from(["zero_sum", "identical", "general"]),
        hidden_share=st.just(0.0),
        max_turn_tokens=st.integers(1, 2),
        irregular=st.booleans(),
    )
)
def test_backward_induction_is_an_equilibrium_of_every_game_of_perfect_information(game: RandomGame) -> None:
    """Zermelo, 1913; Kuhn, 1953: pure, and nobody gains by deviating."""
    tree = GameTree(game)
    assert tree.is_perfect_information
    profile, values = backward_induction(tree)
    assert nash_conv(tree, profile) <= 1e-12
    np.testing.assert_allclose(values[0], expected_returns(tree, profile), atol=1e-12)
    assert set(np.concatenate(profile).tolist()) <= {0.0, 1.0}
