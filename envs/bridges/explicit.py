"""Language games from an explicit extensive form: a list of nodes, with chance anywhere.

In this package chance is drawn once, in the deal. An extensive form has chance nodes anywhere, with distributions that
may depend on what the players did. `draw_deals` brings the one to the other without loss: for the k-th chance node on a
path a number u_k in [0, 1) is drawn beforehand, and each chance node divides [0, 1) among its outcomes. Only the cells
of the common refinement of these divisions matter, so a deal is the middle of one cell for each k, with the product of
the cells' widths as its probability. Where chance does not depend on actions this gives the natural deals (Leduc poker:
120).
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from itertools import accumulate, pairwise
from math import isfinite, nan
from numbers import Real
from typing import NamedTuple

from ..engine.contract import pair_of
from ..game import PLAYERS, Dialogue, FiniteDeals, LanguageGame, Payoff
from ..tree.enumeration import CHANCE, TERMINAL
from ..vocabulary import SPECIAL_TOKENS, Tokens, WordVocabulary

Numbers = tuple[float, ...]
"""A deal: a number in [0, 1) for each chance event of an episode, in order."""

SNAP = 1e-12
"""Two breakpoints closer than this are one: they differ by rounding."""
SUM_TOLERANCE = 1e-9
MAX_DEALS = 1_000_000
MAX_KNOWN_GROUPS = 256
MAX_CHANCE_EVENTS = 1_000
"""Of one episode."""
STEPS_PER_DEAL = 20
"""How many chance nodes may be met, and numbers drawn, on the average, for each of the most deals that there may be."""


class TooLarge(ValueError):
    """An extensive form has more states or more deals than the budget allows."""


class ExplicitNode(NamedTuple):
    """One node of an extensive form."""

    player: int
    """Who decides: 0, 1, `CHANCE` or, at a leaf, `TERMINAL`."""
    infoset: str = ""
    """A player's information set: what it is told, word by word, before it decides; a name among its own."""
    actions: tuple[str, ...] = ()
    """Labels of a player's actions, each once; at a chance node there need be none."""
    children: tuple[int, ...] = ()
    """The nodes that the actions or the outcomes lead to; all of them later in the list."""
    probabilities: tuple[Fraction | float, ...] = ()
    """Of a chance node's outcomes."""
    rewards: tuple[float, float] = (0.0, 0.0)
    """What both players are paid on coming here."""


