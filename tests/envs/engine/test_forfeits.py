"""An illegal token must never pay: learners would find it, and the exact tree has no such edges."""

import numpy as np
import pytest

from duologue.envs import make_game, registered_games
from duologue.envs.tree.analysis import GameTree, TreeTooLarge

LARGE = {"tic_tac_toe-v0", "red_team-v0", "red_team_text-v0"}


def secured(tree: GameTree, player: int) -> np.ndarray:
    """Return what the player's best token secures in each information state, whatever anybody says later; (I,)."""
    table, worst = tree.tables[player], np.where(tree.player < 0, 0.0, np.inf)
    by_action = np.full(table.num_actions, np.inf)
    for nodes in tree.levels[:0:-1]:
        edge = tree.rewards[nodes, player] + worst[nodes]
        np.minimum.at(worst, tree.parent[nodes], edge)
        own = (tree.player[tree.parent[nodes]] == player) & (tree.action[nodes] >= 0)
        np.minimum.at(by_action, tree.action[nodes][own], edge[own])
    return table.maxima(by_action)


@pytest.mark.parametrize("name", sorted(set(registered_games()) - LARGE))
def test_forfeit_is_never_better_than_the_best_word(name: str) -> None:
    """Some legal word secures at least as much, over every line of play of the games that enumerate."""
    game = make_game(name)
    try:
        tree = GameTree(game, max_nodes=100_000)
    except TreeTooLarge:
        pytest.skip(f"{name} does not enumerate")
    for player in (0, 1):
        assert (secured(tree, player) >= game.forfeit_rewards(player)[player] - 1e-12).all()
