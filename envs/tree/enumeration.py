"""Walk every line of play of a game, token by token, into flat arrays: what `GameTree` is made from.

The walk is depth first, so that only one path is alive as Python objects; a node is a few numbers. Two nodes of a
player are one information state if the player has been told and has said the same tokens, which the walk compares
by a 127-bit polynomial fingerprint of the player's view.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from ..engine.contract import checked_next_player, checked_rewards, checked_tokens, the_vocabulary
from ..engine.turn import masks_of
from ..game import PLAYERS, Dialogue, Ending, LanguageGame, Turn, check_probabilities
from ..vocabulary import Tokens

CHANCE, TERMINAL = -1, -2
"""Who is to speak at the root, where the deal is drawn, and at a leaf."""

PRIME = (1 << 127) - 1
BASE = 0x5851F42D4C957F2D14057B7EF767814F % PRIME
MAX_DEPTH = 10_000
"""The most tokens in one line of play."""
NUM_PROBES = 65
PROBED_SHARE = 1e6
"""A probe that has found so many times the budget stops: that is enough to refuse."""
CHECK_EVERY = 4096
BYTES_PER_NODE = 170
"""Peak while a tree is made; measured on random games, see docs/performance.md."""
BYTES_PER_INFOSTATE = 300


class TreeTooLarge(ValueError):
    """A game has more nodes than the budget allows."""

    def __init__(self, game: LanguageGame[Any], estimate: float, max_nodes: int, max_bytes: int) -> None:
        """Say how large the tree was estimated to be, in nodes and bytes; probes that were cut short say "more"."""
        least = estimate >= PROBED_SHARE * max_nodes
        nodes = f"{'more than ' if least else ''}{min(estimate, PROBED_SHARE * max_nodes):.3g}"
        size = min(estimate, PROBED_SHARE * max_nodes) * (BYTES_PER_NODE + BYTES_PER_INFOSTATE)
        super().__init__(
            f"GameTree({type(game).__name__}): expected at most {max_nodes:,} nodes and {max_bytes / 2**30:.3g} GiB, "
            f"got an estimate of {nodes} nodes and up to {size / 2**30:.3g} GiB; "
            "raise max_nodes or max_bytes, or choose a smaller game"
        )
        self.estimated_nodes = estimate


class Walk:
    """The arrays as they grow, in the order of the walk (parents before children)."""

    def __init__(self) -> None:
        """Start with no node."""
        self.parent, self.token, self.action = array("i"), array("i"), array("i")
        self.player, self.depth, self.infostate = array("b"), array("i"), array("i")
        self.rewards = (array("d"), array("d"))
        self.chance = array("d")
        self.infostates: tuple[dict[int, int], dict[int, int]] = ({}, {})
        """The number of each information state by the fingerprint of the player's view."""
        self.legal: tuple[list[Tokens], list[Tokens]] = ([], [])
        self.first_action: tuple[list[int], list[int]] = ([0], [0])

    def __len__(self) -> int:
        return len(self.parent)

    def add(self, parent: int, token: int, action: int, depth: int, rewards: tuple[float, float], chance: float) -> int:
        """Add a node, terminal until `decide` says otherwise; return its number."""
        self.parent.append(parent)
        self.token.append(token)
        self.action.append(action)
        self.depth.append(depth)
        self.player.append(TERMINAL)
        self.infostate.append(-1)
        self.rewards[0].append(rewards[0])
        self.rewards[1].append(rewards[1])
        self.chance.append(chance)
        return len(self.parent) - 1

    def decide(self, node: int, player: int, view: int, legal: Tokens) -> tuple[int, bool]:
        """Make a node a decision; return the number of its first action and whether the legal tokens agree."""
        known = self.infostates[player]
        infostate = known.setdefault(view, len(known))
        if infostate == len(self.legal[player]):
            self.legal[player].append(legal)
            self.first_action[player].append(self.first_action[player][-1] + len(legal))
        self.player[node], self.infostate[node] = player, infostate
        return self.first_action[player][infostate], self.legal[player][infostate] == legal


class _Position(NamedTuple):
    """An open turn: where play stands between two tokens."""

    dialogue: Dialogue[Any]
    player: int
    views: tuple[int, int]
    """Fingerprints of what each player has been told and has said."""
    spoken: Tokens = ()
    thought: Tokens | None = None
    thinking: bool = False


