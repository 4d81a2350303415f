"""Every planted fault in a game is named in one sentence: the rule, what was expected, what came, and where."""

import pickle
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from duologue.envs import Dialogue, FiniteDeals, LanguageGame, LanguageGameEnv, Payoff, SampledDeals, WordVocabulary
from duologue.envs.games.bluff import Bluff
from duologue.envs.testing.answers import check_answers
from duologue.envs.testing.conformance import CHECKS, ConformanceError, check_game
from duologue.tests.envs.helpers import BLUE, RED, VOCABULARY, Whisper

SIZE = VOCABULARY.size
LIST: Any = ["red"]


def faulty(**changes: Any) -> Whisper:
    """Return Whisper with attributes and rules replaced."""
    return type("Haggle", (Whisper,), changes)()  # type: ignore[no-any-return]


def rule(answer: Any) -> Callable[..., Any]:
    """Return a rule that always answers the same."""
    return lambda game, *question: answer


def listing(drawn: str, outcomes: dict[str, float]) -> SimpleNamespace:
    """Return deals that draw this and list these."""
    return SimpleNamespace(sample=lambda rng: drawn, outcomes=lambda: outcomes)


class Unset(LanguageGame[Any]):
    """Sets no attribute."""

    def next_player(self, dialogue: Dialogue[Any]) -> int | None:
        return None

    def rewards(self, dialogue: Dialogue[Any]) -> tuple[float, float]:
        return 0.0, 0.0


NO_GAMES = [
    ("whisper-v0", r"game: expected the rules, .* such as make_game\('whisper-v0'\); got 'whisper-v0'"),
    (Whisper, r"game: expected the rules, .* such as Whisper\(\): an instance, not the class"),
    (LanguageGameEnv(Whisper()), r"game: expected the rules, .*; an environment has it as `env.game`"),
    (None, "game: expected the rules, a LanguageGame; got None"),
    (
        Unset(),
        "Unset: expected the attributes vocabulary, payoff, .*, got none named vocabulary, payoff, deals, max_turns",
    ),
]

ATTRIBUTES = [
    ({"payoff": "general"}, "Haggle.payoff: expected a value of Payoff, such as Payoff.GENERAL, got 'general'"),
    ({"deals": {"red": 1.0}}, r"Haggle.deals: expected FiniteDeals\(...\) or SampledDeals\(...\), got {'red': 1.0}"),
    ({"deals": SampledDeals(lambda rng: LIST)}, r"Haggle.deals: .* expected a hashable one, .*unhashable \['red'\]"),
    (
        {"deals": SimpleNamespace(sample=lambda rng: "red", outcomes=lambda: {"red": 0.5})},
        "expected probabilities >= 0",
    ),
    (
        {"deals": SimpleNamespace(sample=lambda rng: "x", outcomes=lambda: {"red": 1.0})},
        r"one of outcomes\(\), got 'x'",
    ),
    ({"vocabulary": "red blue"}, "Haggle.vocabulary: expected a Vocabulary, got 'red blue'"),
    ({"max_turns": 0}, "Haggle.max_turns: expected at least 1, got 0"),
    ({"max_turns": 2.5}, "Haggle.max_turns: expected an integer, got 2.5"),
    ({"max_turn_tokens": True}, "Haggle.max_turn_tokens: expected an integer, got True"),
    (
        {"max_thought_tokens": 10**11},
        r"expected views of at most 4,194,304 tokens, got .* max_thought_tokens=100,0",
    ),
    ({"max_briefing_tokens": -1}, "Haggle.max_briefing_tokens: expected at least 0, got -1"),
    ({"roles": "ab"}, "Haggle.roles: expected two names, got 'ab'"),
    ({"forfeit_cost": float("nan")}, "Haggle.forfeit_cost: expected a finite number, got nan"),
]


class Framed(WordVocabulary):
    """Frames a turn by what is no token."""

    framed_by: Any = (-1,)

    def open_turn(self, speaker: int, viewer: int) -> Any:
        return self.framed_by


class Wide(WordVocabulary):
    """Lets its padding be said."""

    sayable_mask = np.ones(10, dtype=np.int8)


