"""The exact form of play: a whole game as arrays, and equations (1) to (6) of arXiv 2402.08078 on them.

A profile is a pair of policies, one array of action probabilities for each player, laid out by `tree.tables`. Every
function is exact up to rounding; none draws.

>>> from duologue.envs.games.bluff import Bluff
>>> tree = GameTree(Bluff())
>>> tree.num_nodes, [table.num_infostates for table in tree.tables]
(11, [2, 1])
>>> nash_conv(tree, uniform_profile(tree))
1.0
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..game import PLAYERS, check_player
from .enumeration import CHANCE, TERMINAL, TreeTooLarge
from .game_tree import GameTree, prefix_returns
from .infostates import TIE, Floats, InfostateTable, Policy, sums_by

__all__ = [
    "CHANCE",
    "PLAYERS",
    "TERMINAL",
    "TIE",
    "BestResponse",
    "GameTree",
    "InducedMDP",
    "InfostateTable",
    "Policy",
    "Profile",
    "TreeTooLarge",
    "action_values",
    "backward_induction",
    "best_response",
    "best_response_gains",
    "check_policy",
    "check_profile",
    "conditional_visiting_probabilities",
    "counterfactual_values",
    "edge_probabilities",
    "expected_returns",
    "induced_mdp",
    "mix_by_own_reach",
    "nash_conv",
    "policy_from_matrix",
    "prefix_returns",
    "random_profile",
    "state_values",
    "uniform_profile",
    "visiting_logprobs",
    "visiting_probabilities",
]

Profile = tuple[Policy, Policy]

SUM_TOLERANCE = 1e-6
"""How far an information state's probabilities may be from 1; float32 models are that exact."""


class BestResponse(NamedTuple):
    """The best that a player can do against a fixed opponent (eq. 5)."""

    policy: Policy
    """A pure one; shape (A,)."""
    value: float
    """Its return."""


def uniform_profile(tree: GameTree) -> Profile:
    """Return the profile in which every legal token is equally likely."""
    return tree.tables[0].uniform(), tree.tables[1].uniform()


def random_profile(tree: GameTree, rng: np.random.Generator) -> Profile:
    """Return a profile whose every information state is drawn uniformly from the simplex."""
    first, second = (table.normalise(rng.exponential(size=table.num_actions)) for table in tree.tables)
    return first, second


def check_policy(tree: GameTree, player: int, policy: Policy) -> Policy:
    """Return the policy as float64.

    Raises:
        ValueError: the wrong shape, a negative or infinite probability, or a sum that is not 1; it says where.
    """
    check_player(player)
    table, policy = tree.tables[player], np.asarray(policy, dtype=np.float64)
    name = f"policy of player {player}"
    if policy.shape != (table.num_actions,):
        raise ValueError(f"{name}: expected shape {(table.num_actions,)}, one number an action, got {policy.shape}")
    if policy.size and not policy.min() >= 0:
        worst = int(np.nanargmin(policy)) if not np.isnan(policy).any() else int(np.isnan(policy).argmax())
        where = tree.infostate_text(player, int(table.infostate_of[worst]))
        raise ValueError(f"{name}: expected probabilities >= 0, got {policy[worst]} at {where!r}")
    off = np.abs(table.sums(policy) - 1)
    if policy.size and not off.max() <= SUM_TOLERANCE:
        worst = int(off.argmax())
        total, where = float(table.sums(policy)[worst]), tree.infostate_text(player, worst)
        raise ValueError(f"{name}: expected probabilities that sum to 1, got {total} at {where!r}")
    return policy


def check_profile(tree: GameTree, profile: Sequence[Policy]) -> Profile:
    """Return both policies as float64; raises as `check_policy` does."""
    if len(profile) != 2:
        raise ValueError(f"profile: expected a pair of policies, got {len(profile)}")
    return check_policy(tree, 0, profile[0]), check_policy(tree, 1, profile[1])


