"""The registry: games by name, in ours and in PettingZoo's and Gymnasium's registries."""

from __future__ import annotations

import difflib
import importlib
import inspect
import json
import math
import re
from collections.abc import Callable
from functools import partial
from typing import Any

import gymnasium
import numpy as np
import pettingzoo

from .engine.views import Speaker
from .game import LanguageGame, checked_game
from .interfaces.aec import LanguageGameEnv
from .interfaces.single_player import SinglePlayerEnv
from .interfaces.turn_level import TurnLevelEnv
from .interfaces.vector import LanguageGameVectorEnv
from .printable import shown
from .vocabulary import Vocabulary
from .wrappers.demonstrated import Demonstrated
from .wrappers.thoughts import with_thoughts

NAMESPACE = "duologue"
NAME = re.compile(r"[a-z][a-z0-9_]*(-[a-z0-9_]+)*-v\d+", re.ASCII)
ENTRY_POINT = re.compile(r"[\w.]+:\w+")

_ENTRY_POINTS: dict[str, str | Callable[..., LanguageGame[Any]]] = {}


def register_game(name: str, entry_point: str | Callable[..., LanguageGame[Any]]) -> None:
    """Register a game as `name` ("bluff-v0") here, in PettingZoo's and in Gymnasium's registry.

    Args:
        name: lower case with a version, as "bluff-v0".
        entry_point: the game's class or factory, or "module:name" of it, imported at first use.

    Raises:
        TypeError: the entry point is neither.
        ValueError: the name is not of that form or registered already.
    """
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise ValueError(f'name: expected lower case with a version, as "bluff-v0", got {name!r}')
    named = isinstance(entry_point, str) and ENTRY_POINT.fullmatch(entry_point)
    if not (named or callable(entry_point)):
        raise TypeError(f'entry_point: expected a class, a factory or "module:name" of it, got {entry_point!r}')
    if name in _ENTRY_POINTS:
        raise ValueError(f"name: expected one not yet registered, got {name!r}; a changed rule is a new version")
    _ENTRY_POINTS[name] = entry_point
    if hasattr(pettingzoo, "register"):  # 1.27 is the first that has it; AgileRL asks for an earlier one
        pettingzoo.register("aec", f"{NAMESPACE}/{name}", partial(make, name))
    gymnasium.register(
        f"{NAMESPACE}/{name}",
        entry_point=partial(_make_single_player, name),
        vector_entry_point=partial(_make_vector, name),
        disable_env_checker=True,
    )


def registered_games() -> tuple[str, ...]:
    """Return the names of all games, sorted."""
    return tuple(sorted(_ENTRY_POINTS))


def game_factory(name: str) -> Callable[..., LanguageGame[Any]]:
    """Return the class or factory registered as `name`.

    Raises:
        ValueError: no such game; the message names the nearest.
    """
    if not isinstance(name, str):
        raise ValueError(f"game: expected a name, such as 'bluff-v0', got {name!r}")
    if name not in _ENTRY_POINTS:
        near = difflib.get_close_matches(name.lower(), _ENTRY_POINTS, n=1)
        near = near or [known for known in registered_games() if name and known.startswith(name.lower())]
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"game: expected one of {', '.join(registered_games())}, got {name!r}{hint}")
    entry_point = _ENTRY_POINTS[name]
    if isinstance(entry_point, str):
        module, _, attribute = entry_point.partition(":")
        try:
            entry_point = getattr(importlib.import_module(module), attribute)
        except (ModuleNotFoundError, AttributeError) as error:
            raise ValueError(f"{name}: expected {_ENTRY_POINTS[name]!r} to be importable, got {error}") from error
        _ENTRY_POINTS[name] = entry_point
    assert callable(entry_point)
    return entry_point


def parse_option(text: str) -> tuple[str, Any]:
    """Return the name and the value of an option on a command line, NAME=VALUE, the value as JSON or plain text.

    >>> parse_option("num_rounds=2"), parse_option("intent=hidden")
    (('num_rounds', 2), ('intent', 'hidden'))
    """
    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier():
        raise ValueError(f"option: expected NAME=VALUE, got {text!r}")
    if value in ("True", "False", "None"):
        raise ValueError(
            f"option {name}: expected JSON, { ({'None': 'null'}.get(value) or value.lower()) }, got {value}"
        )
    try:
        return name, json.loads(value)
    except json.JSONDecodeError:
        return name, value
    except (RecursionError, ValueError) as error:  # nested without end; an integer of thousands of digits
        raise ValueError(f"option {name}: expected JSON of a usual size, got {value[:40]}... ({error})") from error


LARGEST_OPTION = 2**20
"""The largest number of words, turns or tokens that a game may be asked for."""