VOCABULARIES = [
    (Framed("red"), r"Haggle.vocabulary.open_turn: expected a tuple of token ids in \[0, 9\), got \(-1,\)"),
    (type("Late", (Framed,), {"framed_by": (9,)})("red"), r"open_turn: expected a tuple of token ids.*, got \(9,\)"),
    (type("Half", (Framed,), {"framed_by": (3.7,)})("red"), "open_turn: expected a tuple of token ids.*, got .3.7"),
    (Wide("red blue"), r"Haggle.vocabulary.sayable_mask: expected \(10,\) of 0 and 1, 0 for id 0, got"),
    (Wide("red"), r"Haggle.vocabulary.sayable_mask: expected \(9,\) of 0 and 1"),
    (type("Endless", (WordVocabulary,), {"eos_id": -1})("red"), r"eos_id: expected a token id in \[1, 9\), got -1"),
]

ANSWERS = [
    ("next_player", rule("player_0"), "expected 0, 1 or None in the deal .* at the start, got 'player_0'"),
    ("next_player", rule(2), "expected 0, 1 or None .*, got 2"),
    ("next_player", rule(True), "expected 0, 1 or None .*, got True"),
    ("next_player", rule(None), "expected somebody to speak after some deal, got None after 20"),
    ("turn_limit", rule(4), "expected a whole number from 1 to max_turn_tokens=3 .*, got 4"),
    ("turn_limit", rule("3"), "expected a whole number .*, got '3'"),
    ("rewards", rule(1.0), r"expected a pair of finite numbers .* after player 0: .*, got 1.0"),
    ("rewards", rule(None), "expected a pair of finite numbers .*, got None"),
    ("rewards", rule((1.0, 2.0, 3.0)), r"expected a pair of finite numbers .*, got \(1.0, 2.0, 3.0\)"),
    ("rewards", rule((float("nan"), 0.0)), "expected a pair of finite numbers .*, got .nan"),
    ("rewards", rule((float("inf"), 0.0)), "expected a pair of finite numbers .*, got .inf"),
    ("rewards", rule({1.0, -1.0}), "expected a pair of finite numbers"),
    ("rewards", rule((10**400, 0)), "expected a pair of finite numbers"),
    ("rewards", rule(("1", "0")), "expected a pair of finite numbers .*, got .'1'"),
    ("forfeit_rewards", rule((0.0,)), "expected a pair of finite numbers for player 0, got"),
    ("legal_tokens", rule((RED, -1)), rf"expected None or a tuple of different token ids, integers in \[0, {SIZE}\)"),
    ("legal_tokens", rule((RED, SIZE)), "expected None or a tuple of different token ids"),
    ("legal_tokens", rule((RED, 999)), "expected None or a tuple of different token ids"),
    ("legal_tokens", rule((RED, 3.7)), "expected None or a tuple of different token ids"),
    ("legal_tokens", rule((RED, RED)), "expected None or a tuple of different token ids"),
    ("legal_tokens", rule([RED]), "expected None or a tuple of different token ids"),
    ("legal_tokens", rule({RED}), "expected None or a tuple of different token ids"),
    ("legal_tokens", rule(np.array([RED])), "expected None or a tuple of different token ids"),
    ("legal_tokens", lambda *question: (token for token in (RED,)), "expected None or a tuple of different token ids"),
    ("legal_tokens", rule(()), r"expected at least one sayable token or <eos> .*, got \(\)"),
    ("legal_tokens", rule((0,)), "expected at least one sayable token or <eos>"),
    ("briefing", rule("red"), "expected a tuple of at most max_briefing_tokens=0 token ids"),
    ("hears", rule((-1,)), rf"expected None or a tuple of token ids, integers in \[0, {SIZE}\).*, got \(-1,\)"),
    ("hears", rule((SIZE,)), "expected None or a tuple of token ids"),
    ("hears", rule("red"), "expected None or a tuple of token ids"),
    (
        "announcement",
        rule((RED, BLUE)),
        "expected a tuple of at most max_announcement_tokens=1 .* for player 0",
    ),
    ("announcement", rule((-1,)), "expected a tuple of at most max_announcement_tokens=1 token ids"),
    ("announcement", rule(None), "expected a tuple of at most max_announcement_tokens=1 token ids"),
    ("annotate", rule(3), "expected a text .*, got 3"),
]


@pytest.mark.parametrize(("game", "message"), NO_GAMES)
def test_what_is_no_game_is_named(game: Any, message: str) -> None:
    """A name, a class, an environment, nothing, and rules that set nothing."""
    with pytest.raises(ConformanceError, match=message):
        check_game(game)


@pytest.mark.parametrize(("changes", "message"), ATTRIBUTES)
def test_wrong_attributes_are_named(changes: dict[str, Any], message: str) -> None:
    """Types and sizes, before anything is played or allocated."""
    with pytest.raises(ConformanceError, match=message):
        check_game(faulty(**changes))


