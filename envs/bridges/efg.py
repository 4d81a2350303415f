"""Gambit's .efg files: read one as a language game, write any small game as one.

The format is the extensive form of Gambit ("EFG 2 R"), which OpenSpiel's `efg_game` reads as well: nodes in depth-first
order, chance and outcomes at any of them. `read_efg` takes all of it for two players; `write_efg` keeps to the part
that both programs read: chance at the root, where this package has it, payoffs at the leaves, labels of printable
ASCII without quotation marks, backslashes and braces. Where a label is none, all of the file's are percent-encoded, as
its comment says; `read_efg` gives them back.

>>> from duologue.envs.games.bluff import Bluff
>>> from duologue.envs.tree import GameTree
>>> game = read_efg(write_efg(GameTree(Bluff())))
>>> game.roles, GameTree(game).num_nodes
(('bettor', 'caller'), 11)
"""

from __future__ import annotations

import math
import re
import string
from collections import Counter
from collections.abc import Iterator, Sequence
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from ..tree.enumeration import CHANCE, TERMINAL
from ..tree.game_tree import GameTree, prefix_returns
from .efg_reader import ENCODED, MAX_NODES, EfgError, parse_efg
from .explicit import ExplicitGame

__all__ = ["EfgError", "read_efg", "write_efg"]

MAX_DENOMINATOR = 1_000_000
"""Probabilities that are fractions with no larger a denominator are written as fractions."""
MAX_BYTES = 1 << 28
"""The largest file that is read."""
PLAIN = re.compile(r"[!#-\[\]-z|~]*(?: [!#-\[\]-z|~]+)*")
BAD_BLANK = re.compile(r"^ | $|(?<= ) ")
"""Labels that Gambit, OpenSpiel and this package read alike, and blanks that Gambit takes in none."""
SAFE = "".join(set(string.punctuation) - set('"\\%{}'))
"""Stands beside letters and digits in an encoded label."""


def read_efg(source: str | Path, *, max_nodes: int = MAX_NODES) -> ExplicitGame:
    """Return the game of an .efg file.

    A turn is an action's label (blanks become underscores), and a player is told the name of its information set before
    it decides. Chance may stand anywhere; it is drawn at the root, see `duologue.envs.bridges.explicit`.

    Args:
        source: a file (a `Path`, or a string that ends in ".efg") in UTF-8, else the text itself.
        max_nodes: the most nodes that it may have.

    Raises:
        EfgError: not readable or malformed (with line and column), too large, not for two players, or without perfect
            recall.
    """
    is_file = isinstance(source, Path) or (source.endswith(".efg") and "\n" not in source)
    name = f"{source}: " if is_file else ""
    try:
        file = parse_efg(_text(Path(source)) if is_file else str(source).removeprefix("\ufeff"), max_nodes=max_nodes)
        return ExplicitGame(file.nodes, roles=file.players)
    except (OSError, ValueError) as error:
        raise EfgError(f"{name}{error}") from error


def write_efg(tree: GameTree, path: str | Path | None = None) -> str:
    """Return a game as the text of an .efg file that Gambit and OpenSpiel read; write it to `path` if there is one.

    Every token is an action, `<eos>` included. Information set i of player p is number i + 1 of player p + 1 there, its
    name is what the player has been told, and its actions stand in the order of the tree's policies; names that are
    empty or the same end in a number. Rewards are summed up at the leaves; numbers are exact (`repr`), and
    probabilities sum to exactly 1, as Gambit demands.

    Raises:
        ValueError: a payoff is not finite.
    """
    title, roles = type(tree.game).__name__, _unlike(tree.game.roles)
    decisions = [_decisions(tree, player) for player in (0, 1)]
    names = (name for infosets in decisions for infoset, actions in infosets for name in (infoset, *actions))
    encoded = not all(PLAIN.fullmatch(name) for name in (title, *roles, *names))

    def label(name: str) -> str:
        return f'"{_encoded(name)}"' if encoded else f'"{name}"'

    comment = f' "{ENCODED}"' if encoded else ""
    head = f"EFG 2 R {label(title)} {{ {' '.join(map(label, roles))} }}{comment}"
    described = [
        [
            f'p "" {player + 1} {k} {label(infoset)} {{ {" ".join(map(label, actions))} }} 0'
            for k, (infoset, actions) in enumerate(infosets, start=1)
        ]
        for player, infosets in enumerate(decisions)
    ]
    lines = [head, *_node_lines(tree, described)]
    text = "\n".join(lines) + "\n"
    if path is not None:
        Path(path).write_text(text, encoding="utf-8")
    return text


def _text(path: Path) -> str:
    """Return what a file in UTF-8 says, a byte order mark at its head left out."""
    with path.open("rb") as file:
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise ValueError(f"expected a file of at most {MAX_BYTES:,} bytes, got a larger one")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ValueError(f"line {line}: expected text in UTF-8, got another encoding ({error})") from error


def _node_lines(tree: GameTree, decisions: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield the lines of all nodes, depth first; the root only if chance has a choice.

    Args:
        tree: the game.
        decisions: the line of the nodes of each information state, by player.
    """
    returns, outcomes = prefix_returns(tree), dict[str, int]()
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


def _decisions(tree: GameTree, player: int) -> list[tuple[str, list[str]]]:
    """Return the names of each of the player's information states and of its actions."""
    table, decode = tree.tables[player], tree.game.vocabulary.decode
    infosets = _unlike([tree.infostate_text(player, k) for k in range(table.num_infostates)])
    ends = table.offsets.tolist()
    actions = (table.tokens[start:end].tolist() for start, end in pairwise(ends))
    return [
        (name, _unlike([decode((token,)) for token in tokens], [str(token) for token in tokens]))
        for name, tokens in zip(infosets, actions, strict=True)
    ]


def _unlike(names: Sequence[str], numbers: Sequence[str] | None = None) -> list[str]:
    """Return the names, those that are empty or not alone with a number behind them."""
    times, unlike = Counter(names), list[str]()
    for name, number in zip(names, numbers or map(str, range(1, len(names) + 1)), strict=True):
        if not name or times[name] > 1:
            name = f"{name}#{number}"
            while name in times:  # some other one's name
                name += "#"
        unlike.append(name)
    return unlike


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
    if not math.isfinite(number):
        raise ValueError(f"payoffs: expected finite numbers, got {number}")
    return format(Decimal(repr(number)), "f") if number else "0"


def _exact_decimal(number: Fraction) -> str:
    """Return a fraction whose denominator divides a power of ten as a decimal, digit for digit."""
    digits = 0
    while (number * 10**digits).denominator != 1:
        digits += 1
    text = str(int(number * 10**digits)).rjust(digits + 1, "0")
    return f"{text[:-digits]}.{text[-digits:]}" if digits else text


def _encoded(label: str) -> str:
    """Return a label as printable ASCII: other characters percent-encoded, and blanks where Gambit takes none."""
    return BAD_BLANK.sub("%20", quote(label, safe=f"{SAFE} ", errors="surrogatepass"))
