"""OpenSpiel's games as language games: any sequential game of two players, with a word for each action.

Rules: those of the OpenSpiel game. A game without chance and without secrets is played step by step, whatever its size.
Any other is enumerated once, at most `max_states` states, and chance is drawn at the root (see
`duologue.envs.bridges.explicit`); where only chance makes it too large, nothing is enumerated and the deal is an
integer seed that determines every outcome of chance.

Observation: in an enumerated game a player is told OpenSpiel's information state before each of its turns, split into
words (where OpenSpiel has none and nothing is secret, all that has happened), and hears nothing else. In a game played
step by step both hear all turns, and the game announces what chance drew.

Actions: one word a turn, OpenSpiel's name of the action with underscores for blanks; "action7" where the name depends
on the position (the transcript then adds it).

Rewards: differences of OpenSpiel's returns from turn to turn; its utility type decides between zero-sum, identical and
general. An illegal token costs 1.

Known values: OpenSpiel's own: NashConv of uniform play is 11/12 in "kuhn_poker" and 4.747222 in "leduc_poker"; perfect
play draws "tic_tac_toe".

References: M. Lanctot et al., *OpenSpiel: a framework for reinforcement learning in games*, arXiv 1908.09453, 2019.

Version history: v0, first version.
"""

from __future__ import annotations

from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..extras import from_extra
from ..game import NO_CHANCE, PLAYERS, Deals, Dialogue, LanguageGame, Payoff, SampledDeals
from ..tree.enumeration import CHANCE, TERMINAL
from ..vocabulary import SPECIAL_TOKENS, Tokens, WordVocabulary
from .explicit import ExplicitGame, ExplicitNode, TooLarge

if TYPE_CHECKING:
    import pyspiel

MAX_STATES = 1_000_000
NUM_PROBES = 33
HOPELESS = 1e18
"""An estimate of the number of states that need not be exact any more."""
MAX_CACHED = 4096
MAX_CHANCE_WORDS = 4
"""Room in a view for chance's outcomes after each turn, on the average over a whole episode."""
NUM_SEEDS = 2**32
UNNAMED = "Action(id="
"""How OpenSpiel's name of an action begins where it has one only in a position."""


def from_openspiel(game: str | pyspiel.Game = "kuhn_poker", *, max_states: int = MAX_STATES) -> LanguageGame[Any]:
    """Return an OpenSpiel game as a language game.

    Args:
        game: the name, with parameters as OpenSpiel writes them ("liars_dice(dice_sides=3)"), or the loaded game.
        max_states: the most states that are enumerated, chance's included.

    Raises:
        ImportError: OpenSpiel is not installed.
        TooLarge: it has to be enumerated and is larger than that; the message has the estimated size.
        ValueError: no such game, or one that is not sequential, not for two players, or without perfect recall.
    """
    pyspiel = _import_pyspiel()
    loaded = _load(pyspiel, game) if isinstance(game, str) else game
    kind = loaded.get_type()
    _check(pyspiel, loaded)
    open_to_all = kind.information == pyspiel.GameType.Information.PERFECT_INFORMATION
    if open_to_all and kind.chance_mode == pyspiel.GameType.ChanceMode.DETERMINISTIC:
        return OpenSpielGame(loaded)
    if not open_to_all and not kind.provides_information_state_string:
        raise ValueError(f"game: expected one with information_state_string, got {kind.short_name!r}, which has none")
    try:
        nodes = _enumerate(loaded, max_states=max_states, tell_history=open_to_all)
        return ExplicitGame(nodes, payoff=_payoff(pyspiel, loaded))
    except TooLarge:
        if open_to_all:
            return OpenSpielGame(loaded)
        raise


