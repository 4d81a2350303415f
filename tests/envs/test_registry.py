"""The registry: names, options, and what is said of unknown ones."""

from collections.abc import Iterator
from typing import Any

import gymnasium
import pettingzoo
import pytest

import duologue.envs
from duologue.envs import LanguageGameEnv, SinglePlayerEnv, make, make_game, register_game, registered_games
from duologue.envs import registry as registry_module
from duologue.envs.games.bluff import Bluff
from duologue.envs.registry import parse_option
from duologue.tests.envs.helpers import Whisper


@pytest.fixture
def whisper_name(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A name registered for one test, in all three registries."""
    monkeypatch.setattr(registry_module, "_ENTRY_POINTS", dict(registry_module._ENTRY_POINTS))
    register_game("whisper_test-v0", Whisper)
    yield "whisper_test-v0"
    del gymnasium.registry["duologue/whisper_test-v0"]


def test_importing_the_package_registers_the_games() -> None:
    """Sorted, each with a version."""
    names = registered_games()
    assert {"bluff-v0", "red_team-v0"} <= set(names)
    assert list(names) == sorted(names)
    assert all(name.rpartition("-v")[2].isdigit() for name in names)


def test_registered_game_is_made_by_all_three_registries(whisper_name: str) -> None:
    """One line registers the rules for every form of play."""
    assert whisper_name in registered_games()
    assert isinstance(make(whisper_name).game, Whisper)
    assert isinstance(pettingzoo.make("aec", f"duologue/{whisper_name}").unwrapped, LanguageGameEnv)
    assert isinstance(gymnasium.make(f"duologue/{whisper_name}").unwrapped, SinglePlayerEnv)


def test_option_of_another_type_is_refused() -> None:
    """The text "False" is true, so that it would silently do the opposite."""
    with pytest.raises(TypeError, match="random_game-v0: expected irregular of type bool, got 'no'"):
        make_game("random_game-v0", irregular="no")
    with pytest.raises(TypeError, match=r"random_game-v0: expected num_turns of type int, got 2\.5"):
        make_game("random_game-v0", num_turns=2.5)
    assert make_game("random_game-v0", hidden_share=1, irregular=True).max_turns == 4


def test_name_is_registered_once() -> None:
    """A changed rule is a new version."""
    with pytest.raises(ValueError, match="name: expected one not yet registered, got 'bluff-v0'"):
        register_game("bluff-v0", Bluff)


@pytest.mark.parametrize("function", [make, make_game])
def test_unknown_game_is_named_with_the_nearest(function: Any) -> None:
    """As a misspelt one mostly is."""
    with pytest.raises(ValueError, match=r"expected one of .*bluff-v0, .* got 'bluf-v0'; did you mean 'bluff-v0'"):
        function("bluf-v0")
    with pytest.raises(ValueError, match=r"game: expected one of .*, got 'xyz'$"):
        function("xyz")


def test_unknown_option_is_named_with_the_known_ones() -> None:
    """Bluff has none at all."""
    with pytest.raises(TypeError, match=r"bluff-v0: expected options among \[\], got \['stake'\]"):
        make("bluff-v0", stake=2)
    with pytest.raises(TypeError, match=r"red_team-v0: expected options among .*'num_rounds'.*, got"):
        make_game("red_team-v0", rounds=2)
    with pytest.raises(TypeError, match=r"got \['stake'\]; any game has max_thought_tokens and num_shots too"):
        make("bluff-v0", stake=2)
    with pytest.raises(TypeError, match="bluff-v0: expected max_thought_tokens of type int, got '8'"):
        make_game("bluff-v0", max_thought_tokens="8")


def test_environment_bears_its_registered_name() -> None:
    """In PettingZoo's spelling."""
    env = make("bluff-v0")
    assert str(env) == "bluff_v0"
    assert env.metadata["is_parallelizable"] is False


def test_version_is_the_packages() -> None:
    """`duologue.envs.__version__`, for whoever imports the games alone."""
    assert duologue.envs.__version__ == __import__("duologue").__version__


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        (
            "bluff-v0",
            {"max_thought_tokens": 10**11},
            "expected max_thought_tokens of at most 1048576, got 100000000000",
        ),
        ("bluff-v0", {"max_thought_tokens": 10**30}, "expected max_thought_tokens of at most 1048576"),
        (
            "secret_code-v0",
            {"num_words": 10**5000},
            "expected num_words of at most 1048576, got an integer of 16610 bits",
        ),
        ("secret_code-v0", {"num_words": 10**8}, "expected num_words of at most 1048576"),
        ("secret_code-v0", {"num_words": "many"}, r"expected num_words of type int \| None, got 'many'"),
        ("red_team-v0", {"num_rounds": 2**20}, "expected views of at most 4,194,304 tokens, got"),
        (
            "red_team_text-v0",
            {"vocabulary": "a/folder"},
            r"vocabulary: expected a TokenizerVocabulary or another, .*, got 'a/folder'",
        ),
    ],
)
def test_sizes_that_no_machine_holds_and_other_types_are_refused(
    name: str, options: dict[str, Any], message: str
) -> None:
    """Before an array of terabytes is asked for; a file's name has no words to say."""
    with pytest.raises((ValueError, TypeError), match=message):
        make_game(name, **options)


@pytest.mark.parametrize("value", ["[" * 100_000, "9" * 5000])
def test_options_nested_without_end_are_refused(value: str) -> None:
    """What Python's reader of JSON cannot take."""
    with pytest.raises(ValueError, match="option x: expected JSON of a usual size, got"):
        parse_option(f"x={value}")
