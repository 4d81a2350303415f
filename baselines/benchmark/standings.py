"""Who is ahead: every algorithm's results over games and seeds as one line, with intervals."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from numpy.typing import NDArray

from ...envs.tree.analysis import GameTree
from ..evaluation.aggregates import aggregate_all
from ..evaluation.intervals import Estimate
from ..evaluation.paired import PairedTest, paired_tests
from .cell import Cell, CellResult, excursions, late_points, late_shortfall
from .games import GameFacts, bench_game, game_facts, is_game, relative_shortfall

LEVEL = 0.05
"""A corrected p-value below this is an order."""
TIE = 1e-9
"""Numbers that are closer than this share a rank."""


@dataclass(frozen=True, slots=True)
class Standing:
    """One algorithm over all games."""

    algorithm: str
    rank: int
    """By the average policy, 1 best; equals share a rank."""
    average: Estimate
    """Interquartile mean of `relative_shortfall` of the average policy, with its 95 % interval."""
    last: Estimate
    """The same of the last iterate, the mean over the last fifth of training."""
    excursions: float
    """Share of the points of the last fifth, 0 to 1, at which the last iterate is further than `excursions` allows."""
    wins: int
    """Games in which no other algorithm's average policy is nearer, by the mean over seeds."""
    wins_last: int
    """The same of the last iterate."""
    episodes: float
    """Played in a cell, on average."""
    tokens: float
    """Said in a cell, on average."""
    cpu_seconds: float
    """Processor time of a cell, on average."""


def in_order(names: Iterable[str]) -> list[str]:
    """Return each name once, in the order in which it first comes."""
    return list(dict.fromkeys(names))


def complete_algorithms(cells: Mapping[Cell, CellResult]) -> list[str]:
    """Return the algorithms that have finished every seed of every game that any has: only those compare fairly."""
    grid = {(cell.game, cell.seed) for cell in cells}
    own: dict[str, set[tuple[str, int]]] = {}
    for cell in cells:
        own.setdefault(cell.algorithm, set()).add((cell.game, cell.seed))
    games, seeds = {game for game, _ in grid}, {seed for _, seed in grid}
    return [name for name, done in own.items() if len(done) == len(games) * len(seeds)]


def partial_algorithms(cells: Mapping[Cell, CellResult], can_play: Callable[[str, str], bool]) -> dict[str, list[str]]:
    """Return the algorithms that finished all that they can play, but cannot play all, with the games they cannot."""
    games, seeds = in_order(cell.game for cell in cells), {cell.seed for cell in cells}
    found = {}
    for name in in_order(cell.algorithm for cell in cells):
        others = [game for game in games if not can_play(name, game)]
        own = {Cell(name, game, seed) for game in games for seed in seeds if game not in others}
        if others and own <= set(cells):
            found[name] = others
    return found


def standings(cells: Mapping[Cell, CellResult], *, bootstrap_seed: int = 0) -> list[Standing]:
    """Return the algorithms that finished the whole grid, best first."""
    names = complete_algorithms(cells)
    if not names:
        return []
    average, last = ({name: table(cells, name, number) for name in names} for number in (average_score, last_score))
    averages, lasts = aggregate_all(average, bootstrap_seed), aggregate_all(last, bootstrap_seed)
    wins, wins_last = win_counts(average), win_counts(last)
    found = []
    for name in names:
        own = [result for cell, result in cells.items() if cell.algorithm == name]
        found.append(
            Standing(
                algorithm=name,
                rank=1 + sum(estimate.value < averages[name].value - TIE for estimate in averages.values()),
                average=averages[name],
                last=lasts[name],
                excursions=float(np.mean([excursions(one.curve) / len(late_points(one.curve)) for one in own])),
                wins=wins[name],
                wins_last=wins_last[name],
                episodes=float(np.mean([result.costs.episodes for result in own])),
                tokens=float(np.mean([result.costs.tokens for result in own])),
                cpu_seconds=float(np.mean([result.cpu_seconds for result in own])),
            )
        )
    return sorted(found, key=lambda standing: (standing.rank, standing.algorithm))


