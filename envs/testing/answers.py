"""What each rule may answer: asked one by one, without the engine, so that a wrong answer is named with its dialogue.

Rules are pure: asked the same again, at once and at the end of all, they must answer the same and change nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..engine.contract import checked_rewards, pair_of
from ..game import PLAYERS, Dialogue, Ending, LanguageGame, Turn, check_hashable, check_probabilities, checked_game
from ..vocabulary import Tokens

TOLERANCE = 1e-6
"""How far a learned judge's rewards may differ between two calls."""

_FRAMES: tuple[tuple[Any, ...], ...] = (
    *(("begin", viewer) for viewer in PLAYERS),
    *(("tell", (), viewer) for viewer in PLAYERS),
    *((rule, speaker, viewer) for rule in ("open_turn", "close_turn") for speaker in PLAYERS for viewer in PLAYERS),
)
"""What a vocabulary puts into a view around all that is said."""

Fits = Callable[[Any], bool]


class ConformanceError(AssertionError, ValueError):
    """A game breaks the contract that the engine and the learners rely on."""


def check_answers(game: LanguageGame[Any], *, seed: int = 0, episodes: int = 20) -> None:
    """Check the attributes, the vocabulary, the deals, and all that the rules answer in random episodes."""
    check_attributes(game)
    _check_deals(game)
    rng, questions = np.random.default_rng(seed), _Questions(game)
    for player in PLAYERS:
        paid = questions.ask("forfeit_rewards", (player,), "a pair of finite numbers", _is_pair, f"for player {player}")
        _expect_payoff(game, paid, f"for a forfeit of player {player}")
    if not sum([_check_episode(questions, game.deals.sample(rng), rng) for _ in range(episodes)]):
        raise ConformanceError(
            f"{type(game).__name__}.next_player: expected somebody to speak after some deal, got None after {episodes}"
        )
    questions.ask_again()


def check_attributes(game: LanguageGame[Any]) -> None:
    """Check that this is a game, and that it has set what it must, in the right types."""
    try:
        size, eos = checked_game(game).max_view_tokens and game.vocabulary.size, game.vocabulary.eos_id
    except Exception as error:
        raise ConformanceError(f"{error}") from error
    sayable = game.vocabulary.sayable_mask
    name = f"{type(game).__name__}.vocabulary"
    if np.shape(sayable) != (size,) or sayable[0] or not np.isin(sayable, (0, 1)).all():
        raise ConformanceError(f"{name}.sayable_mask: expected ({size},) of 0 and 1, 0 for id 0, got {sayable!r}")
    if not _is_tokens(size)((eos,)) or eos == 0:
        raise ConformanceError(f"{name}.eos_id: expected a token id in [1, {size}), got {eos!r}")
    if game.max_thought_tokens and not _are_two(game.vocabulary.think_ids, size):
        got = game.vocabulary.think_ids
        raise ConformanceError(f"{name}.think_ids: expected two different token ids in [1, {size}), got {got!r}")
    for rule, *question in _FRAMES:
        tokens = getattr(game.vocabulary, rule)(*question)
        if not _is_tokens(size)(tokens):
            raise ConformanceError(f"{name}.{rule}: expected a tuple of token ids in [0, {size}), got {tokens!r}")


def _check_deals(game: LanguageGame[Any]) -> None:
    name = f"{type(game).__name__}.deals"
    try:
        deal, outcomes = game.deals.sample(np.random.default_rng(0)), game.deals.outcomes()
        check_hashable(deal)
        if outcomes is not None:
            check_probabilities(outcomes)
    except Exception as error:
        raise ConformanceError(f"{name}: expected deals that can be drawn and used; {error}") from error
    if isinstance(outcomes, Mapping) and deal not in outcomes:
        raise ConformanceError(f"{name}: expected sample() to draw one of outcomes(), got {deal!r}")