class ExplicitGame(LanguageGame[Numbers]):
    """The game that a list of nodes describes; node 0 is the root.

    A turn is one word, the label of an action. Before it decides a player is told the name of its information set and
    nothing else, and it hears none of the other's words: its views differ exactly where its information sets do.

    >>> leaves = [ExplicitNode(TERMINAL, rewards=(1.0, -1.0)), ExplicitNode(TERMINAL, rewards=(-1.0, 1.0))]
    >>> game = ExplicitGame([ExplicitNode(0, "start", ("left", "right"), (1, 2)), *leaves])
    >>> game.rewards(Dialogue((), (game.vocabulary.encode("right"),)))
    (-1.0, 1.0)
    """

    vocabulary: WordVocabulary
    max_turn_tokens = 1

    def __init__(
        self,
        nodes: Sequence[ExplicitNode],
        *,
        payoff: Payoff | None = None,
        roles: tuple[str, str] = ("player one", "player two"),
        max_deals: int = MAX_DEALS,
    ) -> None:
        """Take the nodes.

        Args:
            nodes: a tree, parents before children.
            payoff: how the players' rewards are related; None: the narrowest that holds at every node.
            roles: what the players are called.
            max_deals: the most deals that chance may be made into.

        Raises:
            TooLarge: chance makes more deals than that.
            ValueError: the nodes are no tree, an information set has unlike nodes, or a player forgets what it did.
        """
        _check_tree(nodes)
        self.nodes = _with_a_turn_before_pay(nodes)
        _check_nodes(self.nodes)
        self.payoff = payoff_of(node.rewards for node in self.nodes) if payoff is None else payoff
        self.roles = roles
        self.deals = FiniteDeals(draw_deals(self.nodes, max_deals=max_deals))
        self._ends = _chance_ends(self.nodes)
        self._last = _Path(Dialogue((0.0,)), [0], [])
        self._name_tokens()
        self.max_turns = max(1, *_num_decisions(self.nodes))
        self.max_briefing_tokens = self.max_announcement_tokens = max(map(len, self._told.values()), default=0)

    def next_player(self, dialogue: Dialogue[Numbers]) -> int | None:
        """Return the player of the node that play has come to."""
        player = self.nodes[self._node(dialogue)].player
        return None if player == TERMINAL else player

    def rewards(self, dialogue: Dialogue[Numbers]) -> tuple[float, float]:
        """Return what the last turn and the chance after it paid; the first turn also pays what stood before it."""
        path = self._path(dialogue)
        begins = path.ends[-2][0] if len(dialogue.turns) > 1 else 0
        paid = [self.nodes[node].rewards for node in path.nodes[begins:]]
        return sum([first for first, _ in paid]), sum([second for _, second in paid])

    def briefing(self, deal: Numbers, player: int) -> Tokens:
        """Return the information set of the player who begins."""
        return self._tell(Dialogue(deal), player)

    def hears(self, dialogue: Dialogue[Numbers], player: int) -> None:
        """Return None: what a player learns, its information sets tell."""
        return

    def announcement(self, dialogue: Dialogue[Numbers], player: int) -> Tokens:
        """Return the information set of the player who is to decide, to that player."""
        return self._tell(dialogue, player)

    def legal_tokens(self, dialogue: Dialogue[Numbers], prefix: Tokens) -> Tokens:
        """Return the actions of the information set."""
        return tuple(self._steps[self._node(dialogue)])

    def _tell(self, dialogue: Dialogue[Numbers], player: int) -> Tokens:
        node = self.nodes[self._node(dialogue)]
        return self._told[player, node.infoset] if node.player == player else ()

    def _node(self, dialogue: Dialogue[Numbers]) -> int:
        return self._path(dialogue).nodes[-1]

    def _path(self, dialogue: Dialogue[Numbers]) -> _Path:
        """Return how play came to where it stands; it goes on from the last answer as far as the turns are the same."""
        last, turns = self._last, dialogue.turns
        if last.dialogue is dialogue:
            return last
        known = min(len(turns), len(last.dialogue.turns))
        known -= turns[:known] != last.dialogue.turns[:known]
        if last.dialogue.deal != dialogue.deal or not last.ends or turns[:known] != last.dialogue.turns[:known]:
            nodes, ends, event, coming = [0], [], 0, (None, *turns)
        else:
            length, event = last.ends[known]
            nodes, ends, coming = last.nodes[:length], last.ends[: known + 1], turns[known:]
        for turn in coming:
            if turn is not None:
                nodes.append(self._steps[nodes[-1]][turn.tokens[0]])
            while (divided := self._ends.get(nodes[-1])) is not None:
                outcome = bisect_right(divided, dialogue.deal[event])
                nodes.append(self.nodes[nodes[-1]].children[outcome])
                event += 1
            ends.append((len(nodes), event))
        self._last = path = _Path(dialogue, nodes, ends)
        return path

    def _name_tokens(self) -> None:
        """Give every label a word and every information set its own text."""
        decisions = [node for node in self.nodes if node.player in PLAYERS]
        labels = dict.fromkeys(label for node in decisions for label in node.actions)
        texts = _distinct_texts(dict.fromkeys((node.player, node.infoset) for node in decisions))
        pieces = dict.fromkeys(piece for text in texts.values() for piece in text)
        words = _as_words([*labels, *pieces])
        self.vocabulary = WordVocabulary(tuple(dict.fromkeys(words.values())) or ("nothing",))
        token = {label: self.vocabulary.encode(word)[0] for label, word in words.items()}
        self._told = {key: tuple(token[piece] for piece in text) for key, text in texts.items()}
        self._steps = [
            {token[label]: child for label, child in zip(node.actions, node.children, strict=True)}
            if node.player in PLAYERS
            else {}
            for node in self.nodes
        ]


class _Path(NamedTuple):
    """How play came to where a dialogue stands."""

    dialogue: Dialogue[Numbers]
    nodes: list[int]
    """From the root on."""
    ends: list[tuple[int, int]]
    """How many nodes and chance events there were at the start and after each turn."""


def payoff_of(rewards: Iterable[tuple[float, float]]) -> Payoff:
    """Return the narrowest payoff type that holds for all pairs of rewards."""
    zero_sum = identical = True
    for first, second in rewards:
        zero_sum &= abs(first + second) <= SUM_TOLERANCE
        identical &= abs(first - second) <= SUM_TOLERANCE
    return Payoff.ZERO_SUM if zero_sum else Payoff.IDENTICAL if identical else Payoff.GENERAL