def policy_from_matrix(tree: GameTree, player: int, probabilities: NDArray[np.floating[Any]]) -> Policy:
    """Return the policy that gives each token its probability in each information state.

    Args:
        tree: of the game.
        player: whose policy it is.
        probabilities: shape (I, V), rows in the order of `tree.observations(player)`.

    Raises:
        ValueError: the wrong shape, weight on an illegal token, or a row that does not sum to 1.
    """
    check_player(player)
    table, size = tree.tables[player], tree.game.vocabulary.size
    matrix = np.asarray(probabilities, dtype=np.float64)
    if matrix.shape != (table.num_infostates, size):
        raise ValueError(f"probabilities: expected shape {(table.num_infostates, size)}, got {matrix.shape}")
    legal = np.zeros(matrix.shape, dtype=bool)
    legal[table.infostate_of, table.tokens] = True
    illegal = np.abs(np.where(legal, 0.0, matrix))
    if illegal.size and not illegal.max() <= SUM_TOLERANCE:
        infostate, token = np.unravel_index(int(illegal.argmax()), matrix.shape)
        word = tree.game.vocabulary.decode((int(token),))
        raise ValueError(
            f"policy of player {player}: expected weight on legal tokens only, got {matrix[infostate, token]} on "
            f"{word!r} at {tree.infostate_text(player, int(infostate))!r}"
        )
    return check_policy(tree, player, matrix[table.infostate_of, table.tokens])


def edge_probabilities(tree: GameTree, profile: Sequence[Policy]) -> Floats:
    """Return the probability of the edge into each node, given the node before; 1 at the root; shape (N,)."""
    policies = check_profile(tree, profile)
    probabilities = np.ones(tree.num_nodes)
    probabilities[tree.levels[1]] = tree.chance_reach[tree.levels[1]]
    mover = tree.player[tree.parent]
    for player in PLAYERS:
        own = np.flatnonzero((mover == player) & (tree.action >= 0))
        probabilities[own] = policies[player][tree.action[own]]
    return probabilities


def visiting_probabilities(tree: GameTree, profile: Sequence[Policy]) -> Floats:
    """Return d_pi(s) of every node, the product of the probabilities on the path to it (eq. 1); shape (N,)."""
    return conditional_visiting_probabilities(tree, profile, 0)


def visiting_logprobs(tree: GameTree, profile: Sequence[Policy]) -> Floats:
    """Return log d_pi(s) in nats (eq. 1), -inf where it is 0: depth does not make it underflow; shape (N,)."""
    with np.errstate(divide="ignore"):
        logprobs = np.log(edge_probabilities(tree, profile))
    for nodes in tree.levels[1:]:
        logprobs[nodes] += logprobs[tree.parent[nodes]]
    return logprobs


def conditional_visiting_probabilities(tree: GameTree, profile: Sequence[Policy], node: int) -> Floats:
    """Return d_pi(s'|s) of every node s' for s = `node` (eq. 2), 0 where s' does not follow s; shape (N,).

    The probabilities after s are multiplied, not divided, so that it is defined where the profile never comes. For an
    edge (s, a), take the node that it leads to.
    """
    if not 0 <= node < tree.num_nodes:
        raise ValueError(f"node: expected a number from 0 to {tree.num_nodes - 1}, got {node}")
    probabilities, reach = edge_probabilities(tree, profile), np.zeros(tree.num_nodes)
    reach[node] = 1.0
    for nodes in tree.levels[1:]:
        if nodes.stop > node + 1:
            below = slice(max(nodes.start, node + 1), nodes.stop)
            reach[below] = probabilities[below] * reach[tree.parent[below]]
    return reach


def state_values(tree: GameTree, profile: Sequence[Policy]) -> Floats:
    """Return what both players can expect after each node, by the profile; shape (N, 2)."""
    probabilities, worth = edge_probabilities(tree, profile), np.zeros((tree.num_nodes, 2))
    for above, nodes in zip(tree.levels[-2::-1], tree.levels[:0:-1], strict=True):
        parents = tree.parent[nodes] - above.start
        edge = probabilities[nodes, None] * (tree.rewards[nodes] + worth[nodes])
        for player in PLAYERS:
            worth[above, player] = sums_by(parents, edge[:, player], above.stop - above.start)
    return worth