class Walker:
    """The rules as moves between positions, with all that does not change worked out once."""

    def __init__(self, game: LanguageGame[Any]) -> None:
        """Take the game; nothing is enumerated yet."""
        self.game = game
        vocabulary = the_vocabulary(game, "GameTree")
        self._masks = masks_of(game)
        self._later = frozenset(np.flatnonzero(self._masks.later).tolist())
        self._sayable = tuple(sorted(self._later))
        self._thinking = tuple(np.flatnonzero(self._masks.thinking).tolist())
        self._opening, self._closing = game.vocabulary.think_ids or (-1, -1)
        self._legal_of: dict[tuple[Tokens | None, bool], Tokens] = {}
        self._pieces: dict[Tokens, tuple[int, int]] = {}
        self._frames: dict[tuple[Tokens, int, int], Tokens] = {}
        self._opens = tuple(vocabulary.open_turn(player, player) for player in PLAYERS)
        self._closes = tuple(vocabulary.close_turn(player, player) for player in PLAYERS)

    def start(self, deal: Any) -> _Position | None:
        """Return the first position after a deal, None if the episode is over at once."""
        game, views = self.game, [0, 0]
        for player in PLAYERS:
            views[player] = self._told(0, game.vocabulary.begin(player))
            views[player] = self._tell(views[player], game.briefing(deal, player), player)
        return self._open(Dialogue(deal), (views[0], views[1]))

    def legal(self, position: _Position) -> Tokens:
        """Return A(s) in ascending order, as the engine's mask has it."""
        if position.thinking:
            full = len(position.thought or ()) >= self.game.max_thought_tokens
            return (self._closing,) if full else self._thinking
        narrowed = self.game.legal_tokens(position.dialogue, position.spoken)
        tokens = None
        if narrowed is not None:
            tokens = checked_tokens(self.game, "legal_tokens", narrowed, self._masks.size)
        first = not position.spoken and position.thought is None
        found = self._legal_of.get((tokens, first))
        if found is None:
            found = self._legal_of[tokens, first] = self._narrow(tokens, first)
        if not found:
            raise ValueError(
                f"{type(self.game).__name__}.legal_tokens: expected at least one sayable token or <eos> after "
                f"{self.game.vocabulary.decode(position.spoken)!r}, got {tokens!r}"
            )
        return found

    def say(self, position: _Position, token: int) -> tuple[_Position | None, tuple[float, float]]:
        """Return the position after a legal token, None at the end of the episode, and what both were paid."""
        game, player = self.game, position.player
        if position.thinking or (game.max_thought_tokens and token == self._opening):
            return self._think(position, token), (0.0, 0.0)
        if token != game.vocabulary.eos_id:
            spoken, views = (*position.spoken, token), self._write(position.views, player, (token,))
            if len(spoken) < game.turn_limit(position.dialogue):
                return position._replace(spoken=spoken, views=views), (0.0, 0.0)
            turn = Turn(spoken, position.thought or (), Ending.TOO_LONG, player)
        else:
            turn, views = Turn(position.spoken, position.thought or (), Ending.END_OF_TURN, player), position.views
        dialogue = position.dialogue.extend(turn)
        views = self._hear(dialogue, player, self._write(views, player, self._closes[player]))
        rewards = game.rewards(dialogue)
        if type(rewards) is not tuple or [type(paid) for paid in rewards] != [float, float]:
            rewards = checked_rewards(game, rewards)
        return self._open(dialogue, views), rewards

    def _open(self, dialogue: Dialogue[Any], views: tuple[int, int]) -> _Position | None:
        player = checked_next_player(self.game, dialogue)
        if player is None:
            return None
        return _Position(dialogue, player, self._write(views, player, self._opens[player]))

    def _narrow(self, tokens: Tokens | None, first: bool) -> Tokens:
        legal = self._sayable if tokens is None else tuple(sorted(self._later.intersection(map(int, tokens))))
        thought = first and self.game.max_thought_tokens > 0
        return tuple(sorted({*legal, self._opening})) if thought else legal

    def _think(self, position: _Position, token: int) -> _Position:
        views = self._write(position.views, position.player, (token,))
        if token == self._opening:
            return position._replace(thinking=True, thought=(), views=views)
        if token == self._closing:
            return position._replace(thinking=False, views=views)
        return position._replace(thought=(*(position.thought or ()), token), views=views)

    def _hear(self, dialogue: Dialogue[Any], speaker: int, views: tuple[int, int]) -> tuple[int, int]:
        game, listener = self.game, 1 - speaker
        heard = game.hears(dialogue, listener)
        if heard is not None:
            key = (tuple(heard), speaker, listener)
            frame = self._frames.get(key)
            if frame is None:
                opening = game.vocabulary.open_turn(speaker, listener)
                frame = self._frames[key] = (*opening, *heard, *game.vocabulary.close_turn(speaker, listener))
            views = self._write(views, listener, frame)
        return (
            self._tell(views[0], game.announcement(dialogue, 0), 0),
            self._tell(views[1], game.announcement(dialogue, 1), 1),
        )

    def _tell(self, view: int, tokens: Tokens, player: int) -> int:
        return self._told(view, self.game.vocabulary.tell(tokens, player)) if tokens else view

    def _write(self, views: tuple[int, int], player: int, tokens: Tokens) -> tuple[int, int]:
        return (self._told(views[0], tokens), views[1]) if player == 0 else (views[0], self._told(views[1], tokens))

    def _told(self, view: int, tokens: Tokens) -> int:
        piece = self._pieces.get(tokens)
        if piece is None:
            code = 0
            for token in tokens:
                code = (code * BASE + int(token) + 1) % PRIME
            piece = self._pieces[tokens] = (pow(BASE, len(tokens), PRIME), code)
        return (view * piece[0] + piece[1]) % PRIME


