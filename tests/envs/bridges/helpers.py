"""What the tests of the bridges share: random extensive forms, and policies carried from one side to the other."""

import pathlib
import re
import tempfile
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from duologue.envs.bridges.explicit import ExplicitNode
from duologue.envs.tree.analysis import CHANCE, TERMINAL, GameTree, Profile, best_response, expected_returns, nash_conv

TOLERANCE = 1e-9


def random_profile(tree: GameTree, seed: int) -> Profile:
    """Return a profile with random weights, some of them zero."""
    rng = np.random.default_rng(seed)
    first, second = (
        table.normalise(rng.exponential(size=table.num_actions) * (rng.random(table.num_actions) < 0.8))
        for table in tree.tables
    )
    return first, second


def random_nodes(seed: int, *, max_depth: int = 5) -> list[ExplicitNode]:
    """Return a random extensive form: chance anywhere, by rational numbers, pay at every node, hidden moves.

    An information set is what the player did and saw; of the other's actions and of chance it sees those that the
    seed lets it see.
    """
    rng = np.random.default_rng(seed)
    zero_sum = rng.random() < 0.5
    nodes: list[ExplicitNode] = []
    num_actions: dict[tuple[int, tuple[str, ...]], int] = {}

    def pay() -> tuple[float, float]:
        first, second = (float(number) for number in rng.integers(-4, 5, 2) / 4)
        return first, -first if zero_sum else second

    def grow(depth: int, seen: tuple[tuple[str, ...], tuple[str, ...]]) -> int:
        index = len(nodes)
        player = TERMINAL if depth == max_depth else int(rng.choice([CHANCE, 0, 1, TERMINAL], p=[0.3, 0.3, 0.3, 0.1]))
        nodes.append(ExplicitNode(TERMINAL, rewards=pay()))
        if player == TERMINAL:
            return index
        size = int(rng.integers(1, 4))
        size = size if player == CHANCE else num_actions.setdefault((player, seen[player]), size)
        names = tuple(f"{'c' if player == CHANCE else 'a'}{k}" for k in range(size))
        hears = [who == player or rng.random() < 0.5 for who in (0, 1)]
        children = []
        for name in names:
            told = [(*seen[who], f"{player}{name}@{len(seen[who])}") if hears[who] else seen[who] for who in (0, 1)]
            children.append(grow(depth + 1, (told[0], told[1])))
        weights = [int(weight) for weight in rng.integers(1, 5, size)]
        chances = tuple(Fraction(weight, sum(weights)) for weight in weights) if player == CHANCE else ()
        infoset = "" if player == CHANCE else " ".join(("knows", *seen[player]))
        nodes[index] = ExplicitNode(player, infoset, names, tuple(children), chances, nodes[index].rewards)
        return index

    grow(0, ((), ()))
    return nodes


def at_leaves(nodes: list[ExplicitNode]) -> list[ExplicitNode]:
    """Return the nodes with all that a path pays summed up at its leaf."""
    summed = list(nodes)
    for index, node in enumerate(nodes):
        first, second = summed[index].rewards
        for child in node.children:
            own = summed[child].rewards
            summed[child] = summed[child]._replace(rewards=(own[0] + first, own[1] + second))
        if node.children:
            summed[index] = summed[index]._replace(rewards=(0.0, 0.0))
    return summed


def efg_of(nodes: list[ExplicitNode]) -> str:
    """Return nodes as an .efg file with outcomes and chance wherever they stand, none moved."""
    numbers: dict[tuple[int, str], int] = {}
    lines = ['EFG 2 R "random" { "one" "two" } "a comment"']
    stack, outcomes, chances = [0], 0, 0
    while stack:
        node = nodes[stack.pop()]
        outcomes += 1
        pay = f'{outcomes} "" {{ {node.rewards[0]}, {node.rewards[1]} }}'
        pay = pay if any(node.rewards) or node.player == TERMINAL else "0"
        if node.player == TERMINAL:
            lines.append(f't "" {pay}')
        elif node.player == CHANCE:
            chances += 1
            drawn = " ".join(f'"{name}" {p}' for name, p in zip(node.actions, node.probabilities, strict=True))
            lines.append(f'c "" {chances} "" {{ {drawn} }} {pay}')
        else:
            own = sum(player == node.player for player, _ in numbers)
            number = numbers.setdefault((node.player, node.infoset), own + 1)
            actions = " ".join(f'"{name}"' for name in node.actions)
            lines.append(f'p "" {node.player + 1} {number} "{node.infoset}" {{ {actions} }} {pay}')
        stack += node.children[::-1]
    return "\n".join(lines)