def action_values(tree: GameTree, profile: Sequence[Policy], *, to_go: bool = False) -> Floats:
    """Return Q_pi(s, a) for the edge (s, a) into each node (eq. 4); shape (N, 2), NaN at the root.

    Args:
        tree: of the game.
        profile: what both players do after the edge.
        to_go: leave out what was paid before s; eq. 4 itself is the full return.
    """
    values = tree.rewards + state_values(tree, profile)
    if not to_go:
        values[1:] += prefix_returns(tree)[tree.parent[1:]]
    values[0] = np.nan
    return values


def expected_returns(tree: GameTree, profile: Sequence[Policy]) -> Floats:
    """Return R^i(pi) of both players (eq. 3); shape (2,)."""
    first, second = (
        table.reach(policy) for table, policy in zip(tree.tables, check_profile(tree, profile), strict=True)
    )
    weights = first[tree.rows] * second[tree.columns]
    returns: Floats = weights @ tree.values
    return returns


def counterfactual_values(tree: GameTree, player: int, profile: Sequence[Policy]) -> Floats:
    """Return the value of each of the player's actions, weighted by the others' reach; shape (A,).

    For an information state I and a token a this is the sum over the nodes s in I of chance's and the opponent's
    probability of coming to s, times the player's return after s and a (Zinkevich et al., 2007).
    """
    check_player(player)
    table, other, profile = tree.tables[player], tree.tables[1 - player], check_profile(tree, profile)
    gradient = tree.gradient(player, other.reach(profile[1 - player]))
    return table.back_up(gradient, profile[player])


def best_response(tree: GameTree, player: int, opponent_policy: Policy, *, ties: str = "first") -> BestResponse:
    """Return a best response to a fixed opponent (eq. 5), one action an information state.

    Args:
        tree: of the game.
        player: who responds.
        opponent_policy: the other player's.
        ties: which of several best tokens is taken, the "first" or the "last" in the order of their ids.
    """
    check_player(player)
    table = tree.tables[player]
    opponent = check_policy(tree, 1 - player, opponent_policy)
    gradient = tree.gradient(player, tree.tables[1 - player].reach(opponent))
    values = table.best_values(gradient)
    return BestResponse(table.greedy(values, ties=ties), table.root_value(gradient, table.maxima(values)))


def best_response_gains(tree: GameTree, profile: Sequence[Policy]) -> Floats:
    """Return what each player would gain by its best response, the other fixed (eq. 6: 0 at equilibrium); (2,)."""
    profile = check_profile(tree, profile)
    plans = [table.reach(policy) for table, policy in zip(tree.tables, profile, strict=True)]
    gains = np.zeros(2)
    for player in PLAYERS:
        table, gradient = tree.tables[player], tree.gradient(player, plans[1 - player])
        best = table.root_value(gradient, table.maxima(table.best_values(gradient)))
        gains[player] = best - gradient @ plans[player]
    return gains


def nash_conv(tree: GameTree, profile: Sequence[Policy]) -> float:
    """Return the sum of both players' best-response gains: 0 at a Nash equilibrium and nowhere else."""
    return float(best_response_gains(tree, profile).sum())


def mix_by_own_reach(tree: GameTree, player: int, policies: Sequence[Policy], weights: Sequence[float]) -> Policy:
    """Return the behaviour policy equivalent to drawing one of `policies` per episode (Kuhn, 1953).

    At each information state the members count by weight times *own* reach, the player's own probability of coming
    there; where none of them comes, tokens are equally likely.

    Args:
        tree: of the game.
        player: whose policies these are.
        policies: the members; at least one.
        weights: >= 0, not all 0; they need not sum to 1.
    """
    table = tree.tables[player]
    proper = len(policies) == len(weights) > 0 and all(weight >= 0 for weight in weights)
    if not proper or not 0 < sum(weights) < np.inf:
        raise ValueError(f"weights: expected {len(policies)} numbers >= 0, one a policy, not all 0, got {weights}")
    checked = [check_policy(tree, player, policy) for policy in policies]
    plans = [weight * table.reach(policy) for policy, weight in zip(checked, weights, strict=True)]
    return table.policy_of(np.sum(plans, axis=0))


