"""The turn being spoken: what its speaker may say next, token by token, and how it ends.

A mask over the vocabulary is made only for whoever asks for one: where the rules list what may be said, the list
decides.
"""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..game import DealT, Dialogue, Ending, LanguageGame, Turn
from ..vocabulary import Tokens
from .contract import checked_tokens


class Masks:
    """The constant legal masks of a game, read-only: what may be said where its rules narrow nothing."""

    def __init__(self, game: LanguageGame[DealT], player: int) -> None:
        """Build the masks: first token, later tokens, inside a thought, end of a full thought, nothing."""
        vocabulary = self.vocabulary = game.vocabularies[player]
        if game.max_thought_tokens and vocabulary.think_ids is None:
            raise ValueError("max_thought_tokens: expected 0, as the vocabulary has no thought tokens")
        self.open_thought = vocabulary.open_thought if game.max_thought_tokens else None
        """What opens a turn and a thought at once; None: a speaker opens its thoughts itself."""
        self.size = vocabulary.size
        """The number V of token ids."""
        self.none = np.zeros(self.size, dtype=np.int8)
        self.later = vocabulary.sayable_mask.copy()
        self.later[vocabulary.eos_id] = 1
        self.first = self.thinking = self.closing = self.later
        self.first_ids: NDArray[np.int64] | None = None
        self.thinking_ids: NDArray[np.int64] | None = None
        self.closing_ids: NDArray[np.int64] | None = None
        if game.max_thought_tokens and vocabulary.think_ids:
            opening, closing = vocabulary.think_ids
            self.first, self.thinking, self.closing = (
                self.later.copy(),
                vocabulary.sayable_mask.copy(),
                self.none.copy(),
            )
            self.first[opening] = 1
            self.thinking[closing] = self.closing[closing] = 1
            self.first_ids, self.thinking_ids, self.closing_ids = (
                np.flatnonzero(mask) for mask in (self.first, self.thinking, self.closing)
            )
        for shared in vars(self).values():  # by all episodes of the game, and handed to agents
            if isinstance(shared, np.ndarray):
                shared.setflags(write=False)


def masks_of(game: LanguageGame[DealT], player: int = 0) -> Masks:
    """Return the game's constant masks for a player, built once; those of both are one where the vocabulary is."""
    masks = game.__dict__.get("_masks")
    if masks is None:
        first, second = game.vocabularies
        own = Masks(game, 0)
        masks = game.__dict__["_masks"] = (own, own if second is first else Masks(game, 1))
    found: Masks = masks[player]
    return found


def token_of(token: object, size: int, what: str = "token") -> int:
    """Return the token id that `token` is, as a plain integer.

    Raises:
        TypeError: it is no integer; True and False are none.
        ValueError: it is no token id of a vocabulary of this size.
    """
    try:
        if isinstance(token, bool):
            raise TypeError
        number = operator.index(token)  # type: ignore[arg-type]
    except TypeError:
        raise TypeError(f"{what}: expected a token id, an integer in [0, {size}), got {token!r}") from None
    if not 0 <= number < size:
        raise ValueError(f"{what}: expected a token id in [0, {size}), got {number}")
    return number


def array_of(numbers: ArrayLike | None, what: str) -> NDArray[Any]:
    """Return numbers as an array of whatever type they are; TypeError where they have no shape, as ragged lists."""
    try:
        return np.asarray(numbers)
    except ValueError:
        raise TypeError(f"{what}: expected an array of integers, got {numbers!r}") from None


