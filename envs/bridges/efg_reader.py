"""The reader of Gambit's .efg files: text to a list of nodes, every fault reported with its line and column.

Time and memory grow with the length of the text, whatever it says: numbers, nodes and common denominators are bounded.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import NamedTuple, NoReturn, TypeVar
from urllib.parse import unquote

from ..printable import printable
from ..tree.enumeration import CHANCE, TERMINAL
from .explicit import SUM_TOLERANCE, ExplicitNode

TOKEN = re.compile(
    r"""(?P<text>"[^"\\]*+(?:\\.[^"\\]*+)*+")
    |(?P<number>[+-]?(?:[0-9]+/[0-9]+|(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?)(?=[\s{},"]|$))
    |(?P<mark>[{},])
    |(?P<symbol>[^\s{},"]+)
    |(?P<open>")""",
    re.DOTALL | re.VERBOSE,
)
BLANKS = re.compile(r"\s*")
ESCAPED = re.compile(r'\\(["\\])')
NUM_PLAYERS = 2
ENCODED = "labels are percent-encoded UTF-8 (RFC 3986)"
"""The comment of a file whose labels are to be decoded."""
MAX_NODES = 1_000_000
"""The most nodes that are read where the caller does not say otherwise."""
MAX_NUMBER_LENGTH = 2_000
"""Characters of a number; the longest double written out without an exponent has 1,077."""
MAX_DENOMINATOR_BITS = 8_192
"""Of a chance node's probabilities brought to one denominator."""
MAX_SHOWN = 200
"""Characters of what an error repeats of a file."""

Item = TypeVar("Item")


class EfgError(ValueError):
    """A file that is no extensive form, or none that can be a language game; the message says where and why."""


class EfgFile(NamedTuple):
    """What a file holds."""

    title: str
    players: tuple[str, str]
    nodes: list[ExplicitNode]


class _Token(NamedTuple):
    """A piece of the file."""

    kind: str
    text: str
    start: int

    def __str__(self) -> str:
        return "the end of the file" if self.kind == "end" else repr(self.text[:40])


class _Infoset(NamedTuple):
    """What a file says of an information set, chance's included."""

    label: str
    actions: tuple[str, ...]
    probabilities: tuple[Fraction, ...]


@dataclass
class _Draft:
    """A node whose children are not yet read."""

    player: int
    number: int
    num_children: int
    rewards: tuple[float, float]
    children: list[int] = field(default_factory=list)


class _Lexer:
    """Hands out the pieces of a text one by one."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._position = 0
        self.token = self._next()

    def take(self) -> _Token:
        """Return the current piece and go on."""
        token = self.token
        self.token = self._next()
        return token

    def at(self, text: str) -> bool:
        """Return whether the current piece is this mark or symbol."""
        return self.token.kind in ("mark", "symbol") and self.token.text == text

    def fail(self, expected: str, token: _Token | None = None, got: str = "") -> NoReturn:
        """Raise EfgError at a piece, the current one by default."""
        token = token or self.token
        before = self._text[: token.start]
        line, column = before.count("\n") + 1, token.start - (before.rfind("\n") + 1) + 1
        raise EfgError(f"line {line}, column {column}: expected {_short(expected)}, got {_short(got or str(token))}")

    def _next(self) -> _Token:
        blanks = BLANKS.match(self._text, self._position)
        start = blanks.end() if blanks else self._position
        found = TOKEN.match(self._text, start)
        if found is None:
            return _Token("end", "", len(self._text))
        self._position = found.end()
        token = _Token(found.lastgroup or "", found.group(), start)
        if token.kind == "open":
            self.fail("a closing quotation mark", token, "a label that goes on to the end of the file")
        return token


class _Parser:
    """Reads a file's grammar and remembers the information sets and outcomes that it defines."""

    def __init__(self, text: str, max_nodes: int) -> None:
        self._lexer, self._max_nodes, self._encoded = _Lexer(text), max_nodes, False
        self._infosets: dict[tuple[int, int], _Infoset] = {}
        self._outcomes: dict[int, tuple[str, tuple[float, float]]] = {}

    def file(self) -> EfgFile:
        """Read the whole file."""
        lexer = self._lexer
        for kind in ("EFG", "2"):
            if lexer.token.text != kind:
                lexer.fail(f"{kind!r} in the first line, EFG 2 R")
            lexer.take()
        if not (lexer.at("R") or lexer.at("D")):
            lexer.fail("'R' in the first line, EFG 2 R")
        lexer.take()
        title = self._label("the game's title")
        players = self._players()
        if lexer.token.kind == "text" and self._label("a comment") == ENCODED:
            self._encoded = True
            title, players = _decoded(title), (_decoded(players[0]), _decoded(players[1]))
        drafts = self._tree()
        if lexer.token.kind != "end":
            lexer.fail("the end of the file, as every node has its children")
        return EfgFile(title, players, self._nodes(drafts))

    def _players(self) -> tuple[str, str]:
        opening = self._lexer.token
        names = self._braces(lambda: self._label("a player's name or '}'"))
        if len(names) != NUM_PLAYERS:
            self._lexer.fail("two players", opening, str(len(names)))
        return names[0], names[1]

    def _tree(self) -> list[_Draft]:
        drafts: list[_Draft] = []
        waiting: list[_Draft] = []  # nodes on the path whose children are not complete
        while not drafts or waiting:
            if len(drafts) == self._max_nodes:
                self._lexer.fail(f"at most {self._max_nodes:,} nodes (max_nodes)", got="more")
            draft = self._node()
            if waiting:
                waiting[-1].children.append(len(drafts))
            drafts.append(draft)
            waiting.append(draft)
            while waiting and len(waiting[-1].children) == waiting[-1].num_children:
                waiting.pop()
        return drafts

    def _node(self) -> _Draft:
        lexer, kind = self._lexer, self._lexer.token
        if kind.kind != "symbol" or kind.text not in ("c", "p", "t"):
            lexer.fail("a node: 'c', 'p' or 't'")
        lexer.take()
        self._label("the node's name")
        if kind.text == "t":
            return _Draft(TERMINAL, 0, 0, self._outcome())
        player = CHANCE if kind.text == "c" else self._whole("a player, 1 or 2", 1, NUM_PLAYERS) - 1
        number = self._whole("an information set's number, 1 or more", 1)
        infoset = self._infoset(player, number)
        return _Draft(player, number, len(infoset.actions), self._outcome())

    def _infoset(self, player: int, number: int) -> _Infoset:
        start = self._lexer.token
        known = self._infosets.get((player, number))
        whose = "of chance" if player == CHANCE else f"of player {player + 1}"
        if start.kind not in ("text", "mark"):
            if known is None:
                self._lexer.fail(f"information set {number} {whose} to be described where it comes first")
            return known
        label = self._label("a name") if start.kind == "text" else ""
        read = self._chances(label) if player == CHANCE else self._actions(label)
        if known is not None and read != known:
            described = f"information set {number} {whose} as before, {_described(known)}"
            self._lexer.fail(described, start, _described(read))
        self._infosets[player, number] = read
        return read

    def _actions(self, label: str) -> _Infoset:
        opening = self._lexer.token
        actions = self._braces(lambda: self._label("an action's label or '}'"))
        if not actions:
            self._lexer.fail("at least one action", opening, "none")
        return _Infoset(label, _each_once(actions), ())

    def _chances(self, label: str) -> _Infoset:
        opening = self._lexer.token

        def outcome() -> tuple[str, Fraction]:
            name, start = self._label("an outcome's label or '}'"), self._lexer.token
            probability = self._number("a probability")
            if not 0 <= probability <= 1:
                self._lexer.fail("a probability from 0 to 1", start)
            return name, probability

        outcomes, exact = self._braces(outcome), Fraction(0)
        for _, probability in outcomes:
            exact += probability
            if exact.denominator.bit_length() > MAX_DENOMINATOR_BITS:
                bound = f"probabilities with a common denominator of at most {MAX_DENOMINATOR_BITS:,} bits"
                self._lexer.fail(bound, opening, "a larger one")
        if abs(float(exact) - 1) > SUM_TOLERANCE:
            self._lexer.fail("probabilities that sum to 1", opening, str(float(exact)))
        return _Infoset(label, _each_once([name for name, _ in outcomes]), tuple(chance for _, chance in outcomes))

    def _outcome(self) -> tuple[float, float]:
        start = self._lexer.token
        number = self._whole("an outcome's number, 0 for none", 0)
        described = self._lexer.token
        name = self._label("a name") if described.kind == "text" else ""
        if described.kind != "text" and not self._lexer.at("{"):
            if number and number not in self._outcomes:
                self._lexer.fail(f"outcome {number} to be described where it comes first")
            return self._outcomes[number][1] if number else (0.0, 0.0)
        if not number:
            self._lexer.fail("no name and no payoffs for outcome 0, which is none", described)
        outcome = name, self._payoffs()
        if self._outcomes.setdefault(number, outcome) != outcome:
            self._lexer.fail(f"outcome {number} as before, {self._outcomes[number]}", start, str(outcome))
        return outcome[1]

    def _payoffs(self) -> tuple[float, float]:
        opening = self._lexer.token
        payoffs = self._braces(self._payoff)
        if len(payoffs) != NUM_PLAYERS:
            self._lexer.fail("two payoffs", opening, str(len(payoffs)))
        return payoffs[0], payoffs[1]

    def _payoff(self) -> float:
        start = self._lexer.token
        number = self._number("a payoff or '}'")
        if self._lexer.at(","):
            self._lexer.take()
        try:
            return float(number)
        except OverflowError:
            self._lexer.fail("a payoff that a 64-bit float can hold", start)

    def _braces(self, item: Callable[[], Item]) -> list[Item]:
        if not self._lexer.at("{"):
            self._lexer.fail("'{'")
        self._lexer.take()
        items = []
        while not self._lexer.at("}"):
            items.append(item())
        self._lexer.take()
        return items

    def _label(self, expected: str) -> str:
        if self._lexer.token.kind != "text":
            self._lexer.fail(f"{expected}, in quotation marks")
        label = ESCAPED.sub(r"\1", self._lexer.take().text[1:-1])
        return _decoded(label) if self._encoded else label

    def _number(self, expected: str) -> Fraction:
        token = self._lexer.token
        if token.kind != "number":
            self._lexer.fail(expected)
        if len(token.text) > MAX_NUMBER_LENGTH:
            self._lexer.fail(f"a number of at most {MAX_NUMBER_LENGTH:,} characters", got=f"{len(token.text):,}")
        try:
            number = Fraction(token.text)
        except (ZeroDivisionError, ValueError):
            self._lexer.fail("a number")
        self._lexer.take()
        return number

    def _whole(self, expected: str, least: int, most: int | None = None) -> int:
        token = self._lexer.token
        number = self._number(expected)
        if number.denominator != 1 or number < least or (most is not None and number > most):
            self._lexer.fail(expected, token)
        return int(number)

    def _nodes(self, drafts: list[_Draft]) -> list[ExplicitNode]:
        names = dict(_names(self._infosets))
        nodes = []
        for draft in drafts:
            infoset = self._infosets.get((draft.player, draft.number), _Infoset("", (), ()))
            name = names.get((draft.player, draft.number), "")
            children = tuple(draft.children)
            nodes.append(
                ExplicitNode(draft.player, name, infoset.actions, children, infoset.probabilities, draft.rewards)
            )
        return nodes


def parse_efg(text: str, *, max_nodes: int = MAX_NODES) -> EfgFile:
    """Return what the text of an .efg file holds.

    Raises:
        EfgError: the text is malformed, has more nodes than `max_nodes`, or is not a game of two players.
    """
    return _Parser(text, max_nodes).file()


def _names(infosets: dict[tuple[int, int], _Infoset]) -> Iterator[tuple[tuple[int, int], str]]:
    """Yield a name for each player's information set: its label, with its number where that does not tell."""
    times = Counter((player, infoset.label) for (player, _), infoset in infosets.items())
    for (player, number), infoset in infosets.items():
        name = infoset.label
        if not name.strip() or times[player, name] > 1:
            name = f"{name} ({player + 1},{number})".strip()
            while (player, name) in times:  # some other one's label
                name += "*"
        yield (player, number), name


def _each_once(labels: Sequence[str]) -> tuple[str, ...]:
    """Number the labels that stand more than once, as Gambit does."""
    times, last = Counter(labels), Counter[str]()
    unique: dict[str, None] = {}
    for label in labels:
        name = label
        while times[name] > (last[label] == 0) or name in unique:
            last[label] += 1
            name = f"{label}_{last[label]}"
        unique[name] = None
    return tuple(unique)


def _decoded(label: str) -> str:
    return unquote(label, errors="surrogatepass")


def _described(infoset: _Infoset) -> str:
    chances = [f" {chance}" for chance in infoset.probabilities] or [""] * len(infoset.actions)
    actions = " ".join(f'"{action}"{chance}' for action, chance in zip(infoset.actions, chances, strict=True))
    return f'"{infoset.label}" {{ {actions} }}'


def _short(text: str) -> str:
    shown = printable(text[:MAX_SHOWN])
    return shown if len(text) <= MAX_SHOWN else f"{shown}..."
