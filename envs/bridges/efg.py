"""Gambit's .efg files: read one as a language game, write any small game as one.

The format is the extensive form of Gambit ("EFG 2 R"), which OpenSpiel's `efg_game` reads as well: nodes in depth-first
order, chance and outcomes at any of them. `read_efg` takes all of it for two players; `write_efg` keeps to the part
that both programs read: chance at the root, where this package has it, and payoffs at the leaves.

>>> from duologue.envs.games.bluff import Bluff
>>> from duologue.envs.tree import GameTree
>>> game = read_efg(write_efg(GameTree(Bluff())))
>>> game.roles, GameTree(game).num_nodes
(('bettor', 'caller'), 11)
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..tree.enumeration import CHANCE, TERMINAL
from ..tree.game_tree import GameTree, prefix_returns
from .efg_reader import EfgError, parse_efg
from .explicit import ExplicitGame

__all__ = ["EfgError", "read_efg", "write_efg"]

MAX_DENOMINATOR = 1_000_000
"""Probabilities that are fractions with no larger a denominator are written as fractions."""


def read_efg(source: str | Path) -> ExplicitGame:
    """Return the game of an .efg file.

    A turn is an action's label (blanks become underscores), and a player is told the name of its information set before
    it decides. Chance may stand anywhere; it is drawn at the root, see `duologue.envs.bridges.explicit`.

    Args:
        source: a file (a `Path`, or a string that ends in ".efg"), else the text itself.

    Raises:
        EfgError: not readable or malformed (with line and column), not for two players, or without perfect recall.
    """
    is_file = isinstance(source, Path) or (source.endswith(".efg") and "\n" not in source)
    name = f"{source}: " if is_file else ""
    try:
        file = parse_efg(Path(source).read_text(encoding="utf-8-sig") if is_file else str(source))
        return ExplicitGame(file.nodes, roles=file.players)
    except (OSError, ValueError) as error:
        raise EfgError(f"{name}{error}") from error


def write_efg(tree: GameTree, path: str | Path | None = None) -> str:
    """Return a game as the text of an .efg file that Gambit and OpenSpiel read; write it to `path` if there is one.

    Every token is an action, `<eos>` included. Information set i of player p is number i + 1 of player p + 1 there, its
    name is what the player has been told, and its actions stand in the order of the tree's policies. Rewards are summed
    up at the leaves; numbers are exact (`repr`), and probabilities sum to exactly 1, as Gambit demands.
    """
    roles = " ".join(_quoted(role) for role in tree.game.roles)
    lines = [f"EFG 2 R {_quoted(type(tree.game).__name__)} {{ {roles} }}", *_node_lines(tree)]
    text = "\n".join(lines) + "\n"
    if path is not None:
        Path(path).write_text(text, encoding="utf-8")
    return text


def _node_lines(tree: GameTree) -> Iterator[str]:
    """Yield the lines of all nodes, depth first; the root only if chance has a choice."""
    returns, outcomes = prefix_returns(tree), dict[str, int]()
    decisions = [_decision_lines(tree, player) for player in (0, 1)]
    starts, children = _children(tree)
    stack = [0] if len(tree.deals) > 1 else [1]
    while stack:
        node = stack.pop()
        player = int(tree.player[node])
        if player == CHANCE:
            yield f'c "" 1 "deal" {{ {_chances(tree)} }} 0'
        elif player == TERMINAL:
            payoffs = ", ".join(_decimal(float(paid)) for paid in returns[node])
            yield f't "" {outcomes.setdefault(payoffs, len(outcomes) + 1)} "" {{ {payoffs} }}'
        else:
            yield decisions[player][int(tree.infostate[node])]
        stack += children[starts[node] : starts[node + 1]][::-1].tolist()


def _decision_lines(tree: GameTree, player: int) -> list[str]:
    """Return the line of the nodes of each of the player's information states."""
    table, lines = tree.tables[player], []
    for k in range(table.num_infostates):
        tokens = table.tokens[table.offsets[k] : table.offsets[k + 1]].tolist()
        words = [tree.game.vocabulary.decode((token,)) for token in tokens]
        actions = " ".join(
            _quoted(word if words.count(word) == 1 else f"{word}#{token}")
            for word, token in zip(words, tokens, strict=True)
        )
        lines.append(f'p "" {player + 1} {k + 1} {_quoted(tree.infostate_text(player, k))} {{ {actions} }} 0')
    return lines


def _children(tree: GameTree) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return all nodes but the root, sorted by parent and action, and where each node's children begin."""
    order = np.lexsort((tree.action[1:], tree.parent[1:])) + 1
    return np.searchsorted(tree.parent[order], np.arange(tree.num_nodes + 1)), order


def _chances(tree: GameTree) -> str:
    """Return the deals' labels and probabilities, which sum to exactly 1."""
    probabilities = tree.chance_reach[tree.levels[1]].tolist()
    fractions = [Fraction(p).limit_denominator(MAX_DENOMINATOR) for p in probabilities]
    exact = sum(fractions) == 1 and all(float(f) == p for f, p in zip(fractions, probabilities, strict=True))
    if exact:
        texts = [str(fraction) for fraction in fractions]
    else:
        decimals = [Fraction(_decimal(p)) for p in probabilities]
        largest = max(range(len(decimals)), key=decimals.__getitem__)
        decimals[largest] += 1 - sum(decimals)  # what rounding has left over
        texts = [_exact_decimal(decimal) for decimal in decimals]
    return " ".join(f'"deal{k}" {text}' for k, text in enumerate(texts, start=1))


def _decimal(number: float) -> str:
    """Return the shortest decimal that is read back as this number, without an exponent."""
    return format(Decimal(repr(number)), "f") if number else "0"


def _exact_decimal(number: Fraction) -> str:
    """Return a fraction whose denominator divides a power of ten as a decimal, digit for digit."""
    digits = 0
    while (number * 10**digits).denominator != 1:
        digits += 1
    text = str(int(number * 10**digits)).rjust(digits + 1, "0")
    return f"{text[:-digits]}.{text[-digits:]}" if digits else text


def _quoted(label: str) -> str:
    escaped = label.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