def average_score(result: CellResult) -> float:
    """Return how far the average policy is at the end, in units of uniform play; 0 best."""
    return relative_shortfall(facts_of(result), result.curve[-1].average.shortfall)


def last_score(result: CellResult) -> float:
    """Return how far the last iterate is over the last fifth of training, in units of uniform play; 0 best."""
    return relative_shortfall(facts_of(result), late_shortfall(result.curve))


def facts_of(result: CellResult) -> GameFacts:
    """Return a cell's facts, with what uniform play falls short by if the game is known here and the cell lacks it."""
    game = result.cell.game
    if result.facts.uniform_shortfall is None and is_game(game):
        return replace(result.facts, uniform_shortfall=_facts(game).uniform_shortfall)
    return result.facts


@cache
def _facts(game: str) -> GameFacts:
    return game_facts(GameTree(bench_game(game).make()))


def compared(
    cells: Mapping[Cell, CellResult], number: Callable[[CellResult], float] = average_score
) -> list[PairedTest]:
    """Return the paired tests of every two algorithms that finished the whole grid, best first, with Holm's correction.

    Cells of one seed and one game are pairs; each is a training run of its own, so that their signs are exchanged one
    by one.
    """
    tables = {name: table(cells, name, number) for name in complete_algorithms(cells)}
    return paired_tests({name: tables[name] for name in sorted(tables, key=lambda name: float(tables[name].mean()))})


def orders(tests: Sequence[PairedTest], what: str, *, level: float = LEVEL) -> list[str]:
    """Return two sentences on `what`: which algorithms are before which, and which pairs are ties; none without pairs.

    The one with the lower mean is before the other where the corrected p-value is below `level`.
    """
    if not tests:
        return []
    held = [test for test in tests if test.corrected < level]
    pairs = [(t.first, t.second) if t.difference.value < 0 else (t.second, t.first) for t in held]
    ahead = "; ".join(
        f"{name} before {', '.join(second for first, second in pairs if first == name)}"
        for name in in_order(first for first, _ in pairs)
    )
    ties = ", ".join(f"{test.first} = {test.second}" for test in tests if not test.corrected < level)
    of_all = f"{len(held)} of {len(tests)}"
    return [
        f"Orders by the {what} that hold after Holm's correction, {of_all}: {ahead or 'none'}.",
        f"Ties by the {what}: {ties or 'none'}.",
    ]


def order_lines(cells: Mapping[Cell, CellResult]) -> list[str]:
    """Return what `orders` says of the average policies and of the last iterates."""
    return [
        *orders(compared(cells, average_score), "average policy"),
        *orders(compared(cells, last_score), "last iterate"),
    ]


def table(
    cells: Mapping[Cell, CellResult], algorithm: str, number: Callable[[CellResult], float]
) -> NDArray[np.float64]:
    """Return one number of each of an algorithm's cells, seeds by games; shape (R, M)."""
    games = in_order(cell.game for cell in cells)
    seeds = sorted({cell.seed for cell in cells})
    return np.array([[number(cells[Cell(algorithm, game, seed)]) for game in games] for seed in seeds])


def win_counts(tables: Mapping[str, NDArray[np.float64]]) -> dict[str, int]:
    """Return in how many games each algorithm's mean over seeds is the lowest; who ties for it wins as well.

    >>> win_counts({"a": np.array([[0.1, 0.5]]), "b": np.array([[0.2, 0.5]])})
    {'a': 2, 'b': 1}
    """
    means = {name: scores.mean(0) for name, scores in tables.items()}
    best = np.min(list(means.values()), axis=0)
    return {name: int((mean <= best + TIE).sum()) for name, mean in means.items()}


def of_game(cells: Mapping[Cell, CellResult], game: str) -> dict[str, Sequence[CellResult]]:
    """Return the results in one game by algorithm, seeds in order."""
    names = in_order(cell.algorithm for cell in cells if cell.game == game)
    return {
        name: [cells[cell] for cell in sorted(cells) if cell.game == game and cell.algorithm == name] for name in names
    }
