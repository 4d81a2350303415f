"""Options by name: the fields of a command's dataclass as the command line names them, and the dataclass made of some.

A field that is a dataclass is a group. Its options bear the group's name before their own, `--schedule.num-rounds`,
unless `tyro.conf.arg(name="")` says that they bear none, `--game`; in Python these are given flat as well.
"""

from __future__ import annotations

import ast
import dataclasses
import difflib
import inspect
import textwrap
import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import tyro

ConfigT = TypeVar("ConfigT")


@dataclass(frozen=True, slots=True)
class Option:
    """One option, as a command line has it."""

    flag: str
    """What is typed, without hyphens before it: schedule.num-rounds."""
    kind: str
    """What it takes: INT, PATH, {ppo,rloo}; nothing: a yes or no."""
    default: object
    """What it is unless said otherwise; `dataclasses.MISSING`: it must be said."""
    sentence: str
    """What it means."""
    positional: bool = False
    """Whether it is said by its place."""


@dataclass(frozen=True, slots=True)
class Group:
    """Options that belong together."""

    name: str
    """The field that holds them, with those around it: defender-learner.ppo; main: of the command itself."""
    sentence: str
    """What they decide."""
    options: tuple[Option, ...]
    groups: tuple[Group, ...]
    """Groups within."""

    def __iter__(self) -> Iterator[Group]:
        """Yield this and all groups within, outer ones first."""
        yield self
        for group in self.groups:
            yield from group

    @property
    def all_options(self) -> tuple[Option, ...]:
        """Its options, and those of the groups within."""
        return tuple(option for group in self for option in group.options)


@dataclass(frozen=True, slots=True)
class _Field:
    """A field of a dataclass, its annotation read."""

    name: str
    hint: Any
    """Without what is annotated."""
    given_name: str | None
    """What `tyro.conf.arg` calls it."""
    default: Any
    positional: bool
    is_hidden: bool
    """Whether the dataclass works it out: no command line has it, a written configuration does."""

    @property
    def is_group(self) -> bool:
        """Whether it holds further options."""
        return dataclasses.is_dataclass(self.hint)

    @property
    def is_flat(self) -> bool:
        """Whether these bear no name before their own."""
        return self.is_group and self.given_name == ""


def main_group(config: type) -> Group:
    """Return all options of a dataclass: its own, with groups for the fields that are dataclasses."""
    return _group(config, None, name="", prefix="", sentence=first_line(config))


def make_config(config: type[ConfigT], options: Mapping[str, object], *, whose: str) -> ConfigT:
    """Return the dataclass with these options; the others have their defaults.

    Args:
        config: the dataclass.
        options: by field; those of a group as the group's dataclass, as a mapping, or flat where they bear no prefix.
        whose: what the options belong to, for messages.

    Raises:
        TypeError: an option that it does not have, or one that is missing.
        ValueError: an option out of its range.
    """
    made: ConfigT = config(**_arguments(config, None, options, whose))
    return made


def first_line(kind: type) -> str:
    """Return the first sentence of a dataclass's docstring."""
    return " ".join((inspect.getdoc(kind) or "").partition("\n\n")[0].split())


def _group(kind: type, instance: object, *, name: str, prefix: str, sentence: str) -> Group:
    sentences, options, groups = _sentences(kind), list[Option](), list[Group]()
    for field in [field for field in _fields(kind, instance) if not field.is_hidden]:
        own = (field.name if field.given_name is None else field.given_name).replace("_", "-")
        said = sentences.get(field.name, "")
        if field.is_group:
            inner = f"{prefix}{own}." if own else prefix
            inside = f"{name}.{field.name}".lstrip(".").replace("_", "-")
            said = said or first_line(field.hint)
            groups.append(_group(field.hint, field.default, name=inside, prefix=inner, sentence=said))
        else:
            flag = own.upper() if field.positional else prefix + own
            options.append(Option(flag, _kind(field.hint), field.default, said, field.positional))
    return Group(name or "main", sentence, tuple(options), tuple(groups))


def _fields(kind: type, instance: object) -> list[_Field]:
    """Return the fields with their defaults: those of an instance, where there is one."""
    hints, found = get_type_hints(kind, include_extras=True), list[_Field]()
    for field in [field for field in dataclasses.fields(kind) if field.init]:
        hint, marks = hints[field.name], tuple[Any, ...]()
        while get_origin(hint) is Annotated:
            hint, marks = get_args(hint)[0], (*marks, *hint.__metadata__)
        names = [mark.name for mark in marks if hasattr(mark, "name") and isinstance(mark.name, str)]
        if instance is not None and instance is not dataclasses.MISSING:
            default = getattr(instance, field.name)
        elif field.default_factory is not dataclasses.MISSING:
            default = field.default_factory()
        else:
            default = field.default
        if dataclasses.is_dataclass(hint) and isinstance(default, hint):  # type: ignore[arg-type]
            hint = type(default)  # which may be a subclass, as for tyro
        positional = tyro.conf.Positional[int].__metadata__[0] in marks  # type: ignore[attr-defined]
        is_hidden = tyro.conf.Suppress[int].__metadata__[0] in marks  # type: ignore[attr-defined]
        found.append(_Field(field.name, hint, names[0] if names else None, default, positional, is_hidden))
    return found


