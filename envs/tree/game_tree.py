"""A whole game as flat arrays: its nodes, both players' information states, and its sequence form."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..engine.contract import TOLERANCE, check_rewards
from ..engine.episode import Episode
from ..engine.views import Choice, Observation, View
from ..game import PLAYERS, LanguageGame, check_attributes, check_player, checked_game
from .enumeration import TERMINAL, Walk, walk
from .infostates import Floats, InfostateTable, Ints, sums_by


class GameTree:
    """Every line of play of a game as flat arrays, breadth first and read-only.

    Node 0 is the root, where chance deals; its children are the deals, and all other edges are tokens. A node is the
    state s that its edges lead to; rewards stand at the edge into a node. Illegal tokens are not in the tree, so that
    its equilibria are those of players who never forfeit; that is no loss where a forfeit costs the most that can be
    lost, or what a legal word secures, as in every registered game.
    """

    parent: NDArray[np.int32]
    """The node before, -1 at the root; shape (N,)."""
    player: NDArray[np.int8]
    """Who is to speak: 0, 1, `CHANCE` or `TERMINAL`; shape (N,)."""
    token: NDArray[np.int32]
    """The token on the edge into the node, -1 at the root and the deals; shape (N,)."""
    action: NDArray[np.int32]
    """Where the mover's policy has that edge's probability, -1 at the root and the deals; shape (N,)."""
    infostate: NDArray[np.int32]
    """Which information state of `tables[player]` the node lies in, -1 where nobody is to speak; shape (N,)."""
    rewards: Floats
    """What both players are paid on the edge into the node; shape (N, 2)."""
    chance_reach: Floats
    """The probability of the node's deal; shape (N,)."""
    sequences: NDArray[np.int32]
    """Each player's own actions so far, as the number of a sequence; shape (2, N)."""
    depth_offsets: Ints
    """The nodes of depth d are depth_offsets[d]:depth_offsets[d + 1]."""
    tables: tuple[InfostateTable, InfostateTable]
    """The decision points of player 0 and of player 1."""
    rows: Ints
    """Player 0's sequence of each entry of the sequence form; shape (E,)."""
    columns: Ints
    """Player 1's sequence of each entry; shape (E,)."""
    values: Floats
    """What both players are paid there, weighted by chance; shape (E, 2)."""

    def __init__(
        self,
        game: LanguageGame[Any],
        *,
        max_nodes: int = 10_000_000,
        max_bytes: int = 8 << 30,
        progress: Callable[[int], None] | None = None,
    ) -> None:
        """Enumerate the game.

        Args:
            game: rules whose deals can be listed.
            max_nodes: the most nodes that the tree may have.
            max_bytes: the most memory that making it may take, by estimate.
            progress: called now and then with the number of nodes so far.

        Raises:
            TreeTooLarge: the game is larger than that; the message has the estimated size.
            TypeError: these are no rules, or an attribute of theirs is of another type.
            ValueError: the deals cannot be listed, the rules break their contract, or a player forgets.
        """
        self.game = checked_game(game)
        try:
            walked, self.deals = walk(game, max_nodes=max_nodes, max_bytes=max_bytes, progress=progress)
            _lay_out(self, walked)
            _check_payoffs(self)
        except (AttributeError, TypeError):
            check_attributes(game)
            raise
        self.rows, self.columns, self.values = _sequence_form(self)
        self._columns_of_player = [np.ascontiguousarray(self.values[:, player]) for player in PLAYERS]
        for shared in (*vars(self).values(), *vars(self.tables[0]).values(), *vars(self.tables[1]).values()):
            if isinstance(shared, np.ndarray):
                shared.setflags(write=False)

    @property
    def num_nodes(self) -> int:
        """The number N of nodes, the root included."""
        return len(self.parent)

    @property
    def nbytes(self) -> int:
        """The memory that the arrays take, in bytes."""
        arrays = [*vars(self).values(), *(array for table in self.tables for array in vars(table).values())]
        return sum(array.nbytes for array in arrays if isinstance(array, np.ndarray))

    @cached_property
    def levels(self) -> tuple[slice, ...]:
        """The nodes of each depth, the root first."""
        offsets = self.depth_offsets.tolist()
        return tuple(slice(low, high) for low, high in itertools.pairwise(offsets))

    @cached_property
    def is_perfect_information(self) -> bool:
        """Whether every information state is one node: who is to speak knows all that has happened."""
        return sum(table.num_infostates for table in self.tables) == int((self.player >= 0).sum())

    @cached_property
    def is_zero_sum(self) -> bool:
        """Whether the players' rewards sum to 0 at every edge, within 1e-9 of the largest."""
        return bool((np.abs(self.rewards.sum(1)) <= TOLERANCE * np.abs(self.rewards).max()).all())

    @cached_property
    def payoff_range(self) -> float:
        """The largest difference between two plays' returns to one player."""
        returns = prefix_returns(self)[self.player == TERMINAL]
        return float(np.ptp(returns, axis=0).max())

    def gradient(self, player: int, opponent_plan: Floats) -> Floats:
        """Return how the player's return grows with each of its own sequences' reach; shape (A + 1,).

        Args:
            player: whose return.
            opponent_plan: the other's realisation plan, from `InfostateTable.reach`.
        """
        own, other = (self.rows, self.columns) if player == 0 else (self.columns, self.rows)
        weights = self._columns_of_player[player] * opponent_plan[other]
        return sums_by(own, weights, self.tables[player].num_actions + 1)

    def path(self, node: int) -> list[int]:
        """Return the nodes from the deal to `node`."""
        nodes = []
        while node > 0:
            nodes.append(node)
            node = int(self.parent[node])
        return nodes[::-1]

    def episode(self, node: int) -> Episode[Any]:
        """Return the play that leads to `node` (not the root), by way of the engine; IndexError if there is none."""
        if not 0 < node < self.num_nodes:
            raise IndexError(f"node: expected a number in [1, {self.num_nodes}), got {node}")
        deal, *later = self.path(node)
        episode = Episode(self.game, self.deals[deal - 1])
        for step in later:
            episode.push(int(self.token[step]))
        return episode

    def view(self, player: int, infostate: int) -> View:
        """Return what the player knows in one of its information states; IndexError if it has no such one."""
        check_player(player)
        num_infostates = self.tables[player].num_infostates
        if not 0 <= infostate < num_infostates:
            raise IndexError(f"infostate: expected a number in [0, {num_infostates}), got {infostate}")
        return self.episode(int(self.tables[player].nodes[infostate])).view()

    def observations(self, player: int) -> list[Observation]:
        """Return what the player observes in each of its information states, as in the AEC form."""
        check_player(player)
        observed: list[Observation] = []
        for node in self.tables[player].nodes.tolist():
            episode = self.episode(node)
            mask = episode.open_turn.legal_mask.copy()
            observed.append({"observation": episode.views[player].copy(), "action_mask": mask})
        return observed

    def choices(self, player: int) -> tuple[Ints, list[Choice]]:
        """Return the player's information states with more than one legal token, (n,), and what it knows in each."""
        check_player(player)
        table, known = self.tables[player], list[Choice]()
        infostates = np.flatnonzero(np.diff(table.offsets) > 1)
        for infostate in infostates.tolist():
            episode = self.episode(int(table.nodes[infostate]))
            tokens = episode.views[player, : episode.lengths[player]]
            legal = table.tokens[table.offsets[infostate] : table.offsets[infostate + 1]]
            known.append(Choice(tuple(tokens.tolist()), legal))
        return infostates, known

    def infostate_text(self, player: int, infostate: int) -> str:
        """Return an information state as a reader sees it: the words that the player has been told and has said."""
        return self.game.vocabulary.decode(self.view(player, infostate).tokens.tolist())


