"""The exact tier: equations (1) to (6) against play by play through the engine, and against known games."""

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from duologue.envs import Episode, LanguageGame, SinglePlayerEnv, Tokens, Utterance, View
from duologue.envs.games.bluff import Bluff
from duologue.envs.tree.analysis import (
    CHANCE,
    TERMINAL,
    GameTree,
    Profile,
    action_values,
    backward_induction,
    best_response,
    best_response_gains,
    conditional_visiting_probabilities,
    counterfactual_values,
    edge_probabilities,
    expected_returns,
    induced_mdp,
    mix_by_own_reach,
    nash_conv,
    policy_from_matrix,
    prefix_returns,
    state_values,
    visiting_logprobs,
    visiting_probabilities,
)
from duologue.tests.envs.tree.helpers import Aside, Corridor, Sequel

FOLD, BET = Bluff.vocabulary.encode("fold bet")

GAMES: list[type[LanguageGame[Any]]] = [Bluff, Aside, Sequel]


@pytest.fixture(params=GAMES, ids=lambda game: game.__name__, scope="module")
def tree(request: pytest.FixtureRequest) -> GameTree:
    """The tree of each small game."""
    return GameTree(request.param())


def random_profile(tree: GameTree, seed: int = 0) -> Profile:
    """Draw a fully mixed profile."""
    rng = np.random.default_rng(seed)
    first, second = (table.normalise(rng.random(table.num_actions)) for table in tree.tables)
    return first, second


def every_play(game: LanguageGame[Any]) -> Iterator[tuple[Any, list[int], Episode[Any]]]:
    """Yield every deal with every line of play to its end, by the engine alone."""
    for deal in game.deals.outcomes() or ():
        stack: list[list[int]] = [[]]
        while stack:
            tokens = stack.pop()
            episode = Episode(game, deal)
            for token in tokens:
                episode.push(token)
            if episode.over:
                yield deal, tokens, episode
            else:
                stack += [[*tokens, int(token)] for token in np.flatnonzero(episode.open_turn.legal_mask)]


def leaf_of(tree: GameTree, deal: Any, tokens: list[int]) -> int:
    """Return the node at the end of a line of play."""
    node = 1 + tree.deals.index(deal)
    for token in tokens:
        (node,) = np.flatnonzero((tree.parent == node) & (tree.token == token)).tolist()
    return node


def test_tree_has_each_line_of_play_once_with_the_engines_returns(tree: GameTree) -> None:
    """T(s, a) = [s, a]: enumeration reaches each leaf once (arXiv 2402.08078, section 3)."""
    plays, leaves = list(every_play(tree.game)), np.flatnonzero(tree.player == TERMINAL)
    found = [leaf_of(tree, deal, tokens) for deal, tokens, _ in plays]
    assert sorted(found) == sorted(leaves.tolist())
    returns = np.array([episode.returns for _, _, episode in plays])
    np.testing.assert_allclose(prefix_returns(tree)[found], returns, atol=1e-12)
    assert tree.player[0] == CHANCE


def test_nodes_share_an_information_state_where_the_player_observes_the_same(tree: GameTree) -> None:
    """The engine's view is all that a player knows; the walk tells views apart by fingerprints."""
    seen: dict[tuple[int, int], bytes] = {}
    for node in np.flatnonzero(tree.player >= 0).tolist():
        episode, player = tree.episode(node), int(tree.player[node])
        assert episode.player == player
        key = (player, int(tree.infostate[node]))
        assert seen.setdefault(key, episode.views[player].tobytes()) == episode.views[player].tobytes()
        table, infostate = tree.tables[player], key[1]
        legal = table.tokens[table.offsets[infostate] : table.offsets[infostate + 1]]
        np.testing.assert_array_equal(legal, np.flatnonzero(episode.open_turn.legal_mask))
    assert len(set(seen.values())) == len(seen) == sum(table.num_infostates for table in tree.tables)


def test_thoughts_and_unheard_words_are_told_apart_by_the_speaker_alone() -> None:
    """Player 1 hears two first words or nothing (a bare end of turn), whatever was thought: three openings."""
    tree = GameTree(Aside())
    first_level = tree.tables[1].levels[0]
    assert first_level.stop - first_level.start == 3
    texts = {tree.infostate_text(1, k) for k in range(3)}
    assert "<bos> <player_0> yes <eos> <player_1>" in texts