def draw_deals(nodes: Sequence[ExplicitNode], *, max_deals: int = MAX_DEALS) -> dict[Numbers, float]:
    """Return the deals, with their probabilities, that stand for chance nodes anywhere (see the module's docstring).

    Raises:
        TooLarge: more deals than `max_deals`.
    """
    deals: dict[Numbers, float] = {}
    cells_of = _Cells(nodes)
    events: list[tuple[Numbers, Fraction | float, tuple[int, ...]]] = [((), Fraction(1), cells_of.first)]
    num_steps = 0
    while events:
        deal, probability, group = events.pop()
        num_steps += max(len(group), len(deal))
        if len(deals) >= max_deals or num_steps > STEPS_PER_DEAL * max_deals:
            raise TooLarge(f"deals: expected at most {max_deals:,} of them, got more; chance depends on too much")
        if len(deal) > MAX_CHANCE_EVENTS:
            raise TooLarge(f"deals: expected at most {MAX_CHANCE_EVENTS:,} chance nodes on a path, got more")
        if not group:
            deals[deal] = float(probability)
        else:  # the last pushed is popped first
            events += [((*deal, middle), probability * width, later) for middle, width, later in cells_of(group)[::-1]]
    return deals


class _Cells:
    """Divides [0, 1) among the outcomes of several chance nodes at once; a group that was met lately is not redone."""

    def __init__(self, nodes: Sequence[ExplicitNode]) -> None:
        self._nodes, self._below = nodes, _first_chance_nodes(nodes)
        self.first = tuple(self._below[0])
        self._exact = {k: list(accumulate(n.probabilities))[:-1] for k, n in enumerate(nodes) if n.player == CHANCE}
        self._ends = {node: [float(end) for end in ends] for node, ends in self._exact.items()}
        self._known: dict[tuple[int, ...], list[tuple[float, Fraction | float, tuple[int, ...]]]] = {}

    def __call__(self, group: tuple[int, ...]) -> list[tuple[float, Fraction | float, tuple[int, ...]]]:
        """Return each cell's middle, its width, and the chance nodes that come next."""
        if group not in self._known:
            if len(self._known) >= MAX_KNOWN_GROUPS:
                self._known.clear()
            points = _breakpoints(end for node in group for end in self._exact[node])
            self._known[group] = [self._cell(group, low, high) for low, high in pairwise(points)]
        return self._known[group]

    def _cell(
        self, group: tuple[int, ...], low: Fraction | float, high: Fraction | float
    ) -> tuple[float, Fraction | float, tuple[int, ...]]:
        middle = float(low + high) / 2
        chosen = (self._nodes[node].children[bisect_right(self._ends[node], middle)] for node in group)
        return middle, high - low, tuple(node for child in chosen for node in self._below[child])


def _breakpoints(ends: Iterable[Fraction | float]) -> list[Fraction | float]:
    """Return 0, 1 and the numbers between them in order, each once."""
    points: list[Fraction | float] = [Fraction(0)]
    for end in sorted(set(ends)):
        if end - points[-1] > SNAP and 1 - end > SNAP:
            points.append(end)
    return [*points, Fraction(1)]


def _chance_ends(nodes: Sequence[ExplicitNode]) -> dict[int, list[float]]:
    """Return, for each chance node, where the intervals of its outcomes end, the last apart."""
    return {
        index: [float(end) for end in accumulate(node.probabilities)][:-1]
        for index, node in enumerate(nodes)
        if node.player == CHANCE
    }


def _first_chance_nodes(nodes: Sequence[ExplicitNode]) -> list[list[int]]:
    """Return, for the root and each child of a chance node, the chance nodes that come next; else nothing."""
    found: list[list[int]] = [[] for _ in nodes]
    above = list(range(len(nodes)))  # the root or the chance node's child that a node stands below
    for index, node in enumerate(nodes):
        if node.player == CHANCE:
            found[above[index]].append(index)
        else:
            for child in node.children:
                above[child] = above[index]
    return found


def _with_a_turn_before_pay(nodes: Sequence[ExplicitNode]) -> list[ExplicitNode]:
    """Put a turn without a choice before each leaf that pays though nobody has spoken: rewards are paid for turns."""
    complete, stack = list(nodes), [(0, False)]
    while stack:
        index, paid = stack.pop()
        node = nodes[index]
        paid = paid or any(node.rewards)
        if node.player == CHANCE:
            stack += [(child, paid) for child in node.children]
        elif node.player == TERMINAL and paid:
            complete[index] = ExplicitNode(0, "the game is over", ("over",), (len(complete),), (), node.rewards)
            complete.append(ExplicitNode(TERMINAL))
    return complete


