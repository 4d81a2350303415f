"""What a comparison found, as a page, as JSON and as a picture."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ...agents.folders import read_json
from ..evaluation.exploitability import NashConvLowerBound, ResponseBudget
from ..evaluation.head_to_head import HeadToHead
from ..evaluation.intervals import Estimate
from ..evaluation.ranking import Ranking
from ..reporting.plots import plot_heat_map
from ..reporting.tables import markdown_table, markdown_text
from ..training.costs import Costs
from ..training.files import write_json, write_text

NUMBERS_FILE = "compare.json"
NOTHING = "-"


@dataclass(frozen=True, slots=True)
class Distance:
    """How far a profile is from equilibrium: one of the two is known."""

    nash_conv: float | None
    """Both players' gains from a best response, summed, on the whole tree."""
    lower_bound: NashConvLowerBound | None
    """What trained responders gained."""


@dataclass(frozen=True, slots=True)
class PoolRegret:
    """What each player would have gained for a play by the best fixed strategy, had the pools' members met in order."""

    num_plays: int
    """At each time that a pool got a member, the newest of both met."""
    per_play: tuple[float, float]
    """Player 0's and player 1's."""
    half_widths: tuple[float, float] | None
    """Of 95 % intervals where the fixed strategy is one of the members, by play; None: it may be any, exactly."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """All that was measured, by entrant."""

    game: str
    seed: int
    head_to_head: HeadToHead
    ranking: Ranking
    distances: Mapping[str, Distance | None]
    budget: ResponseBudget | None
    """Of trained responders, if there were any to be."""
    moved: Mapping[str, tuple[Estimate | None, Estimate | None]]
    """KL(now, start) of both players, nats an episode."""
    regrets: Mapping[str, PoolRegret | None]
    costs: Mapping[str, Costs | None]
    notes: Mapping[str, str]
    """Where an entrant was trained by other rules."""

    def markdown(self) -> str:
        """Return the page."""
        met = self.head_to_head
        read = (
            f"{met.num_matches} matches of each pair, one deal in both seatings each; seed {self.seed}. Mean return of "
            "an episode to the row's entrant over both seats and half the width of its 95 % interval; matches won, "
            "tied and lost."
        )
        parts = [f"# Comparison in {markdown_text(self.game)}", f"## Head to head\n\n{read}\n\n{met.markdown()}"]
        parts += [f"## Ratings\n\n{self.ranking.markdown()}", *self._distances(), *self._moved(), *self._regrets()]
        parts += self._costs()
        notes = [f"* {markdown_text(f'{name}: {note}')}." for name, note in self.notes.items() if note]
        return "\n\n".join([*parts, "\n".join(["## Notes", "", *notes])] if notes else parts) + "\n"

    def json(self) -> dict[str, Any]:
        """Return the numbers as JSON can hold them; none depends on the clock but the runs' own seconds."""
        met, ranking = self.head_to_head, self.ranking
        elo, low, high = ranking.ratings.on_elo_scale()
        return {
            "game": self.game,
            "seed": self.seed,
            "entrants": list(met.names),
            "head_to_head": {
                "num_matches": met.num_matches,
                **{name: getattr(met, name) for name in ("returns", "half_widths", "seat_returns", "wins", "ties")},
                "losses": met.losses,
            },
            "ratings": {
                **{"elo": elo, "elo_low": low, "elo_high": high, "prior_weight": ranking.l2},
                "alpha_rank": ranking.alpha_rank,
                "alpha_rank_low": ranking.alpha_rank_low,
                "alpha_rank_high": ranking.alpha_rank_high,
                "cycles": [[ranking.names[k] for k in cycle] for cycle in ranking.cycles],
                "cyclic_share": ranking.cyclic_share,
            },
            "distances": {
                name: None if found is None else _distance_json(found) for name, found in self.distances.items()
            },
            "response_budget": self.budget,
            "kl_to_start_nats": {
                name: [None if moved is None else moved._asdict() for moved in pair]
                for name, pair in self.moved.items()
            },
            "pool_regrets": self.regrets,
            "costs": self.costs,
            "notes": self.notes,
        }

    def _distances(self) -> list[str]:
        known = {name: found for name, found in self.distances.items() if found is not None}
        columns = {
            "NashConv, exact": {n: f"{d.nash_conv + 0.0:.4f}" for n, d in known.items() if d.nash_conv is not None},
            "NashConv, lower bound": {
                name: _interval(found.lower_bound.lower_bound)
                for name, found in known.items()
                if found.lower_bound is not None
            },
        }
        shown = [title for title, cells in columns.items() if cells]
        rows = [[name, *(columns[title].get(name, NOTHING) for title in shown)] for name in known]
        text = "Both players' gains from a best response, summed; 0 is an equilibrium."
        if "NashConv, lower bound" in shown and self.budget is not None:
            text += (
                f" A lower bound is what trained responders gain, {self.budget.num_updates} updates on "
                f"{self.budget.batch_size} episodes each, scored on {self.budget.num_test_episodes} fresh episodes "
                "with a 95 % interval: the exact number is no less, and may be much more."
            )
        return _section("Distance from equilibrium", text, ["entrant", *shown], rows)

    def _moved(self) -> list[str]:
        rows = [
            [name, *(NOTHING if moved is None else f"{moved.value:.3f} ± {moved.half_width:.3f}" for moved in pair)]
            for name, pair in self.moved.items()
            if pair != (None, None)
        ]
        return _section("KL to the start", "Nats an episode, of own play.", ["entrant", "player 0", "player 1"], rows)

    def _regrets(self) -> list[str]:
        rows = [
            [name, str(regret.num_plays), *_regret_cells(regret)]
            for name, regret in self.regrets.items()
            if regret is not None
        ]
        exact = all(regret.half_widths is None for regret in self.regrets.values() if regret is not None)
        best = "any strategy, exact on the whole tree"
        if not exact:
            best = (
                "the member of the pool that was best on other episodes, with half the width of a 95 % interval: a "
                "lower bound on average, as other strategies may gain more"
            )
        text = f"A play, had the members of a run's pools met in order; the fixed choice in hindsight is {best}."
        return _section("External regret of pools", text, ["entrant", "plays", "player 0", "player 1"], rows)

    def _costs(self) -> list[str]:
        header = ["entrant", "episodes", "tokens", "judge queries", "preference queries", "cloned tokens", "seconds"]
        rows = []
        for name, costs in self.costs.items():
            if costs is not None:
                counts = asdict(costs)
                seconds = counts.pop("seconds")
                rows.append([name, *(f"{count:,}" for count in counts.values()), f"{seconds:.1f}"])
        return _section("Costs of training", "As each run counted them.", header, rows)