class _Questions:
    """Asks the rules, and remembers what they said."""

    def __init__(self, game: LanguageGame[Any]) -> None:
        self.game = game
        self._answers: list[tuple[str, tuple[Any, ...], Any, str]] = []

    def ask(self, rule: str, question: tuple[Any, ...], expected: str, fits: Fits, where: str) -> Any:
        """Return what a rule answers, twice the same, in the form that is expected."""
        before = repr(question)
        answer = self._answer(rule, question, where)
        if not fits(answer):
            raise ConformanceError(f"{self._name(rule)}: expected {expected} {where}, got {answer!r}")
        again = self._answer(rule, question, where)
        if not _same(answer, again):
            raise ConformanceError(f"{self._name(rule)}: expected one answer {where}, got {answer!r}, then {again!r}")
        if repr(question) != before:
            raise ConformanceError(f"{self._name(rule)}: expected it to change nothing {where}, got {question!r}")
        self._answers.append((rule, question, answer, where))
        return answer

    def ask_again(self) -> None:
        """Ask all again, the last first: the answers must not hang on what was asked before."""
        for rule, question, answer, where in reversed(self._answers):
            again = self._answer(rule, question, where)
            if not _same(answer, again):
                raise ConformanceError(
                    f"{self._name(rule)}: expected one answer {where} whatever was asked before, "
                    f"got {answer!r}, then {again!r}"
                )

    def _answer(self, rule: str, question: tuple[Any, ...], where: str) -> Any:
        try:
            return getattr(self.game, rule)(*question)
        except Exception as error:
            raise ConformanceError(
                f"{self._name(rule)}: expected an answer {where}, got {type(error).__name__}: {error}"
            ) from error

    def _name(self, rule: str) -> str:
        return f"{type(self.game).__name__}.{rule}"


def _check_episode(questions: _Questions, deal: Any, rng: np.random.Generator) -> int:
    """Check the answers along one random episode; return how many turns it had."""
    game, dialogue = questions.game, Dialogue(deal)
    for viewer in PLAYERS:
        expected, fits = _told(game, "max_briefing_tokens")
        questions.ask("briefing", (deal, viewer), expected, fits, f"for player {viewer} in the deal {deal!r}")
    while (player := _speaker(questions, dialogue)) is not None:
        dialogue = dialogue.extend(_turn(questions, dialogue, player, rng))
        _check_after(questions, dialogue, player)
    return len(dialogue.turns)


def _speaker(questions: _Questions, dialogue: Dialogue[Any]) -> int | None:
    game, where = questions.game, _where(questions.game, dialogue)
    player: int | None = questions.ask("next_player", (dialogue,), "0, 1 or None", _is_speaker, where)
    if player is not None and len(dialogue.turns) >= game.max_turns:
        raise ConformanceError(
            f"{type(game).__name__}: expected the end after max_turns={game.max_turns} turns, "
            f"got player {player} to speak {where}"
        )
    return player


def _turn(questions: _Questions, dialogue: Dialogue[Any], player: int, rng: np.random.Generator) -> Turn:
    """Return a random legal turn without a thought."""
    game, said = questions.game, tuple[int, ...]()
    expected = f"a whole number from 1 to max_turn_tokens={game.max_turn_tokens}"
    limit = questions.ask("turn_limit", (dialogue,), expected, _is_limit(game), _where(game, dialogue))
    while len(said) < limit:
        token = int(rng.choice(_legal(questions, dialogue, said)))
        if token == game.vocabulary.eos_id:
            return Turn(said, (), Ending.END_OF_TURN, player)
        said = (*said, token)
    return Turn(said, (), Ending.TOO_LONG, player)