class OpenTurn:
    """The turn being spoken: checks each token and knows what may follow."""

    __slots__ = (
        "_dialogue",
        "_game",
        "_ids",
        "_listed",
        "_mask",
        "_masks",
        "_widest",
        "closed_by",
        "limit",
        "narrowed",
        "spoken",
        "thinking",
        "thought",
    )

    def __init__(self, game: LanguageGame[DealT], dialogue: Dialogue[DealT], player: int = 0) -> None:
        """Open the next turn of `dialogue`, which a player speaks in its vocabulary."""
        self._game = game
        self._dialogue = dialogue
        self._masks = masks_of(game, player)
        self.limit = game.turn_limit(dialogue)
        """The most tokens that it may have, `<eos>` and thought apart."""
        if not 1 <= self.limit <= game.max_turn_tokens:
            raise ValueError(
                f"{type(game).__name__}.turn_limit: expected 1 to max_turn_tokens={game.max_turn_tokens}, "
                f"got {self.limit}"
            )
        self.spoken: list[int] = []
        self.thought: list[int] | None = None
        self.thinking = False
        self.closed_by: Ending | None = None
        self._listed: Tokens | None = None
        self._mask: NDArray[np.int8] | None = None
        self._widest: NDArray[np.int8] = self._masks.first
        self._ids: NDArray[np.int64] | None = None
        self._ask((), first=True)
        self.narrowed = self._listed is not None
        """Whether the rules narrow it: they list what may be said first, and are asked again after each token."""
        if self._masks.open_thought is not None:
            self._think(None)

    @property
    def unrestricted(self) -> bool:
        """Whether the rules narrow nothing in this turn and there are no thoughts."""
        return not self.narrowed and not self._game.max_thought_tokens

    @property
    def legal_mask(self) -> NDArray[np.int8]:
        """1 where a token may be said now; (V,), read-only."""
        if self._listed is None:
            return self._widest
        if self._mask is None:
            listed = list(self._listed)
            self._mask = self._masks.none.copy()
            self._mask[listed] = self._widest[listed]
            self._mask.setflags(write=False)
        return self._mask

    @property
    def legal_tokens(self) -> NDArray[np.int64] | None:
        """The same as ascending ids, (n,); None: every sayable token and `<eos>`."""
        if self._listed is None:
            return self._ids
        ids = np.unique(np.asarray(self._listed, dtype=np.int64))
        legal: NDArray[np.int64] = ids[self._widest[ids] != 0]
        return legal

    def push(self, token: int, *, what: str = "token") -> bool:
        """Say one token, which an error calls `what`; return whether that ended the turn (`closed_by` then says how).

        If the rules raise, or it is no token id, the turn stands as before the token.

        Raises:
            TypeError: it is no integer.
            ValueError: it is no token id of the vocabulary.
        """
        if type(token) is not int or token < 0:
            token = token_of(token, self._masks.size, what)
        try:
            sayable = self._widest[token]
        except (IndexError, OverflowError):
            token_of(token, self._masks.size, what)  # says what was expected
            raise
        if not sayable or (self._listed is not None and token not in self._listed):
            self.closed_by = Ending.ILLEGAL
            return True
        game = self._game
        if self.thinking or (game.max_thought_tokens and token == self._masks.vocabulary.think_ids[0]):  # type: ignore[index]
            self._think(token)
            return False
        if token == self._masks.vocabulary.eos_id:
            self.closed_by = Ending.END_OF_TURN
            return True
        if len(self.spoken) + 1 == self.limit:
            self.spoken.append(token)
            self.closed_by = Ending.TOO_LONG
            return True
        if self.narrowed:
            self.narrow((*self.spoken, token))
        else:
            self._widest, self._ids = self._masks.later, None
        self.spoken.append(token)
        return False

    def narrow(self, prefix: Tokens) -> None:
        """Ask the rules what may follow `prefix`, words of this turn without its thought; that may then be said."""
        self._ask(prefix, first=False)

    def copy(self) -> OpenTurn:
        """Return a turn that goes on by itself."""
        twin = OpenTurn.__new__(OpenTurn)
        for name in OpenTurn.__slots__:
            setattr(twin, name, getattr(self, name))
        twin.spoken, twin.thought = self.spoken[:], None if self.thought is None else self.thought[:]
        return twin

    def reopen(self) -> None:
        """Take back the token that closed the turn."""
        if self.closed_by is Ending.TOO_LONG:
            self.spoken.pop()
        self.closed_by = None

    def turn(self, player: int) -> Turn:
        """Return the finished turn."""
        assert self.closed_by is not None
        return Turn(tuple(self.spoken), tuple(self.thought or ()), self.closed_by, player)

    def said(self) -> Tokens:
        """Return the tokens said so far, thought and all, without one that closed the turn."""
        opening, closing = self._masks.vocabulary.think_ids or (-1, -1)
        begun = (opening,) if self._masks.open_thought is None else ()
        thought = () if self.thought is None else (*begun, *self.thought, *(() if self.thinking else (closing,)))
        return (*thought, *self.spoken[: -1 if self.closed_by is Ending.TOO_LONG else None])

    def _think(self, token: int | None) -> None:
        """Go on with a thought; None: it was opened with the turn."""
        opening, closing = self._masks.vocabulary.think_ids or (-1, -1)
        if token is None or token == opening:
            self.thinking, self.thought = True, []
        elif token == closing:
            self.narrow(())
            self.thinking = False
            return
        elif self.thought is not None:
            self.thought.append(token)
        masks, self._listed = self._masks, None
        full = len(self.thought or ()) >= self._game.max_thought_tokens
        self._widest, self._ids = (masks.closing, masks.closing_ids) if full else (masks.thinking, masks.thinking_ids)

    def _ask(self, prefix: Tokens, *, first: bool) -> None:
        game, masks = self._game, self._masks
        listed = game.legal_tokens(self._dialogue, prefix)
        tokens = None if listed is None else checked_tokens(game, "legal_tokens", listed, masks.size)
        widest, ids = (masks.first, masks.first_ids) if first else (masks.later, None)
        if tokens is not None and first and game.max_thought_tokens and masks.vocabulary.think_ids:
            tokens = (*tokens, masks.vocabulary.think_ids[0])
        if tokens is not None and not any(widest[token] for token in tokens):
            raise ValueError(
                f"{type(game).__name__}.legal_tokens: expected at least one sayable token or <eos> after "
                f"{masks.vocabulary.decode(prefix)!r}, got {tokens!r}"
            )
        self._listed, self._widest, self._ids, self._mask = tokens, widest, ids, None