class OpenSpielGame(LanguageGame[Any]):
    """A game without secrets, played step by step; `from_openspiel` makes it.

    Its positions are replayed from the dialogue, with the last few thousand kept in a cache.
    """

    vocabulary: WordVocabulary
    max_turn_tokens = 1

    def __init__(self, game: pyspiel.Game) -> None:
        """Take the loaded game."""
        pyspiel = _import_pyspiel()
        self._game = game
        self.payoff = _payoff(pyspiel, game)
        self.max_turns = game.max_game_length()
        deterministic = game.get_type().chance_mode == pyspiel.GameType.ChanceMode.DETERMINISTIC
        self.deals: Deals[Any] = NO_CHANCE if deterministic else SampledDeals(_draw_seed)
        self.max_briefing_tokens = self.max_announcement_tokens = 0 if deterministic else MAX_CHANCE_WORDS
        num_outcomes = 0 if deterministic else game.max_chance_outcomes()
        words = [_action_words(game, player, game.num_distinct_actions()) for player in PLAYERS]
        words.append(_action_words(game, CHANCE, num_outcomes))
        self.vocabulary = WordVocabulary(tuple(dict.fromkeys(word for some in words for word in some)))
        self._tokens = [self.vocabulary.encode(" ".join(some)) for some in words]
        self._actions = [{token: action for action, token in enumerate(tokens)} for tokens in self._tokens]
        self._cache: dict[tuple[object, Tokens], _Position] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Leave the cache out of pickles."""
        return {**self.__dict__, "_cache": {}}

    def next_player(self, dialogue: Dialogue[Any]) -> int | None:
        """Return who is to move."""
        return self._position(dialogue).player

    def rewards(self, dialogue: Dialogue[Any]) -> tuple[float, float]:
        """Return how the returns have changed since the turn before."""
        after = self._position(dialogue).returns
        if len(dialogue.turns) == 1:
            return after
        before = self._position(dialogue.upto(len(dialogue.turns) - 1)).returns
        return after[0] - before[0], after[1] - before[1]

    def briefing(self, deal: Any, player: int) -> Tokens:
        """Return what chance drew before the first turn."""
        return self._position(Dialogue(deal)).drawn if self.max_briefing_tokens else ()

    def announcement(self, dialogue: Dialogue[Any], player: int) -> Tokens:
        """Return what chance drew after the last turn."""
        return self._position(dialogue).drawn if self.max_announcement_tokens else ()

    def annotate(self, dialogue: Dialogue[Any]) -> str:
        """Return OpenSpiel's name of the last action where it was said, if it has another one there."""
        before, token = self._position(dialogue.upto(len(dialogue.turns) - 1)), dialogue.turns[-1].tokens[0]
        assert before.player is not None
        name = str(before.state.action_to_string(before.player, self._actions[before.player][token]))
        return "" if _word(name) == self.vocabulary.decode((token,)) else name

    def legal_tokens(self, dialogue: Dialogue[Any], prefix: Tokens) -> Tokens:
        """Return the words of the legal actions."""
        return self._position(dialogue).legal

    def _position(self, dialogue: Dialogue[Any]) -> _Position:
        tokens = tuple([turn.tokens[0] for turn in dialogue.turns])
        found = self._cache.get((dialogue.deal, tokens))
        if found is not None:
            return found
        before = self._cache.get((dialogue.deal, tokens[:-1])) if tokens else None
        if before is None:
            before, said = self._settle(self._game.new_initial_state(), dialogue.deal, 0), tokens
        else:
            said = tokens[-1:]
        for token in said:
            before = self._after(before, token, dialogue.deal)
        if len(self._cache) >= MAX_CACHED:
            self._cache.clear()
        self._cache[dialogue.deal, tokens] = before
        return before

    def _after(self, position: _Position, token: int, deal: Any) -> _Position:
        assert position.player is not None
        state = position.state.clone()
        state.apply_action(self._actions[position.player][token])
        return self._settle(state, deal, position.num_chance_events)

    def _settle(self, state: pyspiel.State, deal: Any, event: int) -> _Position:
        """Draw chance's outcomes until a player is to move or the game is over."""
        drawn: list[int] = []
        while state.is_chance_node():
            outcomes = state.chance_outcomes()
            number = np.random.default_rng((deal, event)).random()
            ends = np.cumsum([probability for _, probability in outcomes])
            index = min(int(np.searchsorted(ends, number, side="right")), len(outcomes) - 1)
            drawn.append(self._tokens[CHANCE][outcomes[index][0]])
            state.apply_action(outcomes[index][0])
            event += 1
        player = None if state.is_terminal() else int(state.current_player())
        legal = () if player is None else tuple(self._tokens[player][action] for action in state.legal_actions())
        first, second = state.returns()
        return _Position(state, player, legal, (first, second), tuple(drawn), event)


