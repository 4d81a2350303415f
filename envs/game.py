"""The rules of a language game: the tuple <N, S, Z, A, P, T, r> of arXiv 2402.08078, section 3, as code.

An author writes rules at the level of turns in a subclass of `LanguageGame`; the `engine` does the tokens. Rules are
pure: they draw nothing, log nothing, change nothing. Chance is declared by `Deals` and drawn once, at the root.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from types import MappingProxyType
from typing import Generic, Protocol

import numpy as np
from typing_extensions import TypeVar

from .printable import shown
from .vocabulary import Tokens, Vocabulary

DealT = TypeVar("DealT", bound=Hashable, default=Hashable)

PLAYERS = (0, 1)

MAX_VIEW_TOKENS = 2**22
"""The longest view that a game may have: an episode keeps two, 32 MiB each at this length."""


MAX_COUNT = 100_000
"""The most words, deals, rounds and the like that a game can be made with, unless it says less."""


class Payoff(StrEnum):
    """How the players' returns are related; checked at every reward."""

    ZERO_SUM = "zero_sum"
    """The rewards of every turn sum to 0."""
    IDENTICAL = "identical"
    """Both players receive the same reward at every turn."""
    GENERAL = "general"
    """Anything finite."""


class Ending(StrEnum):
    """Why a turn ended."""

    END_OF_TURN = "end_of_turn"
    """The speaker closed it with `<eos>`."""
    TOO_LONG = "too_long"
    """It reached the game's `turn_limit`."""
    ILLEGAL = "illegal"
    """A token was not legal: the turn is forfeited."""
    UNREADABLE = "unreadable"
    """An agent's text held no legal turn: the turn is forfeited."""
    AMBIGUOUS = "ambiguous"
    """An agent's text held more than one legal turn: the turn is forfeited."""

    @property
    def forfeits(self) -> bool:
        """Whether the speaker loses the episode by it."""
        return self in (Ending.ILLEGAL, Ending.UNREADABLE, Ending.AMBIGUOUS)


@dataclass(frozen=True, slots=True)
class Turn:
    """One message by a player: its tokens without `<eos>`, and the private thought that preceded them.

    Turns compare by what was said and thought, not by how they ended, so that a table of rules can be keyed by them.
    """

    tokens: Tokens
    thought: Tokens = ()
    ending: Ending = field(default=Ending.END_OF_TURN, compare=False)
    player: int | None = field(default=None, compare=False)
    """Who spoke; the engine fills it in."""


@dataclass(frozen=True, slots=True, init=False)
class Dialogue(Generic[DealT]):
    """Where play stands: what chance drew and the finished turns. A plain token tuple is taken as a `Turn`."""

    deal: DealT
    turns: tuple[Turn, ...]

    def __init__(self, deal: DealT, turns: tuple[Turn | Tokens, ...] = ()) -> None:
        """Accept token tuples for turns, so that rules can be written as tables."""
        if any(type(turn) is not Turn for turn in turns):
            turns = tuple(turn if isinstance(turn, Turn) else Turn(tuple(turn)) for turn in turns)
        object.__setattr__(self, "deal", deal)
        object.__setattr__(self, "turns", tuple(turns))

    def extend(self, turn: Turn) -> Dialogue[DealT]:
        """Return the successor state T(s, a) = [s, a], one turn longer."""
        longer: Dialogue[DealT] = object.__new__(Dialogue)  # the turns so far need no second look
        object.__setattr__(longer, "deal", self.deal)
        object.__setattr__(longer, "turns", (*self.turns, turn))
        return longer

    def upto(self, num_turns: int) -> Dialogue[DealT]:
        """Return the state that stood after `num_turns` turns."""
        return Dialogue(self.deal, self.turns[:num_turns])


class Deals(Protocol[DealT]):
    """What chance draws at the root of the game; all later luck is part of the deal and revealed by announcements."""

    def sample(self, rng: np.random.Generator) -> DealT:
        """Draw one deal."""
        ...

    def outcomes(self) -> Mapping[DealT, float] | None:
        """Return every deal with its probability, or None where they cannot be listed."""
        ...


def check_hashable(deal: object) -> None:
    """Raise TypeError unless a deal can be hashed: rules and engine remember what they know by deal."""
    try:
        hash(deal)
    except TypeError:
        raise TypeError(f"deal: expected a hashable one, such as a tuple, got the unhashable {deal!r}") from None