class Ahead:
    """What may follow each prefix of a turn; one that continues the prefix asked last costs only its new tokens."""

    __slots__ = ("_asked", "_dialogue", "_game", "_player", "_said", "_turn")

    def __init__(self, game: LanguageGame[DealT], dialogue: Dialogue[DealT], said: Tokens, player: int = 0) -> None:
        """Take what a player has said already in the open turn of `dialogue`."""
        self._game, self._dialogue, self._said, self._player = game, dialogue, said, player
        self._asked: Tokens = ()
        self._turn: OpenTurn | None = None

    def legal_mask(self, prefix: Tokens) -> NDArray[np.int8]:
        """Return 1 where a token may follow, all 0 once the turn is over; (V,), read-only."""
        turn = self._after(prefix)
        return turn.legal_mask if turn.closed_by is None else masks_of(self._game, self._player).none

    def legal_tokens(self, prefix: Tokens) -> NDArray[np.int64] | None:
        """Return the same as ascending ids, none once the turn is over; None: every sayable token and `<eos>`."""
        turn = self._after(prefix)
        return turn.legal_tokens if turn.closed_by is None else np.zeros(0, dtype=np.int64)

    def _after(self, prefix: Tokens) -> OpenTurn:
        prefix, turn, asked = tuple(prefix), self._turn, self._asked
        self._turn = None  # until all of the prefix has been said, lest a failure leave it half said
        if turn is None or prefix[: len(asked)] != asked:
            turn, asked = OpenTurn(self._game, self._dialogue, self._player), ()
            for token in self._said:
                turn.push(token)
        for token in prefix[len(asked) :]:
            if turn.closed_by is None:
                turn.push(token)
        self._turn, self._asked = turn, prefix
        return turn