def is_unmarked(folder: Path) -> bool:
    """Whether an older version, which made no marks, left this comparison."""
    numbers = folder / NUMBERS_FILE
    return numbers.is_file() and {"game", "entrants"} <= read_json(numbers).keys()


def write_comparison(found: Comparison, folder: Path) -> None:
    """Write the page, the numbers and the heat map of matches won."""
    names = found.head_to_head.names
    write_text(folder / "compare.md", found.markdown())
    write_json(folder / NUMBERS_FILE, found.json())
    plot_heat_map(
        found.head_to_head.win_rates,
        names,
        names,
        folder / "compare.png",
        f"Head to head in {found.game}",
        row_label="entrant",
        column_label="against",
        value_label="matches won, ties one half",
    )


def _section(title: str, text: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return a section with a table; nothing without rows."""
    return [f"## {title}\n\n{text}\n\n{markdown_table(header, rows)}"] if rows else []


def _distance_json(distance: Distance) -> dict[str, Any]:
    bound = distance.lower_bound
    if bound is None:
        return {"nash_conv": distance.nash_conv}
    return {
        "nash_conv_lower_bound": bound.lower_bound._asdict(),
        "gains": [gain._asdict() for gain in bound.gains],
        "chosen": [response.chosen for response in bound.responses],
    }


def _regret_cells(pool: PoolRegret) -> list[str]:
    if pool.half_widths is None:
        return [f"{regret + 0.0:.4f}" for regret in pool.per_play]
    return [f"{regret:.3f} ± {half:.3f}" for regret, half in zip(pool.per_play, pool.half_widths, strict=True)]


def _interval(estimate: Estimate) -> str:
    value = f"{estimate.value:.3f}"
    if not math.isfinite(estimate.half_width):
        return value
    return f"{value} [{estimate.low:.3f}, {estimate.high:.3f}]"
