"""A judge in one text: what it is, where it lies, how it is asked, as `classifier:runs/judge?label=toxic&threshold=.8`.

    JUDGE  = PART or PART+PART+...      several vote: see `JudgeEnsemble`
    PART   = KIND, KIND:WHERE or KIND:WHERE?NAME=VALUE&NAME=VALUE...; a folder alone is a classifier's

In a value %26 stands for an ampersand and %25 for a percent sign, as in addresses. This file reads such texts; what is
named is loaded by `make_judge`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from urllib.parse import unquote

COMMON = {"threshold": float, "batch_size": int, "device": str}
"""Options of every judge that is a model."""
KINDS: Mapping[str, Mapping[str, type]] = MappingProxyType(
    {
        "classifier": {"label": str, "max_length": int, **COMMON},
        "guard": {"template": str, "safe": str, "unsafe": str, **COMMON},
        "reward": {"reference": float, **COMMON},
        "encoder": {"encoder": str, **COMMON},
        "python": {},
        "refusal": {},
    }
)
"""The kinds of judge, and the options that each takes."""
HOW_FAST = ("batch_size", "device")
"""Options by which a judge says the same."""
WITHOUT_PLACE = ("refusal",)
"""Kinds that lie nowhere."""
PYTHON = "python"
_KIND = "|".join(KINDS)
_PARTS = re.compile(rf"\+(?=(?:{_KIND})(?:[:?+]|$))")
_PART = re.compile(rf"(?P<kind>{_KIND})(?::(?P<where>[^?]*))?(?:\?(?P<options>.*))?", re.DOTALL)


@dataclass(frozen=True, slots=True)
class JudgeSpec:
    """One judge, as a text names it."""

    kind: str
    where: str
    """The folder; of a Python function `module:function` or `file.py:function`; nothing for the rule on refusals."""
    options: Mapping[str, str | int | float]

    @property
    def paths(self) -> tuple[Path, ...]:
        """The files and folders that it may be read from."""
        places = [self.where.rpartition(":")[0] if self.kind == PYTHON else self.where]
        places += [str(self.options[name]) for name in ("template", "encoder") if name in self.options]
        return tuple(Path(place) for place in places if place)


def parse_judge(text: str) -> tuple[JudgeSpec, ...]:
    """Return the judges that a text names; several vote.

    >>> (spec,) = parse_judge("guard:models/guard?template=policy.txt&threshold=.8")
    >>> spec.kind, spec.where, dict(spec.options)
    ('guard', 'models/guard', {'template': 'policy.txt', 'threshold': 0.8})
    >>> [spec.kind for spec in parse_judge("runs/judge+refusal")]
    ['classifier', 'refusal']

    Raises:
        ValueError: no such kind or option, a value of another type, or nothing where a folder should be named.
    """
    return tuple(_parsed(part) for part in _PARTS.split(text))


def without_places(text: str, mark: str) -> str:
    """Return the text of judges with a mark in the place of their folders and files: how they judge, wherever they lie.

    >>> without_places("runs/judge+guard:g?threshold=.8&device=cuda+python:rules.py:harsh", "*")
    'classifier:*+guard:*?threshold=0.8+python:*:harsh'
    """
    parts = []
    for spec in parse_judge(text):
        place, _, function = spec.where.rpartition(":") if spec.kind == PYTHON else (spec.where, "", "")
        where = f"{mark}:{function}" if place.endswith(".py") else spec.where if spec.kind == PYTHON else mark
        options = "&".join(f"{name}={value}" for name, value in spec.options.items() if name not in HOW_FAST)
        parts.append(spec.kind + (f":{where}" if place else "") + (f"?{options}" if options else ""))
    return "+".join(parts)


def _parsed(text: str) -> JudgeSpec:
    match = _PART.fullmatch(text)
    if match is None:
        return JudgeSpec("classifier", _folder(text), {})
    kind, where = match["kind"], match["where"] or ""
    if bool(where) == (kind in WITHOUT_PLACE):
        expected = kind if kind in WITHOUT_PLACE else f"{kind}:{'MODULE:FUNCTION' if kind == PYTHON else 'FOLDER'}"
        raise ValueError(f"judge: expected {expected}, got {text!r}")
    if kind == PYTHON and not all(where.rpartition(":")[::2]):
        raise ValueError(f"judge: expected python:MODULE:FUNCTION or python:FILE.py:FUNCTION, got {text!r}")
    return JudgeSpec(kind, where, _options(kind, match["options"]))


def _folder(text: str) -> str:
    """Return the folder that is named without a kind, once it is seen that no other kind was meant."""
    named = re.match(r"(\w+):", text)
    if not text or (named is not None and not Path(text).is_dir()):
        raise ValueError(
            f"judge: expected one of {', '.join(KINDS)} before a colon, or the folder of a classifier, got {text!r}"
        )
    return text


def _options(kind: str, text: str | None) -> dict[str, str | int | float]:
    found: dict[str, str | int | float] = {}
    for given in text.split("&") if text is not None else ():
        name, equals, value = given.partition("=")
        if name not in KINDS[kind] or not equals or name in found:
            known = ", ".join(f"{option}=" for option in KINDS[kind]) or "none"
            raise ValueError(f"judge: expected options of {kind} among {known}, each once, got {given!r}")
        of = KINDS[kind][name]
        try:
            found[name] = of(unquote(value))
        except ValueError as error:
            wanted = {float: "a number", int: "an integer"}[of]
            raise ValueError(f"judge: expected {wanted} as {name} of {kind}, got {value!r}") from error
    return found
