"""What the rules say, remembered by dialogue: the batched engine asks them once and then reads arrays.

Rules are pure, so all that follows a turn (who speaks next, what each player is told, the rewards) is a function of
the dialogue. A `RuleBook` numbers the dialogues it has met; the number after a turn is found by the number before it
and the tokens of the turn, for a whole batch at once, and the game is asked only about turns never said before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Generic, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..engine.contract import (
    checked_next_player,
    checked_rewards,
    checked_rewards_batch,
    checked_tokens,
    the_vocabulary,
)
from ..engine.turn import OpenTurn, masks_of
from ..engine.views import Utterance
from ..game import PLAYERS, DealT, Dialogue, Ending, LanguageGame, Turn, check_hashable
from ..vocabulary import Tokens
from .records import Record
from .tables import Column, HashTable, Keys, Numbers, hash_weights

NOBODY = UNKNOWN = -1
OVER, FIRST, LATER, THINKING, FULL = range(5)
"""The places in a turn that every game has, which are also their masks: nobody speaks, its first token, any later one,
inside a thought, at the end of a full thought. Turns that the rules narrow have places of their own."""
ENDINGS = tuple(Ending)
MASK_BYTES = 64 * 2**20
"""Masks of narrowed turns that take more are forgotten, but for those in use."""


class _Said(NamedTuple):
    """A turn never said before."""

    before: int
    """The number of the dialogue."""
    tokens: Tokens
    num_words: int
    """How many sayable tokens it begins with."""
    ending: int


_NOTHING_SAID = _Said(UNKNOWN, (), 0, 0)


@dataclass(slots=True)
class _Draft(Generic[DealT]):
    """A dialogue on its way into the book."""

    record: Record[DealT]
    told: tuple[list[int], list[int]]
    """What it appends to the views of two players."""
    first: int
    """The player whom `told[0]` tells: who spoke last."""
    said: _Said = _NOTHING_SAID
    """What led here; at the root nothing did."""
    player: int = NOBODY
    limit: int = 0
    narrowed: bool = False
    first_place: int = OVER
    """Who speaks next, and what the columns of these names hold of the turn that this opens, if any."""


class RuleBook(Generic[DealT]):
    """The dialogues met so far, by number, with what follows from the rules in arrays by that number."""

    def __init__(self, game: LanguageGame[DealT]) -> None:
        """Take the rules; nothing has been met."""
        self.game = game
        self.records: list[Record[DealT]] = []
        self.player = Column(np.int8)
        """Who speaks next; -1: over."""
        self.rewards = Column(np.float64, 2)
        """What the last turn paid both players."""
        vocabulary = the_vocabulary(game, "BatchedGame")
        token_type = np.uint16 if vocabulary.size <= 2**16 else np.int32
        self.told = Column(token_type, 2, 8)
        """What it appended to the view of its speaker and of the other; at the root, of players 0 and 1."""
        self.told_lengths = Column(np.int32, 2)
        self.view_lengths = Column(np.int32, 2)
        """How long the views of players 0 and 1 are then."""
        self.forfeited_by = Column(np.int8)
        self.limit = Column(np.int32)
        """How many tokens the open turn may have."""
        self.narrowed = Column(np.bool_)
        """Whether the rules narrow the open turn."""
        self._first_place = Column(np.int64)
        self._before, self._length, self._ending = Column(np.int32), Column(np.int32), Column(np.int8)
        self._tokens = Column(token_type, 8)
        """The utterance that led here, from `_before`."""
        self._columns = [column for column in vars(self).values() if isinstance(column, Column)]
        self._mask_of = Column(np.int64)  # by place
        self._masks = Column(np.int8, game.vocabulary.size)
        self._numbers, self._places = HashTable(), HashTable()
        self._roots: dict[DealT, int] = {}
        self._mask_numbers: dict[bytes, int] = {}
        self._words = game.vocabulary.sayable_mask != 0
        masks = masks_of(game)
        for place, mask in enumerate((masks.none, masks.first, masks.later, masks.thinking, masks.closing)):
            self._masks.extend([mask])
            self._mask_of.extend([place])

    def __len__(self) -> int:
        """Return how many dialogues are remembered."""
        return len(self.records)

    def root(self, deal: DealT) -> int:
        """Return the number of the dialogue in which nothing has been said yet; TypeError if the deal has no hash."""
        check_hashable(deal)
        number = self._roots.get(deal)
        if number is None:
            vocabulary = self.game.vocabulary
            told = ([*vocabulary.begin(0)], [*vocabulary.begin(1)])
            for player in PLAYERS:
                briefing = self.game.briefing(deal, player)
                if briefing:
                    briefing = checked_tokens(self.game, "briefing", briefing, vocabulary.size)
                    told[player].extend(vocabulary.tell(briefing, player))
            number = len(self)
            self._add([_Draft(Record(Dialogue(deal)), told, first=0)])
            self._roots[deal] = number
        return number

    def after(self, before: Numbers, tokens: Numbers, lengths: Numbers, endings: Numbers) -> Numbers:
        """Return the numbers after a turn each; rewards of turns never said before are asked for in one call.

        Args:
            before: the numbers of the dialogues; (n,).
            tokens: the utterances, 0 beyond their lengths; (n, T).
            lengths: of the utterances; (n,).
            endings: which of `ENDINGS` the agent says it was where that forfeits, else 0; (n,).
        """
        keys = _turn_keys(before, tokens, lengths, endings)
        numbers = self._numbers.find(keys)
        known = np.flatnonzero(numbers >= 0)
        if known.size == len(numbers):
            wrong = np.flatnonzero(~self._reached(numbers, before, tokens, lengths, endings))
        else:
            found = self._reached(numbers[known], before[known], tokens[known], lengths[known], endings[known])
            wrong = known[~found]
        numbers[wrong] = UNKNOWN  # another turn with the same hash
        missing = np.flatnonzero(numbers < 0)
        if missing.size:
            before, tokens, lengths, endings = (column[missing] for column in (before, tokens, lengths, endings))
            words = self._words[tokens] & (np.arange(tokens.shape[1]) < lengths[:, None])
            num_words = np.where(words.all(1), lengths, words.argmin(1)) if tokens.shape[1] else lengths
            said = [
                _Said(number, tuple(row[:length]), num, ending)
                for number, row, length, num, ending in zip(
                    *(column.tolist() for column in (before, tokens, lengths, num_words, endings)), strict=True
                )
            ]
            numbers[missing] = learnt = self._learn(said)
            self._numbers.add(keys[missing], learnt)
        return numbers

    def first_places(self, numbers: Numbers) -> Numbers:
        """Return the places at which the open turns of dialogues begin."""
        places: Numbers = self._first_place.rows[numbers]
        for number in np.unique(numbers[places == UNKNOWN]).tolist():
            turn = OpenTurn(self.game, self.records[number].dialogue)
            self._first_place.rows[number] = self._place(turn) if turn.narrowed else FIRST
        return self._first_place.rows[numbers]

    def places_after(self, places: Numbers, tokens: Numbers) -> Numbers:
        """Return the places after a token each in narrowed turns, -1 where nobody has been yet.

        A token that closes a thought counts from the first place of its turn.
        """
        return self._places.find(_place_keys(places, tokens))

    def learn_place(self, number: int, place: int, token: int, words: Sequence[int]) -> None:
        """Ask what may follow `words` in the open turn of a dialogue, and remember it as the place after `token`."""
        turn = OpenTurn(self.game, self.records[number].dialogue)
        turn.narrow(tuple(words))
        self._places.add(_place_keys(np.array([place]), np.array([token])), np.array([self._place(turn)]))

    def legal(self, places: Numbers, tokens: Numbers) -> NDArray[np.bool_]:
        """Return whether each token may be said at its place; (n,)."""
        return self._masks.rows[self._mask_of.rows[places], tokens] != 0  # type: ignore[no-any-return]

    def legal_masks(self, places: Numbers) -> NDArray[np.int8]:
        """Return the legal mask of each place; (n, V)."""
        return self._masks.rows[self._mask_of.rows[places]]  # type: ignore[no-any-return]

    def crowded(self, max_dialogues: int) -> bool:
        """Whether more is remembered than should be."""
        size = self.game.vocabulary.size
        return len(self) > max_dialogues or len(self._masks) * size > max(MASK_BYTES, max_dialogues * size)

    def keep(self, numbers: Numbers, places: Numbers) -> tuple[Numbers, Numbers]:
        """Forget all dialogues and places but these; return what their numbers are now."""
        kept = np.unique(numbers)
        for column in self._columns:
            column.keep(kept)
        self.records = [self.records[number] for number in kept.tolist()]
        self._roots = {record.dialogue.deal: k for k, record in enumerate(self.records) if record.parent is None}
        self._before.rows[:] = UNKNOWN
        first = self._first_place.rows
        kept_places = np.unique(np.concatenate([np.arange(UNKNOWN, FULL + 1), places, first]))
        first[:] = np.searchsorted(kept_places, first) - 1
        self._mask_of.keep(kept_places[1:])
        kept_masks = np.unique(self._mask_of.rows)
        self._masks.keep(kept_masks)
        self._mask_of.rows[:] = np.searchsorted(kept_masks, self._mask_of.rows)
        self._mask_numbers = {mask.tobytes(): k for k, mask in enumerate(self._masks.rows) if k > FULL}
        self._numbers, self._places = HashTable(), HashTable()
        return np.searchsorted(kept, numbers), np.searchsorted(kept_places, places) - 1

    def _reached(
        self, numbers: Numbers, before: Numbers, tokens: Numbers, lengths: Numbers, endings: Numbers
    ) -> NDArray[np.bool_]:
        """Return whether the dialogues are what the turns lead to, token for token."""
        reached: NDArray[np.bool_] = self._before.rows[numbers] == before
        reached &= (self._length.rows[numbers] == lengths) & (self._ending.rows[numbers] == endings)
        width = min(tokens.shape[1], self._tokens.rows.shape[1])  # no longer one is equal to any in the book
        differs = self._tokens.rows.take(numbers, axis=0)[:, :width] != tokens[:, :width]
        reached &= ~differs.any(1)
        return reached

    def _learn(self, said: list[_Said]) -> Numbers:
        """Ask the rules about turns never said before; return the numbers of the dialogues after them."""
        different = dict.fromkeys(said)
        drafts = [self._draft(turn) for turn in different]
        self._pay([draft for draft in drafts if not draft.record.dialogue.turns[-1].ending.forfeits])
        numbers = dict(zip(different, range(len(self), len(self) + len(drafts)), strict=True))
        self._add(drafts)
        return np.array([numbers[turn] for turn in said], dtype=np.int64)

    def _draft(self, said: _Said) -> _Draft[DealT]:
        """Say a turn, and ask what each player is told."""
        game, vocabulary, parent = self.game, self.game.vocabulary, self.records[said.before]
        speaker = int(self.player.rows[said.before])
        listener = 1 - speaker
        turn, written = self._say(said, speaker)
        dialogue = parent.dialogue.extend(turn)
        told = ([*written, *vocabulary.close_turn(speaker, speaker)], list[int]())
        draft = _Draft(Record(dialogue, parent), told, speaker, said)
        if turn.thought or turn.ending.forfeits or len(written) > len(turn.tokens):
            draft.record.said = Utterance(said.tokens, ending=ENDINGS[said.ending])
        if turn.ending.forfeits:
            draft.record.rewards = checked_rewards(game, game.forfeit_rewards(speaker))
            return draft
        heard, size = game.hears(dialogue, listener), vocabulary.size
        if heard is not None:
            heard = checked_tokens(game, "hears", heard, size)
            told[1].extend((*vocabulary.open_turn(speaker, listener), *heard))
            told[1].extend(vocabulary.close_turn(speaker, listener))
        for tokens, viewer in zip(told, (speaker, listener), strict=True):
            announcement = game.announcement(dialogue, viewer)
            if announcement:
                announcement = checked_tokens(game, "announcement", announcement, size)
                tokens.extend(vocabulary.tell(announcement, viewer))
        return draft

    def _say(self, said: _Said, speaker: int) -> tuple[Turn, Tokens]:
        """Return the turn, and those of its tokens that stand in the speaker's view."""
        tokens, ending = said.tokens, ENDINGS[said.ending]
        if self.narrowed.rows[said.before] or self.game.max_thought_tokens:
            turn = OpenTurn(self.game, self.records[said.before].dialogue)
            used = next((k for k, token in enumerate(tokens, 1) if turn.push(token)), len(tokens))
            closed_by, words, thought = turn.closed_by, tuple(turn.spoken), tuple(turn.thought or ())
        else:  # no token needs a look of its own
            limit, thought = int(self.limit.rows[said.before]), ()
            used, closed_by = self._end(tokens, min(said.num_words, limit), limit)
            words = tokens[: min(said.num_words, limit)]
        if used < len(tokens) and closed_by is not Ending.ILLEGAL:
            raise ValueError(f"utterance: expected nothing after the end of the turn, got {tokens!r}")
        written = tokens[: used - (closed_by in (Ending.END_OF_TURN, Ending.ILLEGAL))]
        closed_by = ending if ending.forfeits else closed_by
        if closed_by is None:
            raise ValueError(f"utterance: expected <eos> or the length limit at its end, got {tokens!r}")
        return Turn(words, thought, closed_by, speaker), written

    def _end(self, tokens: Tokens, num_words: int, limit: int) -> tuple[int, Ending | None]:
        """Return how many tokens of an unrestricted turn are used, and what ends it."""
        if num_words == limit:
            return limit, Ending.TOO_LONG
        if num_words == len(tokens):
            return num_words, None
        closes = tokens[num_words] == self.game.vocabulary.eos_id
        return num_words + 1, Ending.END_OF_TURN if closes else Ending.ILLEGAL

    def _pay(self, drafts: list[_Draft[DealT]]) -> None:
        """Ask for all rewards at once, and check them."""
        dialogues = [draft.record.dialogue for draft in drafts]
        pairs = checked_rewards_batch(self.game, dialogues) if dialogues else ()
        for draft, pair in zip(drafts, pairs, strict=True):
            draft.record.rewards = checked_rewards(self.game, pair)

    def _add(self, drafts: list[_Draft[DealT]]) -> None:
        """Enter dialogues, and open their next turns.

        The records come last: what a call that was cut short has written before them counts for nothing.
        """
        for draft in drafts:
            self._open(draft)
        for column in self._columns:
            column.cut(len(self))
        said = [draft.said for draft in drafts]
        told, lengths = self._padded(self.told, [tokens for draft in drafts for tokens in draft.told])
        view_lengths = self._view_lengths(drafts, lengths.reshape(-1, 2))
        self.player.extend([draft.player for draft in drafts])
        self.rewards.extend([draft.record.rewards for draft in drafts])
        self.forfeited_by.extend([_forfeited_by(self.game, draft.record.dialogue) for draft in drafts])
        self.limit.extend([draft.limit for draft in drafts])
        self.narrowed.extend([draft.narrowed for draft in drafts])
        self._first_place.extend([draft.first_place for draft in drafts])
        self._before.extend([turn.before for turn in said])
        self._length.extend([len(turn.tokens) for turn in said])
        self._ending.extend([turn.ending for turn in said])
        self._tokens.extend(self._padded(self._tokens, [turn.tokens for turn in said])[0])
        self.told.extend(told.reshape(-1, 2, told.shape[1]))
        self.told_lengths.extend(lengths.reshape(-1, 2))
        self.view_lengths.extend(view_lengths)
        self.records += [draft.record for draft in drafts]

    def _open(self, draft: _Draft[DealT]) -> None:
        """Ask who speaks next, and what that player's turn may be."""
        dialogue = draft.record.dialogue
        player = None if _forfeited_by(self.game, dialogue) != NOBODY else checked_next_player(self.game, dialogue)
        if player is None:
            return
        turn = OpenTurn(self.game, dialogue)
        draft.player, draft.limit, draft.narrowed, draft.first_place = player, turn.limit, turn.narrowed, UNKNOWN
        draft.told[player != draft.first].extend(self.game.vocabulary.open_turn(player, player))

    def _view_lengths(self, drafts: list[_Draft[DealT]], told: Numbers) -> Numbers:
        """Return how long the views become; `told` by speaker and listener, as the drafts have it."""
        added = np.where([[draft.first == 0] for draft in drafts], told, told[:, ::-1])
        before = [draft.said.before for draft in drafts if draft.said is not _NOTHING_SAID]
        lengths: Numbers = added + self.view_lengths.rows[before] if before else added
        most, longest = self.game.max_view_tokens, int(lengths.max())
        if longest > most:
            raise ValueError(
                f"{type(self.game).__name__}: expected at most {most} tokens in a view (from max_turns, "
                f"max_turn_tokens, max_briefing_tokens, max_announcement_tokens), got {longest}"
            )
        return lengths

    def _padded(self, column: Column, rows: Sequence[Sequence[int]]) -> tuple[Numbers, Numbers]:
        """Return rows of tokens, padded to the width of a column, which is widened if need be, and their lengths."""
        lengths = np.array([len(row) for row in rows])
        width = int(lengths.max())
        if width > column.rows.shape[-1]:
            column.widen(-(-width // 8) * 8)
        padded = np.zeros((len(rows), column.rows.shape[-1]), dtype=np.int64)
        padded[np.arange(padded.shape[1]) < lengths[:, None]] = list(chain.from_iterable(rows))
        return padded, lengths

    def _place(self, turn: OpenTurn) -> int:
        """Return a new place in a narrowed turn, with the mask that the rules give it; equal masks are kept once."""
        mask = turn.legal_mask
        if mask is masks_of(self.game).later:
            number = LATER
        else:
            number = self._mask_numbers.setdefault(mask.tobytes(), len(self._masks))
            if number == len(self._masks):
                self._masks.extend([mask])
        self._mask_of.extend([number])
        return len(self._mask_of) - 1


def _place_keys(places: Numbers, tokens: Numbers) -> Keys:
    return ((places << 32) + tokens + 1).astype(np.uint64)


def _turn_keys(before: Numbers, tokens: Numbers, lengths: Numbers, endings: Numbers) -> Keys:
    """Return a 64-bit hash of each turn, linear in its tokens, and never 0."""
    weights = hash_weights(tokens.shape[1] + 3)
    head = (
        before.view(np.uint64) * weights[0]
        + lengths.view(np.uint64) * weights[1]
        + endings.view(np.uint64) * weights[2]
    )
    return np.maximum(head + tokens.view(np.uint64) @ weights[3:], np.uint64(1))  # type: ignore[no-any-return]


def _forfeited_by(game: LanguageGame[DealT], dialogue: Dialogue[DealT]) -> int:
    last = dialogue.turns[-1] if dialogue.turns else None
    if last is None or last.player is None:
        return NOBODY
    return last.player if last.ending.forfeits or game.is_forfeit(dialogue) else NOBODY