def make_game(name: str, **options: Any) -> LanguageGame[Any]:
    """Return the rules registered as `name`.

    Any game takes the options of `adapted` too, unless it has one of that name itself. One that has prompts takes
    `spoken`, the vocabulary of a tokenizer, through which it is then played in English (`duologue.envs.spoken`), and
    beside it the options of `Spoken`.

    >>> make_game("bluff-v0", max_thought_tokens=3).max_thought_tokens
    3

    Raises:
        ValueError: no such game, one that cannot have the thoughts or examples that are asked for, that has no prompts
            and is to be spoken, or whose views would be longer than `duologue.envs.game.MAX_VIEW_TOKENS`.
        TypeError: an option that the game does not have.
    """
    factory = game_factory(name)
    own = inspect.signature(factory).parameters
    shared = {option: what for option, what in ADAPTED.items() if option not in own}
    vocabulary = options.pop("spoken", None)
    said = {} if vocabulary is None else _options_of_spoken()
    known = {**own, **shared, **said}
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise TypeError(
            f"{name}: expected options among {sorted(own)}, got {unknown}; any game has {' and '.join(shared)} too"
        )
    for option, value in options.items():
        _check_type(name, known[option], value)
    added = {option: options.pop(option) for option in shared if option in options}
    forms = {option: options.pop(option) for option in said if option in options}
    game = checked_game(factory(**options))
    if vocabulary is not None:
        game = _spoken(name, game, vocabulary, **forms)
    game = adapted(game, **added)
    _ = game.max_view_tokens  # so that absurd sizes are an error now, before anything is allocated
    return game


def adapted(game: LanguageGame[Any], *, max_thought_tokens: int = 0, num_shots: int = 0) -> LanguageGame[Any]:
    """Return the game with what any game can have: thoughts, and solved episodes in the prompt.

    Both are of arXiv 2402.08078, section 4.5.

    Args:
        game: the rules.
        max_thought_tokens: the most tokens in a thought at the head of a turn (`WithThoughts`); 0: none.
        num_shots: how many solved episodes are shown before each (`Demonstrated`), of a game that states them
            (`duologue.envs.solutions`); 0: none.
    """
    if max_thought_tokens:
        game = with_thoughts(game, max_thought_tokens)
    if num_shots:
        game = Demonstrated(game, num_shots=num_shots)
        game.deals.sample(np.random.default_rng(0))  # so that too few examples are an error now
    return game


ADAPTED = {name: what for name, what in inspect.signature(adapted).parameters.items() if name != "game"}


def _options_of_spoken() -> dict[str, inspect.Parameter]:
    from .spoken import Spoken  # with all games that have prompts

    return {name: what for name, what in inspect.signature(Spoken).parameters.items() if what.kind is what.KEYWORD_ONLY}


def _spoken(name: str, game: LanguageGame[Any], vocabulary: Vocabulary, **options: Any) -> LanguageGame[Any]:
    from .spoken import Spoken, prompts_for

    return Spoken(game, vocabulary, prompts_for(name), **options)


def _check_type(name: str, option: inspect.Parameter, value: object) -> None:
    """Raise TypeError where a plain option is of another type: "no" is true, and 2.5 is no number of rounds."""
    asked = str(getattr(option.annotation, "__name__", option.annotation))
    kind = asked.removesuffix(" | None")
    if value is None and kind != asked:
        return
    kinds: dict[str, tuple[type, ...]] = {"bool": (bool,), "int": (int,), "float": (int, float), "str": (str,)}
    fits = isinstance(value, kinds.get(kind, (object,))) and not (kind == "Vocabulary" and isinstance(value, str))
    if not fits or (isinstance(value, bool) and kind in ("int", "float")):
        raise TypeError(f"{name}: expected {option.name} of type {asked}, got {value!r}")
    if kind == "float" and not -math.inf < value < math.inf:  # type: ignore[operator]
        raise ValueError(f"{name}: expected {option.name} a finite number, got {value!r}")
    if kind == "int" and option.name != "seed" and abs(value) > LARGEST_OPTION:  # type: ignore[arg-type]
        raise ValueError(f"{name}: expected {option.name} of at most {LARGEST_OPTION}, got {shown(value)}")


def make(name: str, *, render_mode: str | None = None, **options: Any) -> LanguageGameEnv[Any]:
    """Return the game as a PettingZoo AEC environment.

    >>> import duologue.envs
    >>> str(duologue.envs.make("bluff-v0"))
    'bluff_v0'
    """
    return LanguageGameEnv(make_game(name, **options), name=name, render_mode=render_mode)


def make_turn_level(name: str, *, render_mode: str | None = None, **options: Any) -> TurnLevelEnv[Any]:
    """Return the game as a PettingZoo AEC environment in which an action is a whole turn.

    >>> import duologue.envs
    >>> str(duologue.envs.make_turn_level("bluff-v0"))
    'TurnLevelEnv<bluff_v0>'
    """
    return TurnLevelEnv(make_game(name, **options), name=name, render_mode=render_mode)


def _make_single_player(
    name: str,
    *,
    player: Any = 0,
    opponent: Speaker | Any = "random",
    render_mode: str | None = None,
    **options: Any,
) -> SinglePlayerEnv[Any]:
    return SinglePlayerEnv(make_game(name, **options), player=player, opponent=opponent, render_mode=render_mode)


def _make_vector(
    name: str,
    *,
    num_envs: int = 1,
    player: Any = 0,
    opponent: Speaker | Any = "random",
    autoreset_mode: Any = "NextStep",
    render_mode: str | None = None,
    **options: Any,
) -> LanguageGameVectorEnv[Any]:
    game = make_game(name, **options)
    return LanguageGameVectorEnv(
        game, num_envs, player=player, opponent=opponent, autoreset_mode=autoreset_mode, render_mode=render_mode
    )