def walk(
    game: LanguageGame[Any],
    *,
    max_nodes: int,
    max_bytes: int,
    progress: Callable[[int], None] | None = None,
) -> tuple[Walk, list[Any]]:
    """Enumerate the game; return the arrays and the deals.

    Raises:
        TreeTooLarge: beyond the budget, at once where random probes tell, else as soon as it is reached.
        ValueError: the deals cannot be listed, or the rules break their contract.
    """
    outcomes = game.deals.outcomes()
    if outcomes is None:
        raise ValueError(f"GameTree({type(game).__name__}): expected deals that can be listed, got SampledDeals")
    check_probabilities(outcomes)
    deals = {deal: probability for deal, probability in outcomes.items() if probability > 0}
    walker, nodes = Walker(game), Walk()
    estimates = probe(walker, list(deals), most=PROBED_SHARE * max_nodes)
    if np.median(estimates) > 4 * min(max_nodes, max_bytes / BYTES_PER_NODE):
        raise TreeTooLarge(game, float(np.mean(estimates)), max_nodes, max_bytes)
    nodes.add(-1, -1, -1, 0, (0.0, 0.0), 1.0)
    nodes.player[0] = CHANCE
    for deal, probability in deals.items():
        for _ in _walk_deal(walker, nodes, deal, probability):
            if len(nodes) > max_nodes or _bytes(nodes) > max_bytes:
                raise TreeTooLarge(game, max(float(np.mean(estimates)), len(nodes)), max_nodes, max_bytes)
            if progress is not None:
                progress(len(nodes))
    if len(nodes) > max_nodes:
        raise TreeTooLarge(game, max(float(np.mean(estimates)), len(nodes)), max_nodes, max_bytes)
    return nodes, list(deals)


def probe(
    walker: Walker, deals: list[Any], *, num_probes: int = NUM_PROBES, most: float = np.inf, seed: int = 0
) -> list[float]:
    """Return unbiased estimates of the number of nodes, one for each random play (Knuth, 1975).

    A play stops where its estimate passes `most`.

    Raises:
        ValueError: a line of play that is longer than `MAX_DEPTH` tokens.
    """
    rng = np.random.default_rng(seed)
    estimates = []
    for _ in range(num_probes):
        position, weight = walker.start(deals[int(rng.integers(len(deals)))]), float(len(deals))
        total, depth = 1.0 + weight, 0
        while position is not None and total <= most:
            _check_depth(walker.game, depth := depth + 1)
            legal = walker.legal(position)
            weight *= len(legal)
            total += weight
            position, _ = walker.say(position, legal[int(rng.integers(len(legal)))])
        estimates.append(total)
    return estimates


def _walk_deal(walker: Walker, nodes: Walk, deal: Any, probability: float) -> Iterator[None]:
    """Add every node below one deal; give way now and then, so that the caller can stop."""
    root = nodes.add(0, -1, -1, 1, (0.0, 0.0), probability)
    stack: list[tuple[int, int, int, int, _Position]] = []
    _branch(walker, nodes, root, walker.start(deal), 1, stack)
    while stack:
        parent, token, action, depth, position = stack.pop()
        after, rewards = walker.say(position, token)
        _check_depth(walker.game, depth)
        node = nodes.add(parent, token, action, depth, rewards, probability)
        _branch(walker, nodes, node, after, depth, stack)
        if node % CHECK_EVERY == 0:
            yield
    yield


def _branch(
    walker: Walker,
    nodes: Walk,
    node: int,
    position: _Position | None,
    depth: int,
    stack: list[tuple[int, int, int, int, _Position]],
) -> None:
    if position is None:
        return
    legal = walker.legal(position)
    first, agree = nodes.decide(node, position.player, position.views[position.player], legal)
    if not agree:
        known = nodes.legal[position.player][nodes.infostate[node]]
        raise ValueError(
            f"{type(walker.game).__name__}.legal_tokens: expected the same tokens wherever player {position.player} "
            f"has been told the same, got {known} and {legal}"
        )
    for k in range(len(legal) - 1, -1, -1):
        stack.append((node, legal[k], first + k, depth + 1, position))


def _check_depth(game: LanguageGame[Any], depth: int) -> None:
    if depth > MAX_DEPTH:
        raise ValueError(
            f"GameTree({type(game).__name__}): expected lines of play of at most {MAX_DEPTH:,} tokens, got a longer one"
        )


def _bytes(nodes: Walk) -> int:
    return len(nodes) * BYTES_PER_NODE + (len(nodes.legal[0]) + len(nodes.legal[1])) * BYTES_PER_INFOSTATE