def _legal(questions: _Questions, dialogue: Dialogue[Any], said: Tokens) -> list[int]:
    game, where = questions.game, _where(questions.game, dialogue, said)
    vocabulary = game.vocabulary
    sayable = {*np.flatnonzero(vocabulary.sayable_mask).tolist(), vocabulary.eos_id}
    expected = f"None or a tuple of different token ids, integers in [0, {vocabulary.size}),"
    fits = _is_tokens(vocabulary.size)
    listed = questions.ask(
        "legal_tokens",
        (dialogue, said),
        expected,
        lambda tokens: tokens is None or (fits(tokens) and len(set(tokens)) == len(tokens)),
        where,
    )
    legal = sorted(sayable if listed is None else sayable.intersection(listed))
    if not legal:
        raise ConformanceError(
            f"{type(game).__name__}.legal_tokens: expected at least one sayable token or <eos> {where}, got {listed!r}"
        )
    return legal


def _check_after(questions: _Questions, dialogue: Dialogue[Any], speaker: int) -> None:
    """Check what the rules say of a turn just finished."""
    game, where = questions.game, _where(questions.game, dialogue)
    paid = questions.ask("rewards", (dialogue,), "a pair of finite numbers", _is_pair, where)
    _expect_payoff(game, paid, where)
    fits = _is_tokens(game.vocabulary.size)
    expected = f"None or a tuple of token ids, integers in [0, {game.vocabulary.size}),"
    question = (dialogue, 1 - speaker)
    questions.ask("hears", question, expected, lambda tokens: tokens is None or fits(tokens), where)
    for player in PLAYERS:
        expected, fits = _told(game, "max_announcement_tokens")
        questions.ask("announcement", (dialogue, player), expected, fits, f"for player {player} {where}")
    questions.ask("annotate", (dialogue,), "a text", lambda text: text is None or isinstance(text, str), where)


def _where(game: LanguageGame[Any], dialogue: Dialogue[Any], said: Tokens = ()) -> str:
    """Return a dialogue and an open turn in words."""
    decode = game.vocabulary.decode
    turns = [f"player {turn.player}: {decode(turn.tokens)!r}" for turn in dialogue.turns]
    turns += [f"{decode(said)!r} of the open turn"] if said else []
    return f"in the deal {dialogue.deal!r} " + (f"after {'; '.join(turns)}" if turns else "at the start")


def _expect_payoff(game: LanguageGame[Any], paid: tuple[float, float], where: str) -> None:
    try:
        checked_rewards(game, paid)
    except ValueError as error:
        raise ConformanceError(f"{error} {where}") from error


def _told(game: LanguageGame[Any], most: str) -> tuple[str, Fits]:
    size, room = game.vocabulary.size, getattr(game, most)
    fits = _is_tokens(size)
    return (
        f"a tuple of at most {most}={room} token ids, integers in [0, {size}),",
        lambda tokens: fits(tokens) and len(tokens) <= room,
    )


def _is_tokens(size: int) -> Fits:
    return lambda tokens: isinstance(tokens, tuple) and all(_is_whole(token) and 0 <= token < size for token in tokens)


def _are_two(ids: Any, size: int) -> bool:
    return _is_tokens(size)(ids) and len(ids) == len({0, *ids} - {0}) == len(PLAYERS)


def _is_limit(game: LanguageGame[Any]) -> Fits:
    return lambda limit: _is_whole(limit) and 1 <= limit <= game.max_turn_tokens


def _is_whole(number: object) -> bool:
    return isinstance(number, int | np.integer) and not isinstance(number, bool)


def _is_speaker(player: Any) -> bool:
    return player is None or (_is_whole(player) and player in PLAYERS)


def _is_pair(paid: Any) -> bool:
    pair = pair_of(paid)
    return pair is not None and all(map(math.isfinite, pair))


def _same(first: Any, second: Any) -> bool:
    listed = isinstance(first, tuple | list) and any(isinstance(part, float | np.floating) for part in first)
    if listed or (hasattr(first, "__array__") and np.ndim(first)):
        return np.shape(first) == np.shape(second) and bool(np.allclose(first, second, rtol=0, atol=TOLERANCE))
    return bool(first == second)