def check_whole(what: str, number: object, *, least: int) -> None:
    """Raise TypeError unless this is a whole number, ValueError unless it is at least `least`."""
    if isinstance(number, bool) or not isinstance(number, int | np.integer):
        raise TypeError(f"{what}: expected an integer, got {number!r}")
    if number < least:
        raise ValueError(f"{what}: expected at least {least}, got {shown(number)}")


def check_count(name: str, count: object, *, least: int = 1, most: int = MAX_COUNT) -> None:
    """Raise ValueError unless a size that a game is made with is a whole number from `least` to `most`."""
    if isinstance(count, bool) or not isinstance(count, int | np.integer) or count < least:
        raise ValueError(f"{name}: expected a whole number of at least {least}, got {shown(count)}")
    if count > most:
        raise ValueError(f"{name}: expected a whole number from {least} to {most:,}, got {shown(count)}")


def check_player(player: object) -> None:
    """Raise ValueError unless this is the number of a player."""
    if isinstance(player, bool) or not isinstance(player, int | np.integer) or player not in PLAYERS:
        raise ValueError(f"player: expected 0 or 1, got {player!r}")


def check_probabilities(outcomes: Mapping[DealT, float]) -> None:
    """Raise unless there is an outcome, and the probabilities are >= 0 and sum to 1 within 1e-9.

    Raises:
        TypeError: this is no mapping.
        ValueError: those are no probabilities.
    """
    if not isinstance(outcomes, Mapping):
        raise TypeError(f"deals: expected a mapping from each deal to its probability, got {outcomes!r}")
    try:
        proper = all(probability >= 0 for probability in outcomes.values())
        proper = proper and abs(math.fsum(outcomes.values()) - 1) <= 1e-9
    except (TypeError, ValueError, OverflowError):  # no numbers, or none whose sum is one
        proper = False
    if not proper:
        some = ", ".join(f"{deal!r}: {probability}" for deal, probability in list(outcomes.items())[:8])
        raise ValueError(f"deals: expected probabilities >= 0 that sum to 1, got {{{some}}}")


class FiniteDeals(Generic[DealT]):
    """Deals listed with their probabilities.

    >>> FiniteDeals({"ace": 0.5, "deuce": 0.5}).sample(np.random.default_rng(0))
    'deuce'
    """

    def __init__(self, probabilities: Mapping[DealT, float]) -> None:
        """Check the table: at least one deal, probabilities >= 0 that sum to 1 within 1e-9."""
        check_probabilities(probabilities)
        self._outcomes = dict(probabilities)
        self._deals = list(probabilities)
        self._cumulative = np.cumsum(list(probabilities.values()))

    def sample(self, rng: np.random.Generator) -> DealT:
        """Draw one deal."""
        index = int(np.searchsorted(self._cumulative, rng.random(), side="right"))
        return self._deals[min(index, len(self._deals) - 1)]

    def lists(self, deal: object) -> bool:
        """Whether a deal is one of these."""
        return deal in self._outcomes

    def outcomes(self) -> Mapping[DealT, float]:
        """Return every deal with its probability, read-only."""
        return MappingProxyType(self._outcomes)


class SampledDeals(Generic[DealT]):
    """Deals that can be drawn but not listed."""

    def __init__(self, draw: Callable[[np.random.Generator], DealT]) -> None:
        """Take the function that draws one deal."""
        if not callable(draw):
            raise TypeError(f"deals: expected a function of a generator that draws one, got {draw!r}")
        self._draw = draw

    def sample(self, rng: np.random.Generator) -> DealT:
        """Draw one deal."""
        return self._draw(rng)

    def outcomes(self) -> None:
        """Return None: there is no list."""
        return


NO_CHANCE: FiniteDeals[Hashable] = FiniteDeals({None: 1.0})


