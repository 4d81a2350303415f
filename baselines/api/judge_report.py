"""Say how far a judge can be believed: `duologue judge-report encoder:runs/judge/model --exchanges labelled.jsonl`.

The judge reads labelled exchanges that it was not fitted to: sensitivity and specificity with their intervals, the area
under the curve and calibration where it gives probabilities, and what a rate that it reports would be corrected to. The
numbers hold for exchanges like those that were labelled. `duologue evaluate` takes the report and corrects by it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from ...agents.folders import read_json
from ...agents.judges.specs import parse_judge, without_places
from ..data.exchanges import CHARACTERS, as_judged, read_exchanges
from ..data.readers import OnError
from ..evaluation.calibration import JudgeReport, judge_report
from ..evaluation.confusion import ConfusionMatrix
from ..reporting.records import record_of
from ..training.checks import Options, Threads
from ..training.failures import parse_options
from ..training.files import write_json, write_text
from ..training.folders import KeptFolder
from ..training.inputs import digests
from ..training.loop import use_threads
from ..training.options import JudgeText, loaded_judge

REPORT_FILE = "report.json"


@dataclass(frozen=True, kw_only=True)
class JudgeReportConfig(Options):
    """Which judge, on which exchanges."""

    judge: Annotated[JudgeText, tyro.conf.Positional]
    """Who judges, as other commands are told it: KIND:WHERE?OPTION=VALUE&..."""
    exchanges: Path
    """JSON lines with prompt, reply, unsafe, and harmful where the prompt has a label of its own."""
    on_error: OnError = "raise"
    """Whether a line that is no labelled exchange is fatal, or skipped and counted."""
    out: Path = Path("runs/judge_report")
    """The folder of the report: report.md, report.json and reliability.png."""
    device: str = "cpu"
    """Where models are, unless the judge says so itself."""
    num_threads: Threads = 0
    """Threads of torch; 0: its default."""


def run_judge_report(config: JudgeReportConfig) -> JudgeReport:
    """Measure the judge, write the report, and return it.

    Raises:
        ValueError: no such judge, no labelled exchanges, or `out` holds something else.
    """
    use_threads(config.num_threads)
    exchanges = list(read_exchanges(config.exchanges, on_error=config.on_error))
    judge = loaded_judge(config.judge, CHARACTERS, config.device)
    report = judge_report(judge, as_judged(exchanges), [one.unsafe for one in exchanges])
    with KeptFolder.open(config.out, kind="judge report"):
        title = f"{config.judge} on {len(exchanges)} exchanges of {config.exchanges}"
        write_text(config.out / "report.md", f"{title}\n\n{report.page()}")
        write_json(config.out / REPORT_FILE, {"judge": config.judge, **report.json()})
        report.reliability.plot(config.out / "reliability.png", title="Judge on labelled exchanges")
    return report


def read_confusion(path: Path, judge: str | None) -> ConfusionMatrix:
    """Return the confusion matrix of a report.

    Args:
        path: of its folder, or of its report.json; the report of `duologue train judge` is one.
        judge: whose it should be, as a text; a folder that was moved, or copied, is still the same judge's.

    Raises:
        ValueError: there is none, or it is of another judge, or of one with other options.
    """
    file = path / REPORT_FILE if path.is_dir() else path
    if not file.is_file():
        raise ValueError(f"judge_report: expected the folder of a judge's report, got {str(path)!r}")
    found = read_json(file)
    reported = found.get("judge")
    if judge is None or not isinstance(reported, str) or _differ(reported, judge):
        raise ValueError(f"judge_report {file}: expected that of the judge {judge}, got one of {reported!r:.80}")
    return record_of(ConfusionMatrix, found.get("confusion"), f"{file}, confusion")


def _differ(reported: str, judge: str) -> bool:
    """Return whether two texts name different judges, as far as can be told: what is gone may have been moved."""
    if without_places(reported, "") != without_places(judge, ""):
        return True
    specs = zip(parse_judge(reported), parse_judge(judge), strict=True)
    places = [pair for old, new in specs for pair in zip(old.paths, new.paths, strict=False) if old.kind == new.kind]
    there = [(old, new) for old, new in places if old.exists() and new.exists() and not old.samefile(new)]
    return any(digests({"judge": old}) != digests({"judge": new}) for old, new in there)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    config = parse_options(JudgeReportConfig, argv, prog="duologue judge-report", description=__doc__)
    run_judge_report(config)
    print((config.out / "report.md").read_text(encoding="utf-8"))
    print(config.out)