def load_efg(text: str) -> Any:
    """Return OpenSpiel's reading of the text of an .efg file."""
    import pyspiel

    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "game.efg"
        path.write_text(text, encoding="utf-8")
        return pyspiel.load_game(f"efg_game(filename={path})")


def to_openspiel_efg(tree: GameTree, profile: Profile, game: Any) -> Any:
    """Return the profile as OpenSpiel's policy of `write_efg(tree)`: the same numbers, actions in the same order."""
    from open_spiel.python import policy

    table = policy.TabularPolicy(game)
    for key, row in table.state_lookup.items():
        player, number, _ = efg_infoset(key)
        probabilities = np.split(profile[player], tree.tables[player].offsets[1:-1])[number]
        _write(table, row, probabilities)
    return table


def to_openspiel(tree: GameTree, profile: Profile, game: Any) -> Any:
    """Return the profile of a game that `from_openspiel` enumerated as OpenSpiel's policy."""
    from open_spiel.python import policy

    table = policy.TabularPolicy(game)
    named = [infoset_names(tree, player) for player in (0, 1)]
    for key, row in table.state_lookup.items():
        state = table.states[row]
        player = state.current_player()
        infostate = named[player]["_".join(key.split())]
        probabilities = np.split(profile[player], tree.tables[player].offsets[1:-1])[infostate]
        said = dict(zip(infostate_words(tree, player, infostate), probabilities, strict=True))
        names = [state.action_to_string(player, action) for action in state.legal_actions()]
        _write(table, row, np.array([said["_".join(name.split())] for name in names]))
    return table


def _write(table: Any, row: int, probabilities: NDArray[np.float64]) -> None:
    legal = np.flatnonzero(table.legal_actions_mask[row])
    table.action_probability_array[row] = 0
    table.action_probability_array[row, legal] = probabilities


def efg_infoset(key: str) -> tuple[int, int, str]:
    """Return player, number from 0 and name of OpenSpiel's information state of an .efg file."""
    found = re.match(r"(\d+)-\d+-(\d+)-(.*)", key, re.DOTALL)
    assert found is not None
    return int(found[1]), int(found[2]) - 1, found[3]


def infostate_words(tree: GameTree, player: int, infostate: int) -> list[str]:
    """Return the words that may be said in an information state."""
    table = tree.tables[player]
    tokens = table.tokens[table.offsets[infostate] : table.offsets[infostate + 1]].tolist()
    return [tree.game.vocabulary.decode((token,)) for token in tokens]


def infoset_names(tree: GameTree, player: int) -> dict[str, int]:
    """Return the number of each information state by the last thing that the game told the player there."""
    names = {}
    for infostate in range(tree.tables[player].num_infostates):
        told = [message.tokens for message in tree.view(player, infostate).messages if message.speaker is None]
        names["_".join(tree.game.vocabulary.decode(told[-1]).split())] = infostate
    return names


class Values(NamedTuple):
    """What either side says of a profile."""

    nash_conv: float
    returns: NDArray[np.float64]
    best: NDArray[np.float64]
    """Each player's best-response value."""


def theirs(game: Any, policy: Any) -> Values:
    """Return what OpenSpiel's Python code says."""
    from open_spiel.python.algorithms import expected_game_score, exploitability

    returns = np.asarray(expected_game_score.policy_value(game.new_initial_state(), [policy, policy]))
    gained = exploitability.nash_conv(game, policy, return_only_nash_conv=False)
    return Values(gained.nash_conv, returns, returns + np.asarray(gained.player_improvements))


def ours(tree: GameTree, profile: Profile) -> Values:
    """Return what this package says."""
    best = [best_response(tree, player, profile[1 - player]).value for player in (0, 1)]
    return Values(nash_conv(tree, profile), expected_returns(tree, profile), np.asarray(best))


def assert_agree(first: Values, second: Values, *, tolerance: float = TOLERANCE) -> None:
    """Check all numbers."""
    assert abs(first.nash_conv - second.nash_conv) <= tolerance
    np.testing.assert_allclose(first.returns, second.returns, rtol=0, atol=tolerance)
    np.testing.assert_allclose(first.best, second.best, rtol=0, atol=tolerance)