class LanguageGame(ABC, Generic[DealT]):
    """The rules of a two-player language game.

    A subclass sets the attributes (on the class, or in `__init__` where they depend on options) and implements
    `next_player` and `rewards`; the rest has defaults. Nothing may change after construction.
    """

    vocabulary: Vocabulary
    payoff: Payoff
    deals: Deals[DealT]
    max_turns: int
    """The most turns an episode can have."""
    max_turn_tokens: int
    """The most tokens in one turn, `<eos>` and thought apart; `turn_limit` may set less for some turns."""
    max_thought_tokens: int = 0
    """The most tokens in a thought; 0: the game has no thoughts."""
    max_briefing_tokens: int = 0
    max_announcement_tokens: int = 0
    """The most tokens in the announcements that follow one turn."""
    max_heard_tokens: int = 0
    """The most tokens that a player hears of one turn, if they may be more than `max_turn_tokens`."""
    roles: tuple[str, str] = ("player one", "player two")
    forfeit_cost: float = 1.0
    """What an illegal turn costs its speaker; the payoff type decides what the other player gets.

    It should be no less than the most that a player can lose, or forfeiting may pay.
    """

    @property
    def vocabularies(self) -> tuple[Vocabulary, Vocabulary]:
        """What each player reads and speaks: its view and its turns are in its own tokens; here both have the one.

        Where they differ, `vocabulary` is player 0's, and `hears` says a turn in the listener's tokens.
        """
        return self.vocabulary, self.vocabulary

    @abstractmethod
    def next_player(self, dialogue: Dialogue[DealT]) -> int | None:
        """Return P(s): who speaks next, or None if the episode is over."""

    @abstractmethod
    def rewards(self, dialogue: Dialogue[DealT]) -> tuple[float, float]:
        """Return what each player earns for the turn just finished, whoever spoke it (never called without a turn)."""

    def rewards_batch(self, dialogues: Sequence[Dialogue[DealT]]) -> Sequence[tuple[float, float]]:
        """Return `rewards` for many dialogues; a game with a learned judge calls it here once."""
        return [self.rewards(dialogue) for dialogue in dialogues]

    def turn_limit(self, dialogue: Dialogue[DealT]) -> int:
        """Return how many tokens the open turn may have, 1 to `max_turn_tokens`; the speaker must be able to know it.

        The engine ends a turn of this length as it ends one of `max_turn_tokens`. A turn that is only shorter is not
        narrowed, so that no token of it needs a mask.
        """
        return self.max_turn_tokens

    def legal_tokens(self, dialogue: Dialogue[DealT], prefix: Tokens) -> Tokens | None:
        """Return A(s), the tokens that may follow `prefix` in the open turn; None: every sayable token and `<eos>`."""
        return None

    def briefing(self, deal: DealT, player: int) -> Tokens:
        """Return what only `player` is told before the first turn."""
        return ()

    def hears(self, dialogue: Dialogue[DealT], player: int) -> Tokens | None:
        """Return what `player` hears of the last turn, spoken by the other player; None: not even that it was."""
        return dialogue.turns[-1].tokens

    def announcement(self, dialogue: Dialogue[DealT], player: int) -> Tokens:
        """Return what the game itself tells `player` after the last turn: a revealed card, a verdict."""
        return ()

    def annotate(self, dialogue: Dialogue[DealT]) -> str:
        """Return a reader's remark on the last turn, for transcripts; players never see it."""
        return ""

    def forfeit_rewards(self, player: int) -> tuple[float, float]:
        """Return the rewards when `player` forfeits: the cost to the offender, within the payoff type."""
        cost = float(self.forfeit_cost)
        other = {Payoff.ZERO_SUM: cost, Payoff.IDENTICAL: -cost, Payoff.GENERAL: 0.0}[self.payoff]
        return (-cost, other) if player == 0 else (other, -cost)

    def is_forfeit(self, dialogue: Dialogue[DealT]) -> bool:
        """Return whether the rules took the last turn for a forfeit, though its tokens were legal: for the counts."""
        return False

    @cached_property
    def max_view_tokens(self) -> int:
        """The length L of an observation: the longest view that a player can have, closings included.

        Raises:
            TypeError: an attribute that the rules must set is missing or of another type.
            ValueError: a size is too small, or the view longer than `MAX_VIEW_TOKENS`.
        """
        check_attributes(self)
        return max(_longest_view(self, viewer) for viewer in PLAYERS)

    def __deepcopy__(self, memo: dict[int, object]) -> LanguageGame[DealT]:
        """Return itself: rules never change, so copies of an environment share them."""
        return self


