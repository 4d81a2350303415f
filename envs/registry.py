"""The registry: games by name, in ours and in PettingZoo's and Gymnasium's registries."""

from __future__ import annotations

import difflib
import importlib
import inspect
import json
from collections.abc import Callable
from functools import partial
from typing import Any

import gymnasium
import pettingzoo

from .aec import LanguageGameEnv
from .game import LanguageGame
from .single_player import SinglePlayerEnv
from .speaker import Speaker

NAMESPACE = "duologue"

_ENTRY_POINTS: dict[str, str | Callable[..., LanguageGame[Any]]] = {}


def register_game(name: str, entry_point: str | Callable[..., LanguageGame[Any]]) -> None:
    """Register a game as `name` ("bluff-v0") here, in PettingZoo's and in Gymnasium's registry.

    Args:
        name: lower case with a version, as "bluff-v0".
        entry_point: the game's class or factory, or "module:name" of it, imported at first use.
    """
    if name in _ENTRY_POINTS:
        raise ValueError(f"name: expected one not yet registered, got {name!r}; a changed rule is a new version")
    _ENTRY_POINTS[name] = entry_point
    pettingzoo.register("aec", f"{NAMESPACE}/{name}", partial(make, name))
    gymnasium.register(f"{NAMESPACE}/{name}", entry_point=partial(_make_single_player, name), disable_env_checker=True)


def registered_games() -> tuple[str, ...]:
    """Return the names of all games, sorted."""
    return tuple(sorted(_ENTRY_POINTS))


def game_factory(name: str) -> Callable[..., LanguageGame[Any]]:
    """Return the class or factory registered as `name`.

    Raises:
        ValueError: no such game; the message names the nearest.
    """
    if name not in _ENTRY_POINTS:
        near = difflib.get_close_matches(name, _ENTRY_POINTS, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"game: expected one of {', '.join(registered_games())}, got {name!r}{hint}")
    entry_point = _ENTRY_POINTS[name]
    if isinstance(entry_point, str):
        module, _, attribute = entry_point.partition(":")
        entry_point = getattr(importlib.import_module(module), attribute)
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


def make_game(name: str, **options: Any) -> LanguageGame[Any]:
    """Return the rules registered as `name`.

    Raises:
        ValueError: no such game.
        TypeError: an option that the game does not have.
    """
    factory = game_factory(name)
    known = inspect.signature(factory).parameters
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise TypeError(f"{name}: expected options among {sorted(known)}, got {unknown}")
    for option, value in options.items():
        _check_type(name, known[option], value)
    return factory(**options)


def _check_type(name: str, option: inspect.Parameter, value: object) -> None:
    """Raise TypeError where a plain option is of another type: "no" is true, and 2.5 is no number of rounds."""
    asked = str(getattr(option.annotation, "__name__", option.annotation))
    kinds: dict[str, tuple[type, ...]] = {"bool": (bool,), "int": (int,), "float": (int, float), "str": (str,)}
    fits = isinstance(value, kinds.get(asked, (object,)))
    if not fits or (isinstance(value, bool) and asked in ("int", "float")):
        raise TypeError(f"{name}: expected {option.name} of type {asked}, got {value!r}")


def make(name: str, *, render_mode: str | None = None, **options: Any) -> LanguageGameEnv[Any]:
    """Return the game as a PettingZoo AEC environment.

    >>> import duologue.envs
    >>> str(duologue.envs.make("bluff-v0"))
    'bluff_v0'
    """
    return LanguageGameEnv(make_game(name, **options), name=name, render_mode=render_mode)


def _make_single_player(
    name: str,
    *,
    player: Any = 0,
    opponent: Speaker | Any = "random",
    render_mode: str | None = None,
    **options: Any,
) -> SinglePlayerEnv[Any]:
    return SinglePlayerEnv(make_game(name, **options), player=player, opponent=opponent, render_mode=render_mode)