class _Position(NamedTuple):
    """Where play stands."""

    state: pyspiel.State
    player: int | None
    legal: Tokens
    returns: tuple[float, float]
    drawn: Tokens
    """The words for what chance drew on the way from the last turn."""
    num_chance_events: int


class _Enumeration:
    """The states of a game as they are found, in depth-first order."""

    def __init__(self, *, tell_history: bool, pays_at_the_end: bool) -> None:
        self._tell_history = tell_history
        self._pays_at_the_end = pays_at_the_end
        self._labels: dict[tuple[int, str], tuple[list[int], tuple[str, ...]]] = {}

    def node(self, state: pyspiel.State, history: str) -> tuple[int, str, tuple[str, ...], list[int], list[float]]:
        """Return who decides, the information set, the actions' labels, the actions, and the probabilities."""
        if state.is_terminal():
            return TERMINAL, "", (), [], []
        if state.is_chance_node():
            actions, chances = [a for a, _ in state.chance_outcomes()], [p for _, p in state.chance_outcomes()]
            return CHANCE, "", _labels(state, CHANCE, actions), actions, chances
        player = int(state.current_player())
        infoset = history or "start" if self._tell_history else state.information_state_string(player)
        actions = list(state.legal_actions())
        known = self._labels.get((player, infoset))
        if known is None:
            known = self._labels[player, infoset] = actions, _labels(state, player, actions)
        elif known[0] != actions:
            raise ValueError(
                f"game: expected the same actions throughout an information state, got {known[0]} and {actions} "
                f"for player {player} at {infoset!r}"
            )
        return player, infoset, known[1], actions, []

    def returns(self, state: pyspiel.State) -> tuple[float, float]:
        """Return what the players have been paid so far."""
        if self._pays_at_the_end and not state.is_terminal():
            return 0.0, 0.0
        first, second = state.returns()
        return first, second


def _enumerate(game: pyspiel.Game, *, max_states: int, tell_history: bool) -> list[ExplicitNode]:
    """Return all states as nodes.

    Args:
        game: the loaded game.
        max_states: the most of them.
        tell_history: name information sets by all that has happened, as nothing is secret.
    """
    problem, remedy = (
        f"{game}: expected at most {max_states:,} states, got",
        "raise max_states or choose a smaller game",
    )
    estimate = float(np.median(_estimates(game)))
    if estimate > 4 * max_states:
        raise TooLarge(f"{problem} an estimate of {estimate:.3g}; {remedy}")
    reward_model = _import_pyspiel().GameType.RewardModel
    pays_at_the_end = game.get_type().reward_model == reward_model.TERMINAL
    enumeration = _Enumeration(tell_history=tell_history, pays_at_the_end=pays_at_the_end)
    nodes: list[ExplicitNode] = []
    children: list[list[int]] = []
    stack: list[tuple[Any, int, str, tuple[float, float]]] = [(game.new_initial_state(), -1, "", (0.0, 0.0))]
    while stack:
        state, parent, history, paid = stack.pop()
        index, returns = len(nodes), enumeration.returns(state)
        if index == max_states:
            raise TooLarge(f"{problem} more than that; {remedy}")
        if parent >= 0:
            children[parent].append(index)
        player, infoset, labels, actions, chances = enumeration.node(state, history)
        rewards = (returns[0] - paid[0], returns[1] - paid[1])
        nodes.append(ExplicitNode(player, infoset, labels, (), tuple(chances), rewards))
        children.append([])
        for action, label in zip(reversed(actions), reversed(labels), strict=True):
            later = f"{history} {_word(label)}".strip() if tell_history else ""
            stack.append((state.child(action), index, later, returns))
    return [node._replace(children=tuple(below)) for node, below in zip(nodes, children, strict=True)]