def checked_game(game: LanguageGame[DealT]) -> LanguageGame[DealT]:
    """Return the rules; raise TypeError where they are a name, a class, an environment or something else."""
    if isinstance(game, LanguageGame):
        return game
    if isinstance(game, str):
        hint = f", such as make_game({game!r})"
    elif isinstance(game, type):
        hint = f", such as {game.__name__}(): an instance, not the class"
    else:
        hint = "; an environment has it as `env.game`" if isinstance(getattr(game, "game", None), LanguageGame) else ""
    raise TypeError(f"game: expected the rules, a LanguageGame{hint}; got {game!r}")


_REQUIRED = ("vocabulary", "payoff", "deals", "max_turns", "max_turn_tokens")
_LEAST = {
    "max_turns": 1,
    "max_turn_tokens": 1,
    "max_thought_tokens": 0,
    "max_briefing_tokens": 0,
    "max_announcement_tokens": 0,
    "max_heard_tokens": 0,
}


def check_attributes(game: LanguageGame[DealT]) -> None:
    """Raise unless the rules have set what they must, in the types that the engine and the learners rely on."""
    name = type(game).__name__
    missing = [attribute for attribute in _REQUIRED if not hasattr(game, attribute)]
    if missing:
        raise TypeError(f"{name}: expected the attributes {', '.join(_REQUIRED)}, got none named {', '.join(missing)}")
    if not hasattr(game.vocabulary, "sayable_mask"):
        raise TypeError(f"{name}.vocabulary: expected a Vocabulary, got {game.vocabulary!r}")
    if not isinstance(game.payoff, Payoff):
        raise TypeError(f"{name}.payoff: expected a value of Payoff, such as Payoff.GENERAL, got {game.payoff!r}")
    if not (callable(getattr(game.deals, "sample", None)) and callable(getattr(game.deals, "outcomes", None))):
        raise TypeError(f"{name}.deals: expected FiniteDeals(...) or SampledDeals(...), got {game.deals!r}")
    if isinstance(game.roles, str) or not (
        isinstance(game.roles, Sequence) and [isinstance(role, str) for role in game.roles] == [True, True]
    ):
        raise TypeError(f"{name}.roles: expected two names, got {game.roles!r}")
    if not isinstance(game.forfeit_cost, int | float | np.number) or not math.isfinite(game.forfeit_cost):
        raise ValueError(f"{name}.forfeit_cost: expected a finite number, got {game.forfeit_cost!r}")
    for attribute, least in _LEAST.items():
        check_whole(f"{name}.{attribute}", getattr(game, attribute), least=least)


def _longest_view(game: LanguageGame[DealT], viewer: int) -> int:
    vocabulary = game.vocabularies[viewer]
    told = len(vocabulary.tell((), viewer))
    thought = game.max_thought_tokens + 2 + len(vocabulary.open_thought or ()) if game.max_thought_tokens else 0
    frame = max(len(vocabulary.open_turn(p, viewer)) + len(vocabulary.close_turn(p, viewer)) for p in PLAYERS)
    turn = frame + max(game.max_turn_tokens + thought, game.max_heard_tokens)
    turn += told + game.max_announcement_tokens if game.max_announcement_tokens else 0
    start = len(vocabulary.begin(viewer)) + (told + game.max_briefing_tokens if game.max_briefing_tokens else 0)
    length = int(start + game.max_turns * turn)
    if length > MAX_VIEW_TOKENS:
        sizes = ", ".join(f"{size}={getattr(game, size):,}" for size in _LEAST)
        raise ValueError(
            f"{type(game).__name__}: expected views of at most {MAX_VIEW_TOKENS:,} tokens, got {length:,} from {sizes}"
        )
    return length


def check_deal(game: LanguageGame[DealT], deal: object) -> None:
    """Raise TypeError if a deal cannot be hashed, ValueError if it is none of those that the game lists."""
    check_hashable(deal)
    if isinstance(game.deals, FiniteDeals) and not game.deals.lists(deal):
        some = ", ".join(repr(known) for known in list(game.deals.outcomes())[:8])
        raise ValueError(f"deal: expected one that {type(game).__name__} lists, such as {some}; got {deal!r}")


def generator_of(seed: object) -> np.random.Generator:
    """Return a generator of this seed; None: one that nothing decides.

    Raises:
        TypeError: it is no integer.
        ValueError: it is negative.
    """
    if seed is not None:
        check_whole("seed", seed, least=0)
    return np.random.default_rng(seed)  # type: ignore[arg-type]
