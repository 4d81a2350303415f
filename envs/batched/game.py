"""The batched form: many episodes of one game in lockstep, in arrays, with no Python per token.

Scripted and learned players say whole turns (`speak`) or single tokens (`step`); both agree with `Episode` and the
AEC form token for token and reward for reward. What the rules say is remembered by dialogue (`rules.py`), so
that they are asked once about each turn that nobody has said before, and judges once for a whole batch of them.

One file: the arrays of one engine are written in one place. What callers hand in is checked in `arguments.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.random import Generator
from numpy.typing import ArrayLike, NDArray

from ..engine.episode import Episode
from ..engine.turn import Ahead, array_of
from ..engine.views import View
from ..game import (
    DealT,
    Dialogue,
    Ending,
    FiniteDeals,
    LanguageGame,
    check_deal,
    check_whole,
    checked_game,
    generator_of,
)
from ..vocabulary import Tokens
from .arguments import check_episode, check_size, check_turns, forfeits_of, read_only, rows_of, token_ids
from .records import Record
from .rules import FULL, LATER, NOBODY, OVER, THINKING, UNKNOWN, RuleBook
from .tables import Numbers

MAX_DIALOGUES = 32_768
"""How many dialogues the engine remembers, if it has fewer episodes: under 1 KB each where a turn has 20 tokens."""


class BatchedGame(Generic[DealT]):
    """`num_episodes` plays of a game side by side.

    The arrays are the engine's own and read-only: read them, and copy what you keep.

    >>> from duologue.envs.games.bluff import BET, CALL, Bluff
    >>> plays = BatchedGame(Bluff(), num_episodes=3, seed=0, autoreset=False)
    >>> plays.speak(np.array([BET, BET, BET]), np.array([1, 1, 1]))
    >>> plays.player.tolist()
    [1, 1, 1]
    >>> plays.speak(np.array([CALL, CALL, CALL]), np.array([1, 1, 1]))
    >>> plays.over.tolist(), plays.returns[:, 0].tolist()
    ([True, True, True], [-2.0, 2.0, 2.0])
    """

    def __init__(
        self, game: LanguageGame[DealT], num_episodes: int, seed: int | None = None, *, autoreset: bool = True
    ) -> None:
        """Deal all episodes.

        Args:
            game: the rules.
            num_episodes: the batch size B.
            seed: of all deals; the first B are those of `deal_episodes` with a generator of this seed.
            autoreset: whether a finished episode is dealt anew in place, at once; if not, it waits for `reset`.

        Raises:
            TypeError: `num_episodes` or the seed is no integer, or these are no rules.
            ValueError: there is no episode, so many take more than `arguments.MAX_BYTES`, or the seed is negative.
        """
        check_whole("num_episodes", num_episodes, least=1)
        check_size(checked_game(game), int(num_episodes))
        self.game, self.num_episodes, self.autoreset = game, int(num_episodes), autoreset
        size = self.num_episodes
        self._lengths = np.zeros((size, 2), dtype=np.int64)
        self._player = np.full(size, NOBODY, dtype=np.int64)
        self._rewards, self._returns, self._final_returns = (np.zeros((size, 2)) for _ in range(3))
        self._finished = np.zeros(size, dtype=bool)
        self._forfeited_by = np.full(size, NOBODY, dtype=np.int64)
        self._book = RuleBook(game)
        self._number = np.zeros(size, dtype=np.int64)  # of the dialogue, in the book
        self._place = np.full(size, OVER, dtype=np.int64)  # in the open turn; UNKNOWN until somebody asks
        self._start = np.zeros(size, dtype=np.int64)  # of the open turn, in its speaker's view
        self._num_words = np.zeros(size, dtype=np.int64)  # of the open turn, thought apart
        self._words_start = np.zeros(size, dtype=np.int64)  # of the open turn's words, after its thought
        self._thinking = np.zeros(size, dtype=bool)
        self._broken = False  # whether a call was cut short while it wrote to the arrays
        self._length = game.max_view_tokens
        self._stride = self._length + 8
        self._storage = np.zeros((size, 2, self._stride), dtype=np.int64)
        self._rng = generator_of(seed)
        listed = isinstance(game.deals, FiniteDeals) and type(game.deals).sample is FiniteDeals.sample
        outcomes = game.deals.outcomes() if listed else None
        self._deals = list(outcomes or ())
        self._cumulative = np.cumsum(list(outcomes.values())) if outcomes else np.zeros(0)
        self._roots = np.full(len(self._deals), UNKNOWN, dtype=np.int64)
        self.reset()

    @property
    def views(self) -> NDArray[np.int64]:
        """What each player has been told and said, padded with 0; (B, 2, L)."""
        return read_only(self._storage[:, :, : self._length])

    @property
    def lengths(self) -> NDArray[np.int64]:
        """How many tokens each view has; (B, 2)."""
        return read_only(self._lengths)

    @property
    def player(self) -> NDArray[np.int64]:
        """Who speaks; -1 where the episode is over and waits; (B,)."""
        return read_only(self._player)

    @property
    def rewards(self) -> NDArray[np.float64]:
        """What the last call paid both players; (B, 2)."""
        return read_only(self._rewards)

    @property
    def returns(self) -> NDArray[np.float64]:
        """The sum of the rewards of the episode that is being played; (B, 2)."""
        return read_only(self._returns)

    @property
    def finished(self) -> NDArray[np.bool_]:
        """Where the last call ended an episode; (B,)."""
        return read_only(self._finished)

    @property
    def final_returns(self) -> NDArray[np.float64]:
        """The returns of the episode that ended last; (B, 2)."""
        return read_only(self._final_returns)

    @property
    def forfeited_by(self) -> NDArray[np.int64]:
        """Who forfeited the episode that ended last; -1: nobody; (B,)."""
        return read_only(self._forfeited_by)

    @property
    def over(self) -> NDArray[np.bool_]:
        """Where the episode is over and waits; (B,)."""
        over: NDArray[np.bool_] = self._player == NOBODY
        return over

    def legal_masks(self) -> NDArray[np.int8]:
        """Return 1 where a token may be said next, all 0 where nobody speaks, in a fresh array; (B, V)."""
        self._check_whole("legal_masks")
        self._find_places()
        return self._book.legal_masks(self._place)

    def dialogue(self, episode: int) -> Dialogue[DealT]:
        """Return the deal and the finished turns of one episode; IndexError if there is no such episode."""
        return self._record(episode).dialogue

    def episode(self, episode: int) -> Episode[DealT]:
        """Return one episode as it stands, by itself: its view for an agent, its transcript, its reward history.

        Raises:
            IndexError: there is no such episode.
        """
        root, *line = self._record(episode).line
        alone = Episode(self.game, root.dialogue.deal)
        for record in line:
            alone.speak(record.utterance(self.game))
            if not alone.settled:
                alone.settle(record.rewards)
        for token in self._open_tokens(episode):
            alone.push(token)
        return alone

    def view(self, episode: int) -> View:
        """Return all that the player to speak in one episode knows, for agents that speak by `View`.

        Raises:
            IndexError: there is no such episode.
            RuntimeError: it is over.
        """
        record, game = self._record(episode), self.game
        player = int(self._player[episode])
        if player == NOBODY:
            raise RuntimeError("view: the episode is over, nobody is to speak")
        ahead, number = Ahead(game, record.dialogue, self._open_tokens(episode)), self._number[episode]
        return View(
            player=player,
            tokens=self._storage[episode, player, : self._lengths[episode, player]].copy(),
            messages=record.heard(game)[player],
            vocabulary=game.vocabulary,
            max_turn_tokens=int(self._book.limit.rows[number]),
            legal_mask=ahead.legal_mask,
            legal_tokens=ahead.legal_tokens,
            unrestricted=not self._book.narrowed.rows[number] and not game.max_thought_tokens,
        )

    def reset(
        self, episodes: ArrayLike | None = None, *, seed: int | None = None, deals: Sequence[DealT] | None = None
    ) -> None:
        """Deal anew.

        Args:
            episodes: which; None: all.
            seed: restarts the stream of deals; None continues it.
            deals: one for each of them in place of a draw.

        Raises:
            RuntimeError: not all are dealt anew though an earlier call was interrupted half-way.
            TypeError: a deal cannot be hashed, or the seed is no integer.
            ValueError: a deal is none of those that the game lists, or there is not one for each episode.
        """
        rows = rows_of(episodes, self.num_episodes)
        self._check_deals(deals, len(rows))
        if self._broken and len(rows) < self.num_episodes:
            raise RuntimeError("reset: expected one of all episodes, as an earlier call was interrupted half-way")
        if self._broken:
            self._book = RuleBook(self.game)
            self._roots[:] = UNKNOWN
        else:
            self._forget()
        rng = self._rng if seed is None else generator_of(seed)
        roots = self._draw_roots(len(rows), rng) if deals is None else [self._book.root(deal) for deal in deals]
        self._broken = True  # until all is written
        self._rng = rng
        self._rewards[rows], self._finished[rows] = 0.0, False
        self._deal(rows, np.asarray(roots, dtype=np.int64))
        self._broken = False

    def step(self, tokens: ArrayLike) -> None:
        """Say one token in each episode, (B,); where an episode is over, its token counts for nothing.

        If the rules or their judge raise or are interrupted, everything stands as before the call.

        Raises:
            RuntimeError: an earlier call was interrupted while it wrote to the arrays; only a reset of all goes on.
            TypeError: the tokens are no integers.
            ValueError: they are of another shape, or hold what is no token id of the vocabulary.
        """
        self._check_whole("step")
        said = token_ids(tokens, self.game.vocabulary.size)
        if said.shape != (self.num_episodes,):
            raise ValueError(f"tokens: expected shape ({self.num_episodes},), got {said.shape}")
        self._forget()
        self._find_places()
        rows = np.flatnonzero(self._player != NOBODY)
        said, player, number, place = said[rows], self._player[rows], self._number[rows], self._place[rows]
        legal = self._book.legal(place, said)
        opening, closing = (self.game.vocabulary.think_ids if self.game.max_thought_tokens else None) or (-1, -1)
        thought = legal & (self._thinking[rows] | (said == opening))
        ends = ~legal | (~thought & (said == self.game.vocabulary.eos_id))
        ends |= ~thought & (self._num_words[rows] + 1 == self._book.limit.rows[number])
        after = self._after(rows[ends], said[ends])
        going = np.flatnonzero(~ends)
        places = self._places_after(rows[going], said[going], thought[going], closing)
        roots = self._roots_after(after)
        self._broken = True  # until all is written
        self._say(rows[going], player[going], said[going], thought[going], closing)
        self._place[rows[going]] = places
        self._lengths[rows[ends], player[ends]] = self._start[rows[ends]]  # the whole turn is written again at its end
        self._advance(rows[ends], after, roots)
        self._broken = False

    def speak(
        self,
        tokens: ArrayLike,
        lengths: ArrayLike,
        episodes: ArrayLike | None = None,
        *,
        endings: Sequence[Ending] | None = None,
    ) -> None:
        """Say a whole turn in episodes in which none has been begun.

        If the rules or their judge raise or are interrupted, everything stands as before the call.

        Args:
            tokens: the utterances, `<eos>` and thoughts with their delimiters included, as `Utterance.tokens`; (n, T).
            lengths: how many of the T are said; (n,).
            episodes: in which; None: all that are not over, in order; (n,).
            endings: why each utterance ended, if some forfeit without an illegal token.

        Raises:
            RuntimeError: an earlier call was interrupted while it wrote to the arrays; only a reset of all goes on.
            TypeError: tokens or lengths are no integers, or endings no values of `Ending`.
            ValueError: they do not fit each other, the vocabulary or the episodes, or an utterance ends amiss.
        """
        self._check_whole("speak")
        rows = np.flatnonzero(self._player != NOBODY) if episodes is None else rows_of(episodes, self.num_episodes)
        said, ends = token_ids(tokens, self.game.vocabulary.size), array_of(lengths, "lengths")
        check_turns(said, ends, len(rows))
        self._check_fresh(rows)
        ends = ends.astype(np.int64)
        self._forget()
        said = said[:, : int(ends.max(initial=0))]
        if (ends != said.shape[1]).any():
            said = said * (np.arange(said.shape[1]) < ends[:, None])
        forfeits = forfeits_of(endings, len(rows))
        after = self._book.after(self._number[rows], said, ends, forfeits)
        roots = self._roots_after(after)
        self._broken = True  # until all is written
        self._advance(rows, after, roots)
        self._broken = False

    def _after(self, rows: Numbers, last: Numbers) -> Numbers:
        """Return what the dialogues become when these tokens end their turns, the rest of which stands in the views."""
        lengths = self._lengths[rows, self._player[rows]] - self._start[rows]
        width = int(lengths.max(initial=0)) + 1
        windows = self._windows(width)
        first = (2 * rows + self._player[rows]) * self._stride + self._start[rows]
        tokens = windows[first] * (np.arange(width) < lengths[:, None])
        tokens[np.arange(len(rows)), lengths] = last
        return self._book.after(self._number[rows], tokens, lengths + 1, np.zeros(len(rows), dtype=np.int64))

    def _places_after(self, rows: Numbers, said: Numbers, thought: NDArray[np.bool_], closing: int) -> Numbers:
        """Return the places in the open turn after tokens that do not end it."""
        number, ends_thought = self._number[rows], thought & (said == closing)
        num_thought = self._lengths[rows, self._player[rows]] - self._start[rows]  # with this token, its opening apart
        inside = np.where(num_thought >= self.game.max_thought_tokens, FULL, THINKING)
        places = np.where(thought & ~ends_thought, inside, LATER)
        narrow = np.flatnonzero(self._book.narrowed.rows[number] & (~thought | ends_thought))
        rows, number, said, ends_thought = rows[narrow], number[narrow], said[narrow], ends_thought[narrow]
        before = np.where(ends_thought, self._book.first_places(number), self._place[rows])
        found = self._book.places_after(before, said)
        for k in np.flatnonzero(found < 0).tolist():
            player, start = self._player[rows[k]], self._words_start[rows[k]]
            words = self._storage[rows[k], player, start : self._lengths[rows[k], player]].tolist()
            prefix = [] if ends_thought[k] else [*words, int(said[k])]
            self._book.learn_place(int(number[k]), int(before[k]), int(said[k]), prefix)
        places[narrow] = self._book.places_after(before, said)
        return places

    def _say(self, rows: Numbers, player: Numbers, said: Numbers, thought: NDArray[np.bool_], closing: int) -> None:
        """Write tokens that do not end their turns."""
        self._storage[rows, player, self._lengths[rows, player]] = said
        self._lengths[rows, player] += 1
        self._num_words[rows] += ~thought
        self._thinking[rows] = thought & (said != closing)
        thinkers = rows[thought]
        self._words_start[thinkers] = self._lengths[thinkers, player[thought]]

    def _roots_after(self, after: Numbers) -> Numbers:
        """Return what takes the place of the episodes that are then over, if they are dealt anew."""
        if not self.autoreset:
            return np.zeros(0, dtype=np.int64)
        return self._draw_roots(int(np.count_nonzero(self._book.player.rows[after] == NOBODY)), self._rng)

    def _advance(self, rows: Numbers, after: Numbers, roots: Numbers) -> None:
        """Write what a finished turn tells the players, pay for it, and open the next one."""
        book = self._book
        self._tell(rows, self._player[rows], after)
        self._rewards[:], self._finished[:] = 0.0, False
        self._rewards[rows] = paid = book.rewards.rows.take(after, axis=0)
        self._returns[rows] += paid
        self._open(rows, after)
        ended = rows[self._player[rows] == NOBODY]
        if ended.size:
            self._finished[ended] = True
            self._final_returns[ended] = self._returns[ended]
            self._forfeited_by[ended] = book.forfeited_by.rows[self._number[ended]]
            if self.autoreset:
                self._deal(ended, roots)

    def _deal(self, rows: Numbers, roots: Numbers) -> None:
        self._storage[rows] = 0
        self._lengths[rows] = 0
        self._returns[rows] = 0.0
        self._tell(rows, np.zeros(len(rows), dtype=np.int64), roots)
        self._open(rows, roots)

    def _tell(self, rows: Numbers, speaker: Numbers, numbers: Numbers) -> None:
        """Append to both views what a dialogue tells: first the speaker's, then the other's."""
        width = int(self._book.told_lengths.rows.take(numbers, axis=0).max(initial=1))
        stretch = np.dtype((np.void, 8 * width))  # copied as one piece, which is faster than number by number
        windows = self._windows(width).view(stretch)[:, 0]
        views = (2 * rows)[:, None] + np.stack([speaker, 1 - speaker], axis=1)
        starts = views * self._stride + self._lengths.reshape(-1)[views]
        told = self._book.told.rows.take(numbers, axis=0)[:, :, :width].astype(np.int64, order="C")
        windows[starts] = told.view(stretch)[:, :, 0]
        self._lengths[rows] = self._book.view_lengths.rows.take(numbers, axis=0)

    def _open(self, rows: Numbers, numbers: Numbers) -> None:
        self._number[rows] = numbers
        self._player[rows] = player = self._book.player.rows[numbers]
        self._start[rows] = self._words_start[rows] = self._lengths[rows, player]
        self._num_words[rows], self._thinking[rows], self._place[rows] = 0, False, UNKNOWN

    def _find_places(self) -> None:
        rows = np.flatnonzero(self._place == UNKNOWN)
        if rows.size:
            self._place[rows] = self._book.first_places(self._number[rows])

    def _forget(self) -> None:
        """Keep the book short."""
        if self._book.crowded(max(self.num_episodes, MAX_DIALOGUES)):
            self._broken = True  # until all is numbered anew
            self._number, self._place = self._book.keep(self._number, self._place)
            self._roots[:] = UNKNOWN
            self._broken = False

    def _draw_roots(self, num_deals: int, rng: Generator) -> Numbers:
        """Return the roots of fresh deals; if the rules raise, the generator stands as before."""
        state = rng.bit_generator.state
        try:
            return self._drawn_roots(num_deals, rng)
        except BaseException:
            rng.bit_generator.state = state
            raise

    def _drawn_roots(self, num_deals: int, rng: Generator) -> Numbers:
        if not self._deals:
            deals = [self.game.deals.sample(rng) for _ in range(num_deals)]
            return np.array([self._book.root(deal) for deal in deals], dtype=np.int64)
        drawn = np.searchsorted(self._cumulative, rng.random(num_deals), side="right")
        drawn = np.minimum(drawn, len(self._deals) - 1)
        for deal in np.unique(drawn[self._roots[drawn] == UNKNOWN]).tolist():
            self._roots[deal] = self._book.root(self._deals[deal])
        return self._roots[drawn]

    def _windows(self, width: int) -> NDArray[np.int64]:
        """Return all stretches of `width` tokens in the storage, by where they start.

        Behind each view there is room for one, so that tokens may be written with their padding.
        """
        room = self._stride - self._length
        if width > room:
            views, self._stride = self._storage[:, :, : self._length], self._length + max(width, 2 * room)
            self._storage = np.zeros((self.num_episodes, 2, self._stride), dtype=np.int64)
            self._storage[:, :, : self._length] = views
        flat = self._storage.reshape(-1)
        return as_strided(flat, (flat.size - width + 1, width), (flat.itemsize, flat.itemsize))

    def _open_tokens(self, episode: int) -> Tokens:
        """Return what has been said of the open turn, thought and all."""
        player = int(self._player[episode])
        end = self._lengths[episode, player] if player != NOBODY else self._start[episode]
        return tuple(self._storage[episode, player, self._start[episode] : end].tolist())

    def _record(self, episode: int) -> Record[DealT]:
        self._check_whole("episode")
        check_episode(episode, self.num_episodes)
        return self._book.records[int(self._number[episode])]

    def _check_whole(self, what: str) -> None:
        if self._broken:
            raise RuntimeError(f"{what}: expected reset() of all episodes, as an earlier call was interrupted half-way")

    def _check_deals(self, deals: Sequence[DealT] | None, num_rows: int) -> None:
        if deals is None:
            return
        if len(deals) != num_rows:
            raise ValueError(f"deals: expected {num_rows}, one for each episode, got {len(deals)}")
        for deal in deals:
            check_deal(self.game, deal)

    def _check_fresh(self, rows: Numbers) -> None:
        """Check that in none of the episodes a turn has been begun, and that none is over."""
        if self.over[rows].any():
            raise ValueError(f"episodes: expected none that is over, got {rows[self.over[rows]].tolist()}")
        begun = self._lengths[rows, self._player[rows]] > self._start[rows]
        if begun.any():
            raise ValueError(f"episodes: expected no turn half said by step(), got some in {rows[begun].tolist()}")