def _estimates(game: pyspiel.Game) -> list[float]:
    """Return unbiased estimates of the number of states, one for each random play (Knuth, 1975)."""
    rng, estimates = np.random.default_rng(0), []
    for _ in range(NUM_PROBES):
        state, weight, total = game.new_initial_state(), 1.0, 1.0
        while not state.is_terminal() and total < HOPELESS:
            actions = state.legal_actions()  # at a chance node, its outcomes
            weight *= len(actions)
            total += weight
            state.apply_action(actions[int(rng.integers(len(actions)))])
        estimates.append(total)
    return estimates


def _labels(state: pyspiel.State, player: int, actions: list[int]) -> tuple[str, ...]:
    """Return OpenSpiel's names of the actions, with their numbers where two have one name."""
    words = [_word(state.action_to_string(player, action)) for action in actions]
    if len(set(words)) == len(words):
        return tuple(words)
    return tuple(
        word if words.count(word) == 1 else f"{word}#{action}" for word, action in zip(words, actions, strict=True)
    )


def _action_words(game: pyspiel.Game, player: int, num_actions: int) -> list[str]:
    """Return a word for each action of a player, unlike words for unlike actions."""
    words: dict[str, None] = {}
    for action in range(num_actions):
        word = _word(game.action_to_string(player, action))
        if word.startswith(UNNAMED):
            word = f"{'chance' if player == CHANCE else 'action'}{action}"
        words[f"{word}#{action}" if word in words or word in SPECIAL_TOKENS else word] = None
    return list(words)


def _word(text: str) -> str:
    return "_".join(text.split()) or "_"


def _draw_seed(rng: np.random.Generator) -> int:
    return int(rng.integers(NUM_SEEDS))


def _payoff(pyspiel: ModuleType, game: pyspiel.Game) -> Payoff:
    utility = pyspiel.GameType.Utility
    known = {utility.ZERO_SUM: Payoff.ZERO_SUM, utility.IDENTICAL: Payoff.IDENTICAL}
    return known.get(game.get_type().utility, Payoff.GENERAL)


def _load(pyspiel: ModuleType, name: str) -> Any:
    try:
        return pyspiel.load_game(name)
    except pyspiel.SpielError as error:
        raise ValueError(
            f"game: expected the name of an OpenSpiel game, got {name!r}: {str(error).splitlines()[0]}"
        ) from error


def _check(pyspiel: ModuleType, game: pyspiel.Game) -> None:
    kind = game.get_type()
    if game.num_players() != len(PLAYERS):
        raise ValueError(f"game: expected two players, got {game.num_players()} in {kind.short_name!r}")
    if kind.dynamics != pyspiel.GameType.Dynamics.SEQUENTIAL:
        raise ValueError(
            f"game: expected a sequential game, got {kind.short_name!r}, where players move at once; "
            f'"turn_based_simultaneous_game(game={game})" makes a sequential game of it'
        )
    if kind.chance_mode == pyspiel.GameType.ChanceMode.SAMPLED_STOCHASTIC:
        raise ValueError(f"game: expected chance that lists its outcomes, got {kind.short_name!r}, which draws them")


def _import_pyspiel() -> Any:
    with from_extra("openspiel", need="from_openspiel: expected open_spiel"):
        import pyspiel
    return pyspiel