@dataclass(frozen=True)
class InducedMDP:
    """What one player faces when the other is fixed (eq. 5): its information states as a Markov decision process.

    An information state follows exactly one action (perfect recall), so the transitions are one number each: row
    `table.parent_sequence[i] - 1` of the matrix has `transitions[i]` in column i, and what is missing to 1 is the end.
    """

    table: InfostateTable
    transitions: Floats
    """Pr(s'|s, a), with the s and a that lead to s'; at the first level Pr(s') at the start; shape (I,)."""
    rewards: Floats
    """Expected pay from an action until the player's next, the opponent's tokens included; shape (A,)."""
    opening_reward: float
    """Expected pay before the player's first action, or without one."""
    reachable: NDArray[np.bool_]
    """Whether chance and the opponent let the player come to the information state; elsewhere all is 0; shape (I,)."""

    def transition_matrix(self) -> Floats:
        """Return Pr(s'|s, a); shape (A, I)."""
        matrix = np.zeros((self.table.num_actions, self.table.num_infostates))
        later = np.flatnonzero(self.table.parent_sequence > 0)
        matrix[self.table.parent_sequence[later] - 1, later] = self.transitions[later]
        return matrix

    def value_iteration(self) -> tuple[Floats, float]:
        """Return the best values of the actions (A,) and the best return."""
        table, best = self.table, self.rewards.copy()
        for states in table.levels[:0:-1]:
            worth = table.maxima(best)[states] * self.transitions[states]
            np.add.at(best, table.parent_sequence[states] - 1, worth)
        start = table.levels[0] if table.levels else slice(0, 0)
        return best, self.opening_reward + float((table.maxima(best)[start] * self.transitions[start]).sum())


def induced_mdp(tree: GameTree, player: int, opponent_policy: Policy) -> InducedMDP:
    """Return the Markov decision process that the player faces against a fixed opponent (eq. 5)."""
    check_player(player)
    table, other = tree.tables[player], 1 - player
    plan = tree.tables[other].reach(check_policy(tree, other, opponent_policy))
    nodes = np.flatnonzero(tree.player == player)
    weights = tree.chance_reach[nodes] * plan[tree.sequences[other, nodes]]
    reach = sums_by(tree.infostate[nodes], weights, table.num_infostates)
    gradient = tree.gradient(player, plan)
    before = np.concatenate([[1.0], table.spread(reach)])[table.parent_sequence]
    rewards = np.divide(
        gradient[1:], table.spread(reach), where=table.spread(reach) > 0, out=np.zeros(len(gradient) - 1)
    )
    transitions = np.divide(reach, before, where=before > 0, out=np.zeros_like(reach))
    return InducedMDP(table, transitions, rewards, float(gradient[0]), reach > 0)


def backward_induction(tree: GameTree) -> tuple[Profile, Floats]:
    """Return a pure subgame-perfect equilibrium of a game of perfect information, and all nodes' values (N, 2).

    Values are what both players are paid after the node; among equally good tokens the first is taken.

    Raises:
        ValueError: somebody has to speak without knowing all that has happened.
    """
    if not tree.is_perfect_information:
        raise ValueError(
            f"backward_induction: expected a game of perfect information, got {type(tree.game).__name__}, where one "
            "information state holds several nodes"
        )
    policies = (np.zeros(tree.tables[0].num_actions), np.zeros(tree.tables[1].num_actions))
    worth = np.zeros((tree.num_nodes, 2))
    for nodes in tree.levels[:1:-1]:
        edge = tree.rewards[nodes] + worth[nodes]
        parents, first = np.unique(tree.parent[nodes], return_index=True)
        mover = tree.player[tree.parent[nodes]]
        own = edge[np.arange(len(edge)), mover]
        best = np.repeat(np.maximum.reduceat(own, first), np.diff([*first.tolist(), len(own)]))
        ranks = np.where(own >= best - TIE * np.abs(own).max(), np.arange(len(own)), len(own))
        chosen = np.minimum.reduceat(ranks, first)
        worth[parents] = edge[chosen]
        for player in PLAYERS:
            policies[player][tree.action[nodes][chosen[mover[chosen] == player]]] = 1.0
    deals = tree.levels[1]
    worth[0] = tree.chance_reach[deals] @ (tree.rewards[deals] + worth[deals])
    return policies, worth
