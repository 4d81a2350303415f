"""Players that think ahead: best-of-n by a score, and Monte Carlo tree search over whole turns.

Both are agents around other agents: they keep no memory between calls and know no more than the view. Where a search
has to imagine what the view hides, it plays the game from deals that are consistent with the view.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Generic, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..envs import Ending, Episode, LanguageGame, Speaker, Tokens, Utterance, View
from ..envs.engine.turn import masks_of
from ..envs.game import DealT
from .agent import RandomAgent

Floats = NDArray[np.float64]

Score = Callable[[Sequence[View], Sequence[Utterance]], Floats]
"""How good it is to say each utterance after each view; shape (B,)."""
Value = Callable[[Sequence[View]], Floats]
"""What the player of each view can expect from there on; shape (B,)."""

MAX_LISTED_DEALS = 10_000
"""More deals than this are drawn, not gone through."""


class BestOfN:
    """Draws n utterances from an agent and says the one with the highest score."""

    def __init__(self, agent: Speaker, score: Score, num_candidates: int) -> None:
        """Choose the agent that proposes and the score that decides.

        Args:
            agent: who proposes.
            score: rates all candidates of a batch at once, such as `ValueModel.scores`.
            num_candidates: n, at least 1; with 1 it is the agent itself.
        """
        if num_candidates < 1:
            raise ValueError(f"num_candidates: expected at least 1, got {num_candidates}")
        self.agent, self.score, self.num_candidates = agent, score, num_candidates

    def speak(self, views: Sequence[View], rng: np.random.Generator) -> list[Utterance]:
        """Return each view's best candidate, the first of equals; what is no legal turn is the worst."""
        if not views:
            return []
        repeated = [view for view in views for _ in range(self.num_candidates)]
        said = self.agent.speak(repeated, rng)
        forfeits = np.array([utterance.ending.forfeits for utterance in said])
        scores = np.where(forfeits, -np.inf, _numbers(self.score(repeated, said), len(said), "score"))
        best = scores.reshape(len(views), self.num_candidates).argmax(1)
        return [replace(said[row * self.num_candidates + k], logprobs=None) for row, k in enumerate(best.tolist())]


@dataclass(slots=True)
class _Node:
    """What a search knows of one of its player's views: its candidates, how often each was tried, and what it gave."""

    candidates: list[Utterance]
    visits: Floats = field(init=False)
    totals: Floats = field(init=False)

    def __post_init__(self) -> None:
        self.visits, self.totals = np.zeros(len(self.candidates)), np.zeros(len(self.candidates))

    def choose(self, exploration: float) -> int:
        """Return the candidate with the highest upper confidence bound (UCB1); untried ones come first."""
        if not self.visits.all():
            return int(self.visits.argmin())
        bonus = exploration * np.sqrt(np.log(self.visits.sum()) / self.visits)
        return int((self.totals / self.visits + bonus).argmax())


class World(NamedTuple, Generic[DealT]):
    """A play that is consistent with a view, at the place where the view's player is to speak."""

    episode: Episode[DealT]
    weight: float
    """How likely it is, up to a factor common to all of a view's worlds."""