def prefix_returns(tree: GameTree) -> Floats:
    """Return what both players have been paid on the path to each node; shape (N, 2)."""
    paid = tree.rewards.copy()
    for nodes in tree.levels[1:]:
        paid[nodes] += paid[tree.parent[nodes]]
    return paid


def _lay_out(tree: GameTree, walked: Walk) -> None:
    """Sort the nodes by depth and the information states by own depth; fill the tree's arrays."""
    depth = np.frombuffer(walked.depth, dtype=np.int32)
    order = np.argsort(depth, kind="stable").astype(np.int32)
    position = np.empty_like(order)
    position[order] = np.arange(len(order), dtype=np.int32)
    parent = np.frombuffer(walked.parent, dtype=np.int32)[order]
    tree.parent = np.where(parent >= 0, position[parent], -1).astype(np.int32)
    tree.player = np.frombuffer(walked.player, dtype=np.int8)[order]
    tree.token = np.frombuffer(walked.token, dtype=np.int32)[order]
    tree.action = np.frombuffer(walked.action, dtype=np.int32)[order]
    tree.infostate = np.frombuffer(walked.infostate, dtype=np.int32)[order]
    tree.rewards = np.stack([np.frombuffer(paid)[order] for paid in walked.rewards], axis=1)
    tree.chance_reach = np.frombuffer(walked.chance)[order]
    tree.depth_offsets = np.concatenate([[0], np.cumsum(np.bincount(depth))])
    tree.tables = (_table(tree, walked, 0), _table(tree, walked, 1))
    tree.sequences = np.stack([_sequences(tree, player) for player in PLAYERS])
    _check_perfect_recall(tree)