def _sentences(kind: type) -> dict[str, str]:
    """Return what stands behind each field of a dataclass as a string, its bases' fields included."""
    found: dict[str, str] = {}
    for base in kind.__mro__:
        if not dataclasses.is_dataclass(base):
            continue
        (tree,) = ast.parse(textwrap.dedent(inspect.getsource(base))).body
        assert isinstance(tree, ast.ClassDef)
        for statement, after in zip(tree.body, tree.body[1:], strict=False):
            if not isinstance(statement, ast.AnnAssign) or not isinstance(statement.target, ast.Name):
                continue
            if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
                text = inspect.cleandoc(str(after.value.value)).partition("\n\n")[0]
                found.setdefault(statement.target.id, " ".join(text.split()))
    return found


def _kind(hint: Any) -> str:
    """Return what a value is called; nothing for a yes or no."""
    origin = get_origin(hint)
    if origin is Annotated:
        return _kind(get_args(hint)[0])
    if origin is Literal:
        return "{" + ",".join(map(str, get_args(hint))) + "}"
    if origin in (Union, types.UnionType):
        return "|".join(_kind(part) for part in get_args(hint) if part is not type(None))
    if origin is tuple:
        parts = get_args(hint)
        return f"[{_kind(parts[0])} ...]" if parts[-1] is Ellipsis else " ".join(map(_kind, parts))
    return "" if hint is bool else str(hint.__name__).upper()


def _arguments(kind: type, instance: object, options: Mapping[str, object], whose: str) -> dict[str, Any]:
    """Return what the dataclass is made with, where `instance` has the defaults."""
    fields = {field.name: field for field in _fields(kind, instance)}
    own = {name: value for name, value in options.items() if name in fields and _fits(fields[name], value)}
    left = {name: value for name, value in options.items() if name not in own}
    flat: dict[str, dict[str, object]] = {}
    for field in fields.values():
        inside = {name: left.pop(name) for name in [*left] if field.is_flat and _reaches(field, name)}
        if inside and field.name in own:
            raise TypeError(f"{whose}: expected {field.name} or its options, {', '.join(inside)}, got both")
        if inside:
            flat[field.name] = inside
    if left:
        raise TypeError(_unknown(whose, kind, left))
    given = {name: _value(fields[name], value, whose) for name, value in own.items()}
    given |= {name: _value(fields[name], inside, whose) for name, inside in flat.items()}
    missing = [
        field.name for field in fields.values() if field.default is dataclasses.MISSING and field.name not in given
    ]
    if missing:
        raise TypeError(f"{whose}: expected {', '.join(missing)}, got none")
    kept = {} if instance is None else {name: field.default for name, field in fields.items()}
    return kept | given


def _fits(field: _Field, value: object) -> bool:
    """Whether a value is of the field itself; one that no group can be may belong to an option in it."""
    return not field.is_group or isinstance(value, Mapping) or dataclasses.is_dataclass(value)


def _reaches(field: _Field, name: str) -> bool:
    """Whether a group, or one in it whose options bear no prefix, has an option of that name."""
    inside = _fields(field.hint, field.default)
    return any(option.name == name or (option.is_flat and _reaches(option, name)) for option in inside)


def _value(field: _Field, value: Any, whose: str) -> Any:
    """Return a value as the field has it: text becomes a path, a list a tuple, a mapping the group's dataclass."""
    if field.is_group:
        if not isinstance(value, Mapping):
            return value
        return field.hint(**_arguments(field.hint, field.default, value, f"{whose}, {field.name}"))
    kind = _kind(field.hint)
    if isinstance(value, str) and get_origin(field.hint) is tuple:
        value = (value,)  # one of several
    if isinstance(value, list | tuple):
        return tuple(Path(part) if "PATH" in kind and isinstance(part, str) else part for part in value)
    return Path(value) if kind == "PATH" and isinstance(value, str) else value


def _unknown(whose: str, kind: type, left: Mapping[str, object]) -> str:
    known = sorted(_names(kind, None))
    near = [match for name in left for match in difflib.get_close_matches(name, known, n=1)]
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return f"{whose}: expected options among {', '.join(known)}, got {', '.join(map(repr, left))}{hint}"


def _names(kind: type, instance: object) -> set[str]:
    """Return what can be given: the fields, and those of groups whose options bear no prefix."""
    fields = _fields(kind, instance)
    inside = {name for field in fields if field.is_flat for name in _names(field.hint, field.default)}
    return inside | {field.name for field in fields if not field.is_hidden}