class TurnSearch:
    """Monte Carlo tree search over turns against a model of the other player (UCT; Kocsis and Szepesvari, 2006).

    The tree is over the searching player's views (information states), so that it cannot tell apart what the player
    cannot (Cowling, Powley and Whitehouse, 2012). Each simulation starts in a world drawn by its posterior probability:
    the deal's times that of what the other player was heard to say, the latter estimated by letting its model speak.
    With enough simulations it attains the best response to that model (equation 5 of arXiv 2402.08078).

    >>> from duologue.envs.games.bluff import Bluff
    >>> game = Bluff()
    >>> agent = TurnSearch(game, opponent=RandomAgent(), num_simulations=50)
    >>> said = agent.speak([Episode(game, "ace").view()], np.random.default_rng(0))[0]
    >>> game.vocabulary.decode(said.tokens)
    'bet'
    """

    def __init__(
        self,
        game: LanguageGame[Any],
        opponent: Speaker,
        *,
        proposer: Speaker | None = None,
        value: Value | None = None,
        num_simulations: int = 200,
        num_candidates: int = 16,
        num_draws: int = 32,
        exploration: float = 1.0,
    ) -> None:
        """Choose whom to expect and how long to think.

        Args:
            game: the rules, which the search plays by.
            opponent: the model of the other player.
            proposer: the own model: it proposes turns where there are more legal ones than `num_candidates`, plays the
                rest of a simulation, and speaks where no world is consistent with the view; None: at random.
            value: estimates a new leaf instead of playing on; None: every simulation goes to the end of the episode.
            num_simulations: a view's simulations.
            num_candidates: the most turns that are compared; thoughts are only ever proposed.
            num_draws: how many deals are drawn where they cannot be listed, and how often the other player's model
                speaks to estimate the probability of what it was heard to say.
            exploration: the weight of the UCB1 bonus, in units of the return.
        """
        numbers = {"num_simulations": num_simulations, "num_candidates": num_candidates, "num_draws": num_draws}
        for name, number in numbers.items():
            if number < 1:
                raise ValueError(f"{name}: expected at least 1, got {number}")
        if not 0 <= exploration < np.inf:
            raise ValueError(f"exploration: expected a number >= 0, got {exploration}")
        self.game, self.opponent, self.value = game, opponent, value
        self.proposer = RandomAgent() if proposer is None else proposer
        self.num_simulations, self.num_candidates = num_simulations, num_candidates
        self.num_draws, self.exploration = num_draws, exploration

    def speak(self, views: Sequence[View], rng: np.random.Generator) -> list[Utterance]:
        """Return the turn that was tried most often in a search from each view."""
        return [self._search(view, rng) for view in views]

    def _search(self, view: View, rng: np.random.Generator) -> Utterance:
        found = worlds(self.game, view, self.opponent, rng, num_draws=self.num_draws)
        if not found:
            return self.proposer.speak([view], rng)[0]
        weights = np.array([world.weight for world in found])
        drawn = rng.choice(len(found), self.num_simulations, p=weights / weights.sum())
        root = _Node(self._candidates(view, rng))
        nodes = {view.tokens.tobytes(): root}
        for k in drawn.tolist():
            self._simulate(found[k].episode, nodes, rng)
        return root.candidates[int(root.visits.argmax())]

    def _simulate(self, start: Episode[Any], nodes: dict[bytes, _Node], rng: np.random.Generator) -> None:
        """Play from a world to its end or to a new leaf, and note what it gave along the way."""
        episode, player = _copied(start), start.player
        assert player is not None
        path: list[tuple[_Node, int]] = []
        estimate = 0.0
        while not episode.over:
            view = episode.view()
            node = nodes.get(view.tokens.tobytes())
            if node is None:
                nodes[view.tokens.tobytes()] = _Node(self._candidates(view, rng))
                estimate = self._leaf(episode, view, player, rng)
                break
            choice = node.choose(self.exploration)
            path.append((node, choice))
            _say(episode, node.candidates[choice])
            self._listen(episode, player, rng)
        gained = episode.returns[player] - start.returns[player] + estimate
        for node, choice in path:
            node.visits[choice] += 1
            node.totals[choice] += gained

    def _leaf(self, episode: Episode[Any], view: View, player: int, rng: np.random.Generator) -> float:
        """Return the value of a leaf, or play on to the end, where it is in the returns already."""
        if self.value is not None:
            return float(_numbers(self.value([view]), 1, "value")[0])
        while not episode.over:
            _say(episode, self.proposer.speak([episode.view()], rng)[0])
            self._listen(episode, player, rng)
        return 0.0

    def _listen(self, episode: Episode[Any], player: int, rng: np.random.Generator) -> None:
        """Let the other player's model speak until it is the player's turn again."""
        while episode.player == 1 - player:
            _say(episode, self.opponent.speak([episode.view()], rng)[0])

    def _candidates(self, view: View, rng: np.random.Generator) -> list[Utterance]:
        listed = legal_turns(view, self.num_candidates)
        if listed is not None:
            return listed
        said = self.proposer.speak([view] * self.num_candidates, rng)
        legal = [utterance for utterance in said if not utterance.ending.forfeits]
        distinct = {utterance.tokens: replace(utterance, logprobs=None) for utterance in legal}
        return list(distinct.values()) if distinct else said[:1]