def test_visiting_probabilities_are_products_along_the_path(tree: GameTree) -> None:
    """Eq. 1: own reach of player 0 times that of player 1 times chance; leaves sum to 1."""
    profile = random_profile(tree)
    visits = visiting_probabilities(tree, profile)
    reach = [tree.tables[p].reach(profile[p])[tree.sequences[p]] for p in (0, 1)]
    np.testing.assert_allclose(visits, tree.chance_reach * reach[0] * reach[1], atol=1e-15)
    assert visits[tree.player == TERMINAL].sum() == pytest.approx(1, abs=1e-12)
    np.testing.assert_allclose(np.exp(visiting_logprobs(tree, profile)), visits, atol=1e-15)


def test_logs_of_visiting_probabilities_hold_at_depth_a_thousand() -> None:
    """With probability 1e-320 at the first word the product underflows, the sum of logs does not."""
    tree = GameTree(Corridor())
    profile = (tree.tables[0].uniform(), tree.tables[1].uniform())
    assert tree.levels[-1].stop == tree.num_nodes
    assert len(tree.levels) == 1_002
    logprobs = visiting_logprobs(tree, profile)
    np.testing.assert_allclose(logprobs[tree.levels[-1]], np.log(0.5))
    assert expected_returns(tree, profile)[0] == pytest.approx(0.999 + 0.0005)


