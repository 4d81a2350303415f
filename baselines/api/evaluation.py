"""What `duologue evaluate` found: the record, its table and its JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...envs import LanguageGame
from ...envs.judging import RedTeamGame
from ..data.export import json_line, write_texts
from ..evaluation import (
    Counts,
    Estimate,
    JudgedReply,
    NashConvLowerBound,
    ResponseBudget,
    ResponseLowerBound,
    transcript,
)
from ..evaluation.calibration import Share
from ..evaluation.confusion import ConfusionMatrix
from ..reporting.tables import text_table
from ..training.files import Json, write_json


def said_file(file: Path) -> Path:
    """Return where what was said is written, beside the file of an evaluation."""
    return file.with_name(f"{file.stem}.jsonl")


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What was found; None and nothing stand for what was not measured."""

    what: str
    """Who was measured."""
    game: str
    judge: str
    """Who judged: the oracle, or a folder."""
    seed: int
    prompts: Mapping[str, Counts]
    """What became of the replies, by prompt set; of exchanges with an adversary, too."""
    benign: frozenset[str]
    """Those of them whose prompts are benign: to refuse these is over-refusal, and no attack can succeed."""
    said: Mapping[str, Sequence[JudgedReply]]
    """The exchanges that were counted, by prompt set."""
    cut: Mapping[str, Share]
    """How many of the replies to real text were cut at their limit, and judged as far as they went."""
    confusion: ConfusionMatrix | None
    """What the judge's report says of it; None: not asked for."""
    returns: tuple[Estimate, Estimate] | None
    """Both players' mean return of an episode with each other."""
    nash_conv: float | None
    """Exact, of the newest players."""
    average_nash_conv: float | None
    """Exact, of the average that the run kept."""
    attacker: ResponseLowerBound | None
    """What a fresh attacker reached: the best response earns no less, up to the interval."""
    nash_conv_bound: NashConvLowerBound | None
    """What fresh attackers of both players gained together: NashConv is no less, up to the interval."""

    def table(self) -> str:
        """Return it as text."""
        judged = f"; judge: {self.judge}" if self.prompts else ""
        parts = [f"{self.what} in {self.game}, seed {self.seed}{judged}"]
        if self.prompts:
            parts.append(self._prompts_table())
        numbers = self._numbers()
        if numbers:
            parts.append(text_table(["measure", "value"], numbers))
        return "\n\n".join(parts)

    def json(self) -> dict[str, Json]:
        """Return it as JSON can hold it."""
        exact: dict[str, Json] = {"last": self.nash_conv, "average": self.average_nash_conv}
        bound, both = self.attacker, self.nash_conv_bound
        return {
            "what": self.what,
            "game": self.game,
            "judge": self.judge,
            "seed": self.seed,
            "prompts": {name: self._rates(name, counts) for name, counts in self.prompts.items()},
            "returns": None if self.returns is None else [_as_json(mean) for mean in self.returns],
            "nash_conv": exact,
            "attacker_return_lower_bound": None if bound is None else _bound_json(bound),
            "nash_conv_lower_bound": None
            if both is None
            else {**_as_json(both.lower_bound), "gains": [_as_json(gain) for gain in both.gains]},
        }

    def write(self, file: Path, game: LanguageGame[Any]) -> None:
        """Write the numbers, and beside them what was said in a game with a judge."""
        write_json(file, self.json())
        if not isinstance(game, RedTeamGame):
            return
        rows = [(name, reply) for name, replies in self.said.items() for reply in replies if reply.outcome is not None]
        lines = (json_line({"prompts": name, **transcript(game, reply)}) for name, reply in rows)
        write_texts(said_file(file), lines)

    def _prompts_table(self) -> str:
        """Return what became of the replies as text; columns that nothing was found for are left out."""
        header = ["prompts", "n", "attack success %", "corrected %", "over-refusal %", "answered right %", "cut %"]
        shown = [
            title for title in header if (title != "corrected %" or self.confusion) and (title != "cut %" or self.cut)
        ]
        cells = [dict(zip(header, self._row(name, counts), strict=True)) for name, counts in self.prompts.items()]
        note = "95 % intervals over the prompts; attack success of the harmful ones, ill-formed among them"
        table = text_table(shown, [[row[title] for title in shown] for row in cells])
        if self.confusion is None:
            return f"{table}\n{note}"
        right = (100 * share for share in (self.confusion.sensitivity, self.confusion.specificity))
        told = "sensitivity {:.1f} %, specificity {:.1f} % by its report".format(*right)
        return f"{table}\n{note}\ncorrected by Rogan and Gladen, the judge having {told}"

    def _row(self, name: str, counts: Counts) -> list[str]:
        cut = f"{100 * self.cut[name].value:.1f}" if name in self.cut else "-"
        if name in self.benign:
            over = _percent(counts.refusal_rate, counts.refusal_interval)
            return [name, str(counts.n), "-", "-", over, _percent(counts.helpful_rate, counts.helpful_interval), cut]
        n = f"{counts.attempts} of {counts.n}" if counts.benign else str(counts.n)
        refused = Share(counts.over_refused, counts.benign)
        over = _percent(refused.value, refused.interval) if counts.benign else "-"
        return [name, n, _percent(counts.asr, counts.asr_interval), self._corrected(counts), over, "-", cut]

    def _corrected(self, counts: Counts) -> str:
        if self.confusion is None:
            return "-"
        found = self.confusion.corrected_estimate(counts.asr, counts.attempts)
        return "-" if math.isnan(found.value) else _percent(found.value, (found.low, found.high))

    def _rates(self, name: str, counts: Counts) -> dict[str, Json]:
        found: dict[str, Json] = {key: getattr(counts, key) for key in counts.__slots__}
        if name in self.benign:
            found["over_refusal_rate"] = [counts.refusal_rate, *counts.refusal_interval]
            found["helpful_rate"] = [counts.helpful_rate, *counts.helpful_interval]
        else:
            found["asr"] = [counts.asr, *counts.asr_interval]
        if name not in self.benign and self.confusion is not None:
            found["asr_corrected"] = list(self.confusion.corrected_estimate(counts.asr, counts.attempts))
            found["asr_difference"] = list(self.confusion.difference_estimate(counts.asr, counts.attempts))
        if name in self.cut:
            found["cut_share"] = self.cut[name].value
        return found

    def _numbers(self) -> list[list[str]]:
        rows = []
        if self.returns is not None:
            rows += [[f"mean return of player {player}", _number(mean)] for player, mean in enumerate(self.returns)]
        if self.nash_conv is not None:
            rows.append(["NashConv, exact, newest players", f"{self.nash_conv + 0.0:.4f}"])
        if self.average_nash_conv is not None:
            rows.append(["NashConv, exact, average", f"{self.average_nash_conv + 0.0:.4f}"])
        if self.attacker is not None:
            by = f"return of a fresh player {self.attacker.player}, lower bound, {_budget(self.attacker.budget)}"
            rows.append([by, _number(self.attacker.lower_bound)])
        if self.nash_conv_bound is not None:
            budget = _budget(self.nash_conv_bound.responses[0].budget)
            rows.append([f"NashConv, lower bound, {budget} for each player", _number(self.nash_conv_bound.lower_bound)])
        return rows


def _percent(rate: float, interval: tuple[float, float]) -> str:
    return f"{100 * rate:.1f} [{100 * interval[0]:.1f}, {100 * interval[1]:.1f}]"


def _number(mean: Estimate) -> str:
    return f"{mean.value:+.3f} [{mean.low:+.3f}, {mean.high:+.3f}]"


def _budget(budget: ResponseBudget) -> str:
    return f"{budget.num_updates} updates x {budget.batch_size} episodes"


def _as_json(mean: Estimate) -> dict[str, Json]:
    return dict(mean._asdict())


def _bound_json(bound: ResponseLowerBound) -> dict[str, Json]:
    budget = {"num_updates": bound.budget.num_updates, "batch_size": bound.budget.batch_size}
    return {**_as_json(bound.lower_bound), "player": bound.player, "chosen": bound.chosen, **budget}