def _sequences(tree: GameTree, player: int) -> NDArray[np.int32]:
    """Return the player's own last action, plus 1, on the path to each node; 0 where it has not spoken; (N,)."""
    sequences = np.zeros(tree.num_nodes, dtype=np.int32)
    for nodes in tree.levels[1:]:
        parent = tree.parent[nodes]
        own = tree.player[parent] == player
        sequences[nodes] = np.where(own, tree.action[nodes] + 1, sequences[parent])
    return sequences


def _own_depths(tree: GameTree, player: int, nodes: Ints) -> Ints:
    """Return how often the player has spoken on the path to each of `nodes`."""
    counts = np.zeros(len(nodes), dtype=np.int64)
    current = tree.parent[nodes]
    while (live := current >= 0).any():
        counts += live & (tree.player[current] == player)
        current = np.where(live, tree.parent[current], -1)
    return counts


def _table(tree: GameTree, walked: Walk, player: int) -> InfostateTable:
    """Make the player's table and renumber its information states and actions in the tree's arrays."""
    own = np.flatnonzero(tree.player == player)
    first = np.unique(tree.infostate[own], return_index=True)[1]
    nodes = own[first]  # in the walk's numbering of information states
    depths = _own_depths(tree, player, nodes)
    order = np.argsort(depths, kind="stable")
    counts = np.diff(np.asarray(walked.first_action[player], dtype=np.int64))
    offsets = np.concatenate([[0], np.cumsum(counts[order])])
    new_first, renumbered = np.empty(len(order), dtype=np.int64), np.empty(len(order), dtype=np.int32)
    new_first[order], renumbered[order] = offsets[:-1], np.arange(len(order), dtype=np.int32)
    shift = (new_first - np.asarray(walked.first_action[player][:-1], dtype=np.int64)).astype(np.int32)
    tree.infostate[own] = renumbered[tree.infostate[own]]
    edges = np.flatnonzero((tree.player[tree.parent] == player) & (tree.action >= 0))
    at = order[tree.infostate[tree.parent[edges]]]
    tree.action[edges] += shift[at]
    legal = [walked.legal[player][k] for k in order.tolist()]
    tokens = np.fromiter((token for tokens in legal for token in tokens), dtype=np.int64, count=int(offsets[-1]))
    parents = _parent_sequences(tree, player, nodes[order])
    levels = np.concatenate([[0], np.cumsum(np.bincount(depths))]) if len(depths) else np.zeros(1, dtype=np.int64)
    return InfostateTable(player, offsets, tokens, parents, nodes[order].astype(np.int64), levels)


def _parent_sequences(tree: GameTree, player: int, nodes: Ints) -> Ints:
    """Return the player's sequence at each of `nodes`, climbing from all of them together."""
    sequences, current = np.zeros(len(nodes), dtype=np.int64), nodes.astype(np.int64)
    climbing = np.ones(len(nodes), dtype=bool)
    while climbing.any():
        above = tree.parent[current]
        found = climbing & (above >= 0) & (tree.player[above] == player)
        sequences[found] = tree.action[current[found]] + 1
        climbing &= ~found & (above >= 0)
        current = np.where(climbing, above, current)
    return sequences


def _check_perfect_recall(tree: GameTree) -> None:
    for player in PLAYERS:
        table = tree.tables[player]
        nodes = np.flatnonzero(tree.player == player)
        forgets = tree.sequences[player, nodes] != table.parent_sequence[tree.infostate[nodes]]
        if forgets.any():
            where = tree.infostate_text(player, int(tree.infostate[nodes[forgets][0]]))
            raise ValueError(
                f"GameTree: expected perfect recall, got player {player} forgetting its words at {where!r}"
            )


def _check_payoffs(tree: GameTree) -> None:
    sums = {"zero_sum": tree.rewards.sum(1), "identical": tree.rewards[:, 0] - tree.rewards[:, 1]}
    off = np.abs(sums.get(tree.game.payoff.value, np.zeros(tree.num_nodes)))
    wrong = ~np.isfinite(tree.rewards).all(1) | ~(off <= TOLERANCE)
    for node in np.flatnonzero(wrong)[:1].tolist():
        check_rewards(tree.game, (float(tree.rewards[node, 0]), float(tree.rewards[node, 1])))


def _sequence_form(tree: GameTree) -> tuple[Ints, Ints, Floats]:
    """Return the entries of the payoff matrices over both players' sequences (von Stengel, 1996)."""
    nodes = np.flatnonzero(tree.rewards.any(1))
    width = tree.tables[1].num_actions + 1
    keys = tree.sequences[0, nodes].astype(np.int64) * width + tree.sequences[1, nodes]
    entries, entry = np.unique(keys, return_inverse=True)
    paid = tree.rewards[nodes] * tree.chance_reach[nodes, None]
    sums = [sums_by(entry, paid[:, player], len(entries)) for player in PLAYERS]
    return entries // width, entries % width, np.stack(sums, axis=1)
