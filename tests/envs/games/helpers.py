"""What the tests of the sequential games share: play words, and write a policy down in words."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from duologue.envs import Episode, LanguageGame
from duologue.envs.tree.analysis import GameTree, Policy

SPECIAL = ("<bos>", "<eos>", "<player_0>", "<player_1>", "<game>")


def played(game: LanguageGame[Any], deal: Any, words: str) -> Episode[Any]:
    """Play words, separated by blanks, one after the other."""
    episode = Episode(game, deal)
    for token in game.vocabulary.encode(words):
        episode.push(token)
    return episode


def policy(tree: GameTree, player: int, choose: Callable[[str], Mapping[str, float]]) -> Policy:
    """Return a policy given as word -> probability for the words that a player has heard, been told and said."""
    table, decode = tree.tables[player], tree.game.vocabulary.decode
    probabilities = np.zeros(table.num_actions)
    for action, (infostate, token) in enumerate(zip(table.infostate_of, table.tokens, strict=True)):
        known = tree.infostate_text(player, int(infostate)).split()
        chosen = choose(" ".join(word for word in known if word not in SPECIAL))
        probabilities[action] = chosen.get(decode((int(token),)), 0.0)
    return probabilities