def _check_tree(nodes: Sequence[ExplicitNode]) -> None:
    """Check that the nodes are a tree, before anybody follows its edges."""
    children = [child for node in nodes for child in node.children]
    numbers = all(hasattr(child, "__index__") for child in children)
    came_to = [0, *sorted(children)] if numbers else []
    if came_to != list(range(len(nodes))) or any(min(n.children, default=k + 1) <= k for k, n in enumerate(nodes)):
        raise ValueError("nodes: expected a tree whose parents stand before their children, root first")


def _check_nodes(nodes: Sequence[ExplicitNode]) -> None:
    """Check that information sets are alike and remember, and that numbers are probabilities and rewards."""
    last: list[tuple[object, object]] = [(None, None)] * len(nodes)  # each player's last own infoset and action
    known: dict[tuple[int, str], tuple[object, tuple[str, ...]]] = {}
    for index, node in enumerate(nodes):
        _check_node(index, node)
        if node.player in PLAYERS:
            before, actions = known.setdefault((node.player, node.infoset), (last[index][node.player], node.actions))
            name = f"information set {node.infoset!r} of player {node.player}"
            if actions != node.actions:
                raise ValueError(f"{name}: expected the same actions at every node, got {actions} and {node.actions}")
            if before != last[index][node.player]:
                raise ValueError(
                    f"{name}: expected perfect recall, got one node after {_did(before)} "
                    f"and one after {_did(last[index][node.player])}"
                )
        for k, child in enumerate(node.children):
            own = (node.infoset, node.actions[k]) if node.player in PLAYERS else None
            first, second = last[index]
            last[child] = (own if node.player == 0 else first, own if node.player == 1 else second)


def _check_node(index: int, node: ExplicitNode) -> None:
    sizes = {TERMINAL: (0, 0), CHANCE: (None, len(node.children))}
    actions, probabilities = sizes.get(node.player, (len(node.children), 0))
    fits = actions in (None, len(node.actions)) and probabilities == len(node.probabilities)
    fits &= (node.player == TERMINAL) == (not node.children) and len(set(node.actions)) == len(node.actions)
    if not fits or node.player not in (*PLAYERS, CHANCE, TERMINAL):
        raise ValueError(f"node {index}: expected a child for each action or outcome, each once, got {node}")
    if not all(map(isfinite, pair_of(node.rewards) or (nan,))):
        raise ValueError(f"node {index}: expected two finite rewards, got {node.rewards}")
    proper = all(isinstance(probability, Real) and probability >= 0 for probability in node.probabilities)
    if not proper or (node.player == CHANCE and not abs(float(sum(node.probabilities)) - 1) <= SUM_TOLERANCE):
        raise ValueError(f"node {index}: expected probabilities >= 0 that sum to 1, got {node.probabilities}")


def _did(own: object) -> str:
    return f"action {own[1]!r} in {own[0]!r}" if isinstance(own, tuple) else "no action of its own"


def _num_decisions(nodes: Sequence[ExplicitNode]) -> list[int]:
    counts = [0] * len(nodes)
    for index, node in enumerate(nodes):
        for child in node.children:
            counts[child] = counts[index] + (node.player in PLAYERS)
    return counts


def _distinct_texts(infosets: Iterable[tuple[int, str]]) -> dict[tuple[int, str], tuple[str, ...]]:
    """Return each information set's name in words, numbered where two would read alike."""
    texts: dict[tuple[int, str], tuple[str, ...]] = {}
    taken: set[tuple[int, tuple[str, ...]]] = set()
    times = Counter[tuple[int, tuple[str, ...]]]()
    for player, infoset in infosets:
        words = text = tuple(infoset.split())
        while not text or (player, text) in taken:
            times[player, words] += 1
            text = (*words, f"#{times[player, words] + 1}")
        taken.add((player, text))
        texts[player, infoset] = text
    return texts


def _as_words(labels: Iterable[str]) -> Mapping[str, str]:
    """Return a word for each label, unlike words for unlike labels: no blanks, no special tokens."""
    words: dict[str, str] = {}
    taken, times = set(SPECIAL_TOKENS), Counter[str]()
    for label in dict.fromkeys(labels):
        word = joined = "_".join(label.split()) or "_"
        while word in taken:
            times[joined] += 1
            word = f"{joined}_{times[joined] if times[joined] > 1 else ''}"
        taken.add(word)
        words[label] = word
    return words
