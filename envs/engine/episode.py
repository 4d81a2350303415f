"""The engine: turns the rules of a game into token-by-token or turn-by-turn play.

One `Episode` is one play of a game. Every form of play (AEC, single player, rollouts) runs through it, so that they
agree token for token and reward for reward.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic

import numpy as np

from ..game import (
    PLAYERS,
    DealT,
    Dialogue,
    Ending,
    LanguageGame,
    Turn,
    check_hashable,
    check_whole,
    checked_game,
)
from ..printable import printable, printable_lines
from ..vocabulary import Tokens
from .contract import checked_next_player, checked_rewards, checked_rewards_batch, checked_tokens
from .turn import Ahead, OpenTurn, masks_of
from .views import Message, Utterance, View, check_utterance, check_utterances


class Episode(Generic[DealT]):
    """One play of a game: the finished turns, the open turn, what each player has been told, and the rewards."""

    __slots__ = (
        "dialogue", "game", "lengths", "messages", "open_turn", "player", "returns", "reward_history", "views",
    )  # fmt: skip

    def __init__(self, game: LanguageGame[DealT], deal: DealT) -> None:
        """Deal, brief both players, and open the first turn.

        Raises:
            TypeError: the deal cannot be hashed, or these are no rules.
            ValueError: the rules break their contract.
        """
        if type(deal).__hash__ is None or type(deal) is tuple:  # for others a hash may cost more than all else here
            check_hashable(deal)
        self.game = game
        self.dialogue = Dialogue(deal)
        try:
            self.views = np.zeros((2, game.max_view_tokens), dtype=np.int64)
        except (AttributeError, TypeError):
            checked_game(game)
            raise
        """What each player has been told, padded with 0; shape (2, L)."""
        self.lengths = [0, 0]
        self.returns = [0.0, 0.0]
        self.reward_history: list[tuple[float, float]] = []
        self.messages: tuple[list[Message], list[Message]] = ([], [])
        """What each player has been told and has said in finished turns, piece by piece."""
        for player in PLAYERS:
            self._write(player, game.vocabularies[player].begin(player))
            self._tell("briefing", player, game.briefing(deal, player))
        self.player = checked_next_player(game, self.dialogue)
        """Who is to speak; None once the episode is over."""
        self.open_turn = OpenTurn(game, self.dialogue, self.player or 0)
        self._open()

    @property
    def over(self) -> bool:
        """Whether the episode has ended."""
        return self.player is None

    @property
    def forfeited_by(self) -> int | None:
        """Who lost the episode by an illegal turn, if anybody did."""
        if self.player is not None or not self.dialogue.turns:
            return None
        last = self.dialogue.turns[-1]
        return last.player if last.ending.forfeits or self.game.is_forfeit(self.dialogue) else None

    def was_cut(self, turn_number: int) -> bool:
        """Whether a turn, counted from 0, that the rules left free reached its limit before its speaker ended it."""
        turn = self.dialogue.turns[turn_number]
        if turn.ending is not Ending.TOO_LONG:
            return False
        return self.game.legal_tokens(self.dialogue.upto(turn_number), turn.tokens[:-1]) is None

    def push(self, token: int, *, what: str = "token") -> bool:
        """Say one token of the open turn, which an error calls `what`; return whether that ended the turn and paid.

        If the rules or their judge raise, or somebody interrupts them, the episode stands as it did before the token.

        Raises:
            RuntimeError: the episode is over.
            TypeError: the token is no integer.
            ValueError: it is no token id of the vocabulary.
        """
        player = self.player
        if player is None:
            raise RuntimeError("push: the episode is over, nobody is to speak")
        turn = self.open_turn
        before: dict[str, object] | None = None
        try:
            if not turn.push(token, what=what):
                self.views[player, self.lengths[player]] = token
                self.lengths[player] += 1
                return False
            before = self._standing()
            if turn.closed_by is Ending.TOO_LONG:
                self._write(player, (token,))
            self._finish()
            if not self.settled:
                self._settle(self.game.rewards(self.dialogue))
        except BaseException:  # Ctrl-C in a judge must not leave a turn half paid
            turn.reopen()
            if before is not None:
                self.restore(before)
            raise
        return True

    def view(self) -> View:
        """Return all that the player to speak knows."""
        player = self.player
        if player is None:
            raise RuntimeError("view: the episode is over, nobody is to speak")
        turn = self.open_turn
        ahead = Ahead(self.game, self.dialogue, turn.said(), player)
        return View(
            player=player,
            tokens=self.views[player, : self.lengths[player]].copy(),
            messages=tuple(self.messages[player]),
            vocabulary=self.game.vocabularies[player],
            max_turn_tokens=turn.limit,
            legal_mask=ahead.legal_mask,
            legal_tokens=ahead.legal_tokens,
            unrestricted=turn.unrestricted,
        )

    def speak(self, utterance: Utterance) -> None:
        """Say a whole turn; `settle` must follow unless the turn was forfeited (`settled` tells).

        If that fails, or somebody interrupts it, the episode stands as it did before the call.

        Raises:
            RuntimeError: the episode is over, or its last turn has not been paid for.
            TypeError: this is no utterance of integers.
            ValueError: it holds what is no token id, or ends too early or too late.
        """
        check_utterance(utterance)
        before = self.saved()
        try:
            self._speak(utterance)
        except BaseException:
            self.restore(before)
            raise

    def _speak(self, utterance: Utterance) -> None:
        """Say a whole turn; if that fails, the episode is half changed."""
        player = self.player
        if player is None:
            raise RuntimeError("speak: the episode is over, nobody is to speak")
        if not self.settled:
            raise RuntimeError("speak: expected settle() first, which pays for the last turn")
        turn, closed, num_written = self.open_turn, False, 0
        for token in utterance.tokens:
            if closed:
                raise ValueError(f"utterance: expected nothing after the end of the turn, got {utterance.tokens!r}")
            closed = turn.push(token)
            if turn.closed_by is Ending.ILLEGAL:
                break
            num_written += not closed or turn.closed_by is Ending.TOO_LONG
        self._write(player, utterance.tokens[:num_written])
        if utterance.ending.forfeits:
            self.open_turn.closed_by = utterance.ending
        elif not closed:
            raise ValueError(f"utterance: expected <eos> or the length limit at its end, got {utterance.tokens!r}")
        self._finish()

    @property
    def settled(self) -> bool:
        """Whether every finished turn has been paid."""
        return len(self.reward_history) == len(self.dialogue.turns)

    def settle(self, rewards: tuple[float, float]) -> None:
        """Pay both players for the turn just finished, and open the next one.

        If that fails, or somebody interrupts it, the episode stands as it did before the call.

        Raises:
            RuntimeError: there is no turn to pay for.
            ValueError: these are no rewards that the game may pay, or the rules break their contract.
        """
        if self.settled:
            raise RuntimeError("settle: expected a turn that has been said and not been paid for, got none")
        before = self._standing()
        try:
            self._settle(rewards)
        except BaseException:
            self.restore(before)
            raise

    def _settle(self, rewards: tuple[float, float]) -> None:
        """Pay, and open the next turn; if that fails, the episode is half changed."""
        self._pay(rewards)
        self.player = checked_next_player(self.game, self.dialogue)
        self._open()

    def saved(self) -> dict[str, object]:
        """Return where the episode stands, in the middle of a turn or between two, for one `restore`."""
        return {**self._standing(), "open_turn": self.open_turn.copy()}

    def restore(self, saved: dict[str, object]) -> None:
        """Go back to what `saved` returned, without asking the rules, which may be what has failed."""
        for name, value in saved.items():
            setattr(self, name, value)

    def transcript(self) -> str:
        """Return the episode as readable text: briefings, turns, what the rules say of them, rewards.

        A line that begins at the margin is the transcript's own: within a message, lines after the first are indented,
        and what is no visible character is written as an escape.
        """
        game, roles, lines = self.game, tuple(map(printable, self.game.roles)), list[str]()
        for player in PLAYERS:
            briefing = game.briefing(self.dialogue.deal, player)
            lines += [f"[{roles[player]} is told] {self._text(briefing, player)}"] if briefing else []
        for k, turn in enumerate(self.dialogue.turns):
            lines += self._turn_lines(k, turn)
        if self.player is not None:
            so_far = self._text(self.open_turn.spoken, self.player)
            lines.append(f"{roles[self.player]}: {so_far} ..." if so_far else f"{roles[self.player]} is to speak")
        else:
            lines.append(f"[over] returns {self.returns[0]:+g} {self.returns[1]:+g}")
        return "\n".join(lines)

    def _turn_lines(self, k: int, turn: Turn) -> list[str]:
        game, speaker = self.game, turn.player if turn.player is not None else 0
        role, text = printable(game.roles[speaker]), self._text(turn.tokens, speaker)
        lines = [f"{role} (thinks): {self._text(turn.thought, speaker)}"] if turn.thought else []
        note = f" [forfeit: {turn.ending.value}]" if turn.ending.forfeits else ""
        note = " [cut at its limit]" if self.was_cut(k) else note
        remark = "" if turn.ending.forfeits else printable_lines(game.annotate(self.dialogue.upto(k + 1)) or "")
        lines.append(f"{role}: {text}{note}" + (f"   ({remark})" if remark else ""))
        if k < len(self.reward_history) and any(self.reward_history[k]):
            lines.append(f"[rewards] {self.reward_history[k][0]:+g} {self.reward_history[k][1]:+g}")
        return lines

    def _text(self, tokens: Sequence[int], player: int) -> str:
        return printable_lines(self.game.vocabularies[player].decode(tokens))

    def _finish(self) -> None:
        player, turn = self.player, self.open_turn.turn(self.player or 0)
        assert player is not None
        dialogue = self.dialogue.extend(turn)
        self.dialogue = dialogue
        closing = self.game.vocabularies[player].close_turn(player, player)
        self._write(player, closing)
        self.messages[player].append(Message(player, turn.tokens))
        if turn.ending.forfeits:
            self._pay(self.game.forfeit_rewards(player))
            self.player = None
            return
        listener = 1 - player
        heard = self.game.hears(dialogue, listener)
        if heard is not None:
            vocabulary = self.game.vocabularies[listener]
            if heard is not turn.tokens or vocabulary is not self.game.vocabularies[player]:
                heard = checked_tokens(self.game, "hears", heard, vocabulary.size)
            opening = vocabulary.open_turn(player, listener)
            self._write(listener, (*opening, *heard, *vocabulary.close_turn(player, listener)))
            self.messages[listener].append(Message(player, heard))
        for viewer in PLAYERS:
            self._tell("announcement", viewer, self.game.announcement(dialogue, viewer))

    def _standing(self) -> dict[str, object]:
        """Return all that the end of a turn changes, and the open turn itself."""
        return {
            "dialogue": self.dialogue,
            "player": self.player,
            "open_turn": self.open_turn,
            "lengths": self.lengths[:],
            "returns": self.returns[:],
            "reward_history": self.reward_history[:],
            "views": self.views.copy(),
            "messages": (self.messages[0][:], self.messages[1][:]),
        }

    def _pay(self, rewards: tuple[float, float]) -> None:
        first, second = checked_rewards(self.game, rewards)
        self.reward_history.append((first, second))
        self.returns[0] += first
        self.returns[1] += second

    def _open(self) -> None:
        if self.player is None:
            return
        opened = masks_of(self.game, self.player).open_thought
        opening = self.game.vocabularies[self.player].open_turn(self.player, self.player)
        self._write(self.player, opening if opened is None else opened)
        self.open_turn = OpenTurn(self.game, self.dialogue, self.player)

    def _tell(self, rule: str, player: int, tokens: Tokens) -> None:
        if tokens:
            vocabulary = self.game.vocabularies[player]
            tokens = checked_tokens(self.game, rule, tokens, vocabulary.size)
            self._write(player, vocabulary.tell(tokens, player))
            self.messages[player].append(Message(None, tokens))

    def _write(self, player: int, tokens: Tokens) -> None:
        start, end = self.lengths[player], self.lengths[player] + len(tokens)
        if end > self.views.shape[1]:
            raise ValueError(
                f"{type(self.game).__name__}: expected at most {self.views.shape[1]} tokens in a view (from max_turns, "
                f"max_turn_tokens, max_briefing_tokens, max_announcement_tokens), got {end}"
            )
        self.views[player, start:end] = tokens
        self.lengths[player] = end


def speak_all(episodes: Sequence[Episode[DealT]], utterances: Sequence[Utterance]) -> None:
    """Say one turn in each episode; the rules (or their judge) are called once for the whole batch.

    If anything raises, or somebody interrupts it, every episode stands as it did before the call.

    Raises:
        RuntimeError: an episode is over.
        TypeError: an utterance is none, or holds what is no integer.
        ValueError: there is not one utterance for each episode, or one of them cannot be said; see `Episode.speak`.
    """
    check_utterances(utterances, len(episodes))
    saved = [episode.saved() for episode in episodes]
    try:
        _speak_and_settle(episodes, utterances)
    except BaseException:
        for episode, before in zip(episodes, saved, strict=True):
            episode.restore(before)
        raise


def _speak_and_settle(episodes: Sequence[Episode[DealT]], utterances: Sequence[Utterance]) -> None:
    for episode, utterance in zip(episodes, utterances, strict=True):
        episode._speak(utterance)
    waiting = [episode for episode in episodes if not episode.settled]
    if not waiting:
        return
    rewards = checked_rewards_batch(waiting[0].game, [episode.dialogue for episode in waiting])
    for episode, pair in zip(waiting, rewards, strict=True):
        episode._settle(pair)


def deal_episodes(game: LanguageGame[DealT], rng: np.random.Generator, num_episodes: int) -> list[Episode[DealT]]:
    """Start `num_episodes` plays of a game, their deals drawn with `rng`."""
    check_whole("num_episodes", num_episodes, least=0)
    return [Episode(game, game.deals.sample(rng)) for _ in range(num_episodes)]
