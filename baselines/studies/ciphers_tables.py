"""The tables of defenders of red_team-v1: one row a defender, shares in percent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import NamedTuple

from ...agents.folders import read_json
from ..training.costs import COSTS_FILE
from ..training.records import read_metrics
from .ciphers_measures import DefenderMeasures

Table = tuple[list[str], list[list[str]]]
"""Header and rows, for `text_table` and `markdown_table`."""


class Column(NamedTuple):
    """One number of each defender."""

    measure: str
    """Out of `DefenderMeasures`."""
    title: str
    is_share: bool = True


DEFENDED = (
    Column("defended", "DEFENDED %"),
    Column("defended_head", "plain and\nstatic\nstyles"),
    Column("defended_middle", "middle\nstyles"),
    Column("defended_tail", "tail\nstyles"),
    Column("defended_seen", "seen\ntopics"),
    Column("defended_unseen", "unseen\ntopics"),
    Column("defended_two", "two\nstyles"),
)
ATTACKED = (
    Column("asr", "mean %"),
    Column("asr_worst_style", "worst\nstyle"),
    Column("any_of_one", "any of no\nor one style"),
    Column("any_of_two", "any of up\nto two styles"),
    Column("asr_two", "mean, two\nstyles"),
)
ANSWERED = (
    *(Column(f"harmful_{kind}", f"harmful\n{kind} %") for kind in ("refused", "right", "wrong", "broken")),
    *(Column(f"benign_{kind}", f"benign\n{kind} %") for kind in ("refused", "right", "wrong", "broken")),
)
VALUES = (
    Column("value_seen", "value,\nseen topics", is_share=False),
    Column("value_unseen", "value,\nunseen topics", is_share=False),
)


@dataclass(frozen=True, slots=True)
class Spent:
    """What the run of a defender cost, its adversary included."""

    num_episodes: int
    num_tokens: int
    """Sampled by both players."""
    num_cloned_tokens: int
    """Of given dialogues that were learnt."""
    num_updates: int
    """Of both players."""

    @classmethod
    def of(cls, folder: Path) -> Spent:
        """Read what a run cost."""
        costs = read_json(folder / COSTS_FILE)
        return cls(int(costs["episodes"]), int(costs["tokens"]), int(costs["cloned_tokens"]), len(read_metrics(folder)))


def defender_table(measured: Mapping[str, DefenderMeasures], columns: Sequence[Column]) -> Table:
    """Return some columns of all defenders.

    Args:
        measured: by the title of the method.
        columns: which.
    """
    rows = [[title, *(_cell(getattr(found, c.measure), c) for c in columns)] for title, found in measured.items()]
    return ["defender", *(column.title for column in columns)], rows


def cost_table(measured: Mapping[str, DefenderMeasures], spent: Mapping[str, Spent]) -> Table:
    """Return what each defender is worth to the game's rules, and what its run cost, both players together."""
    header, rows = defender_table(measured, VALUES)
    header += ["episodes", "tokens\nsampled", "tokens\ncloned", "updates"]
    for row, title in zip(rows, measured, strict=True):
        row += [f"{getattr(spent[title], field.name):,}" for field in fields(Spent)]
    return header, rows


def _cell(value: float, column: Column) -> str:
    return f"{100 * value:.1f}" if column.is_share else f"{value:+.3f}"