def test_conditional_visiting_probabilities_chain(tree: GameTree) -> None:
    """Eq. 2: d(s'') = d(s) d(s'|s) d(s''|s') along a path."""
    profile = random_profile(tree, 1)
    visits = visiting_probabilities(tree, profile)
    for leaf in np.flatnonzero(tree.player == TERMINAL)[::7].tolist():
        path = tree.path(leaf)
        middle = path[len(path) // 2]
        after_start = conditional_visiting_probabilities(tree, profile, path[0])
        after_middle = conditional_visiting_probabilities(tree, profile, middle)
        assert visits[path[0]] * after_start[middle] * after_middle[leaf] == pytest.approx(visits[leaf], abs=1e-15)
        assert after_middle[path[0]] == (middle == path[0])


def test_conditional_visiting_probabilities_are_finite_off_the_path() -> None:
    """Division by d(s) = 0, as eq. 2 is printed, would be 0/0."""
    tree = GameTree(Bluff())
    profile = (np.array([1.0, 0.0, 1.0, 0.0]), np.array([0.5, 0.5]))  # player 0 always folds
    (bet,) = np.flatnonzero((tree.parent == 1) & (tree.token == BET))
    assert visiting_probabilities(tree, profile)[bet] == 0
    after = conditional_visiting_probabilities(tree, profile, int(bet))
    assert after[tree.player == TERMINAL].sum() == pytest.approx(1)


def test_expected_returns_are_sums_over_leaves(tree: GameTree) -> None:
    """Eq. 3."""
    profile = random_profile(tree, 2)
    leaves = tree.player == TERMINAL
    expected = visiting_probabilities(tree, profile)[leaves] @ prefix_returns(tree)[leaves]
    np.testing.assert_allclose(expected_returns(tree, profile), expected, atol=1e-12)
    np.testing.assert_allclose(state_values(tree, profile)[0], expected, atol=1e-12)


def test_action_values_are_sums_over_the_leaves_behind_the_edge(tree: GameTree) -> None:
    """Eq. 4: the full return; without what was paid before s it is the return to go."""
    profile = random_profile(tree, 3)
    full, to_go = action_values(tree, profile), action_values(tree, profile, to_go=True)
    leaves, paid = tree.player == TERMINAL, prefix_returns(tree)
    for node in range(1, tree.num_nodes, 5):
        after = conditional_visiting_probabilities(tree, profile, node)
        np.testing.assert_allclose(full[node], after[leaves] @ paid[leaves], atol=1e-12)
        np.testing.assert_allclose(full[node] - paid[tree.parent[node]], to_go[node], atol=1e-12)
    assert np.isnan(full[0]).all()


def test_action_values_average_to_the_state_value(tree: GameTree) -> None:
    """sum_a pi(a|s) Q(s, a) = V(s); advantages agree in both forms."""
    profile = random_profile(tree, 4)
    edges, values = edge_probabilities(tree, profile), state_values(tree, profile)
    to_go, paid = action_values(tree, profile, to_go=True), prefix_returns(tree)
    full = action_values(tree, profile)
    for node in np.flatnonzero(tree.player >= 0).tolist():
        children = np.flatnonzero(tree.parent == node)
        np.testing.assert_allclose(edges[children] @ to_go[children], values[node], atol=1e-12)
        advantages = full[children] - (paid[node] + values[node])
        np.testing.assert_allclose(advantages, to_go[children] - values[node], atol=1e-12)


def test_sampled_play_agrees_with_the_exact_return() -> None:
    """Monte Carlo within 4 standard errors of eq. 3."""
    tree = GameTree(Aside())
    profile, rng = random_profile(tree, 5), np.random.default_rng(0)
    returns = np.array([sampled_return(tree, profile, rng) for _ in range(1_500)])
    error = returns.std(0) / np.sqrt(len(returns))
    assert (np.abs(returns.mean(0) - expected_returns(tree, profile)) < 4 * error).all()


def sampled_return(tree: GameTree, profile: Profile, rng: np.random.Generator) -> list[float]:
    """Play one episode by the engine, the tokens drawn from the profile at the player's observation."""
    rows = [index_of_observations(tree, player) for player in (0, 1)]
    episode = Episode(tree.game, tree.game.deals.sample(rng))
    while episode.player is not None:
        table = tree.tables[episode.player]
        infostate = rows[episode.player][episode.views[episode.player].tobytes()]
        actions = slice(int(table.offsets[infostate]), int(table.offsets[infostate + 1]))
        episode.push(int(rng.choice(table.tokens[actions], p=profile[episode.player][actions])))
    return episode.returns


def index_of_observations(tree: GameTree, player: int) -> dict[bytes, int]:
    """Return the number of each information state by what the player observes there."""
    key = f"_rows_{player}"
    if key not in tree.__dict__:
        observed = tree.observations(player)
        tree.__dict__[key] = {observation["observation"].tobytes(): k for k, observation in enumerate(observed)}
    rows: dict[bytes, int] = tree.__dict__[key]
    return rows


def pure_policies(tree: GameTree, player: int) -> Iterator[np.ndarray]:
    """Yield every pure policy of a player."""
    table = tree.tables[player]
    choices = [range(int(a), int(b)) for a, b in itertools.pairwise(table.offsets.tolist())]
    for chosen in itertools.product(*choices):
        policy = np.zeros(table.num_actions)
        policy[list(chosen)] = 1.0
        yield policy


@pytest.mark.parametrize("game", [Bluff, Sequel])
@pytest.mark.parametrize("player", [0, 1])
def test_best_response_is_the_best_of_all_pure_policies(game: type[LanguageGame[Any]], player: int) -> None:
    """Eq. 5 by brute force."""
    tree = GameTree(game())
    for seed in range(5):
        profile = list(random_profile(tree, seed))
        response = best_response(tree, player, profile[1 - player])
        values = []
        for policy in pure_policies(tree, player):
            profile[player] = policy
            values.append(expected_returns(tree, profile)[player])
        assert response.value == pytest.approx(max(values), abs=1e-12)
        profile[player] = response.policy
        assert expected_returns(tree, profile)[player] == pytest.approx(max(values), abs=1e-12)


def test_best_response_beats_random_policies_where_players_speak_twice(tree: GameTree) -> None:
    """No policy earns more against the same opponent, and the response earns its value."""
    profile = list(random_profile(tree, 6))
    for player in (0, 1):
        response = best_response(tree, player, profile[1 - player])
        for seed in range(20):
            trial = list(profile)
            trial[player] = random_profile(tree, seed)[player]
            assert expected_returns(tree, trial)[player] <= response.value + 1e-12
        trial[player] = response.policy
        assert expected_returns(tree, trial)[player] == pytest.approx(response.value, abs=1e-12)


def test_ties_go_to_the_first_or_the_last_token() -> None:
    """In Sequel player 1 earns nothing either way after silence: both answers to yes pay 0 against "no" always."""
    tree = GameTree(Sequel())
    always_no = np.array([0.0, 1.0])
    first = best_response(tree, 1, always_no, ties="first").policy
    last = best_response(tree, 1, always_no, ties="last").policy
    np.testing.assert_array_equal(first, [1.0, 0.0, 0.0, 1.0])
    np.testing.assert_array_equal(last, [0.0, 1.0, 0.0, 1.0])


def test_best_response_acts_once_an_information_state() -> None:
    """Against a caller who always calls, betting the deuce loses; a clairvoyant caller would be too strong."""
    tree = GameTree(Bluff())
    always_bet = np.array([0.0, 1.0, 0.0, 1.0])
    assert best_response(tree, 1, always_bet).value == pytest.approx(0.0)  # a clairvoyant one would earn 0.5


def test_bluff_is_worth_a_third_of_a_chip() -> None:
    """Bluffing 1/3 of deuces and calling 2/3 of bets leave the other player indifferent."""
    tree = GameTree(Bluff())
    profile = (np.array([0.0, 1.0, 2 / 3, 1 / 3]), np.array([1 / 3, 2 / 3]))
    assert nash_conv(tree, profile) == pytest.approx(0, abs=1e-12)
    assert expected_returns(tree, profile)[0] == pytest.approx(1 / 3)
    assert nash_conv(tree, (profile[0], np.array([0.4, 0.6]))) > 1e-3


def test_gains_are_never_negative_and_sum_to_nash_conv(tree: GameTree) -> None:
    """Eq. 6: nobody can gain less than nothing."""
    for seed in range(10):
        profile = random_profile(tree, seed)
        gains = best_response_gains(tree, profile)
        assert (gains >= -1e-12).all()
        assert nash_conv(tree, profile) == pytest.approx(gains.sum())


def test_counterfactual_values_are_action_values_weighted_by_the_others_reach(tree: GameTree) -> None:
    """Zinkevich et al., 2007, equation 2 with values of actions."""
    profile = random_profile(tree, 7)
    paid, to_go = prefix_returns(tree), action_values(tree, profile, to_go=True)
    for player in (0, 1):
        other = tree.tables[1 - player].reach(profile[1 - player])[tree.sequences[1 - player]] * tree.chance_reach
        by_nodes = np.zeros(tree.tables[player].num_actions)
        own = np.flatnonzero((tree.player[tree.parent] == player) & (tree.action >= 0))
        np.add.at(by_nodes, tree.action[own], other[tree.parent[own]] * to_go[own, player])
        np.testing.assert_allclose(counterfactual_values(tree, player, profile), by_nodes, atol=1e-12)
    assert paid.shape == (tree.num_nodes, 2)


def test_induced_mdp_has_the_best_responses_value(tree: GameTree) -> None:
    """Value iteration on eq. 5's process equals the tree's best response; so does the policy's own return."""
    profile = random_profile(tree, 8)
    for player in (0, 1):
        mdp = induced_mdp(tree, player, profile[1 - player])
        response = best_response(tree, player, profile[1 - player])
        assert mdp.value_iteration()[1] == pytest.approx(response.value, abs=1e-12)
        matrix = mdp.transition_matrix()
        assert (matrix.sum(1) <= 1 + 1e-12).all()
        assert mdp.reachable.all()


class Drawing:
    """Plays a policy of the tree in the engine, by what the player observes."""

    def __init__(self, tree: GameTree, player: int, policy: np.ndarray) -> None:
        self.tree, self.player, self.policy = tree, player, policy
        self.rows = index_of_observations(tree, player)

    def speak(self, views: list[View], rng: np.random.Generator) -> list[Utterance]:
        """Draw the tokens of a turn one by one."""
        return [self._utter(view, rng) for view in views]

    def _utter(self, view: View, rng: np.random.Generator) -> Utterance:
        said: Tokens = ()
        while view.legal_mask(said).any():
            observed = np.zeros(self.tree.game.max_view_tokens, dtype=np.int64)
            observed[: len(view.tokens) + len(said)] = (*view.tokens.tolist(), *said)
            infostate = self.rows[observed.tobytes()]
            table = self.tree.tables[self.player]
            actions = slice(int(table.offsets[infostate]), int(table.offsets[infostate + 1]))
            said = (*said, int(rng.choice(table.tokens[actions], p=self.policy[actions])))
        return Utterance(said)


@pytest.mark.parametrize("player", [0, 1])
def test_induced_mdp_is_what_the_single_player_form_does(player: int) -> None:
    """Eq. 5: transitions and rewards of `SinglePlayerEnv` are those of the process, within 4 standard errors."""
    tree = GameTree(Bluff())
    profile = random_profile(tree, 9)
    mdp, table = induced_mdp(tree, player, profile[1 - player]), tree.tables[player]
    rows = index_of_observations(tree, player)
    env = SinglePlayerEnv(tree.game, player=player, opponent=Drawing(tree, 1 - player, profile[1 - player]))  # type: ignore[arg-type]
    env.reset(seed=0)
    rng, starts = np.random.default_rng(1), np.zeros(table.num_infostates)
    paid: list[list[float]] = [[] for _ in range(table.num_actions)]
    for _ in range(1_500):
        observation, _ = env.reset()
        infostate = rows[observation["observation"].tobytes()]
        starts[infostate] += 1
        action = int(rng.integers(table.offsets[infostate], table.offsets[infostate + 1]))
        _, reward, over, _, _ = env.step(int(table.tokens[action]))
        assert over
        paid[action].append(reward)
    chance = mdp.transitions / mdp.transitions.sum()  # the form deals again where this player never speaks
    np.testing.assert_allclose(starts / starts.sum(), chance, atol=4 * 0.5 / np.sqrt(1_500))
    for action, rewards in enumerate(paid):
        error = 4 * np.std(rewards) / np.sqrt(len(rewards)) + 1e-9
        assert abs(np.mean(rewards) - mdp.rewards[action]) < error


def test_backward_induction_finds_the_subgame_perfect_equilibrium() -> None:
    """In Sequel player 1 always says no, so player 0 says yes: (2, 1)."""
    tree = GameTree(Sequel())
    profile, values = backward_induction(tree)
    np.testing.assert_array_equal(values[0], [2.0, 1.0])
    np.testing.assert_array_equal(profile[0], [1.0, 0.0])
    np.testing.assert_array_equal(profile[1], [0.0, 1.0, 0.0, 1.0])
    assert nash_conv(tree, profile) == pytest.approx(0, abs=1e-12)


def test_backward_induction_refuses_hidden_information() -> None:
    """Where several nodes are one information state, induction over nodes would be clairvoyant."""
    with pytest.raises(ValueError, match="expected a game of perfect information, got Bluff"):
        backward_induction(GameTree(Bluff()))


def test_mixture_weighs_members_by_their_own_reach() -> None:
    """Kuhn, 1953: the mixture's return against any opponent is the mean of the members' returns."""
    tree = GameTree(Aside())
    members = [random_profile(tree, seed)[0] for seed in range(3)]
    opponent = random_profile(tree, 10)[1]
    mixed = mix_by_own_reach(tree, 0, members, [1.0, 2.0, 5.0])
    returns = np.array([expected_returns(tree, (member, opponent)) for member in members])
    expected = np.average(returns, axis=0, weights=[1, 2, 5])
    np.testing.assert_allclose(expected_returns(tree, (mixed, opponent)), expected)
    naive = np.average(members, axis=0, weights=[1, 2, 5])
    assert np.abs(naive - mixed).max() > 0.01, "averaging token probabilities is something else"


def test_reach_and_policy_are_inverse(tree: GameTree) -> None:
    """A realisation plan determines a fully mixed behaviour policy."""
    for player in (0, 1):
        table, policy = tree.tables[player], random_profile(tree, 11)[player]
        np.testing.assert_allclose(table.policy_of(table.reach(policy)), policy, atol=1e-12)


def test_policy_of_is_uniform_where_the_plan_never_comes() -> None:
    """Anything would be right there; uniform is what is said."""
    tree = GameTree(Aside())
    table = tree.tables[0]
    policy = table.greedy(np.zeros(table.num_actions))
    back = table.policy_of(table.reach(policy))
    unreached = table.spread(table.reach(policy)[table.parent_sequence]) == 0
    np.testing.assert_array_equal(back[~unreached], policy[~unreached])
    np.testing.assert_array_equal(back[unreached], table.uniform()[unreached])


def test_matrix_of_token_probabilities_becomes_a_policy(tree: GameTree) -> None:
    """Rows in the order of `observations`, columns are token ids."""
    profile = random_profile(tree, 12)
    for player in (0, 1):
        table = tree.tables[player]
        matrix = np.zeros((table.num_infostates, tree.game.vocabulary.size))
        matrix[table.infostate_of, table.tokens] = profile[player]
        np.testing.assert_array_equal(policy_from_matrix(tree, player, matrix), profile[player])


def test_progress_is_told_and_memory_counted() -> None:
    """A caller can draw a bar, and knows what the arrays take."""
    told: list[int] = []
    tree = GameTree(Aside(), progress=told.append)
    assert told[-1] == tree.num_nodes
    assert 40 * tree.num_nodes < tree.nbytes < 200 * tree.num_nodes
    assert tree.payoff_range == pytest.approx(np.ptp(prefix_returns(tree)[tree.player == TERMINAL], axis=0).max())


def test_perfect_information_and_zero_sum_are_read_off_the_tree() -> None:
    """Bluff hides a card and is zero-sum; Sequel hides nothing and is not."""
    bluff, sequel = GameTree(Bluff()), GameTree(Sequel())
    assert (bluff.is_perfect_information, bluff.is_zero_sum) == (False, True)
    assert (sequel.is_perfect_information, sequel.is_zero_sum) == (True, False)
