"""The batched form: many episodes of one game in lockstep, in arrays, with no Python per token.

Scripted and learned players say whole turns (`speak`) or single tokens (`step`); both agree with `Episode` and the
AEC form token for token and reward for reward. What the rules say is remembered by dialogue (`rules.py`), so
that they are asked once about each turn that nobody has said before, and judges once for a whole batch of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.random import Generator
from numpy.typing import ArrayLike, NDArray

from ..engine.episode import Episode
from ..engine.turn import Ahead
from ..engine.views import View
from ..game import DealT, Dialogue, Ending, FiniteDeals, LanguageGame
from ..vocabulary import Tokens
from .records import Record
from .rules import ENDINGS, FULL, LATER, NOBODY, OVER, THINKING, UNKNOWN, RuleBook
from .tables import Numbers

MAX_DIALOGUES = 32_768
"""How many dialogues the engine remembers, if it has fewer episodes: under 1 KB each where a turn has 20 tokens."""


class BatchedGame(Generic[DealT]):
    """`num_episodes` plays of a game side by side.

    The arrays are the engine's own: read them, copy what you keep, do not write to them.

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
        """
        if isinstance(num_episodes, bool) or not isinstance(num_episodes, int | np.integer):
            raise TypeError(f"num_episodes: expected an integer, got {num_episodes!r}")
        if num_episodes < 1:
            raise ValueError(f"num_episodes: expected at least 1, got {num_episodes}")
        self.game, self.num_episodes, self.autoreset = game, int(num_episodes), autoreset
        size = self.num_episodes
        self.lengths = np.zeros((size, 2), dtype=np.int64)
        """How many tokens each view has; (B, 2)."""
        self.player = np.full(size, NOBODY, dtype=np.int64)
        """Who speaks; -1 where the episode is over and waits; (B,)."""
        self.rewards = np.zeros((size, 2))
        """What the last call paid both players; (B, 2)."""
        self.returns = np.zeros((size, 2))
        """The sum of the rewards of the episode that is being played; (B, 2)."""
        self.finished = np.zeros(size, dtype=bool)
        """Where the last call ended an episode; (B,)."""
        self.final_returns = np.zeros((size, 2))
        """The returns of the episode that ended last; (B, 2)."""
        self.forfeited_by = np.full(size, NOBODY, dtype=np.int64)
        """Who forfeited the episode that ended last; -1: nobody; (B,)."""
        self._book = RuleBook(game)
        self._number = np.zeros(size, dtype=np.int64)  # of the dialogue, in the book
        self._place = np.full(size, OVER, dtype=np.int64)  # in the open turn; UNKNOWN until somebody asks
        self._start = np.zeros(size, dtype=np.int64)  # of the open turn, in its speaker's view
        self._num_words = np.zeros(size, dtype=np.int64)  # of the open turn, thought apart
        self._words_start = np.zeros(size, dtype=np.int64)  # of the open turn's words, after its thought
        self._thinking = np.zeros(size, dtype=bool)
        self._length = game.max_view_tokens
        self._stride = self._length + 8
        self._storage = np.zeros((size, 2, self._stride), dtype=np.int64)
        self._rng = np.random.default_rng(seed)
        listed = isinstance(game.deals, FiniteDeals) and type(game.deals).sample is FiniteDeals.sample
        outcomes = game.deals.outcomes() if listed else None
        self._deals = list(outcomes or ())
        self._cumulative = np.cumsum(list(outcomes.values())) if outcomes else np.zeros(0)
        self._roots = np.full(len(self._deals), UNKNOWN, dtype=np.int64)
        self.reset()

    @property
    def views(self) -> NDArray[np.int64]:
        """What each player has been told and said, padded with 0; (B, 2, L)."""
        return self._storage[:, :, : self._length]

    @property
    def over(self) -> NDArray[np.bool_]:
        """Where the episode is over and waits; (B,)."""
        over: NDArray[np.bool_] = self.player == NOBODY
        return over

    def legal_masks(self) -> NDArray[np.int8]:
        """Return 1 where a token may be said next, all 0 where nobody speaks, in a fresh array; (B, V)."""
        self._find_places()
        return self._book.legal_masks(self._place)

    def dialogue(self, episode: int) -> Dialogue[DealT]:
        """Return the deal and the finished turns of one episode."""
        return self._record(episode).dialogue

    def episode(self, episode: int) -> Episode[DealT]:
        """Return one episode as it stands, by itself: its view for an agent, its transcript, its reward history."""
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
        """Return all that the player to speak in one episode knows, for agents that speak by `View`."""
        player, game, record = int(self.player[episode]), self.game, self._record(episode)
        if player == NOBODY:
            raise RuntimeError("view: the episode is over, nobody is to speak")
        ahead, number = Ahead(game, record.dialogue, self._open_tokens(episode)), self._number[episode]
        return View(
            player=player,
            tokens=self._storage[episode, player, : self.lengths[episode, player]].copy(),
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
        """
        rows = self._rows(episodes)
        if deals is not None and len(deals) != len(rows):
            raise ValueError(f"deals: expected {len(rows)}, one for each episode, got {len(deals)}")
        self._forget()
        rng = self._rng if seed is None else np.random.default_rng(seed)
        roots = self._draw_roots(len(rows), rng) if deals is None else [self._book.root(deal) for deal in deals]
        self._rng = rng
        self.rewards[rows], self.finished[rows] = 0.0, False
        self._deal(rows, np.asarray(roots, dtype=np.int64))

    def step(self, tokens: ArrayLike) -> None:
        """Say one token in each episode, (B,); where an episode is over, its token counts for nothing.

        If the rules or their judge raise, everything stands as before the call.
        """
        said = self._token_ids(tokens)
        if said.shape != (self.num_episodes,):
            raise ValueError(f"tokens: expected shape ({self.num_episodes},), got {said.shape}")
        self._forget()
        self._find_places()
        rows = np.flatnonzero(self.player != NOBODY)
        said, player, number, place = said[rows], self.player[rows], self._number[rows], self._place[rows]
        legal = self._book.legal(place, said)
        opening, closing = (self.game.vocabulary.think_ids if self.game.max_thought_tokens else None) or (-1, -1)
        thought = legal & (self._thinking[rows] | (said == opening))
        ends = ~legal | (~thought & (said == self.game.vocabulary.eos_id))
        ends |= ~thought & (self._num_words[rows] + 1 == self._book.limit.rows[number])
        after = self._after(rows[ends], said[ends])
        going = np.flatnonzero(~ends)
        places = self._places_after(rows[going], said[going], thought[going], closing)
        roots = self._roots_after(after)
        self._say(rows[going], player[going], said[going], thought[going], closing)
        self._place[rows[going]] = places
        self.lengths[rows[ends], player[ends]] = self._start[rows[ends]]  # the whole turn is written again at its end
        self._advance(rows[ends], after, roots)

    def speak(
        self,
        tokens: ArrayLike,
        lengths: ArrayLike,
        episodes: ArrayLike | None = None,
        *,
        endings: Sequence[Ending] | None = None,
    ) -> None:
        """Say a whole turn in episodes in which none has been begun.

        If the rules or their judge raise, everything stands as before the call.

        Args:
            tokens: the utterances, `<eos>` and thoughts with their delimiters included, as `Utterance.tokens`; (n, T).
            lengths: how many of the T are said; (n,).
            episodes: in which; None: all that are not over, in order; (n,).
            endings: why each utterance ended, if some forfeit without an illegal token.
        """
        rows = np.flatnonzero(self.player != NOBODY) if episodes is None else self._rows(episodes)
        said, ends = self._token_ids(tokens), np.asarray(lengths)
        self._check_turns(rows, said, ends)
        ends = ends.astype(np.int64)
        self._forget()
        said = said[:, : int(ends.max(initial=0))]
        if (ends != said.shape[1]).any():
            said = said * (np.arange(said.shape[1]) < ends[:, None])
        forfeits = np.zeros(len(rows), dtype=np.int64)
        if endings is not None:
            if len(endings) != len(rows):
                raise ValueError(f"endings: expected {len(rows)}, one for each episode, got {len(endings)}")
            if not all(isinstance(ending, Ending) for ending in endings):
                raise TypeError(f"endings: expected values of Ending, got {endings!r}")
            forfeits[:] = [ENDINGS.index(ending) if ending.forfeits else 0 for ending in endings]
        after = self._book.after(self._number[rows], said, ends, forfeits)
        self._advance(rows, after, self._roots_after(after))

    def _after(self, rows: Numbers, last: Numbers) -> Numbers:
        """Return what the dialogues become when these tokens end their turns, the rest of which stands in the views."""
        lengths = self.lengths[rows, self.player[rows]] - self._start[rows]
        width = int(lengths.max(initial=0)) + 1
        windows = self._windows(width)
        first = (2 * rows + self.player[rows]) * self._stride + self._start[rows]
        tokens = windows[first] * (np.arange(width) < lengths[:, None])
        tokens[np.arange(len(rows)), lengths] = last
        return self._book.after(self._number[rows], tokens, lengths + 1, np.zeros(len(rows), dtype=np.int64))

    def _places_after(self, rows: Numbers, said: Numbers, thought: NDArray[np.bool_], closing: int) -> Numbers:
        """Return the places in the open turn after tokens that do not end it."""
        number, ends_thought = self._number[rows], thought & (said == closing)
        num_thought = self.lengths[rows, self.player[rows]] - self._start[rows]  # with this token, its opening apart
        inside = np.where(num_thought >= self.game.max_thought_tokens, FULL, THINKING)
        places = np.where(thought & ~ends_thought, inside, LATER)
        narrow = np.flatnonzero(self._book.narrowed.rows[number] & (~thought | ends_thought))
        rows, number, said, ends_thought = rows[narrow], number[narrow], said[narrow], ends_thought[narrow]
        before = np.where(ends_thought, self._book.first_places(number), self._place[rows])
        found = self._book.places_after(before, said)
        for k in np.flatnonzero(found < 0).tolist():
            player, start = self.player[rows[k]], self._words_start[rows[k]]
            words = self._storage[rows[k], player, start : self.lengths[rows[k], player]].tolist()
            prefix = [] if ends_thought[k] else [*words, int(said[k])]
            self._book.learn_place(int(number[k]), int(before[k]), int(said[k]), prefix)
        places[narrow] = self._book.places_after(before, said)
        return places

    def _say(self, rows: Numbers, player: Numbers, said: Numbers, thought: NDArray[np.bool_], closing: int) -> None:
        """Write tokens that do not end their turns."""
        self._storage[rows, player, self.lengths[rows, player]] = said
        self.lengths[rows, player] += 1
        self._num_words[rows] += ~thought
        self._thinking[rows] = thought & (said != closing)
        thinkers = rows[thought]
        self._words_start[thinkers] = self.lengths[thinkers, player[thought]]

    def _roots_after(self, after: Numbers) -> Numbers:
        """Return what takes the place of the episodes that are then over, if they are dealt anew."""
        if not self.autoreset:
            return np.zeros(0, dtype=np.int64)
        return self._draw_roots(int(np.count_nonzero(self._book.player.rows[after] == NOBODY)), self._rng)

    def _advance(self, rows: Numbers, after: Numbers, roots: Numbers) -> None:
        """Write what a finished turn tells the players, pay for it, and open the next one."""
        book = self._book
        self._tell(rows, self.player[rows], after)
        self.rewards[:], self.finished[:] = 0.0, False
        self.rewards[rows] = paid = book.rewards.rows.take(after, axis=0)
        self.returns[rows] += paid
        self._open(rows, after)
        ended = rows[self.player[rows] == NOBODY]
        if ended.size:
            self.finished[ended] = True
            self.final_returns[ended] = self.returns[ended]
            self.forfeited_by[ended] = book.forfeited_by.rows[self._number[ended]]
            if self.autoreset:
                self._deal(ended, roots)

    def _deal(self, rows: Numbers, roots: Numbers) -> None:
        self._storage[rows] = 0
        self.lengths[rows] = 0
        self.returns[rows] = 0.0
        self._tell(rows, np.zeros(len(rows), dtype=np.int64), roots)
        self._open(rows, roots)

    def _tell(self, rows: Numbers, speaker: Numbers, numbers: Numbers) -> None:
        """Append to both views what a dialogue tells: first the speaker's, then the other's."""
        width = int(self._book.told_lengths.rows.take(numbers, axis=0).max(initial=1))
        stretch = np.dtype((np.void, 8 * width))  # copied as one piece, which is faster than number by number
        windows = self._windows(width).view(stretch)[:, 0]
        views = (2 * rows)[:, None] + np.stack([speaker, 1 - speaker], axis=1)
        starts = views * self._stride + self.lengths.reshape(-1)[views]
        told = self._book.told.rows.take(numbers, axis=0)[:, :, :width].astype(np.int64, order="C")
        windows[starts] = told.view(stretch)[:, :, 0]
        self.lengths[rows] = self._book.view_lengths.rows.take(numbers, axis=0)

    def _open(self, rows: Numbers, numbers: Numbers) -> None:
        self._number[rows] = numbers
        self.player[rows] = player = self._book.player.rows[numbers]
        self._start[rows] = self._words_start[rows] = self.lengths[rows, player]
        self._num_words[rows], self._thinking[rows], self._place[rows] = 0, False, UNKNOWN

    def _find_places(self) -> None:
        rows = np.flatnonzero(self._place == UNKNOWN)
        if rows.size:
            self._place[rows] = self._book.first_places(self._number[rows])

    def _forget(self) -> None:
        """Keep the book short."""
        if self._book.crowded(max(self.num_episodes, MAX_DIALOGUES)):
            self._number, self._place = self._book.keep(self._number, self._place)
            self._roots[:] = UNKNOWN

    def _draw_roots(self, num_deals: int, rng: Generator) -> Numbers:
        """Return the roots of fresh deals; if the rules raise, the generator stands as before."""
        state = rng.bit_generator.state
        try:
            return self._drawn_roots(num_deals, rng)
        except Exception:
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
            views, self._stride = self.views, self._length + max(width, 2 * room)
            self._storage = np.zeros((self.num_episodes, 2, self._stride), dtype=np.int64)
            self.views[:] = views
        flat = self._storage.reshape(-1)
        return as_strided(flat, (flat.size - width + 1, width), (flat.itemsize, flat.itemsize))

    def _open_tokens(self, episode: int) -> Tokens:
        """Return what has been said of the open turn, thought and all."""
        player = int(self.player[episode])
        end = self.lengths[episode, player] if player != NOBODY else self._start[episode]
        return tuple(self._storage[episode, player, self._start[episode] : end].tolist())

    def _record(self, episode: int) -> Record[DealT]:
        return self._book.records[int(self._number[episode])]

    def _rows(self, episodes: ArrayLike | None) -> Numbers:
        if episodes is None:
            return np.arange(self.num_episodes)
        rows, named = np.asarray(episodes), np.zeros(self.num_episodes, dtype=bool)
        rows = np.flatnonzero(rows) if rows.dtype == bool and rows.shape == named.shape else rows
        proper = rows.ndim == 1 and (not rows.size or np.issubdtype(rows.dtype, np.integer))
        proper = proper and (not rows.size or bool(rows.min() >= 0 and rows.max() < self.num_episodes))
        rows = rows.astype(np.int64) if proper else np.zeros(1, dtype=np.int64)
        named[rows] = True
        if not proper or np.count_nonzero(named) < len(rows):
            raise ValueError(
                f"episodes: expected different numbers in [0, {self.num_episodes}) or a mask of that length, "
                f"got {episodes!r}"
            )
        return rows

    def _token_ids(self, tokens: ArrayLike) -> Numbers:
        ids, size = np.asarray(tokens), self.game.vocabulary.size
        if not (np.issubdtype(ids.dtype, np.integer) or ids.size == 0):
            raise TypeError(f"tokens: expected integers, got an array of {ids.dtype}")
        if ids.size and (ids.min() < 0 or ids.max() >= size):
            raise ValueError(f"tokens: expected ids in [0, {size}), got {ids.min()} to {ids.max()}")
        return np.ascontiguousarray(ids, dtype=np.int64)

    def _check_turns(self, rows: Numbers, tokens: Numbers, lengths: Numbers) -> None:
        if tokens.ndim != 2 or len(tokens) != len(rows) or lengths.shape != (len(rows),):
            raise ValueError(
                f"tokens, lengths: expected shapes ({len(rows)}, T) and ({len(rows)},) for {len(rows)} episodes, "
                f"got {tokens.shape} and {lengths.shape}"
            )
        if lengths.size and not np.issubdtype(lengths.dtype, np.integer):
            raise TypeError(f"lengths: expected integers, got an array of {lengths.dtype}")
        if ((lengths < 0) | (lengths > tokens.shape[1])).any():
            raise ValueError(f"lengths: expected numbers in [0, {tokens.shape[1]}], got {lengths}")
        if self.over[rows].any():
            raise ValueError(f"episodes: expected none that is over, got {rows[self.over[rows]].tolist()}")
        begun = self.lengths[rows, self.player[rows]] > self._start[rows]
        if begun.any():
            raise ValueError(f"episodes: expected no turn half said by step(), got some in {rows[begun].tolist()}")