@pytest.mark.parametrize(("vocabulary", "message"), VOCABULARIES)
def test_wrong_vocabularies_are_named(vocabulary: Any, message: str) -> None:
    """What stands in every view is of token ids, too."""
    with pytest.raises(ConformanceError, match=message):
        check_game(faulty(vocabulary=vocabulary))


@pytest.mark.parametrize("ids", [(6,), (6, 6), (6, 600), (0, 7), None])
def test_wrong_delimiters_of_thoughts_are_named(ids: Any) -> None:
    """Where the game has thoughts."""
    vocabulary = type("Thoughtful", (WordVocabulary,), {"think_ids": ids})("red blue")
    with pytest.raises(ConformanceError, match=r"vocabulary\.think_ids: expected two different token ids in \[1, 10\)"):
        check_game(faulty(vocabulary=vocabulary, max_thought_tokens=2))


@pytest.mark.parametrize(("name", "answer", "message"), ANSWERS)
def test_wrong_answers_are_named(name: str, answer: Any, message: str) -> None:
    """The rule and the dialogue in words."""
    with pytest.raises(ConformanceError, match=rf"Haggle\.{name}: {message}"):
        check_game(faulty(**{name: answer}))


def test_a_rule_that_raises_is_named_with_the_dialogue_in_words() -> None:
    """`KeyError: 14` alone tells nobody what was said."""

    def rewards(game: Whisper, dialogue: Dialogue[str]) -> tuple[float, float]:
        table: dict[Any, tuple[float, float]] = {}
        return table[dialogue.turns[-1].tokens]

    words = r"in the deal '\w+' after player 0: '[\w ]*', got KeyError"
    with pytest.raises(ConformanceError, match=rf"Haggle.rewards: expected an answer {words}"):
        check_game(faulty(rewards=rewards))


def test_wrong_payoffs_are_named_with_the_dialogue() -> None:
    """A forfeit by default keeps the payoff type; the turns do not."""
    with pytest.raises(ConformanceError, match=r"Haggle.rewards: expected a zero_sum pair, got .* in the deal"):
        check_game(faulty(payoff=Payoff.ZERO_SUM))


def test_rules_that_draw_are_found() -> None:
    """Asked twice, they answer otherwise."""
    rng = np.random.default_rng(0)
    drawing = faulty(rewards=lambda game, dialogue: (float(rng.random()), 0.0))
    with pytest.raises(ConformanceError, match=r"Haggle.rewards: expected one answer .*, got .*, then"):
        check_answers(drawing)


class Remembering(Whisper):
    """Shortens turns once it has seen thirty dialogues."""

    def __init__(self) -> None:
        """Nothing is seen yet."""
        self.seen: set[Dialogue[str]] = set()

    def turn_limit(self, dialogue: Dialogue[str]) -> int:
        self.seen.add(dialogue)
        return 3 if len(self.seen) < 30 else 2


def test_rules_that_remember_are_found() -> None:
    """Asked again when other dialogues have come between, they answer otherwise."""
    message = "Remembering.turn_limit: expected one answer .* whatever was asked before, got 3, then 2"
    with pytest.raises(ConformanceError, match=message):
        check_answers(Remembering())


def test_rules_that_change_the_dialogue_are_found() -> None:
    """A dialogue is frozen, but for whoever goes around that."""

    def rewards(game: Whisper, dialogue: Dialogue[str]) -> tuple[float, float]:
        object.__setattr__(dialogue, "deal", "blue")
        return 1.0, 0.0

    with pytest.raises(ConformanceError, match=r"Haggle.rewards: expected it to change nothing in the deal 'red'"):
        check_answers(faulty(rewards=rewards, deals=FiniteDeals({"red": 1.0})))


def test_rules_that_cannot_be_pickled_are_found() -> None:
    """As those of a class inside a function; environments are copied to other processes."""
    with pytest.raises(ConformanceError, match="Haggle: expected rules and deals that can be pickled, got"):
        check_game(faulty())
    with pytest.raises((pickle.PicklingError, AttributeError)):
        pickle.dumps(faulty())


def test_an_error_of_any_check_is_a_conformance_error() -> None:
    """Whatever the engine or a player's form meets is said as one."""

    class Haggle(Bluff):
        def rewards_batch(self, dialogues: Any) -> Any:
            return None

    with pytest.raises(ConformanceError, match="Haggle: expected check_forms to pass, got ValueError: rewards_batch: "):
        check_game(Haggle())
    assert CHECKS[0] is check_answers
