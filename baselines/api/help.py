"""What `--help` prints: a first page that fits a terminal, one group of options, or everything.

The page is made from the dataclass of a command's options: its flags as tyro names them, the sentence behind each field
and its default. tyro's own page, `--help all`, has the same and more of it.
"""

from __future__ import annotations

import dataclasses
import inspect
import textwrap
from pathlib import Path

from .commands import EVERYTHING
from .options import Group, Option, main_group

FIRST = (
    "player", "run", "source", "exchanges", "dialogues",
    "game", "suite", "algorithms", "games", "seeds", "entrant", "data", "pairs", "quick", "out", "seed",
    "model", "defender", "adversary", "player-0", "player-1", "opponent",
    "learner", "algorithm", "defender-learner.learner", "adversary-learner.learner",
    "num-rounds", "schedule.num-rounds", "num-updates", "num-steps",
    "cloning.num-steps", "training.num-steps", "pretrain.num-steps", "sft.num-steps", "pretrain-steps", "sft-steps",
    "batch-size", "schedule.batch-size", "cloning.batch-size", "training.batch-size", "batch-rows", "episodes",
    "num-matches", "attacker-updates", "num-demonstrations", "num-pairs", "judge", "exact", "one-policy",
    "opponent.choice", "bleu-weight", "requests", "encoder", "size", "num-processes", "processes",
    "learning-rate", "hidden-size", "device",
)  # fmt: skip
"""What matters first, of all commands; a page begins with the first ten that its command has."""
NUM_FIRST = 10
WIDTH = 110
FLAG_WIDTH = 34


def help_page(config: type, *, prog: str, description: str, group: str = "") -> str:
    """Return the first page of a command, or that of a group of its options.

    Args:
        config: the dataclass of its options.
        prog: what is typed.
        description: of which the first paragraph is shown.
        group: whose options are listed; "": the first page.

    Raises:
        ValueError: it has no such group; the message lists them.
    """
    options = main_group(config)
    if not group:
        return _first_page(options, prog, description)
    for found in options:
        if found.name == group:
            return _group_page(found, options, prog)
    known = ", ".join([*(inside.name for inside in options), EVERYTHING])
    raise ValueError(f"--help: expected a group of options among {known}, got {group!r}")


def first_options(options: Group) -> list[Option]:
    """Return the options of a command that matter first."""
    known = {option.flag.lower(): option for option in options.all_options}
    return [known[flag] for flag in FIRST if flag in known][:NUM_FIRST]


def _first_page(options: Group, prog: str, description: str) -> str:
    paragraph = " ".join(inspect.cleandoc(description).partition("\n\n")[0].split())
    groups = [dataclasses.replace(options, groups=()), *options.groups]
    width = max(len(group.name) for group in groups)
    rows = [_shortened(f"  {group.name:<{width}}  {len(group.all_options):>3}  {group.sentence}") for group in groups]
    return "\n".join(
        [
            _usage(options, prog),
            "",
            *textwrap.wrap(paragraph, WIDTH),
            "",
            "first of all:",
            *(line for option in first_options(options) for line in _lines(option)),
            "",
            "all options, by group; --help GROUP lists one, --help all everything:",
            *rows,
        ]
    )


def _group_page(group: Group, options: Group, prog: str) -> str:
    shown = [group] if group is options else [*group]
    parts = [_usage(options, prog)]
    for part in shown:
        lines = [line for option in part.options for line in _lines(option)]
        parts += ["", f"{part.name}: {part.sentence}", *lines]
    return "\n".join(parts)


def _usage(options: Group, prog: str) -> str:
    places = [option.flag for option in options.all_options if option.positional]
    return " ".join([f"usage: {prog}", *places, "[options]"])


def _lines(option: Option) -> list[str]:
    said = _said(option)
    default = " (required)" if option.default is dataclasses.MISSING else f" [{_shown(option.default)}]"
    sentence = textwrap.wrap(f"{option.sentence}{default}", WIDTH - FLAG_WIDTH)
    if len(said) > FLAG_WIDTH - 4:
        return [f"  {said}", *(" " * FLAG_WIDTH + line for line in sentence)]
    first, *others = sentence or [""]
    return [f"  {said:<{FLAG_WIDTH - 2}}{first}".rstrip(), *(" " * FLAG_WIDTH + line for line in others)]


def _said(option: Option) -> str:
    """Return what is typed: a yes or no has a second flag that says no."""
    if option.positional:
        return option.flag
    if option.kind:
        return f"--{option.flag} {option.kind}"
    group, dot, own = option.flag.rpartition(".")
    return f"--{group}{dot}[no-]{own}"


def _shown(default: object) -> str:
    if isinstance(default, bool):
        return "yes" if default else "no"
    if default in (None, "", ()):
        return "none"
    if isinstance(default, tuple):
        return " ".join(map(str, default))
    return str(default) if isinstance(default, Path | str | int | float) else repr(default)


def _shortened(line: str) -> str:
    return line if len(line) <= WIDTH else line[: line.rindex(" ", 0, WIDTH - 3)] + " ..."