def _numbers(values: Floats, count: int, name: str) -> Floats:
    """Return finite numbers (count,); of a NaN it would be the highest, whatever the others are.

    Raises:
        ValueError: others.
    """
    numbers = np.asarray(values, dtype=np.float64)
    if numbers.shape != (count,) or not np.isfinite(numbers).all():
        raise ValueError(f"{name}: expected {count} finite numbers, got {numbers!r:.200}")
    return numbers


def legal_turns(view: View, most: int) -> list[Utterance] | None:
    """Return all turns without a thought that may be said after a view, None if there are more than `most`."""
    found: list[Utterance] = []
    opening = view.vocabulary.think_ids[0] if view.vocabulary.think_ids else -1
    unfinished: list[Tokens] = [()]
    while unfinished:
        prefix = unfinished.pop()
        for token in np.flatnonzero(view.legal_mask(prefix)).tolist():
            said = (*prefix, token)
            if token == view.vocabulary.eos_id:
                found.append(Utterance(said))
            elif len(said) == view.max_turn_tokens:
                found.append(Utterance(said, ending=Ending.TOO_LONG))
            elif token != opening:
                unfinished.append(said)
        if len(found) + len(unfinished) > most:
            return None
    return found


def worlds(
    game: LanguageGame[Any], view: View, opponent: Speaker, rng: np.random.Generator, *, num_draws: int
) -> list[World[Any]]:
    """Return plays that are consistent with a view, with weights; never the one that is really being played.

    Deals are gone through where they are listed, else drawn. In each, the player's own turns are repeated from the view
    and the other player's model speaks `num_draws` times at each of its turns: the share that leaves the view as it is
    multiplies the weight, and one of those is kept.

    Args:
        game: the rules.
        view: what the player knows.
        opponent: the model of the other player.
        rng: draws deals and the model's turns.
        num_draws: how many deals and turns are drawn.
    """
    listed = game.deals.outcomes()
    if listed is not None and len(listed) <= MAX_LISTED_DEALS:
        starts = [World(Episode(game, deal), share) for deal, share in listed.items() if share > 0]
    else:
        starts = [World(Episode(game, game.deals.sample(rng)), 1.0) for _ in range(num_draws)]
    reached = (_followed(start, view, opponent, rng, num_draws) for start in starts)
    return [world for world in reached if world is not None]


def _followed(
    world: World[Any], view: View, opponent: Speaker, rng: np.random.Generator, num_draws: int
) -> World[Any] | None:
    """Return the world once it has come to the view, None where it cannot."""
    while _agrees(world.episode, view) and not world.episode.over:
        episode, weight = world
        if episode.player != view.player:
            copies = [_copied(episode) for _ in range(num_draws)]
            for branch, said in zip(copies, opponent.speak([episode.view()] * num_draws, rng), strict=True):
                _say(branch, said)
            same = [branch for branch in copies if _agrees(branch, view)]
            if not same:
                return None
            world = World(same[int(rng.integers(len(same)))], weight * len(same) / num_draws)
        elif episode.lengths[view.player] == len(view.tokens):
            return world
        elif not _repeat(episode, view):
            return None
    return None


def _copied(episode: Episode[Any]) -> Episode[Any]:
    """Return an episode that can be played on apart; what never changes is shared."""
    shared = (episode.game, episode.dialogue, masks_of(episode.game))
    return copy.deepcopy(episode, {id(kept): kept for kept in shared})


def _agrees(episode: Episode[Any], view: View) -> bool:
    """Whether all that the view's player has been told in an episode stands at the head of the view."""
    length = episode.lengths[view.player]
    told = episode.views[view.player, :length]
    return length <= len(view.tokens) and bool(np.array_equal(told, view.tokens[:length]))


def _repeat(episode: Episode[Any], view: View) -> bool:
    """Say the player's own next turn as it stands in the view; return whether it could be said."""
    num_turns = len(episode.dialogue.turns)
    while len(episode.dialogue.turns) == num_turns:
        place = episode.lengths[view.player]
        if place >= len(view.tokens) or not episode.open_turn.legal_mask[view.tokens[place]]:
            return False
        episode.push(int(view.tokens[place]))
    return True


def _say(episode: Episode[Any], utterance: Utterance) -> None:
    """Say a whole turn in an imagined episode and pay for it."""
    episode.speak(utterance)
    if not episode.settled:
        episode.settle(episode.game.rewards(episode.dialogue))
